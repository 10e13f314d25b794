//! `outflow run`: the sinks, the admin server, and the way out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tracing::{error, info, warn};

use super::signals::Signals;
use super::{Exit, say};
use crate::admin::{Observed, Server};
use crate::config::settings::{AdminSettings, Settings};
use crate::config::surroundings::Host;
use crate::config::{self, problem::Problems};
use crate::error::Error;
use crate::pipeline::supervisor::Supervisor;
use crate::{logging, service};

/// Beyond the workers' own deadline, for threads to end.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the sinks of these files until a signal.
pub fn run(files: &[PathBuf], flags: &[String]) -> Exit {
    let (settings, warnings) = match config::load_sinks(files, flags, &Host) {
        Ok(outcome) => {
            let settings: Vec<_> = outcome.loaded.into_iter().map(|l| l.settings).collect();
            (settings, outcome.warnings)
        }
        Err(problems) => {
            say(&problems);
            return Exit::Misused;
        }
    };
    let Some(first) = settings.first() else { return Exit::Misused };
    if let Err(why) = logging::start(&first.log) {
        say(&format!("{why}\n"));
        return Exit::Misused;
    }
    match serve(settings, &warnings) {
        Ok(exit) => exit,
        Err(why) => {
            error!("{why}");
            Exit::Failed
        }
    }
}

fn serve(settings: Vec<Settings>, warnings: &Problems) -> Result<Exit, Error> {
    for warning in &warnings.0 {
        warn!("{warning}");
    }
    let admin = admin(&settings);
    let timeouts = settings.iter().map(|settings| settings.shutdown_timeout);
    let shutdown_timeout = timeouts.max().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Error::unavailable(format!("no runtime: {why}")))?;
    // The signals are taken over before anything starts that they should end well.
    let mut signals = runtime.block_on(async { Signals::new() })?;

    let mut registry = Registry::default();
    let plans = service::plans(settings, &mut registry)?;
    let names: Vec<_> = plans.iter().map(|plan| plan.name.to_string()).collect();
    info!(version = env!("CARGO_PKG_VERSION"), sinks = names.join(", "), "outflow starts");
    let supervisor = Arc::new(Supervisor::start(plans));

    let observed: Arc<dyn Observed> = supervisor.clone();
    runtime.block_on(async {
        if let Some(server) = Server::bind(&admin, observed, registry).await? {
            if let Some(address) = server.address() {
                info!(%address, "health, metrics and status are served");
            }
            tokio::spawn(server.serve());
        }
        signals.next().await;
        info!(timeout = ?shutdown_timeout, "asked to stop: draining; a second signal leaves at once");
        let deadline = Instant::now() + shutdown_timeout;
        supervisor.shut_down(deadline);
        let ended = tokio::task::spawn_blocking(move || supervisor.join(deadline + GRACE));
        tokio::select! {
            ended = ended => Ok(match ended {
                Ok(true) => Exit::Fine,
                _ => Exit::Incomplete,
            }),
            exit = signals.next() => Ok(exit),
        }
    })
}

/// The admin server is the process's: the first file that has it on decides.
fn admin(settings: &[Settings]) -> AdminSettings {
    let mut all = settings.iter().map(|settings| &settings.admin);
    let on = all.clone().find(|admin| admin.listen.is_some());
    on.or(all.next()).cloned().unwrap_or(AdminSettings {
        listen: None,
        token: None,
        allow_unauthenticated: false,
    })
}
