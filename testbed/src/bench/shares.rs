//! Who gets what: the same members and topics under each assignor.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use testbed::{Kafka, Result, Stub};

use super::group::{Group, Way};

/// Three members; a topic of four partitions and one of three.
pub fn table(binary: &Path, kafka: &Kafka) -> Result<String> {
    let mut text = String::from(
        "Three members, topics `a` (4 partitions) and `b` (3 partitions); the third member joins last.\n\n\
         | protocol, assignor | first | second | third |\n|---|---|---|---|\n",
    );
    for way in Way::all().into_iter().filter(|way| !way.is_static) {
        match shares(binary, kafka, way) {
            Ok(shares) => {
                let _ = writeln!(text, "| {} | {} |", way.name(), shares.join(" | "));
            }
            Err(error) => {
                let _ = writeln!(text, "| {} | {error} | | |", way.name());
            }
        }
    }
    Ok(text)
}

fn shares(binary: &Path, kafka: &Kafka, way: Way) -> Result<Vec<String>> {
    let stub = Stub::start()?;
    let (a, b) = (format!("a-{}", way.slug()), format!("b-{}", way.slug()));
    let client = kafka.client();
    client.create_topic(&a, 4, &[])?;
    client.create_topic(&b, 3, &[])?;
    let mut group = Group::new(binary, kafka, &stub, way, &format!("{a},{b}"))?;
    for member in 0..3 {
        group.start(member)?;
        group.wait_balanced(7)?;
    }
    Ok(group.holdings().iter().map(|held| show(held)).collect())
}

/// `a: 0, 1; b: 2`.
fn show(held: &[(String, i64)]) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in held {
        let topic = topic.split('-').next().unwrap_or(topic);
        topics.entry(topic).or_default().push(partition.to_string());
    }
    let shown: Vec<_> = topics
        .iter()
        .map(|(topic, partitions)| format!("{topic}: {}", partitions.join(", ")))
        .collect();
    shown.join("; ")
}
