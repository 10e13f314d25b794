//! Simulated hosts: records of the same shape as the agent's, so that there is more than one host to see.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testbed::Outgoing;

/// Hosts that report in turn.
pub struct Hosts {
    rng: StdRng,
    busy: Vec<f64>,
    next: usize,
}

impl Hosts {
    /// This many hosts, with loads drawn from `seed`.
    pub fn new(num: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let busy = (0..num.max(1))
            .map(|_| rng.random_range(0.05..0.9))
            .collect();
        Self { rng, busy, next: 0 }
    }

    /// The next host's report.
    pub fn record(&mut self) -> Outgoing {
        let host = self.next;
        self.next = (host + 1) % self.busy.len();
        let mut cpu = 0.5;
        if let Some(busy) = self.busy.get_mut(host) {
            *busy = (*busy + self.rng.random_range(-0.05..0.05)).clamp(0.01, 0.99);
            cpu = *busy;
        }
        let memory = 0.3 + cpu * 0.5;
        let name = format!("sim-{:03}", host + 1);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(0);
        let total = 16_u64 << 30;
        let used = (memory * total as f64) as u64;
        let value = format!(
            concat!(
                r#"{{"@timestamp":"{time}","ecs":{{"version":"8.11.0"}},"#,
                r#""host":{{"name":"{name}","hostname":"{name}"}},"#,
                r#""event":{{"dataset":"system.cpu","module":"system","kind":"metric"}},"#,
                r#""system":{{"cpu":{{"cores":8,"total":{{"norm":{{"pct":{cpu:.4}}}}}}},"#,
                r#""memory":{{"total":{total},"actual":{{"used":{{"bytes":{used},"pct":{memory:.4}}}}}}}}}}}"#
            ),
            time = iso(now_ms),
            name = name,
            cpu = cpu,
            total = total,
            used = used,
            memory = memory,
        );
        Outgoing {
            key: Some(name.into_bytes()),
            value: Some(value.into_bytes()),
            timestamp_ms: Some(now_ms),
            ..Outgoing::default()
        }
    }
}

/// A time as `2026-11-23T04:05:06.789Z`.
fn iso(unix_ms: i64) -> String {
    let (days, ms) = (
        unix_ms.div_euclid(86_400_000),
        unix_ms.rem_euclid(86_400_000),
    );
    // Howard Hinnant's `civil_from_days`, for days since 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, milli) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_iso() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(1_795_406_706_789), "2026-11-23T04:05:06.789Z");
    }

    #[test]
    fn reports_are_json_keyed_by_host() {
        let mut hosts = Hosts::new(2, 1);
        let names: Vec<String> = (0..3)
            .map(|_| {
                let record = hosts.record();
                let value = record.value.expect("a value");
                let value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
                let name = value["host"]["name"].as_str().expect("a name").to_owned();
                assert_eq!(record.key, Some(name.clone().into_bytes()));
                assert!(value["system"]["cpu"]["total"]["norm"]["pct"].is_f64());
                name
            })
            .collect();
        assert_eq!(names, ["sim-001", "sim-002", "sim-001"]);
    }
}
