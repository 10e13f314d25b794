//! A container of one sink, started from a stage's configuration as an operator would.

use std::ops::Deref;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use testbed::Outflow;
use testbed::guard::wait_until;
use testbed::proc;

use super::podman::{HARDENING, Podman};
use super::process::is_limited_to;
use super::support::{PATIENCE, Stage};

pub const MIB: u64 = 1 << 20;

/// A sink, and what its container may have: the promise that these tests hold it to.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// The container's limit, as docker/compose.yaml has it.
    pub limit: u64,
}

pub const ELASTICSEARCH: Kind = Kind {
    name: "elasticsearch",
    limit: 64 * MIB,
};
pub const HDFS: Kind = Kind {
    name: "hdfs",
    limit: 128 * MIB,
};

impl Kind {
    /// `memory` in docker/config, which is meant for that limit.
    fn memory(&self) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/config");
        let text = std::fs::read_to_string(format!("{folder}/{}.toml", self.name)).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("memory = "));
        value.unwrap().trim_matches('"').to_owned()
    }
}

/// A running container: the client that is attached to it stands for its process. Dropping it removes it.
pub struct Container {
    podman: &'static Podman,
    pub kind: Kind,
    name: String,
    outflow: Outflow,
}

impl Container {
    /// Starts one of an image with these variables, and waits until it is ready.
    pub fn start(
        podman: &'static Podman,
        stage: &Stage,
        kind: Kind,
        image: &str,
        variables: &[&str],
    ) -> Container {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("outflow-test-{}-{number}", std::process::id());
        let config = match kind.name {
            "hdfs" => stage.hdfs_config(""),
            _ => stage.elasticsearch_config(),
        };
        let admin = format!("127.0.0.1:{}", testbed::ports::free_port().unwrap());
        let hadoop = stage.cluster.hdfs.config_dir().display();
        let (mount, hadoop, listen, memory, limit) = (
            format!("{}:/etc/outflow/outflow.toml:ro", config.display()),
            format!("{hadoop}:{hadoop}:ro"),
            format!("OUTFLOW_ADMIN__LISTEN={admin}"),
            format!("OUTFLOW_MEMORY={}", kind.memory()),
            kind.limit.to_string(),
        );
        let flags = [
            &HARDENING[..],
            &["--name", &name, "--volume", &mount, "--volume", &hadoop],
            &["--env", &listen, "--env", &memory],
        ];
        let mut flags = flags.concat();
        for variable in variables {
            flags.extend(["--env", variable]);
        }
        if podman.has_groups() {
            flags.extend(["--memory", &limit]);
        }
        let args = podman.run_args(&flags, image, &[]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = stage.dir().join(format!("{name}.log"));
        let outflow = Outflow::spawn("podman", &args, &[], log).unwrap();
        let outflow = outflow.with_admin(&admin);
        outflow.wait_ready(PATIENCE).unwrap();
        Container {
            podman,
            kind,
            name,
            outflow,
        }
    }

    /// `podman stop`: the image's signal, and the end once everything is committed.
    pub fn stop(self) {
        self.podman.must(&["stop", "--time", "40", &self.name]);
        let code = self.outflow.wait(PATIENCE).unwrap();
        assert_eq!(
            code,
            0,
            "{} didn't end cleanly:\n{}",
            self.name,
            self.outflow.log()
        );
    }

    /// `podman kill`: SIGKILL.
    pub fn kill(self) {
        self.podman.must(&["kill", &self.name]);
        assert_eq!(self.outflow.wait(PATIENCE).unwrap(), 137);
    }

    /// Freezes all of it: it neither answers nor ends.
    pub fn pause(&self) {
        match self.podman.has_groups() {
            true => self.podman.must(&["pause", &self.name]),
            false => self.podman.must(&["kill", "--signal", "STOP", &self.name]),
        };
    }

    pub fn unpause(&self) {
        match self.podman.has_groups() {
            true => self.podman.must(&["unpause", &self.name]),
            false => self.podman.must(&["kill", "--signal", "CONT", &self.name]),
        };
    }

    /// Runs the image's binary in it once more.
    pub fn exec(&self, args: &[&str]) -> Output {
        let args = [&["exec", &self.name, "/usr/bin/outflow"], args].concat();
        self.podman.command(&args)
    }

    /// Its process, as this machine numbers it.
    pub fn process(&self) -> u32 {
        let pid = self
            .podman
            .must(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        pid.parse().unwrap()
    }

    /// The most memory that its process has had, in bytes.
    pub fn peak(&self) -> u64 {
        proc::memory(self.process(), "VmHWM:").unwrap()
    }

    /// Whether the kernel holds it to its limit.
    pub fn is_limited(&self) -> bool {
        is_limited_to(self.process(), self.kind.limit)
    }

    /// Waits until its worker holds this many partitions.
    pub fn wait_for_partitions(&self, wanted: usize) {
        let what = format!("{} holds {wanted} partitions", self.name);
        wait_until(&what, PATIENCE, || {
            let status = self.outflow.status().unwrap_or_default();
            let held = status[0]["workers"][0]["partitions"].as_array();
            match held.map_or(0, Vec::len) {
                held if held == wanted => Ok(()),
                held => Err(format!("{held} so far\n{}", self.outflow.log())),
            }
        })
        .unwrap();
    }

    /// Waits until its group has committed this much more than now.
    pub fn wait_for_progress(&self, stage: &Stage, num: i64) {
        stage.wait_committed(self.kind.name, stage.committed(self.kind.name) + num);
    }

    /// Waits until its group has no lag.
    pub fn wait_caught_up(&self, stage: &Stage) {
        stage.wait_caught_up(&self.outflow, self.kind.name);
    }
}

impl Deref for Container {
    type Target = Outflow;

    fn deref(&self) -> &Outflow {
        &self.outflow
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Ended ones are gone already.
        if self.outflow.exit_code().is_none() {
            let _ = self
                .podman
                .command(&["rm", "--force", "--time", "0", &self.name]);
            let _ = self.outflow.wait(Duration::from_secs(20));
        }
    }
}
