//! What tests ask of HDFS: folders, files and their lines, through WebHDFS (not through the client that
//! outflow uses).

use std::io::Read;
use std::process::Command;

use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::http::Http;

/// A file or folder.
#[derive(Clone, Debug)]
pub struct Status {
    /// The whole path.
    pub path: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// The length in bytes.
    pub len: u64,
    /// Who owns it.
    pub owner: String,
    /// Its replication.
    pub replication: u64,
}

/// A file with its content, uncompressed and split into lines.
#[derive(Clone, Debug)]
pub struct CommittedFile {
    /// The whole path.
    pub path: String,
    /// The lines, without their ends.
    pub lines: Vec<Vec<u8>>,
}

/// A client for HDFS' files.
#[derive(Clone, Debug)]
pub struct Files {
    http: Http,
    user: String,
}

impl Files {
    /// Through this NameNode, as the user who started it.
    pub fn new(http: &Http) -> Self {
        let output = Command::new("id")
            .arg("-un")
            .output()
            .map(|output| output.stdout);
        let user = String::from_utf8_lossy(&output.unwrap_or_default())
            .trim()
            .to_owned();
        Self {
            http: http.clone(),
            user,
        }
    }

    /// What is in a folder; nothing if it isn't there.
    pub fn list(&self, dir: &str) -> Result<Vec<Status>> {
        let answer = self.http.get(&self.url(dir, "LISTSTATUS"))?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let answer = answer.json().context(format!("listing {dir}"))?;
        let statuses = answer["FileStatuses"]["FileStatus"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(statuses
            .iter()
            .map(|status| to_status(dir, status))
            .collect())
    }

    /// Everything below a folder, folders before what is in them.
    pub fn list_recursive(&self, dir: &str) -> Result<Vec<Status>> {
        let mut all = Vec::new();
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            for status in self.list(&dir)? {
                if status.is_dir {
                    open.push(status.path.clone());
                }
                all.push(status);
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// A file's bytes, as they are stored.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        // A DataNode answers, over a connection of its own to the NameNode: after that has been killed and
        // started, the first who asks is told that it broke.
        let mut tries = 3;
        loop {
            let answer = self.http.get(&self.url(path, "OPEN"))?;
            tries -= 1;
            match answer.status {
                200 => return Ok(answer.body),
                _ if tries > 0 && answer.text().contains("EOFException") => {}
                status => {
                    return Err(Error::new(format!(
                        "reading {path}: HTTP {status}: {}",
                        answer.text()
                    )));
                }
            }
        }
    }

    /// Creates or replaces a file.
    pub fn write(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let url = format!("{}&overwrite=true", self.url(path, "CREATE"));
        let body = Some(("application/octet-stream", bytes));
        let answer = self.http.send(reqwest::Method::PUT, &url, body)?;
        match answer.status {
            200 | 201 => Ok(()),
            status => Err(Error::new(format!(
                "writing {path}: HTTP {status}: {}",
                answer.text()
            ))),
        }
    }

    /// Deletes a file or a folder and all in it.
    pub fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}&recursive=true", self.url(path, "DELETE"));
        let answer = self.http.send(reqwest::Method::DELETE, &url, None)?;
        answer
            .json()
            .map(|_| ())
            .context(format!("deleting {path}"))
    }

    /// Every committed file under `base` with its lines: those outside of any folder or file name that
    /// starts with `_` or `.`, as Hive, Spark and MapReduce would see them.
    pub fn committed(&self, base: &str) -> Result<Vec<CommittedFile>> {
        let mut files = Vec::new();
        for path in self.committed_paths(base)? {
            let bytes = decompress(&path, self.read(&path)?)?;
            let lines = split_lines(&bytes).context(&path)?;
            files.push(CommittedFile { path, lines });
        }
        Ok(files)
    }

    /// The paths of all committed files under `base`.
    pub fn committed_paths(&self, base: &str) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        let mut open = vec![base.to_owned()];
        while let Some(dir) = open.pop() {
            for status in self.list(&dir)? {
                let name = status.path.rsplit('/').next().unwrap_or_default();
                if name.starts_with(['_', '.']) {
                    continue;
                }
                let into = if status.is_dir { &mut open } else { &mut paths };
                into.push(status.path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn url(&self, path: &str, operation: &str) -> String {
        format!(
            "/webhdfs/v1{}?op={operation}&user.name={}",
            escape(path),
            self.user
        )
    }
}

/// The name of the user that this process runs as.
pub(crate) fn current_user() -> String {
    let output = Command::new("id")
        .arg("-un")
        .output()
        .map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default())
        .trim()
        .to_owned()
}

/// Percent-encodes a path; `+`, `=` and `%` are found in ours.
fn escape(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(one).collect()
}

fn to_status(dir: &str, status: &Value) -> Status {
    let name = status["pathSuffix"].as_str().unwrap_or_default();
    let path = match name.is_empty() {
        true => dir.to_owned(),
        false => format!("{}/{name}", dir.trim_end_matches('/')),
    };
    Status {
        path,
        is_dir: status["type"].as_str() == Some("DIRECTORY"),
        len: status["length"].as_u64().unwrap_or(0),
        owner: status["owner"].as_str().unwrap_or_default().to_owned(),
        replication: status["replication"].as_u64().unwrap_or(0),
    }
}

fn decompress(path: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if path.ends_with(".zst") {
        return zstd::decode_all(bytes.as_slice()).context(format!("{path}: not whole zstd"));
    }
    if path.ends_with(".gz") {
        let mut plain = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(bytes.as_slice());
        decoder
            .read_to_end(&mut plain)
            .context(format!("{path}: not whole gzip"))?;
        return Ok(plain);
    }
    Ok(bytes)
}

/// Lines of a file that must end with a line's end: half a line at the end is damage.
fn split_lines(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let Some(whole) = bytes.strip_suffix(b"\n") else {
        return match bytes.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new("the last line has no end")),
        };
    };
    Ok(whole
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_cut_is_damage() {
        assert_eq!(
            split_lines(b"a\nb\n").ok(),
            Some(vec![b"a".to_vec(), b"b".to_vec()])
        );
        assert!(split_lines(b"a\nb").is_err());
        let whole = zstd::encode_all(&b"a\n"[..], 1).unwrap_or_default();
        assert!(decompress("x.json.zst", whole[..whole.len() - 2].to_vec()).is_err());
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(escape("/a b/day=1/t+0"), "/a%20b/day%3D1/t%2B0");
    }
}
