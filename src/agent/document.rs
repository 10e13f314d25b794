//! Figures to JSON, in the field names of ECS and of Metricbeat's system module: a document for each
//! metricset, and one for each core, as Metricbeat makes them. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::sample::{Memory, Sample};
use crate::config::settings::AgentSettings;

/// The version of ECS that the fields follow.
const ECS_VERSION: &str = "8.0.0";

/// A host that figures are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// `host.name`, and the record's key.
    pub name: Arc<str>,
    /// Whether it is made up, and which of them.
    simulated: Option<u32>,
}

/// This host; or so many made-up ones instead: `host-001` and on.
pub fn hosts(name: &str, simulated: u32) -> Vec<Host> {
    if simulated == 0 {
        return vec![Host {
            name: name.into(),
            simulated: None,
        }];
    }
    let host = |n: u32| Host {
        name: format!("host-{n:03}").into(),
        simulated: Some(n),
    };
    (1..=simulated).map(host).collect()
}

impl Host {
    /// The sample as this host shows it: a made-up host's figures lie around the real ones, each host's
    /// elsewhere, and wander.
    pub fn disguise(&self, sample: &Sample) -> Sample {
        let Some(number) = self.simulated else {
            return sample.clone();
        };
        let phase = f64::from(number) * 2.399 + sample.timestamp_ms as f64 / 60_000.0;
        let factor = |shift: f64| 1.0 + 0.4 * (phase + shift).sin();
        let core = |(i, share): (usize, &f64)| (share.max(0.02) * factor(i as f64)).clamp(0.0, 1.0);
        let memory = sample.memory;
        let used = memory.total.saturating_sub(memory.available) as f64 * factor(0.5);
        let available = memory.total.saturating_sub(used as u64);
        Sample {
            timestamp_ms: sample.timestamp_ms,
            cores: sample.cores.iter().enumerate().map(core).collect(),
            load: sample
                .load
                .map(|load| load.map(|value| value * factor(1.0))),
            memory: Memory {
                available,
                free: memory.free.min(available),
                ..memory
            },
        }
    }
}

/// The documents of one sample.
pub fn documents(sample: &Sample, host: &Host, settings: &AgentSettings) -> Vec<Vec<u8>> {
    let mut metricsets = vec![("cpu", cpu(sample))];
    if let Some(load) = sample.load {
        metricsets.push(("load", self::load(load, sample.cores.len())));
    }
    metricsets.push(("memory", memory(&sample.memory)));
    if settings.per_core {
        let core = |(id, share): (usize, &f64)| {
            (
                "core",
                json!({ "id": id, "total": { "pct": rounded(*share) } }),
            )
        };
        metricsets.extend(sample.cores.iter().enumerate().map(core));
    }
    let at = time(sample.timestamp_ms);
    let whole = |(name, figures): (&str, Value)| {
        let mut document = json!({
            "@timestamp": at,
            "agent": { "name": &*host.name, "type": "outflow", "version": env!("CARGO_PKG_VERSION") },
            "ecs": { "version": ECS_VERSION },
            "event": { "dataset": format!("system.{name}"), "module": "system" },
            "host": { "architecture": std::env::consts::ARCH, "name": &*host.name },
            "metricset": { "name": name, "period": settings.interval.as_millis() as u64 },
            "service": { "type": "system" },
            "system": { name: figures },
        });
        if name == "cpu" {
            document["host"]["cpu"] = json!({ "usage": average(sample) });
        }
        document.to_string().into_bytes()
    };
    metricsets.into_iter().map(whole).collect()
}

fn cpu(sample: &Sample) -> Value {
    let norm = average(sample);
    let cores = sample.cores.len();
    json!({
        "cores": cores,
        "total": { "pct": rounded(norm * cores as f64), "norm": { "pct": norm } },
    })
}

fn load([one, five, fifteen]: [f64; 3], cores: usize) -> Value {
    let norm = |value: f64| rounded(value / cores.max(1) as f64);
    json!({
        "1": rounded(one),
        "5": rounded(five),
        "15": rounded(fifteen),
        "cores": cores,
        "norm": { "1": norm(one), "5": norm(five), "15": norm(fifteen) },
    })
}

fn memory(memory: &Memory) -> Value {
    let Memory {
        total,
        free,
        available,
        swap_total,
        swap_used,
    } = *memory;
    let used = total.saturating_sub(free);
    let actually_used = total.saturating_sub(available);
    json!({
        "total": total,
        "free": free,
        "used": { "bytes": used, "pct": share(used, total) },
        "actual": {
            "free": available,
            "used": { "bytes": actually_used, "pct": share(actually_used, total) },
        },
        "swap": {
            "total": swap_total,
            "free": swap_total.saturating_sub(swap_used),
            "used": { "bytes": swap_used, "pct": share(swap_used, swap_total) },
        },
    })
}

fn average(sample: &Sample) -> f64 {
    rounded(sample.cores.iter().sum::<f64>() / sample.cores.len().max(1) as f64)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        rounded(part as f64 / whole as f64)
    }
}

/// Four digits, as Metricbeat has them.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn time(timestamp_ms: i64) -> String {
    let at = Timestamp::from_millisecond(timestamp_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::settings::LogSettings;

    fn settings(per_core: bool) -> AgentSettings {
        AgentSettings {
            bootstrap_servers: "127.0.0.1:9".into(),
            topic: "host-metrics".into(),
            interval: Duration::from_secs(10),
            host_name: None,
            buffer_bytes: 1 << 20,
            per_core,
            simulate_hosts: 0,
            shutdown_timeout: Duration::from_secs(1),
            properties: BTreeMap::new(),
            log: LogSettings {
                json: false,
                filter: "info".into(),
            },
        }
    }

    fn sample() -> Sample {
        Sample {
            timestamp_ms: 1_795_406_400_123,
            cores: vec![0.25, 0.75],
            load: Some([1.0, 0.5, 0.25]),
            memory: Memory {
                total: 1_000,
                free: 100,
                available: 400,
                swap_total: 0,
                swap_used: 0,
            },
        }
    }

    fn parsed(per_core: bool) -> Vec<Value> {
        let host = &hosts("web-1", 0)[0];
        let documents = documents(&sample(), host, &settings(per_core));
        documents
            .iter()
            .map(|d| serde_json::from_slice(d).expect("JSON"))
            .collect()
    }

    #[test]
    fn fields_are_metricbeats() {
        let documents = parsed(true);
        let names: Vec<_> = documents
            .iter()
            .map(|d| d["metricset"]["name"].clone())
            .collect();
        assert_eq!(names, ["cpu", "load", "memory", "core", "core"]);
        assert_eq!(
            documents[0],
            json!({
                "@timestamp": "2026-11-23T04:00:00.123Z",
                "agent": { "name": "web-1", "type": "outflow", "version": env!("CARGO_PKG_VERSION") },
                "ecs": { "version": "8.0.0" },
                "event": { "dataset": "system.cpu", "module": "system" },
                "host": { "architecture": std::env::consts::ARCH, "name": "web-1", "cpu": { "usage": 0.5 } },
                "metricset": { "name": "cpu", "period": 10_000 },
                "service": { "type": "system" },
                "system": { "cpu": { "cores": 2, "total": { "pct": 1.0, "norm": { "pct": 0.5 } } } },
            })
        );
        assert_eq!(
            documents[1]["system"]["load"],
            json!({ "1": 1.0, "5": 0.5, "15": 0.25, "cores": 2,
                    "norm": { "1": 0.5, "5": 0.25, "15": 0.125 } })
        );
        assert_eq!(
            documents[2]["system"]["memory"],
            json!({
                "total": 1_000, "free": 100, "used": { "bytes": 900, "pct": 0.9 },
                "actual": { "free": 400, "used": { "bytes": 600, "pct": 0.6 } },
                "swap": { "total": 0, "free": 0, "used": { "bytes": 0, "pct": 0.0 } },
            })
        );
        assert_eq!(
            documents[4]["system"]["core"],
            json!({ "id": 1, "total": { "pct": 0.75 } })
        );
    }

    #[test]
    fn cores_can_be_left_out() {
        assert_eq!(parsed(false).len(), 3);
    }

    #[test]
    fn made_up_hosts_differ_and_stay_possible() {
        let hosts = hosts("web-1", 200);
        assert_eq!(&*hosts[6].name, "host-007");
        let samples: Vec<_> = hosts.iter().map(|host| host.disguise(&sample())).collect();
        assert_ne!(samples[0].cores, samples[1].cores);
        for Sample { cores, memory, .. } in samples {
            assert!(cores.iter().all(|share| (0.0..=1.0).contains(share)));
            assert!(memory.free <= memory.available && memory.available <= memory.total);
        }
    }
}
