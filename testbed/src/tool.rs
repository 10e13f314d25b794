//! Other people's programs: where they are, what they say of a test's files, and a server's own command line tool, run
//! to its end.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Spec};

/// Where a program is, if it is in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A program of other people's that a test wants and a machine may lack.
pub struct Tool {
    path: PathBuf,
}

/// What a [`Tool`] said, and whether it was content.
pub struct Said {
    /// Whether its exit code is 0.
    pub is_fine: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// All of it, for people.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The first of these names that is installed. Where none is, that is said: the test that asks ends then, having tested
/// nothing. `source` tells where to get it, such as `Debian: prometheus`.
pub fn installed(names: &[&str], source: &str) -> Option<Tool> {
    let path = names.iter().find_map(|name| find(name));
    if path.is_none() {
        let name = names.last().unwrap_or(&"it");
        let _ = writeln!(
            std::io::stderr(),
            "NOT TESTED: {name} isn't installed ({source})"
        );
    }
    path.map(|path| Tool { path })
}

impl Tool {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it with this input to its end.
    pub fn run(&self, args: &[&str], input: &str) -> Result<Said> {
        let name = self.path.display();
        let mut child = Command::new(&self.path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(format!("{name} can't be started"))?;
        // Who doesn't read it doesn't want it.
        let _ = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(input.as_bytes()));
        let done = child
            .wait_with_output()
            .context(format!("{name} can't be waited for"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said {
            is_fine: done.status.success(),
            out: text(done.stdout),
            err: text(done.stderr),
        })
    }
}

/// Runs `spec` with these arguments more, and returns what it said. `name` is for messages.
pub(crate) fn run(mut spec: Spec, name: &str, args: &[&str]) -> Result<String> {
    let out = tempfile::NamedTempFile::new_in(&spec.dir).context("no temp file")?;
    spec.log = out.path().to_owned();
    spec.args.extend(args.iter().map(|arg| (*arg).to_owned()));
    let run = Guarded::spawn(name, &spec)?;
    let code = run.wait(Duration::from_secs(60));
    let said = fs::read_to_string(out.path()).context("can't read the tool's output")?;
    match code {
        Some(0) => Ok(said),
        Some(code) => Err(Error::new(format!(
            "{name} {args:?} exit code {code}:\n{said}"
        ))),
        None => Err(Error::new(format!(
            "{name} {args:?} took more than 60 s:\n{said}"
        ))),
    }
}
