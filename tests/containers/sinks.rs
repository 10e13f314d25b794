//! Containers that come and go while records flow.

use testbed::exclusive;
use testbed::guard::wait_until;

use super::container::{Container, ELASTICSEARCH, HDFS};
use super::podman::{podman, said};
use super::process::has_no_rights;
use super::support::{PATIENCE, Stage};

/// Records that must have moved before and after each thing that is done to a container.
const SOME: i64 = 1_000;

#[test]
fn containers_are_stopped_killed_frozen_and_replaced_while_records_flow_and_nothing_is_lost() {
    let Some(podman) = podman() else { return };
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "containers", 8);
    let start = |kind, image| Container::start(podman, &stage, kind, image, &[]);
    let load = stage.load(1_500, 5);
    let elasticsearch = start(ELASTICSEARCH, &podman.older);
    let hdfs = start(HDFS, &podman.older);
    for container in [&elasticsearch, &hdfs] {
        container.wait_for_progress(&stage, SOME);
        is_healthy(container);
        has_no_rights(container.process());
    }

    // Stopped, and replaced by a newer image; the other sink goes on.
    elasticsearch.stop();
    hdfs.wait_for_progress(&stage, SOME);
    let elasticsearch = start(ELASTICSEARCH, &podman.newer);
    elasticsearch.wait_for_progress(&stage, SOME);

    // Two containers of one sink share; then the older one leaves, and the newer one has all.
    let newer = start(HDFS, &podman.newer);
    for container in [&hdfs, &newer] {
        container.wait_for_partitions(4);
    }
    newer.wait_for_progress(&stage, SOME);
    hdfs.stop();
    newer.wait_for_partitions(8);
    let hdfs = newer;
    hdfs.wait_for_progress(&stage, SOME);

    // Killed, alone and beside another.
    elasticsearch.kill();
    let elasticsearch = start(ELASTICSEARCH, &podman.newer);
    elasticsearch.wait_for_partitions(8);
    let heir = start(HDFS, &podman.newer);
    heir.wait_for_partitions(4);
    hdfs.kill();
    heir.wait_for_partitions(8);
    heir.wait_for_progress(&stage, SOME);

    // Frozen until the group has given its partitions away; when it thaws it finds out, and shares.
    let frozen = start(HDFS, &podman.newer);
    frozen.wait_for_partitions(4);
    frozen.wait_for_progress(&stage, SOME);
    frozen.pause();
    elasticsearch.pause();
    heir.wait_for_partitions(8);
    heir.wait_for_progress(&stage, SOME);
    wait_for_nobody(&stage, "elasticsearch");
    frozen.unpause();
    elasticsearch.unpause();
    for container in [&heir, &frozen] {
        container.wait_for_partitions(4);
    }
    elasticsearch.wait_for_progress(&stage, SOME);

    let ledger = load.stop().unwrap();
    elasticsearch.wait_caught_up(&stage);
    heir.wait_caught_up(&stage);
    for container in [elasticsearch, heir, frozen] {
        container.stop();
    }
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

/// As the image's health check asks, and as a person does.
fn is_healthy(container: &Container) {
    let file = ["--config", "/etc/outflow/outflow.toml"];
    for (args, word) in [(&["health", "--live"][..], "alive"), (&["health"], "ready")] {
        let output = container.exec(&[args, &file].concat());
        let text = said(&output);
        assert!(output.status.success() && text.ends_with(word), "{text}");
    }
}

fn wait_for_nobody(stage: &Stage, sink: &str) {
    let client = stage.kafka.client();
    wait_until("the group is empty", PATIENCE, || {
        match client.num_members(&stage.group(sink)) {
            Ok(0) => Ok(()),
            members => Err(format!("{members:?}")),
        }
    })
    .unwrap();
}
