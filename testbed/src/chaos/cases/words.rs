//! What outflow says of a sink, as proof that a fault was felt for the reason that it has.

use serde_json::Value;

use super::super::case::Sink;
use super::super::world::World;

/// Counts the errors of a sink that say what they must.
pub struct Words {
    sink: Sink,
    needles: &'static [&'static str],
    last_ms: i64,
    num: u64,
}

impl Words {
    /// Errors of `sink` that have one of `needles` in them.
    pub fn new(sink: Sink, needles: &'static [&'static str]) -> Self {
        Self {
            sink,
            needles,
            last_ms: i64::MAX,
            num: 0,
        }
    }

    /// From now on.
    pub fn begin(&mut self, world: &World) {
        let errors = errors(world, self.sink);
        self.last_ms = errors.iter().map(|(at, _)| *at).max().unwrap_or(0);
    }

    /// Looks again, and says how many there were.
    pub fn look(&mut self, world: &World) -> u64 {
        for (at, error) in errors(world, self.sink) {
            if at > self.last_ms && self.needles.iter().any(|word| error.contains(word)) {
                self.last_ms = at;
                self.num += 1;
            }
        }
        self.num
    }
}

/// The last error of a sink in each instance, and when it was (Unix milliseconds).
fn errors(world: &World, sink: Sink) -> Vec<(i64, String)> {
    let mut errors = Vec::new();
    for outflow in world.instances() {
        // One that another fault has frozen or killed says nothing.
        let Ok(status) = outflow.status() else {
            continue;
        };
        let sinks = status.as_array().into_iter().flatten();
        let health = sinks.filter(|of| of["name"] == sink.name());
        errors.extend(health.filter_map(|sink| error(&sink["health"])));
    }
    errors
}

fn error(health: &Value) -> Option<(i64, String)> {
    let at = health["last_error_ms"].as_i64()?;
    Some((at, health["last_error"].as_str()?.to_owned()))
}
