//! The systemd units, and what outflow tells a service manager. With `systemd-analyze` where it is installed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outflow::config::keys::find;
use testbed::guard::TestDir;
use testbed::tool::{Said, installed};
use testbed::{Outflow, ports};

const UNITS: [&str; 3] = [
    "outflow@.service",
    "outflow-monitor.service",
    "outflow-agent.service",
];
const BINARY: &str = env!("CARGO_BIN_EXE_outflow");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(repository("deploy/systemd").join(name)).unwrap()
}

/// A unit's settings; of those that stand several times all values.
fn settings(name: &str) -> BTreeMap<String, Vec<String>> {
    let mut settings = BTreeMap::<String, Vec<String>>::new();
    for line in unit(name).lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            settings
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    settings
}

fn seconds(settings: &BTreeMap<String, Vec<String>>, key: &str) -> u64 {
    settings[key][0].parse().unwrap()
}

/// What each unit runs with the file that the package installs for it.
fn command(name: &str, folder: &Path) -> Vec<String> {
    let command = settings(name)["ExecStart"][0].clone();
    let (program, args) = command.split_once(' ').unwrap();
    assert_eq!(program, "/usr/bin/outflow");
    let folder = folder.to_str().unwrap();
    let args = args.replace("%i", "hdfs").replace("/etc/outflow", folder);
    args.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_unit_is_stopped_no_sooner_than_outflow_stops() {
    let default = find("shutdown_timeout").unwrap().default.unwrap();
    let shutdown: u64 = default.strip_suffix('s').unwrap().parse().unwrap();
    for name in ["outflow@.service", "outflow-agent.service"] {
        assert!(
            seconds(&settings(name), "TimeoutStopSec") >= shutdown + 5,
            "{name}"
        );
    }
}

/// The numbers are those that `outflow --help` tells.
#[test]
fn a_unit_is_restarted_unless_a_person_is_needed() {
    for name in UNITS {
        let settings = settings(name);
        assert_eq!(settings["Restart"], ["always"], "{name}");
        assert_eq!(settings["RestartPreventExitStatus"], ["2"], "{name}");
        assert_eq!(settings["StartLimitIntervalSec"], ["0"], "{name}");
    }
}

/// A datagram for each thing that is told, as systemd has it (sd_notify(3)).
fn is_told(socket: &UnixDatagram, wanted: &str) {
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut heard = [0; 100];
    loop {
        let num = socket
            .recv(&mut heard)
            .unwrap_or_else(|e| panic!("{wanted}: {e}"));
        if &heard[..num] == wanted.as_bytes() {
            return;
        }
    }
}

/// Each as its unit starts it, with the file that the package installs; on a port of this test's.
#[test]
fn the_service_manager_is_told_that_it_is_ready_alive_and_stopping() {
    let dir = TestDir::new("systemd").unwrap();
    for (number, name) in UNITS.iter().enumerate() {
        let path = dir.path().join(format!("notify-{number}"));
        let (socket, named) = match number {
            // In the abstract namespace, whose names systemd writes with an @.
            0 => {
                let name = format!("outflow-test-{}", std::process::id());
                let address = SocketAddr::from_abstract_name(&name).unwrap();
                (
                    UnixDatagram::bind_addr(&address).unwrap(),
                    format!("@{name}"),
                )
            }
            _ => (
                UnixDatagram::bind(&path).unwrap(),
                path.to_str().unwrap().to_owned(),
            ),
        };
        let listen = format!("127.0.0.1:{}", ports::free_port().unwrap());
        let env = [
            ("NOTIFY_SOCKET", &*named),
            ("WATCHDOG_USEC", "300000"),
            ("OUTFLOW_ADMIN__LISTEN", &*listen),
            ("OUTFLOW_STATE_DIR", dir.path().to_str().unwrap()),
        ];
        let args = command(name, &repository("config"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = dir.path().join(format!("log-{number}"));
        let outflow = Outflow::spawn(BINARY, &args, &env, log).unwrap();
        is_told(&socket, "READY=1");
        if settings(name).contains_key("WatchdogSec") {
            is_told(&socket, "WATCHDOG=1");
            is_told(&socket, "WATCHDOG=1");
        }
        outflow.terminate().unwrap();
        is_told(&socket, "STOPPING=1");
        outflow.wait(Duration::from_secs(40)).unwrap();
    }
}

/// Without the socket nothing is tried, and nothing is said.
#[test]
fn without_a_service_manager_nothing_is_missed() {
    let dir = TestDir::new("systemd").unwrap();
    let listen = format!("127.0.0.1:{}", ports::free_port().unwrap());
    let args = command("outflow-monitor.service", &repository("config"));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let env = [("OUTFLOW_ADMIN__LISTEN", &*listen), ("NOTIFY_SOCKET", "")];
    let outflow = Outflow::spawn(BINARY, &args, &env, dir.path().join("log")).unwrap();
    let outflow = outflow.with_admin(&listen);
    let is_alive = || outflow.http()?.get("/livez").map(|answer| answer.status);
    let alive = testbed::guard::wait_until("the monitor", Duration::from_secs(30), || {
        is_alive().map_err(|e| e.to_string())
    });
    assert_eq!(alive.unwrap(), 200);
    assert!(
        !outflow.log().contains("NOTIFY_SOCKET"),
        "{}",
        outflow.log()
    );
}

fn analyze(args: &[&str]) -> Option<Said> {
    let analyze = installed(&["systemd-analyze"], "Debian: systemd")?;
    Some(analyze.run(args, "").unwrap())
}

#[test]
fn systemd_takes_the_units() {
    let dir = TestDir::new("systemd").unwrap();
    for name in UNITS {
        let file = dir.path().join(name.replace("@.", "@hdfs."));
        std::fs::write(&file, unit(name).replace("/usr/bin/outflow", BINARY)).unwrap();
        if let Some(said) = analyze(&["verify", "--man=no", file.to_str().unwrap()]) {
            let all = said.all();
            assert!(said.is_fine && all.is_empty(), "{name}: {all}");
        }
    }
}

/// systemd's own measure, from 0 (sealed off) to 10.
#[test]
fn units_are_exposed_little() {
    for name in UNITS {
        let file = repository("deploy/systemd").join(name);
        let args = [
            "security",
            "--offline=yes",
            "--threshold=15",
            file.to_str().unwrap(),
        ];
        if let Some(said) = analyze(&args) {
            let all = said.all();
            assert!(
                said.is_fine && all.contains("exposure level"),
                "{name}: {all}"
            );
        }
    }
}
