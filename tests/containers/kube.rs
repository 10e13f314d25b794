//! The committed manifests as `podman play kube` takes them, with the addresses of the servers under test.
//!
//! It knows no StatefulSet: each of its pods is written out as Kubernetes would make it, from the template. What podman (4.3)
//! lacks is replaced by what comes nearest, and by nothing else:
//!
//! | in the manifest | here |
//! |---|---|
//! | the pod's own network, port 9600 | the host's, since the servers listen on loopback, and a port that is free |
//! | a projected volume of Secrets | one ConfigMap with the same files: podman leaves a Secret's in base64, and knows no mode |
//! | the annotation `checksum/config`, by which the chart has pods replaced | none: podman takes no more than 63 characters |
//! | a volume's name, which is the pod's | a name that holds for the whole machine |
//! | probes | none: podman makes shell commands with `curl` of them, and the image has neither. Who asks is [`Pod::probe`] |

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::Elasticsearch;
use testbed::elasticsearch::USER;
use testbed::guard::wait_until;
use testbed::http::Http;

use super::manifests::{documents, list, text};
use super::podman::{LABEL, Podman, said};
use super::support::{PATIENCE, Stage};

const MANIFESTS: &str = "deploy/kubernetes/sinks.yaml";

/// Where the pods of a test find what they need.
pub struct Site<'a> {
    pub podman: &'static Podman,
    pub stage: &'a Stage<'a>,
    /// With TLS and passwords, as the manifest has it.
    pub elasticsearch: &'a Elasticsearch,
}

impl Site<'_> {
    /// What a user writes into a sink's ConfigMap: what stands there, what is written instead.
    fn addresses(&self, sink: &str) -> Vec<(&'static str, String)> {
        let stage = self.stage;
        let topic = format!(
            "topics = [\"{}\"]\ngroup_id = \"{}\"",
            stage.topic,
            stage.group(sink)
        );
        let mut all = vec![
            ("kafka:9092", stage.kafka.bootstrap()),
            ("topics = [\"host-metrics\"]", topic),
        ];
        let (letters, hdfs) = (stage.dead_letters.clone(), &stage.cluster.hdfs);
        match sink {
            "elasticsearch" => all.extend([
                ("host-metrics.elasticsearch.dlq", letters),
                (
                    "https://elasticsearch:9200",
                    self.elasticsearch.url().to_owned(),
                ),
                ("user = \"outflow\"", format!("user = {USER:?}")),
            ]),
            _ => all.extend([
                ("host-metrics.hdfs.dlq", letters),
                ("hdfs://namenode:8020", hdfs.url()),
                ("user = \"outflow\"", format!("user = {:?}", hdfs.user())),
                ("/data/outflow", stage.base.clone()),
            ]),
        }
        all
    }

    /// What a Secret's key holds.
    fn secret(&self, key: &str, password: &str) -> String {
        match key {
            "token" => "only-this-test-knows-it".to_owned(),
            "password" => password.to_owned(),
            "ca.crt" => std::fs::read_to_string(self.elasticsearch.ca_file().unwrap()).unwrap(),
            other => panic!("no Secret has the key {other}"),
        }
    }

    /// The pods of one sink's StatefulSet, running. `password` is what its Secret has for Elasticsearch; `variables` are added to
    /// its environment.
    pub fn play(&self, sink: &str, password: &str, variables: &[(&str, &str)]) -> Vec<Pod> {
        let objects = documents(MANIFESTS);
        let find = |kind: &str, name: &str| {
            let is_it = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
            let found = objects.iter().find(is_it);
            found.unwrap_or_else(|| panic!("{kind} {name}")).clone()
        };
        let set = find("StatefulSet", &format!("outflow-{sink}"));
        let template = &set["spec"]["template"];
        let volume = |name: &str| {
            let mut volumes = list(template, "/spec/volumes").iter();
            volumes.find(|volume| volume["name"] == name).unwrap()
        };
        let release = format!("test-{}-{sink}", std::process::id());
        let config = text(volume("config"), "/configMap/name");
        let config = self.config_map(find("ConfigMap", config), sink);
        let secrets = self.secrets(volume("secrets"), password);
        let mut file = String::new();
        let mut pods = Vec::new();
        for ordinal in 0..set["spec"]["replicas"].as_u64().unwrap() {
            let name = format!("{release}-{ordinal}");
            let address = format!("127.0.0.1:{}", testbed::ports::free_port().unwrap());
            let mut pod = template.clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!(name);
            pod["metadata"]["annotations"] = json!({});
            pod["metadata"]["labels"][LABEL] = json!(std::process::id().to_string());
            pod["spec"]["hostNetwork"] = json!(true);
            for volume in pod["spec"]["volumes"].as_array_mut().unwrap() {
                match text(volume, "/name") {
                    "config" => volume["configMap"]["name"] = json!(name),
                    "secrets" => {
                        let files = json!({"name": secrets_name(&name)});
                        *volume = json!({"name": "secrets", "configMap": files});
                    }
                    own => volume["name"] = json!(format!("{name}-{own}")),
                }
            }
            let container = &mut pod["spec"]["containers"][0];
            container["image"] = json!(self.podman.newer);
            let parts = container.as_object_mut().unwrap();
            parts.remove("ports").unwrap();
            let probes = ["startupProbe", "livenessProbe", "readinessProbe"];
            let probes = probes.map(|kind| (kind, parts.remove(kind).unwrap()));
            for mount in container["volumeMounts"].as_array_mut().unwrap() {
                let own = text(mount, "/name").to_owned();
                if !["config", "secrets"].contains(&&*own) {
                    mount["name"] = json!(format!("{name}-{own}"));
                }
            }
            let env = container["env"].as_array_mut().unwrap();
            let is_listen = |variable: &&mut Value| variable["name"] == "OUTFLOW_ADMIN__LISTEN";
            env.iter_mut().find(is_listen).unwrap()["value"] = json!(address);
            env.extend(
                variables
                    .iter()
                    .map(|(name, value)| json!({"name": name, "value": value})),
            );
            // Each pod's own: podman writes the files again for each pod that shares them, under the eyes of the others.
            for (mut map, name) in [
                (config.clone(), name.clone()),
                (secrets.clone(), secrets_name(&name)),
            ] {
                map["metadata"]["name"] = json!(name);
                writeln!(file, "---\n{map}").unwrap();
            }
            writeln!(file, "---\n{pod}").unwrap();
            pods.push(Pod {
                podman: self.podman,
                spec: pod["spec"].clone(),
                probes: probes.into(),
                address,
                name,
            });
        }
        let path: PathBuf = self.stage.dir().join(format!("{release}.yaml"));
        std::fs::write(&path, file).unwrap();
        // `pods` is there before, so that what a play that failed has left is removed, too.
        let played = self
            .podman
            .pod_command(&["play", "kube", path.to_str().unwrap()]);
        assert!(
            played.status.success(),
            "{}: {}",
            path.display(),
            said(&played)
        );
        pods
    }

    fn config_map(&self, mut map: Value, sink: &str) -> Value {
        let mut config = text(&map, "/data/outflow.toml").to_owned();
        for (there, instead) in self.addresses(sink) {
            assert_eq!(config.matches(there).count(), 1, "{there}: {config}");
            config = config.replace(there, &instead);
        }
        map["data"]["outflow.toml"] = json!(config);
        map
    }

    /// What a projected volume puts together.
    fn secrets(&self, volume: &Value, password: &str) -> Value {
        let sources = list(volume, "/projected/sources").iter();
        let items = sources.flat_map(|source| list(source, "/secret/items"));
        let files = items.map(|item| {
            let content = self.secret(text(item, "/key"), password);
            (text(item, "/path").to_owned(), json!(content))
        });
        let files: serde_json::Map<String, Value> = files.collect();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": files})
    }
}

fn secrets_name(pod: &str) -> String {
    format!("{pod}-secrets")
}

/// A pod that runs. Dropping it removes it and what it had.
pub struct Pod {
    podman: &'static Podman,
    /// As podman was given it.
    pub spec: Value,
    /// What Kubernetes would ask, as it stands in the manifest.
    probes: Vec<(&'static str, Value)>,
    address: String,
    name: String,
}

impl Pod {
    pub fn container(&self) -> &Value {
        &self.spec["containers"][0]
    }

    /// Asks once, as the kubelet does: the status, or why there is none.
    pub fn probe(&self, kind: &str) -> Result<u16, String> {
        let (_, probe) = self
            .probes
            .iter()
            .find(|(found, _)| *found == kind)
            .unwrap();
        assert_eq!(probe["httpGet"]["port"], "admin");
        // A second is Kubernetes' default.
        let timeout = Duration::from_secs(probe["timeoutSeconds"].as_u64().unwrap_or(1));
        let http = Http::new(format!("http://{}", self.address)).with_timeout(timeout);
        let answer = http.get(text(probe, "/httpGet/path"));
        answer
            .map(|answer| answer.status)
            .map_err(|e| e.to_string())
    }

    /// Waits until a probe says this.
    pub fn wait_probed(&self, kind: &str, status: u16) {
        let what = format!("{} {kind} says {status}", self.name);
        wait_until(&what, PATIENCE, || match self.probe(kind) {
            Ok(found) if found == status => Ok(()),
            other => Err(format!("{other:?}\n{}", self.log())),
        })
        .unwrap();
    }

    /// Waits until it has started and is ready, in the kubelet's order.
    pub fn wait_ready(&self) {
        for kind in ["startupProbe", "readinessProbe", "livenessProbe"] {
            self.wait_probed(kind, 200);
        }
    }

    fn container_name(&self) -> String {
        format!("{}-outflow", self.name)
    }

    fn inspect(&self, what: &str) -> String {
        let format = format!("{{{{.{what}}}}}");
        let name = self.container_name();
        self.podman
            .must(&["container", "inspect", "--format", &format, &name])
    }

    /// Its container's process, as this machine numbers it.
    pub fn process(&self) -> u32 {
        self.inspect("State.Pid").parse().unwrap()
    }

    /// How often its container was started again by itself.
    pub fn restarts(&self) -> u32 {
        self.inspect("RestartCount").parse().unwrap()
    }

    /// The last of what its containers have said.
    pub fn log(&self) -> String {
        let name = self.container_name();
        said(&self.podman.command(&["logs", "--tail", "40", &name]))
    }

    /// Ends its container's process at once, and waits until another one is there and ready: `restartPolicy` is left to its
    /// default, which is to start it again.
    pub fn kill(&self) {
        let killed = self.process();
        let done = std::process::Command::new("kill")
            .args(["-9", &killed.to_string()])
            .status();
        assert!(done.unwrap().success());
        wait_until("the container is started again", PATIENCE, || {
            match self.inspect("State.Pid").parse::<u32>() {
                Ok(pid) if pid != killed && pid != 0 => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        })
        .unwrap();
        self.wait_ready();
    }

    /// SIGTERM, and the end within the grace that the manifest gives: its exit code.
    pub fn stop(&self) {
        let grace = self.spec["terminationGracePeriodSeconds"].to_string();
        let args = ["pod", "stop", "--time", &grace, &self.name];
        self.podman.must(&args);
        let code = self.inspect("State.ExitCode");
        assert_eq!(
            code,
            "0",
            "{} didn't end cleanly:\n{}",
            self.name,
            self.log()
        );
    }

    /// The same pod once more.
    pub fn start(&self) {
        let started = self.podman.pod_command(&["pod", "start", &self.name]);
        assert!(started.status.success(), "{}", said(&started));
        self.wait_ready();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let podman = self.podman;
        podman.command(&["pod", "rm", "--force", "--time", "0", &self.name]);
        let named = ["tmp", "state", "secrets"].map(|volume| format!("{}-{volume}", self.name));
        for volume in named.iter().chain([&self.name]) {
            podman.command(&["volume", "rm", volume]);
        }
    }
}
