//! One connection through the proxy: bytes both ways, as the mode and the trap say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::calls::{Conversation, Step};
use super::{Counts, Mode, Setting};

pub(super) struct Connection {
    pub(super) target: String,
    pub(super) mode_rx: watch::Receiver<Setting>,
    pub(super) counts: Arc<Counts>,
    pub(super) conversation: Option<Conversation>,
    pub(super) seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

impl Connection {
    pub(super) async fn run(self, mut client: TcpStream) {
        let _ = client.set_nodelay(true);
        let mut mode_rx = self.mode_rx.clone();
        let mode = mode_rx.borrow_and_update().1.clone();
        if mode == Mode::Reset {
            return self.finish(End::Reset, &[&client]);
        }
        // The server doesn't hear of the connection until the proxy lets it through.
        if mode_rx
            .wait_for(|(_, mode)| *mode != Mode::Blackhole)
            .await
            .is_err()
        {
            return;
        }
        let Ok(mut server) = TcpStream::connect(&self.target).await else {
            self.counts.unreachable.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let _ = server.set_nodelay(true);
        let end = {
            let (client_read, client_write) = client.split();
            let (server_read, server_write) = server.split();
            let up = self.pump(Direction::ToServer, client_read, server_write);
            let down = self.pump(Direction::ToClient, server_read, client_write);
            tokio::pin!(up, down);
            // One side's orderly end leaves the other direction open; anything else ends both.
            tokio::select! {
                end = &mut up => if end == End::Closed { down.await } else { end },
                end = &mut down => if end == End::Closed { up.await } else { end },
            }
        };
        self.finish(end, &[&client, &server]);
    }

    fn finish(&self, end: End, streams: &[&TcpStream]) {
        if end == End::Reset {
            for stream in streams {
                let _ = stream.set_zero_linger();
            }
        }
        if end != End::Closed {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Moves bytes one way until something ends it, and passes an orderly end on.
    async fn pump(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> End {
        let end = self.forward(direction, &mut from, &mut to).await;
        if end == End::Closed {
            let _ = to.shutdown().await;
        }
        end
    }

    async fn forward(
        &self,
        direction: Direction,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> End {
        let mut mode_rx = self.mode_rx.clone();
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut since_mode = (0, 0_u64);
        let mut buffer = vec![0_u8; 16 * 1024];
        let conversation = self.conversation.as_ref();
        let mut frames = conversation.map(|known| (known, known.frames(direction)));
        loop {
            let (generation, mode) = mode_rx.borrow_and_update().clone();
            if since_mode.0 != generation {
                since_mode = (generation, 0);
            }
            let (left, pace) = match &mode {
                Mode::Refuse => return End::Cut,
                Mode::Reset => return End::Reset,
                Mode::Blackhole => match mode_rx.changed().await {
                    Ok(()) => continue,
                    Err(_) => return End::Cut,
                },
                Mode::CutAfter {
                    to_server,
                    to_client,
                } => {
                    let limit = if direction == Direction::ToServer {
                        to_server
                    } else {
                        to_client
                    };
                    match limit.map(|limit| limit.saturating_sub(since_mode.1)) {
                        Some(0) => return End::Cut,
                        left => (left, None),
                    }
                }
                Mode::Throttle { bytes_per_second } => {
                    let slice = (bytes_per_second / 20).max(1);
                    let pause = slice as f64 / (*bytes_per_second).max(1) as f64;
                    (Some(slice), Some(Duration::from_secs_f64(pause)))
                }
                Mode::Delay { delay, jitter } => (
                    None,
                    Some(*delay + jitter.mul_f64(rng.random_range(0.0..1.0))),
                ),
                Mode::Pass | Mode::HalfOpen | Mode::SwallowResponses => (None, None),
            };
            let len = left
                .and_then(|left| usize::try_from(left).ok())
                .unwrap_or(usize::MAX);
            let len = len.min(buffer.len());
            let num = tokio::select! {
                // A mode that was set before data came holds for it.
                biased;
                changed = mode_rx.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return End::Cut,
                },
                read = from.read(&mut buffer[..len]) => match read {
                    Ok(0) => return End::Closed,
                    Ok(num) => num,
                    Err(_) => return End::Cut,
                },
            };
            if let Some(pace) = pace {
                tokio::time::sleep(pace).await;
            }
            since_mode.1 += num as u64;
            let swallow = mode == Mode::HalfOpen
                || (mode == Mode::SwallowResponses && direction == Direction::ToClient);
            let bytes = &buffer[..num];
            let steps = match &mut frames {
                None => vec![Step::Forward(bytes.to_vec())],
                Some((known, frames)) => known.see(direction, frames, bytes),
            };
            for step in steps {
                if let Err(end) = self.take(direction, step, swallow, to).await {
                    return end;
                }
            }
        }
    }

    /// Does one step, and counts it.
    async fn take(
        &self,
        direction: Direction,
        step: Step,
        swallow: bool,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), End> {
        let bytes = match step {
            Step::Cut => return Err(End::Cut),
            Step::Swallow(num) => {
                self.counts
                    .swallowed
                    .fetch_add(num as u64, Ordering::Relaxed);
                return Ok(());
            }
            Step::Forward(bytes) => bytes,
            Step::Hold(bytes, waiting) => match waiting.word().await {
                true => bytes,
                false => return Err(End::Cut),
            },
        };
        let counter = match direction {
            _ if swallow => &self.counts.swallowed,
            Direction::ToServer => &self.counts.to_server,
            Direction::ToClient => &self.counts.to_client,
        };
        if !swallow && to.write_all(&bytes).await.is_err() {
            return Err(End::Cut);
        }
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
