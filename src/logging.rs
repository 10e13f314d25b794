//! Logs, to standard error: text for people, JSON for machines. Records' contents are never logged above
//! debug, and a panic says where it happened, never what it was about.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::settings::LogSettings;
use crate::error::Error;

/// Starts logging for the whole process, once.
pub fn start(settings: &LogSettings) -> Result<(), Error> {
    let filter =
        filter(&settings.filter).map_err(|e| Error::misconfigured(format!("log.filter: {e}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(io::stderr);
    let started = if settings.json {
        let builder = builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        remember(&settings.filter, move |filter| {
            handle.reload(filter).is_ok()
        });
        builder.try_init()
    } else {
        let builder = builder
            .with_ansi(io::stderr().is_terminal())
            .with_filter_reloading();
        let handle = builder.reload_handle();
        remember(&settings.filter, move |filter| {
            handle.reload(filter).is_ok()
        });
        builder.try_init()
    };
    started.map_err(|error| Error::misconfigured(format!("logging can't start: {error}")))?;
    quiet_panics();
    Ok(())
}

/// What is logged now, and how to change it.
struct Level {
    text: Mutex<String>,
    reload: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

fn remember(text: &str, reload: impl Fn(EnvFilter) -> bool + Send + Sync + 'static) {
    let text = Mutex::new(text.to_owned());
    let reload = Box::new(reload);
    // Logging starts once, or not at all.
    let _ = LEVEL.set(Level { text, reload });
}

fn filter(text: &str) -> Result<EnvFilter, Box<dyn std::error::Error>> {
    // The HDFS client's own debug lines hold tokens and keys of its connections. It warns of each writer that
    // isn't closed by itself: the sink knows of each, and closes many sooner (sinks/hdfs/client/closing.rs).
    Ok(EnvFilter::try_new(text)?
        .add_directive("hdfs_native=info".parse()?)
        .add_directive("hdfs_native::file=error".parse()?))
}

/// What is logged: a level, or a filter.
pub fn level() -> String {
    let text = LEVEL.get().map(|level| level.text.lock());
    text.map_or_else(
        || "info".to_owned(),
        |text| text.unwrap_or_else(PoisonError::into_inner).clone(),
    )
}

/// Logs from this level on (`trace` to `error`) until it is changed again; `false` if there is no such level.
pub fn set_level(text: &str) -> bool {
    if !["trace", "debug", "info", "warn", "error"].contains(&text) {
        return false;
    }
    if let (Some(level), Ok(filter)) = (LEVEL.get(), filter(text))
        && (level.reload)(filter)
    {
        *level.text.lock().unwrap_or_else(PoisonError::into_inner) = text.to_owned();
        tracing::info!("logging from level {text} on, on request");
    }
    true
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
