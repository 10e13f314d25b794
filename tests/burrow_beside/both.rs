//! Burrow and the monitor, started on one cluster and asked in one breath.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testbed::guard::{TestDir, wait_until};
use testbed::http::{Http, Method};
use testbed::{Burrow, BurrowOptions, Kafka, Outflow};

const LONG: Duration = Duration::from_secs(60);

/// One window for both: four commits, and four log ends of a second each. Mends are off.
pub struct Both {
    burrow: Burrow,
    outflow: Outflow,
    same: Cell<usize>,
    _dir: TestDir,
}

/// An answer without what has to differ: the host's name, and when a commit was read.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Value,
}

impl Both {
    pub fn start(kafka: &Kafka, burrow: &Path) -> Both {
        let options = BurrowOptions {
            intervals: 4,
            offset_refresh: 1,
            topic_refresh: 1,
            expire_cache: 1,
        };
        let burrow = Burrow::start(burrow, kafka, options).unwrap();
        let dir = TestDir::new("beside").unwrap();
        let server = kafka.bootstrap();
        let config = |address: &str| {
            format!(
                "[admin]\nlisten = \"{address}\"\n[[cluster]]\nname = \"local\"\nbootstrap_servers = \"{server}\"\n\
             offset_refresh = \"1s\"\ntopic_refresh = \"1s\"\nintervals = 4\n\
             [cluster.mends]\ntrend = false\nquiet = false\nprompt_stop = false\nevery_rewind = false\n\
             young_window = false\n"
            )
        };
        let binary = env!("CARGO_BIN_EXE_outflow");
        let outflow = Outflow::configured(binary, "monitor", dir.path(), config).unwrap();
        outflow.wait_ready(LONG).unwrap();
        Both {
            burrow,
            outflow,
            same: Cell::new(0),
            _dir: dir,
        }
    }

    /// Waits until both answer the same. Each stores, reads and judges at its own pace.
    pub fn agree(&self, path: &str) -> Value {
        self.agree_when(path, |_| true)
    }

    /// Waits until both answer the same, and it is this.
    pub fn agree_when(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let check = || {
            let [burrow, outflow] = self.ask(&Method::GET, path, None);
            match burrow == outflow && is_it(&burrow.body) {
                true => Ok(burrow.body),
                false => Err(format!(
                    "\nBurrow  {} {}\noutflow {} {}",
                    burrow.status, burrow.body, outflow.status, outflow.body
                )),
            }
        };
        let agreed = wait_until(&format!("{path} is answered alike"), LONG, check);
        self.same.set(self.same.get() + 1);
        agreed.unwrap()
    }

    /// Demands the same answer at once.
    pub fn same(&self, method: Method, path: &str, body: Option<&str>) {
        let [burrow, outflow] = self.ask(&method, path, body);
        assert_eq!(burrow, outflow, "{method} {path} {body:?}");
        self.same.set(self.same.get() + 1);
    }

    /// Waits until both say the same under Burrow's names, but for what Burrow says of topics that are `gone`: it
    /// forgets their other figures, but keeps the last verdicts forever.
    pub fn agree_on_metrics(&self, gone: &[&str]) {
        let is_stale = |sample: &String| {
            let is_of = |topic: &&str| sample.contains(&format!("topic=\"{topic}\""));
            sample.starts_with("burrow_kafka_topic_partition_status") && gone.iter().any(is_of)
        };
        let check = || {
            let [mut burrow, outflow] = self.clients().map(figures);
            burrow.retain(|sample| !is_stale(sample));
            assert!(!burrow.is_empty());
            let only = |of: &BTreeSet<String>, other| of.difference(other).cloned().collect();
            let [ours, theirs]: [Vec<String>; 2] =
                [only(&outflow, &burrow), only(&burrow, &outflow)];
            match ours.is_empty() && theirs.is_empty() {
                true => Ok(()),
                false => Err(format!(
                    "\nonly Burrow  {theirs:#?}\nonly outflow {ours:#?}"
                )),
            }
        };
        wait_until("the metrics are the same", LONG, check).unwrap();
        self.same.set(self.same.get() + 1);
    }

    pub fn num_same(&self) -> usize {
        self.same.get()
    }

    fn clients(&self) -> [&Http; 2] {
        [self.burrow.http(), self.outflow.http().unwrap()]
    }

    fn ask(&self, method: &Method, path: &str, body: Option<&str>) -> [Answer; 2] {
        self.clients().map(|http| {
            let body = body.map(|body| ("application/json", body.as_bytes().to_vec()));
            let answer = http.send(method.clone(), path, body).unwrap();
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            plain(&mut body);
            let status = answer.status;
            Answer { status, body }
        })
    }
}

/// Takes away what has to differ, and brings lists that Burrow gives in any order into one.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("host");
            fields.remove("observedAt");
            fields.values_mut().for_each(plain);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(plain);
            let is_list = items
                .iter()
                .all(|item| item.is_string() || item.get("topic").is_some());
            if is_list {
                items.sort_by_cached_key(Value::to_string);
            }
        }
        _ => {}
    }
}

/// Samples, with their labels sorted.
fn figures(http: &Http) -> BTreeSet<String> {
    let text = http.get("/metrics").unwrap().text();
    let samples = text
        .lines()
        .filter(|line| line.starts_with("burrow_kafka_"));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap();
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        let value: f64 = value.parse().unwrap();
        format!("{name}{{{}}} {value}", labels.join(","))
    };
    samples.map(sample).collect()
}
