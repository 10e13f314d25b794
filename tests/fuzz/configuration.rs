//! TOML in; settings or problems out, each with its place and what to do; and never a secret.
//!
//! Fields: a sink's file, and perhaps environment variables or flags, one `NAME=value` a line.

use std::io;
use std::path::Path;

use outflow::config::problem::{Place, Problems, Severity};
use outflow::config::surroundings::{SecretFile, Surroundings};
use outflow::config::{load_agent, load_sinks};

use crate::fields;

pub const WORDS: &[&str] = &[
    "name = \"x\"\n",
    "[kafka]\n",
    "[kafka.properties]\n",
    "[kafka.secret_properties]\n",
    "[elasticsearch]\n",
    "[hdfs]\n",
    "[hdfs.partition]\n",
    "[hdfs.rotate]\n",
    "[rejected]\n",
    "[admin]\n",
    "[agent]\n",
    "bootstrap_servers = \"k:9092\"\n",
    "topics = [\"t\"]\n",
    "topics_pattern = \"a.*\"\n",
    "assign = [\"t:0-3\"]\n",
    "group_id = \"g\"\n",
    "commit_mode = \"batch\"\n",
    "auto_offset_reset = \"by_duration:24h\"\n",
    "urls = [\"http://e:9200\"]\n",
    "user = \"u\"\n",
    "password_file = \"/secret\"\n",
    "password_env = \"SECRET\"\n",
    "api_key_file = \"/secret\"\n",
    "password = \"Ca9nary\"\n",
    "password =\nCa9nary==\n",
    "\"sasl.password\" = { file = \"/secret\" }\n",
    "\"sasl.password\" = { env = \"SECRET\" }\n",
    "\"sasl.password\" = \"Ca9nary\"\n",
    "token_file = \"/secret\"\n",
    "url = \"hdfs://n:8020\"\n",
    "base = \"/data\"\n",
    "compression = \"zstd\"\n",
    "by = \"hourly\"\n",
    "zone = \"UTC\"\n",
    "bytes = \"128MiB\"\n",
    "age = \"1m\"\n",
    "listen = \"0.0.0.0:9600\"\n",
    "\n---\nOUTFLOW_KAFKA__GROUP_ID=g",
    "\n---\n--kafka.topics=a",
    "memory = \"1GiB\"\n",
    "workers = 3\n",
    "\"\"\"",
    "'''",
    "# ",
    "[[kafka]]\n",
    "inf",
    "1h",
    "2026-11-23T04:05:06Z",
    "999999999999999999d",
    "0x",
    "\\u0000",
    "https://u:Ca9nary@e:9200",
];

/// What no message may hold.
const SECRET: &str = "Ca9nary";

/// A machine whose every secret is the same.
struct Machine {
    text: String,
    variables: Vec<(String, String)>,
}

impl Surroundings for Machine {
    fn variables(&self) -> Vec<(String, String)> {
        let secret = ("SECRET".to_owned(), SECRET.to_owned());
        self.variables.iter().cloned().chain([secret]).collect()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        match path == Path::new("sink.toml") {
            true => Ok(self.text.clone()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such file",
            )),
        }
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretFile> {
        let is_it = path == Path::new("/secret");
        is_it
            .then(|| SecretFile {
                text: SECRET.to_owned(),
                is_open_to_others: true,
            })
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such file"))
    }

    fn cores(&self) -> usize {
        4
    }
}

pub fn check(input: &[u8]) -> String {
    let fields = fields(input);
    let [text, ref rest @ ..] = fields[..] else {
        return "no text".to_owned();
    };
    let (Ok(text), Ok(input)) = (std::str::from_utf8(text), std::str::from_utf8(input)) else {
        return "no text".to_owned(); // refused when the file is read
    };
    let rest = String::from_utf8_lossy(rest.first().unwrap_or(&&b""[..])).into_owned();
    let (flags, variables): (Vec<&str>, Vec<&str>) =
        rest.lines().partition(|line| line.starts_with("--"));
    let flags: Vec<String> = flags.iter().map(|flag| flag[2..].to_owned()).collect();
    let variable = |line: &str| {
        line.split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let machine = Machine {
        text: text.to_owned(),
        variables: variables.into_iter().filter_map(variable).collect(),
    };
    let shown = match load_sinks(&["sink.toml".into()], &flags, &machine) {
        Ok(outcome) => {
            check_problems(&outcome.warnings, input, Severity::Warning);
            assert_eq!(outcome.loaded.len(), 1, "one file, one sink");
            let loaded = &outcome.loaded[0];
            let dump = loaded.effective.to_string() + &format!("{:?}", loaded.settings);
            assert!(is_discreet(&dump, input), "a secret is shown: {dump}");
            let kafka = &loaded.settings.kafka;
            assert!(!kafka.bootstrap_servers.is_empty() && !loaded.settings.name.is_empty());
            format!("yes {}", names(&outcome.warnings))
        }
        Err(problems) => {
            assert!(problems.has_errors());
            check_problems(&problems, input, Severity::Error);
            format!("no {}", names(&problems))
        }
    };
    if let Err(problems) = load_agent(Path::new("sink.toml"), &flags, &machine) {
        check_problems(&problems, input, Severity::Error);
    }
    shown
}

/// Keys that something is said about: not their values, nor where they stand.
fn names(problems: &Problems) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    let mut names: Vec<&str> = problems
        .0
        .iter()
        .map(|p| &*p.key)
        .filter(|key| key.chars().all(plain))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(3);
    names.join(" ")
}

fn check_problems(problems: &Problems, input: &str, least: Severity) {
    let lines = input.lines().count().max(1) + 1;
    for problem in &problems.0 {
        assert!(problem.severity >= least, "{problem}");
        assert!(
            crate::is_one_line(&problem.what) && !problem.what.is_empty(),
            "{:?}",
            problem.what
        );
        match &problem.place {
            Place::File {
                file, line, column, ..
            } => {
                assert_eq!(file, Path::new("sink.toml"));
                assert!(
                    (1..=lines).contains(line) && *column >= 1,
                    "{problem} in {lines} lines"
                );
            }
            Place::Default => panic!("{problem} stands nowhere"),
            Place::WholeFile(_) | Place::Variable(_) | Place::Flag(_) | Place::Share(_) => {}
        }
    }
    let shown = problems.to_string();
    assert!(is_discreet(&shown, input), "a secret is shown: {shown}");
    let is_text = |c: char| c == '\n' || !c.is_control();
    assert!(shown.chars().all(is_text), "{shown:?} can't be printed");
}

/// Whether a secret isn't shown, unless the input wrote it where anything may stand.
fn is_discreet(shown: &str, input: &str) -> bool {
    let belongs = |line: &str| {
        let key = line.split('=').next().unwrap_or_default();
        let key = key.trim().trim_matches('"');
        let is_bare = line.trim().trim_end_matches('=') == SECRET && line.contains("==");
        let is_url = key == "urls" && line.contains("://u:Ca9nary@e:");
        ["password", "sasl.password"].contains(&key) || is_url || is_bare
    };
    let is_elsewhere = input
        .lines()
        .any(|line| line.contains(SECRET) && !belongs(line));
    !shown.contains(SECRET) || is_elsewhere
}
