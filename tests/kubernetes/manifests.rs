//! The manifests as Kubernetes would take them: pods with their environment, files and configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use outflow::config::surroundings::{SecretFile, Surroundings};
use serde_json::Value;

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn read(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of a YAML file; those that are empty left out.
pub fn documents(path: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    documents.into_iter().filter(|d| !d.is_null()).collect()
}

/// Those of all files that hold objects.
pub fn objects() -> Vec<Value> {
    ["sinks", "monitor", "prometheus", "keda"]
        .iter()
        .flat_map(|name| documents(&format!("deploy/kubernetes/{name}.yaml")))
        .collect()
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer}: {value:#}"))
}

pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list at {pointer}: {value:#}"))
}

/// A pod that a StatefulSet or a Deployment makes, its first.
pub struct Pod {
    pub name: String,
    pub spec: Value,
    config: String,
}

/// One for each StatefulSet and Deployment.
pub fn pods() -> Vec<Pod> {
    let objects = objects();
    let of = |kind: &'static str| objects.iter().filter(move |o| o["kind"] == kind);
    let config_map = |name: &str| {
        let found = of("ConfigMap").find(|map| map["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no ConfigMap is called {name}"))
    };
    let pod = |owner: &Value| {
        let spec = owner["spec"]["template"]["spec"].clone();
        let volumes = list(&spec, "/volumes");
        let config = volumes.iter().find(|volume| volume["name"] == "config");
        let config = config_map(text(config.unwrap(), "/configMap/name"));
        Pod {
            name: format!("{}-0", text(owner, "/metadata/name")),
            config: text(config, "/data/outflow.toml").to_owned(),
            spec,
        }
    };
    of("StatefulSet").chain(of("Deployment")).map(pod).collect()
}

impl Pod {
    pub fn container(&self) -> &Value {
        let containers = list(&self.spec, "/containers");
        assert_eq!(containers.len(), 1, "{}", self.name);
        &containers[0]
    }

    pub fn args(&self) -> Vec<&str> {
        let args = list(self.container(), "/args").iter();
        args.map(|arg| arg.as_str().unwrap()).collect()
    }

    /// The container's environment, filled in as the kubelet does.
    pub fn env(&self) -> BTreeMap<String, String> {
        let one = |variable: &Value| {
            let value = match variable.pointer("/valueFrom/fieldRef/fieldPath") {
                Some(field) => {
                    assert_eq!(field, "metadata.name");
                    self.name.clone()
                }
                None => text(variable, "/value").to_owned(),
            };
            (text(variable, "/name").to_owned(), value)
        };
        let variables = list(self.container(), "/env").iter();
        variables.map(one).collect()
    }

    /// The pod's memory limit.
    pub fn memory_limit(&self) -> u64 {
        let limit = text(self.container(), "/resources/limits/memory");
        let mib: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        mib << 20
    }

    /// Where a volume is mounted.
    fn mount(&self, volume: &str) -> PathBuf {
        let mounts = list(self.container(), "/volumeMounts").iter();
        let mut mounts = mounts.filter(|mount| mount["name"] == volume);
        PathBuf::from(text(mounts.next().unwrap(), "/mountPath"))
    }

    /// Its files: the configuration, and the secrets by their paths.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        // Whether it is a valid one is seen when it is used.
        let certificate = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        let mut files = BTreeMap::new();
        files.insert(
            self.mount("config").join("outflow.toml"),
            self.config.clone(),
        );
        let volumes = list(&self.spec, "/volumes").iter();
        for volume in volumes.filter(|volume| volume["name"] == "secrets") {
            let sources = list(volume, "/projected/sources").iter();
            for item in sources.flat_map(|source| list(source, "/secret/items")) {
                let is_certificate = text(item, "/key").ends_with(".crt");
                let content = if is_certificate {
                    certificate
                } else {
                    "secret"
                };
                files.insert(
                    self.mount("secrets").join(text(item, "/path")),
                    content.to_owned(),
                );
            }
        }
        files
    }

    /// What outflow finds in it: its own control group at the top, too.
    pub fn inside(&self) -> Inside {
        let (mut files, limit) = (self.files(), self.memory_limit().to_string());
        let mount = "25 19 0:22 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw";
        for (path, text) in [
            ("/proc/self/cgroup", "0::/"),
            ("/proc/self/mountinfo", mount),
            ("/sys/fs/cgroup/memory.max", &limit),
        ] {
            files.insert(path.into(), text.to_owned());
        }
        Inside {
            env: self.env(),
            files,
        }
    }
}

/// The surroundings of a container.
pub struct Inside {
    env: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
}

impl Surroundings for Inside {
    fn variables(&self) -> Vec<(String, String)> {
        self.env.clone().into_iter().collect()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        let found = self.files.get(path).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such file"))
    }

    fn read_secret(&self, path: &Path) -> io::Result<SecretFile> {
        Ok(SecretFile {
            text: self.read_file(path)?,
            is_open_to_others: false,
        })
    }

    fn cores(&self) -> usize {
        64
    }
}
