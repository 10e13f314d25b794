//! Keeps two processes of this machine from using one instance id: they would fence each other.

use std::path::Path;

use super::client::instance_id;
use super::file_lock::{FileLock, Refused};
use crate::config::settings::KafkaSettings;
use crate::error::Error;

/// Takes the lock of a worker's instance id; none if it has no such id.
pub(super) fn lock(settings: &KafkaSettings, worker: usize) -> Result<Option<FileLock>, Error> {
    let Some(instance) = instance_id(settings, worker) else {
        return Ok(None);
    };
    // A state_dir that is missing may be a volume that isn't mounted: it isn't made.
    let folder = settings.state_dir.clone();
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let path = folder.join(file_name(settings, &instance));
    let refused = |refused| match refused {
        Refused::Failed(why) => cannot(&path, &why),
        Refused::Held(pid) => Error::misconfigured(format!(
            "kafka.group_instance_id {instance:?} of group {} is used by another process of this machine (pid \
             {pid}): stop that, or give each an id of its own; tried again until it is free (the lock is {})",
            settings.group_id,
            path.display()
        )),
    };
    FileLock::take(&path).map(Some).map_err(refused)
}

fn cannot(path: &Path, why: &std::io::Error) -> Error {
    Error::misconfigured(format!(
        "the lock of kafka.group_instance_id can't be taken: {}: {why}; set state_dir to a folder that this \
         process may write",
        path.display()
    ))
}

/// One name for one id in one group of one cluster, however its brokers are listed.
fn file_name(settings: &KafkaSettings, instance: &str) -> String {
    let brokers = settings.bootstrap_servers.split(',').map(str::trim);
    let mut parts: Vec<&str> = brokers.filter(|broker| !broker.is_empty()).collect();
    parts.sort_unstable();
    parts.extend([&*settings.group_id, instance]);
    format!("outflow-instance-{:016x}.lock", digest(&parts.join("\n")))
}

/// FNV-1a: the same in every version of outflow, which the standard library doesn't promise for its hashes.
fn digest(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::settings;
    use super::*;

    fn with_id(dir: &Path, id: &str) -> KafkaSettings {
        let mut settings = settings(&[]);
        settings.state_dir = Some(dir.to_owned());
        settings.group_instance_id = Some(id.to_owned());
        settings
    }

    #[test]
    fn an_instance_id_is_used_once_at_a_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = with_id(dir.path(), "pod-1");
        let held = lock(&settings, 0).expect("free").expect("a lock");
        let refused = lock(&settings, 0).expect_err("held").what;
        for part in ["pod-1", &format!("pid {}", std::process::id()), "group"] {
            assert!(refused.contains(part), "{part} isn't in {refused}");
        }
        let others = [
            lock(&settings, 1).expect("another worker"),
            lock(&with_id(dir.path(), "pod-2"), 0).expect("another id"),
        ];
        assert!(others.iter().all(Option::is_some));
        drop(held);
        assert!(lock(&settings, 0).expect("free again").is_some());
    }

    #[test]
    fn the_order_of_the_brokers_does_not_matter() {
        let mut a = settings(&[]);
        a.bootstrap_servers = "a:1, b:2".into();
        let mut b = settings(&[]);
        b.bootstrap_servers = "b:2,a:1".into();
        assert_eq!(file_name(&a, "x"), file_name(&b, "x"));
        assert_ne!(file_name(&a, "x"), file_name(&a, "y"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_with_the_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("written");
        let error = lock(&with_id(&file, "pod-1"), 0).expect_err("no folder");
        assert!(error.what.contains("state_dir"), "{error}");
        assert!(lock(&settings(&[]), 0).expect("no id").is_none());
    }
}
