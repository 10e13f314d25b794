//! Group A: outflow is killed at exact moments, which a proxy sees in the bytes that pass it. There are no
//! failpoints in the product.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::guard::Signal;
use crate::http_proxy::Fault as HttpFault;
use crate::tcp_proxy::{Spring, Trap};

use super::super::case::{Case, Fault, Lines, Proxy, Seen, Setup, Target};
use super::super::judge::check_committed;
use super::super::world::World;
use super::process::RESTARTED;

const BULK: Case = Case {
    id: "F02",
    name: "kill -9 between Elasticsearch's answer and the commit",
    target: Target::Process,
    setup: Setup {
        proxies: &[Proxy::Http],
        lines: Lines {
            kafka: "commit_interval = \"3s\"",
            ..Setup::PLAIN.lines
        },
        ..Setup::PLAIN
    },
    expect: RESTARTED,
    in_subset: false,
    random: false,
    fault: |_| Box::new(AfterBulk::default()),
};

/// Around the calls of a commit in HDFS.
const CALLS: Case = Case {
    setup: Setup {
        proxies: &[Proxy::NameNode],
        ..Setup::PLAIN
    },
    ..BULK
};

/// The cases.
pub const CASES: &[Case] = &[
    BULK,
    Case {
        id: "F03",
        name: "kill -9 between closing a temp file and renaming it",
        in_subset: false,
        fault: |rng| Box::new(AtCall::new(rng, BEFORE_THE_RENAME)),
        ..CALLS
    },
    Case {
        id: "F04",
        name: "kill -9 after the rename, before the commit",
        in_subset: true,
        fault: |rng| Box::new(AtCall::new(rng, FROM_THE_RENAME_ON)),
        ..CALLS
    },
];

/// Kills right after a bulk request's answer has gone out, when the next commit is far.
#[derive(Default)]
struct AfterBulk {
    kills: u64,
}

impl AfterBulk {
    const WANTED: u64 = 3;

    fn arm(&self, world: &World) -> Result<()> {
        let outflow = world.outflow()?;
        let kill = move || {
            // It may just have ended, which is noticed elsewhere.
            let _ = outflow.signal_group(Signal::KILL);
        };
        world
            .http_proxy()?
            .script([HttpFault::Then(Arc::new(kill))]);
        Ok(())
    }
}

impl Fault for AfterBulk {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.arm(world)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.kills == Self::WANTED {
            return Ok(true);
        }
        if world.outflow()?.exit_code().is_none() {
            return Ok(false);
        }
        conclude(world)?;
        self.kills += 1;
        world.start()?;
        if self.kills < Self::WANTED {
            self.arm(world)?;
        }
        Ok(false)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.kills, "kills after an answer"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.http_proxy()?.heal();
        restart_if_gone(world)
    }
}

/// After a kill from elsewhere: what is committed stands in the sinks.
fn conclude(world: &World) -> Result<()> {
    let ledger = world.ledger();
    world.kill()?;
    match check_committed(world, &ledger)?.first() {
        None => Ok(()),
        Some(finding) => Err(Error::new(finding.clone())),
    }
}

fn restart_if_gone(world: &World) -> Result<()> {
    if world
        .instances()
        .iter()
        .all(|outflow| outflow.exit_code().is_some())
    {
        world.kill()?;
        world.start()?;
    }
    Ok(())
}

/// A call of the client to the NameNode, told by its name and its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// A file of ours is closed: temp file or entry.
    Close,
    /// An entry is renamed to its place in the log: the commit point.
    Commit,
    /// A temp file is renamed to its final path.
    Publish,
    /// An entry is marked as done.
    Done,
}

const BEFORE_THE_RENAME: &[(Call, Spring)] = &[
    (Call::Close, Spring::Before),
    (Call::Close, Spring::After),
    (Call::Commit, Spring::Before),
    (Call::Publish, Spring::Before),
];

const FROM_THE_RENAME_ON: &[(Call, Spring)] = &[
    (Call::Commit, Spring::After),
    (Call::Publish, Spring::After),
    (Call::Done, Spring::Before),
    (Call::Done, Spring::After),
];

impl Call {
    fn is(self, topic: &str, data: &[u8]) -> bool {
        let has = |text: &str| {
            data.windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        let renames = has("rename2");
        let (published, done) = (has(&format!("{topic}+")), has(".done"));
        match self {
            Self::Close => has("complete") && has("_outflow"),
            Self::Commit => renames && has(".json") && !published && !done,
            Self::Publish => renames && published,
            Self::Done => renames && done && !published,
        }
    }
}

/// Kills at certain calls to the NameNode, in an order that was drawn.
struct AtCall {
    points: Vec<(Call, Spring)>,
    num: usize,
}

impl AtCall {
    fn new(rng: &mut StdRng, points: &[(Call, Spring)]) -> Self {
        let mut points = points.to_vec();
        points.shuffle(rng);
        Self { points, num: 0 }
    }

    fn arm(&self, world: &World) -> Result<()> {
        let Some((call, spring)) = self.points.get(self.num).copied() else {
            return Ok(());
        };
        let (outflow, topic) = (world.outflow()?, world.topic.clone());
        let trap = Trap {
            is_it: Box::new(move |data| call.is(&topic, data)),
            spring,
            action: Box::new(move || {
                let _ = outflow.kill();
            }),
        };
        world.namenode_proxy()?.set_trap(Some(trap));
        Ok(())
    }
}

impl Fault for AtCall {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.arm(world)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.num == self.points.len() {
            return Ok(true);
        }
        if world.outflow()?.exit_code().is_none() {
            return Ok(false);
        }
        conclude(world)?;
        self.num += 1;
        world.start()?;
        self.arm(world)?;
        Ok(self.num == self.points.len())
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        let sprung = world.namenode_proxy()?.num_sprung();
        Ok(Seen::new(sprung, "kills at a call"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.namenode_proxy()?.set_trap(None);
        restart_if_gone(world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_paths() {
        let publish =
            b"..rename2../t/_outflow/t/0/3-x/7.tmp../t/t/0/t+0+00000000000000000000+1.json";
        assert!(Call::Publish.is("t", publish));
        assert!(!Call::Commit.is("t", publish));
        let commit = b"..rename2../t/_outflow/t/0/3-x/aside../t/_outflow/t/0/3-x/7.json";
        assert!(Call::Commit.is("t", commit));
        assert!(!Call::Done.is("t", commit));
        assert!(Call::Done.is("t", b"..rename2../_outflow/7.json../_outflow/7.done"));
        assert!(Call::Close.is("t", b"..complete../_outflow/7.tmp"));
    }
}
