//! Group B: what is in the topic changes: partitions, retention, compaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Error, Result};
use crate::guard::wait_until;
use crate::ledger::{Entry, Ledger};
use crate::produce::{Generator, Outgoing, Producer};

use super::super::case::{BOTH, Case, Expect, Fault, NONE, Seen, Setup, Sink, Target};
use super::super::judge::present;
use super::super::world::{PATIENCE, World};
use super::kafka::wait_for_share;

const GROWS: Case = Case {
    id: "F22",
    name: "partitions are added to the topic",
    target: Target::Process,
    setup: Setup {
        partitions: 8,
        partitions_later: 4,
        lines: super::super::case::Lines {
            properties: "\"topic.metadata.refresh.interval.ms\" = \"5000\"",
            ..Setup::PLAIN.lines
        },
        ..Setup::PLAIN
    },
    expect: Expect {
        rebalances: true,
        ..Expect::only(NONE)
    },
    in_subset: false,
    random: false,
    fault: |_| Box::new(Grows::default()),
};

/// The cases.
pub const CASES: &[Case] = &[
    GROWS,
    Case {
        id: "F24",
        name: "retention takes what wasn't read: it stops and says so, and goes on when it is told to",
        setup: Setup::PLAIN,
        expect: AWAY,
        fault: |_| Box::new(Retention::default()),
        ..GROWS
    },
    Case {
        id: "F27",
        name: "a topic is compacted while nobody reads it, with tombstones",
        setup: Setup {
            topic: COMPACTED,
            ..Setup::PLAIN
        },
        expect: AWAY,
        fault: |_| Box::new(Compaction::default()),
        ..GROWS
    },
];

/// outflow is away for a while.
const AWAY: Expect = Expect {
    restarts: true,
    rebalances: true,
    ..Expect::only(BOTH)
};

/// Four partitions more, with records in them before anybody knows.
#[derive(Default)]
struct Grows {
    before: BTreeMap<Sink, i64>,
    num: u64,
}

impl Fault for Grows {
    fn inject(&mut self, world: &World) -> Result<()> {
        let (all, later) = (world.setup.partitions, world.setup.partitions_later);
        world.kafka.client().add_partitions(&world.topic, all)?;
        let mut generator = Generator::new(format!("{}-later", world.topic), world.seed);
        // The load's own producer learns of them only minutes later.
        let producer = Producer::new(&world.kafka.bootstrap())?;
        for index in 0..400 {
            let mut record = generator.record();
            let partition = all - later + index % later;
            record.partition = i32::try_from(partition).ok();
            producer.send(&world.topic, &record)?;
        }
        producer.flush()?;
        world.claims.add(producer.ledger());
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let first = world.setup.partitions - world.setup.partitions_later;
        let first = i32::try_from(first).unwrap_or(i32::MAX);
        for sink in world.setup.sinks {
            let committed = world.watch.each_partition(*sink);
            let later = committed.range(first..).map(|(_, offset)| *offset);
            self.before.insert(*sink, later.sum());
        }
        // From their beginning: all that was in them.
        self.num = self.before.values().filter(|sum| **sum >= 400).count() as u64;
        Ok(self.num == world.setup.sinks.len() as u64)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(
            self.num * 4,
            "new partitions read from their beginning",
        ))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }
}

/// outflow is away, and what it hasn't read is deleted but for the newest.
#[derive(Default)]
struct Retention {
    first: BTreeMap<i32, i64>,
    /// What Elasticsearch's group had committed: what stands behind it may be there, but nobody knows.
    committed: i64,
    stopped: u64,
}

impl Fault for Retention {
    fn inject(&mut self, world: &World) -> Result<()> {
        let client = world.kafka.client();
        world.kill()?;
        let wanted = world.num_produced() + 4_000;
        wait_until("more is produced", PATIENCE, || {
            let num = world.num_produced();
            (num >= wanted).then_some(()).ok_or(format!("{num}"))
        })?;
        for (partition, (_, end)) in client.watermarks(&world.topic)? {
            let first = end - 100;
            client.delete_records(&world.topic, partition, first)?;
            self.first.insert(partition, first);
        }
        let group = super::super::config::group(&world.topic, Sink::Elasticsearch);
        self.committed = client.committed(&group, &world.topic)?.values().sum();
        world.start().map(|_| ())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let all = world.setup.partitions * world.setup.sinks.len();
        let stopped = world
            .outflow()?
            .metric("outflow_quarantined_partitions", &[]);
        // Until it has partitions there is nothing to ask.
        self.stopped = stopped.unwrap_or_default().unwrap_or(0.0) as u64;
        Ok(self.stopped == all as u64)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(
            self.stopped,
            "partitions that stopped and said why",
        ))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        let outflow = world.outflow()?;
        outflow.stop(PATIENCE)?;
        world.forget(&outflow);
        let go_on = [("OUTFLOW_KAFKA__ON_OFFSET_LOST", "earliest")];
        let outflow = world.start_with(&[], &go_on)?;
        wait_for_share(&outflow, world, world.setup.partitions)
    }

    fn verify(&mut self, world: &World, ledger: &Ledger) -> Result<()> {
        for sink in world.setup.sinks {
            let there = present(world, *sink)?;
            let place = |entry: &Entry| (entry.partition, entry.offset);
            let missing: BTreeSet<_> = ledger
                .iter()
                .map(place)
                .filter(|p| !there.contains(*p))
                .collect();
            // Only what was deleted, and all of it in one piece: else something else was lost.
            for (partition, first) in &self.first {
                let offsets: Vec<i64> = missing
                    .iter()
                    .filter(|(of, _)| of == partition)
                    .map(|(_, offset)| *offset)
                    .collect();
                let begin = offsets.first().copied().unwrap_or(*first);
                if offsets != (begin..*first).collect::<Vec<_>>() {
                    let name = sink.name();
                    let text = format!(
                        "{name}, partition {partition}: {begin}..{first} was deleted, {} are missing",
                        offsets.len()
                    );
                    return Err(Error::new(text));
                }
            }
            let label = format!("sink=\"{}\"", sink.name());
            let outflow = world.outflow()?;
            let counted = outflow.metric("outflow_skipped_offsets_total", &[&label])?;
            let first: i64 = self.first.values().sum();
            let expected = match sink {
                Sink::Elasticsearch => first - self.committed,
                Sink::Hdfs => missing.len() as i64,
            };
            if counted != Some(expected as f64) || missing.is_empty() {
                let logs = world.logs();
                let said = logs.lines().filter(|line| line.contains("are skipped"));
                let text = format!(
                    "I11: {label} counts {counted:?} skipped offsets, not {expected}; {} are missing:\n{}",
                    missing.len(),
                    said.collect::<Vec<_>>().join("\n")
                );
                return Err(Error::new(text));
            }
            world.claims.excuse(*sink, missing);
        }
        Ok(())
    }
}

const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "300"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
    ("max.compaction.lag.ms", "500"),
];

/// outflow is away, and most of what it hasn't read is compacted away; some keys are deleted.
#[derive(Default)]
struct Compaction {
    ends: BTreeMap<i32, i64>,
    holes: u64,
}

impl Fault for Compaction {
    fn inject(&mut self, world: &World) -> Result<()> {
        world.kill()?;
        let ends = world.kafka.client().watermarks(&world.topic)?;
        self.ends = ends.into_iter().map(|(p, (_, end))| (p, end)).collect();
        for key in 0..10 {
            let tombstone = Outgoing {
                partition: None,
                key: Some(format!("key-{key}").into_bytes()),
                value: None,
                headers: Vec::new(),
                timestamp_ms: None,
            };
            world.send(&tombstone)?;
        }
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let client = world.kafka.client();
        let ends = client.watermarks(&world.topic)?;
        let since = |partition: &i32| self.ends.get(partition).copied().unwrap_or(0);
        let new: i64 = ends.iter().map(|(p, (_, end))| end - since(p)).sum();
        if new < 5_000 {
            return Ok(false);
        }
        let left = client.read_all(&world.topic)?;
        let left = left.iter().filter(|r| r.offset >= since(&r.partition));
        let holes = u64::try_from(new).unwrap_or(0);
        self.holes = holes.saturating_sub(left.count() as u64);
        Ok(self.holes > 3_000)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.holes, "unread records compacted away"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.start().map(|_| ())
    }

    fn verify(&mut self, world: &World, ledger: &Ledger) -> Result<()> {
        let topic = world.kafka.client().read_all(&world.topic)?;
        let left: BTreeSet<_> = topic.iter().map(|r| (r.partition, r.offset)).collect();
        let gone = ledger.filtered(|entry| !left.contains(&(entry.partition, entry.offset)));
        let files = world.hdfs.files().committed(&world.base)?;
        // A file's name covers the holes in it, too: its lines tell. No two records have the same value.
        let lines: HashSet<&[u8]> = files
            .iter()
            .flat_map(|f| &f.lines)
            .map(Vec::as_slice)
            .collect();
        for sink in world.setup.sinks {
            let there = present(world, *sink)?;
            let has = |entry: &Entry| match sink {
                Sink::Elasticsearch => there.contains((entry.partition, entry.offset)),
                Sink::Hdfs => entry.value.as_deref().is_some_and(|v| lines.contains(v)),
            };
            let missing = gone.iter().filter(|entry| !has(entry));
            let missing = missing.map(|entry| (entry.partition, entry.offset));
            world.claims.excuse(*sink, missing);
        }
        Ok(())
    }
}
