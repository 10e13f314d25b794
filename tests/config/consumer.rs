//! How the consumer joins, reads and commits: every choice, and what is said of a mistake.

use std::time::Duration;

use outflow::config::settings::{
    Assignor, CommitMode, GroupProtocol, KafkaSettings, OffsetReset, Subscription,
};
use outflow::offsets::TopicPartition;

use super::Machine;

/// `lines` from line 4 on, into HDFS.
fn kafka(lines: &str) -> Machine {
    sink(lines, "[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/data\"")
}

fn elasticsearch(lines: &str) -> Machine {
    sink(lines, "[elasticsearch]\nurls = [\"http://127.0.0.1:9200\"]")
}

fn sink(lines: &str, section: &str) -> Machine {
    Machine::with(&format!(
        "name = \"x\"\n[kafka]\nbootstrap_servers = \"k:9092\"\n{lines}\n{section}\n"
    ))
}

fn read(machine: &Machine) -> KafkaSettings {
    machine.settings().kafka
}

const TOPICS: &str = "topics = [\"t\"]";

#[test]
fn topics_are_named_matched_or_assigned() {
    let named = read(&kafka(TOPICS));
    assert!(matches!(named.subscription, Subscription::Topics(t) if t == ["t"]));

    let matched = read(&kafka(
        "topics_pattern = \"m-.*\"\ntopics_exclude = [\"m-test-.*\", \"m-old\"]",
    ));
    let Subscription::Pattern(pattern) = matched.subscription else {
        panic!("{:?}", matched.subscription);
    };
    for (topic, is_meant) in [
        ("m-cpu", true),
        ("m-", true),
        ("m-older", true),
        ("xm-cpu", false),
        ("m-test-cpu", false),
        ("m-old", false),
        ("__consumer_offsets", false),
    ] {
        assert_eq!(pattern.matches(topic), is_meant, "{topic}");
    }

    let assigned = read(&kafka("assign = [\"b:3,0-1\", \"a:7\"]"));
    let expected = [("a", 7), ("b", 0), ("b", 1), ("b", 3)].map(|(t, p)| TopicPartition::new(t, p));
    assert!(matches!(assigned.subscription, Subscription::Assigned(p) if p == expected));
}

#[test]
fn a_pattern_never_means_the_sinks_own_dead_letters() {
    for lines in [
        "topics_pattern = \".*\"\n[rejected]\npolicy = \"dead_letter\"",
        "topics_pattern = \".*\"\n[rejected]\npolicy = \"dead_letter\"\ntopic = \"x.dlq\"",
    ] {
        let Subscription::Pattern(pattern) = read(&kafka(lines)).subscription else {
            panic!("{lines}");
        };
        assert!(!pattern.matches("x.dlq"), "{lines}");
        assert!(pattern.matches("y.dlq"), "{lines}");
    }
}

#[test]
fn an_assignment_from_the_environment_is_cut_at_commas_and_put_together_again() {
    let machine = Machine::with(
        "name = \"x\"\n[kafka]\nbootstrap_servers = \"k:9092\"\n[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\"",
    )
    .variable("OUTFLOW_KAFKA__ASSIGN", "a:0,2-3,b:1");
    let expected = [("a", 0), ("a", 2), ("a", 3), ("b", 1)].map(|(t, p)| TopicPartition::new(t, p));
    assert!(matches!(read(&machine).subscription, Subscription::Assigned(p) if p == expected));
}

#[test]
fn kafkas_choices_have_kafkas_names() {
    let default = read(&kafka(TOPICS));
    assert_eq!(default.group_protocol, GroupProtocol::Classic);
    assert_eq!(default.assignor, Assignor::CooperativeSticky);
    assert_eq!(default.commit_mode, CommitMode::Interval);
    assert_eq!(default.group_instance_id, None);
    assert_eq!(default.max_poll_records, 2_048);

    for (name, expected) in [
        ("range", Assignor::Range),
        ("roundrobin", Assignor::RoundRobin),
        ("cooperative-sticky", Assignor::CooperativeSticky),
    ] {
        let lines = format!("{TOPICS}\npartition_assignment_strategy = \"{name}\"");
        assert_eq!(read(&kafka(&lines)).assignor, expected);
    }
    let consumer = format!("{TOPICS}\ngroup_protocol = \"consumer\"");
    assert_eq!(
        read(&kafka(&consumer)).group_protocol,
        GroupProtocol::Consumer
    );
    for (name, expected) in [
        ("interval", CommitMode::Interval),
        ("batch", CommitMode::Batch),
        ("record", CommitMode::Record),
        ("async", CommitMode::Async),
    ] {
        let lines = format!("{TOPICS}\ncommit_mode = \"{name}\"");
        assert_eq!(read(&elasticsearch(&lines)).commit_mode, expected);
    }
    let record = format!("{TOPICS}\ncommit_mode = \"record\"");
    assert_eq!(read(&elasticsearch(&record)).max_poll_records, 1);
    for (text, expected) in [
        ("earliest", OffsetReset::Earliest),
        ("latest", OffsetReset::Latest),
        ("none", OffsetReset::None),
        (
            "by_duration:24h",
            OffsetReset::ByDuration(Duration::from_secs(86_400)),
        ),
        (
            "by_duration:PT1H30M",
            OffsetReset::ByDuration(Duration::from_secs(5_400)),
        ),
        (
            "by_timestamp:2026-11-01T00:00:00Z",
            OffsetReset::ByTimestamp(1_793_491_200_000),
        ),
    ] {
        let lines = format!("{TOPICS}\nauto_offset_reset = \"{text}\"");
        assert_eq!(read(&kafka(&lines)).auto_offset_reset, expected);
    }
}

#[test]
fn a_static_member_is_named_or_numbered_by_its_pod() {
    let lines = |id: &str| kafka(&format!("{TOPICS}\ngroup_instance_id = \"{id}\""));
    let id = |machine: &Machine| read(machine).group_instance_id;
    assert_eq!(id(&lines("host-a")), Some("host-a".into()));
    let pod = lines("outflow-{ordinal}").variable("POD_NAME", "outflow-es-12");
    assert_eq!(id(&pod), Some("outflow-12".into()));
    let host = lines("{ordinal}").variable("HOSTNAME", "es-0");
    assert_eq!(id(&host), Some("0".into()));
    let file = lines("n-{ordinal}").file("/etc/hostname", "es-7\n");
    assert_eq!(id(&file), Some("n-7".into()));
    let said = lines("n-{ordinal}").variable("HOSTNAME", "web7").said();
    assert_eq!(
        said,
        [
            "5:21 kafka.group_instance_id: {ordinal} can't be filled: the name \"web7\" doesn't end in a number | a StatefulSet's pods have names such as outflow-0, told by POD_NAME, HOSTNAME or /etc/hostname; elsewhere write the whole id"
        ]
    );
}

#[test]
fn every_mistake_of_the_consumer_has_its_message() {
    let cases = [
        (
            kafka("topics = [\"t\"]\nassign = [\"t:0\"]"),
            "5:10 kafka.assign: stands beside kafka.topics | say once what to read: by topics, by topics_pattern, or by assign",
        ),
        (
            kafka("topics = [\"t\"]\ntopics_exclude = [\"u\"]"),
            "5:18 kafka.topics_exclude: isn't used without topics_pattern | leave it out, or choose topics by topics_pattern",
        ),
        (
            kafka("topics_pattern = \"m-(\""),
            "4:18 kafka.topics_pattern: \"m-(\" isn't a regular expression: unclosed group | it must match the whole name of a topic: \"metrics-.*\", \"(cpu|memory)-.*\"",
        ),
        (
            kafka("topics_pattern = \"a)|(?:b\""),
            "4:18 kafka.topics_pattern: \"a)|(?:b\" isn't a regular expression: unopened group | it must match the whole name of a topic: \"metrics-.*\", \"(cpu|memory)-.*\"",
        ),
        (
            kafka("assign = [\"t\"]"),
            "4:10 kafka.assign: \"t\" names no partition | write assign = [\"host-metrics:0,2-5\"]: a topic, and its partitions",
        ),
        (
            kafka("assign = [\"t:5-2\"]"),
            "4:10 kafka.assign: \"5-2\" isn't a partition or a range | write assign = [\"host-metrics:0,2-5\"]: a topic, and its partitions",
        ),
        (
            kafka("assign = [\"t:0-2,1\"]"),
            "4:10 kafka.assign: partition 1 of \"t\" stands there twice | write assign = [\"host-metrics:0,2-5\"]: a topic, and its partitions",
        ),
        (
            elasticsearch("assign = [\"t:0\"]"),
            "4:10 kafka.assign: there is no place for the positions | without a group they are kept in a file: set state_dir = \"/var/lib/outflow\" at the top",
        ),
        (
            kafka("assign = [\"t:0\"]\ngroup_protocol = \"consumer\""),
            "5:18 kafka.group_protocol: isn't used with assign | fixed partitions are read without a group: leave it out, or name topics",
        ),
        (
            kafka(
                "topics = [\"t\"]\ngroup_protocol = \"consumer\"\npartition_assignment_strategy = \"range\"",
            ),
            "6:33 kafka.partition_assignment_strategy: isn't used with group_protocol = \"consumer\" | the brokers assign there: \"group.remote.assignor\" in [kafka.properties] may be uniform or range",
        ),
        (
            kafka(
                "topics = [\"t\"]\ngroup_protocol = \"consumer\"\n[kafka.properties]\n\"session.timeout.ms\" = 6000",
            ),
            "7:1 kafka.properties.\"session.timeout.ms\": isn't used with group_protocol = \"consumer\" | the brokers decide it: group.consumer.session.timeout.ms",
        ),
        (
            kafka("topics = [\"t\"]\ncommit_mode = \"record\""),
            "5:15 kafka.commit_mode: \"record\" can't be had with HDFS | there a record is final when its file is committed, many at a time: the commit log decides; choose \"batch\": the group's offset is then committed after each file",
        ),
        (
            kafka("topics = [\"t\"]\ncommit_mode = \"batch\"\ncommit_interval = \"5s\""),
            "warning 6:19 kafka.commit_interval: 5s isn't used with this commit_mode | leave it out, or set commit_mode = \"interval\"",
        ),
        (
            kafka("topics = [\"t\"]\nauto_offset_reset = \"erliest\""),
            "5:21 kafka.auto_offset_reset: \"erliest\" isn't one of the choices | did you mean \"earliest\"? choose \"earliest\", \"latest\", \"none\", \"by_duration:24h\" or \"by_timestamp:2026-11-01T00:00:00Z\"",
        ),
        (
            kafka("topics = [\"t\"]\nauto_offset_reset = \"by_duration:soon\""),
            "5:21 kafka.auto_offset_reset: \"soon\" isn't a time | choose \"earliest\", \"latest\", \"none\", \"by_duration:24h\" or \"by_timestamp:2026-11-01T00:00:00Z\"",
        ),
        (
            kafka("topics = [\"t\"]\n[kafka.properties]\n\"enable.auto.commit\" = true"),
            "6:1 kafka.properties.\"enable.auto.commit\": this property is outflow's own | an automatic commit would pass records that no sink has acknowledged yet; choose kafka.commit_mode (\"interval\" commits as often, and only what is final)",
        ),
        (
            kafka("topics = [\"t\"]\n[kafka.properties]\n\"group.protocol\" = \"consumer\""),
            "6:1 kafka.properties.\"group.protocol\": this property is outflow's own | set kafka.group_protocol",
        ),
    ];
    for (machine, expected) in cases {
        assert_eq!(machine.said(), [expected]);
    }
}

#[test]
fn fetching_and_queueing_are_cut_down_to_the_memory_that_there_is_and_that_is_said() {
    let properties = "topics = [\"t\"]\n[kafka.properties]\n\"fetch.max.bytes\" = 52428800\n\
                      \"max.partition.fetch.bytes\" = 1000\n\"queued.min.messages\" = 100000\n\
                      \"queued.max.messages.kbytes\" = 100";
    let machine = kafka(properties);
    let large = "records that are larger pass all the same, alone";
    assert_eq!(
        machine.said(),
        [
            format!(
                "warning 6:1 kafka.properties.\"fetch.max.bytes\": is cut down to 262144: a worker's fetched \
                 records may take 32MiB in all, whatever their size and number of partitions | leave it out, \
                 or raise memory; {large}"
            ),
            format!(
                "warning 8:1 kafka.properties.\"queued.min.messages\": is cut down to 19660: more makes nothing \
                 faster, and stays in memory | leave it out; {large}"
            ),
        ]
    );
    assert_eq!(machine.settings().kafka.properties.len(), 4);
    // What is just as much as there may be is left as it is.
    let machine = kafka(
        "topics = [\"t\"]\n[kafka.properties]\n\"fetch.max.bytes\" = 262144\n\
         \"max.partition.fetch.bytes\" = 262145\n\"queued.min.messages\" = 19660",
    );
    let said = machine.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(
            "warning 7:1 kafka.properties.\"max.partition.fetch.bytes\": is cut down to 262144: a"
        ),
        "{said:?}"
    );
}
