//! What a service manager such as systemd is told: that we are ready, alive, stopping. One datagram each, to the socket that
//! `NOTIFY_SOCKET` names (sd_notify(3)); nothing where there is none.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::admin::Observed;

/// The service manager, if one listens.
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How long it waits for a sign of life, until it kills.
    patience: Option<Duration>,
}

impl ServiceManager {
    /// That of the environment.
    pub fn find() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let Some(name) = variable("NOTIFY_SOCKET") else {
            return ServiceManager {
                socket: None,
                patience: None,
            };
        };
        let socket = connect(&name)
            .inspect_err(|error| warn!("NOTIFY_SOCKET {name:?} can't be used: {error}"))
            .ok();
        let is_ours =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").and_then(|micros| micros.parse().ok());
        ServiceManager {
            socket,
            patience: micros.filter(|_| is_ours).map(Duration::from_micros),
        }
    }

    /// Work has begun.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A signal was heard: what is in flight is finished.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Gives a sign of life for as long as a restart wouldn't help: what `/livez` says. Must be called on a runtime.
    pub fn keep_alive(self: Arc<Self>, observed: Arc<dyn Observed>) {
        let Some(patience) = self.patience else {
            return;
        };
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(patience / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if observed.not_alive().is_empty() {
                    self.tell("WATCHDOG=1");
                }
            }
        });
    }

    /// Never waits: who doesn't listen isn't told.
    fn tell(&self, what: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(what.as_bytes());
        }
    }
}

fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
