//! What the control has to say, in the journal's words. What comes with every record or commit isn't said.

use std::sync::Arc;

use crate::journal::{Journal, Level, Place, Topic};
use crate::offsets::TopicPartition;
use crate::pipeline::control::Notice;
use crate::pipeline::report::join;

/// Tells the journal.
pub(super) fn say(journal: &Journal, sink: &Arc<str>, worker: usize, notice: &Notice) {
    let of = |about, level, place, text: &dyn Fn() -> String| {
        journal.say(about, level, place, text);
    };
    let sink_place = || Place {
        sink: Some(sink.clone()),
        ..Place::default()
    };
    let at = |id: &TopicPartition| Place {
        topic: Some(id.topic.clone()),
        partition: Some(id.partition),
        ..sink_place()
    };
    match notice {
        Notice::Assigned(ids) if ids.is_empty() => {}
        Notice::Assigned(ids) => of(Topic::Assigned, Level::Info, sink_place(), &|| {
            format!("the group gave worker {worker} {}", partitions(ids))
        }),
        Notice::Fixed(ids) => of(Topic::Assigned, Level::Info, sink_place(), &|| {
            format!("worker {worker} has {} for good", partitions(ids))
        }),
        Notice::Revoked(ids) if ids.is_empty() => {}
        Notice::Revoked(ids) => of(Topic::Revoked, Level::Info, sink_place(), &|| {
            format!(
                "the group wants {} back from worker {worker}",
                partitions(ids)
            )
        }),
        Notice::Lost(ids) => of(Topic::Lost, Level::Warn, sink_place(), &|| {
            format!(
                "the group gave {} of worker {worker} to others without asking: what was in flight is read again by them",
                partitions(ids)
            )
        }),
        Notice::Released(ids, false) => of(Topic::Released, Level::Warn, sink_place(), &|| {
            let ids = partitions(ids);
            format!("{ids} given back with work unfinished; the next owner reads it again")
        }),
        Notice::Refused(id, offset, rejection) => {
            of(Topic::Refused, Level::Warn, at(id), &|| {
                let (reason, detail) = (&rejection.reason, &rejection.detail);
                format!("a record was refused for good, {id} offset {offset} ({reason}): {detail}")
            });
        }
        Notice::Skipped(id, range, reason) => of(Topic::Skipped, Level::Bad, at(id), &|| {
            format!("offsets {range} of {id} are skipped, as configured ({reason})")
        }),
        Notice::Quarantined(id, why) => of(Topic::Quarantined, Level::Bad, at(id), &|| {
            format!("{id} is quarantined, and needs you: {}", why.what)
        }),
        Notice::Rewound(id, why) => of(Topic::Rewound, Level::Warn, at(id), &|| {
            format!("{id} goes back to what was last acknowledged: {}", why.what)
        }),
        Notice::Fenced(id, why) => of(Topic::Fenced, Level::Warn, at(id), &|| {
            format!(
                "another owner took {id}; it is read on once Kafka confirms that it is ours: {}",
                why.what
            )
        }),
        Notice::CommitFailed(why) => of(Topic::Commit, Level::Warn, sink_place(), &|| {
            format!(
                "offsets couldn't be committed, it is tried again: {}",
                why.what
            )
        }),
        Notice::CommitMismatch(id, what) => of(Topic::Commit, Level::Bad, at(id), &|| {
            format!("{id}: {what}")
        }),
        Notice::Released(_, true)
        | Notice::Running(..)
        | Notice::Dropped(..)
        | Notice::DeadLettered
        | Notice::Committed(_)
        | Notice::AckedTimestamp(_) => {}
    }
}

fn partitions(ids: &[TopicPartition]) -> String {
    match ids {
        [id] => id.to_string(),
        _ => format!("{} partitions ({})", ids.len(), join(ids)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn told(notices: &[Notice]) -> Vec<(Level, String, u64)> {
        let (journal, sink) = (Journal::default(), Arc::from("hdfs"));
        for notice in notices {
            say(&journal, &sink, 0, notice);
        }
        journal.write(Vec::new(), 0);
        let entries = journal.after(0, 100).into_iter();
        entries.map(|e| (e.level, e.text, e.count)).collect()
    }

    #[test]
    fn a_quarantine_says_where_and_why_and_that_a_person_is_needed() {
        let id = TopicPartition::new("events", 3);
        let notice = Notice::Quarantined(id, Error::rejected("a strange file"));
        let text = "events[3] is quarantined, and needs you: a strange file";
        assert_eq!(told(&[notice]), [(Level::Bad, text.to_owned(), 1)]);
    }

    #[test]
    fn what_comes_with_every_commit_isnt_told() {
        let notices = [
            Notice::Committed(4),
            Notice::DeadLettered,
            Notice::AckedTimestamp(1),
            Notice::Assigned(Vec::new()),
        ];
        assert_eq!(told(&notices), []);
    }

    #[test]
    fn a_thousand_partitions_are_told_in_one_line() {
        let ids: Vec<_> = (0..1_000)
            .map(|n| TopicPartition::new("events", n))
            .collect();
        let told = told(&[Notice::Assigned(ids)]);
        assert!(
            told[0]
                .1
                .starts_with("the group gave worker 0 1000 partitions (events[0], "),
            "{told:?}"
        );
        assert!(told[0].1.len() < 300);
    }
}
