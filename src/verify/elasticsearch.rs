//! Elasticsearch against Kafka: a window of records at a time is looked up by ids (see [`documents`](super::documents)
//! for why), a few searches ahead of what is judged; what no record explains is looked for by numbers, and named
//! by walking through the ids once.

mod reading;
mod strangers;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Runtime;

use self::reading::Reading;
use super::documents::Mode;
use super::report::Compared;
use super::{Job, Progress};
use crate::config::settings::{ElasticsearchSettings, IdSource, WriteOp};
use crate::error::Error;
use crate::kafka::group::Standing as Position;
use crate::kafka::scan::Told;
use crate::offsets::{Note, OffsetSet, Range, TopicPartition};
use crate::sinks::elasticsearch::encoder::Encoder;
use crate::sinks::elasticsearch::lookup::Lookup;

/// Compares all partitions.
pub(super) fn verify(
    job: &mut Job<'_>,
    settings: &ElasticsearchSettings,
    runtime: &Runtime,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    job.read_letters(progress)?;
    // Whatever date a record has, it was taken when it was new.
    let timeless = ElasticsearchSettings {
        date_window: std::time::Duration::MAX,
        ..settings.clone()
    };
    let mut sink = Sink {
        runtime,
        lookup: Arc::new(Lookup::new(settings)?),
        encoder: Encoder::new(&timeless)?,
        mode: match (settings.id, settings.op) {
            (IdSource::Offset, _) => Some(Mode::Offset),
            (IdSource::Key, WriteOp::Index) => Some(Mode::Key),
            (IdSource::Key, WriteOp::Create) => Some(Mode::KeyOnce),
            (IdSource::None, _) => None,
        },
        indices: BTreeMap::new(),
        meant: BTreeMap::new(),
        found: 0,
    };
    for position in job.positions.clone() {
        let id = position.partition.clone();
        let log = Range::new(position.log_start, position.log_end);
        let mut compared = Compared::new(id, log);
        let done = sink.partition(job, &position, &mut compared, progress);
        compared.error = done.err().map(|error| error.what);
        job.compared.push(compared);
    }
    match sink.mode {
        None => sink.compare_numbers(job),
        Some(mode) => sink.strangers(job, mode, progress),
    }
}

/// What is known of the sink.
struct Sink<'a> {
    runtime: &'a Runtime,
    lookup: Arc<Lookup>,
    encoder: Encoder,
    /// None if Elasticsearch chooses the ids.
    mode: Option<Mode>,
    /// The indices that records go to; with ids that Elasticsearch chooses, how many.
    indices: BTreeMap<Arc<str>, u64>,
    /// Offsets that have, or may have, a document.
    meant: BTreeMap<TopicPartition, OffsetSet>,
    /// Documents that were found.
    found: u64,
}

impl Sink<'_> {
    fn partition(
        &mut self,
        job: &mut Job<'_>,
        position: &Position,
        compared: &mut Compared,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let id = &position.partition;
        let Some(committed) = &position.committed else {
            return Ok(());
        };
        let note = Note::parse(&committed.metadata);
        if let Some(note) = note.filter(|note| note.topic_id != position.topic_id) {
            return Err(Error::corrupt(format!(
                "{id}: the topic was deleted and created again since the group committed (its id was {}, is {}): the \
                 committed offset means nothing",
                note.topic_id, position.topic_id
            )));
        }
        let end = committed.offset;
        let first = job.from.get(id).copied().unwrap_or(0).min(end);
        let judged = Range::new(first, end);
        compared.judged = Some(judged);
        compared.next = end;
        let mut scanner = job.scanner()?;
        let mut reading = Reading::new(self, job, compared, judged);
        let range = Range::new(first.max(position.log_start), end);
        let reached = scanner.read(id, range, &mut |told| match told {
            Told::Record(record) => {
                progress.at(id, record.offset, judged);
                reading.record(&record)
            }
            Told::Gone(_) => Ok(()),
        })?;
        reading.finish()?;
        job.give_back(scanner);
        if reached < end {
            return Err(Error::corrupt(format!(
                "{id}: the group has committed {end}, and Kafka's log ends at {reached}: an open transaction, or Kafka \
                 has lost records; what lies between wasn't judged"
            )));
        }
        Ok(())
    }
}
