//! A static member leaves for good, so that its partitions are given away at once and not after its session.
//!
//! The client has no request to remove a member, and a static member says nothing when it closes. But one that
//! *unsubscribes* does: so we join under its id, which takes its place without a rebalance, and unsubscribe. Under
//! the classic protocol that removes it. Under the consumer protocol it only puts the place aside until its session
//! ends; there we subscribe to nothing, so that the brokers give its partitions away.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::{GroupClient, Listener, Member, creation_error, from_code, from_kafka};
use crate::config::settings::{Assignor, GroupProtocol};
use crate::error::Error;
use crate::kafka::client::consumer_config;
use crate::kafka::instance_lock;

/// How long each half (taking the place, giving it up) may take: a rebalance must be over first.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pattern that no topic matches: Kafka's names have no blanks.
const NOTHING: &str = "^no topic at all$";

/// How a member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The group has forgotten it.
    Gone,
    /// It holds nothing any more; the group forgets it when its session ends.
    Empty,
}

/// Takes the place of the member with this instance id, and leaves. `topics` are those that the group reads.
pub fn leave(
    client: &GroupClient,
    instance_id: &str,
    assignor: &str,
    topics: &[String],
) -> Result<Left, Error> {
    let protocol = client.settings.group_protocol;
    // A process of this machine that uses the id holds its lock: it would be fenced.
    let mut named = client.settings.clone();
    named.group_instance_id = Some(instance_id.to_owned());
    let _lock = instance_lock::lock(&named, 0)?;
    let before = member(client, instance_id)?;
    let consumer = joiner(client, instance_id, assignor)?;
    let subscribed = match protocol {
        GroupProtocol::Classic => {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            consumer.subscribe(&topics)
        }
        GroupProtocol::Consumer => consumer.subscribe(&[NOTHING]),
    };
    let what = format!("Kafka: can't join as {instance_id}");
    subscribed.map_err(|error| from_kafka(&error, &what))?;
    let before = before.map(|member| member.id);
    wait(
        &consumer,
        client,
        instance_id,
        "takes the place of",
        |now| {
            now.is_some_and(|now| match protocol {
                GroupProtocol::Classic => Some(&now.id) != before.as_ref(),
                GroupProtocol::Consumer => now.client_id == CLIENT_ID && now.partitions.is_empty(),
            })
        },
    )?;
    consumer.unsubscribe();
    if protocol == GroupProtocol::Consumer {
        serve(&consumer, instance_id)?;
        return Ok(Left::Empty);
    }
    wait(
        &consumer,
        client,
        instance_id,
        "gives up the place of",
        |now| now.is_none(),
    )?;
    Ok(Left::Gone)
}

/// How the one who leaves calls itself.
const CLIENT_ID: &str = "outflow-leave";

fn joiner(
    client: &GroupClient,
    instance_id: &str,
    assignor: &str,
) -> Result<BaseConsumer<Listener>, Error> {
    let mut settings = client.settings.clone();
    settings.group_instance_id = Some(instance_id.to_owned());
    let known = [
        Assignor::Range,
        Assignor::RoundRobin,
        Assignor::CooperativeSticky,
    ];
    if let Some(agreed) = known.into_iter().find(|known| known.name() == assignor) {
        settings.assignor = agreed;
    }
    let mut config = consumer_config(&settings, "leave", 0, 1 << 20);
    config.set("client.id", CLIENT_ID);
    if settings.group_protocol == GroupProtocol::Classic {
        // If we are killed now, the group forgets the place as soon as it can.
        config
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500");
    }
    config
        .create_with_context(Listener::default())
        .map_err(|error| creation_error(&error, &settings.properties))
}

fn member(client: &GroupClient, instance_id: &str) -> Result<Option<Member>, Error> {
    let mut members = client.group()?.members.into_iter();
    Ok(members.find(|member| member.instance_id.as_deref() == Some(instance_id)))
}

/// Serves the consumer until the group is as wanted.
fn wait(
    consumer: &BaseConsumer<Listener>,
    client: &GroupClient,
    instance_id: &str,
    doing: &str,
    is_done: impl Fn(Option<&Member>) -> bool,
) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        serve(consumer, instance_id)?;
        if is_done(member(client, instance_id)?.as_ref()) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Error::unavailable(format!(
                "outflow {doing} {instance_id}, and the group hasn't followed within {} s; look at it with \
                 `outflow group describe`, and try again",
                PATIENCE.as_secs()
            )));
        }
    }
}

/// Lets the client work for a moment; what it reads isn't wanted.
fn serve(consumer: &BaseConsumer<Listener>, instance_id: &str) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        let Some(Err(error)) = consumer.poll(Duration::from_millis(50)) else {
            continue;
        };
        let code = match error {
            KafkaError::MessageConsumptionFatal(code) => code,
            _ => continue,
        };
        return Err(match code {
            Code::UnreleasedInstanceId => Error::unavailable(format!(
                "{instance_id} is still taken: its process runs, or was killed and its session hasn't ended yet. \
                 Stop it; after a kill the brokers give its partitions away by themselves within \
                 group.consumer.session.timeout.ms (45 s)"
            )),
            Code::FencedInstanceId => Error::unavailable(format!(
                "another process has taken {instance_id} back: stop it first"
            )),
            code => from_code(code, format!("Kafka: as {instance_id}")),
        });
    }
    Ok(())
}
