//! Watches which topics there are, for patterns and for what is new.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{Found, REFRESH, TIMEOUT, Thread, undescribed};
use crate::error::Error;
use crate::kafka::error::from_kafka;
use crate::kafka::topics::Sight;

impl<C: ConsumerContext + 'static> Thread<C> {
    /// Looks, and tells how long it is to the next look.
    pub(super) fn watch(&mut self, consumer: &BaseConsumer<C>) -> Duration {
        match self.look(consumer) {
            // A topic that can't be described is the client's to tell.
            Ok(_) => self.about.watch_every,
            Err(error) => {
                self.answer(Found::Trouble(error));
                self.check = true;
                REFRESH.min(self.about.watch_every)
            }
        }
    }

    /// Looks which topics there are, and tells what is news; an error in the `Ok` concerns single topics.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<C>) -> Result<Option<Error>, Error> {
        let (sight, unclear, trouble) = match self.about.topics.is_pattern() {
            true => (listing(consumer)?, BTreeSet::new(), None),
            false => self.named(consumer)?,
        };
        let news = self.about.topics.look(sight, &unclear);
        for (topic, partitions) in news.grew {
            self.answer(Found::Grew(topic, partitions));
        }
        if let Some(topics) = news.subscribe {
            self.answer(Found::Subscribe(topics));
        }
        if let Some(why) = self.about.topics.nothing_matches() {
            self.answer(Found::NothingMatches(why));
        }
        Ok(trouble)
    }

    /// The named topics; those of which it can't be said whether they exist; and what is wrong with one.
    fn named(
        &mut self,
        consumer: &BaseConsumer<C>,
    ) -> Result<(Sight, BTreeSet<String>, Option<Error>), Error> {
        let names = self.about.topics.named();
        let names: BTreeSet<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
        let failed = self.try_describe(consumer, &names)?;
        let partitions = |name: &Arc<str>| {
            let leaders = &self.described.get(name)?.leaders;
            Some((name.to_string(), count(leaders.len())))
        };
        let sight = names.iter().filter_map(partitions).collect();
        let exists = |(_, code): &&(String, Code)| *code != Code::UnknownTopicOrPartition;
        let unclear = failed.iter().filter(exists).map(|(name, _)| name.clone());
        Ok((sight, unclear.collect(), failed.first().map(undescribed)))
    }
}

/// All topics of the cluster that this principal may see.
fn listing<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Result<Sight, Error> {
    let found = consumer
        .fetch_metadata(None, TIMEOUT)
        .map_err(|error| from_kafka(&error, "Kafka: topics can't be listed"))?;
    let partitions =
        |topic: &MetadataTopic| (topic.name().to_owned(), count(topic.partitions().len()));
    let exists = |(_, partitions): &(String, i32)| *partitions > 0;
    Ok(found
        .topics()
        .iter()
        .map(partitions)
        .filter(exists)
        .collect())
}

fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}
