//! Configuration: everything that is wrong is said at once, with its place and what to do; layers; secrets.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "config/consumer.rs"]
mod consumer;
#[path = "config/memory.rs"]
mod memory;
#[path = "config/notify.rs"]
mod notify;
#[path = "config/together.rs"]
mod together;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use outflow::config::keys::{FileKind, KEYS, Key};
use outflow::config::kinds::Kind;
use outflow::config::problem::{Place, Problems, Severity};
use outflow::config::settings::{
    AgentSettings, Compression, ElasticsearchAuth, MonitorSettings, Partitioning, Property,
    RejectedPolicy, Settings, SinkSettings, TimeUnit, Tombstones,
};
use outflow::config::surroundings::{SecretFile, Surroundings};
use outflow::config::{Loaded, Outcome, load_agent, load_monitor, load_sinks};
use proptest::prelude::*;

/// A machine with these files and variables, and four cores.
#[derive(Default, Clone)]
struct Machine {
    files: BTreeMap<PathBuf, String>,
    variables: Vec<(String, String)>,
    is_open_to_others: bool,
}

impl Machine {
    fn with(text: &str) -> Machine {
        Machine::default().file("sink.toml", text)
    }

    fn file(mut self, path: &str, text: &str) -> Machine {
        self.files.insert(path.into(), text.into());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Machine {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn load(&self, flags: &[&str]) -> Result<Outcome<Vec<Loaded<Settings>>>, Problems> {
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        load_sinks(&["sink.toml".into()], &flags, self)
    }

    fn settings(&self) -> Settings {
        self.settings_with(&[])
    }

    fn settings_with(&self, flags: &[&str]) -> Settings {
        match self.load(flags) {
            Ok(mut outcome) => outcome.loaded.remove(0).settings,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// What is said, one line a problem: `line:column key: what | help`.
    fn said(&self) -> Vec<String> {
        said(&match self.load(&[]) {
            Ok(outcome) => outcome.warnings,
            Err(problems) => problems,
        })
    }
}

fn said(problems: &Problems) -> Vec<String> {
    let line = |p: &outflow::config::problem::Problem| {
        let place = match &p.place {
            Place::File { line, column, .. } => format!("{line}:{column}"),
            other => other.to_string(),
        };
        let warning = if p.severity == Severity::Warning {
            "warning "
        } else {
            ""
        };
        format!(
            "{warning}{place} {}: {} | {}",
            p.key,
            p.what,
            p.help.join("; ")
        )
    };
    problems.0.iter().map(line).collect()
}

impl Surroundings for Machine {
    fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such file");
        self.files.get(path).cloned().ok_or_else(missing)
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretFile> {
        let text = self.read_file(path)?.trim_end().to_owned();
        Ok(SecretFile {
            text,
            is_open_to_others: self.is_open_to_others,
        })
    }

    fn cores(&self) -> usize {
        4
    }
}

const KAFKA: &str = "name = \"x\"\n[kafka]\nbootstrap_servers = \"k:9092\"\ntopics = [\"t\"]\n";

/// Lines from 5 on.
fn elasticsearch(lines: &str) -> Machine {
    Machine::with(&format!(
        "{KAFKA}[elasticsearch]\nurls = [\"http://127.0.0.1:9200\"]\n{lines}"
    ))
}

fn hdfs(lines: &str) -> Machine {
    Machine::with(&format!(
        "{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/data\"\n{lines}"
    ))
}

#[test]
fn five_mistakes_are_said_at_once_each_at_its_line() {
    let machine = Machine::with(
        r#"name = "metrics"
memory = "64M"

[kafka]
bootstrap_servers = "127.0.0.1:9092"
topics = ["host-metrics"]
comit_interval = "5s"

[kafka.properties]
"enable.auto.commit" = true

[elasticsearch]
urls = ["http://127.0.0.1:9200"]
index = "{topic}-{yyyy.mm.dd}"
password = "hunter2"
"#,
    );
    let problems = machine.load(&[]).expect_err("five mistakes");
    let expected = r#"error: `memory`: "64M" isn't a size
 --> sink.toml:2:10
  |
2 | memory = "64M"
  |          ^^^^^
  = help: write a number and a unit in quotes: "64MiB", "1MB"

error: `kafka.comit_interval`: there is no such key
 --> sink.toml:7:1
  |
7 | comit_interval = …
  | ^^^^^^^^^^^^^^
  = help: did you mean `commit_interval`?

error: `kafka.properties."enable.auto.commit"`: this property is outflow's own
  --> sink.toml:10:1
   |
10 | "enable.auto.commit" = …
   | ^^^^^^^^^^^^^^^^^^^^
   = help: an automatic commit would pass records that no sink has acknowledged yet; choose kafka.commit_mode ("interval" commits as often, and only what is final)

error: `elasticsearch.index`: '{yyyy.mm.dd}' is neither {topic} nor a date such as {yyyy.MM.dd}
  --> sink.toml:14:9
   |
14 | index = "{topic}-{yyyy.mm.dd}"
   |         ^^^^^^^^^^^^^^^^^^^^^^
   = help: write index = "{topic}-{yyyy.MM.dd}": {topic}, and dates of yyyy, MM, dd and HH

error: `elasticsearch.password`: a secret doesn't stand in the configuration
  --> sink.toml:15:1
   |
15 | password = …
   | ^^^^^^^^
   = help: put it in a file and name it by `password_file`, or name an environment variable by `password_env`

error: 5 problems in the configuration; nothing was started
"#;
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn what_is_missing_is_said_once_each() {
    assert_eq!(
        Machine::with("").said(),
        [
            "sink.toml name: is missing | name the sink: it stands in logs and metrics, and in its group's id",
            "sink.toml kafka.bootstrap_servers: is missing | name the brokers to begin with: \"kafka-1:9092,kafka-2:9092\"",
            "sink.toml kafka.topics: is missing | name the topics to read: topics = [\"host-metrics\"]; or topics_pattern, or assign",
            "sink.toml : there is no sink in this file | say where records go: a section [elasticsearch] or [hdfs]",
        ]
    );
    let nowhere = load_sinks(&["nowhere.toml".into()], &[], &Machine::default());
    assert_eq!(
        said(&nowhere.expect_err("no file")),
        [
            "nowhere.toml : the file can't be read: there is no such file | config/ has an example for each sink"
        ]
    );
}

#[test]
fn every_mistake_has_its_message() {
    let cases = [
        (
            Machine::with(
                &format!(
                    "{KAFKA}[elasticsearch]\nurls = [\"http://e:9200\"]\nindex = \"{{topic}}\""
                )
                .replace("\"t\"", "\"_t\""),
            ),
            "7:9 elasticsearch.index: records of \"_t\" have no valid index: '_t' starts with '-', '_', '+' or '.' | begin index with a literal text: index = \"kafka-{topic}\"",
        ),
        (
            elasticsearch("lingr = \"5s\""),
            "7:1 elasticsearch.lingr: there is no such key | did you mean `linger`?",
        ),
        (
            elasticsearch("linger = \"5h\""),
            "7:10 elasticsearch.linger: 5h is out of range | it must be at least 0ms and at most 1m",
        ),
        (
            elasticsearch("linger = 5"),
            "7:10 elasticsearch.linger: 5 isn't a time | write a number and a unit in quotes: \"500ms\", \"30s\", \"10m\", \"1h\", \"7d\"",
        ),
        (
            elasticsearch("max_batch_docs = \"2\""),
            "7:18 elasticsearch.max_batch_docs: text isn't a whole number | write a whole number",
        ),
        (
            elasticsearch("max_batch_docs = 0"),
            "7:18 elasticsearch.max_batch_docs: 0 is out of range | it must be at least 1 and at most 100000",
        ),
        (
            elasticsearch("insecure_skip_verify = \"no\""),
            "7:24 elasticsearch.insecure_skip_verify: text isn't true or false | write true or false",
        ),
        (
            elasticsearch("op = \"creat\""),
            "7:6 elasticsearch.op: \"creat\" isn't one of the choices | did you mean \"create\"? choose \"index\", \"create\"",
        ),
        (
            elasticsearch("topics = [\"t\"]"),
            "7:1 elasticsearch.topics: there is no such key | `topics` belongs into [kafka]",
        ),
        (
            elasticsearch("tombstones = \"delete\""),
            "7:14 elasticsearch.tombstones: a null value can only delete a document whose id is its key | set id = \"key\", or tombstones = \"skip\"",
        ),
        (
            elasticsearch("compression_level = 3"),
            "7:21 elasticsearch.compression_level: isn't used without compression | set compression = \"gzip\", or leave it out",
        ),
        (
            elasticsearch("index = \"Logs\""),
            "7:9 elasticsearch.index: index names are lower-case | write index = \"{topic}-{yyyy.MM.dd}\": {topic}, and dates of yyyy, MM, dd and HH",
        ),
        (
            elasticsearch("index = \".kibana\""),
            "7:9 elasticsearch.index: '.kibana' starts with '-', '_', '+' or '.' | write index = \"{topic}-{yyyy.MM.dd}\": {topic}, and dates of yyyy, MM, dd and HH",
        ),
        (
            elasticsearch("index = \"<a-{now/d}>\""),
            "7:9 elasticsearch.index: '{now/d}' is neither {topic} nor a date such as {yyyy.MM.dd} | write index = \"{topic}-{yyyy.MM.dd}\": {topic}, and dates of yyyy, MM, dd and HH",
        ),
        (
            elasticsearch("allowed_indices = [\"logs-*\"]"),
            "7:19 elasticsearch.allowed_indices: no pattern allows \"t\", where records of \"t\" would go | add \"t\", or change index",
        ),
        (
            elasticsearch("allowed_indices = [\"a b\", \"t\"]"),
            "7:19 elasticsearch.allowed_indices: \"a b\" matches no index: 'a b' has a ' ' | write index names in lower case, with `*` for any run of characters: [\"logs-*\"]",
        ),
        (
            Machine::with(&format!(
                "{KAFKA}[elasticsearch]
urls = [\"https://e:9200\"]
ca_file = \"/ca.pem\""
            )),
            "7:1 elasticsearch.ca_file: the file can't be read: there is no such file | name the CA certificate's PEM file; Elasticsearch writes its own to config/certs/http_ca.crt",
        ),
        (
            elasticsearch("user = \"u\""),
            "7:8 elasticsearch.user: has no password | name a file by password_file, or an environment variable by password_env",
        ),
        (
            elasticsearch("password_env = \"P\"").variable("P", "s"),
            "7:1 elasticsearch.password_env: there is a password, and no user | set user",
        ),
        (
            elasticsearch("user = \"u\"\npassword_env = \"P\""),
            "8:1 elasticsearch.password_env: the variable P isn't set | set it in outflow's environment; the key holds the variable's name, not the secret",
        ),
        (
            elasticsearch("user = \"u\"\npassword_file = \"/p\""),
            "8:1 elasticsearch.password_file: the file \"/p\" can't be read: there is no such file | it must exist, be UTF-8 text, and be readable by the user that outflow runs as",
        ),
        (
            elasticsearch("user = \"u\"\npassword_file = \"/p\"").file("/p", "\n"),
            "8:1 elasticsearch.password_file: the file \"/p\" is empty | put the secret into it",
        ),
        (
            elasticsearch("user = \"u\"\npassword_file = \"/p\"\npassword_env = \"P\""),
            "9:1 elasticsearch.password_env: stands beside elasticsearch.password_file | name one place for a secret, and leave the other out",
        ),
        (
            elasticsearch("user = \"u\"\napi_key_env = \"P\"").variable("P", "s"),
            "8:1 elasticsearch.api_key_env: there are an API key and a user, and only one can be used | keep the API key, and leave user and password out",
        ),
        (
            elasticsearch("max_batch_bytes = \"90MiB\""),
            "sink.toml memory: 256MiB is too little for one worker | give it memory = \"286MiB\", or fewer workers; a worker holds up to three batches: see elasticsearch.max_batch_bytes",
        ),
        (
            elasticsearch("[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\""),
            "7:2 hdfs: a file describes one sink, and this one has [elasticsearch], too | make two files of it; `outflow run --config` takes several",
        ),
        (
            elasticsearch("[elasticsarch]\n"),
            "7:2 elasticsarch: there is no such key | did you mean `elasticsearch`?",
        ),
        (
            elasticsearch("[agent]\ntopic = \"t\""),
            "7:2 agent: belongs into the agent's file | start it with `outflow agent --config`",
        ),
        (
            hdfs("rotate = 5"),
            "8:1 hdfs.rotate: is a section, not a key | begin a section with a line of its own: [hdfs.rotate]",
        ),
        (
            hdfs("compression_level = 3"),
            "8:21 hdfs.compression_level: isn't used without compression | set compression = \"zstd\" or \"gzip\", or leave it out",
        ),
        (
            hdfs("compression = \"gzip\"\ncompression_level = 22"),
            "9:21 hdfs.compression_level: gzip has levels 1 to 9 | choose one of them, or zstd",
        ),
        (
            hdfs("config_dir = \"/etc/hadoop\""),
            "8:14 hdfs.config_dir: there is neither a core-site.xml nor an hdfs-site.xml that can be read | name Hadoop's own configuration directory, often /etc/hadoop/conf",
        ),
        (
            hdfs("tombstones = \"delete\""),
            "8:14 hdfs.tombstones: \"delete\" isn't one of the choices | choose \"skip\", \"reject\"",
        ),
        (
            hdfs("max_open_files = 6\n[log]\nformat = \"json\"\n[hdfs.rotate]\nidle = \"1x\""),
            "12:8 hdfs.rotate.idle: \"1x\" isn't a time | write a number and a unit in quotes: \"500ms\", \"30s\", \"10m\", \"1h\", \"7d\"; or \"off\"",
        ),
        (
            hdfs("[hdfs.partition]\nzone = \"UTC\""),
            "9:8 hdfs.partition.zone: isn't used while hdfs.partition.by is \"partition\" | set by = \"hourly\" or \"daily\", or leave the zone out",
        ),
        (
            hdfs("[hdfs.partition]\nby = \"daily\"\nzone = \"Berlin\""),
            "10:8 hdfs.partition.zone: \"Berlin\" isn't a time zone | did you mean `Europe/Berlin`?",
        ),
        (
            hdfs("[admin]\nlisten = \"9600\""),
            "9:10 admin.listen: \"9600\" isn't an address and a port | write \"127.0.0.1:9600\", \"0.0.0.0:9600\" or \"[::1]:9600\"; or \"off\"",
        ),
        (
            hdfs("[admin]\nlisten = \"0.0.0.0:9600\""),
            "9:10 admin.listen: 0.0.0.0:9600 can be reached from outside, and there is no token | name a file with a token by admin.token_file; or say admin.allow_unauthenticated = true, where the network is trusted (actions then still need a token)",
        ),
        (
            hdfs("[log]\nfilter = \"outflow=loud\""),
            "9:10 log.filter: isn't a filter | write \"info\", \"debug\", or \"info,outflow=debug\"",
        ),
        (
            hdfs("[rejected]\npolicy = \"skip\"\ntopic = \"d\""),
            "10:9 rejected.topic: isn't used while rejected.policy is \"skip\" | set policy = \"dead_letter\", or leave the topic out",
        ),
        (
            hdfs("[rejected]\npolicy = \"dead_letter\"\ntopic = \"t\""),
            "10:9 rejected.topic: this topic is one of kafka.topics: its dead letters would come round for ever | choose a topic that this sink doesn't read",
        ),
        (
            hdfs("[kafka.properties]\n\"securty.protocol\" = \"ssl\""),
            "9:1 kafka.properties.\"securty.protocol\": librdkafka has no such property | did you mean `security.protocol`?",
        ),
        (
            hdfs("[kafka.properties]\n\"fetch.wait.max.ms\" = \"soon\""),
            "9:1 kafka.properties.\"fetch.wait.max.ms\": librdkafka refuses this value | librdkafka's CONFIGURATION.md says what it may be",
        ),
        (
            hdfs("[kafka.properties]\n\"sasl.password\" = \"x\""),
            "9:1 kafka.properties.\"sasl.password\": a secret doesn't stand in the configuration | in [kafka.secret_properties]: \"sasl.password\" = { file = \"/run/secrets/x\" }, or { env = \"X\" }",
        ),
        (
            hdfs("[kafka.properties]\n\"sasl.jaas.config\" = \"x\""),
            "9:1 kafka.properties.\"sasl.jaas.config\": this is a property of the Java client | librdkafka has sasl.username, and sasl.password in [kafka.secret_properties]",
        ),
        (
            hdfs("[kafka.properties]\n\"security.protocol\" = \"sasl_ssl\""),
            "9:1 kafka.properties.\"security.protocol\": SASL needs a mechanism | add \"sasl.mechanism\" = \"SCRAM-SHA-512\", or the one that your brokers have",
        ),
        (
            hdfs("[kafka.secret_properties]\n\"sasl.password\" = \"x\""),
            "9:1 kafka.secret_properties.sasl.password: a secret doesn't stand in the configuration | write where the secret is: { file = \"/run/secrets/x\" } or { env = \"X\" }",
        ),
        (
            Machine::with(
                "name = \"a b\"\n[kafka]\nbootstrap_servers = \"k:1\"\ntopics = [\"t\"]\n[hdfs]\nurl = \"hdfs://n:1\"\nbase = \"/b\"",
            ),
            "1:8 name: \"a b\" isn't fit to be a name | letters, digits, `.`, `_` and `-`, at most 100 of them",
        ),
        (
            Machine::with("name = \"a\"\n[kafka\n"),
            "2:7 : not TOML: unclosed table, expected `]` | ",
        ),
        (
            Machine::with("name = \"a\"\nname = \"b\"\n"),
            "2:1 : not TOML: duplicate key | it stands further up in this file, too: keep one of them; a second sink has a file of its own",
        ),
        (
            Machine::with(&format!(
                "{KAFKA}[elasticsearch]\nurls = [\"10.0.0.1:9200\"]\n"
            )),
            "6:1 elasticsearch.urls: the URL begins neither with http:// nor with https:// | write urls = [\"https://es-1:9200\", \"https://es-2:9200\"]",
        ),
    ];
    let wrong = cases.into_iter().filter_map(|(machine, expected)| {
        let said = machine.said();
        (said != [expected]).then(|| {
            format!(
                "{said:#?}
expected {expected:?}"
            )
        })
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "{}",
        wrong.join(
            "

"
        )
    );
}

#[test]
fn brokers_topics_urls_and_paths_are_looked_at() {
    let with = |line: &str| {
        let text = match line.split_once(" = ").expect("a line").0 {
            "bootstrap_servers" => KAFKA.replace("bootstrap_servers = \"k:9092\"", line),
            _ => KAFKA.replace("topics = [\"t\"]", line),
        };
        Machine::with(&format!(
            "{text}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\""
        ))
        .said()
    };
    for (line, what) in [
        ("bootstrap_servers = \"k\"", "\"k\" isn't a host and a port"),
        (
            "bootstrap_servers = \"k:0\"",
            "\"k:0\" isn't a host and a port",
        ),
        (
            "bootstrap_servers = \"kafka://k:9092\"",
            "a broker is a host and a port, not a URL",
        ),
        ("topics = []", "is empty"),
        ("topics = [\"a/b\"]", "\"a/b\" isn't a topic's name"),
        ("topics = [\"^a.*\"]", "\"^a.*\" isn't a topic's name"),
        ("topics = [\"..\"]", "\"..\" isn't a topic's name"),
        ("topics = [\"t\", \"t\"]", "\"t\" stands there twice"),
    ] {
        let said = with(line);
        assert!(
            said.len() == 1 && said[0].contains(what),
            "{line}: {said:?}"
        );
    }
    for (url, what) in [
        ("hdfs://u:p@nn:8020", "has a user or a password in it"),
        ("http://nn:9870", "doesn't begin with hdfs:// and a host"),
        ("hdfs://nn:8020/data", "has a path in it"),
    ] {
        let said = Machine::with(&format!("{KAFKA}[hdfs]\nurl = \"{url}\"\nbase = \"/b\"")).said();
        assert!(said.len() == 1 && said[0].contains(what), "{url}: {said:?}");
    }
    for base in [
        "data",
        "/",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a:b",
        "/_a",
        "/a/.b",
        "/a\\u0000b",
    ] {
        let text = format!("{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"{base}\"");
        let said = Machine::with(&text).said();
        assert!(
            said.len() == 1 && said[0].starts_with("7:8 hdfs.base: "),
            "{base}: {said:?}"
        );
    }
    for url in [
        "ftp://es",
        "http://u:p@es:9200",
        "https://u@es",
        "http://es/?a=b",
        "es:9200",
        "::",
    ] {
        let said = Machine::with(&format!("{KAFKA}[elasticsearch]\nurls = [\"{url}\"]")).said();
        assert!(
            said.len() == 1 && said[0].starts_with("6:1 elasticsearch.urls: the URL "),
            "{url}: {said:?}"
        );
        assert!(!said[0].contains("u:p"), "{said:?}");
    }
}

#[test]
fn what_may_go_wrong_later_is_warned_about() {
    let remote = Machine::with(&format!(
        "{KAFKA}[elasticsearch]\nurls = [\"http://es:9200\"]\nuser = \"u\"\npassword_file = \"/p\"\nid = \"none\"\n\
         insecure_skip_verify = true\n"
    ));
    let mut remote = remote.file("/p", "secret\n");
    remote.is_open_to_others = true;
    assert_eq!(
        remote.said(),
        [
            "warning 6:1 elasticsearch.urls: credentials cross the network in the clear | use https://",
            "warning 8:1 elasticsearch.password_file: the file \"/p\" can be read by other users | take their right away: chmod 600",
            "warning 9:6 elasticsearch.id: a record that is sent again makes a second document | set id = \"offset\" for effectively once",
            "warning 10:24 elasticsearch.insecure_skip_verify: anybody on the way may pretend to be Elasticsearch | name the CA by ca_file instead",
        ]
    );
}

#[test]
fn drain_and_memory_are_judged_together_with_what_they_depend_on() {
    let slow = format!(
        "shutdown_timeout = \"10s\"\n{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\""
    );
    assert_eq!(
        Machine::with(&slow).said(),
        [
            "3:2 kafka.drain_timeout: 20s is not less than shutdown_timeout (10s) | draining is part of shutting down: \
          give shutdown_timeout some seconds more"
        ]
    );
    let small = format!(
        "memory = \"40MiB\"\nworkers = 2\n{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\""
    );
    assert_eq!(
        Machine::with(&small).said(),
        [
            "2:11 workers: 2 workers need more memory than 40MiB | give it memory = \"160MiB\", or fewer workers; every \
          open HDFS file takes up to 14MiB: see hdfs.max_open_files"
        ]
    );
}

/// Where it says what memory is needed, that is enough, and a MiB less isn't.
#[test]
fn fewer_open_files_than_wanted_are_said_with_the_memory_that_all_would_take() {
    let with = |memory: &str, hdfs: &str| {
        Machine::with(&format!(
            "memory = \"{memory}\"\n{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\"\n{hdfs}"
        ))
    };
    assert_eq!(
        with("70MiB", "").said(),
        [
            "warning 1:10 memory: 70MiB is enough for 3 of 4 open files, which take up to 14MiB each: with more than 3 \
             partitions a worker, these take turns | give it memory = \"80MiB\" for all of them, or say \
             hdfs.max_open_files = 3"
        ]
    );
    let zstd = "compression = \"zstd\"\ncompression_level = 19\nmax_open_files = 2";
    for (enough, short, hdfs) in [
        ("80MiB", "79MiB", ""),
        ("91MiB", "90MiB", "compression = \"zstd\""),
        (
            "70MiB",
            "69MiB",
            "compression = \"zstd\"\nmax_open_files = 3",
        ),
        ("296MiB", "295MiB", zstd),
    ] {
        assert_eq!(with(enough, hdfs).said(), [""; 0], "{hdfs}");
        let said = with(short, hdfs).said();
        let wanted = format!("give it memory = \"{enough}\" for all of them");
        assert!(said.len() == 1 && said[0].contains(&wanted), "{said:?}");
    }
    // Without `memory` in the file it is the other key; workers share.
    let many = hdfs("max_open_files = 6").variable("OUTFLOW_WORKERS", "3");
    let said = many.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(
            "hdfs.max_open_files: 256MiB is enough for 4 of 6 open files for each of 3 workers"
        ) && said[0].contains("memory = \"352MiB\""),
        "{said:?}"
    );
}

#[test]
fn later_layers_win_and_every_value_knows_where_it_came_from() {
    let machine = hdfs("[kafka.properties]\nfetch.wait.max.ms = 100\n")
        .variable("OUTFLOW_KAFKA__TOPICS", "a, b")
        .variable("OUTFLOW_KAFKA__COMMIT_INTERVAL", "2s")
        .variable("OUTFLOW_HDFS__MAX_OPEN_FILES", "2")
        .variable("OUTFLOW_KAFKA__PROPERTIES__CLIENT_RACK", "r1")
        .variable("OUTFLOW_ELASTICSEARCH__LINGER", "1s");
    let flags = [
        "kafka.commit_interval=3s".to_owned(),
        "kafka.properties.client.id=me".to_owned(),
    ];
    let mut outcome = load_sinks(&["sink.toml".into()], &flags, &machine).expect("valid");
    let Loaded {
        settings,
        effective,
        ..
    } = outcome.loaded.remove(0);
    assert_eq!(settings.kafka.subscription.topics(), ["a", "b"]);
    assert_eq!(settings.kafka.commit_interval.as_secs(), 3);
    let SinkSettings::Hdfs(hdfs) = &settings.sink else {
        panic!("HDFS")
    };
    assert_eq!(hdfs.max_open_files, 2);
    let properties: Vec<_> = settings
        .kafka
        .properties
        .iter()
        .map(|(k, v)| format!("{k} {v:?}"))
        .collect();
    assert_eq!(
        properties,
        [
            "client.id Plain(\"me\")",
            "client.rack Plain(\"r1\")",
            "fetch.wait.max.ms Plain(\"100\")"
        ]
    );
    let shown = effective.to_string();
    let line = |start: &str| {
        let found = shown
            .lines()
            .find(|l| l.starts_with(start))
            .unwrap_or_default();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("topics"),
        "topics = [\"a\", \"b\"] # OUTFLOW_KAFKA__TOPICS"
    );
    assert_eq!(
        line("commit_interval"),
        "commit_interval = \"3s\" # --set kafka.commit_interval"
    );
    assert_eq!(line("base"), "base = \"/data\" # sink.toml:7");
    assert_eq!(
        line("group_id"),
        "group_id = \"outflow-x\" # default, from other keys"
    );
    assert_eq!(
        line("\"client.rack\""),
        "\"client.rack\" = \"r1\" # OUTFLOW_KAFKA__PROPERTIES__CLIENT_RACK"
    );
}

#[test]
fn variables_and_flags_that_are_wrong_are_said_by_name() {
    let machine = hdfs("")
        .variable("OUTFLOW_KAFKA__TOPCIS", "t")
        .variable("OUTFLOW_KAFKA__COMMIT_INTERVAL", "5")
        .variable("OUTFLOW_HDFS__PASSWORD", "hunter2")
        .variable("OUTFLOW_KAFKA_TOPICS", "t")
        .variable("OUTFLOW_SERVICE_HOST", "10.0.0.1")
        .variable("OUTFLOW_PORT_9600_TCP", "tcp://10.0.0.1:9600");
    let problems = machine
        .load(&["workers", "kafka.retries=3", "workers=many"])
        .expect_err("wrong");
    let mut lines = said(&problems);
    lines.sort();
    assert_eq!(
        lines,
        [
            "--set kafka.retries kafka.retries: there is no such key | librdkafka's own properties stand in [kafka.properties], under their own names",
            "--set workers : there is no `=` in it | write --set section.key=value",
            "--set workers workers: text isn't a whole number | write a whole number, or \"auto\"",
            "environment variable OUTFLOW_HDFS__PASSWORD hdfs.password: a secret doesn't stand in the configuration | config/reference.toml has the keys that name where a secret is; `__` stands between a section and its key",
            "environment variable OUTFLOW_KAFKA__COMMIT_INTERVAL kafka.commit_interval: \"5\" isn't a time | write a number and a unit in quotes: \"500ms\", \"30s\", \"10m\", \"1h\", \"7d\"",
            "environment variable OUTFLOW_KAFKA__TOPCIS kafka.topcis: there is no such key | did you mean `topics`?; `__` stands between a section and its key",
            "warning environment variable OUTFLOW_KAFKA_TOPICS : this variable isn't a key's and is ignored | did you mean OUTFLOW_KAFKA__TOPICS?",
        ]
    );
    let unused = hdfs("")
        .load(&["elasticsearch.linger=1s"])
        .expect_err("no use");
    assert_eq!(
        said(&unused),
        [
            "--set elasticsearch.linger elasticsearch.linger: no file has a use for this key | it is for files with [elasticsearch]"
        ]
    );
}

#[test]
fn sinks_of_one_process_share_nothing() {
    let text = format!("{KAFKA}[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\"");
    let machine = Machine::with(&text).file("other.toml", &text);
    let files = ["sink.toml".into(), "other.toml".into()];
    let problems = load_sinks(&files, &[], &machine).expect_err("the same");
    let keys: Vec<_> = problems.0.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["name", "kafka.group_id", "hdfs.base"]);
    let two = "name = \"y\"\n[kafka]\nbootstrap_servers = \"k:9092\"\ntopics = [\"u\"]\n[hdfs]\nurl = \"hdfs://nn:8020\"\nbase = \"/b\"";
    assert!(load_sinks(&files, &[], &Machine::with(&text).file("other.toml", two)).is_ok());
}

#[test]
fn defaults_that_follow_from_other_keys() {
    let SinkSettings::Elasticsearch(plain) = elasticsearch("").settings().sink else {
        panic!("Elasticsearch")
    };
    assert_eq!(
        (plain.tombstones, plain.allowed_indices),
        (Tombstones::Skip, vec!["t".to_owned()])
    );
    let keyed = elasticsearch("id = \"key\"\nindex = \"logs-{topic}-{yyyy.MM}\"").settings();
    let SinkSettings::Elasticsearch(keyed) = keyed.sink else {
        panic!("Elasticsearch")
    };
    assert_eq!(
        (keyed.tombstones, keyed.allowed_indices),
        (Tombstones::Delete, vec!["logs-t-*".to_owned()])
    );
    let letters = hdfs("compression = \"zstd\"\n[rejected]\npolicy = \"dead_letter\"").settings();
    assert_eq!(
        letters.rejected,
        RejectedPolicy::DeadLetter {
            topic: "x.dlq".into()
        }
    );
    assert_eq!(
        (letters.workers, &*letters.kafka.group_id),
        (2, "outflow-x")
    );
    let SinkSettings::Hdfs(letters) = letters.sink else {
        panic!("HDFS")
    };
    assert_eq!(letters.compression, Compression::Zstd(3));
    let tight = hdfs("").settings_with(&["memory=80MiB"]);
    assert_eq!(
        tight.workers, 1,
        "auto takes no more workers than the memory carries"
    );
}

/// A canary in every place where a secret may stand, rightly or wrongly: none comes out anywhere.
#[test]
fn secrets_never_come_out() {
    const CANARY: &str = "c4n4ry";
    let secret = format!("{CANARY}-secret");
    let right = Machine::with(&format!(
        "{KAFKA}[elasticsearch]\nurls = [\"https://es:9200\"]\nuser = \"u\"\npassword_env = \"ES\"\n\
         [admin]\ntoken_file = \"/token\"\n[kafka.properties]\n\"security.protocol\" = \"sasl_ssl\"\n\
         \"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"me\"\n\
         [kafka.secret_properties]\n\"sasl.password\" = {{ file = \"/kafka\" }}\n\"ssl.key.password\" = {{ env = \"KEY\" }}\n"
    ))
    .file("/token", &secret)
    .file("/kafka", &secret)
    .variable("ES", &secret)
    .variable("KEY", &secret);
    let mut right = right;
    right.is_open_to_others = true;
    let outcome = right.load(&[]).expect("valid");
    let settings = &outcome.loaded[0].settings;
    let SinkSettings::Elasticsearch(elasticsearch) = &settings.sink else {
        panic!("Elasticsearch")
    };
    assert!(matches!(
        elasticsearch.auth,
        ElasticsearchAuth::Basic { .. }
    ));
    assert!(matches!(
        settings.kafka.properties["sasl.password"],
        Property::Secret(_)
    ));
    let shown = format!(
        "{settings:?}{settings:#?}{}{}",
        outcome.warnings, outcome.loaded[0].effective
    );
    assert!(!shown.contains(CANARY), "{shown}");
    assert_eq!(
        outcome.warnings.0.len(),
        2,
        "two files that others can read: {}",
        outcome.warnings
    );

    let wrong = Machine::with(&format!(
        "name = \"x\"\npassword = \"{secret}\"\n[kafka]\nbootstrap_servers = \"u:{secret}@k\"\ntopics = [\"t\"]\n\
         sasl_password = \"{secret}\"\n[kafka.properties]\n\"sasl.password\" = \"{secret}\"\n\
         \"sasl.jaas.config\" = \"{secret}\"\n\"ssl.key.pem\" = \"{secret}\"\n\"fetch.wait.max.ms\" = \"{secret}\"\n\
         [kafka.secret_properties]\n\"sasl.username\" = \"{secret}\"\n\"ssl.key.password\" = {{ file = \"{secret}\" }}\n\
         \"ssl.keystore.password\" = {{ env = \"{secret}\" }}\n\"socket.timeout.ms\" = {{ env = \"S\" }}\n\
         [elasticsearch]\nurls = [\"http://u:{secret}@es\", \"{secret}\"]\napi_key = \"{secret}\"\n\
         password_file = \"{secret}\"\napi_key_env = \"{secret}\"\n[admin]\ntoken = \"{secret}\"\n"
    ))
    .variable("S", &secret)
    .variable("OUTFLOW_ELASTICSEARCH__PASSWORD", &secret)
    .variable("OUTFLOW_ELASTICSEARCH__PASSWORD_ENV", &secret);
    let problems = wrong
        .load(&[&format!("elasticsearch.password={secret}")])
        .expect_err("wrong");
    assert!(problems.0.len() > 15, "{problems}");
    assert!(
        !format!("{problems}{problems:?}").contains(CANARY),
        "{problems}"
    );
    let broken = Machine::with(&format!("password = {secret} \"{secret}"))
        .load(&[])
        .expect_err("not TOML");
    assert!(!format!("{broken}{broken:?}").contains(CANARY), "{broken}");
}

/// Found by fuzzing: a line that isn't TOML was shown up to its first `=`, and base64 ends with one.
#[test]
fn a_secret_on_a_line_of_its_own_is_not_shown() {
    for line in ["YzRuNHJ5==", "https://u:YzRuNHJ5@es:9200?a=1"] {
        let text = format!("{KAFKA}[elasticsearch]\npassword =\n{line}\n");
        let problems = Machine::with(&text).load(&[]).expect_err("not TOML");
        assert!(
            !format!("{problems}{problems:?}").contains("YzRuNHJ5"),
            "{problems}"
        );
        let lines = said(&problems);
        assert!(lines.iter().any(|line| line.starts_with("6:")), "{lines:?}");
    }
    let known = Machine::with("workers = = 3\n").load(&[]).expect_err("not");
    assert!(known.to_string().contains("1 | workers = …"), "{known}");
}

#[test]
fn control_characters_of_a_file_dont_reach_the_terminal() {
    let text = "name = \"\\u001b[2J\"\n\"\\u001b]0;x\\u0007\" = 1\n";
    let problems = Machine::with(text)
        .load(&[])
        .expect_err("wrong")
        .to_string();
    assert!(
        !problems.contains('\u{1b}') && !problems.contains('\u{7}'),
        "{problems:?}"
    );
    let flag = Machine::with(KAFKA).load(&["kafka\u{1b}.x=1"]);
    let problems = flag.expect_err("wrong").to_string();
    assert!(!problems.contains('\u{1b}'), "{problems:?}");
}

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn agent_of(text: &str) -> AgentSettings {
    match load_agent(
        "agent.toml".as_ref(),
        &[],
        &Machine::default().file("agent.toml", text),
    ) {
        Ok(outcome) => outcome.loaded.settings,
        Err(problems) => panic!("{problems}"),
    }
}

fn monitor_of(text: &str) -> MonitorSettings {
    let machine = Machine::default().file("monitor.toml", text);
    match load_monitor("monitor.toml".as_ref(), &[], &machine) {
        Ok(outcome) => outcome.loaded.settings,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn the_examples_load_and_can_run_beside_each_other() {
    let machine = Machine::default()
        .file("es.toml", &repository("config/elasticsearch.toml"))
        .file("hdfs.toml", &repository("config/hdfs.toml"));
    let outcome =
        load_sinks(&["es.toml".into(), "hdfs.toml".into()], &[], &machine).expect("valid");
    assert_eq!(outcome.warnings, Problems::default());
    let [es, hdfs] = &outcome.loaded[..] else {
        panic!("two sinks")
    };
    assert_ne!(es.settings.admin.listen, hdfs.settings.admin.listen);
    let SinkSettings::Hdfs(hdfs) = &hdfs.settings.sink else {
        panic!("HDFS")
    };
    assert!(matches!(
        hdfs.partitioning,
        Partitioning::Time {
            unit: TimeUnit::Hourly,
            ..
        }
    ));
    let agent = agent_of(&repository("config/agent.toml"));
    assert_eq!([agent.topic], es.settings.kafka.subscription.topics()[..]);
    let monitor = monitor_of(&repository("config/monitor.toml"));
    let groups = &monitor.clusters[0].keep.groups;
    assert!(groups.has("payments") && !groups.has("console-consumer-12"));
}

/// The reference by sections, in their order.
fn sections(reference: &str) -> Vec<(String, Vec<&str>)> {
    let mut sections = vec![(String::new(), Vec::new())];
    for line in reference.lines() {
        match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            Some(name) => {
                let name = name.trim_matches(['[', ']']);
                sections.push((name.to_owned(), Vec::new()));
            }
            None => sections.last_mut().expect("one").1.push(line),
        }
    }
    sections
}

fn holds_entries(key: &Key) -> bool {
    matches!(key.kind, Kind::Properties | Kind::SecretProperties)
}

#[test]
fn the_reference_has_every_key_with_its_default() {
    let reference = repository("config/reference.toml");
    let sections = sections(&reference);
    for key in KEYS {
        if holds_entries(key) {
            assert!(
                sections.iter().any(|(name, _)| name == key.path),
                "[{}] is missing",
                key.path
            );
            continue;
        }
        let (_, lines) = sections
            .iter()
            .find(|(name, _)| name == key.section())
            .expect("a section");
        let active = lines
            .iter()
            .find_map(|l| l.strip_prefix(&format!("{} = ", key.name())));
        match key.default {
            Some(default) => {
                let written = active.unwrap_or_else(|| panic!("{} isn't set", key.path));
                let value = figment::value::Value::from(written.trim_matches('"'));
                let default = figment::value::Value::from(default);
                assert_eq!(
                    key.kind.parse(&value, true),
                    key.kind.parse(&default, true),
                    "{}",
                    key.path
                );
            }
            None => {
                assert_eq!(active, None, "{} has no default", key.path);
                let comment = format!("# {} = ", key.name());
                assert!(
                    lines.iter().any(|l| l.starts_with(&comment)),
                    "{} is missing",
                    key.path
                );
            }
        }
    }
}

/// What the reference says is what happens without it.
#[test]
fn the_reference_equals_the_defaults() {
    let required = ["name", "bootstrap_servers", "topics", "urls", "url", "base"];
    let reference = repository("config/reference.toml");
    let part = |wanted: &[&str], kind: FileKind| {
        let mut text = String::new();
        for (name, lines) in sections(&reference) {
            let root = name.split('.').next().unwrap_or_default();
            if !name.is_empty() && !wanted.contains(&root) {
                continue;
            }
            match name.as_str() {
                "" => {}
                "cluster" | "notify" => text += &format!("[[{name}]]\n"),
                name => text += &format!("[{name}]\n"),
            }
            for line in lines {
                let bare = line.strip_prefix("# ").unwrap_or(line);
                let key = bare.split(" = ").next().unwrap_or_default();
                let is_required = line.starts_with("# ")
                    && (required.contains(&key)
                        || (name == "agent" && key == "topic")
                        || (name == "cluster" && key == "name")
                        || (name == "notify" && key == "kind"));
                let full = if name.is_empty() {
                    key.to_owned()
                } else {
                    format!("{name}.{key}")
                };
                let known = KEYS.iter().find(|k| k.path == full);
                if is_required && known.is_some_and(|k| kind.has(k)) {
                    text += &format!("{bare}\n");
                } else if !line.starts_with('#') && known.is_none_or(|k| kind.has(k)) {
                    text += &format!("{line}\n");
                }
            }
        }
        text
    };
    let common = "name = \"elasticsearch\"\n[kafka]\nbootstrap_servers = \"kafka-1:9092,kafka-2:9092\"\ntopics = [\"host-metrics\"]\n";
    for (sink, minimal) in [
        (
            "elasticsearch",
            "[elasticsearch]\nurls = [\"https://es-1:9200\", \"https://es-2:9200\"]\n",
        ),
        (
            "hdfs",
            "[hdfs]\nurl = \"hdfs://namenode:8020\"\nbase = \"/data/outflow\"\n",
        ),
    ] {
        let text = part(
            &["kafka", "rejected", "lag", "admin", "log", sink],
            FileKind::Sink,
        );
        let reference = Machine::with(&text).settings();
        let minimal = Machine::with(&format!("{common}{minimal}")).settings();
        assert_eq!(format!("{reference:#?}"), format!("{minimal:#?}"));
    }
    let minimal = "[[cluster]]\nname = \"local\"\nbootstrap_servers = \"kafka-1:9092\"\n\
        [[notify]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"https://alerts.example.com/hook\"\n";
    let wanted = ["admin", "log", "cluster", "notify"];
    let reference = monitor_of(&part(&wanted, FileKind::Monitor));
    let minimal = monitor_of(minimal);
    assert_eq!(format!("{reference:#?}"), format!("{minimal:#?}"));
    let minimal = "[kafka]\nbootstrap_servers = \"kafka-1:9092,kafka-2:9092\"\n[agent]\ntopic = \"host-metrics\"\n";
    let reference = agent_of(&part(&["kafka", "log", "agent"], FileKind::Agent));
    assert_eq!(
        format!("{reference:#?}"),
        format!("{:#?}", agent_of(minimal))
    );
}

#[test]
fn an_agents_file_is_judged_like_a_sinks() {
    let text = "memory = \"1GiB\"\n[kafka]\nbootstrap_servers = \"k:9092\"\n[agent]\ntopc = \"t\"\n[hdfs]\nbase = \"/b\"\n";
    let machine = Machine::default().file("agent.toml", text);
    let problems = load_agent("agent.toml".as_ref(), &[], &machine).expect_err("wrong");
    assert_eq!(
        said(&problems),
        [
            "1:1 memory: the agent has no such key | leave it out",
            "4:2 agent.topic: is missing | name the topic that figures go to",
            "5:1 agent.topc: there is no such key | did you mean `topic`?",
            "6:2 hdfs: belongs into a sink's file | start it with `outflow run --config`",
        ]
    );
}

/// Clusters stand one after another, each with its own keys; flags and variables reach all.
#[test]
fn a_monitors_clusters_have_their_own_keys_and_share_flags_and_variables() {
    let text = "[[cluster]]\nname = \"a\"\nbootstrap_servers = \"k:9092\"\nintervals = 20\n\
        [cluster.properties]\n\"client.dns.lookup\" = \"use_all_dns_ips\"\n[cluster.mends]\ntrend = false\n\
        [[cluster]]\nname = \"b\"\nbootstrap_servers = \"l:9092\"\nminimum_complete = 50\n";
    let machine = Machine::default()
        .file("monitor.toml", text)
        .variable("OUTFLOW_CLUSTER__ALLOWED_LAG", "7");
    let flags = ["cluster.offset_refresh=1s".to_owned()];
    let outcome = load_monitor("monitor.toml".as_ref(), &flags, &machine).expect("valid");
    let [a, b] = &outcome.loaded.settings.clusters[..] else {
        panic!("two clusters")
    };
    assert_eq!((a.keep.intervals, b.keep.intervals), (20, 10));
    assert_eq!((a.properties.len(), b.properties.len()), (1, 0));
    assert_eq!((a.rules.mends.trend, b.rules.mends.trend), (false, true));
    assert_eq!(
        (a.rules.minimum_complete, b.rules.minimum_complete),
        (0.0, 0.5)
    );
    for cluster in [a, b] {
        assert_eq!(cluster.rules.allowed_lag, 7);
        assert_eq!(cluster.offset_refresh, std::time::Duration::from_secs(1));
    }
    let shown = outcome.loaded.effective.to_string();
    assert_eq!(shown.matches("[[cluster]]").count(), 2, "{shown}");
    assert!(shown.contains("intervals = 20"), "{shown}");
}

#[test]
fn a_monitors_file_is_judged_like_a_sinks() {
    let text = "memory = \"1GiB\"\n[kafka]\ntopics = [\"t\"]\n[[cluster]]\nname = \"a\"\nbootstrap_servers = \"k:9092\"\n\
        intervalls = 3\npassword = \"x\"\n[[cluster]]\nname = \"a\"\nbootstrap_servers = \"l:9092\"\n\
        groups_pattern = \"(\"\nintervals = 1\n[[cluster]]\n";
    let machine = Machine::default().file("monitor.toml", text);
    let problems = load_monitor("monitor.toml".as_ref(), &[], &machine).expect_err("wrong");
    assert_eq!(
        said(&problems),
        [
            "1:1 memory: the monitor has no such key | leave it out",
            "2:2 kafka: belongs into a sink's file | start it with `outflow run --config`",
            "7:1 cluster.intervalls: there is no such key | did you mean `intervals`?",
            "8:1 cluster.password: a secret doesn't stand in the configuration | in [cluster.secret_properties]: write where the secret is: { file = \"/run/secrets/x\" } or { env = \"X\" }",
            "10:8 cluster.name: is the name of another cluster, too | give every cluster a name of its own",
            "12:18 cluster.groups_pattern: \"(\" isn't a regular expression: unclosed group | it must match the whole name of a group: \"metrics-.*\", \"(cpu|memory)-.*\"",
            "13:13 cluster.intervals: 1 is out of range | it must be at least 3 and at most 1000",
            "14:3 cluster.name: is missing | name the cluster: it stands in paths, metrics and logs",
            "14:3 cluster.bootstrap_servers: is missing | name the brokers to begin with: \"kafka-1:9092,kafka-2:9092\"",
        ]
    );
    let none = Machine::default().file("monitor.toml", "[log]\nformat = \"json\"\n");
    let problems = load_monitor("monitor.toml".as_ref(), &[], &none).expect_err("no cluster");
    assert!(
        problems
            .to_string()
            .contains("there is no cluster in this file")
    );
    let sink = elasticsearch("[[cluster]]\nname = \"a\"\n").said();
    assert_eq!(
        sink,
        ["7:3 cluster: belongs into the monitor's file | start it with `outflow monitor --config`"]
    );
}

/// Something like TOML: keys that exist or nearly do, values of all kinds, and rubbish.
fn toml_like() -> impl Strategy<Value = String> {
    let name = prop::sample::select(KEYS.iter().map(|k| k.name().to_owned()).collect::<Vec<_>>());
    let section = prop::sample::select(vec![
        "kafka",
        "elasticsearch",
        "hdfs",
        "hdfs.rotate",
        "hdfs.partition",
        "admin",
        "log",
        "rejected",
        "agent",
        "lag",
        "cluster",
        "cluster.mends",
        "notify",
        "notify.headers",
        "kafka.properties",
        "kafka.secret_properties",
        "kafka.properties.a",
        "x.\"y.z\"",
    ]);
    let value = prop_oneof![
        any::<String>().prop_map(|s| format!("{s:?}")),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        Just("true".to_owned()),
        Just("[\"a\", 1, {}]".to_owned()),
        Just("{ file = \"/x\", env = 3 }".to_owned()),
        Just("2026-11-23T04:00:00Z".to_owned()),
        Just("\"\"\"\nlong\n\"\"\"".to_owned()),
        "[0-9]{1,20}[a-zA-Z]{0,3}".prop_map(|s| format!("\"{s}\"")),
        "[a-z{}.:/*-]{0,20}".prop_map(|s| format!("\"{s}\"")),
    ];
    let line = prop_oneof![
        6 => (name, value).prop_map(|(name, value)| format!("{name} = {value}")),
        2 => section.prop_map(|section| format!("[{section}]")),
        1 => Just("[[cluster]]".to_owned()),
        1 => Just("[[notify]]".to_owned()),
        1 => any::<String>(),
        1 => "[\\PC\\n\"'=\\[\\]{}#é🦀]{0,30}",
    ];
    prop::collection::vec(line, 0..25).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever stands in a file, a variable or a flag: settings or problems, never a panic; and every problem
    /// of a file points into it.
    #[test]
    fn no_input_panics(text in toml_like(), variable in "[A-Z_]{0,30}", value in any::<String>(), flag in any::<String>()) {
        let machine = Machine::with(&text).variable(&format!("OUTFLOW_{variable}"), &value);
        let lines = text.matches('\n').count() + 1;
        if let Err(problems) = machine.load(&[&flag]) {
            let _ = problems.to_string();
            for problem in &problems.0 {
                if let Place::File { line, .. } = problem.place {
                    prop_assert!((1..=lines).contains(&line), "{problem}");
                }
            }
        }
        let _ = load_agent("sink.toml".as_ref(), std::slice::from_ref(&flag), &machine);
        let _ = load_monitor("sink.toml".as_ref(), &[flag], &machine);
    }

    /// What is written is what is read.
    #[test]
    fn sizes_and_times_survive_being_written(bytes in any::<u64>(), millis in 0..u64::from(u32::MAX)) {
        use outflow::config::kinds::{format_bytes, format_duration, parse_bytes, parse_duration};
        prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        let time = std::time::Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&format_duration(time)), Some(time));
    }
}
