//! rsyslog, as Debian has it: `imkafka` and `omelasticsearch`.

use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::error::Context;
use testbed::{Result, Stub};

use super::Bench;
use super::usage::{Killed, Meter, Usage};

const PATIENCE: Duration = Duration::from_secs(600);

/// Whether rsyslog and both modules are there.
pub fn has_rsyslog() -> bool {
    let modules = ["imkafka.so", "omelasticsearch.so"];
    let dirs = [
        "/usr/lib/x86_64-linux-gnu/rsyslog",
        "/usr/lib/aarch64-linux-gnu/rsyslog",
    ];
    let there = |dir: &str| {
        let in_dir = |module: &&str| std::path::Path::new(dir).join(module).exists();
        modules.iter().all(in_dir)
    };
    dirs.iter().any(|dir| there(dir))
}

/// rsyslog reads the topic into the stub.
pub fn rsyslog(bench: &Bench, stub: &Stub, round: usize) -> Result<Usage> {
    let dir = bench.dir.subdir(&format!("rsyslog-{round}"))?;
    let port = stub.address().port();
    let broker = bench.kafka.bootstrap();
    let (topic, dir_name) = (&bench.topic.name, dir.display());
    let text = format!(
        "global(workDirectory=\"{dir_name}\")\n\
         module(load=\"imkafka\")\nmodule(load=\"omelasticsearch\")\n\
         template(name=\"plain\" type=\"string\" string=\"%rawmsg%\")\n\
         main_queue(queue.type=\"LinkedList\" queue.size=\"50000\" queue.dequeueBatchSize=\"2000\")\n\
         input(type=\"imkafka\" topic=\"{topic}\" broker=[\"{broker}\"] consumergroup=\"rsyslog-{round}\" \
         confParam=[\"auto.offset.reset=earliest\"])\n\
         action(type=\"omelasticsearch\" server=\"127.0.0.1\" serverport=\"{port}\" template=\"plain\" \
         searchIndex=\"bench\" searchType=\"\" bulkmode=\"on\" maxbytes=\"5m\")\n"
    );
    let file = dir.join("rsyslog.conf");
    std::fs::write(&file, text).context("can't write rsyslog.conf")?;
    let child = Command::new("rsyslogd")
        .arg("-n")
        .arg("-f")
        .arg(&file)
        .arg("-i")
        .arg(dir.join("pid"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = Killed(child.context("can't run rsyslogd")?);
    let mut meter = Meter::new(child.0.id());
    let wanted = bench.topic.num;
    meter.until("rsyslog reads the whole topic", PATIENCE, || {
        Ok(stub.num_docs() >= wanted)
    })
}
