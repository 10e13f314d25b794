//! What sinks of one process must not share: names, groups, folders.

use std::collections::BTreeMap;
use std::path::Path;

use super::Loaded;
use super::problem::{Place, Problem, Problems};
use super::settings::{Settings, SinkSettings};

/// Says what several of them have in common.
pub fn check(loaded: &[Loaded<Settings>], problems: &mut Problems) {
    let mut files: Vec<&Path> = Vec::new();
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, &str), &Path> = BTreeMap::new();
    let mut folders: BTreeMap<(String, String), &Path> = BTreeMap::new();
    for one in loaded {
        let Loaded { file, settings, .. } = one;
        if files.contains(&&**file) {
            let place = Place::WholeFile(file.clone());
            problems.push(
                Problem::new("--config", place, "the file is given twice").help("give it once"),
            );
            continue;
        }
        files.push(file);
        if let Some(other) = names.insert(&settings.name, file) {
            let (name, other) = (&settings.name, other.display());
            let what = format!("{name:?} is the name of {other}, too");
            let help = "give every sink a name of its own";
            problems.push(Problem::new("name", place(one, "", "name"), what).help(help));
        }
        let kafka = &settings.kafka;
        if let Some(other) = groups.insert((&kafka.bootstrap_servers, &kafka.group_id), file) {
            let (group, other) = (&kafka.group_id, other.display());
            let what = format!("{group:?} is the group of {other}, too");
            let place = place(one, "kafka", "group_id");
            problems.push(Problem::new("kafka.group_id", place, what).help(
                "two sinks in one group would each get half of the partitions: give each its own",
            ));
        }
        let SinkSettings::Hdfs(hdfs) = &settings.sink else {
            continue;
        };
        for topic in kafka.subscription.topics() {
            let folder = (format!("{}{}", hdfs.url, hdfs.base), topic.clone());
            if let Some(other) = folders.insert(folder, file) {
                let other = other.display();
                let what = format!("{other} writes topic {topic:?} into the same folder");
                let help = "they would fence each other for ever: give each a base of its own";
                let place = place(one, "hdfs", "base");
                problems.push(Problem::new("hdfs.base", place, what).help(help));
            }
        }
    }
}

/// Where the value was set, or the file for which nobody set it.
fn place(one: &Loaded<Settings>, section: &str, key: &str) -> Place {
    let set = one.effective.place(section, key).cloned();
    set.unwrap_or_else(|| Place::WholeFile(one.file.clone()))
}
