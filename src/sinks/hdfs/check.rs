//! What HDFS itself says about the settings, before anything runs: for `outflow check --connect`.

use super::client::Hdfs;
use super::failure::Failure;
use super::health;
use crate::config::settings::HdfsSettings;
use crate::error::Error;

/// Whether this HDFS can be reached and the base path can be written, renamed and deleted in by this user. Each
/// error says what to do. Leaves nothing behind but the base path and its `_outflow`.
pub async fn check(settings: &HdfsSettings) -> Result<(), Error> {
    let (hdfs, base) = (Hdfs::new(settings), &settings.base);
    let word = |failure: Failure| failure.into_error();
    match hdfs.stat("/").await {
        Ok(_) => {}
        Err(failure) => {
            let Error { kind, what, .. } = failure.into_error();
            let url = &settings.url;
            return Err(Error::new(
                kind,
                format!(
                    "{what}; is hdfs.url = \"{url}\" right, and hdfs.config_dir if it needs one?"
                ),
            ));
        }
    }
    match hdfs.stat(base).await {
        Ok(status) if !status.isdir => {
            return Err(Error::misconfigured(format!(
                "the base path {base} is a file; set hdfs.base to a folder"
            )));
        }
        Ok(_) | Err(Failure::NotFound(_)) => {}
        Err(failure) => return Err(word(failure)),
    }
    let owner = format!("check-{:016x}", rand::random::<u64>());
    health::try_to_write(&hdfs, base, &owner).await?;
    let (from, to) = (
        format!("{base}/_outflow/.probe-{owner}"),
        format!("{base}/.probe-{owner}"),
    );
    // What publishing does: a rename out of our folder, into the base path.
    hdfs.make_dir(&from, false).await.map_err(word)?;
    let renamed = hdfs.rename(&from, &to).await.map_err(word);
    let _ = hdfs.delete(&from, true).await;
    hdfs.delete(&to, true).await.map_err(word)?;
    renamed
}
