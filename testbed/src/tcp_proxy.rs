//! A TCP proxy that breaks connections in front of a real server, on command.
//!
//! The mode holds for connections that are open and for new ones, and can be switched at any time.

mod trap;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::trap::{Action, IsIt, Spring, Trap};
use crate::error::{Context, Result};
use crate::guard::wait_until;
use crate::rt::{block_on, runtime};

/// What the proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forward everything.
    Pass,
    /// Nobody listens, and open connections are closed: as if the server's process were gone.
    Refuse,
    /// Connections are accepted and nothing is read from either side: as if the server were frozen.
    Blackhole,
    /// Everything is read and thrown away, nothing comes back.
    HalfOpen,
    /// Requests reach the server; its answers are thrown away.
    SwallowResponses,
    /// Each piece of data is held back this long, plus up to `jitter`.
    Delay {
        /// How long at least.
        delay: Duration,
        /// How much longer at most, at random.
        jitter: Duration,
    },
    /// At most so many bytes a second per connection and direction.
    Throttle {
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Each connection is closed after so many bytes (counted from when the mode was set).
    CutAfter {
        /// Bytes from the client to the server.
        to_server: Option<u64>,
        /// Bytes from the server to the client.
        to_client: Option<u64>,
    },
    /// Connections are reset (RST), open and new ones.
    Reset,
}

/// What the proxy has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that couldn't be made to the server.
    pub unreachable: u64,
    /// Connections cut by `CutAfter`, closed by `Refuse`, or reset.
    pub cut: u64,
    /// Bytes forwarded to the server.
    pub bytes_to_server: u64,
    /// Bytes forwarded to the client.
    pub bytes_to_client: u64,
    /// Bytes thrown away.
    pub bytes_swallowed: u64,
}

/// A server that answers several requests over one connection has answered this one, too, so long after it
/// has answered any.
const ANSWERED: Duration = Duration::from_millis(30);

type Traps = Arc<Mutex<Option<Trap>>>;

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    unreachable: AtomicU64,
    cut: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    swallowed: AtomicU64,
    sprung: AtomicU64,
}

/// The generation tells two settings of the same mode apart.
type Setting = (u64, Mode);

/// A running proxy. Dropping it closes its listener and its connections.
pub struct TcpProxy {
    address: SocketAddr,
    mode_tx: watch::Sender<Setting>,
    listening_rx: watch::Receiver<bool>,
    counts: Arc<Counts>,
    trap: Traps,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Listens on a free port in front of `target`.
    pub fn start(target: &str, seed: u64) -> Result<Self> {
        let port = crate::ports::free_port()?;
        Self::start_at(&format!("127.0.0.1:{port}"), target, seed)
    }

    /// Listens on `listen` in front of `target`. Delays are drawn from `seed`.
    pub fn start_at(listen: &str, target: &str, seed: u64) -> Result<Self> {
        let address: SocketAddr = listen
            .parse()
            .context(format!("not an address: {listen}"))?;
        let listener = block_on(async move { TcpListener::bind(address).await });
        let listener = listener.context(format!("can't listen on {address}"))?;
        let (mode_tx, mode_rx) = watch::channel((0, Mode::Pass));
        let (listening_tx, listening_rx) = watch::channel(true);
        let counts = Arc::new(Counts::default());
        let trap = Traps::default();
        let target = target.to_owned();
        let acceptor = Acceptor {
            address,
            target,
            seed,
            mode_rx,
            counts: Arc::clone(&counts),
            trap: Arc::clone(&trap),
        };
        let task = runtime().spawn(acceptor.run(listener, listening_tx));
        Ok(Self {
            address,
            mode_tx,
            listening_rx,
            counts,
            trap,
            task,
        })
    }

    /// Where clients connect, such as `127.0.0.1:12345`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Switches the mode, for open and new connections. Returns once it holds for new ones.
    pub fn set(&self, mode: Mode) -> Result<()> {
        let listening = mode != Mode::Refuse;
        self.mode_tx
            .send_modify(|setting| *setting = (setting.0 + 1, mode));
        wait_until(
            "the proxy has switched",
            Duration::from_secs(10),
            || match *self.listening_rx.borrow() == listening {
                true => Ok(()),
                false => Err(format!("its port {} isn't as it must be", self.address)),
            },
        )
    }

    /// Sets a trap, instead of the one that was set before, if any.
    pub fn set_trap(&self, trap: Option<Trap>) {
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = trap;
    }

    /// How many traps have sprung.
    pub fn num_sprung(&self) -> u64 {
        self.counts.sprung.load(Ordering::Relaxed)
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            accepted: get(&self.counts.accepted),
            unreachable: get(&self.counts.unreachable),
            cut: get(&self.counts.cut),
            bytes_to_server: get(&self.counts.to_server),
            bytes_to_client: get(&self.counts.to_client),
            bytes_swallowed: get(&self.counts.swallowed),
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // Connections watch the mode's sender, which goes with us.
        self.task.abort();
    }
}

struct Acceptor {
    address: SocketAddr,
    target: String,
    seed: u64,
    mode_rx: watch::Receiver<Setting>,
    counts: Arc<Counts>,
    trap: Traps,
}

impl Acceptor {
    async fn run(mut self, first: TcpListener, listening_tx: watch::Sender<bool>) {
        let mut listener = Some(first);
        for number in 0_u64.. {
            let client = loop {
                let refuse = self.mode_rx.borrow_and_update().1 == Mode::Refuse;
                if refuse {
                    listener = None;
                } else if listener.is_none() {
                    // The port may be in use for a moment by a connection that is going.
                    listener = TcpListener::bind(self.address).await.ok();
                }
                listening_tx.send_replace(listener.is_some());
                let Some(open) = &listener else {
                    let pause = Duration::from_millis(if refuse { 60_000 } else { 20 });
                    tokio::select! {
                        // A mode that was set before data came holds for it.
                        biased;
                        changed = self.mode_rx.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(pause) => {}
                    }
                    continue;
                };
                tokio::select! {
                    // A mode that was set before data came holds for it.
                    biased;
                    changed = self.mode_rx.changed() => if changed.is_err() { return },
                    accepted = open.accept() => if let Ok((client, _)) = accepted { break client },
                }
            };
            self.counts.accepted.fetch_add(1, Ordering::Relaxed);
            let connection = Connection {
                target: self.target.clone(),
                mode_rx: self.mode_rx.clone(),
                counts: Arc::clone(&self.counts),
                seed: self.seed.wrapping_add(number),
                trap: Arc::clone(&self.trap),
                asked: Mutex::new(None),
            };
            tokio::spawn(connection.run(client));
        }
    }
}

struct Connection {
    target: String,
    mode_rx: watch::Receiver<Setting>,
    counts: Arc<Counts>,
    seed: u64,
    trap: Traps,
    /// The action of a trap whose request is on its way to the server.
    asked: Mutex<Option<Action>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Connection {
    async fn run(self, mut client: TcpStream) {
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

    /// The action of the trap if this data springs it.
    fn trapped(&self, direction: Direction, data: &[u8]) -> Option<Action> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if direction == Direction::ToClient {
            return asked.take();
        }
        let mut set = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let Trap { spring, action, .. } = set.take_if(|trap| (trap.is_it)(data))?;
        if spring == Spring::Before {
            return Some(action);
        }
        *asked = Some(action);
        None
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
            if let Some(action) = self.trapped(direction, &buffer[..num]) {
                if direction == Direction::ToClient {
                    tokio::time::sleep(ANSWERED).await;
                }
                let _ = tokio::task::spawn_blocking(action).await;
                self.counts.sprung.fetch_add(1, Ordering::Relaxed);
                return End::Cut;
            }
            if let Some(pace) = pace {
                tokio::time::sleep(pace).await;
            }
            since_mode.1 += num as u64;
            let swallow = mode == Mode::HalfOpen
                || (mode == Mode::SwallowResponses && direction == Direction::ToClient);
            let counter = match direction {
                _ if swallow => &self.counts.swallowed,
                Direction::ToServer => &self.counts.to_server,
                Direction::ToClient => &self.counts.to_client,
            };
            if !swallow && to.write_all(&buffer[..num]).await.is_err() {
                return End::Cut;
            }
            counter.fetch_add(num as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
