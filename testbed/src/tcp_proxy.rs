//! A TCP proxy that breaks connections in front of a real server, on command.
//!
//! The mode holds for connections that are open and for new ones, and can be switched at any time. Where it knows
//! the protocol ([`TcpProxy::start_for`]), one chosen call can be trapped, too ([`TcpProxy::trap`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Context, Error, Result};
use crate::guard::wait_until;
use crate::rt::{block_on, runtime};

use calls::{Conversation, Edit, Traps};
use connection::Connection;

mod calls;
mod connection;
mod frames;
pub mod offset_commit;

pub use calls::{Call, Protocol, Then, Trap};

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

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    unreachable: AtomicU64,
    cut: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    swallowed: AtomicU64,
}

/// The generation tells two settings of the same mode apart.
type Setting = (u64, Mode);

/// A running proxy. Dropping it closes its listener and its connections.
pub struct TcpProxy {
    address: SocketAddr,
    mode_tx: watch::Sender<Setting>,
    listening_rx: watch::Receiver<bool>,
    counts: Arc<Counts>,
    traps: Option<Arc<Traps>>,
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
        Self::build(listen, target, seed, None)
    }

    /// Listens on `listen` in front of a `target` that speaks this protocol, whose calls can then be trapped.
    pub fn start_for(protocol: Protocol, listen: &str, target: &str, seed: u64) -> Result<Self> {
        Self::build(listen, target, seed, Some(Arc::new(Traps::new(protocol))))
    }

    fn build(listen: &str, target: &str, seed: u64, traps: Option<Arc<Traps>>) -> Result<Self> {
        let address: SocketAddr = listen
            .parse()
            .context(format!("not an address: {listen}"))?;
        let listener = block_on(async move { TcpListener::bind(address).await });
        let listener = listener.context(format!("can't listen on {address}"))?;
        let (mode_tx, mode_rx) = watch::channel((0, Mode::Pass));
        let (listening_tx, listening_rx) = watch::channel(true);
        let counts = Arc::new(Counts::default());
        let target = target.to_owned();
        let acceptor = Acceptor {
            address,
            target,
            seed,
            mode_rx,
            counts: Arc::clone(&counts),
            traps: traps.clone(),
        };
        let task = runtime().spawn(acceptor.run(listener, listening_tx));
        Ok(Self {
            address,
            mode_tx,
            listening_rx,
            counts,
            traps,
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

    /// Traps the next `times` requests that `choice` says yes to, on open connections and on new ones. Replaces the
    /// trap before. Fails if the proxy was started without a protocol.
    pub fn trap(
        &self,
        times: u64,
        then: Then,
        choice: impl FnMut(&Call<'_>) -> bool + Send + 'static,
    ) -> Result<Trap> {
        self.set_trap(Trap::new(times, then, Box::new(choice), None))
    }

    /// Changes the next `times` requests that `choice` says yes to, and the answers to them, in place. A trap like any
    /// other.
    pub fn edit(
        &self,
        times: u64,
        choice: impl FnMut(&Call<'_>) -> bool + Send + 'static,
        request: impl FnMut(&mut [u8]) + Send + 'static,
        answer: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Trap> {
        let edits: (Edit, Edit) = (Box::new(request), Box::new(answer));
        self.set_trap(Trap::new(times, Then::Edit, Box::new(choice), Some(edits)))
    }

    fn set_trap(&self, trap: Trap) -> Result<Trap> {
        let traps = self.traps.as_ref();
        let traps = traps.ok_or_else(|| Error::new("this proxy knows no protocol: start_for"))?;
        traps.set(&trap);
        Ok(trap)
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
    traps: Option<Arc<Traps>>,
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
                conversation: self.traps.clone().map(Conversation::new),
                seed: self.seed.wrapping_add(number),
            };
            tokio::spawn(connection.run(client));
        }
    }
}

#[cfg(test)]
mod tests;
