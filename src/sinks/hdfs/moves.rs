//! Where a commit log can be moved to, and what stands in the tree of what would be written again. Pure.

use super::log::{Entry, FileEntry};

/// The committed files of the newest entry's topic that no move has taken out of the tree, the oldest first.
pub fn live(entries: &[Entry]) -> Vec<FileEntry> {
    let mut live: Vec<FileEntry> = Vec::new();
    for entry in entries {
        if let Some(moved) = &entry.moved {
            live.retain(|file| !moved.aside.contains(&file.path));
            // Offsets of another topic say nothing about this one's.
            if moved
                .was
                .as_ref()
                .is_some_and(|was| was.topic_id != entry.identity.topic_id)
            {
                live.clear();
            }
        }
        live.extend(entry.files.iter().cloned());
    }
    live
}

/// The files with records in `[end, to)` that a move has taken out of the tree and that weren't written again: going
/// forward to `to` from a log that ends at `end` leaves their records out for good.
pub fn left_out(entries: &[Entry], end: i64, to: i64) -> Vec<FileEntry> {
    let mut standing: Vec<FileEntry> = Vec::new();
    let mut aside: Vec<FileEntry> = Vec::new();
    for entry in entries {
        if let Some(moved) = &entry.moved {
            let (went, stays) = standing
                .into_iter()
                .partition(|file| moved.aside.contains(&file.path));
            standing = stays;
            aside.extend::<Vec<_>>(went);
            let was = moved.was.as_ref();
            if was.is_some_and(|was| was.topic_id != entry.identity.topic_id) {
                standing.clear();
                aside.clear();
            }
        }
        standing.extend(entry.files.iter().cloned());
    }
    aside.retain(|file| file.first < to && file.last >= end);
    aside
}

/// What is written again when a log goes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaced {
    /// The files, by their paths relative to the base.
    pub paths: Vec<String>,
    /// How many records they hold.
    pub records: u64,
}

/// The files whose records are all at or after `to`.
pub fn replaced(live: &[FileEntry], to: i64) -> Replaced {
    let again = live.iter().filter(|file| file.first >= to);
    let mut replaced = Replaced::default();
    for file in again {
        replaced.paths.push(file.path.clone());
        replaced.records += file.records;
    }
    replaced
}

/// Where a log can go on instead of at `wanted`, so that no file is cut in two: the nearest place before; or after,
/// if Kafka hasn't the records of the place before any more (its log begins at `log_start`).
pub fn between_files(live: &[FileEntry], wanted: i64, log_start: i64) -> i64 {
    let cut = |at: i64| {
        live.iter()
            .filter(move |file| file.first < at && at <= file.last)
    };
    let mut before = wanted;
    while let Some(first) = cut(before).map(|file| file.first).min() {
        before = first;
    }
    if before >= log_start || before == wanted {
        return before;
    }
    let mut after = wanted;
    while let Some(last) = cut(after).map(|file| file.last).max() {
        after = last + 1;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::super::log::{Identity, MOVED_VERSION, Moved, VERSION};
    use super::*;

    fn file(first: i64, last: i64) -> FileEntry {
        FileEntry {
            temp: format!("me-{first}.tmp"),
            path: format!("t/p=0/{first}-{last}"),
            records: (last - first + 1) as u64,
            bytes: 10,
            first,
            last,
            origins: Vec::new(),
        }
    }

    fn entry(seq: u64, files: Vec<FileEntry>, moved: Option<Moved>) -> Entry {
        Entry {
            version: if moved.is_some() {
                MOVED_VERSION
            } else {
                VERSION
            },
            seq,
            identity: Identity {
                cluster_id: "c".into(),
                topic_id: "t".into(),
                group: "g".into(),
            },
            leader_epoch: 0,
            first: files.first().map_or(0, |file| file.first),
            end: files.last().map_or(0, |file| file.last + 1),
            attempt: "me".into(),
            files,
            moved,
        }
    }

    #[test]
    fn going_back_and_then_forward_would_leave_out_what_was_not_written_again() {
        let back = |aside: &[&str]| {
            Some(Moved {
                from: 30,
                by: "reset".into(),
                was: None,
                aside: aside.iter().map(|path| (*path).to_owned()).collect(),
            })
        };
        let mut entries = vec![
            entry(0, vec![file(0, 9), file(10, 19), file(20, 29)], None),
            entry(1, vec![], back(&["t/p=0/10-19", "t/p=0/20-29"])),
        ];
        let firsts = |entries: &[Entry], end, to| -> Vec<i64> {
            left_out(entries, end, to).iter().map(|f| f.first).collect()
        };
        assert_eq!(firsts(&entries, 10, 30), [10, 20]);
        assert_eq!(firsts(&entries, 10, 20), [10], "only so far");
        assert_eq!(
            firsts(&entries, 10, 10),
            [] as [i64; 0],
            "nothing is skipped"
        );
        entries.push(entry(2, vec![file(10, 24)], None));
        assert_eq!(
            firsts(&entries, 25, 30),
            [20],
            "the rest of what was cut differently"
        );
        entries.push(entry(3, vec![file(25, 29)], None));
        assert_eq!(
            firsts(&entries, 30, 40),
            [] as [i64; 0],
            "all is written again"
        );
    }

    #[test]
    fn files_that_a_move_took_aside_do_not_live_and_what_was_written_again_does() {
        let moved = Moved {
            from: 20,
            by: "reset".into(),
            was: None,
            aside: vec!["t/p=0/10-19".into()],
        };
        let log = [
            entry(1, vec![file(0, 9)], None),
            entry(2, vec![file(10, 19)], None),
            entry(3, vec![], Some(moved)),
            entry(4, vec![file(10, 14)], None),
        ];
        assert_eq!(live(&log), [file(0, 9), file(10, 14)]);
        assert_eq!(live(&log[..2]), [file(0, 9), file(10, 19)]);
    }

    #[test]
    fn what_is_written_again_is_counted() {
        let live = [file(0, 9), file(10, 19), file(20, 29)];
        let back = replaced(&live, 10);
        assert_eq!((back.paths.len(), back.records), (2, 20));
        assert_eq!(replaced(&live, 30), Replaced::default());
    }

    #[test]
    fn no_file_is_cut_in_two() {
        // Two folders of one commit: their offsets mix.
        let live = [file(0, 9), file(10, 18), file(12, 19), file(20, 29)];
        let table = [
            (0, 0, 0, "the beginning"),
            (10, 0, 10, "between two"),
            (15, 0, 10, "back to where the commit begins"),
            (19, 0, 10, "one file of the two is cut"),
            (15, 11, 20, "Kafka has lost the beginning: after it"),
            (25, 21, 30, "after the last"),
            (30, 0, 30, "the end"),
            (99, 0, 99, "beyond the end"),
        ];
        for (wanted, log_start, expected, why) in table {
            assert_eq!(between_files(&live, wanted, log_start), expected, "{why}");
        }
    }
}
