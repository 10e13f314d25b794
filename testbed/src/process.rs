//! A running outflow (the binary), for tests and for the demo.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Signal, Spec, log_tail};
use crate::http::Http;
use crate::ports::free_port;

/// A running outflow process. Dropping it kills it.
pub struct Outflow {
    guarded: Guarded,
    log: PathBuf,
    http: Option<Http>,
}

impl Outflow {
    /// Starts `binary args...` with these variables on top of the environment (every other `OUTFLOW_`
    /// variable of ours is taken away). Its output is appended to `log`.
    pub fn spawn(
        binary: impl AsRef<Path>,
        args: &[&str],
        env: &[(&str, &str)],
        log: impl Into<PathBuf>,
    ) -> Result<Self> {
        let log = log.into();
        let own = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let spec = Spec {
            program: binary.as_ref().to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(own).collect(),
            dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            log: log.clone(),
            as_id: None,
        };
        let guarded = Guarded::spawn(&format!("outflow {}", args.join(" ")), &spec)?;
        Ok(Self {
            guarded,
            log,
            http: None,
        })
    }

    /// Starts `binary command --config` with a file in `folder` that `config` writes, given the address where the admin
    /// server is to listen.
    pub fn configured(
        binary: impl AsRef<Path>,
        command: &str,
        folder: &Path,
        config: impl FnOnce(&str) -> String,
    ) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let file = folder.join(format!("{command}.toml"));
        std::fs::write(&file, config(&address)).context("can't write the configuration")?;
        let args = [command, "--config", &file.to_string_lossy()];
        let log = folder.join(format!("{command}.log"));
        Ok(Self::spawn(binary, &args, &[], log)?.with_admin(&address))
    }

    /// Says where its admin server listens, such as `127.0.0.1:8080`.
    pub fn with_admin(mut self, address: &str) -> Self {
        let http = Http::new(format!("http://{address}"));
        self.http = Some(http.with_timeout(Duration::from_secs(5)));
        self
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }

    /// A client for its admin server.
    pub fn http(&self) -> Result<&Http> {
        self.http
            .as_ref()
            .ok_or_else(|| Error::new("call with_admin(address) first"))
    }

    /// Waits until `/readyz` answers 200; fails at once if the process ends.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        self.wait_for("/readyz answers 200", timeout, || {
            let answer = self.http()?.get("/readyz");
            let reason = match answer {
                Ok(answer) if answer.status == 200 => return Ok(None),
                Ok(answer) => format!("HTTP {}: {}", answer.status, answer.text()),
                Err(error) => error.to_string(),
            };
            Ok(Some(reason))
        })
    }

    /// Waits until `check` says `None`; it says why not otherwise. Fails at once if the process ends.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        check: impl Fn() -> Result<Option<String>>,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let Some(reason) = check()? else {
                return Ok(());
            };
            if let Some(code) = self.guarded.exit_code() {
                let text = format!("waiting until {what}: outflow ended with exit code {code}");
                return Err(self.with_log(&text));
            }
            if Instant::now() >= deadline {
                let seconds = timeout.as_secs_f32();
                return Err(self.with_log(&format!("{what}: not within {seconds} s: {reason}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `/api/v1/status`.
    pub fn status(&self) -> Result<Value> {
        self.http()?.get_json("/api/v1/status")
    }

    /// `/metrics`, the text.
    pub fn metrics(&self) -> Result<String> {
        let answer = self.http()?.get("/metrics")?;
        match answer.status {
            200 => Ok(answer.text()),
            status => Err(Error::new(format!(
                "/metrics: HTTP {status}: {}",
                answer.text()
            ))),
        }
    }

    /// The sum of a metric over all its labels that contain every one of `labels` (such as
    /// `sink="hdfs"`); none if it isn't there.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<Option<f64>> {
        Ok(sum_metric(&self.metrics()?, name, labels))
    }

    /// SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        self.guarded.signal(Signal::TERM)
    }

    /// SIGINT.
    pub fn interrupt(&self) -> Result<()> {
        self.guarded.signal(Signal::INT)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) -> Result<()> {
        self.guarded.signal_group(Signal::KILL)?;
        self.wait(Duration::from_secs(10)).map(|_| ())
    }

    /// A signal to it and all that it has started, without waiting for the end.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        self.guarded.signal_group(signal)
    }

    /// SIGSTOP.
    pub fn freeze(&self) -> Result<()> {
        self.guarded.signal_group(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.guarded.signal_group(Signal::CONT)
    }

    /// The exit code if it has ended; 128 + n if signal n ended it.
    pub fn exit_code(&self) -> Option<i32> {
        self.guarded.exit_code()
    }

    /// Waits for the end and returns the exit code.
    pub fn wait(&self, timeout: Duration) -> Result<i32> {
        let seconds = timeout.as_secs_f32();
        self.guarded
            .wait(timeout)
            .ok_or_else(|| self.with_log(&format!("outflow didn't end within {seconds} s")))
    }

    /// SIGTERM, waits, and returns the exit code.
    pub fn stop(&self, timeout: Duration) -> Result<i32> {
        self.terminate()?;
        self.wait(timeout)
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn with_log(&self, text: &str) -> Error {
        let (log, tail) = (self.log.display(), log_tail(&self.log, 30));
        Error::new(format!("{text}. The end of its log {log}:\n{tail}"))
    }
}

/// The outflow binary: this one, or the one beside the program that runs.
pub fn binary(chosen: Option<&Path>) -> Result<PathBuf> {
    let binary = match chosen {
        Some(binary) => binary.to_owned(),
        None => std::env::current_exe()
            .context("where am I?")?
            .with_file_name("outflow"),
    };
    match binary.is_file() {
        true => Ok(binary),
        false => {
            let text = format!("{} isn't there; run `make build` first", binary.display());
            Err(Error::new(text))
        }
    }
}

/// Sums the samples of one metric in Prometheus' text form.
pub fn sum_metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let samples = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (found, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None if rest.starts_with(' ') => ("", rest),
                None => return None,
            };
            let wanted = labels
                .iter()
                .all(|label| found.split(',').any(|found| found == *label));
            let value = value.split_whitespace().next()?.parse::<f64>().ok()?;
            wanted.then_some(value)
        });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}
