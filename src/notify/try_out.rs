//! What `outflow check` asks of a notifier's receiver: whether it can be reached, and, if a person wants it, to take a test
//! incident.

use super::delivery::{Failure, Sender};
use super::incident::Event;
use super::message::test;
use super::settings::NotifierSettings;
use crate::check::Finding;
use crate::clock::unix_ms;
use crate::error::Error;

/// Whether the receiver can be reached; it is told nothing.
pub async fn reach(notifier: &NotifierSettings) -> Finding {
    let subject = format!("notifier {}", notifier.name);
    let sender = match Sender::new(notifier) {
        Ok(sender) => sender,
        Err(Error { what, .. }) => return Finding::wrong(subject, what, "see [[notify]]"),
    };
    match sender.reach().await {
        Ok(said) => Finding::fine(subject, format!("{} {said}", sender.receiver())),
        Err(Failure { what, .. }) => {
            let help = "see its address, ca_file and secrets in [[notify]]; messages are tried without an end";
            Finding::warning(subject, what, help)
        }
    }
}

/// Tells the receiver of an incident that isn't one: its opening and its end, each tried once.
pub async fn tell(notifier: &NotifierSettings) -> Finding {
    let subject = format!("notifier {}", notifier.name);
    let told = async {
        let sender = Sender::new(notifier).map_err(|error| error.what)?;
        for event in [Event::Open, Event::Close] {
            let page = notifier.page_url.as_deref();
            let message = test(event, &notifier.name, unix_ms(), page);
            let sent = sender.send(&[message]).await;
            sent.map_err(|failure| format!("event {:?}: {}", event.as_str(), failure.what))?;
        }
        Ok::<_, String>(sender.receiver().to_owned())
    };
    match told.await {
        Ok(receiver) => Finding::fine(
            subject,
            format!("{receiver} took a test incident and its end"),
        ),
        Err(what) => Finding::wrong(subject, what, "see [[notify]]"),
    }
}
