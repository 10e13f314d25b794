//! Group D: the NameNode and the DataNodes.

use crate::error::Result;
use crate::guard::wait_until;
use crate::ledger::Ledger;

use super::super::case::{Case, Expect, Fault, HDFS, Proxy, Seen, Setup, Sink, Target};
use super::super::world::{PATIENCE, World};
use super::hdfs_answers::LONG_OPEN;
use super::words::Words;

/// HDFS stands still; nobody else notices.
const WAITED_OUT: Case = Case {
    id: "",
    name: "",
    target: Target::Hdfs,
    setup: Setup::PLAIN,
    expect: Expect::only(HDFS),
    in_subset: false,
    random: true,
    fault: |_| Box::new(NameNode::killed()),
};

const BEHIND_PROXY: Setup = Setup {
    proxies: &[Proxy::NameNode],
    ..Setup::PLAIN
};

const THREE_DATANODES: Setup = Setup {
    datanodes: 3,
    ..LONG_OPEN
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: "F51-killed",
        name: "the NameNode is killed",
        setup: BEHIND_PROXY,
        random: false,
        ..WAITED_OUT
    },
    Case {
        id: "F51-frozen",
        name: "the NameNode is frozen: it accepts and says nothing",
        setup: BEHIND_PROXY,
        in_subset: true,
        random: false,
        fault: |_| Box::new(NameNode::frozen()),
        ..WAITED_OUT
    },
    Case {
        id: "F52",
        name: "the NameNode is in safe mode",
        fault: |_| Box::new(Admin::new(&["safe mode", "SafeMode"], SAFE_MODE)),
        ..WAITED_OUT
    },
    Case {
        id: "F53",
        name: "the only DataNode is killed while files are open",
        setup: LONG_OPEN,
        random: false,
        fault: |_| Box::new(DataNode::new(0, false)),
        ..WAITED_OUT
    },
    Case {
        id: "F54-killed",
        name: "one of three DataNodes is killed while files are open",
        setup: THREE_DATANODES,
        random: false,
        fault: |_| Box::new(DataNode::new(0, false)),
        ..WAITED_OUT
    },
    Case {
        id: "F54-frozen",
        name: "one of three DataNodes is frozen while files are open",
        setup: THREE_DATANODES,
        random: false,
        fault: |_| Box::new(DataNode::new(1, true)),
        ..WAITED_OUT
    },
    Case {
        id: "F55-space",
        name: "the folder's space quota is exceeded",
        fault: |_| Box::new(Admin::new(QUOTA, SPACE_QUOTA)),
        ..WAITED_OUT
    },
    Case {
        id: "F55-names",
        name: "the folder's quota of names is exceeded",
        fault: |_| Box::new(Admin::new(QUOTA, NAME_QUOTA)),
        ..WAITED_OUT
    },
];

const QUOTA: &[&str] = &["QuotaExceededException"];

/// The NameNode, killed or frozen. Seen by what the proxy before it can't get through.
struct NameNode {
    freezes: bool,
    before: u64,
    seen: u64,
}

impl NameNode {
    fn killed() -> Self {
        Self {
            freezes: false,
            before: 0,
            seen: 0,
        }
    }

    fn frozen() -> Self {
        Self {
            freezes: true,
            ..Self::killed()
        }
    }

    /// Connections that couldn't be made, or (to a frozen one) were made anew because nothing came.
    fn count(&self, world: &World) -> Result<u64> {
        let counters = world.namenode_proxy()?.counters();
        Ok(match self.freezes {
            true => counters.accepted,
            false => counters.unreachable,
        })
    }
}

impl Fault for NameNode {
    fn inject(&mut self, world: &World) -> Result<()> {
        match self.freezes {
            true => world.hdfs.namenode().freeze()?,
            false => world.hdfs.namenode().kill()?,
        }
        self.before = self.count(world)?;
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        self.seen = self.count(world)?.saturating_sub(self.before);
        // A frozen one costs each call its whole timeout.
        Ok(self.seen >= 3)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        let what = match self.freezes {
            true => "connections made anew without an answer",
            false => "connections refused",
        };
        Ok(Seen::new(self.seen, what))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.hdfs.heal()
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}

/// What `hdfs dfsadmin` breaks and mends; `{base}` is the sink's folder.
type Commands = (&'static [&'static str], &'static [&'static str]);

const SAFE_MODE: Commands = (&["-safemode", "enter"], &["-safemode", "leave"]);
const SPACE_QUOTA: Commands = (
    &["-setSpaceQuota", "1", "{base}"],
    &["-clrSpaceQuota", "{base}"],
);
const NAME_QUOTA: Commands = (&["-setQuota", "1", "{base}"], &["-clrQuota", "{base}"]);

/// Something that a person does with `dfsadmin`. Seen by what the NameNode answers to outflow.
struct Admin {
    words: Words,
    commands: Commands,
}

impl Admin {
    fn new(needles: &'static [&'static str], commands: Commands) -> Self {
        Self {
            words: Words::new(Sink::Hdfs, needles),
            commands,
        }
    }

    fn run(world: &World, command: &[&str]) -> Result<()> {
        let filled: Vec<String> = command
            .iter()
            .map(|word| word.replace("{base}", &world.base))
            .collect();
        let words: Vec<&str> = filled.iter().map(String::as_str).collect();
        world.hdfs.admin(&words).map(|_| ())
    }
}

impl Fault for Admin {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.words.begin(world);
        Self::run(world, self.commands.0)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        Ok(Seen::new(self.words.look(world), "calls refused"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        Self::run(world, self.commands.1)
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}

/// A DataNode, killed or frozen while temp files are open. With others left, records must get into HDFS meanwhile:
/// at the latest when the NameNode has noticed.
struct DataNode {
    index: usize,
    freezes: bool,
    words: Words,
    before: i64,
}

impl DataNode {
    fn new(index: usize, freezes: bool) -> Self {
        // What doesn't answer, can't be reached, or fails: all of it is the DataNode's.
        let words = &["write to", "close", "no answer from HDFS"];
        Self {
            index,
            freezes,
            words: Words::new(Sink::Hdfs, words),
            before: 0,
        }
    }
}

impl Fault for DataNode {
    fn inject(&mut self, world: &World) -> Result<()> {
        self.words.begin(world);
        wait_for_temp(world)?;
        let node = &world.hdfs.datanodes()[self.index];
        match self.freezes {
            true => node.freeze()?,
            false => node.kill()?,
        }
        self.before = world.watch.committed(Sink::Hdfs);
        Ok(())
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        let moved = world.watch.committed(Sink::Hdfs) - self.before;
        Ok(world.hdfs.datanodes().len() == 1 || moved >= 1_500)
    }

    fn seen(&mut self, world: &World) -> Result<Seen> {
        Ok(Seen::new(self.words.look(world), "files that failed"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.hdfs.heal()
    }

    fn verify(&mut self, world: &World, _ledger: &Ledger) -> Result<()> {
        no_temps(world)
    }
}

/// Temp files of the sink, open or left behind.
pub fn temps(world: &World) -> Result<Vec<String>> {
    let own = format!("{}/_outflow", world.base);
    let all = world.hdfs.files().list_recursive(&own)?;
    let paths = all.into_iter().map(|status| status.path);
    Ok(paths.filter(|path| path.ends_with(".tmp")).collect())
}

/// Waits until a temp file is open.
pub fn wait_for_temp(world: &World) -> Result<String> {
    wait_until("a temp file is open", PATIENCE, || match temps(world) {
        Ok(paths) => paths.into_iter().next().ok_or_else(|| "none".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// Whatever has failed on the way leaves nothing behind once all is committed.
pub fn no_temps(world: &World) -> Result<()> {
    wait_until("no temp file is left", PATIENCE, || match temps(world) {
        Ok(paths) if paths.is_empty() => Ok(()),
        Ok(paths) => Err(format!("{paths:?}")),
        Err(error) => Err(error.to_string()),
    })
}
