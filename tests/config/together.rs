//! What sinks of one process must not share is said at the place where the second one has it.

use std::path::PathBuf;

use outflow::config::load_sinks;

use super::{Machine, said};

/// An HDFS sink's file.
fn hdfs(top: &str, group: &str, base: &str) -> String {
    format!(
        "{top}\n[kafka]\nbootstrap_servers = \"k:9092\"\ntopics = [\"t\"]\n{group}\n\
         [hdfs]\nurl = \"hdfs://nn:8020\"\n{base}\n"
    )
}

fn mistakes(files: &[(&str, String)]) -> Vec<String> {
    let machine = files
        .iter()
        .fold(Machine::default(), |m, (name, text)| m.file(name, text));
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| name.into()).collect();
    said(&load_sinks(&paths, &[], &machine).expect_err("a mistake"))
}

#[test]
fn a_name_a_group_and_a_folder_that_two_sinks_share_are_said_with_their_lines() {
    let both = hdfs("name = \"a\"", "group_id = \"g\"", "base = \"/b\"");
    assert_eq!(
        mistakes(&[("1.toml", both.clone()), ("2.toml", both)]),
        [
            "1:8 name: \"a\" is the name of 1.toml, too | give every sink a name of its own",
            "5:12 kafka.group_id: \"g\" is the group of 1.toml, too | two sinks in one group would each get half of the \
             partitions: give each its own",
            "8:8 hdfs.base: 1.toml writes topic \"t\" into the same folder | they would fence each other for ever: give \
             each a base of its own",
        ]
    );
}

#[test]
fn a_file_that_is_given_twice_is_that_one_mistake() {
    let one = hdfs("name = \"a\"", "", "base = \"/b\"");
    let twice = mistakes(&[("1.toml", one.clone()), ("1.toml", one)]);
    assert_eq!(
        twice,
        ["1.toml --config: the file is given twice | give it once"]
    );
}
