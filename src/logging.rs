//! Logs, to standard error: text for people, JSON for machines. Records' contents are never logged above
//! debug, and a panic says where it happened, never what it was about.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::settings::LogSettings;
use crate::error::Error;

/// Starts logging for the whole process, once.
pub fn start(settings: &LogSettings) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| Error::misconfigured(format!("log.filter: {error}")))?;
    // The HDFS client's own debug lines hold tokens and keys of its connections.
    let quiet = "hdfs_native=info".parse();
    let quiet = quiet.map_err(|error| Error::misconfigured(format!("log.filter: {error}")))?;
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(io::stderr);
    let started = if settings.json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| Error::misconfigured(format!("logging can't start: {error}")))?;
    quiet_panics();
    Ok(())
}

/// A panic's message may quote a record or a secret: only its place is logged.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(
            || "somewhere".to_owned(),
            |at| format!("{}:{}", at.file(), at.line()),
        );
        let thread = std::thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("?"),
            place,
            "panicked: this is a fault of outflow, please report it; what can be is restarted"
        );
    }));
}
