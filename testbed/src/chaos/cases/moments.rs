//! Group A: outflow is killed at exact moments, which a proxy sees in the bytes that pass it. There are no
//! failpoints in the product.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::guard::Signal;
use crate::http_proxy::Fault as HttpFault;
use crate::tcp_proxy::{Then, Trap};

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
    /// The same, once its last block is reported.
    CloseSooner,
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
    (Call::CloseSooner, Spring::Before),
    (Call::CloseSooner, Spring::After),
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
            Self::CloseSooner => has("recoverLease") && has("_outflow"),
            Self::Commit => renames && has(".json") && !published && !done,
            Self::Publish => renames && published,
            Self::Done => renames && done && !published,
        }
    }
}

/// When outflow is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spring {
    /// Before the call reaches the NameNode.
    Before,
    /// After the NameNode has answered it, and before outflow hears of that.
    After,
}

/// Kills at certain calls to the NameNode, in an order that was drawn.
struct AtCall {
    points: Vec<(Call, Spring)>,
    num: usize,
    trap: Option<Trap>,
}

impl AtCall {
    fn new(rng: &mut StdRng, points: &[(Call, Spring)]) -> Self {
        let mut points = points.to_vec();
        points.shuffle(rng);
        Self {
            points,
            num: 0,
            trap: None,
        }
    }

    fn arm(&mut self, world: &World) -> Result<()> {
        let Some((call, spring)) = self.points.get(self.num).copied() else {
            return Ok(());
        };
        let topic = world.topic.clone();
        let then = match spring {
            Spring::Before => Then::Hold,
            Spring::After => Then::LoseAnswer,
        };
        let choice = move |seen: &crate::Call<'_>| call.is(&topic, seen.frame);
        self.trap = Some(world.namenode_proxy()?.trap(1, then, choice)?);
        Ok(())
    }
}

impl Fault for AtCall {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.arm(world)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let Some(trap) = self.trap.take_if(|trap| trap.num_sprung() > 0) else {
            return Ok(self.num == self.points.len());
        };
        conclude(world)?;
        // What was held dies with whoever sent it.
        trap.drop_held();
        self.num += 1;
        world.start()?;
        self.arm(world)?;
        Ok(self.num == self.points.len())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num as u64, "kills at a call"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        if let Some(trap) = self.trap.take() {
            trap.let_go();
        }
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
