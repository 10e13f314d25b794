//! `outflow monitor`.

use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tracing::{error, info};

use super::service_manager::ServiceManager;
use super::signals::Signals;
use super::{Exit, accept, fail};
use crate::admin::{Observed, Server};
use crate::config::load_monitor;
use crate::config::settings::MonitorSettings;
use crate::config::surroundings::Host;
use crate::error::Error;
use crate::logging;
use crate::monitor::{Clusters, Monitor};
use crate::notify::Notifications;
use crate::offsets::TopicPartition;
use crate::status::SinkStatus;

/// Watches clusters until a signal.
pub fn run(file: &Path, flags: &[String]) -> Exit {
    let settings = match accept(load_monitor(file, flags, &Host)) {
        Ok(loaded) => loaded.settings,
        Err(exit) => return exit,
    };
    if let Err(error) = logging::start(&settings.log) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("admin")
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::unavailable(format!("no runtime: {error}"))),
    };
    let exit = runtime.block_on(serve(&settings)).unwrap_or_else(|error| {
        error!("{error}");
        Exit::Failed
    });
    runtime.shutdown_background();
    exit
}

async fn serve(settings: &MonitorSettings) -> Result<Exit, Error> {
    let mut signals = Signals::new()?;
    let monitor = Arc::new(Monitor::start(&settings.clusters)?);
    let observed = Arc::new(Watching(monitor.clone()));
    let mut registry = Registry::default();
    let runtime = Handle::current();
    let clusters = monitor.clusters();
    let _told = Notifications::start(&settings.notify, clusters, &runtime, &mut registry)?;
    let server = Server::bind(&settings.admin, observed.clone(), registry).await?;
    let names: Vec<_> = settings.clusters.iter().map(|c| &*c.name).collect();
    let admin = server.as_ref().and_then(Server::address);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        admin = admin.map_or_else(|| "off".to_owned(), |address| address.to_string()),
        "watching {}",
        names.join(", ")
    );
    if let Some(server) = server {
        tokio::spawn(server.serve());
    }
    let manager = Arc::new(ServiceManager::find());
    manager.ready();
    manager.clone().keep_alive(observed);
    signals.next().await;
    manager.stopping();
    monitor.stop();
    info!("stopped");
    Ok(Exit::Fine)
}

/// The monitor, as the admin server sees it.
struct Watching(Arc<Monitor>);

impl Observed for Watching {
    fn sinks(&self) -> Vec<SinkStatus> {
        Vec::new()
    }

    fn release(&self, sink: &str, _: &TopicPartition) -> Result<(), Error> {
        let what = format!("no sink is named {sink:?}: this process watches groups");
        Err(Error::rejected(what))
    }

    fn clusters(&self) -> Clusters {
        self.0.clusters()
    }

    fn is_monitor(&self) -> bool {
        true
    }

    fn not_alive(&self) -> Vec<String> {
        let dead = self.0.dead().into_iter();
        let told = |cluster| format!("cluster {cluster}: whoever watches it is gone");
        dead.map(told).collect()
    }

    /// An outage is waited out; what a person must mend isn't, nor is the time until all commits are read.
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for watched in self.0.clusters() {
            let (name, standing) = (&watched.about.name, watched.standing());
            let trouble = standing.trouble.as_deref();
            if let (Some(trouble), true) = (trouble, standing.needs_a_person) {
                reasons.push(format!("cluster {name}: {trouble}"));
            } else if !standing.is_ready {
                let why = trouble.unwrap_or("its commits are being read");
                reasons.push(format!("cluster {name}: {why}"));
            }
        }
        reasons
    }
}
