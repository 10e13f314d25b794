//! Every choice of the consumer with every other: group protocol x way to come by partitions x commit mode x
//! way to end, each judged by the checker, into both sinks where the mode allows it.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use testbed::guard::wait_until;
use testbed::{Cluster, Ledger, Outflow, exclusive};

use super::support::{PATIENCE, Stage};

/// Cases that run at once: each mostly waits.
const AT_ONCE: usize = 4;
/// Records before the end of the first process, and as many after it.
const RECORDS: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Classic,
    Consumer,
    /// Fixed partitions have no group.
    NoGroup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Subscribe,
    Pattern,
    Assign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CleanStop,
    Kill,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    protocol: Protocol,
    by: By,
    mode: &'static str,
    end: End,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            protocol,
            by,
            mode,
            end,
        } = self;
        write!(f, "{protocol:?}, {by:?}, {mode}, {end:?}")
    }
}

fn cases() -> Vec<Case> {
    let ways = [
        (Protocol::Classic, By::Subscribe),
        (Protocol::Classic, By::Pattern),
        (Protocol::Consumer, By::Subscribe),
        (Protocol::Consumer, By::Pattern),
        (Protocol::NoGroup, By::Assign),
    ];
    let mut cases = Vec::new();
    for (protocol, by) in ways {
        for mode in ["batch", "record", "async", "interval"] {
            for end in [End::CleanStop, End::Kill] {
                cases.push(Case {
                    protocol,
                    by,
                    mode,
                    end,
                });
            }
        }
    }
    cases
}

impl Case {
    /// HDFS refuses `record`: its files become final, not records.
    fn sinks(&self) -> &'static [&'static str] {
        match self.mode {
            "record" => &["elasticsearch"],
            _ => &["elasticsearch", "hdfs"],
        }
    }

    fn config(&self, stage: &Stage<'_>, sink: &str) -> PathBuf {
        let topic = &stage.topic;
        let reads = match self.by {
            By::Subscribe => format!("topics = [\"{topic}\"]"),
            By::Pattern => {
                format!("topics_pattern = \"{topic}|{topic}-none\"\ntopics_exclude = [\".*-none\"]")
            }
            By::Assign => format!("assign = [\"{topic}:0-1\"]"),
        };
        let (protocol, session) = match self.protocol {
            Protocol::Classic => (
                "group_protocol = \"classic\"",
                "\"session.timeout.ms\" = 6000",
            ),
            Protocol::Consumer => ("group_protocol = \"consumer\"", ""),
            Protocol::NoGroup => ("", ""),
        };
        let interval = match self.mode {
            "interval" => "commit_interval = \"500ms\"",
            _ => "",
        };
        let section = match sink {
            "hdfs" => format!(
                "[hdfs]\nurl = \"{}\"\nconfig_dir = \"{}\"\nuser = \"{}\"\nbase = \"{}\"\n\
                 [hdfs.rotate]\nrecords = 100\nage = \"1s\"",
                stage.cluster.hdfs.url(),
                stage.cluster.hdfs.config_dir().display(),
                stage.cluster.hdfs.user(),
                stage.base,
            ),
            _ => format!(
                "[elasticsearch]\nurls = [\"{}\"]\nindex = \"{{topic}}\"",
                stage.cluster.elasticsearch.url()
            ),
        };
        let text = format!(
            "name = \"{sink}\"\nworkers = 1\nstate_dir = \"{state}\"\n\
             [kafka]\nbootstrap_servers = \"{bootstrap}\"\n{reads}\ngroup_id = \"{group}\"\n{protocol}\n\
             commit_mode = \"{mode}\"\n{interval}\n[kafka.properties]\n{session}\n{section}\n",
            state = stage.dir().display(),
            bootstrap = stage.cluster.kafka.bootstrap(),
            group = stage.group(sink),
            mode = self.mode,
        );
        let path = stage.dir().join(format!("{sink}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, stage: &Stage<'_>) -> Outflow {
        let configs = self.sinks().iter().map(|sink| self.config(stage, sink));
        let mut args = Vec::new();
        for config in configs {
            args.extend(["--config".to_owned(), config.display().to_string()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        stage.spawn(&args)
    }

    fn run(&self, cluster: &Cluster, number: usize) {
        let stage = Stage::new(cluster, &format!("choice-{number}"), 2);
        let mut ledger = stage.produce(RECORDS, 1);
        let outflow = self.start(&stage);
        match self.end {
            End::CleanStop => {
                self.wait_for(&stage, &outflow, RECORDS);
                self.stop(&outflow);
            }
            // In the middle of the work, as far as it can be met.
            End::Kill => {
                self.wait_for(&stage, &outflow, RECORDS / 3);
                outflow.kill().unwrap();
            }
        }
        ledger.merge(stage.produce(RECORDS, 2));
        let outflow = self.start(&stage);
        self.wait_for(&stage, &outflow, 2 * RECORDS);
        self.stop(&outflow);
        self.judge(&stage, &ledger);
    }

    fn wait_for(&self, stage: &Stage<'_>, outflow: &Outflow, records: usize) {
        for sink in self.sinks() {
            let what = format!("{self}: {sink} has {records} records");
            let waited = wait_until(&what, PATIENCE, || match stage.num_written(sink) {
                num if num >= records => Ok(()),
                num => Err(format!("{num} so far")),
            });
            if let Err(why) = waited {
                panic!("{why}\n{}", outflow.log());
            }
        }
    }

    fn stop(&self, outflow: &Outflow) {
        let code = outflow.stop(Duration::from_secs(40)).unwrap();
        assert_eq!(code, 0, "{self} didn't end cleanly:\n{}", outflow.log());
    }

    fn judge(&self, stage: &Stage<'_>, ledger: &Ledger) {
        stage.check_elasticsearch(ledger);
        let documents = stage.cluster.elasticsearch.documents();
        let all = documents.all(&stage.topic).unwrap();
        let again = all.iter().filter(|document| document.version > 1).count();
        match (self.end, self.mode) {
            (End::CleanStop, _) => assert_eq!(again, 0, "{self}: delivered again"),
            (End::Kill, "record") => assert!(again <= 1, "{self}: {again} delivered again"),
            (End::Kill, _) => {}
        }
        if self.sinks().contains(&"hdfs") {
            stage.check_hdfs(ledger);
        }
        if self.by != By::Assign {
            for sink in self.sinks() {
                let committed = stage.committed(sink);
                assert_eq!(
                    committed,
                    ledger.len() as i64,
                    "{self}: {sink} hasn't committed what it has written"
                );
            }
        }
    }
}

#[test]
fn every_way_to_join_read_commit_and_end_loses_nothing_and_doubles_nothing() {
    let cluster = exclusive();
    // OUTFLOW_CASE="Consumer, Pattern, batch, Kill" runs just those whose names begin so.
    let wanted = std::env::var("OUTFLOW_CASE").unwrap_or_default();
    let cases = cases().into_iter().enumerate();
    let cases = cases.filter(|(_, case)| case.to_string().starts_with(&wanted));
    let waiting = Mutex::new(VecDeque::from_iter(cases));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((number, case)) = { waiting.lock().unwrap().pop_front() } {
            let run = AssertUnwindSafe(|| case.run(&cluster, number));
            if catch_unwind(run).is_err() {
                failed.lock().unwrap().push(case.to_string());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "failed: {failed:#?}");
}
