//! Podman as this machine lets it run, and the images under test.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What every container is started with: nothing of the image is written, and nobody has rights.
pub const HARDENING: [&str; 5] = [
    "--read-only",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
];

/// A label of all containers of these tests, with the id of the process that started them.
pub const LABEL: &str = "outflow.test.process";

/// Ways to run a container, the usual one first: flags of podman, flags of `podman run`. Inside other containers and
/// small virtual machines limits can't be raised, crun may not like the cgroups, or there are none.
const WAYS: [(&[&str], &[&str]); 4] = [
    (&[], &[]),
    (&["--runtime", "runc"], &LOW_LIMITS),
    (&[], &[NO_GROUPS]),
    (&["--runtime", "runc"], &WITHOUT_GROUPS),
];
const NO_GROUPS: &str = "--cgroups=disabled";
const LOW_LIMITS: [&str; 2] = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"];
const WITHOUT_GROUPS: [&str; 3] = [LOW_LIMITS[0], LOW_LIMITS[1], NO_GROUPS];

/// A podman that runs containers, with two images that differ in their version alone.
pub struct Podman {
    global: &'static [&'static str],
    run: &'static [&'static str],
    pub older: String,
    pub newer: String,
}

/// Podman and the images, made by the first who asks; none where it can't be had, which is said.
pub fn podman() -> Option<&'static Podman> {
    static PODMAN: OnceLock<Result<Podman, String>> = OnceLock::new();
    match PODMAN.get_or_init(Podman::new) {
        Ok(podman) => Some(podman),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "NOT TESTED: containers: {why}");
            None
        }
    }
}

/// Says it to whoever runs the tests, passed or not.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "containers: {line}");
}

impl Podman {
    /// An image that can't be built is a failure, not a reason to leave the tests out.
    fn new() -> Result<Podman, String> {
        let version = Command::new("podman").arg("--version").output();
        let version = version.map_err(|why| format!("podman isn't there ({why})"))?;
        if !version.status.success() {
            return Err(format!("podman doesn't run: {}", said(&version)));
        }
        let mut podman = Podman {
            global: &[],
            run: &[],
            older: image_name("older"),
            newer: image_name("newer"),
        };
        podman.remove_leftovers();
        let files = packed();
        podman.build(&files, &podman.older, "0.0.1");
        podman.build(&files, &podman.newer, "0.0.2");
        let mut last = String::new();
        for (global, run) in WAYS {
            (podman.global, podman.run) = (global, run);
            let tried = podman.once(&HARDENING, &["--version"]);
            if tried.status.success() {
                return Ok(podman);
            }
            last = said(&tried);
        }
        Err(format!("podman can't run a container here: {last}"))
    }

    /// A podman command.
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new("podman");
        command.args(self.global).args(args).output().unwrap()
    }

    /// The same, where only success will do: its output.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(
            output.status.success(),
            "podman {args:?}: {}",
            said(&output)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Whether containers have control groups: limits that the kernel keeps, and being frozen.
    pub fn has_groups(&self) -> bool {
        !self.run.contains(&NO_GROUPS)
    }

    /// The arguments that start a container: `flags` of `podman run`, then the image's own.
    pub fn run_args(&self, flags: &[&str], image: &str, args: &[&str]) -> Vec<String> {
        let label = format!("{LABEL}={}", std::process::id());
        let common = [
            "run",
            "--rm",
            "--network",
            "host",
            "--no-healthcheck",
            "--label",
            &label,
        ];
        let parts = [self.global, &common, self.run, flags, &[image], args];
        parts.concat().iter().map(|arg| (*arg).to_owned()).collect()
    }

    /// Runs a container of the older image to its end.
    pub fn once(&self, flags: &[&str], args: &[&str]) -> Output {
        let args = self.run_args(flags, &self.older, args);
        Command::new("podman").args(args).output().unwrap()
    }

    /// Starts a container with the arguments of [`Podman::run_args`], `--detach` among them.
    pub fn launch(&self, args: &[String]) {
        let output = Command::new("podman").args(args).output().unwrap();
        assert!(
            output.status.success(),
            "podman {args:?}: {}",
            said(&output)
        );
    }

    /// Whether pods can be run: each has a container that does nothing and holds it together, and podman makes its image.
    pub fn has_pods(&self) -> Result<(), String> {
        let name = format!("outflow-test-{}-pod", std::process::id());
        let (create, start) = (["pod", "create", "--name", &name], ["pod", "start", &name]);
        let tried = [&create[..], &start].map(|args| self.pod_command(args));
        let _ = self.command(&["pod", "rm", "--force", &name]);
        match tried.iter().find(|output| !output.status.success()) {
            None => Ok(()),
            Some(failed) => Err(format!("podman can't run a pod here: {}", said(failed))),
        }
    }

    /// A command that starts pods. What `podman run` is told by flags stands in a file for these.
    pub fn pod_command(&self, args: &[&str]) -> Output {
        let mut command = Command::new("podman");
        if !self.run.is_empty() {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("containers.conf");
            std::fs::write(&file, as_file(self.run)).unwrap();
            command.env("CONTAINERS_CONF", file);
        }
        command.args(self.global).args(args).output().unwrap()
    }

    fn build(&self, files: &Path, image: &str, version: &str) {
        let _ = self.command(&["image", "rm", "--force", image]);
        let version = format!("VERSION={version}");
        let args = [
            // Podman's own format has no health checks.
            &[
                "build",
                "--format",
                "docker",
                "--layers=false",
                "--target",
                "ready",
            ][..],
            &[
                "--file",
                concat!(env!("CARGO_MANIFEST_DIR"), "/docker/Dockerfile"),
            ],
            &["--build-arg", &version, "--tag", image],
            &[files.to_str().unwrap()],
        ];
        self.must(&args.concat());
    }

    /// Containers of a test process that was killed.
    fn remove_leftovers(&self) {
        let filter = format!("label={LABEL}");
        let format = format!("{{{{.ID}}}} {{{{index .Labels \"{LABEL}\"}}}}");
        let listed = self.command(&["ps", "--all", "--filter", &filter, "--format", &format]);
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let Some((id, pid)) = line.split_once(' ') else {
                continue;
            };
            if !Path::new(&format!("/proc/{pid}")).exists() {
                let _ = self.command(&["rm", "--force", id]);
            }
        }
    }
}

/// Flags of `podman run` as they stand in containers.conf.
fn as_file(flags: &[&str]) -> String {
    let limits = flags.iter().filter_map(|f| f.strip_prefix("--ulimit="));
    let limits: Vec<&str> = limits.collect();
    let groups = match flags.contains(&NO_GROUPS) {
        true => "cgroups = \"disabled\"\n",
        false => "",
    };
    format!("[containers]\ndefault_ulimits = {limits:?}\n{groups}")
}

/// What a command said, errors first.
pub fn said(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Two checkouts may be tested at once.
fn image_name(tag: &str) -> String {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_TARGET_TMPDIR").hash(&mut hasher);
    format!("localhost/outflow-test-{:016x}:{tag}", hasher.finish())
}

/// The files of the image, as docker/pack.sh packs them: the folder. The binary under test has debug information and no
/// optimization, so that of all its names only what a program needs is kept.
fn packed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("containers");
    let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/pack.sh");
    let mut command = Command::new(pack);
    command.arg(env!("CARGO_BIN_EXE_outflow")).arg(&folder);
    let output = command.env("STRIP", "--strip-all").output().unwrap();
    assert!(output.status.success(), "docker/pack.sh: {}", said(&output));
    folder
}
