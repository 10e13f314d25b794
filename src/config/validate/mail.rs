//! Mail servers, and the words that are sent: templates.

use lettre::message::Mailbox;

use super::super::kinds::Parsed;
use super::super::problem::{Place, Problem, printable};
use super::Validator;
use crate::notify::settings::{EmailTarget, SmtpTls, Target};
use crate::notify::template::{Escape, SUBJECT, TEXT, Template};

const TEMPLATE_HELP: &str = "docs/monitoring.md has the fields; the language is MiniJinja's";

impl Validator<'_> {
    pub(super) fn email(&mut self) -> Option<Target> {
        let tls = match &*self.or_usual("notify.tls", "starttls") {
            "tls" => SmtpTls::Tls,
            "none" => SmtpTls::None,
            _ => SmtpTls::StartTls,
        };
        let server = self.mail_server(tls);
        let credentials = self.notify_credentials();
        let ca_file = self.notify_ca();
        let from = self.required("notify.from", "name the sender: \"outflow@example.com\"");
        let from = from.and_then(|text| self.address("notify.from", &text));
        let to = self.values.list("notify.to");
        if to.is_empty() && !self.values.is_broken("notify.to") {
            self.error("notify.to", "nobody is told")
                .push("name who is: to = [\"ops@example.com\"]".into());
        }
        let addresses = to.iter();
        let to: Vec<Mailbox> = addresses
            .filter_map(|text| self.address("notify.to", text))
            .collect();
        let subject = self.or_usual("notify.subject", SUBJECT);
        let subject = self.read_template("notify.subject", &subject, Escape::Plain);
        let text = self.template(Some(TEXT), Escape::Plain);
        if tls == SmtpTls::None {
            if ca_file.is_some() {
                self.error("notify.ca_file", "isn't used with tls = \"none\"")
                    .push("leave it out".into());
            }
            if credentials.is_some() {
                self.warning(
                    "notify.tls",
                    "the password crosses the network in the clear",
                )
                .push("use \"starttls\" or \"tls\"".into());
            }
        }
        let (host, port) = server?;
        Some(Target::Email(Box::new(EmailTarget {
            host,
            port,
            tls,
            ca_file,
            credentials,
            from: from?,
            to,
            subject: subject?,
            text: text?,
        })))
    }

    /// What was set, or what mail has otherwise; other kinds have neither.
    fn or_usual(&mut self, key: &'static str, usual: &str) -> String {
        self.values.text(key).unwrap_or_else(|| {
            self.derived.insert(key, Parsed::Text(usual.to_owned()));
            usual.to_owned()
        })
    }

    fn mail_server(&mut self, tls: SmtpTls) -> Option<(String, u16)> {
        const KEY: &str = "notify.server";
        const HELP: &str = "write server = \"mail.example.com:587\"";
        let text = self.required(KEY, HELP)?;
        let usual = match tls {
            SmtpTls::StartTls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None => 25,
        };
        // As the host and the port of a URL: that knows of IPv6.
        let parsed = match text.contains("://") {
            true => None,
            false => url::Url::parse(&format!("smtp://{text}")).ok(),
        };
        let parsed = parsed.filter(|url| {
            matches!(url.path(), "" | "/") && url.username().is_empty() && url.query().is_none()
        });
        let host = parsed.as_ref().and_then(|url| url.host_str());
        let Some((host, url)) = host.zip(parsed.as_ref()) else {
            self.error(
                KEY,
                format!("{:?} isn't a host and a port", printable(&text)),
            )
            .push(HELP.into());
            return None;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), url.port().unwrap_or(usual)))
    }

    fn address(&mut self, key: &str, text: &str) -> Option<Mailbox> {
        match text.parse() {
            Ok(mailbox) => Some(mailbox),
            Err(_) => {
                self.error(key, format!("{:?} isn't an address", printable(text)))
                    .push("write \"ops@example.com\" or \"Ops <ops@example.com>\"".into());
                None
            }
        }
    }

    /// The template that the file chooses, or the given one.
    pub(super) fn template(&mut self, given: Option<&str>, escape: Escape) -> Option<Template> {
        const FILE: &str = "notify.template_file";
        let inline = self.values.text("notify.template");
        let Some(path) = self.values.text(FILE) else {
            return match inline {
                Some(text) => self.read_template("notify.template", &text, escape),
                None => Template::new(given?, escape).ok(),
            };
        };
        if inline.is_some() {
            self.error("notify.template", "stands beside template_file")
                .push("leave one of them out".into());
            return None;
        }
        let text = match self.surroundings.read_file(path.as_ref()) {
            Ok(text) => text,
            Err(error) => {
                self.error(FILE, format!("the file can't be read: {error}"))
                    .push("it must exist, and be readable by the user that outflow runs as".into());
                return None;
            }
        };
        match Template::new(&text, escape) {
            Ok(template) => Some(template),
            Err(broken) => {
                let place = match broken.line {
                    // Without the line itself, which may hold a secret.
                    Some(line) => Place::File {
                        file: path.into(),
                        line,
                        column: 1,
                        snippet: None,
                    },
                    None => Place::WholeFile(path.into()),
                };
                let problem = Problem::new(FILE, place, printable(&broken.what));
                self.problems.push(problem.help(TEMPLATE_HELP));
                None
            }
        }
    }

    fn read_template(&mut self, key: &str, text: &str, escape: Escape) -> Option<Template> {
        match Template::new(text, escape) {
            Ok(template) => Some(template),
            Err(broken) => {
                let line = broken.line.filter(|_| text.trim_end().contains('\n'));
                let line = line.map(|line| format!("line {line} of the template: "));
                let what = format!("{}{}", line.unwrap_or_default(), printable(&broken.what));
                self.error(key, what).push(TEMPLATE_HELP.into());
                None
            }
        }
    }
}
