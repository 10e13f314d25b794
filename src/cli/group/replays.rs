//! Records that were replayed out of the dead letter topic, and a log that goes back over them.

use super::plan::{LogMove, Plan};
use crate::config::settings::HdfsSettings;
use crate::error::Error;
use crate::sinks::hdfs::replays::Replays;

/// Replayed records stand in files of their own, which a move doesn't take out of the tree: a sink that reads them
/// again, and takes them this time, would write them twice.
pub(in crate::cli) fn refuse_to_double(
    settings: &HdfsSettings,
    plan: &Plan,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), Error> {
    let replays = Replays::new(settings);
    for planned in &plan.0 {
        let goes_back = |log: &&LogMove| {
            let was = log.what.was.as_ref();
            // Another topic's records are others.
            let is_same_topic = was.is_none_or(|was| was.topic_id == log.identity.topic_id);
            is_same_topic && log.what.to < log.what.from
        };
        let Some(log) = planned.log.as_ref().filter(goes_back) else {
            continue;
        };
        let id = &planned.standing.partition;
        let standing = runtime.block_on(replays.standing_from(id, log.what.to))?;
        if let Some(first) = standing.first() {
            return Err(Error::rejected(format!(
                "{id}: {} files, such as {}/{first}, hold dead letters with offsets from {} on that were replayed: read \
                 again, they might stand there twice. Move these files out of the tree, and try again",
                standing.len(),
                settings.base,
                log.what.to
            )));
        }
    }
    Ok(())
}
