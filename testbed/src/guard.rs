//! Processes that can't outlive us.
//!
//! Every process runs under a guard: a small shell that reads a pipe whose other end only we hold. When
//! we end, however that happens, the kernel closes our end; the guard sees the end of the pipe and
//! kills the process' whole group. Should the guard itself be killed, the kernel kills the process
//! (`setpriv --pdeathsig`). A [`TestDir`] is removed in the same way.
//!
//! Owns: the guard's shell, the pipe, the exit code. Does not own: what the process is, or when it is
//! ready (see `node.rs`).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::error::{Context, Error, Result};
use crate::proc;

/// `$1` is the log file, the rest is the command. Job control is off in a script, so the command isn't
/// a group leader, `setsid` doesn't fork, and `$!` is the command's own id and its group's, as soon as
/// there is that group.
const GUARD: &str = r#"
log=$1; shift
exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
pid=$!
n=0
while [ "$n" -lt 50000 ] && ! kill -s 0 -- "-$pid" 2>/dev/null; do n=$((n+1)); done
echo "pid $pid"
( while read -r _; do :; done; kill -s KILL -- "-$pid" "$pid" ) <&3 >/dev/null 2>&1 3<&- &
watcher=$!
exec 3<&-
wait "$pid"
code=$?
kill -s KILL -- "-$pid" 2>/dev/null
kill -s KILL "$watcher" 2>/dev/null
echo "exit $code"
"#;

/// Removes `$1` at the end of the pipe; a process that is dying may still be writing there.
const JANITOR: &str = r#"
while read -r _; do :; done
n=0
while [ "$n" -lt 100 ]; do
  rm -rf -- "$1" 2>/dev/null
  [ -e "$1" ] || exit 0
  n=$((n+1)); sleep 0.1
done
"#;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables on top of our own environment.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// Run as this user and group id. Only root can ask for it.
    pub as_id: Option<u32>,
}

/// The processes that run now, for [`kill_all`].
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills every guarded process of ours and waits until all have ended: for a signal's handler that is
/// about to exit. Folders go with the process.
pub fn kill_all() {
    let running = || {
        RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !running().is_empty() && Instant::now() < deadline {
        // Again each time: something may just have been started.
        for pid in running().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the processes that a killed leader has left, which are dying too.
fn wait_until_group_is_gone(group: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while group_is_alive(group) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process of this group runs; the dead that nobody has waited for don't count.
fn group_is_alive(group: i32) -> bool {
    !of_group(group).is_empty()
}

/// The processes of a group, but for the dead.
fn of_group(group: i32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse().ok());
    let is_member = |pid: &u32| proc::group(*pid) == Some(group) && !proc::is_dead(*pid);
    pids.filter(is_member).collect()
}

/// Waits until every thread of a group has stopped. The signal is handled by one of a process' threads, once it gets a
/// processor; on a busy machine the others work on for a while.
fn wait_until_group_has_stopped(group: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !of_group(group).into_iter().all(proc::has_stopped) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Default)]
struct Exit {
    code: Mutex<Option<i32>>,
    changed: Condvar,
}

/// A running process under its guard. Dropping it kills the process.
pub struct Guarded {
    name: String,
    pid: Pid,
    exit: Arc<Exit>,
    pipe: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

impl Guarded {
    /// Starts the process.
    pub fn spawn(name: &str, spec: &Spec) -> Result<Self> {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&spec.log);
        // The shell makes background commands ignore these two; give them back.
        guard.args([
            "env",
            "--default-signal=INT,QUIT",
            "setsid",
            "setpriv",
            "--pdeathsig",
            "KILL",
        ]);
        if let Some(id) = spec.as_id {
            guard.args([
                &format!("--reuid={id}"),
                &format!("--regid={id}"),
                "--clear-groups",
            ]);
        }
        guard.arg("--").arg(&spec.program).args(&spec.args);
        // Ours are read as outflow's own configuration; whoever starts it must say what it wants.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OUTFLOW_") {
                guard.env_remove(name);
            }
        }
        guard
            .envs(spec.env.iter().map(|(key, value)| (key, value)))
            .current_dir(&spec.dir);
        guard
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Ctrl-C in a terminal goes to the foreground group: the guard must outlive us.
        let mut guard = guard
            .process_group(0)
            .spawn()
            .context("can't start a guard (sh)")?;

        let pipe = guard.stdin.take();
        let stdout = guard
            .stdout
            .take()
            .ok_or_else(|| Error::new("the guard has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let pid = first
            .strip_prefix("pid ")
            .and_then(|text| text.parse().ok());
        let pid = pid
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::new(format!("{name}: the guard didn't start it: {first:?}")))?;

        let number = pid.as_raw_pid();
        RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number);
        let exit = Arc::new(Exit::default());
        let noted = Arc::clone(&exit);
        let reader = std::thread::spawn(move || {
            let last = lines.map_while(Result::ok).last().unwrap_or_default();
            let _ = guard.wait();
            // Only then are its ports and files free, and it may be started again.
            wait_until_group_is_gone(number);
            RUNNING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&number);
            let code = last
                .strip_prefix("exit ")
                .and_then(|text| text.parse().ok());
            // A guard that was itself killed took the process with it: as if by SIGKILL.
            *noted.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code.unwrap_or(137));
            noted.changed.notify_all();
        });
        Ok(Self {
            name: name.to_owned(),
            pid,
            exit,
            pipe,
            reader: Some(reader),
        })
    }

    /// The process' id, which is its group's id too.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its exit code if it has ended; 128 + n if signal n ended it.
    pub fn exit_code(&self) -> Option<i32> {
        *self
            .exit
            .code
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end.
    pub fn wait(&self, timeout: Duration) -> Option<i32> {
        let code = self
            .exit
            .code
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .exit
            .changed
            .wait_timeout_while(code, timeout, |code| code.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running()?;
        kill_process(self.pid, signal).context(format!("can't signal {}", self.name))
    }

    /// Sends a signal to the process and everything it has started. After [`Signal::STOP`] they do nothing more.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        self.running()?;
        kill_process_group(self.pid, signal).context(format!("can't signal {}", self.name))?;
        if signal == Signal::STOP {
            wait_until_group_has_stopped(self.pid.as_raw_nonzero().get());
        }
        Ok(())
    }

    fn running(&self) -> Result<()> {
        match self.exit_code() {
            None => Ok(()),
            Some(code) => Err(Error::new(format!(
                "{} has ended (exit code {code})",
                self.name
            ))),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.pipe.take());
        if self.wait(Duration::from_secs(10)).is_some()
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
    }
}

/// A folder that is removed when it is dropped, or when this process ends in any way.
///
/// Set `OUTFLOW_TESTBED_KEEP=1` to keep it and read the logs.
pub struct TestDir {
    path: PathBuf,
    janitor: Option<(ChildStdin, std::process::Child)>,
}

impl TestDir {
    /// A new folder under the system's temp folder, which any user may enter.
    pub fn new(purpose: &str) -> Result<Self> {
        let prefix = format!("outflow-testbed-{purpose}-");
        let made = tempfile::Builder::new().prefix(&prefix).tempdir();
        let path = made.context("can't make a temp folder")?.keep();
        fs::set_permissions(&path, Permissions::from_mode(0o755))
            .context(format!("can't open up {}", path.display()))?;
        if std::env::var_os("OUTFLOW_TESTBED_KEEP").is_some_and(|value| value != "0") {
            let _ = writeln!(std::io::stderr(), "testbed: keeping {}", path.display());
            return Ok(Self {
                path,
                janitor: None,
            });
        }
        let mut janitor = Command::new("sh");
        janitor
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .current_dir("/");
        janitor
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = janitor
            .process_group(0)
            .spawn()
            .context("can't start a guard (sh)")?;
        let pipe = child
            .stdin
            .take()
            .ok_or_else(|| Error::new("the guard has no input"))?;
        Ok(Self {
            path,
            janitor: Some((pipe, child)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it and returns its path.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).context(format!("can't create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if let Some((pipe, mut janitor)) = self.janitor.take() {
            drop(pipe);
            let _ = janitor.wait();
        }
    }
}

/// The last lines of a log file, for error messages.
pub fn log_tail(log: &Path, num_lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(num_lines)..].join("\n")
}

/// Calls `check` until it says yes or the time is over; then says what it last complained about.
pub fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                let seconds = timeout.as_secs_f32();
                return Err(Error::new(format!(
                    "{what}: not within {seconds} s: {reason}"
                )));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
