//! The settings of an Elasticsearch sink of which a configuration says no more than it must, so that defaults stand in
//! one place: for tests and benchmarks, which change what they are about.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use outflow::config::load_sinks;
use outflow::config::settings::{ElasticsearchSettings, SinkSettings};
use outflow::config::surroundings::{SecretFile, Surroundings};

const FILE: &str = "name = \"es\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:9092\"\ntopics = [\"events\"]\n\
                    [elasticsearch]\nurls = [\"http://127.0.0.1:9200\"]\n";

/// A machine with this file alone: the environment of whoever tests makes no difference.
struct Machine;

impl Surroundings for Machine {
    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read_file(&self, _: &Path) -> io::Result<String> {
        Ok(FILE.to_owned())
    }

    fn read_secret(&self, _: &Path) -> io::Result<SecretFile> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn cores(&self) -> usize {
        1
    }
}

/// What the configuration makes of it.
pub fn settings() -> ElasticsearchSettings {
    static LOADED: LazyLock<ElasticsearchSettings> = LazyLock::new(load);
    LOADED.clone()
}

fn load() -> ElasticsearchSettings {
    let mut loaded = match load_sinks(&[PathBuf::from("es.toml")], &[], &Machine) {
        Ok(outcome) => outcome.loaded,
        Err(problems) => panic!("{problems}"),
    };
    match loaded.pop().map(|one| one.settings.sink) {
        Some(SinkSettings::Elasticsearch(settings)) => ElasticsearchSettings {
            // They follow from template and topics, and tests change both.
            allowed_indices: Vec::new(),
            ..settings
        },
        other => panic!("not one Elasticsearch sink: {other:?}"),
    }
}
