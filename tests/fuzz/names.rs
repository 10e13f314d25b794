//! Topics, values, timestamps and templates into paths of HDFS and names of indices; and names read back.
//!
//! Fields: a topic, a template, a timestamp, then names of fields and values in turn.

use jiff::tz::TimeZone;
use outflow::config::settings::{Compression, Partitioning, TimeUnit};
use outflow::sinks::elasticsearch::index_name::Template;
use outflow::sinks::hdfs::log::names::{self, FileName, OwnerFolder, PartitionPath};
use outflow::sinks::hdfs::partitioner::{Naming, Partitioner};

use crate::fields;

pub const WORDS: &[&str] = &[
    "{topic}",
    "{yyyy.MM.dd}",
    "{yyyy-MM-dd-HH}",
    "{yyyy}",
    "{MM}",
    "-",
    "_",
    "+",
    ".",
    "..",
    "%2E",
    "%",
    "~",
    "__HIVE_DEFAULT_PARTITION__",
    "__EMPTY__",
    "_outflow",
    "1795406706000",
    "-1",
    "253402300799999",
    "t+0+00000000000000000001+00000000000000000002.json",
    "t+-1+",
    "1-0123456789abcdef-host-1-1-0a0b0c0d",
    "00000000000000000001.json",
    ".done",
    ".tmp",
];

const NOW: i64 = 1_795_406_706_000;

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    for field in &fields {
        if let Ok(text) = std::str::from_utf8(field) {
            reads_back(text);
        }
    }
    let &[topic, template, stamp, ..] = &fields[..] else {
        return "no fields".to_owned();
    };
    let stamp = std::str::from_utf8(stamp)
        .ok()
        .and_then(|stamp| stamp.trim().parse().ok());
    let topic = std::str::from_utf8(topic)
        .ok()
        .filter(|topic| is_topic(topic));
    let (Some(topic), Ok(template)) = (topic, std::str::from_utf8(template)) else {
        return "no topic".to_owned();
    };
    paths(topic, stamp, &fields[3..]);
    format!("yes {}", index(topic, template, stamp))
}

/// What Kafka takes.
fn is_topic(topic: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !matches!(topic, "" | "." | "..") && topic.len() <= 249 && topic.chars().all(good)
}

fn paths(topic: &str, stamp: Option<i64>, rest: &[&[u8]]) {
    let zone = TimeZone::get("Asia/Kathmandu").expect("a zone");
    let hourly = Partitioning::Time {
        unit: TimeUnit::Hourly,
        zone,
    };
    for partitioning in [Partitioning::Default, hourly] {
        let bucket = Partitioner::new(&partitioning).bucket(stamp);
        let naming = Naming::new(topic, 7, &partitioning, Compression::Gzip(6));
        check_path(topic, &naming.committed_file(bucket, 1, i64::MAX));
    }
    let pairs: Vec<_> = rest
        .chunks(2)
        .map(|pair| (String::from_utf8_lossy(pair[0]), pair.get(1).copied()))
        .collect();
    let of = |pairs: &[(std::borrow::Cow<'_, str>, Option<&[u8]>)]| {
        pairs
            .iter()
            .fold(PartitionPath::new(), |path, (field, value)| {
                path.field(field, *value)
            })
    };
    let path = of(&pairs);
    if path.as_str().len() < 6_000 {
        let name = FileName::new(topic, 0, 1, 2, "json");
        check_path(topic, &names::final_path(topic, &path, &name));
    }
    // Two that differ have different folders.
    for at in 0..pairs.len().min(4) {
        let (mut other, value) = (pairs.clone(), pairs[at].1);
        let longer = [value.unwrap_or_default(), b"x"].concat();
        let escaped = value.and_then(<[u8]>::split_first).map(|(first, rest)| {
            let first = format!("%{first:02X}");
            [first.as_bytes(), rest].concat()
        });
        let others = [
            None,
            Some(&b""[..]),
            Some(b"__EMPTY__"),
            Some(&longer),
            escaped.as_deref(),
        ];
        for with in others.into_iter().chain([rest.first().copied()]) {
            other[at].1 = with;
            let is_same = of(&other) == path;
            assert_eq!(is_same, with == value, "{with:?} and {value:?} in {path:?}");
        }
    }
    let temp = names::temp(
        &String::from_utf8_lossy(rest.first().unwrap_or(&&b"o"[..])),
        1,
    );
    assert!(
        !temp.contains(['/', ':', '\0']) && temp.len() <= 255 && !temp.starts_with('.'),
        "{temp}"
    );
}

/// Plain, below its topic's folder, and seen by readers of the tree.
fn check_path(topic: &str, path: &str) {
    assert!(names::is_final(path), "{path}");
    let parts: Vec<&str> = path.split('/').collect();
    assert_eq!(parts[0], names::topic_segment(topic));
    for part in &parts {
        assert!(
            !matches!(*part, "" | "." | "..") && part.len() <= 255,
            "{path}"
        );
        assert!(
            part.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b":\\*?\"<>|".contains(&byte)),
            "{path}"
        );
    }
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    assert!(
        !first.starts_with(['_', '.']) && !last.starts_with(['_', '.']),
        "{path} isn't seen"
    );
    let name = FileName::parse(last).expect("a name of ours is read back");
    assert_eq!(name.to_string(), *last);
}

/// Whatever is read as a name is one that we'd write.
fn reads_back(text: &str) {
    if let Some(name) = FileName::parse(text) {
        assert_eq!(name.to_string(), text);
        assert!(
            name.partition >= 0 && name.first >= 0 && name.last >= 0,
            "{name:?}"
        );
        assert!(
            !text.contains(['/', ':']) && !name.extension.is_empty(),
            "{name:?}"
        );
    }
    if let Some(folder) = OwnerFolder::parse(text) {
        assert_eq!(folder.to_string(), text);
    }
    if let Some((seq, state)) = names::parse_entry(text) {
        assert_eq!(names::entry(seq, state), text);
    }
}

fn index(topic: &str, template: &str, stamp: Option<i64>) -> String {
    let template = match Template::read(template) {
        Ok(template) => template,
        Err(why) => return why.split('\'').next().unwrap_or("").to_owned(),
    };
    let resolved = match template.resolve(topic, stamp, NOW, 48 * 3_600_000, &[]) {
        Ok(resolved) => resolved,
        Err(why) => return why.reason,
    };
    // Elasticsearch's rules, as its documentation has them; and nothing of the system's, and no date math.
    let name = &resolved.name;
    assert!(!name.is_empty() && name.len() <= 255, "{name}");
    assert_eq!(name.to_lowercase(), *name, "lower case only");
    assert!(
        !name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':']),
        "{name}"
    );
    assert!(!name.starts_with(['-', '_', '+', '.']), "{name}");
    assert!(crate::is_one_line(name), "{name}");
    if let Some(span) = &resolved.holds_for {
        let stamp = stamp.expect("a name with a date has one");
        assert!(span.contains(&stamp) && stamp.abs_diff(NOW) <= 48 * 3_600_000);
    }
    format!(
        "index {}{}",
        template.has_date(),
        template.literal().is_some()
    )
}
