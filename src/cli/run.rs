//! `outflow run`: files to settings, settings to plans, plans to a supervisor; then wait for a signal.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::service_manager::ServiceManager;
use super::signals::Signals;
use super::{Exit, Files, accept, fail};
use crate::admin::{Observed, Server};
use crate::config::settings::{AdminSettings, LagSettings, LogSettings, Settings};
use crate::config::{Loaded, deciding};
use crate::error::Error;
use crate::journal::Journal;
use crate::monitor::Clusters;
use crate::monitor::inside::Inside;
use crate::notify::Notifications;
use crate::notify::settings::NotifierSettings;
use crate::offsets::TopicPartition;
use crate::pipeline::supervisor::{Plan, Supervisor};
use crate::status::SinkStatus;
use crate::{logging, service};

/// Beyond the deadline that workers were given, until the process leaves all the same.
const GRACE: Duration = Duration::from_millis(500);

/// Runs sinks until a signal.
pub(super) fn run(files: &Files) -> Exit {
    let loaded = match accept(files.load_sinks(&files.config)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let Some(process) = Process::of(&loaded) else {
        return Exit::Misused;
    };
    if let Err(error) = logging::start(&process.log) {
        return fail(&error);
    }
    let settings = loaded.into_iter().map(|loaded| loaded.settings).collect();
    process.run(settings).unwrap_or_else(|error| {
        error!("{error}");
        Exit::Failed
    })
}

/// What the sinks of a process share.
struct Process {
    admin: AdminSettings,
    lag: LagSettings,
    notify: Vec<NotifierSettings>,
    log: LogSettings,
    shutdown_timeout: Duration,
}

impl Process {
    fn of(loaded: &[Loaded<Settings>]) -> Option<Process> {
        let deciding = |section| deciding(loaded, section).map(|loaded| &loaded.settings);
        Some(Process {
            admin: deciding("admin")?.admin.clone(),
            lag: deciding("lag")?.lag.clone(),
            notify: notifiers(loaded),
            log: deciding("log")?.log.clone(),
            shutdown_timeout: loaded.iter().map(|l| l.settings.shutdown_timeout).max()?,
        })
    }

    fn run(self, settings: Vec<Settings>) -> Result<Exit, Error> {
        let mut registry = Registry::default();
        let inside = Inside::new(&settings, &self.lag);
        let plans = service::plans(settings, &mut registry)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("admin")
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable(format!("no runtime: {error}")))?;
        let exit = runtime.block_on(self.serve(plans, inside, registry));
        runtime.shutdown_background();
        exit
    }

    async fn serve(
        self,
        plans: Vec<Plan>,
        inside: Inside,
        mut registry: Registry,
    ) -> Result<Exit, Error> {
        let mut signals = Signals::new()?;
        let (runtime, clusters) = (Handle::current(), inside.clusters());
        let _told = Notifications::start(&self.notify, clusters, &runtime, &mut registry)?;
        // The port first: if it is taken, nothing has joined a group yet.
        let sinks = Arc::new(Sinks {
            supervisor: OnceLock::new(),
            inside,
            journal: Arc::default(),
        });
        let server = Server::bind(&self.admin, sinks.clone(), registry).await?;
        let names: Vec<_> = plans.iter().map(|plan| plan.name.to_string()).collect();
        let admin = server.as_ref().and_then(Server::address);
        info!(
            version = env!("CARGO_PKG_VERSION"),
            admin = admin.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            "running {}",
            names.join(", ")
        );
        let start = || Supervisor::start_telling(plans, &sinks.journal);
        let supervisor = sinks.supervisor.get_or_init(start);
        tokio::spawn(look(sinks.clone(), self.lag.offset_refresh));
        if let Some(server) = server {
            tokio::spawn(server.serve());
        }
        let manager = Arc::new(ServiceManager::find());
        manager.ready();
        manager.clone().keep_alive(sinks.clone());
        signals.next().await;
        manager.stopping();
        let deadline = Instant::now() + self.shutdown_timeout;
        info!(
            "stopping: draining within {:?}; a second signal leaves at once",
            self.shutdown_timeout
        );
        supervisor.shut_down(deadline);
        let joining = sinks.clone();
        let join = tokio::task::spawn_blocking(move || {
            joining
                .supervisor
                .get()
                .is_none_or(|supervisor| supervisor.join(deadline + GRACE))
        });
        tokio::select! {
            clean = join => Ok(conclude(clean.unwrap_or(false))),
            insisted = signals.next() => {
                warn!("leaving at once: what was in flight is read again");
                Ok(insisted)
            }
        }
    }
}

/// Those of the first file that has any.
fn notifiers(loaded: &[Loaded<Settings>]) -> Vec<NotifierSettings> {
    let mut all = loaded.iter().map(|loaded| &loaded.settings.notify);
    all.find(|notify| !notify.is_empty())
        .cloned()
        .unwrap_or_default()
}

fn conclude(clean: bool) -> Exit {
    if clean {
        info!("stopped: everything taken is committed");
        return Exit::Fine;
    }
    warn!("stopped before everything taken was committed; nothing is lost, it is read again");
    Exit::Incomplete
}

/// The running sinks, as the admin server sees them; none before they are started.
struct Sinks {
    supervisor: OnceLock<Supervisor>,
    inside: Inside,
    journal: Arc<Journal>,
}

/// Looks how far the sinks have come, again and again.
async fn look(sinks: Arc<Sinks>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(supervisor) = sinks.supervisor.get() {
            sinks.inside.look(&supervisor.status());
        }
    }
}

impl Observed for Sinks {
    fn sinks(&self) -> Vec<SinkStatus> {
        let supervisor = self.supervisor.get();
        let mut sinks = supervisor.map(Supervisor::status).unwrap_or_default();
        self.inside.judge(&mut sinks);
        sinks
    }

    fn release(&self, sink: &str, partition: &TopicPartition) -> Result<(), Error> {
        match self.supervisor.get() {
            Some(supervisor) => supervisor.release_quarantine(sink, partition),
            None => Err(Error::unavailable("the sinks aren't started yet")),
        }
    }

    fn set_paused(&self, sink: &str, paused: bool) -> Result<(), Error> {
        match self.supervisor.get() {
            Some(supervisor) => supervisor.set_paused(sink, paused),
            None => Err(Error::unavailable("the sinks aren't started yet")),
        }
    }

    fn clusters(&self) -> Clusters {
        self.inside.clusters()
    }

    fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }
}
