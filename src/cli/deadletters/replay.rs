//! `outflow deadletters replay`: shows which letters are meant, and writes them to the sink that refused them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::group::OneFile;
use super::super::signals::Signals;
use super::super::{Exit, print, say};
use super::list::{by_reason, reasons_table};
use super::tally::Tally;
use super::{Desk, Which, coordinates, failed};
use crate::config::settings::{IdSource, LogSettings, Settings, SinkSettings, Tombstones, WriteOp};
use crate::error::Error;
use crate::kafka::letterbox::Letterbox;
use crate::metrics::SinkMetrics;
use crate::offsets::{OffsetRuns, TopicPartition};
use crate::replay::survey::{Letter, Survey};
use crate::replay::{Known, Parts, Replay, Work};
use crate::sinks::Waker;
use crate::sinks::hdfs::replays::{Passed, Replays};
use crate::{logging, service};

/// What was said besides which.
pub(super) struct How {
    pub limit: usize,
    pub again: bool,
    pub yes: bool,
}

pub(super) fn replay(file: &OneFile, which: &Which, how: &How) -> Result<Exit, Exit> {
    let filter = which.filter()?;
    let mut desk = Desk::open(file)?;
    desk.settings = for_replays(desk.settings);
    let survey = desk.survey().map_err(|error| failed(&error))?;
    let passed = passed(&desk, &survey).map_err(|error| failed(&error))?;
    // A person who names a letter has looked.
    let is_unclear = |letter: &Letter| {
        let passed = passed.get(&letter.stamp.partition);
        filter.places.is_empty() && passed.is_some_and(|p| p.is_unclear(letter.stamp.offset))
    };
    let meant = || survey.chosen(&filter);
    let left = meant().filter(|letter| how.again || !letter.is_replayed);
    let (unclear, clear): (Vec<&Letter>, Vec<&Letter>) =
        left.partition(|letter| is_unclear(letter));
    let chosen: Vec<Letter> = clear.into_iter().take(how.limit).cloned().collect();
    let before = meant().filter(|letter| letter.is_replayed).count();
    print(&plan(
        &desk.settings,
        &desk.topic,
        &chosen,
        before,
        how.again,
    ));
    if let Some(first) = unclear.first() {
        print(&format!(
            "\n{} are left out, the first {}, {}: the sink has read these records again since (outflow group reset, \
             adopt), or will, being before them; so they may stand in its files. Look for the record; if it isn't there, \
             name its letter with --letter.\n",
            unclear.len(),
            first.place,
            coordinates(&first.stamp)
        ));
    }
    if chosen.is_empty() {
        print(&Desk::others(&survey));
        return Ok(Exit::Fine);
    }
    if !how.yes {
        print("\nNothing was replayed; add --yes to do it.\n");
        return Ok(Exit::Fine);
    }
    carry_out(desk, survey, &chosen).map_err(|error| failed(&error))
}

/// What HDFS's sink has passed of the partitions that letters are of. Elasticsearch needn't be asked: an id is an id.
fn passed(desk: &Desk, survey: &Survey) -> Result<BTreeMap<TopicPartition, Passed>, Error> {
    match &desk.replays {
        Some(replays) => desk.runtime.block_on(replays.passed(&survey.partitions())),
        None => Ok(BTreeMap::new()),
    }
}

/// As the sink writes, but for what would double or overwrite: a document that Elasticsearch would name itself gets
/// the id that its coordinates make, and one whose id is there already is left alone.
fn for_replays(mut settings: Settings) -> Settings {
    settings.workers = 1;
    if let SinkSettings::Elasticsearch(elasticsearch) = &mut settings.sink
        && elasticsearch.id != IdSource::Key
    {
        elasticsearch.id = IdSource::Offset;
        elasticsearch.op = WriteOp::Create;
    }
    settings
}

fn plan(settings: &Settings, topic: &str, chosen: &[Letter], before: usize, again: bool) -> String {
    let mut text = format!(
        "{}: {} dead letters of {topic} to replay",
        settings.name,
        chosen.len()
    );
    if before > 0 {
        let of_them = if again { " of them" } else { "" };
        text.push_str(&format!("; {before}{of_them} were replayed before"));
    }
    text.push('\n');
    if chosen.is_empty() {
        return text;
    }
    text.push_str(&format!("\n{}", reasons_table(&by_reason(chosen))));
    if let SinkSettings::Elasticsearch(elasticsearch) = &settings.sink
        && elasticsearch.id == IdSource::Key
        && elasticsearch.tombstones == Tombstones::Delete
    {
        text.push_str(
            "\nA newer document stays. But Elasticsearch forgets deletions after index.gc_deletes (60 s): where a \
             newer null value has deleted a document since, the older one comes back. Leave such keys out.\n",
        );
    }
    text
}

fn carry_out(desk: Desk, mut survey: Survey, chosen: &[Letter]) -> Result<Exit, Error> {
    logging::start(&LogSettings {
        json: false,
        filter: "warn".into(),
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tally = Tally::new(&desk.settings)?;
    let metrics = SinkMetrics::detached();
    let Desk {
        settings,
        topic,
        letters,
        replays,
        runtime,
    } = desk;
    watch_signals(&runtime, Arc::clone(&stop))?;
    let ids = topic_ids(&settings, &letters, chosen)?;
    let work = Survey::work(chosen.iter(), &ids);
    let num_records = work.iter().map(|work| work.items.len()).sum();
    let is_missing = |work: &Work| {
        ids.get(&work.partition.topic)
            .is_none_or(|id| id.is_empty())
    };
    let (missing, work): (Vec<Work>, Vec<Work>) = match settings.sink {
        SinkSettings::Hdfs(_) => work.into_iter().partition(is_missing),
        SinkSettings::Elasticsearch(_) => (Vec::new(), work),
    };
    let connector = service::connector(&settings, metrics.clone(), runtime.handle().clone())?;
    let thread = std::thread::current();
    let replay = Replay::new(Parts {
        sink: connector.worker(0, Waker::new(move || thread.unpark())),
        connector,
        cluster_id: letters.cluster_id()?.into(),
        letters,
        topic: topic.as_str().into(),
        group: settings.kafka.group_id.clone(),
        known: known(replays, runtime.handle().clone()),
        stop,
    });
    let done = replay.run(work, &mut |partition, item, fate| {
        tally.add(partition, item, fate);
        tally.note(&mut survey, false);
    });
    tally.note(&mut survey, true);
    print(&tally.sum_up(num_records, &metrics));
    runtime.shutdown_background();
    let ended = done?;
    let missing = missing.iter().map(|work| {
        Error::misconfigured(format!(
            "{}: the topic isn't in Kafka any more, so the log of its replays can't be told from that of another of \
             the same name; its {} letters stay",
            work.partition,
            work.items.len()
        ))
    });
    let failures: Vec<Error> = ended.failures.into_iter().chain(missing).collect();
    failures
        .iter()
        .for_each(|why| say(&format!("error: {why}\n")));
    if ended.is_stopped {
        say(&"stopped: what was replayed is noted; the same command goes on\n");
        return Ok(Exit::Incomplete);
    }
    match failures.is_empty() && tally.is_fine() {
        true => Ok(Exit::Fine),
        false => Ok(Exit::Failed),
    }
}

/// The first signal asks, the second insists.
fn watch_signals(runtime: &tokio::runtime::Runtime, stop: Arc<AtomicBool>) -> Result<(), Error> {
    let mut signals = runtime.block_on(async { Signals::new() })?;
    runtime.spawn(async move {
        signals.next().await;
        stop.store(true, Ordering::Relaxed);
        let insisted = signals.next().await;
        std::process::exit(insisted.code());
    });
    Ok(())
}

/// The ids of the topics that records come from; only HDFS's logs are told apart by them.
fn topic_ids(
    settings: &Settings,
    letters: &Letterbox,
    chosen: &[Letter],
) -> Result<BTreeMap<Arc<str>, Arc<str>>, Error> {
    if let SinkSettings::Elasticsearch(_) = settings.sink {
        return Ok(BTreeMap::new());
    }
    let names: BTreeSet<&str> = chosen
        .iter()
        .map(|letter| &*letter.stamp.partition.topic)
        .collect();
    let topics = letters.topics(&names.into_iter().collect::<Vec<_>>())?;
    let ids = topics.into_iter();
    Ok(ids
        .map(|(name, topic)| (name.into(), topic.id.into()))
        .collect())
}

/// HDFS's logs know what was replayed; documents know it by their ids.
fn known(replays: Option<Arc<Replays>>, runtime: tokio::runtime::Handle) -> Known {
    let Some(replays) = replays else {
        return Box::new(|_| Ok(OffsetRuns::default()));
    };
    Box::new(move |partition| {
        let asked = replays.replayed(std::slice::from_ref(partition));
        let mut known = runtime.block_on(asked)?;
        Ok(known.remove(partition).unwrap_or_default())
    })
}
