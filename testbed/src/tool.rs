//! Other people's programs: where they are, and a server's own command line tool, run to its end.

use std::fs;
use std::path::PathBuf;
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
