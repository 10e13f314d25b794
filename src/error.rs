//! One vocabulary for failure: an error says what the caller must do, not where it came from.

use std::fmt;
use std::time::Duration;

/// What the caller must do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Back off and try again, for ever. Nothing is known to be wrong with the request.
    Unavailable,
    /// A person is needed (credentials, a missing index, a blocked path). Keep probing: it may be mended
    /// at any moment without a restart.
    Misconfigured,
    /// This record will never be taken: dead letter.
    Rejected,
    /// The partition isn't ours any more: drop what is held for it.
    Fenced,
    /// What was found can't be: stop this partition and show it.
    Corrupt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Unavailable => "unavailable",
            Kind::Misconfigured => "misconfigured",
            Kind::Rejected => "rejected",
            Kind::Fenced => "fenced",
            Kind::Corrupt => "corrupt",
        })
    }
}

/// A failure, in words for the person on call: what happened, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What the caller must do.
    pub kind: Kind,
    /// One line, complete by itself; never contains a secret or a record's content.
    pub what: String,
    /// The server's own wish for when to come back (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error of a kind, in words.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error {
            kind,
            what: what.into(),
            retry_after: None,
        }
    }

    /// Shorthand for [`Kind::Unavailable`].
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, what)
    }

    /// Shorthand for [`Kind::Misconfigured`].
    pub fn misconfigured(what: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, what)
    }

    /// Shorthand for [`Kind::Rejected`].
    pub fn rejected(what: impl Into<String>) -> Self {
        Self::new(Kind::Rejected, what)
    }

    /// Shorthand for [`Kind::Fenced`].
    pub fn fenced(what: impl Into<String>) -> Self {
        Self::new(Kind::Fenced, what)
    }

    /// Shorthand for [`Kind::Corrupt`].
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, what)
    }

    /// The same error with the server's wish for when to come back.
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }
}

/// The innermost cause, in words: those around it repeat the URL, or say that a request failed.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let what = cause.to_string();
    // rustls' word for an answer that has nothing of TLS.
    match what.contains("InvalidContentType") {
        true => "what answers there doesn't speak TLS: write http://, or another port".to_owned(),
        false => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[tokio::test]
    async fn an_https_url_of_a_port_that_speaks_http_is_told_so() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        let answer = std::thread::spawn(move || {
            let (mut client, _) = server.accept().expect("a client");
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let asked = reqwest::get(format!("https://127.0.0.1:{port}/")).await;
        let why = root_cause(&asked.expect_err("no TLS there"));
        assert!(why.contains("doesn't speak TLS"), "{why}");
        answer.join().expect("answered");
    }
}
