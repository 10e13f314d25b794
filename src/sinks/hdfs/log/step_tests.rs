//! Step tables: what is answered, and what the log wants next. Paths are shortened: `LOG` is the partition's
//! folder, `ID` the identity's digest.

use super::*;
use crate::error::Kind;

fn identity(topic_id: &str) -> Identity {
    Identity {
        cluster_id: "c".into(),
        topic_id: topic_id.into(),
        group: "g".into(),
    }
}

fn opening() -> Opening {
    Opening {
        base: "/b".into(),
        topic: "t".into(),
        partition: 3,
        owner: "me".into(),
        identity: identity("t1"),
        committed: None,
        start: Some(5),
        takes_over: None,
    }
}

fn file(temp: &str, first: i64, last: i64) -> FileEntry {
    FileEntry {
        temp: temp.into(),
        path: format!("t/h=1/{first}"),
        records: (last - first + 1) as u64,
        bytes: 100,
        first,
        last,
        origins: Vec::new(),
    }
}

fn entry(seq: u64, first: i64, end: i64, files: Vec<FileEntry>) -> Entry {
    Entry {
        version: VERSION,
        seq,
        identity: identity("t1"),
        leader_epoch: 1,
        first,
        end,
        attempt: "x".into(),
        files,
        moved: None,
    }
}

fn content(entry: &Entry) -> Outcome {
    Outcome::Content(entry.to_json())
}

fn folders(names: &[&str]) -> Outcome {
    listing(names, true)
}

fn files(names: &[&str]) -> Outcome {
    listing(names, false)
}

fn listing(names: &[&str], is_folder: bool) -> Outcome {
    let digest = identity("t1").digest();
    let child = |name: &&str| Child {
        name: name.replace("ID", &digest),
        is_folder,
        bytes: 100,
    };
    Outcome::Listed(names.iter().map(child).collect())
}

fn found(bytes: u64) -> Outcome {
    Outcome::Found {
        is_folder: false,
        bytes,
    }
}

fn lost() -> Outcome {
    Outcome::Unknown(Error::unavailable("lost"))
}

/// An action in a few words.
fn brief(action: &Action) -> String {
    let words = match action {
        Action::Call { call, .. } => match call {
            Call::List { path } => format!("list {path}"),
            Call::Stat { path } => format!("stat {path}"),
            Call::Read { path } => format!("read {path}"),
            Call::MakeDir { path, parents } => {
                format!("mkdir{} {path}", if *parents { " -p" } else { "" })
            }
            Call::Create { path, .. } => format!("create {path}"),
            Call::Rename { from, to } => format!("rename {from} {to}"),
            Call::Delete { path, .. } => format!("delete {path}"),
        },
        Action::Backoff { .. } => "back off".into(),
        Action::Opened { resume } => format!("opened at {resume}"),
        Action::Committed { range } => format!("committed {range}"),
        Action::Rewind { .. } => "rewind".into(),
        Action::Stopped { why } => format!("stopped: {}", why.kind),
        Action::Fenced { .. } => "fenced".into(),
    };
    words
        .replace("/b/_outflow/t/3", "LOG")
        .replace(&identity("t1").digest(), "ID")
        .replace("0000000000000000000", "…")
}

/// A log, the calls it has made, and what it said last.
struct Bench {
    log: CommitLog,
    call: Option<CallId>,
    said: Vec<Action>,
}

impl Bench {
    fn new(log: CommitLog) -> Self {
        let mut bench = Bench {
            log,
            call: None,
            said: Vec::new(),
        };
        bench.event(Event::Open);
        bench
    }

    /// One that is open, with entry 1 as its newest, which ends at 10.
    fn open() -> Self {
        Self::open_with(CommitLog::new(opening()))
    }

    fn open_with(log: CommitLog) -> Self {
        let mut bench = Bench::new(log);
        bench.answer(folders(&["7-ID-other"]));
        bench.answer(Outcome::Done);
        bench.answer(files(&[
            "00000000000000000000.done",
            "00000000000000000001.done",
        ]));
        bench.answer(content(&entry(1, 5, 10, vec![])));
        bench.says(&["opened at 10"]);
        bench
    }

    fn event(&mut self, event: Event) {
        self.said = self.log.step(event);
        self.call = self.said.iter().find_map(|action| match action {
            Action::Call { id, .. } => Some(*id),
            _ => None,
        });
    }

    fn answer(&mut self, outcome: Outcome) {
        let id = self.call.take().expect("a call is under way");
        self.event(Event::Answer { id, outcome });
    }

    #[track_caller]
    fn says(&self, expected: &[&str]) {
        let said: Vec<String> = self.said.iter().map(brief).collect();
        assert_eq!(said, expected);
    }

    /// Each outcome, and what the log says to it.
    #[track_caller]
    fn table(&mut self, rows: Vec<(Outcome, &[&str])>) {
        for (outcome, expected) in rows {
            self.answer(outcome);
            self.says(expected);
        }
    }

    fn commit(&mut self, first: i64, end: i64, files: Vec<FileEntry>) {
        self.event(Event::Commit(commit(first, end, files)));
    }

    /// The error that ended it.
    #[track_caller]
    fn why(&self) -> &Error {
        match self.said.last() {
            Some(Action::Stopped { why } | Action::Fenced { why } | Action::Rewind { why }) => why,
            other => panic!("it hasn't ended: {other:?}"),
        }
    }
}

fn commit(first: i64, end: i64, files: Vec<FileEntry>) -> Commit {
    Commit {
        range: Range::new(first, end),
        leader_epoch: 1,
        files,
    }
}

const MINE: &str = "LOG/8-ID-me";

#[test]
fn an_opening_fences_reads_publishes_and_cleans() {
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.says(&["list LOG"]);
    let left = entry(1, 5, 10, vec![file("a-1.tmp", 5, 7), file("a-2.tmp", 8, 9)]);
    let names = [
        "00000000000000000000.done",
        "00000000000000000001.json",
        "a-2.tmp",
        "a-3.tmp",
    ];
    bench.table(vec![
        (
            folders(&["7-ID-other"]),
            &["rename LOG/7-ID-other LOG/8-ID-me"],
        ),
        (Outcome::Done, &["list LOG/8-ID-me"]),
        (files(&names), &["read LOG/8-ID-me/…1.json"]),
        (content(&left), &["mkdir -p /b/t/h=1"]),
        (Outcome::Done, &["rename LOG/8-ID-me/a-1.tmp /b/t/h=1/5"]),
        // Published by the owner before us.
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (files(&names), &["stat /b/t/h=1/5"]),
        (found(100), &["rename LOG/8-ID-me/a-2.tmp /b/t/h=1/8"]),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/…1.json LOG/8-ID-me/…1.done"],
        ),
        // Only what no entry names is deleted.
        (Outcome::Done, &["delete LOG/8-ID-me/a-3.tmp"]),
        (Outcome::Done, &["opened at 10"]),
    ]);
    assert_eq!(bench.log.end(), 10);
    assert!(bench.log.folder().starts_with("/b/_outflow/t/3/8-"));
}

#[test]
fn a_new_partition_is_prepared_aside() {
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.table(vec![
        (Outcome::NotFound, &["mkdir -p /b/_outflow/t"]),
        (Outcome::Done, &["mkdir /b/_outflow/t/.new-me-0"]),
        (Outcome::Done, &["mkdir /b/_outflow/t/.new-me-0/1-ID-me"]),
        (
            Outcome::Done,
            &["create /b/_outflow/t/.new-me-0/1-ID-me/…0.done"],
        ),
        // What may be half made is never used.
        (lost(), &["back off"]),
    ]);
    bench.event(Event::Retry);
    bench.says(&["list LOG"]);
    bench.table(vec![
        (Outcome::NotFound, &["mkdir -p /b/_outflow/t"]),
        (Outcome::Done, &["mkdir /b/_outflow/t/.new-me-1"]),
        (Outcome::Done, &["mkdir /b/_outflow/t/.new-me-1/1-ID-me"]),
        (
            Outcome::Done,
            &["create /b/_outflow/t/.new-me-1/1-ID-me/…0.done"],
        ),
        (Outcome::Done, &["rename /b/_outflow/t/.new-me-1 LOG"]),
        (Outcome::Done, &["list LOG"]),
        (folders(&["1-ID-me"]), &["list LOG/1-ID-me"]),
        (
            files(&["00000000000000000000.done"]),
            &["read LOG/1-ID-me/…0.done"],
        ),
        (content(&entry(0, 5, 5, vec![])), &["opened at 5"]),
    ]);
}

#[test]
fn a_new_partition_without_a_start_is_left_alone_and_one_with_a_log_goes_on() {
    let unknown = || {
        let start = None;
        CommitLog::new(Opening { start, ..opening() })
    };
    let mut bench = Bench::new(unknown());
    bench.table(vec![(Outcome::NotFound, &["rewind"])]);
    let mut bench = Bench::new(unknown());
    bench.table(vec![
        (
            folders(&["7-ID-other"]),
            &["rename LOG/7-ID-other LOG/8-ID-me"],
        ),
        (Outcome::Done, &["list LOG/8-ID-me"]),
        (
            files(&["00000000000000000004.done"]),
            &["read LOG/8-ID-me/…4.done"],
        ),
        (content(&entry(4, 10, 20, vec![])), &["opened at 20"]),
    ]);
}

#[test]
fn a_lost_race_is_fenced_and_a_lost_answer_is_not() {
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.answer(folders(&["7-ID-other"]));
    bench.answer(Outcome::NotFound);
    bench.event(Event::Retry);
    bench.answer(folders(&["8-ID-third"]));
    bench.says(&["fenced"]);
    assert!(bench.why().what.contains("third"), "{}", bench.why());

    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.answer(folders(&["7-ID-other"]));
    bench.answer(lost());
    bench.event(Event::Retry);
    bench.table(vec![(folders(&["8-ID-me"]), &["list LOG/8-ID-me"])]);
}

#[test]
fn a_commit_is_written_aside_renamed_published_and_marked() {
    let mut bench = Bench::open();
    bench.commit(10, 20, vec![file("me-1.tmp", 10, 19)]);
    bench.says(&["create LOG/8-ID-me/me-1.entry"]);
    // Another is handed over meanwhile: it waits.
    let Some(call) = bench.call else { panic!() };
    bench.commit(20, 30, vec![]);
    bench.says(&[]);
    bench.call = Some(call);
    bench.table(vec![
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/me-1.entry LOG/8-ID-me/…2.json"],
        ),
        (Outcome::Done, &["mkdir -p /b/t/h=1"]),
        (Outcome::Done, &["rename LOG/8-ID-me/me-1.tmp /b/t/h=1/10"]),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/…2.json LOG/8-ID-me/…2.done"],
        ),
        (
            Outcome::Done,
            &["committed [10, 20)", "create LOG/8-ID-me/me-2.entry"],
        ),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/me-2.entry LOG/8-ID-me/…3.json"],
        ),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/…3.json LOG/8-ID-me/…3.done"],
        ),
        (Outcome::Done, &["committed [20, 30)"]),
    ]);
    assert!(bench.log.is_idle());
    assert_eq!(bench.log.end(), 30);
}

/// A bench at the commit point of [10, 20), which has one file.
fn at_commit_point() -> Bench {
    let mut bench = Bench::open();
    bench.commit(10, 20, vec![file("me-1.tmp", 10, 19)]);
    bench.answer(Outcome::Done);
    bench
}

#[test]
fn only_the_same_entry_is_tried_again_after_a_lost_commit() {
    let mut bench = at_commit_point();
    bench.answer(lost());
    bench.says(&["back off"]);
    bench.event(Event::Retry);
    bench.says(&["rename LOG/8-ID-me/me-1.entry LOG/8-ID-me/…2.json"]);
    bench.table(vec![
        // It had happened.
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (
            files(&["00000000000000000002.json"]),
            &["mkdir -p /b/t/h=1"],
        ),
    ]);
}

#[test]
fn who_is_fenced_at_the_commit_point_commits_nothing() {
    let mut bench = at_commit_point();
    bench.table(vec![
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (Outcome::NotFound, &["fenced"]),
    ]);
    assert_eq!(bench.why().kind, Kind::Fenced);
    assert!(bench.log.is_over());
}

#[test]
fn an_entry_that_vanished_or_is_anothers_is_read_again() {
    let mut bench = at_commit_point();
    bench.table(vec![
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (files(&["00000000000000000001.done"]), &["rewind"]),
    ]);
    let mut bench = at_commit_point();
    bench.table(vec![(Outcome::Exists, &["rewind"])]);
}

/// A bench that is publishing the file of [10, 20).
fn publishing() -> Bench {
    let mut bench = at_commit_point();
    bench.answer(Outcome::Done);
    bench.answer(Outcome::Done);
    bench.says(&["rename LOG/8-ID-me/me-1.tmp /b/t/h=1/10"]);
    bench
}

#[test]
fn a_file_in_the_way_is_never_overwritten_even_of_the_same_length() {
    let mut bench = publishing();
    bench.table(vec![
        (Outcome::Exists, &["stat /b/t/h=1/10"]),
        (found(100), &["stopped: corrupt"]),
    ]);
    let what = &bench.why().what;
    assert!(
        what.contains("/b/t/h=1/10") && what.contains("me-1.tmp"),
        "{what}"
    );
}

#[test]
fn a_file_that_is_nowhere_stops_the_partition() {
    let mut bench = publishing();
    bench.table(vec![
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (files(&["00000000000000000002.json"]), &["stat /b/t/h=1/10"]),
        (Outcome::NotFound, &["stopped: corrupt"]),
    ]);
    assert!(bench.why().what.contains("put it back"));
}

#[test]
fn a_published_file_of_another_length_stops_the_partition() {
    let mut bench = publishing();
    bench.answer(Outcome::NotFound);
    bench.answer(files(&[]));
    bench.table(vec![(found(99), &["stopped: corrupt"])]);
    assert!(bench.why().what.contains("100 bytes and has 99"));
}

#[test]
fn a_folder_that_vanished_is_made_again() {
    let mut bench = publishing();
    bench.answer(Outcome::NotFound);
    bench.table(vec![(files(&["me-1.tmp"]), &["back off"])]);
    bench.event(Event::Retry);
    bench.says(&["mkdir -p /b/t/h=1"]);
}

#[test]
fn an_outage_is_waited_out_with_the_same_call() {
    let mut bench = publishing();
    for _ in 0..1000 {
        bench.answer(Outcome::Refused(Error::unavailable("safe mode")));
        bench.says(&["back off"]);
        bench.event(Event::Retry);
        bench.says(&["rename LOG/8-ID-me/me-1.tmp /b/t/h=1/10"]);
    }
}

#[test]
fn anothers_log_is_left_to_it_unfenced() {
    let mut bench = Bench::new(CommitLog::new(Opening {
        identity: identity("t2"),
        ..opening()
    }));
    bench.table(vec![
        (folders(&["7-ID-other"]), &["list LOG/7-ID-other"]),
        (
            files(&["00000000000000000004.done"]),
            &["read LOG/7-ID-other/…4.done"],
        ),
        (
            content(&entry(4, 5, 10, vec![])),
            &["stopped: misconfigured"],
        ),
    ]);
    let what = &bench.why().what;
    assert!(
        what.contains("topic id t1") && what.contains("topic id t2"),
        "{what}"
    );
    assert!(what.contains("choose another base path"), "{what}");
}

#[test]
fn a_log_that_ends_before_the_committed_offset_stops() {
    let mut bench = Bench::new(CommitLog::new(Opening {
        committed: Some(11),
        ..opening()
    }));
    bench.answer(folders(&["7-ID-other"]));
    bench.answer(Outcome::Done);
    bench.answer(files(&["00000000000000000001.done"]));
    bench.table(vec![(
        content(&entry(1, 5, 10, vec![])),
        &["stopped: corrupt"],
    )]);
    let what = &bench.why().what;
    assert!(
        what.contains("is 11") && what.contains("ends at 10"),
        "{what}"
    );
}

#[test]
fn what_can_not_be_stops_the_partition_and_names_the_place() {
    let rows: [(Outcome, Option<Outcome>, &str); 5] = [
        (files(&[]), None, "holds no entry"),
        (
            files(&["00000000000000000002.done", "00000000000000000001.json"]),
            None,
            "entry 2 is done",
        ),
        (
            files(&["00000000000000000001.done"]),
            Some(Outcome::Content(b"{\"version\":1,\"se".to_vec())),
            "00000000000000000001.done can't be read",
        ),
        (
            files(&["00000000000000000001.done"]),
            Some(content(&entry(2, 5, 10, vec![]))),
            "says that it is number 2",
        ),
        (
            files(&["00000000000000000001.done"]),
            Some(Outcome::Content(b"{\"version\":99}".to_vec())),
            "format version 99",
        ),
    ];
    for (list, read, expected) in rows {
        let mut bench = Bench::new(CommitLog::new(opening()));
        bench.answer(folders(&["7-ID-other"]));
        bench.answer(Outcome::Done);
        bench.answer(list);
        if let Some(read) = read {
            bench.answer(read);
        }
        let what = &bench.why().what;
        assert!(
            what.contains(expected) && what.contains("/b/_outflow/t/3/8-"),
            "{what}"
        );
    }
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.table(vec![(
        folders(&["7-ID-a", "8-ID-b"]),
        &["stopped: corrupt"],
    )]);
}

#[test]
fn a_commit_that_can_not_be_is_refused_in_words() {
    let bench = Bench::open();
    let check = |commit: Commit| bench.log.check(&commit).map_err(|error| error.to_string());
    assert_eq!(
        check(commit(10, 20, vec![file("me-1.tmp", 10, 19)])),
        Ok(())
    );
    let rows = [
        (commit(11, 20, vec![]), "doesn't begin at 10"),
        (commit(10, 10, vec![]), "is empty"),
        (
            commit(10, 20, vec![file("me-1.tmp", 10, 20)]),
            "aren't within",
        ),
        (
            commit(10, 20, vec![file("../me-1.tmp", 10, 19)]),
            "temp file's name",
        ),
        (
            commit(10, 20, vec![file("a.tmp", 10, 11), file("a.tmp", 12, 13)]),
            "named twice",
        ),
    ];
    for (commit, expected) in rows {
        let error = check(commit).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    for path in ["../x", "/etc/x", "t/../../x", "x", "_outflow/t/3/x", "t//x"] {
        let escaping = FileEntry {
            path: path.into(),
            ..file("me-1.tmp", 10, 19)
        };
        assert!(check(commit(10, 20, vec![escaping])).is_err(), "{path}");
    }
    // Handed over all the same, it ends the opening: the next reads from what is committed.
    let mut bench = Bench::open();
    bench.commit(11, 20, vec![]);
    bench.says(&["rewind"]);
    assert_eq!(
        CommitLog::new(opening()).check(&commit(0, 1, vec![])),
        Err(CommitError::NotOpen)
    );
}

#[test]
fn late_answers_and_whatever_follows_the_end_are_ignored() {
    let mut bench = publishing();
    let before = bench.log.clone();
    let (late, never) = (CallId(1), CallId(99));
    for id in [late, never] {
        let outcome = Outcome::Done;
        assert_eq!(bench.log.step(Event::Answer { id, outcome }), []);
    }
    assert_eq!(bench.log.step(Event::Retry), []);
    assert_eq!(bench.log, before);
    let call = bench.call.expect("one is under way");
    assert_eq!(bench.log.step(Event::Close), []);
    let events = [
        Event::Answer {
            id: call,
            outcome: Outcome::Done,
        },
        Event::Commit(commit(20, 30, vec![])),
        Event::Retry,
        Event::Open,
    ];
    for event in events {
        assert_eq!(bench.log.step(event), []);
    }
}

#[test]
fn old_entries_are_rolled_into_a_history_file() {
    let mut bench = Bench::open_with(CommitLog::with_guards(opening(), Guards::default(), 2));
    bench.commit(10, 20, vec![]);
    bench.answer(Outcome::Done);
    bench.answer(Outcome::Done);
    let old = |seq| content(&entry(seq, 5, 5, vec![]));
    bench.table(vec![
        (
            Outcome::Done,
            &["committed [10, 20)", "read LOG/8-ID-me/…0.done"],
        ),
        (old(0), &["read LOG/8-ID-me/…1.done"]),
        (old(1), &["mkdir LOG/8-ID-me/history"]),
        (Outcome::Done, &["create LOG/8-ID-me/me-2.entry"]),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/me-2.entry LOG/8-ID-me/history/…0-…1.jsonl"],
        ),
        (Outcome::Done, &["delete LOG/8-ID-me/…0.done"]),
        (Outcome::Done, &["delete LOG/8-ID-me/…1.done"]),
        (Outcome::Done, &[]),
    ]);
    assert!(bench.log.is_idle());
}

#[test]
fn rolling_that_fails_is_no_ones_trouble() {
    for failure in [
        lost(),
        Outcome::Refused(Error::unavailable("quota")),
        Outcome::Exists,
    ] {
        let mut bench = Bench::open_with(CommitLog::with_guards(opening(), Guards::default(), 2));
        bench.commit(10, 20, vec![]);
        for _ in 0..3 {
            bench.answer(Outcome::Done);
        }
        bench.answer(failure);
        bench.says(&[]);
        assert!(bench.log.is_idle());
        bench.commit(20, 30, vec![]);
        bench.says(&[&format!("create {MINE}/me-3.entry")]);
    }
}

fn moved(from: i64, to: i64, aside: &[&str]) -> Move {
    Move {
        from,
        to,
        by: "reset".into(),
        was: None,
        aside: aside.iter().map(|&path| path.to_owned()).collect(),
    }
}

#[test]
fn a_move_takes_files_out_of_the_tree_before_it_is_done() {
    let mut bench = Bench::open();
    bench.event(Event::Move(moved(10, 5, &["t/h=1/5", "t/h=1/7"])));
    bench.says(&["create LOG/8-ID-me/me-1.entry"]);
    bench.table(vec![
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/me-1.entry LOG/8-ID-me/…2.json"],
        ),
        (Outcome::Done, &["mkdir LOG/8-ID-me/replaced"]),
        (
            Outcome::Done,
            &["rename /b/t/h=1/5 LOG/8-ID-me/replaced/2+5"],
        ),
        (
            Outcome::Done,
            &["rename /b/t/h=1/7 LOG/8-ID-me/replaced/2+7"],
        ),
        // Somebody took it before.
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        (
            folders(&["replaced"]),
            &["rename LOG/8-ID-me/…2.json LOG/8-ID-me/…2.done"],
        ),
        (Outcome::Done, &["committed [5, 5)"]),
    ]);
    assert_eq!(bench.log.end(), 5);
    bench.commit(5, 8, vec![]);
    bench.says(&["create LOG/8-ID-me/me-2.entry"]);
}

#[test]
fn a_folder_for_replaced_files_that_vanished_is_made_again() {
    let mut bench = Bench::open();
    bench.event(Event::Move(moved(10, 5, &["t/h=1/5"])));
    bench.answer(Outcome::Done);
    bench.answer(Outcome::Done);
    let take = "rename /b/t/h=1/5 LOG/8-ID-me/replaced/2+5";
    bench.table(vec![
        (Outcome::Done, &[take]),
        (Outcome::NotFound, &["list LOG/8-ID-me"]),
        // Not the file is missing: it still stands in the tree.
        (folders(&[]), &["mkdir LOG/8-ID-me/replaced"]),
        (Outcome::Done, &[take]),
        (
            Outcome::Done,
            &["rename LOG/8-ID-me/…2.json LOG/8-ID-me/…2.done"],
        ),
    ]);
}

#[test]
fn who_opens_a_log_finishes_a_move_that_was_begun() {
    let begun = Entry {
        version: MOVED_VERSION,
        moved: Some(Moved {
            from: 10,
            by: "reset".into(),
            was: None,
            aside: vec!["t/h=1/5".into()],
        }),
        ..entry(2, 5, 5, vec![])
    };
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.answer(folders(&["7-ID-other"]));
    bench.answer(Outcome::Done);
    bench.answer(files(&[
        "00000000000000000001.done",
        "00000000000000000002.json",
    ]));
    bench.table(vec![
        (content(&begun), &["mkdir LOG/8-ID-me/replaced"]),
        (
            Outcome::Done,
            &["rename /b/t/h=1/5 LOG/8-ID-me/replaced/2+5"],
        ),
        // It may happen later, when there is a new file of this name: only another folder is safe from it.
        (lost(), &["rewind"]),
    ]);
}

#[test]
fn a_log_that_went_on_meanwhile_is_not_moved() {
    let mut bench = Bench::open();
    bench.event(Event::Move(moved(9, 5, &[])));
    bench.says(&["stopped: unavailable"]);
    assert!(bench.why().what.contains("ends at 10"), "{}", bench.why());
}

#[test]
fn a_log_is_taken_over_only_by_who_was_shown_it() {
    let theirs = identity("t0").digest();
    let listed = || folders(&[&format!("7-{theirs}-other")]);
    let old = Entry {
        identity: identity("t0"),
        ..entry(1, 5, 10, vec![])
    };
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.table(vec![(listed(), &[&format!("list LOG/7-{theirs}-other")])]);
    bench.answer(files(&["00000000000000000001.done"]));
    bench.answer(content(&old));
    assert!(
        bench.why().what.contains("outflow adopt"),
        "{}",
        bench.why()
    );

    let mut bench = Bench::new(CommitLog::new(Opening {
        takes_over: Some(identity("t0")),
        ..opening()
    }));
    bench.table(vec![
        (
            listed(),
            &[&format!("rename LOG/7-{theirs}-other LOG/8-ID-me")],
        ),
        (Outcome::Done, &["list LOG/8-ID-me"]),
        (
            files(&["00000000000000000001.done"]),
            &["read LOG/8-ID-me/…1.done"],
        ),
        (content(&old), &["opened at 10"]),
    ]);
}

#[test]
fn a_folder_that_was_fenced_and_not_taken_over_is_still_its_entries_owners() {
    let theirs = identity("t9").digest();
    let folder = format!("8-{theirs}-adopter");
    let mut bench = Bench::new(CommitLog::new(opening()));
    bench.table(vec![
        (folders(&[&folder]), &[&format!("list LOG/{folder}")]),
        (
            files(&["00000000000000000001.done"]),
            &[&format!("read LOG/{folder}/…1.done")],
        ),
        (
            content(&entry(1, 5, 10, vec![])),
            &[&format!("rename LOG/{folder} LOG/9-ID-me")],
        ),
        (Outcome::Done, &["list LOG/9-ID-me"]),
    ]);
}

#[test]
fn an_entry_that_moves_the_log_by_half_is_refused() {
    let whole = Entry {
        version: MOVED_VERSION,
        moved: Some(Moved {
            from: 10,
            by: "reset".into(),
            was: Some(identity("t0")),
            aside: vec!["t/h=1/5".into()],
        }),
        ..entry(2, 5, 5, vec![])
    };
    assert_eq!(Entry::read("p", 2, &whole.to_json()), Ok(whole.clone()));
    let broken = [
        Entry {
            version: VERSION,
            ..whole.clone()
        },
        Entry {
            moved: None,
            ..whole.clone()
        },
        Entry {
            end: 6,
            ..whole.clone()
        },
        Entry {
            moved: Some(Moved {
                aside: vec!["../x".into()],
                ..whole.moved.clone().unwrap()
            }),
            ..whole
        },
    ];
    for entry in broken {
        assert!(Entry::read("p", 2, &entry.to_json()).is_err(), "{entry:?}");
    }
}
