//! `outflow top` in a real pseudo-terminal, against a real admin server.

#![cfg(feature = "top")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow::admin::{Observed, Server};
use outflow::config::settings::AdminSettings;
use outflow::error::Error;
use outflow::offsets::TopicPartition;
use outflow::status::{SinkHealth, SinkStatus};
use testbed::guard::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// One sink that waits.
struct Waiting;

impl Observed for Waiting {
    fn sinks(&self) -> Vec<SinkStatus> {
        vec![SinkStatus {
            totals: Default::default(),
            name: "to-elsewhere".into(),
            kind: "elasticsearch",
            group: Some("outflow-to-elsewhere".into()),
            state: "waiting".into(),
            reason: Some("connection refused by that server".into()),
            paused: false,
            health: SinkHealth::default(),
            workers: Vec::new(),
            lag: Some(1_234),
            verdict: None,
        }]
    }

    fn release(&self, _: &str, _: &TopicPartition) -> Result<(), Error> {
        Err(Error::rejected("nothing is to be released"))
    }
}

/// Serves until it is dropped.
fn serve(listen: &str) -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let settings = AdminSettings {
        listen: Some(listen.parse().unwrap()),
        token: None,
        allow_unauthenticated: false,
    };
    let bound = runtime.block_on(Server::bind(
        &settings,
        Arc::new(Waiting),
        Default::default(),
    ));
    let server = bound.unwrap().unwrap();
    let address = server.address().unwrap();
    runtime.spawn(server.serve());
    (runtime, address)
}

/// `outflow top` in a terminal of `script`'s.
struct Terminal {
    script: Child,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(address: SocketAddr, env: &[(&str, &str)]) -> Self {
        let binary = env!("CARGO_BIN_EXE_outflow");
        let inside = format!("stty cols 100 rows 24; exec '{binary}' top --url http://{address}");
        let mut command = Command::new("script");
        command
            .args([
                "--quiet",
                "--return",
                "--flush",
                "--command",
                &inside,
                "/dev/null",
            ])
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut script = command.spawn().expect("script, of util-linux");
        let mut output = script.stdout.take().unwrap();
        let seen: Arc<Mutex<String>> = Arc::default();
        let heard = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(num @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..num]).into_owned();
                heard.lock().unwrap().push_str(&text);
            }
        });
        Terminal { script, seen }
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} is shown"), PATIENCE, || {
            let seen = self.seen.lock().unwrap();
            match seen.contains(text) {
                true => Ok(()),
                false => Err(format!("{seen:?}")),
            }
        })
        .unwrap();
    }

    fn press(&mut self, keys: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until it has ended, well, and has given the terminal back as it was: the other screen, the cursor.
    fn wait_end(&mut self) {
        let status = wait_until("it ends", PATIENCE, || match self.script.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
        .unwrap();
        assert_eq!(status.code(), Some(0), "{:?}", self.seen.lock().unwrap());
        self.wait_for("\u{1b}[?1049l");
        self.wait_for("\u{1b}[?25h");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn it_shows_the_sink_bears_an_outage_and_gives_the_terminal_back() {
    let (runtime, address) = serve("127.0.0.1:0");
    let mut terminal = Terminal::start(address, &[]);
    terminal.wait_for("to-elsewhere");
    // Only cells that change are sent: blanks between words aren't.
    for word in ["connection", "refused", "1234", "waiting"] {
        terminal.wait_for(word);
    }
    runtime.shutdown_background();
    terminal.wait_for("heard");
    let before = terminal.seen.lock().unwrap().len();
    let (_runtime, _) = serve(&address.to_string());
    wait_until("it is heard again", PATIENCE, || {
        let seen = terminal.seen.lock().unwrap();
        let since = seen.get(before..).unwrap_or_default();
        since
            .contains("1 sink, ")
            .then_some(())
            .ok_or_else(|| format!("{since:?}"))
    })
    .unwrap();
    terminal.press("q");
    terminal.wait_end();
}

#[test]
fn control_c_leaves_and_no_color_is_heeded() {
    let (_runtime, address) = serve("127.0.0.1:0");
    let mut terminal = Terminal::start(address, &[("NO_COLOR", "1")]);
    terminal.wait_for("to-elsewhere");
    terminal.press("\u{3}");
    terminal.wait_end();
    let seen = terminal.seen.lock().unwrap();
    for colour in ["[31m", "[33m", "[38;5;1m", "[38;5;3m"] {
        assert!(!seen.contains(colour), "{colour}: {seen:?}");
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
    let output = command.arg("top").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("needs a terminal; `outflow lag` prints once"),
        "{said}"
    );
}
