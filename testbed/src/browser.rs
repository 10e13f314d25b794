//! A real browser: Chromium without a window, driven by its DevTools protocol over a pipe, so there is neither a port nor a
//! WebSocket. It asks nobody but this machine, and ends with us: Chromium leaves when the pipe is closed.
//!
//! Owns: the process, the protocol, what a page complains of. Does not own: what a page should show.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::guard::TestDir;
use crate::tool;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// An answer takes no longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The protocol is on descriptors 3 and 4, which become our pipes.
const LAUNCH: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
const ARGUMENTS: [&str; 12] = [
    "--headless",
    "--remote-debugging-pipe",
    // Tests run as root in containers, where Chromium's own sandbox can't be had; it sees our own page alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// A running browser. Dropping it ends it.
pub struct Browser {
    child: Child,
    wire: Arc<Wire>,
    _profile: TestDir,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let is_there = |name: &&str| tool::find(name).is_some();
        let name = NAMES.into_iter().find(is_there).ok_or_else(|| {
            Error::new("no Chromium is installed: WITH_BROWSER=1 scripts/setup.sh sees to it (Debian: chromium)")
        })?;
        let profile = TestDir::new("browser")?;
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut command = Command::new("sh");
        command.args(["-c", LAUNCH, "sh", name]).args(ARGUMENTS);
        command.args([&data, "about:blank"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context(format!("starting {name}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new("the browser has no pipes"));
        };
        let wire = Arc::new(Wire::new(input));
        let hearing = wire.clone();
        std::thread::spawn(move || hearing.hear(output));
        Ok(Browser {
            child,
            wire,
            _profile: profile,
        })
    }

    /// Opens a page of this size (CSS pixels); a narrow one is a phone's.
    pub fn open(&self, url: &str, width: u32, height: u32) -> Result<Page> {
        let context = self
            .wire
            .ask(None, "Target.createBrowserContext", json!({}))?;
        let context = context["browserContextId"].clone();
        let wanted = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.wire.ask(None, "Target.createTarget", wanted)?;
        let wanted = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.wire.ask(None, "Target.attachToTarget", wanted)?;
        let session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        let page = Page {
            wire: self.wire.clone(),
            session,
            target: target["targetId"].clone(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.ask(&format!("{domain}.enable"), json!({}))?;
        }
        page.resize(width, height)?;
        page.ask("Page.navigate", json!({ "url": url }))?;
        Ok(page)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// One open page. Dropping it closes it.
pub struct Page {
    wire: Arc<Wire>,
    session: String,
    target: Value,
}

impl Drop for Page {
    fn drop(&mut self) {
        let wanted = json!({ "targetId": self.target });
        let _ = self.wire.ask(None, "Target.closeTarget", wanted);
    }
}

impl Page {
    /// The value of an expression, as JSON; promises are awaited.
    pub fn eval(&self, expression: &str) -> Result<Value> {
        let wanted =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", wanted)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(Error::new(format!("{expression}: {details}"))),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true.
    pub fn wait_for(&self, what: &str, expression: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // While a page is being loaded there may be nothing to ask.
            let value = self.eval(expression).unwrap_or_default();
            if value == true {
                return Ok(());
            }
            if Instant::now() > deadline {
                let shown = self.eval("document.body.innerText").unwrap_or_default();
                let shown = shown.as_str().unwrap_or_default().to_owned();
                let complaints = self.complaints().join("\n");
                let text = format!(
                    "{what}: not within {PATIENCE:?}\n{complaints}\nthe page says:\n{shown}"
                );
                return Err(Error::new(text));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the page shows this text somewhere, sooner or later.
    pub fn wait_for_text(&self, text: &str) -> Result<()> {
        let wanted = json!(text);
        self.wait_for(
            &format!("the page says {text:?}"),
            &format!("document.body.innerText.includes({wanted})"),
        )
    }

    /// Another size; below 600 pixels it is a phone.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        let wanted = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.ask("Emulation.setDeviceMetricsOverride", wanted)?;
        Ok(())
    }

    /// A media feature, such as `prefers-color-scheme` and `dark`.
    pub fn emulate(&self, feature: &str, value: &str) -> Result<()> {
        let wanted = json!({ "features": [{ "name": feature, "value": value }] });
        self.ask("Emulation.setEmulatedMedia", wanted)?;
        Ok(())
    }

    /// Presses a key that types nothing, such as `Tab` or `Enter`.
    pub fn press(&self, key: &str) -> Result<()> {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            _ => return Err(Error::new(format!("no key is known as {key}"))),
        };
        for kind in ["rawKeyDown", "char", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            if kind == "char" && text.is_empty() {
                continue;
            }
            let wanted = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.ask("Input.dispatchKeyEvent", wanted)?;
        }
        Ok(())
    }

    /// Types into whatever has the focus.
    pub fn type_text(&self, text: &str) -> Result<()> {
        self.ask("Input.insertText", json!({ "text": text }))?;
        Ok(())
    }

    /// A picture of what is in view (PNG).
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let answer = self.ask("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = answer["data"].as_str().unwrap_or_default();
        let bytes = BASE64.decode(data).context("reading the picture")?;
        std::fs::write(file, bytes).context(format!("writing {}", file.display()))
    }

    /// Errors and warnings of the console, exceptions, and violations of the page's policy, in order. Requests that failed
    /// because a server was away are the test's own doing, and left out.
    pub fn complaints(&self) -> Vec<String> {
        let heard = |(method, params): (&str, &Value)| match method {
            "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] != "log" => Some(params.to_string()),
            "Log.entryAdded" => {
                let entry = &params["entry"];
                let is_network = entry["source"] == "network";
                (!is_network).then(|| entry.to_string())
            }
            _ => None,
        };
        self.events(heard)
    }

    /// The addresses of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        let heard = |(method, params): (&str, &Value)| {
            let url = params["request"]["url"].as_str();
            (method == "Network.requestWillBeSent").then(|| url.unwrap_or_default().to_owned())
        };
        self.events(heard)
    }

    fn events(&self, heard: impl Fn((&str, &Value)) -> Option<String>) -> Vec<String> {
        let state = self.wire.state();
        let ours = state
            .events
            .iter()
            .filter(|e| e["sessionId"] == *self.session);
        ours.filter_map(|event| heard((event["method"].as_str()?, &event["params"])))
            .collect()
    }

    /// Any command of the protocol.
    pub fn ask(&self, method: &str, params: Value) -> Result<Value> {
        self.wire.ask(Some(&self.session), method, params)
    }
}

/// The protocol: numbered questions, answers by number, and events.
struct Wire {
    input: Mutex<ChildStdin>,
    next: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: HashMap<u64, Value>,
    events: Vec<Value>,
    is_over: bool,
}

impl Wire {
    fn new(input: ChildStdin) -> Self {
        Wire {
            input: Mutex::new(input),
            next: AtomicU64::new(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the browser ends. Messages end with a zero byte.
    fn hear(&self, output: ChildStdout) {
        let mut output = BufReader::new(output);
        let mut message = Vec::new();
        while output
            .read_until(0, &mut message)
            .is_ok_and(|read| read > 0)
        {
            message.pop();
            let heard: Value = serde_json::from_slice(&message).unwrap_or_default();
            message.clear();
            let mut state = self.state();
            match heard["id"].as_u64() {
                Some(id) => drop(state.answers.insert(id, heard)),
                None => state.events.push(heard),
            }
            self.changed.notify_all();
        }
        self.state().is_over = true;
        self.changed.notify_all();
    }

    fn ask(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut question = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            question["sessionId"] = session.into();
        }
        let mut bytes = question.to_string().into_bytes();
        bytes.push(0);
        let sent = {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            input.write_all(&bytes).and_then(|()| input.flush())
        };
        sent.context(format!("asking the browser for {method}"))?;
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(mut answer) = state.answers.remove(&id) {
                return match answer.get("error") {
                    Some(error) => Err(Error::new(format!("{method}: {error}"))),
                    None => Ok(answer["result"].take()),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_over || left.is_zero() {
                return Err(Error::new(format!("{method}: the browser doesn't answer")));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
