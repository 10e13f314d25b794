//! Mail: one for each message, by SMTP. What belongs to one incident is a thread.

use std::fmt;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret;

use super::delivery::Failure;
use super::incident::Event;
use super::message::Message;
use super::settings::{EmailTarget, NotifierSettings, SmtpTls};
use crate::config::problem::printable;

/// Answers about who we are, or about the server: the message isn't to blame.
const ABOUT_US: [u16; 6] = [454, 504, 530, 534, 535, 538];

/// Speaks with one mail server.
pub struct EmailSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    target: EmailTarget,
    timeout: Duration,
    receiver: String,
}

impl fmt::Debug for EmailSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailSender({})", self.receiver)
    }
}

impl EmailSender {
    /// For a notifier; fails in words.
    pub fn new(notifier: &NotifierSettings, target: &EmailTarget) -> Result<Self, String> {
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(target.host.as_str())
                .port(target.port)
                .timeout(Some(notifier.timeout))
                .tls(tls(target)?);
        if let Some((user, password)) = &target.credentials {
            let password = password.expose_secret().to_owned();
            transport = transport.credentials(Credentials::new(user.clone(), password));
        }
        Ok(EmailSender {
            transport: transport.build(),
            timeout: notifier.timeout,
            receiver: format!("{}:{}", target.host, target.port),
            target: target.clone(),
        })
    }

    /// Who it is, without secrets.
    pub fn receiver(&self) -> &str {
        &self.receiver
    }

    /// One try.
    ///
    /// # Errors
    /// The server can't be reached, or doesn't take it.
    pub async fn send(&self, messages: &[Message]) -> Result<(), Failure> {
        for message in messages {
            let mail = self.mail(message).map_err(Failure::for_good)?;
            let sent = tokio::time::timeout(self.timeout, self.transport.send(mail)).await;
            match sent {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.failure(&error)),
                Err(_) => return Err(self.silent()),
            }
        }
        Ok(())
    }

    /// Connects, logs in where there is a user, and says that it is there (NOOP).
    ///
    /// # Errors
    /// The server can't be reached, or doesn't want us.
    pub async fn reach(&self) -> Result<String, Failure> {
        let tested = tokio::time::timeout(self.timeout, self.transport.test_connection()).await;
        match tested {
            Ok(Ok(true)) => Ok("takes mail; none was sent".into()),
            Ok(Ok(false)) => Err(Failure::passing(format!(
                "{} doesn't answer NOOP",
                self.receiver
            ))),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failure {
        Failure::passing(format!(
            "{} can't be reached: no answer in time",
            self.receiver
        ))
    }

    fn failure(&self, error: &lettre::transport::smtp::Error) -> Failure {
        let mut what = printable(&error.to_string());
        if let Some(source) = std::error::Error::source(error) {
            what = format!("{what}: {}", printable(&source.to_string()));
        }
        let what = format!("{}: {what}", self.receiver);
        let code = error.status().map(u16::from);
        let is_about_us = code.is_some_and(|code| ABOUT_US.contains(&code));
        match error.is_permanent() && !is_about_us {
            true => Failure::for_good(what),
            false => Failure::passing(what),
        }
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, String> {
        let rendered = |template: &super::template::Template| {
            let made = template.render(message);
            made.map_err(|broken| format!("the template: {}", broken.what))
        };
        let subject = rendered(&self.target.subject)?;
        let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
        let domain = self.target.from.email.domain();
        let first = format!("<{}@{domain}>", message.id);
        let own = match message.event {
            Event::Open => first.clone(),
            event => format!(
                "<{}.{}.{}@{domain}>",
                message.id,
                event.as_str(),
                message.at_ms
            ),
        };
        let mut mail = lettre::Message::builder()
            .from(self.target.from.clone())
            .subject(subject)
            .message_id(Some(own))
            .header(ContentType::TEXT_PLAIN)
            .date_now();
        for to in &self.target.to {
            mail = mail.to(Mailbox::clone(to));
        }
        if message.event != Event::Open {
            mail = mail.in_reply_to(first.clone()).references(first);
        }
        let text = rendered(&self.target.text)?;
        mail.body(text).map_err(|error| error.to_string())
    }
}

fn tls(target: &EmailTarget) -> Result<Tls, String> {
    if target.tls == SmtpTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(target.host.clone());
    if let Some(file) = &target.ca_file {
        let broken = |why: String| format!("ca_file {}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|e| broken(e.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|e| broken(e.to_string()))?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    let parameters = parameters.build().map_err(|e| e.to_string())?;
    Ok(match target.tls {
        SmtpTls::Tls => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}
