//! Memory limits at eight partitions, with a backlog, and with a sink that doesn't answer.

use testbed::exclusive;

use super::container::{Container, ELASTICSEARCH, HDFS, MIB};
use super::podman::{podman, tell};
use super::support::Stage;

/// Several times of what either container may have: what isn't bounded would fill it.
const NUM_RECORDS: usize = 100_000;
/// Files as large as in use: four are open at a time, and eight partitions take turns.
const FILES: [&str; 2] = [
    "OUTFLOW_HDFS__ROTATE__RECORDS=10000",
    "OUTFLOW_HDFS__ROTATE__AGE=10s",
];

#[test]
fn a_backlog_of_eight_partitions_is_worked_off_within_64_and_128_mib() {
    let Some(podman) = podman() else { return };
    let cluster = exclusive();
    let stage = Stage::new(&cluster, "container-memory", 8);
    let ledger = stage.produce(NUM_RECORDS, 7);

    // Elasticsearch takes requests and answers none, for as long as HDFS needs: the queues fill to their bounds.
    cluster.elasticsearch.node().freeze().unwrap();
    let elasticsearch = Container::start(podman, &stage, ELASTICSEARCH, &podman.older, &[]);
    let hdfs = Container::start(podman, &stage, HDFS, &podman.older, &FILES);
    hdfs.wait_caught_up(&stage);
    cluster.elasticsearch.node().thaw().unwrap();
    elasticsearch.wait_caught_up(&stage);

    for container in [elasticsearch, hdfs] {
        let (name, limit, peak) = (container.kind.name, container.kind.limit, container.peak());
        let held = match container.is_limited() {
            true => "held to it by the kernel",
            false => "NOT TESTED: the kernel holds no container to a limit here; measured instead",
        };
        let (peak_mib, limit_mib) = (peak / MIB, limit / MIB);
        tell(&format!(
            "{name}: {peak_mib} MiB at most, of {limit_mib} ({held})"
        ));
        assert!(peak <= limit, "{name}: {peak_mib} MiB");
        // An exit code of 0: it wasn't killed for its memory, then or now.
        container.stop();
    }
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}
