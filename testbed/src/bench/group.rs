//! Members of the group: processes of the real binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::error::Context;
use testbed::guard::{TestDir, wait_until};
use testbed::{Kafka, Outflow, Result, Stub};

use super::Event;

const PATIENCE: Duration = Duration::from_secs(120);

/// A protocol, an assignor, and whether the members have ids of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// `classic` or `consumer`.
    pub protocol: &'static str,
    /// Kafka's name; the consumer protocol has the broker's.
    pub assignor: Option<&'static str>,
    /// Static membership.
    pub is_static: bool,
}

impl Way {
    /// All that make sense.
    pub fn all() -> Vec<Way> {
        let classic = |assignor, is_static| Way {
            protocol: "classic",
            assignor: Some(assignor),
            is_static,
        };
        let consumer = |is_static| Way {
            protocol: "consumer",
            assignor: None,
            is_static,
        };
        vec![
            classic("range", false),
            classic("roundrobin", false),
            classic("cooperative-sticky", false),
            classic("cooperative-sticky", true),
            consumer(false),
            consumer(true),
        ]
    }

    /// For the table.
    pub fn name(self) -> String {
        let with = if self.is_static { ", static" } else { "" };
        match self.assignor {
            Some(assignor) => format!("{}, {assignor}{with}", self.protocol),
            None => format!("{}{with}", self.protocol),
        }
    }

    /// For names of topics.
    pub fn slug(self) -> String {
        self.name().replace(", ", "-")
    }

    /// What is tried, in an order that leads from one to the next. A static member doesn't leave.
    pub fn events(self) -> &'static [Event] {
        match self.is_static {
            false => &[Event::Killed, Event::Joined, Event::Left, Event::Joined],
            true => &[Event::Restarted],
        }
    }
}

/// Up to three members, in one group.
pub struct Group<'a> {
    binary: &'a Path,
    kafka: &'a Kafka,
    stub: &'a Stub,
    way: Way,
    topics: String,
    group: String,
    dir: TestDir,
    members: [Option<Outflow>; 3],
    num_started: usize,
}

impl<'a> Group<'a> {
    /// Nobody yet. `topics` are separated by commas.
    pub fn new(
        binary: &'a Path,
        kafka: &'a Kafka,
        stub: &'a Stub,
        way: Way,
        topics: &str,
    ) -> Result<Self> {
        let quoted: Vec<_> = topics
            .split(',')
            .map(|topic| format!("{topic:?}"))
            .collect();
        Ok(Group {
            binary,
            kafka,
            stub,
            way,
            topics: quoted.join(", "),
            group: format!("{}-group", topics.replace(',', "-")),
            dir: TestDir::new("bench")?,
            members: [None, None, None],
            num_started: 0,
        })
    }

    /// Starts a member.
    pub fn start(&mut self, member: usize) -> Result<()> {
        self.num_started += 1;
        let config = self.config(member)?;
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port()?);
        let log = self
            .dir
            .path()
            .join(format!("outflow-{}.log", self.num_started));
        let env = [("OUTFLOW_ADMIN__LISTEN", admin.as_str())];
        let config = config.display().to_string();
        let args = ["run", "--config", &config];
        let outflow = Outflow::spawn(self.binary, &args, &env, log)?.with_admin(&admin);
        self.members[member] = Some(outflow);
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        self.members[member].take().map_or(Ok(()), |m| m.kill())
    }

    /// SIGTERM, without waiting for the end.
    pub fn stop(&mut self, member: usize) -> Result<()> {
        match self.members[member].take() {
            None => Ok(()),
            Some(outflow) => {
                outflow.terminate()?;
                // It ends by itself; waiting here would be time in which nobody looks.
                std::thread::spawn(move || outflow.wait(PATIENCE));
                Ok(())
            }
        }
    }

    /// Waits until the members share all partitions.
    pub fn wait_balanced(&self, num_partitions: usize) -> Result<()> {
        wait_until("the members share the partitions", PATIENCE, || match self
            .is_balanced(num_partitions)
        {
            true => Ok(()),
            false => Err(format!("{:?}{}", self.counts(), self.logs())),
        })
    }

    /// Whether the members hold all partitions, each once, and each member some.
    pub fn is_balanced(&self, num_partitions: usize) -> bool {
        let counts = self.counts();
        counts.iter().sum::<usize>() == num_partitions && counts.iter().all(|count| *count > 0)
    }

    fn counts(&self) -> Vec<usize> {
        self.holdings().iter().map(Vec::len).collect()
    }

    /// What each member holds, as topic and partition.
    pub fn holdings(&self) -> Vec<Vec<(String, i64)>> {
        let members = self.members.iter().flatten();
        members.map(holding).collect()
    }

    fn logs(&self) -> String {
        let members = self.members.iter().flatten();
        let tail = |outflow: &Outflow| {
            let log = outflow.log();
            let lines: Vec<_> = log.lines().rev().take(5).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        members
            .map(|outflow| format!("\n{}", tail(outflow)))
            .collect()
    }

    fn config(&self, member: usize) -> Result<PathBuf> {
        let Way {
            protocol,
            assignor,
            is_static,
        } = self.way;
        let mut more = format!("group_protocol = \"{protocol}\"\n");
        if let Some(assignor) = assignor {
            more += &format!("partition_assignment_strategy = \"{assignor}\"\n");
        }
        if is_static {
            more += &format!("group_instance_id = \"{}-{member}\"\n", self.way.slug());
        }
        let state = self.dir.path().join(format!("state-{member}"));
        std::fs::create_dir_all(&state).context("can't make a state folder")?;
        let text = format!(
            "name = \"bench\"\nworkers = 1\nmemory = \"64MiB\"\nstate_dir = {state:?}\n\
             [kafka]\nbootstrap_servers = \"{}\"\ntopics = [{}]\ngroup_id = \"{}\"\n{more}\n\
             [rejected]\npolicy = \"skip\"\n\
             [elasticsearch]\nurls = [\"{}\"]\nindex = \"{{topic}}\"\n",
            self.kafka.bootstrap(),
            self.topics,
            self.group,
            self.stub.url(),
        );
        let path = self.dir.path().join(format!("member-{member}.toml"));
        std::fs::write(&path, text).context("can't write a configuration")?;
        Ok(path)
    }
}

fn holding(outflow: &Outflow) -> Vec<(String, i64)> {
    let status = outflow.status().unwrap_or_default();
    let sinks = status.as_array().into_iter().flatten();
    let workers = sinks.flat_map(|sink| sink["workers"].as_array().into_iter().flatten());
    let partitions =
        workers.flat_map(|worker| worker["partitions"].as_array().into_iter().flatten());
    let held = partitions.map(|p| {
        let topic = p["topic"].as_str().unwrap_or_default().to_owned();
        (topic, p["partition"].as_i64().unwrap_or(-1))
    });
    let mut held: Vec<_> = held.collect();
    held.sort();
    held
}
