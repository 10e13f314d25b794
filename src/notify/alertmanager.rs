//! Alerts as Alertmanager's API takes them (`POST /api/v2/alerts`). An alert is known by its labels: who says the same labels again
//! says that it goes on, so a monitor that was started again, or a second one, doubles nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::incident::Event;
use super::message::Message;
use super::words::moment;

/// What is added to a receiver's address, if it isn't there.
pub const PATH: &str = "/api/v2/alerts";

/// One alert.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'static str, &'a str>,
    starts_at: &'a str,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

/// The alerts about these messages, as JSON; of several about one group the newest. Alertmanager takes an alert as over at its
/// `endsAt`: one that goes on ends `lease` from now unless it is told again.
pub fn alerts(
    messages: &[Message],
    labels: &[(String, String)],
    now_ms: i64,
    lease: Duration,
) -> Result<String, serde_json::Error> {
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let newest: BTreeMap<_, _> = messages
        .iter()
        .map(|message| ((&message.cluster, &message.group), message))
        .collect();
    let alerts = newest.into_values().map(|message| {
        let own = [
            ("alertname", "ConsumerGroupInTrouble"),
            ("cluster", &*message.cluster),
            ("consumer_group", &*message.group),
        ];
        let more = labels.iter().map(|(name, value)| (&**name, &**value));
        let ends_at = match message.event {
            Event::Close => moment(message.at_ms),
            // Seconds are cut off.
            _ => moment(now_ms.saturating_add(lease_ms).saturating_add(999)),
        };
        Alert {
            labels: more.chain(own).collect(),
            annotations: [
                ("summary", &*message.title),
                ("description", &*message.text),
                ("status", message.status),
                ("reason", &*message.reason),
                ("incident", &*message.id),
            ]
            .into(),
            starts_at: &message.start,
            ends_at,
            generator_url: message.page_url.as_deref(),
        }
    });
    serde_json::to_string(&alerts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::sample;

    fn made(messages: &[Message]) -> serde_json::Value {
        let labels = [("severity".to_owned(), "critical".to_owned())];
        let now_ms = 1_774_000_100_000;
        let made = alerts(messages, &labels, now_ms, Duration::from_secs(240)).expect("JSON");
        serde_json::from_str(&made).expect("JSON")
    }

    #[test]
    fn what_goes_on_ends_later_unless_it_is_told_again_and_what_is_over_ended_then() {
        let open = &made(&[sample(Event::Open, "am")])[0];
        assert_eq!(open["startsAt"], "2026-03-20T09:46:40Z");
        assert_eq!(open["endsAt"], "2026-03-20T09:52:20Z");
        let close = &made(&[sample(Event::Close, "am")])[0];
        assert_eq!(close["endsAt"], "2026-03-20T09:48:15Z");
        assert_eq!(open["labels"], close["labels"], "or it never ends");
        assert_eq!(
            open["labels"],
            serde_json::json!({ "alertname": "ConsumerGroupInTrouble", "cluster": "outflow-test",
                "consumer_group": "outflow-test", "severity": "critical" })
        );
    }

    #[test]
    fn of_one_group_the_newest_is_told() {
        let mut other = sample(Event::Open, "am");
        other.group = "another".into();
        let all = made(&[sample(Event::Open, "am"), other, sample(Event::Close, "am")]);
        let all = all.as_array().expect("a list");
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["annotations"]["status"], "OK");
    }
}
