//! What moving a group means, partition by partition: planned, shown, and done. What is decided here is pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::table::{Table, cell};
use crate::config::settings::{IdSource, Settings, SinkSettings};
use crate::error::Error;
use crate::kafka::group::{GroupClient, Set, Standing};
use crate::offsets::{Note, Range, TopicPartition};
use crate::sinks::hdfs::log::{Entry, Identity, Move};
use crate::sinks::hdfs::log_admin::{LogAdmin, Seen};
use crate::sinks::hdfs::moves::{Replaced, between_files, live, replaced};

/// One partition's part.
#[derive(Debug, Clone)]
pub struct Planned {
    pub standing: Standing,
    /// Where reading would go on without us: the commit log's end, or the group's offset.
    pub from: Option<i64>,
    /// Where it goes on.
    pub to: i64,
    /// What was asked for, where it can't be had, and why.
    pub instead_of: Option<(i64, &'static str)>,
    /// What is to be done to the commit log.
    pub log: Option<LogMove>,
    /// Whose log is to be made, if there is none and nothing else says where to begin.
    pub begins: Option<Identity>,
}

/// A move of a commit log, and whose it is afterwards.
#[derive(Debug, Clone)]
pub struct LogMove {
    pub what: Move,
    pub identity: Identity,
    pub folder: String,
    pub replaced: Replaced,
}

/// Everything that is to be done.
#[derive(Debug, Clone, Default)]
pub struct Plan(pub Vec<Planned>);

/// Who a log belongs to from now on.
pub fn identity(settings: &Settings, cluster_id: &str, standing: &Standing) -> Identity {
    Identity {
        cluster_id: cluster_id.to_owned(),
        topic_id: standing.topic_id.clone(),
        group: settings.kafka.group_id.to_string(),
    }
}

/// Plans the move of a log to `to`. `entries` may be empty if it goes forward.
pub fn plan_log(
    seen: &Seen,
    entries: &[Entry],
    identity: Identity,
    by: &str,
    to: i64,
    log_start: i64,
) -> (i64, Option<LogMove>) {
    let newest = &seen.newest;
    let is_same_topic = newest.identity.topic_id == identity.topic_id;
    let files = match is_same_topic {
        true => live(entries),
        // Their records stand nowhere else.
        false => Vec::new(),
    };
    let to = between_files(&files, to, log_start);
    let is_ours = newest.identity == identity;
    if is_ours && to == newest.end {
        return (to, None);
    }
    let replaced = replaced(&files, to);
    let log = LogMove {
        what: Move {
            from: newest.end,
            to,
            by: by.to_owned(),
            was: (!is_ours).then(|| newest.identity.clone()),
            aside: replaced.paths.clone(),
        },
        identity,
        folder: seen.folder.clone(),
        replaced,
    };
    (to, Some(log))
}

impl Planned {
    fn set(&self) -> Set {
        let standing = &self.standing;
        let before = standing.committed.as_ref();
        let note = Note {
            topic_id: standing.topic_id.clone(),
            partitions: standing.num_partitions,
            since_ms: before
                .and_then(|committed| Note::parse(&committed.metadata))
                .and_then(|note| note.since_ms),
            records_end: None,
        };
        Set {
            partition: standing.partition.clone(),
            offset: self.to,
            metadata: note.to_text(),
        }
    }

    /// Whether the group's offset goes back: then it is set before the log is moved, so that it is never beyond
    /// the log's end, whatever happens between the two.
    fn goes_back(&self) -> bool {
        let committed = self.standing.committed.as_ref();
        committed.is_some_and(|committed| self.to < committed.offset)
    }

    fn means(&self) -> String {
        match self.from {
            None => "nothing was committed".to_owned(),
            Some(from) if from < self.to => {
                format!(
                    "skips {} offsets {}",
                    self.to - from,
                    Range::new(from, self.to)
                )
            }
            Some(from) if from > self.to => {
                format!(
                    "writes {} offsets again {}",
                    from - self.to,
                    Range::new(self.to, from)
                )
            }
            Some(_) => "stays".to_owned(),
        }
    }
}

impl Plan {
    /// The plan in words.
    pub fn show(&self, settings: &Settings) -> String {
        let mut table = Table::new(&["TOPIC", "PARTITION", "FROM", "TO", "LOG", "WHAT IT MEANS"]);
        let mut notes = String::new();
        for planned in &self.0 {
            let id = &planned.standing.partition;
            let log = Range::new(planned.standing.log_start, planned.standing.log_end);
            table.row(vec![
                id.topic.to_string(),
                id.partition.to_string(),
                cell(planned.from),
                planned.to.to_string(),
                log.to_string(),
                planned.means(),
            ]);
            if let Some((asked, why)) = planned.instead_of {
                let _ = writeln!(notes, "{id}: {} instead of {asked}: {why}", planned.to);
            }
            let Some(log) = &planned.log else { continue };
            if let Some(was) = &log.what.was {
                let _ = writeln!(
                    notes,
                    "{id}: the log was of {was}\n{id}: it will be of {}",
                    log.identity
                );
            }
            if !log.replaced.paths.is_empty() {
                let _ = writeln!(
                    notes,
                    "{id}: {} files with {} records are replaced: they are moved out of the tree, into the folder \
                     replaced of {}, and their records are written again",
                    log.replaced.paths.len(),
                    log.replaced.records,
                    log.folder
                );
            }
        }
        let again = self
            .0
            .iter()
            .any(|p| p.from.is_some_and(|from| from > p.to));
        if again && let SinkSettings::Elasticsearch(elasticsearch) = &settings.sink {
            notes.push_str(match elasticsearch.id {
                IdSource::None => {
                    "Elasticsearch chooses the ids: what is written again stands there twice afterwards\n"
                }
                IdSource::Key => {
                    "Documents are written again under the same ids, and the newest record of a key wins: none is \
                     doubled\n"
                }
                IdSource::Offset => "Documents are written again under the same ids: none is doubled\n",
            });
        }
        match notes.is_empty() {
            true => table.to_string(),
            false => format!("{table}\n{notes}"),
        }
    }

    /// Does it. The group's offset is never beyond a log's end meanwhile: offsets that go back are set before the
    /// logs are moved, the others after.
    pub fn carry_out(
        &self,
        client: &GroupClient,
        logs: Option<(&LogAdmin, &tokio::runtime::Runtime)>,
    ) -> Result<(), Error> {
        let back: Vec<Set> = self
            .0
            .iter()
            .filter(|p| p.goes_back())
            .map(Planned::set)
            .collect();
        if !back.is_empty() {
            client.set(&back)?;
        }
        if let Some((admin, runtime)) = logs {
            for planned in &self.0 {
                let id = &planned.standing.partition;
                if let Some(identity) = &planned.begins {
                    runtime.block_on(admin.begin(id, identity.clone(), planned.to))?;
                }
                let Some(log) = &planned.log else { continue };
                runtime.block_on(admin.apply(id, log.identity.clone(), &log.what))?;
            }
        }
        let all: Vec<Set> = self.0.iter().map(Planned::set).collect();
        match all.is_empty() {
            true => Ok(()),
            false => client.set(&all),
        }
    }
}

/// The entries of those logs that a move back concerns.
pub fn settle(
    admin: &LogAdmin,
    runtime: &tokio::runtime::Runtime,
    seen: &BTreeMap<TopicPartition, Seen>,
    goes_back: impl Fn(&TopicPartition, &Seen) -> bool,
) -> Result<BTreeMap<TopicPartition, Vec<Entry>>, Error> {
    let wanted = seen.iter().filter(|(id, seen)| goes_back(id, seen));
    wanted
        .map(|(id, seen)| Ok((id.clone(), runtime.block_on(admin.entries(seen))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::hdfs::log::names::OwnerFolder;
    use crate::sinks::hdfs::log::{FileEntry, VERSION};

    fn identity(topic_id: &str) -> Identity {
        Identity {
            cluster_id: "c".into(),
            topic_id: topic_id.into(),
            group: "g".into(),
        }
    }

    fn log() -> Seen {
        Seen {
            folder: "/b/_outflow/t/0/3-0123-me".into(),
            owner: OwnerFolder::parse("3-0123-me").unwrap(),
            newest: Entry {
                version: VERSION,
                seq: 1,
                identity: identity("t1"),
                leader_epoch: 0,
                first: 0,
                end: 100,
                attempt: "me".into(),
                files: vec![FileEntry {
                    temp: "me-1.tmp".into(),
                    path: "t/p=0/t+0+0+99.json".into(),
                    records: 100,
                    bytes: 10,
                    first: 0,
                    last: 99,
                    origins: Vec::new(),
                }],
                moved: None,
            },
        }
    }

    #[test]
    fn a_log_goes_forward_back_over_whole_files_or_stays() {
        let seen = log();
        let entries = [seen.newest.clone()];
        let plan = |to| plan_log(&seen, &entries, identity("t1"), "reset", to, 0);
        assert!(matches!(plan(100), (100, None)));
        let (to, forward) = plan(130);
        let forward = forward.unwrap().what;
        assert_eq!((to, forward.from, forward.to), (130, 100, 130));
        assert!(forward.aside.is_empty() && forward.was.is_none());
        let (to, back) = plan(40);
        let back = back.unwrap();
        assert_eq!((to, back.what.to, back.replaced.records), (0, 0, 100));
        assert_eq!(back.what.aside, ["t/p=0/t+0+0+99.json"]);
    }

    #[test]
    fn files_of_another_topic_are_never_taken_aside() {
        let seen = log();
        let entries = [seen.newest.clone()];
        let (to, log) = plan_log(&seen, &entries, identity("t2"), "adopt", 0, 0);
        let what = log.unwrap().what;
        assert_eq!((to, what.was), (0, Some(identity("t1"))));
        assert!(what.aside.is_empty());
    }
}
