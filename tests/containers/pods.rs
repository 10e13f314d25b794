//! The committed manifests for Kubernetes, run by `podman play kube` against real servers.

use testbed::elasticsearch::PASSWORD;
use testbed::guard::wait_until;
use testbed::{Elasticsearch, ElasticsearchOptions, Ids, check_elasticsearch, exclusive};

use super::kube::{Pod, Site};
use super::podman::{podman, tell};
use super::process::{has_no_rights, has_writable_root, is_limited_to, kernel_says};
use super::support::{PATIENCE, Stage};

/// Records that must have moved before and after each thing that is done to a pod.
const SOME: i64 = 1_000;
/// The manifest's `index` has a date at its end.
const INDICES: &str = "host-metrics-*";
/// Files small enough to be committed again and again in a minute.
const FILES: [(&str, &str); 2] = [
    ("OUTFLOW_HDFS__ROTATE__RECORDS", "500"),
    ("OUTFLOW_HDFS__ROTATE__AGE", "2s"),
];

#[test]
fn pods_of_the_manifests_are_killed_stopped_and_started_while_records_flow_and_nothing_is_lost() {
    let Some(podman) = podman() else { return };
    if let Err(why) = podman.has_pods() {
        return tell(&format!("NOT TESTED: pods: {why}"));
    }
    let secure = ElasticsearchOptions {
        secure: true,
        ..ElasticsearchOptions::default()
    };
    let (cluster, elasticsearch) = std::thread::scope(|scope| {
        let elasticsearch = scope.spawn(|| Elasticsearch::start(&secure).unwrap());
        (exclusive(), elasticsearch.join().unwrap())
    });
    let stage = Stage::new(&cluster, "pods", 4);
    let site = Site {
        podman,
        stage: &stage,
        elasticsearch: &elasticsearch,
    };
    let load = stage.load(1_000, 5);

    let files = site.play("hdfs", PASSWORD, &FILES);
    // A roll-out with a wrong password: not ready, since a person is needed; alive, since a restart wouldn't help.
    let refused = site.play("elasticsearch", "another-password", &[]);
    for pod in &refused {
        pod.wait_probed("readinessProbe", 503);
        assert_eq!(pod.probe("livenessProbe"), Ok(200));
        assert_eq!(pod.restarts(), 0);
    }
    assert_eq!(stage.committed("elasticsearch"), 0);
    drop(refused);

    let documents = site.play("elasticsearch", PASSWORD, &[]);
    for pod in documents.iter().chain(&files) {
        pod.wait_ready();
        is_as_restricted_as_the_manifest_says(pod, podman.has_groups());
    }
    for (sink, pods) in [("elasticsearch", &documents), ("hdfs", &files)] {
        wait_for_members(&stage, sink, pods.len());
        wait_for_progress(&stage, sink);
    }

    // Killed: the same pod goes on, with its instance id.
    documents[0].kill();
    files[0].kill();
    wait_for_progress(&stage, "elasticsearch");
    wait_for_progress(&stage, "hdfs");

    // Stopped, while the others go on, and started.
    documents[1].stop();
    assert!(documents[1].probe("livenessProbe").is_err());
    wait_for_progress(&stage, "hdfs");
    documents[1].start();
    files[0].stop();
    wait_for_progress(&stage, "elasticsearch");
    files[0].start();
    wait_for_progress(&stage, "hdfs");

    let ledger = load.stop().unwrap();
    for (sink, pods) in [("elasticsearch", &documents), ("hdfs", &files)] {
        let client = stage.kafka.client();
        let caught_up = client.wait_for_no_lag(&stage.group(sink), &stage.topic, PATIENCE);
        caught_up.unwrap_or_else(|why| panic!("{sink}: {why}\n{}", logs(pods)));
    }
    // Nobody but us ended a container, the kernel for its memory neither.
    for pod in documents.iter().chain(&files) {
        assert!(pod.restarts() <= 1, "{}: {}", pod.restarts(), pod.log());
        pod.stop();
    }
    let found = elasticsearch.documents().all(INDICES).unwrap();
    check_elasticsearch(&ledger, &found, Ids::Offset).assert_clean();
    stage.check_hdfs(&ledger);
}

fn is_as_restricted_as_the_manifest_says(pod: &Pod, has_groups: bool) {
    let (process, container) = (pod.process(), pod.container());
    let (of_pod, own) = (&pod.spec["securityContext"], &container["securityContext"]);
    for (line, key) in [("Uid", "runAsUser"), ("Gid", "runAsGroup")] {
        assert_eq!(of_pod[key], 65_532);
        let ids = kernel_says(process, line);
        assert_eq!(ids.split_whitespace().collect::<Vec<_>>(), ["65532"; 4]);
    }
    assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(own["allowPrivilegeEscalation"], false);
    has_no_rights(process);
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(kernel_says(process, "Seccomp"), "2", "a filter");
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert!(!has_writable_root(process));
    let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    assert!(
        !has_groups || is_limited_to(process, limit << 20),
        "{limit}"
    );
}

fn wait_for_members(stage: &Stage, sink: &str, wanted: usize) {
    let client = stage.kafka.client();
    wait_until("the pods share the group", PATIENCE, || {
        match client.num_members(&stage.group(sink)) {
            Ok(members) if members == wanted => Ok(()),
            members => Err(format!("{members:?}")),
        }
    })
    .unwrap();
}

fn wait_for_progress(stage: &Stage, sink: &str) {
    stage.wait_committed(sink, stage.committed(sink) + SOME);
}

fn logs(pods: &[Pod]) -> String {
    pods.iter().map(Pod::log).collect::<Vec<_>>().join("\n\n")
}
