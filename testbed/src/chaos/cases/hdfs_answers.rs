//! Group D: calls whose outcome nobody knows, and leases.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::tcp_proxy::{Call, Then, Trap};

use super::super::case::{
    BOTH, Case, Expect, Fault, HDFS, Lines, Proxy, Seen, Setup, Sink, Target,
};
use super::super::world::{PATIENCE, World};
use super::hdfs::{no_temps, temps, wait_for_temp};

const BEHIND_PROXY: Setup = Setup {
    proxies: &[Proxy::NameNode],
    ..Setup::PLAIN
};

/// Files that are open for a while, with blocks under way.
pub const LONG_OPEN: Setup = Setup {
    padding: (1_000, 2_000),
    rate: 400,
    fewer: 4,
    lines: Lines {
        rotate: "records = 100000\nage = \"8s\"",
        ..Setup::PLAIN.lines
    },
    ..Setup::PLAIN
};

const ANSWERS: Case = Case {
    id: "",
    name: "",
    target: Target::Hdfs,
    setup: BEHIND_PROXY,
    expect: Expect::only(HDFS),
    in_subset: false,
    random: false,
    fault: |rng| Box::new(Answers::new(rng, Then::LoseAnswer)),
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: "F56-lost",
        name: "the NameNode's answers to chosen calls never come",
        ..ANSWERS
    },
    Case {
        id: "F56-cut",
        name: "the connection ends at the NameNode's answers to chosen calls",
        in_subset: true,
        fault: |rng| Box::new(Answers::new(rng, Then::CutAtAnswer)),
        ..ANSWERS
    },
    Case {
        id: "F56-late",
        name: "chosen calls reach the NameNode only after outflow has given them up",
        fault: |rng| Box::new(Answers::new(rng, Then::Hold)),
        ..ANSWERS
    },
    Case {
        id: "F57-killed",
        name: "outflow is killed while files are open, again and again",
        target: Target::Process,
        setup: LONG_OPEN,
        expect: Expect {
            restarts: true,
            rebalances: true,
            ..Expect::only(BOTH)
        },
        fault: |_| Box::new(Killed(0)),
        ..ANSWERS
    },
    Case {
        id: "F57-stolen",
        name: "somebody else takes the leases of open files",
        setup: LONG_OPEN,
        fault: |_| Box::new(Stolen::default()),
        ..ANSWERS
    },
];

/// A step of the protocol, recognised by its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    /// A temp file, or an entry that is written aside.
    Create(&'static str),
    AddBlock,
    Complete(&'static str),
    /// What closes a temp file once its last block is reported.
    RecoverLease,
    /// The commit point, publishing, marking as done: by the target's ending.
    Rename(&'static str),
    Delete,
}

const STEPS: &[Chosen] = &[
    Chosen::Create(".tmp"),
    Chosen::Create(".entry"),
    Chosen::AddBlock,
    Chosen::Complete(".tmp"),
    Chosen::Complete(".entry"),
    Chosen::RecoverLease,
    Chosen::Rename(".entry"),
    Chosen::Rename(".tmp"),
    Chosen::Rename(".done"),
    Chosen::Delete,
];

impl Chosen {
    fn is(self, call: &Call<'_>) -> bool {
        match self {
            Self::Create(ending) => call.name == "create" && call.contains(ending),
            Self::AddBlock => call.name == "addBlock",
            Self::Complete(ending) => call.name == "complete" && call.contains(ending),
            Self::RecoverLease => call.name == "recoverLease" && call.contains(".tmp"),
            Self::Rename(part) => call.name == "rename2" && call.contains(part),
            Self::Delete => call.name == "delete",
        }
    }
}

/// One step after another, in an order that is drawn; between them the sink must commit again.
struct Answers {
    then: Then,
    steps: Vec<Chosen>,
    trap: Option<(Chosen, Trap)>,
    committed: i64,
    sprung: u64,
}

impl Answers {
    fn new(rng: &mut StdRng, then: Then) -> Self {
        let mut steps = STEPS.to_vec();
        steps.shuffle(rng);
        Self {
            then,
            steps,
            trap: None,
            committed: 0,
            sprung: 0,
        }
    }

    fn set(&mut self, world: &World) -> Result<()> {
        let Some(step) = self.steps.pop() else {
            return Ok(());
        };
        let mut makes_waste = false;
        let choice = move |call: &Call<'_>| match step {
            // Only what has failed is deleted: a file must fail first.
            Chosen::Delete if !makes_waste => {
                makes_waste = Chosen::Create(".tmp").is(call);
                makes_waste
            }
            step => step.is(call),
        };
        let times = if step == Chosen::Delete { 2 } else { 1 };
        let trap = world.namenode_proxy()?.trap(times, self.then, choice)?;
        self.trap = Some((step, trap));
        Ok(())
    }

    /// Whether the trap has done its work and the sink has gone on since.
    fn is_over(&mut self, world: &World) -> Result<bool> {
        let Some((step, trap)) = &self.trap else {
            return Ok(true);
        };
        let wanted = if *step == Chosen::Delete { 2 } else { 1 };
        if trap.num_sprung() < wanted {
            return Ok(false);
        }
        if self.committed == 0 {
            self.committed = world.watch.committed(Sink::Hdfs);
        }
        if world.watch.committed(Sink::Hdfs) < self.committed + 500 {
            return Ok(false);
        }
        // What was held comes now, when nobody wants it any more.
        trap.let_go();
        self.sprung += wanted;
        self.committed = 0;
        self.trap = None;
        Ok(true)
    }
}

impl Fault for Answers {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.set(world)
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.is_over(world)? {
            self.set(world)?;
        }
        Ok(self.trap.is_none())
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        let (what, open) = match (self.then, &self.trap) {
            (_, None) => ("calls without an answer", 0),
            (_, Some((_, trap))) => ("calls without an answer", trap.num_sprung()),
        };
        Ok(Seen::new(self.sprung + open, what))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        match self.trap.take() {
            None => Ok(()),
            Some((step, trap)) => {
                trap.let_go();
                Err(Error::new(format!("{step:?} wasn't all that was meant")))
            }
        }
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}

/// Killed when a temp file is open; the next one must neither wait for its lease nor use its file.
struct Killed(u64);

impl Fault for Killed {
    fn inject(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let orphan = wait_for_temp(world)?;
        world.kill()?;
        let outflow = world.start()?;
        outflow.wait_ready(PATIENCE)?;
        let before = world.watch.committed(Sink::Hdfs);
        world.wait_committed(Sink::Hdfs, before + 500)?;
        if temps(world)?.contains(&orphan) {
            let text = format!("{orphan} is still there after its partition was opened");
            return Err(Error::new(text));
        }
        self.0 += 1;
        Ok(self.0 >= 4)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.0, "kills with an open file"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}

/// Open temp files whose lease is taken behind outflow's back. Seen by what outflow says: it writes the file again.
#[derive(Default)]
struct Stolen {
    before: u64,
    num: u64,
}

impl Stolen {
    fn count(world: &World) -> u64 {
        world.logs().matches("going back to the last ack").count() as u64
    }
}

impl Fault for Stolen {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.before = Self::count(world);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let path = wait_for_temp(world)?;
        // It may be published in this very moment: then it is tried with the next one.
        let _ = world.hdfs.recover_lease(&path);
        let before = world.watch.committed(Sink::Hdfs);
        world.wait_committed(Sink::Hdfs, before + 500)?;
        self.num = Self::count(world) - self.before;
        Ok(self.num >= 4)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.num, "files lost to somebody else"))
    }

    fn heal(&mut self, _world: &World) -> Result<()> {
        Ok(())
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}
