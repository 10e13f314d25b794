//! Templates of messages, in the language of [MiniJinja](https://docs.rs/minijinja) (Jinja's, as in Ansible): the fields are
//! those of [`Message`]. What is put into JSON is escaped by itself, so that no group's name can break out of its quotes.

use std::fmt;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::de::IgnoredAny;

use super::incident::Event;
use super::message::{Message, sample};

/// Slack's payload, and that of what speaks like it (Mattermost, Rocket.Chat).
pub const SLACK: &str = include_str!("templates/slack.json");
/// A mail's subject.
pub const SUBJECT: &str = "[outflow] {{ title }}";
/// A mail's text.
pub const TEXT: &str = "{{ title }}\n\n{{ text }}\n\n{{ notifier }}, incident {{ id }}\n";

const NAME: &str = "template";
/// What a rendering may cost; one of the given templates needs some hundred.
const FUEL: u64 = 1_000_000;

/// How values are put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Into JSON: texts without quotes of their own, lists and objects as JSON. The whole must be JSON.
    Json,
    /// As they are.
    Plain,
}

/// A template that works.
#[derive(Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line in the template, from 1, if it is known.
    pub line: Option<usize>,
    /// What it is.
    pub what: String,
}

impl Template {
    /// Reads a template, and tries it on made-up messages of every kind.
    ///
    /// # Errors
    /// It isn't one, it has a field that messages don't have, or what it makes isn't JSON.
    pub fn new(source: &str, escape: Escape) -> Result<Template, Broken> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("slack", slack);
        if escape == Escape::Json {
            environment.set_formatter(json);
        }
        let added = environment.add_template_owned(NAME, source.to_owned());
        added.map_err(|error| broken(&error))?;
        let template = Template {
            environment: Arc::new(environment),
        };
        for event in [Event::Open, Event::Repeat, Event::Close] {
            let full = sample(event, "test");
            let bare = Message {
                page_url: None,
                time_lag_s: None,
                partitions: Vec::new(),
                ..full.clone()
            };
            for message in [full, bare] {
                let made = template.render(&message)?;
                if escape == Escape::Json {
                    check_json(&made, event)?;
                }
            }
        }
        Ok(template)
    }

    /// What it makes of a message.
    ///
    /// # Errors
    /// It can't be made; rare, as it was tried before.
    pub fn render(&self, message: &Message) -> Result<String, Broken> {
        let template = self.environment.get_template(NAME);
        let made = template.and_then(|t| t.render(Value::from(Serde(message))));
        made.map_err(|error| broken(&error))
    }
}

fn check_json(made: &str, event: Event) -> Result<(), Broken> {
    match serde_json::from_str::<IgnoredAny>(made) {
        Ok(_) => Ok(()),
        Err(error) => {
            let line = made.lines().nth(error.line().saturating_sub(1));
            Err(Broken {
                line: None,
                what: format!(
                    "what it makes of the event {:?} isn't JSON: {error}: {}",
                    event.as_str(),
                    line.unwrap_or_default().trim()
                ),
            })
        }
    }
}

fn broken(error: &Error) -> Broken {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    Broken {
        line: error.line(),
        what,
    }
}

/// Puts a value into JSON: a text without quotes, everything else as it is written there.
fn json(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let written = match value.as_str() {
        // What `tojson` made.
        Some(text) if value.is_safe() => text.to_owned(),
        Some(text) => {
            let quoted = serde_json::to_string(text).map_err(unwritable)?;
            let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
            inner.unwrap_or_default().to_owned()
        }
        None => serde_json::to_string(value).map_err(unwritable)?,
    };
    out.write_str(&written).map_err(Error::from)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, error.to_string())
}

/// Slack reads `<!channel>` and the like out of texts: its three signs are written as it asks.
fn slack(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn hostile() -> Message {
        let mut message = sample(Event::Open, "ops");
        message.group = "a\", \"x\": \"<!channel>\\\n".into();
        message.title = format!("ERR: {}", message.group);
        message
    }

    fn made(source: &str, message: &Message) -> Json {
        let template = Template::new(source, Escape::Json).expect("a template");
        serde_json::from_str(&template.render(message).expect("made")).expect("JSON")
    }

    #[test]
    fn no_name_breaks_out_of_its_quotes() {
        let message = hostile();
        let source = r#"{"group": "{{ group }}", "both": "{{ cluster }}/{{ group }}", "lag": {{ lag }}, "page": {{ page_url | tojson }},
            "again": {{ group | tojson }}, "all": {{ partitions }}}"#;
        let made = made(source, &message);
        assert_eq!(made["group"], message.group);
        assert_eq!(made["again"], message.group);
        assert_eq!(made["both"], format!("outflow-test/{}", message.group));
        assert_eq!(made["lag"], 1_234);
        assert_eq!(made["all"][0]["client_id"], "a \"quoted\" client");
        assert!(made["page"].is_string());
    }

    #[test]
    fn slack_is_told_in_its_own_shape_and_nobody_is_mentioned() {
        let message = hostile();
        let made = made(SLACK, &message);
        let text = made["text"].as_str().expect("a text");
        assert!(
            text.contains("&lt;!channel&gt;") && !text.contains('<'),
            "{text}"
        );
        assert_eq!(made["attachments"][0]["color"], "danger");
        assert_eq!(made["attachments"][0]["ts"], json!(1_774_000_095));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let broken = |source: &str, escape| Template::new(source, escape).expect_err("broken");
        let missing = broken("{\"a\":\n \"{{ grup }}\"}", Escape::Json);
        assert_eq!(missing.line, Some(2));
        assert!(missing.what.contains("undefined"), "{missing:?}");
        let syntax = broken("{\n\n{% if %}", Escape::Json);
        assert_eq!(syntax.line, Some(3));
        let no_json = broken("{\"group\": {{ group }}}", Escape::Json);
        assert!(no_json.what.contains("isn't JSON"), "{no_json:?}");
        // Only where a partition is there: tried without, too.
        let rare = broken("{\"worst\": \"{{ partitions[0].topic }}\"}", Escape::Json);
        assert_eq!(rare.line, Some(1));
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        broken(endless, Escape::Plain);
    }

    #[test]
    fn a_mail_has_values_as_they_are() {
        for source in [SUBJECT, TEXT] {
            let template = Template::new(source, Escape::Plain).expect("a template");
            assert!(
                template
                    .render(&hostile())
                    .expect("made")
                    .contains("\"x\": \"<!channel>")
            );
        }
    }
}
