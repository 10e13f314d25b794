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
        Self::told(|name| env::var(name).ok())
    }

    /// That of these variables.
    fn told(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
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
        // 0 is no watchdog.
        let micros = micros.filter(|micros| *micros > 0);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::error::Error;
    use crate::offsets::TopicPartition;
    use crate::status::SinkStatus;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A process that is alive or isn't.
    #[derive(Default)]
    struct Fake {
        is_wedged: AtomicBool,
    }

    impl Observed for Fake {
        fn sinks(&self) -> Vec<SinkStatus> {
            Vec::new()
        }

        fn release(&self, _: &str, _: &TopicPartition) -> Result<(), Error> {
            Ok(())
        }

        fn not_alive(&self) -> Vec<String> {
            let why = "worker 0 hasn't moved for 121 s".to_owned();
            Some(why)
                .filter(|_| self.is_wedged.load(Ordering::Relaxed))
                .into_iter()
                .collect()
        }
    }

    /// systemd's end of the socket.
    struct Listener {
        dir: tempfile::TempDir,
        socket: UnixDatagram,
    }

    impl Listener {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
            socket.set_nonblocking(true).expect("its mode");
            Listener { dir, socket }
        }

        /// With these variables beside the socket's.
        fn manager(&self, more: &[(&str, &str)]) -> Arc<ServiceManager> {
            let path = self.dir.path().join("notify");
            Arc::new(ServiceManager::told(|name| match name {
                "NOTIFY_SOCKET" => path.to_str().map(str::to_owned),
                name => {
                    let found = more.iter().find(|(key, _)| *key == name);
                    found.map(|(_, value)| (*value).to_owned())
                }
            }))
        }

        /// What was told since the last look.
        fn heard(&self) -> Vec<String> {
            let mut heard = Vec::new();
            let mut datagram = [0; 100];
            while let Ok(num) = self.socket.recv(&mut datagram) {
                heard.push(String::from_utf8_lossy(&datagram[..num]).into_owned());
            }
            heard
        }
    }

    fn of_watchdog(pid: &str) -> [(&'static str, &str); 2] {
        [("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", pid)]
    }

    #[test]
    fn each_thing_is_told_in_systemds_words() {
        let listener = Listener::new();
        let manager = listener.manager(&[]);
        manager.ready();
        assert_eq!(listener.heard(), ["READY=1"]);
        manager.stopping();
        assert_eq!(listener.heard(), ["STOPPING=1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wedged_process_gives_no_sign_of_life_so_that_it_is_restarted() {
        let listener = Listener::new();
        let fake = Arc::new(Fake::default());
        let pid = std::process::id().to_string();
        let manager = listener.manager(&of_watchdog(&pid));
        manager.keep_alive(fake.clone());
        tokio::time::sleep(PATIENCE).await;
        let heard = listener.heard();
        assert!(heard.len() >= 2, "one may come late: {heard:?}");
        assert!(heard.iter().all(|what| what == "WATCHDOG=1"), "{heard:?}");
        fake.is_wedged.store(true, Ordering::Relaxed);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(listener.heard(), [""; 0]);
        fake.is_wedged.store(false, Ordering::Relaxed);
        tokio::time::sleep(PATIENCE).await;
        assert!(!listener.heard().is_empty(), "it goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_signs_of_life_without_a_watchdog_or_with_another_process() {
        let listener = Listener::new();
        for variables in [&[][..], &of_watchdog("1"), &[("WATCHDOG_USEC", "0")]] {
            let manager = listener.manager(variables);
            assert_eq!(manager.patience, None, "{variables:?}");
            manager.clone().keep_alive(Arc::new(Fake::default()));
            tokio::time::sleep(2 * PATIENCE).await;
            assert_eq!(listener.heard(), [""; 0], "{variables:?}");
            manager.ready();
            assert_eq!(listener.heard(), ["READY=1"], "{variables:?}");
        }
    }

    #[test]
    fn a_socket_that_nobody_has_does_not_keep_anything_from_working() {
        for name in [None, Some(""), Some("/nowhere/notify"), Some("@")] {
            let manager = ServiceManager::told(|variable| match variable {
                "NOTIFY_SOCKET" => name.map(str::to_owned),
                _ => None,
            });
            manager.ready();
            manager.stopping();
        }
    }
}
