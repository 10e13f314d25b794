//! Which topics are read, which of them are new, and which have grown. Pure.
//!
//! A pattern is resolved here and not by the brokers: their regular expressions know no exclusions, and a
//! classic group's and a consumer group's differ. The members of a group look at the cluster at different
//! moments, so for a while they may subscribe to different topics: that is normal in Kafka, whose assignors
//! give a topic only to members that have subscribed to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::settings::{Subscription, TopicPattern};
use crate::error::Error;
use crate::offsets::TopicPartition;

/// What the cluster's topics look like: how many partitions each has.
pub(super) type Sight = BTreeMap<String, i32>;

/// A topic that was seen.
#[derive(Debug)]
struct Known {
    /// Partitions at first sight: those above came later.
    first: i32,
    now: i32,
    /// It wasn't there when this consumer first looked.
    is_new: bool,
    /// The last look didn't find it. One more, and it is gone: a broker that has just started may not know
    /// everything yet, and unsubscribing moves partitions.
    missed: bool,
}

/// What a look has found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// What to subscribe to from now on, if that has changed.
    pub subscribe: Option<Vec<String>>,
    /// Topics that have more partitions than they had.
    pub grew: Vec<(Arc<str>, i32)>,
}

/// The topics that are read.
#[derive(Debug)]
pub(super) struct Topics {
    pattern: Option<TopicPattern>,
    named: Vec<String>,
    known: BTreeMap<String, Known>,
    /// Named topics that a look didn't find.
    missing: BTreeSet<String>,
    looked: bool,
}

impl Topics {
    pub fn new(subscription: &Subscription) -> Self {
        Topics {
            pattern: match subscription {
                Subscription::Pattern(pattern) => Some(pattern.clone()),
                _ => None,
            },
            named: subscription.topics(),
            known: BTreeMap::new(),
            missing: BTreeSet::new(),
            looked: false,
        }
    }

    /// Whether it is known what was there at the start.
    pub fn has_looked(&self) -> bool {
        self.looked
    }

    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// The topics to ask about; none if all are to be listed.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Every topic that is read and known to be there, with its number of partitions.
    pub fn there(&self) -> impl Iterator<Item = (&str, i32)> {
        self.known
            .iter()
            .map(|(name, known)| (name.as_str(), known.now))
    }

    /// The cluster has these topics; of `unclear` ones it couldn't be said.
    pub fn look(&mut self, mut sight: Sight, unclear: &BTreeSet<String>) -> News {
        match &self.pattern {
            Some(pattern) => sight.retain(|topic, _| pattern.matches(topic)),
            None => sight.retain(|topic, _| self.named.contains(topic)),
        }
        let before: Vec<String> = self.known.keys().cloned().collect();
        self.known.retain(|topic, known| {
            let absent = !sight.contains_key(topic) && !unclear.contains(topic);
            let gone = absent && known.missed;
            known.missed = absent;
            !gone
        });
        let mut news = News::default();
        for (topic, partitions) in &sight {
            match self.known.get_mut(topic) {
                // Fewer is what a broker says that lags behind.
                Some(known) if known.now < *partitions => {
                    known.now = *partitions;
                    news.grew.push((topic.as_str().into(), *partitions));
                }
                Some(_) => {}
                None => {
                    let is_new = match self.is_pattern() {
                        true => self.looked,
                        false => self.missing.contains(topic),
                    };
                    let known = Known {
                        first: *partitions,
                        now: *partitions,
                        is_new,
                        missed: false,
                    };
                    self.known.insert(topic.clone(), known);
                }
            }
        }
        let absent = |topic: &&String| !sight.contains_key(*topic) && !unclear.contains(*topic);
        self.missing
            .extend(self.named.iter().filter(absent).cloned());
        self.looked = true;
        let now = || self.known.keys();
        if self.is_pattern() && !before.iter().eq(now()) {
            news.subscribe = Some(now().cloned().collect());
        }
        news
    }

    /// Whether the topic wasn't there when this consumer first looked.
    pub fn is_new(&self, topic: &str) -> bool {
        match self.known.get(topic) {
            Some(known) => known.is_new,
            // There by now, or it wouldn't be asked for.
            None => self.missing.contains(topic),
        }
    }

    /// Whether the partition came after its topic was first seen.
    pub fn came_later(&self, id: &TopicPartition) -> bool {
        self.known
            .get(&*id.topic)
            .is_some_and(|known| id.partition >= known.first)
    }

    /// Why nothing is read, if no topic matches.
    pub fn nothing_matches(&self) -> Option<Error> {
        let pattern = self.pattern.as_ref().filter(|_| self.known.is_empty())?;
        Some(Error::misconfigured(format!(
            "Kafka: no topic matches {} yet (kafka.topics_pattern, less kafka.topics_exclude); create one, or \
             correct the pattern; topics that this principal may not DESCRIBE aren't seen",
            shown(pattern)
        )))
    }
}

/// The pattern as it was written.
pub(super) fn shown(pattern: &TopicPattern) -> String {
    let text = pattern.include.as_str();
    let bare = text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$"));
    format!("{:?}", bare.unwrap_or(text))
}

/// Partitions as `kafka.assign` writes them: `a:0-2,5 b:1`. Sorted, each once.
pub(super) fn listed<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for id in partitions {
        topics.entry(&id.topic).or_default().insert(id.partition);
    }
    let topics = topics.iter().map(|(topic, numbers)| {
        let mut runs: Vec<(i32, i32)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => runs.push((*number, *number)),
            }
        }
        let runs = runs.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        format!("{topic}:{}", runs.collect::<Vec<_>>().join(","))
    });
    topics.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> regex::Regex {
        regex::Regex::new(&format!("^(?:{text})$")).unwrap()
    }

    fn pattern() -> Topics {
        Topics::new(&Subscription::Pattern(TopicPattern {
            include: whole("m-.*"),
            exclude: vec![whole("m-test-.*")],
            never: vec!["m-dead".into()],
        }))
    }

    fn look(topics: &mut Topics, sight: &[(&str, i32)]) -> News {
        let sight = sight.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        topics.look(sight, &BTreeSet::new())
    }

    fn subscribe(topics: &[&str]) -> News {
        News {
            subscribe: Some(topics.iter().map(|t| (*t).to_owned()).collect()),
            ..News::default()
        }
    }

    #[test]
    fn a_pattern_is_subscribed_by_names_and_again_when_they_change() {
        let mut t = pattern();
        let none = News::default();
        assert_eq!(look(&mut t, &[("other", 1)]), none, "nothing to subscribe");
        let told = t.nothing_matches().expect("a trouble").what;
        assert!(
            told.contains("no topic matches \"m-.*\" yet"),
            "as the user wrote it: {told}"
        );
        let all = [
            ("__consumer_offsets", 5),
            ("m-b", 1),
            ("m-dead", 1),
            ("m-test-1", 1),
            ("other", 1),
        ];
        assert_eq!(look(&mut t, &all), subscribe(&["m-b"]));
        assert_eq!(t.nothing_matches(), None);
        assert_eq!(look(&mut t, &all), none, "no change, no rebalance");
        assert_eq!(
            look(&mut t, &[("m-a", 2), ("m-b", 1)]),
            subscribe(&["m-a", "m-b"])
        );
        assert_eq!(look(&mut t, &[("m-a", 2)]), none, "once may be a mistake");
        assert_eq!(look(&mut t, &[("m-a", 2), ("m-b", 1)]), none, "it was");
        assert_eq!(look(&mut t, &[("m-a", 2)]), none);
        assert_eq!(look(&mut t, &[("m-a", 2)]), subscribe(&["m-a"]), "gone");
        look(&mut t, &[]);
        assert_eq!(look(&mut t, &[]), subscribe(&[]));
        assert!(t.nothing_matches().is_some());
    }

    #[test]
    fn what_appears_after_the_first_look_is_new() {
        let mut t = pattern();
        look(&mut t, &[("m-old", 2)]);
        assert!(!t.is_new("m-old"));
        look(&mut t, &[("m-old", 2), ("m-new", 2)]);
        assert!(t.is_new("m-new") && !t.is_new("m-old"));
        look(&mut t, &[("m-new", 2)]);
        look(&mut t, &[("m-new", 2)]);
        look(&mut t, &[("m-old", 2), ("m-new", 2)]);
        assert!(t.is_new("m-old"), "deleted, and created again");
    }

    #[test]
    fn a_named_topic_that_was_not_there_is_new() {
        let mut t = Topics::new(&Subscription::Topics(vec!["a".into(), "b".into()]));
        let unclear = BTreeSet::from(["b".to_owned()]);
        assert_eq!(t.look(Sight::new(), &unclear), News::default());
        assert!(t.is_new("a"), "perhaps before the next look has found it");
        assert!(!t.is_new("b"), "perhaps it was only forbidden");
        let both = [("a", 1), ("b", 1)];
        assert_eq!(look(&mut t, &both), News::default(), "it is subscribed");
        assert!(t.is_new("a") && !t.is_new("b"));
        assert_eq!(t.nothing_matches(), None);
    }

    #[test]
    fn a_topic_that_grows_is_told_once_and_its_new_partitions_are_new() {
        let mut t = pattern();
        look(&mut t, &[("m-a", 2)]);
        assert!(!t.came_later(&TopicPartition::new("m-a", 1)));
        let news = look(&mut t, &[("m-a", 4)]);
        assert_eq!(news.grew, [("m-a".into(), 4)]);
        assert_eq!(news.subscribe, None);
        assert!(t.came_later(&TopicPartition::new("m-a", 2)));
        assert!(!t.came_later(&TopicPartition::new("m-a", 1)));
        assert_eq!(
            look(&mut t, &[("m-a", 3)]),
            News::default(),
            "a broker lags"
        );
        assert_eq!(look(&mut t, &[("m-a", 4)]), News::default());
    }

    #[test]
    fn partitions_are_listed_as_the_configuration_writes_them() {
        let ids: Vec<TopicPartition> = [("b", 1), ("a", 5), ("a", 0), ("a", 2), ("a", 1)]
            .map(|(topic, n)| TopicPartition::new(topic, n))
            .into();
        assert_eq!(listed(&ids), "a:0-2,5 b:1");
        assert_eq!(listed([]), "");
    }
}
