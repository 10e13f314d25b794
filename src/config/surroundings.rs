//! What the configuration must know of the machine, so that validation itself is pure.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The machine, as far as the configuration asks.
pub trait Surroundings {
    /// All environment variables that are text.
    fn variables(&self) -> Vec<(String, String)>;

    /// One of them.
    fn variable(&self, name: &str) -> Option<String> {
        self.variables()
            .into_iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    /// A file's text.
    fn read_file(&self, path: &Path) -> io::Result<String>;

    /// A secret's file, without the line's end.
    fn read_secret(&self, path: &Path) -> io::Result<SecretFile>;

    /// How many cores there are.
    fn cores(&self) -> usize;
}

/// What a secret's file holds. Not printable by intent.
pub struct SecretFile {
    /// The secret.
    pub text: String,
    /// Whether group or others may read the file.
    pub is_open_to_others: bool,
}

/// This machine.
#[derive(Debug, Clone, Copy)]
pub struct Host;

impl Surroundings for Host {
    fn variables(&self) -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path).map_err(brief)
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretFile> {
        let text = std::fs::read_to_string(path).map_err(brief)?;
        let file = std::fs::metadata(path).map_err(brief)?;
        let us = std::fs::metadata("/proc/self").map(|process| process.uid());
        let is_ours = us.is_ok_and(|us| us == file.uid());
        Ok(SecretFile {
            text: text.trim_end_matches(['\r', '\n']).to_owned(),
            is_open_to_others: is_open_to_others(file.mode(), is_ours),
        })
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

/// A file of somebody else's is read as a member of its group: so Kubernetes (`fsGroup`) and systemd give secrets.
fn is_open_to_others(mode: u32, is_ours: bool) -> bool {
    mode & if is_ours { 0o077 } else { 0o007 } != 0
}

/// The error in words, without the number.
fn brief(error: io::Error) -> io::Error {
    let words = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::IsADirectory => "it is a directory",
        io::ErrorKind::InvalidData => "it isn't UTF-8 text",
        _ => return error,
    };
    io::Error::new(error.kind(), words)
}

#[cfg(test)]
mod tests {
    use super::is_open_to_others;

    #[test]
    fn a_secret_is_open_to_whoever_need_not_read_it() {
        for (mode, is_ours, is_open) in [
            (0o100_600, true, false),
            (0o100_400, true, false),
            (0o100_640, true, true),
            (0o100_440, false, false),
            (0o100_444, true, true),
            (0o100_444, false, true),
        ] {
            let said = is_open_to_others(mode, is_ours);
            assert_eq!(said, is_open, "{mode:o}, ours: {is_ours}");
        }
    }
}
