//! What is deployed to Kubernetes: the manifests fit outflow, and are those of the chart. With `helm` and `kubeconform` where
//! they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

#[path = "kubernetes/manifests.rs"]
mod manifests;
#[path = "kubernetes/tools.rs"]
mod tools;

use std::time::Duration;

use manifests::{Pod, documents, list, objects, pods, read, repository, text};
use outflow::admin::guard::{Guard, Trust};
use outflow::config::settings::{AdminSettings, Settings};
use outflow::config::{load_monitor, load_process};
use serde_json::Value;
use testbed::guard::TestDir;
use testbed::{Outflow, ports};

/// A sink's settings, as its pod finds them.
fn settings(pod: &Pod) -> Settings {
    let file = "/etc/outflow/outflow.toml".into();
    let outcome = load_process(&[file], &[], None, &pod.inside());
    let mut outcome = outcome.unwrap_or_else(|e| panic!("{}: {e}", pod.name));
    assert_eq!(
        outcome.warnings.0.len(),
        0,
        "{}: {}",
        pod.name,
        outcome.warnings
    );
    outcome.loaded.remove(0).settings
}

/// The monitor's.
fn admin_of_monitor(pod: &Pod) -> AdminSettings {
    let outcome = load_monitor("/etc/outflow/outflow.toml".as_ref(), &[], &pod.inside());
    let outcome = outcome.unwrap_or_else(|e| panic!("{}: {e}", pod.name));
    assert_eq!(
        outcome.warnings.0.len(),
        0,
        "{}: {}",
        pod.name,
        outcome.warnings
    );
    outcome.loaded.settings.admin
}

fn is_sink(pod: &Pod) -> bool {
    match pod.args()[..] {
        ["run", "--config", "/etc/outflow/outflow.toml"] => true,
        ["monitor", "--config", "/etc/outflow/outflow.toml"] => false,
        ref args => panic!("{}: {args:?}", pod.name),
    }
}

fn sinks() -> Vec<Pod> {
    let sinks: Vec<Pod> = pods().into_iter().filter(is_sink).collect();
    let names: Vec<&str> = sinks.iter().map(|pod| &*pod.name).collect();
    assert_eq!(names, ["outflow-elasticsearch-0", "outflow-hdfs-0"]);
    sinks
}

#[test]
fn a_sink_takes_its_configuration_and_knows_itself_by_its_pod() {
    for pod in sinks() {
        let settings = settings(&pod);
        assert_eq!(settings.kafka.group_instance_id.as_ref(), Some(&pod.name));
        let state_dir = settings.kafka.state_dir.unwrap();
        let mounts = list(pod.container(), "/volumeMounts");
        let is_mounted = |mount: &Value| text(mount, "/mountPath") == state_dir.to_str().unwrap();
        assert!(mounts.iter().any(is_mounted), "{}", pod.name);
    }
}

#[test]
fn a_pod_is_given_more_time_than_its_shutdown_takes() {
    for pod in sinks() {
        let grace = pod.spec["terminationGracePeriodSeconds"].as_u64().unwrap();
        let shutdown = settings(&pod).shutdown_timeout;
        assert!(
            Duration::from_secs(grace) >= shutdown + Duration::from_secs(3),
            "{}",
            pod.name
        );
    }
}

/// Beside outflow's own budget there are threads, clients, and what the allocator keeps (tests/memory.rs).
#[test]
fn a_pod_has_more_memory_than_its_sink_may_hold() {
    for pod in sinks() {
        let (budget, limit) = (settings(&pod).memory_bytes, pod.memory_limit());
        assert!(
            budget * 10 <= limit * 6,
            "{}: {budget} of {limit}",
            pod.name
        );
        assert_eq!(settings(&pod).workers, 1, "what {} carries", pod.name);
    }
}

/// The kubelet has no token, and asks the pod's address.
#[test]
fn the_kubelet_may_ask_what_probes_ask_and_nobody_may_read_more_without_the_token() {
    for pod in pods() {
        let admin = match is_sink(&pod) {
            true => settings(&pod).admin,
            false => admin_of_monitor(&pod),
        };
        let address = admin.listen.unwrap();
        assert!(address.ip().is_unspecified(), "{address}");
        let port = &list(pod.container(), "/ports")[0];
        assert_eq!(port["containerPort"], address.port());
        let guard = Guard::new(&admin, address);
        let ask = |path: &str| guard.judge(&"GET".parse().unwrap(), path, &Default::default());
        for path in probes(&pod) {
            assert_eq!(ask(&path), Ok(Trust::Probe), "{path}");
        }
        assert!(ask("/metrics").is_err() && ask("/api/v1/status").is_err());
    }
}

fn probes(pod: &Pod) -> Vec<String> {
    ["startupProbe", "livenessProbe", "readinessProbe"]
        .iter()
        .map(|probe| {
            let get = &pod.container()[probe]["httpGet"];
            assert_eq!(get["port"], list(pod.container(), "/ports")[0]["name"]);
            text(get, "/path").to_owned()
        })
        .collect()
}

/// Its own process, with its environment; but on loopback, and with folders of this machine.
#[test]
fn a_pod_whose_kafka_is_away_is_neither_restarted_nor_taken_for_broken() {
    let dir = TestDir::new("kubernetes").unwrap();
    let pod = sinks().pop().unwrap();
    let (config, token) = (dir.path().join("outflow.toml"), dir.path().join("token"));
    let given = pod.inside();
    let read = |path: &str| {
        outflow::config::surroundings::Surroundings::read_file(&given, path.as_ref()).unwrap()
    };
    std::fs::write(&config, read("/etc/outflow/outflow.toml")).unwrap();
    std::fs::write(&token, read("/run/secrets/outflow/admin-token")).unwrap();
    let listen = format!("127.0.0.1:{}", ports::free_port().unwrap());
    let mut env = pod.env();
    for (key, value) in [
        ("OUTFLOW_ADMIN__LISTEN", listen.as_str()),
        ("OUTFLOW_ADMIN__TOKEN_FILE", token.to_str().unwrap()),
        ("OUTFLOW_STATE_DIR", dir.path().to_str().unwrap()),
    ] {
        env.insert(key.to_owned(), value.to_owned())
            .expect("it is set in the pod");
    }
    let env: Vec<_> = env.iter().map(|(key, value)| (&**key, &**value)).collect();
    let args = ["run", "--config", config.to_str().unwrap()];
    let outflow = env!("CARGO_BIN_EXE_outflow");
    let outflow = Outflow::spawn(outflow, &args, &env, dir.path().join("log")).unwrap();
    let outflow = outflow.with_admin(&listen);
    outflow.wait_ready(Duration::from_secs(30)).unwrap();
    for path in probes(&pod) {
        assert_eq!(
            outflow.http().unwrap().get(&path).unwrap().status,
            200,
            "{path}"
        );
    }
}

/// Kubernetes' own rules for namespaces that say `pod-security.kubernetes.io/enforce: restricted`, and a read-only root.
#[test]
fn pods_are_restricted() {
    for pod in pods() {
        let (name, spec, container) = (&pod.name, &pod.spec, pod.container());
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(spec.get(key).is_none(), "{name}: {key}");
        }
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(spec["securityContext"]["runAsUser"], 65532, "{name}");
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(
            security["capabilities"],
            serde_json::json!({"drop": ["ALL"]}),
            "{name}"
        );
        for volume in list(spec, "/volumes") {
            let kinds = ["configMap", "projected", "emptyDir"];
            assert!(
                kinds.iter().any(|kind| volume.get(kind).is_some()),
                "{name}: {volume}"
            );
        }
    }
}

#[test]
fn services_and_budgets_select_the_pods_of_their_name() {
    let objects = objects();
    let of = |kind: &'static str| objects.iter().filter(move |o| o["kind"] == kind);
    for owner in of("StatefulSet").chain(of("Deployment")) {
        let (name, labels) = (
            &owner["metadata"]["name"],
            &owner["spec"]["template"]["metadata"]["labels"],
        );
        assert_eq!(&owner["spec"]["selector"]["matchLabels"], labels);
        let service = of("Service")
            .find(|o| &o["metadata"]["name"] == name)
            .unwrap();
        assert_eq!(&service["spec"]["selector"], labels);
        // What isn't ready says why in its metrics: it must be scraped.
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    }
    for budget in of("PodDisruptionBudget") {
        let name = &budget["metadata"]["name"];
        let owner = of("StatefulSet")
            .find(|o| &o["metadata"]["name"] == name)
            .unwrap();
        assert_eq!(budget["spec"]["selector"], owner["spec"]["selector"]);
    }
    for scaled in of("ScaledObject") {
        let target = &scaled["spec"]["scaleTargetRef"]["name"];
        assert!(of("StatefulSet").any(|o| &o["metadata"]["name"] == target));
        let pod = sinks()
            .into_iter()
            .find(|pod| text(scaled, "/metadata/name") == &pod.name[..pod.name.len() - 2]);
        let group = settings(&pod.unwrap()).kafka.group_id;
        assert_eq!(
            scaled["spec"]["triggers"][0]["metadata"]["consumerGroup"],
            *group
        );
    }
}

#[test]
fn the_alert_rules_are_those_of_prometheus() {
    let rules = documents("deploy/prometheus/alerts.yaml").remove(0);
    let objects = objects();
    let in_kubernetes = objects
        .iter()
        .find(|o| o["kind"] == "PrometheusRule")
        .unwrap();
    assert_eq!(in_kubernetes["spec"], rules);
    assert!(list(&rules, "/groups").len() > 2);
    // The chart takes the files themselves.
    for (link, file) in [
        ("alerts.yaml", "deploy/prometheus/alerts.yaml"),
        ("outflow.json", "deploy/grafana/outflow.json"),
    ] {
        let link = repository("deploy/helm/outflow/files").join(link);
        assert_eq!(
            link.canonicalize().unwrap(),
            repository(file).canonicalize().unwrap()
        );
    }
}

#[test]
fn versions_are_outflows_own() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = documents("deploy/helm/outflow/Chart.yaml").remove(0);
    assert_eq!(chart["appVersion"], version);
    let kustomization = documents("deploy/kubernetes/kustomization.yaml").remove(0);
    assert_eq!(kustomization["images"][0]["newTag"], version);
    for resource in list(&kustomization, "/resources") {
        let path = format!("deploy/kubernetes/{}", resource.as_str().unwrap());
        assert!(!documents(&path).is_empty());
    }
    for pod in pods() {
        assert_eq!(pod.container()["image"], format!("outflow:{version}"));
    }
}

#[test]
fn the_charts_values_have_a_schema() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/outflow/values.schema.json")).unwrap();
    let values = documents("deploy/helm/outflow/values.yaml").remove(0);
    for (pointer, values) in [
        ("", &values),
        ("/properties/defaults", &values["defaults"]),
        ("/properties/monitor", &values["monitor"]),
    ] {
        let known = &schema.pointer(&format!("{pointer}/properties")).unwrap();
        for key in values.as_object().unwrap().keys() {
            assert!(known.get(key).is_some(), "{pointer}: {key}");
        }
    }
}
