//! Nothing outlives the process that started it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::guard::{Guarded, Signal, Spec, TestDir, wait_until};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Gone, or dead and waiting for a parent to notice.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn wait_until_gone(what: &str, gone: impl Fn() -> bool) {
    let check = || {
        if gone() {
            Ok(())
        } else {
            Err("it is still there".to_owned())
        }
    };
    wait_until(what, TIMEOUT, check).expect(what);
}

/// `testbed probe`: a guarded shell with a child of its own, and a folder.
fn probe() -> (Child, [String; 3]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    let mut child = command
        .arg("probe")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the probe");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut line = || {
        lines
            .next()
            .and_then(Result::ok)
            .expect("a line of the probe")
    };
    let said = [line(), line(), line()];
    (child, said)
}

#[test]
fn a_killed_parent_takes_processes_and_folders_along() {
    let (mut parent, [pid, child, dir]) = probe();
    assert!(!is_gone(&pid) && !is_gone(&child) && Path::new(&dir).is_dir());
    parent.kill().expect("SIGKILL");
    parent.wait().expect("its end");
    wait_until_gone("the guarded process", || is_gone(&pid));
    wait_until_gone("its child", || is_gone(&child));
    wait_until_gone("its folder", || !Path::new(&dir).exists());
}

#[test]
fn a_killed_guard_takes_its_process_along() {
    let (mut parent, [pid, _, _]) = probe();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its status");
    let guard = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(1));
    let guard = guard.expect("its parent").to_owned();
    let killed = Command::new("kill")
        .args(["-9", &guard])
        .status()
        .expect("kill");
    assert!(killed.success());
    wait_until_gone("the guarded process", || is_gone(&pid));
    parent.kill().expect("SIGKILL");
    parent.wait().expect("its end");
}

fn shell(dir: &TestDir, script: &str) -> Guarded {
    let spec = Spec {
        program: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: Vec::new(),
        dir: dir.path().to_owned(),
        log: dir.path().join("log"),
        as_id: None,
    };
    Guarded::spawn("a shell", &spec).expect("a shell")
}

#[test]
fn exit_codes_and_signals_come_through() {
    let dir = TestDir::new("guard").expect("a folder");
    assert_eq!(shell(&dir, "exit 7").wait(TIMEOUT), Some(7));

    let killed = shell(&dir, "sleep 100");
    killed.signal_group(Signal::KILL).expect("SIGKILL");
    assert_eq!(killed.wait(TIMEOUT), Some(137));
    assert!(killed.signal(Signal::TERM).is_err());

    // Signals have their usual effect, although a background command's SIGINT starts out ignored.
    let polite = shell(
        &dir,
        "trap 'exit 3' INT; echo ready; while :; do sleep 0.05; done",
    );
    let log = dir.path().join("log");
    let ready = || match fs::read_to_string(&log)
        .unwrap_or_default()
        .contains("ready")
    {
        true => Ok(()),
        false => Err("silent".to_owned()),
    };
    wait_until("the shell is ready", TIMEOUT, ready).expect("ready");
    polite.signal(Signal::INT).expect("SIGINT");
    assert_eq!(polite.wait(TIMEOUT), Some(3));

    let mut text = String::new();
    fs::File::open(&log)
        .and_then(|mut file| file.read_to_string(&mut text))
        .expect("the log");
    assert_eq!(text, "ready\n");
}

#[test]
fn a_frozen_process_dies_with_its_handle() {
    let dir = TestDir::new("guard").expect("a folder");
    let frozen = shell(&dir, "sleep 100");
    frozen.signal_group(Signal::STOP).expect("SIGSTOP");
    let pid = frozen.pid().to_string();
    drop(frozen);
    wait_until_gone("the frozen process", || is_gone(&pid));
}
