//! What sinks of one process must not share: names, groups, folders.

use std::collections::BTreeMap;
use std::path::Path;

use super::Loaded;
use super::problem::{Place, Problem, Problems};
use super::settings::{Settings, SinkSettings};

/// Says what several of them have in common.
pub fn check(loaded: &[Loaded<Settings>], problems: &mut Problems) {
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, &str), &Path> = BTreeMap::new();
    let mut folders: BTreeMap<(String, String), &Path> = BTreeMap::new();
    for Loaded { file, settings, .. } in loaded {
        let place = || Place::WholeFile(file.clone());
        if let Some(other) = names.insert(&settings.name, file) {
            let what = format!(
                "{:?} is the name of {}, too",
                settings.name,
                other.display()
            );
            problems.push(
                Problem::new("name", place(), what).help("give every sink a name of its own"),
            );
        }
        let kafka = &settings.kafka;
        if let Some(other) = groups.insert((&kafka.bootstrap_servers, &kafka.group_id), file) {
            let what = format!(
                "{:?} is the group of {}, too",
                kafka.group_id,
                other.display()
            );
            problems.push(Problem::new("kafka.group_id", place(), what).help(
                "two sinks in one group would each get half of the partitions: give each its own",
            ));
        }
        let SinkSettings::Hdfs(hdfs) = &settings.sink else {
            continue;
        };
        for topic in kafka.subscription.topics() {
            let folder = (format!("{}{}", hdfs.url, hdfs.base), topic.clone());
            if let Some(other) = folders.insert(folder, file) {
                let what = format!(
                    "{} writes topic {topic:?} into the same folder",
                    other.display()
                );
                problems.push(
                    Problem::new("hdfs.base", place(), what)
                        .help("they would fence each other for ever: give each a base of its own"),
                );
            }
        }
    }
}
