//! Memory limits at eight partitions: with a backlog, with a sink that doesn't answer, and with `verify` beside a sink that
//! works.

use std::ops::Range;

use testbed::{Generator, exclusive};

use super::container::{Container, ELASTICSEARCH, HDFS, MIB};
use super::podman::{podman, said, tell};
use super::support::Stage;

/// Several times of what either container may have: what isn't bounded would fill it.
const NUM_RECORDS: usize = 100_000;
/// Records of which `verify` would hold 130 MiB if it didn't go by the sink's memory: five windows of 2,000 records, each
/// with its document three times.
const NUM_LARGE: usize = 12_000;
const LARGE: Range<usize> = 4_000..4_001;
/// Records that must have moved before and after it is asked.
const SOME: i64 = 1_000;
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
    let mut ledger = stage.produce(NUM_RECORDS, 7);

    // Elasticsearch takes requests and answers none, for as long as HDFS needs: the queues fill to their bounds.
    cluster.elasticsearch.node().freeze().unwrap();
    let elasticsearch = Container::start(podman, &stage, ELASTICSEARCH, &podman.older, &[]);
    let hdfs = Container::start(podman, &stage, HDFS, &podman.older, &FILES);
    hdfs.wait_caught_up(&stage);
    cluster.elasticsearch.node().thaw().unwrap();
    elasticsearch.wait_caught_up(&stage);
    for container in [&elasticsearch, &hdfs] {
        is_within_its_limit(container);
    }

    // Asked within the container of a sink that works.
    let large = Generator::new(&stage.topic, 9).padding(LARGE);
    ledger.merge(stage.produce_by(NUM_LARGE, large));
    let load = stage.load(1_000, 8);
    for container in [&elasticsearch, &hdfs] {
        is_verified_from_within(&stage, container);
        knows_its_limit_from_within(container);
    }
    ledger.merge(load.stop().unwrap());

    for container in [elasticsearch, hdfs] {
        container.wait_caught_up(&stage);
        // An exit code of 0: it wasn't killed for its memory, then or now.
        container.stop();
    }
    stage.check_elasticsearch(&ledger);
    stage.check_hdfs(&ledger);
}

fn is_within_its_limit(container: &Container) {
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
}

fn is_verified_from_within(stage: &Stage, container: &Container) {
    container.wait_for_progress(stage, SOME);
    let file = "/etc/outflow/outflow.toml";
    let verified = container.exec(&["verify", "--deep", "--config", file]);
    let text = said(&verified);
    let all = "Everything that can be judged is there.";
    let (status, kind) = (verified.status, container.kind.name);
    assert!(
        status.success() && text.ends_with(all),
        "verify beside {kind}: {status} (137: killed for its memory): {text}"
    );
    // The kernel took neither of the two for its memory.
    container.wait_for_progress(stage, SOME);
}

/// `check` goes by what the kernel holds the container to.
fn knows_its_limit_from_within(container: &Container) {
    let check = |memory: &[&str]| {
        let file = ["check", "--config", "/etc/outflow/outflow.toml"];
        let checked = container.exec(&[&file, memory].concat());
        assert!(checked.status.success(), "{}", said(&checked));
        said(&checked)
    };
    let fits = check(&[]);
    assert!(!fits.contains("the process may have"), "{fits}");
    if container.is_limited() {
        let too_much = check(&["--set", "memory=1GiB"]);
        let limit = format!("the process may have {}MiB", container.kind.limit / MIB);
        assert!(too_much.contains(&limit), "{too_much}");
    }
}
