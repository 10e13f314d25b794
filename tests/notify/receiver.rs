//! Receivers that keep what they are told and fail at will: an HTTP server and a mail server, with TLS or without.

#![allow(dead_code)] // Not every test that includes this needs all.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// How the next request is answered; 200 once there are no more.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this status, and these words.
    Status(u16, &'static str),
    /// Not at all, until the client gives up.
    Hang,
    /// With something that isn't HTTP.
    Garbage,
    /// By closing the connection.
    Close,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

#[derive(Default)]
struct Kept {
    requests: Mutex<Vec<Request>>,
    answers: Mutex<VecDeque<Answer>>,
}

/// An HTTP server.
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    kept: Arc<Kept>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Receiver {
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Receiver {
        Receiver::serve(None, answers)
    }

    pub fn with_tls(certificate: &Certificate) -> Receiver {
        Receiver::serve(Some(certificate.config()), [])
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let kept = Arc::new(Kept::default());
        *kept.answers.lock().unwrap() = answers.into_iter().collect();
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            kept: kept.clone(),
        };
        // They end with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (kept, tls) = (kept.clone(), tls.clone());
                thread::spawn(move || answer(&mut *secured(socket.unwrap(), tls), &kept));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("{}://{}/hook/secret-path", self.scheme, self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.kept.requests.lock().unwrap().clone()
    }

    /// What was taken, as `event group`, without what was refused.
    pub fn told(&self) -> Vec<String> {
        let told = |request: &Request| {
            let said = request.json();
            let word = |key: &str| said[key].as_str().unwrap_or("?").to_owned();
            format!("{} {}", word("event"), word("group"))
        };
        self.requests().iter().map(told).collect()
    }
}

fn secured(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Box<dyn Stream> {
    match tls {
        None => Box::new(socket),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            Box::new(StreamOwned::new(connection, socket))
        }
    }
}

/// One request of one connection; a client that doesn't trust us sends none.
fn answer(stream: &mut dyn Stream, kept: &Kept) -> Option<()> {
    let (mut head, mut length) = (String::new(), 0);
    let mut reader = BufReader::new(&mut *stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = kept.answers.lock().unwrap().pop_front();
    let (status, words) = match answer {
        None => (200, "ok"),
        Some(Answer::Status(status, words)) => (status, words),
        Some(Answer::Close) => return None,
        Some(Answer::Garbage) => {
            let _ = stream.write_all(b"\x00\xff this isn't HTTP\r\n\r\n");
            return None;
        }
        Some(Answer::Hang) => {
            // Until the client hangs up.
            let _ = stream.read(&mut [0; 16]);
            return None;
        }
    };
    if status == 200 {
        let body = String::from_utf8(body).unwrap();
        kept.requests.lock().unwrap().push(Request { head, body });
    }
    let length = words.len();
    let text = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{words}"
    );
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
    Some(())
}

/// A mail.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// What was said before: AUTH, MAIL, RCPT.
    pub envelope: Vec<String>,
    pub text: String,
}

/// A mail server.
pub struct MailServer {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Mail>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// `refusals`: answers to the first RCPTs, one each.
    pub fn start(refusals: &[&'static str]) -> MailServer {
        MailServer::serve(None, refusals)
    }

    /// TLS from the first byte.
    pub fn with_tls(certificate: &Certificate) -> MailServer {
        MailServer::serve(Some(certificate.config()), &[])
    }

    fn serve(tls: Option<Arc<ServerConfig>>, refusals: &[&'static str]) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = MailServer {
            address: listener.local_addr().unwrap(),
            kept: Arc::default(),
            heard: Arc::default(),
        };
        let (kept, heard) = (server.kept.clone(), server.heard.clone());
        let refusals: VecDeque<_> = refusals.iter().copied().collect();
        let refusals = Arc::new(Mutex::new(refusals));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (kept, heard, refusals) = (kept.clone(), heard.clone(), refusals.clone());
                let tls = tls.clone();
                thread::spawn(move || {
                    let mut stream = secured(socket.unwrap(), tls);
                    converse(&mut *stream, &kept, &heard, &refusals)
                });
            }
        });
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.kept.lock().unwrap().clone()
    }

    /// Every line that a client said.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn converse(
    stream: &mut dyn Stream,
    kept: &Mutex<Vec<Mail>>,
    heard: &Mutex<Vec<String>>,
    refusals: &Mutex<VecDeque<&'static str>>,
) -> Option<()> {
    let mut pending = Vec::new();
    let mut mail = Mail::default();
    say(stream, "220 fake ESMTP")?;
    loop {
        let line = line(stream, &mut pending)?;
        heard.lock().unwrap().push(line.clone());
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        match &*verb {
            "EHLO" => say(stream, "250-fake\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")?,
            "AUTH" => {
                mail.envelope.push(line);
                say(stream, "235 welcome")?;
            }
            "RCPT" => {
                if let Some(refusal) = refusals.lock().unwrap().pop_front() {
                    say(stream, refusal)?;
                    continue;
                }
                mail.envelope.push(line);
                say(stream, "250 ok")?;
            }
            "DATA" => {
                say(stream, "354 go on")?;
                loop {
                    let line = self::line(stream, &mut pending)?;
                    if line == "." {
                        break;
                    }
                    mail.text += &line;
                    mail.text.push('\n');
                }
                kept.lock().unwrap().push(std::mem::take(&mut mail));
                say(stream, "250 taken")?;
            }
            "QUIT" => {
                say(stream, "221 bye")?;
                return None;
            }
            _ => {
                mail.envelope.push(line);
                say(stream, "250 ok")?;
            }
        }
    }
}

fn say(stream: &mut dyn Stream, line: &str) -> Option<()> {
    stream.write_all(line.as_bytes()).ok()?;
    stream.write_all(b"\r\n").ok()?;
    stream.flush().ok()
}

fn line(stream: &mut dyn Stream, pending: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = pending.windows(2).position(|two| two == b"\r\n") {
            let line = pending.drain(..end + 2).take(end).collect();
            return String::from_utf8(line).ok();
        }
        let mut more = [0; 4096];
        let num = stream.read(&mut more).ok().filter(|num| *num > 0)?;
        pending.extend_from_slice(&more[..num]);
    }
}

/// A certificate for 127.0.0.1, made by the `openssl` that `ca-certificates` brings along.
pub struct Certificate {
    pub file: PathBuf,
    key: PathBuf,
}

impl Certificate {
    pub fn make(dir: &Path) -> Certificate {
        let (file, key) = (dir.join("server.pem"), dir.join("server.key"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "30", "-subj", "/CN=outflow-test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&file)
            .output()
            .expect("openssl is there");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Certificate { file, key }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(&self.file).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.unwrap())
    }
}

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(90);
