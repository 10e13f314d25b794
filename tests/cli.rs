//! The real binary: arguments, exit codes, signals. No servers: what it does with them is tested elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn outflow() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OUTFLOW_")) {
        command.env_remove(name);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    finish(outflow().args(args).output().unwrap())
}

fn finish(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Nothing listens at any of these.
const NOWHERE: &str = "name = \"x\"\nshutdown_timeout = \"3s\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n\
    topics = [\"t\"]\ndrain_timeout = \"1s\"\n[elasticsearch]\nurls = [\"http://127.0.0.1:1\"]\n\
    [admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";

#[test]
fn help_tells_commands_exit_codes_and_signals() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for word in [
        "run ",
        "check ",
        "config ",
        "monitor ",
        "agent ",
        "health ",
        "Exit codes:",
        "130",
        "SIGTERM",
        "OUTFLOW_KAFKA__",
        "--set",
    ] {
        assert!(out.contains(word), "{word}");
    }
    for command in ["run", "check", "config", "monitor", "agent"] {
        let (code, out, _) = run(&[command, "--help"]);
        assert!(
            code == 0 && out.contains("--config <FILE>"),
            "{command}: {out}"
        );
    }
    assert_eq!(
        run(&["--version"]),
        (
            0,
            format!("outflow {}\n", env!("CARGO_PKG_VERSION")),
            String::new()
        )
    );
}

#[test]
fn commands_for_groups_say_what_they_want_and_what_they_can_not_have() {
    for (args, words) in [
        (
            &["group", "--help"][..],
            &["describe", "reset", "leave"][..],
        ),
        (
            &["group", "reset", "--help"],
            &["--to", "--topic", "--yes", "by_duration:24h"],
        ),
        (&["group", "leave", "--help"], &["--instance-id", "--yes"]),
        (&["adopt", "--help"], &["--to", "--topic", "--yes"]),
        (
            &["verify", "--help"],
            &[
                "--deep",
                "--topic",
                "--json",
                "--from",
                "Exit codes:",
                "couldn't be judged",
            ],
        ),
    ] {
        let (code, out, _) = run(args);
        assert_eq!(code, 0, "{args:?}");
        for word in words {
            assert!(out.contains(word), "{args:?}: {word} isn't in {out}");
        }
    }
    let folder = Folder::new();
    let file = folder.file("sink.toml", NOWHERE);
    let with_file = |args: &[&str]| run(&[args, &["--config", &file]].concat());
    let (code, _, err) = with_file(&["group", "reset", "--to", "soonest"]);
    assert!(
        code == 2 && err.contains("choose earliest, latest"),
        "{err}"
    );
    let (code, _, err) = with_file(&["group", "reset", "--to", "0", "--topic", "t:x"]);
    assert!(code == 2 && err.contains("host-metrics:0,2-5"), "{err}");
    let (code, _, err) = with_file(&["adopt"]);
    assert!(
        code == 1 && err.contains("Elasticsearch has no commit log"),
        "{err}"
    );
    let (code, out, err) = with_file(&["group", "describe"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("the group outflow-x can't be described"),
        "{err}"
    );
    // Nobody to ask isn't "something is wrong".
    let (code, out, err) = with_file(&["verify", "--json"]);
    assert!(
        code == 2 && out.contains("\"verdict\": \"not_judged\""),
        "{out}"
    );
    assert!(
        err.contains("the group outflow-x can't be described"),
        "{err}"
    );
    let (code, _, err) = with_file(&["verify", "--topic", "t:0", "--partition", "1"]);
    assert!(
        code == 2 && err.contains("names partitions already"),
        "{err}"
    );
}

#[test]
fn wrong_arguments_exit_with_2_and_say_what_is_right() {
    for (args, word) in [
        (&["chek"][..], "'check'"),
        (&["run"][..], "--config <FILE>"),
        (&["check", "--confg", "x"][..], "'--config'"),
        (
            &["run", "--memory", "64M", "--config", "x"],
            "write a number and a unit: 512MiB, 1GiB",
        ),
        (&[][..], "Usage"),
    ] {
        let (code, _, err) = run(args);
        assert!(code == 2 && err.contains(word), "{args:?}: {code} {err}");
    }
}

#[test]
fn a_typo_is_said_with_file_and_line_by_every_command() {
    let folder = Folder::new();
    let file = folder.file("sink.toml", &NOWHERE.replace("topics", "topcis"));
    for command in ["run", "check", "config"] {
        let (code, out, err) = run(&[command, "--config", &file]);
        assert_eq!((code, out.as_str()), (2, ""), "{command}");
        assert!(err.contains(&format!("--> {file}:5:1")), "{err}");
        assert!(err.contains("did you mean `topics`?"), "{err}");
        assert!(
            err.ends_with("error: 2 problems in the configuration; nothing was started\n"),
            "{err}"
        );
    }
}

#[test]
fn files_of_the_other_kind_are_told_where_they_belong() {
    let (code, _, err) = run(&["run", "--config", "config/agent.toml"]);
    assert!(
        code == 2 && err.contains("start it with `outflow agent --config`"),
        "{err}"
    );
    let (code, _, err) = run(&["run", "--config", "config/monitor.toml"]);
    assert!(
        code == 2 && err.contains("start it with `outflow monitor --config`"),
        "{err}"
    );
    let (code, _, err) = run(&["agent", "--config", "config/hdfs.toml"]);
    assert!(
        code == 2 && err.contains("start it with `outflow run --config`"),
        "{err}"
    );
}

#[test]
fn the_examples_are_valid() {
    for folder in ["config", "docker/config"] {
        let files = ["elasticsearch", "hdfs", "agent", "monitor"];
        let files = files.map(|name| format!("{folder}/{name}.toml"));
        let mut args = vec!["check", "--config"];
        args.extend(files.iter().map(String::as_str));
        let (code, out, err) = run(&args);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(
            out,
            files
                .map(|file| format!("{file}: the configuration is valid\n"))
                .concat()
        );
    }
}

#[test]
fn the_effective_configuration_is_shown_without_secrets() {
    let folder = Folder::new();
    let text = NOWHERE.replace(
        "[admin]",
        "user = \"me\"\npassword_env = \"ES_PASSWORD\"\n[admin]",
    );
    let file = folder.file("sink.toml", &text);
    let output = outflow()
        .args([
            "config",
            "--config",
            &file,
            "--set",
            "elasticsearch.linger=1s",
        ])
        .env("ES_PASSWORD", "c4n4ry")
        .env("OUTFLOW_KAFKA__COMMIT_INTERVAL", "2s")
        .output();
    let (code, out, err) = finish(output.unwrap());
    assert_eq!(code, 0, "{err}");
    assert!(!format!("{out}{err}").contains("c4n4ry"));
    let squeezed: String = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        &format!("name = \"x\" # {file}:1"),
        "commit_interval = \"2s\" # OUTFLOW_KAFKA__COMMIT_INTERVAL",
        "linger = \"1s\" # --set elasticsearch.linger",
        &format!("password_env = \"ES_PASSWORD\" # {file}:10"),
        "max_in_flight = 16 # default",
    ] {
        assert!(squeezed.contains(line), "{line} isn't in\n{out}");
    }
}

#[test]
fn one_memory_for_all_sinks_is_shared_and_shown_and_nothing_starts_where_it_is_too_little() {
    let folder = Folder::new();
    let one = folder.file("one.toml", NOWHERE);
    let two = folder.file("two.toml", &NOWHERE.replace("\"x\"", "\"y\""));
    let with = |command, memory, file: &str| {
        run(&[
            command, "--memory", memory, "--config", file, "--config", &two,
        ])
    };
    let (code, out, err) = with("config", "120MiB", &one);
    assert_eq!((code, err.as_str()), (0, ""));
    let shown = out.lines().filter(|line| line.starts_with("memory ="));
    let shown: Vec<String> = shown
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let share = "memory = \"60MiB\" # --memory 120MiB, shared by 2 sinks";
    assert_eq!(shown, [share; 2]);

    let own = folder.file("own.toml", &format!("memory = \"1GiB\"\n{NOWHERE}"));
    for command in ["run", "check", "config"] {
        let (code, out, err) = with(command, "60MiB", &one);
        assert_eq!((code, out.as_str()), (2, ""), "{command}");
        for file in [&one, &two] {
            let place = format!("--> {file}, by --memory 60MiB, shared by 2 sinks");
            assert!(err.contains(&place), "{command}: {err}");
        }
        let help = "help: start with --memory 64MiB";
        assert!(err.contains(help), "{command}: {err}");

        let (code, out, err) = with(command, "512MiB", &own);
        assert_eq!((code, out.as_str()), (2, ""), "{command}");
        let set = format!("the files set 1GiB together ({own}: 1GiB), more than --memory 512MiB");
        let place = format!("--> {own}:1:10");
        assert!(err.contains(&set) && err.contains(&place), "{err}");
    }
    for command in ["check", "config"] {
        let agent = ["--memory", "1GiB", "--config", "config/agent.toml"];
        let (code, _, err) = run(&[&[command][..], &agent].concat());
        assert!(code == 2 && err.contains("--memory is for sinks"), "{err}");
    }
}

#[test]
fn more_memory_than_there_is_is_warned_about_and_it_runs_all_the_same() {
    let folder = Folder::new();
    let file = folder.file("sink.toml", NOWHERE);
    let args = ["--memory", "1TiB", "--config", &file];
    let (code, out, err) = run(&[&["check"][..], &args].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("the configuration is valid"), "{out}");
    let may_hold = format!("the sinks of this process may hold 1TiB ({file}: 1TiB), which takes");
    assert!(err.contains(&may_hold), "{err}");
    assert!(err.contains("and the process may have "), "{err}");
    assert!(err.contains("help: start with --memory "), "{err}");

    let running = Running::start(&[&["run"][..], &args].concat());
    running.line_with(&may_hold);
    running.line_with("\"admin\"");
    running.signal("-TERM");
    let code = running.exit_code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

#[test]
fn servers_that_are_away_are_said_by_check_connect() {
    let folder = Folder::new();
    let file = folder.file("sink.toml", NOWHERE);
    let (code, out, err) = run(&["check", "--connect", "--config", &file]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(
        out.contains("error: brokers 127.0.0.1:1: can't be used: "),
        "{out}"
    );
    assert!(
        out.contains("= help: check kafka.bootstrap_servers"),
        "{out}"
    );
    assert!(out.contains("127.0.0.1:1"), "{out}");
}

/// A running binary and its log lines.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let mut child = outflow().args(args).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (line_tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = line_tx.send(line);
            }
        });
        Running { child, lines }
    }

    /// The first line that has `word` in it.
    fn line_with(&self, word: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Vec::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if line.contains(word) {
                return line;
            }
            seen.push(line);
        }
        panic!("{word} wasn't said:\n{}", seen.join("\n"));
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it doesn't end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_any_server_it_runs_answers_and_leaves_when_asked() {
    let folder = Folder::new();
    let file = folder.file("sink.toml", NOWHERE);
    let running = Running::start(&["run", "--config", &file]);
    let line: serde_json::Value = serde_json::from_str(&running.line_with("\"admin\"")).unwrap();
    let address = line["admin"].as_str().unwrap().to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let other = folder.file("other.toml", &NOWHERE.replace("127.0.0.1:0", &address));
    let (code, _, err) = run(&["run", "--config", &other]);
    assert!(
        code == 1 && err.contains("is taken by another process"),
        "{code} {err}"
    );

    running.signal("-TERM");
    running.line_with("stopping: draining within 3s");
    let code = running.exit_code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

/// What runs containers asks this way: 0 or 1, and why in one line.
#[test]
fn health_asks_the_process_of_the_configuration_and_says_why() {
    let folder = Folder::new();
    let port = testbed::ports::free_port().unwrap();
    let everywhere = NOWHERE.replace("127.0.0.1:0", &format!("0.0.0.0:{port}"));
    let (token, config) = (
        folder.file("token", "s3cret"),
        format!("{everywhere}[rejected]\npolicy = \"skip\"\n",),
    );
    let config = config.replace("[admin]\n", &format!("[admin]\ntoken_file = \"{token}\"\n"));
    let file = folder.file("sink.toml", &config);
    let health = |args: &[&str]| run(&[&["health", "--config", &file], args].concat());

    let (code, out, err) = health(&[]);
    assert_eq!((code, out.as_str()), (1, ""), "nobody listens");
    let address = format!("http://127.0.0.1:{port}/");
    assert!(
        err.starts_with(&format!("unhealthy: {address}: Connection refused")),
        "{err}"
    );

    let running = Running::start(&["run", "--config", &file]);
    running.line_with("\"admin\"");
    for (args, page, word) in [
        (&[][..], "readyz", "ready"),
        (&["--live"], "livez", "alive"),
    ] {
        let well = (0, format!("{address}{page}: {word}\n"), String::new());
        // The sinks start a moment after the server.
        let deadline = Instant::now() + Duration::from_secs(60);
        let found = loop {
            let found = health(args);
            if found == well || Instant::now() > deadline {
                break found;
            }
        };
        assert_eq!(found, well);
    }
    let by_url = run(&["health", "--url", &format!("127.0.0.1:{port}"), "--live"]);
    assert_eq!(by_url.0, 0, "{by_url:?}");

    // Frozen: it accepts and doesn't answer.
    running.signal("-STOP");
    let (code, _, err) = health(&["--live", "--timeout", "300ms"]);
    running.signal("-CONT");
    assert!(code == 1 && err.contains("no answer within 300ms"), "{err}");
}

type Answer = fn(&str) -> &'static str;

/// A server that answers each page with what is told for it: bytes as they go over the wire, after which it holds the
/// connection or, if there are none, hangs up.
fn answering(answer: Answer) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            let mut lines = BufReader::new(&connection);
            lines.read_line(&mut head).unwrap();
            let said = answer(head.split(' ').nth(1).unwrap_or_default());
            if !said.is_empty() {
                connection.write_all(said.as_bytes()).unwrap();
                held.push(connection);
            }
        }
    });
    format!("http://{address}")
}

const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n";

#[test]
fn health_tells_a_process_that_is_well_from_one_that_starts_is_stuck_or_is_wedged() {
    let url = answering(|page| match page {
        "/readyz" => {
            "HTTP/1.1 503 x\r\nContent-Length: 83\r\n\r\nnot ready\nsink a: worker 0 is starting\n\
                      sink b: t[3] is quarantined: a strange file\n"
        }
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n",
    });
    let found = run(&["health", "--url", &url]);
    let said = format!(
        "unhealthy: {url}/readyz: not ready; sink a: worker 0 is starting; sink b: t[3] is quarantined: a strange file\n"
    );
    assert_eq!(found, (1, String::new(), said));
    // No restart helps.
    let found = run(&["health", "--url", &url, "--live"]);
    assert_eq!(found, (0, format!("{url}/livez: alive\n"), String::new()));

    let url = answering(|page| match page {
        "/livez" => {
            "HTTP/1.1 503 x\r\nContent-Length: 50\r\n\r\nnot alive\nsink a: worker 0 hasn't moved for 121 s\n"
        }
        _ => READY,
    });
    let (code, out, err) = run(&["health", "--url", &url, "--live"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.ends_with("/livez: not alive; sink a: worker 0 hasn't moved for 121 s\n"),
        "{err}"
    );
    let found = run(&["health", "--url", &url]);
    assert_eq!(found, (0, format!("{url}/readyz: ready\n"), String::new()));
}

#[test]
fn health_believes_no_other_server_than_outflows() {
    let answers: [(Answer, &str); 7] = [
        (
            |_| "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html></html>\n",
            "/readyz: that isn't outflow's admin server, or another version's: it didn't say \"ready\"",
        ),
        (
            |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "that isn't outflow's admin server",
        ),
        (
            |_| "HTTP/1.1 503 x\r\nContent-Length: 12\r\n\r\nno upstream\n",
            "that isn't outflow's admin server",
        ),
        (
            |_| "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n",
            "/readyz: HTTP 404",
        ),
        (
            |page| match page {
                "/readyz" => "HTTP/1.1 302 x\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
                _ => READY,
            },
            "/readyz: HTTP 302",
        ),
        (|_| "", "is outflow running there, with this admin.listen?"),
        // It begins, and doesn't go on.
        (
            |_| "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nrea",
            "no answer within 2s",
        ),
    ];
    for (answer, why) in answers {
        let url = answering(answer);
        let (code, out, err) = run(&["health", "--url", &url, "--timeout", "2s"]);
        assert_eq!((code, out.as_str()), (1, ""), "{why}: {err}");
        assert!(
            err.starts_with("unhealthy: ") && err.contains(why),
            "{why}: {err}"
        );
    }
}

#[test]
fn health_says_what_it_can_not_ask() {
    let folder = Folder::new();
    let off = NOWHERE.replace("127.0.0.1:0", "off");
    for (text, why) in [
        (NOWHERE, "admin.listen has port 0"),
        (&off, "the admin server is off"),
        (
            &NOWHERE.replace("topics", "topcis"),
            "did you mean `topics`?",
        ),
        ("[agent]\ntopic = \"t\"\n", "the agent has no admin server"),
    ] {
        let file = folder.file("file.toml", text);
        let (code, out, err) = run(&["health", "--config", &file]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with("unhealthy: ") && err.contains(why), "{err}");
    }
    let (code, _, err) = run(&["health"]);
    assert!(code == 2 && err.contains("--config <FILE>"), "{err}");
}

/// The agent without brokers has figures that it can't deliver.
#[test]
fn an_agent_that_must_leave_figures_behind_says_so_by_its_exit_code() {
    let folder = Folder::new();
    let text = "shutdown_timeout = \"1s\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[agent]\ntopic = \"t\"\n\
                interval = \"100ms\"\n";
    let file = folder.file("agent.toml", text);
    let running = Running::start(&["agent", "--config", &file]);
    running.line_with("figures are buffered: no broker can be reached");
    running.signal("-TERM");
    running.line_with("unacknowledged: they are lost");
    assert_eq!(running.exit_code(), Some(3));

    let text = text.replace("1s", "5m");
    let file = folder.file("patient.toml", &text);
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let running = Running::start(&["agent", "--config", &file]);
        running.line_with("figures are buffered");
        running.signal(signal);
        running.line_with("stopping: draining within");
        running.signal(signal);
        assert_eq!(
            running.exit_code(),
            Some(code),
            "a second signal leaves at once"
        );
    }
}
