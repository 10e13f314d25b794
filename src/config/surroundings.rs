//! What the configuration must know of the machine, so that validation itself is pure.

use std::io;
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
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(path).map_err(brief)?.permissions(),
        );
        Ok(SecretFile {
            text: text.trim_end_matches(['\r', '\n']).to_owned(),
            is_open_to_others: mode & 0o077 != 0,
        })
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
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
