//! rsyslog, as Debian has it: `imkafka` and `omelasticsearch`; Kafka Connect, as Maven has it: its runtime and its file sink.

use std::process::Command;
use std::time::Duration;

use testbed::error::Context;
use testbed::{Result, Stub};

use super::Bench;
use super::usage::{self, Usage};

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
    let mut command = Command::new("rsyslogd");
    command
        .args(["-n", "-f"])
        .arg(&file)
        .arg("-i")
        .arg(dir.join("pid"));
    let (_child, mut meter) = usage::start(&mut command)?;
    let wanted = bench.topic.num;
    meter.until("rsyslog reads the whole topic", PATIENCE, || {
        Ok(stub.num_docs() >= wanted)
    })
}

/// Kafka Connect's runtime reads the topic and throws it away: strings into a file that is `/dev/null`. What a sink for
/// Elasticsearch or HDFS does comes on top.
pub fn kafka_connect(bench: &Bench) -> Result<Usage> {
    let jars = testbed::artifacts::kafka_connect()?;
    let java = &testbed::artifacts::Artifacts::get()?.java;
    let dir = bench.dir.subdir("connect")?;
    let (broker, topic) = (bench.kafka.bootstrap(), &bench.topic.name);
    let port = testbed::ports::free_port()?;
    let strings = "org.apache.kafka.connect.storage.StringConverter";
    let worker = format!(
        "bootstrap.servers={broker}\nkey.converter={strings}\nvalue.converter={strings}\n\
         offset.storage.file.filename={}\noffset.flush.interval.ms=1000\nlisteners=http://127.0.0.1:{port}\n\
         consumer.auto.offset.reset=earliest\nplugin.discovery=only_scan\n",
        dir.join("offsets").display()
    );
    let name = "bench";
    let sink = format!(
        "name={name}\nconnector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\ntasks.max=1\n\
         topics={topic}\nfile=/dev/null\n"
    );
    let (worker_file, sink_file) = (dir.join("worker"), dir.join("sink"));
    std::fs::write(&worker_file, worker).context("can't write Connect's configuration")?;
    std::fs::write(&sink_file, sink).context("can't write Connect's configuration")?;
    let mut command = Command::new(java);
    command
        // As its scripts start it.
        .args([
            "-Xms256M",
            "-Xmx2G",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
        ])
        .arg(format!("{}/*", jars.display()))
        .arg("org.apache.kafka.connect.cli.ConnectStandalone")
        .args([worker_file, sink_file]);
    let (_child, mut meter) = usage::start(&mut command)?;
    let (client, group) = (bench.kafka.client(), format!("connect-{name}"));
    meter.until("Kafka Connect reads the whole topic", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        Ok(client.lag(&group, topic).is_ok_and(|lag| lag == 0))
    })
}
