//! `outflow agent`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::oneshot;
use tracing::error;

use super::service_manager::ServiceManager;
use super::signals::Signals;
use super::{Exit, accept, fail};
use crate::agent::{self, Farewell};
use crate::config::load_agent;
use crate::config::settings::AgentSettings;
use crate::config::surroundings::Host;
use crate::error::Error;
use crate::logging;

/// Runs the agent until a signal.
pub fn run(file: &Path, flags: &[String]) -> Exit {
    let settings = match accept(load_agent(file, flags, &Host)) {
        Ok(loaded) => loaded.settings,
        Err(exit) => return exit,
    };
    if let Err(error) = logging::start(&settings.log) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::unavailable(format!("no runtime: {error}"))),
    };
    runtime
        .block_on(supervise(settings))
        .unwrap_or_else(|error| {
            error!("{error}");
            Exit::Failed
        })
}

async fn supervise(settings: AgentSettings) -> Result<Exit, Error> {
    let mut signals = Signals::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (done_tx, mut done) = oneshot::channel();
    let told = stop.clone();
    let work = move || {
        let _ = done_tx.send(agent::run(&settings, &told));
    };
    let spawned = thread::Builder::new().name("agent".into()).spawn(work);
    spawned.map_err(|error| Error::unavailable(format!("no thread for the agent: {error}")))?;
    let manager = ServiceManager::find();
    manager.ready();
    tokio::select! {
        ended = &mut done => return conclude(ended),
        _ = signals.next() => stop.store(true, Ordering::Relaxed),
    }
    manager.stopping();
    tokio::select! {
        ended = &mut done => conclude(ended),
        insisted = signals.next() => Ok(insisted),
    }
}

/// An agent that panicked has dropped its sender.
fn conclude(
    ended: Result<Result<Farewell, Error>, oneshot::error::RecvError>,
) -> Result<Exit, Error> {
    match ended {
        Ok(Ok(Farewell { num_left: 0, .. })) => Ok(Exit::Fine),
        Ok(Ok(_)) => Ok(Exit::Incomplete),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::unavailable(
            "the agent panicked; the lines above say where",
        )),
    }
}
