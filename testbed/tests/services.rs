//! The real services do what the testbed promises. One cluster for all of these tests.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use testbed::{
    CommittedFile, Elasticsearch, ElasticsearchOptions, Generator, HttpProxy, Ids, KafkaClient,
    Mode, Producer, TcpProxy, check_elasticsearch, check_hdfs, exclusive, guard::wait_until,
    http::Http,
};

fn connects(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn kafka_keeps_its_records_and_ports_across_a_kill() {
    let cluster = exclusive();
    let kafka = cluster.kafka.client();
    kafka.create_topic("smoke", 3, &[]).expect("a topic");
    let producer = Producer::new(&cluster.kafka.bootstrap()).expect("a producer");
    let mut generator = Generator::new("smoke", 1).keys(10);
    producer
        .produce("smoke", &mut generator, 300)
        .expect("acknowledgements");
    cluster.kafka.kill().expect("a kill");
    assert!(!connects(&cluster.kafka.bootstrap()));
    cluster.kafka.heal().expect("a restart");

    let ledger = producer.ledger();
    assert_eq!(ledger.len(), 300);
    let records = kafka.read_all("smoke").expect("its records");
    assert_eq!(records.len(), 300);
    for record in &records {
        let entry = ledger
            .get("smoke", record.partition, record.offset)
            .expect("an entry");
        assert_eq!((&entry.key, &entry.value), (&record.key, &record.value));
    }
    kafka.delete_records("smoke", 0, 5).expect("a truncation");
    assert_eq!(kafka.watermarks("smoke").expect("offsets")[&0].0, 5);
    kafka.add_partitions("smoke", 5).expect("more partitions");
    assert_eq!(
        kafka.committed("nobody", "smoke").expect("offsets").len(),
        0
    );
    kafka.delete_topic("smoke").expect("a deletion");
}

#[test]
fn a_client_behind_the_kafka_proxy_stays_behind_it() {
    let cluster = exclusive();
    cluster
        .kafka
        .client()
        .create_topic("proxied", 1, &[])
        .expect("a topic");
    let (listen, target) = cluster.kafka.proxy_addresses(0).expect("addresses");
    let proxy = TcpProxy::start_at(&listen, &target, 1).expect("a proxy");
    let producer = Producer::new(&proxy.address()).expect("a producer");
    producer
        .produce("proxied", &mut Generator::new("p", 1), 10)
        .expect("acknowledgements");
    proxy.set(Mode::Refuse).expect("a switch");
    let client = KafkaClient::new(cluster.kafka.bootstrap());
    assert_eq!(client.read_all("proxied").expect("records").len(), 10);
    let sent = proxy.counters().bytes_to_server;
    producer
        .send("proxied", &Generator::new("p", 2).record())
        .expect("room in the queue");
    proxy.set(Mode::Pass).expect("a switch");
    producer
        .flush()
        .expect("an acknowledgement after the outage");
    assert!(proxy.counters().bytes_to_server > sent);
}

#[test]
fn elasticsearch_freezes_thaws_and_stops() {
    let cluster = exclusive();
    let documents = cluster.elasticsearch.documents();
    let http = cluster.elasticsearch.http();
    documents
        .create_index("smoke", &json!({"settings": {"number_of_replicas": 0}}))
        .expect("one");
    let mut ledger = testbed::Ledger::default();
    for offset in 0..2500_i64 {
        let value = Some(format!("{{\"n\":{offset}}}").into_bytes());
        let topic = "smoke".to_owned();
        ledger.add(testbed::Entry {
            topic,
            partition: 0,
            offset,
            key: None,
            value,
        });
    }
    let lines = ledger.iter().map(|entry| {
        let value = String::from_utf8_lossy(entry.value.as_deref().unwrap_or_default());
        format!(
            "{{\"index\":{{\"_id\":\"smoke+0+{}\"}}}}\n{value}\n",
            entry.offset
        )
    });
    let body = lines.collect::<String>().into_bytes();
    let proxy = HttpProxy::start(cluster.elasticsearch.url()).expect("a proxy");
    let through = Http::new(proxy.url());
    let body = Some(("application/x-ndjson", body));
    let answer = through
        .send(reqwest::Method::POST, "/smoke/_bulk", body)
        .expect("an answer");
    assert_eq!(answer.json().expect("JSON")["errors"], json!(false));
    let all = documents.all("smoke").expect("documents");
    check_elasticsearch(&ledger, &all, Ids::Offset).assert_clean();
    assert_eq!(documents.count("smoke").expect("a count"), 2500);

    cluster.elasticsearch.node().freeze().expect("a freeze");
    assert!(
        http.clone()
            .with_timeout(Duration::from_millis(300))
            .get("/_cluster/health")
            .is_err()
    );
    cluster.elasticsearch.node().thaw().expect("a thaw");
    http.get_json("/_cluster/health").expect("an answer");
    cluster.elasticsearch.node().stop().expect("a stop");
    assert!(http.get("/_cluster/health").is_err());
    cluster.elasticsearch.node().start().expect("a start");
    assert_eq!(documents.count("smoke").expect("a count"), 2500);
    documents.delete_index("smoke").expect("a deletion");
}

#[test]
fn a_secure_elasticsearch_wants_its_authority_and_a_user() {
    let _turn = exclusive();
    let options = ElasticsearchOptions {
        secure: true,
        ..ElasticsearchOptions::default()
    };
    let secure = Elasticsearch::start(&options).expect("a secure Elasticsearch");
    let ca_file = secure.ca_file().expect("a certificate");
    let trusting = Http::new(secure.url())
        .with_ca_file(ca_file)
        .expect("a client");
    assert_eq!(
        trusting.get("/_cluster/health").expect("an answer").status,
        401
    );
    assert!(
        Http::new(secure.url()).get("/_cluster/health").is_err(),
        "nobody else trusts it"
    );
    assert_eq!(
        secure
            .http()
            .get("/_cluster/health")
            .expect("an answer")
            .status,
        200
    );
}

#[test]
fn hdfs_reads_back_what_was_written_across_a_kill() {
    let cluster = exclusive();
    let files = cluster.hdfs.files();
    let mut ledger = testbed::Ledger::default();
    let lines: Vec<Vec<u8>> = (0..5)
        .map(|n| format!("{{\"n\":{n}}}").into_bytes())
        .collect();
    for (offset, line) in (0..).zip(&lines) {
        let (topic, value) = ("t".to_owned(), Some(line.clone()));
        ledger.add(testbed::Entry {
            topic,
            partition: 0,
            offset,
            key: None,
            value,
        });
    }
    let path = format!("/smoke/t/a=1 b/t+0+{:020}+{:020}.json.zst", 0, 4);
    let plain: Vec<u8> = lines
        .iter()
        .flat_map(|line| [line.as_slice(), b"\n"].concat())
        .collect();
    let stored = zstd::encode_all(plain.as_slice(), 1).expect("zstd");
    files.write(&path, stored).expect("a file");
    files
        .write("/smoke/_outflow/x", b"not a reader's".to_vec())
        .expect("a file");

    cluster.hdfs.kill().expect("a kill");
    cluster.hdfs.heal().expect("a restart");
    let committed: Vec<CommittedFile> = files.committed("/smoke").expect("files");
    check_hdfs(&ledger, "/smoke", &committed).assert_clean();
    let listed = files.list_recursive("/smoke").expect("a listing");
    assert!(
        listed
            .iter()
            .any(|status| status.path == path && status.len > 0)
    );
    assert!(
        cluster
            .hdfs
            .shell(&["-ls", "/smoke"])
            .expect("FsShell")
            .contains("/smoke/t")
    );
    files.delete("/smoke").expect("a deletion");
}

#[test]
fn nothing_is_left_of_a_killed_testbed() {
    // Not beside the shared cluster's own work: this is the heaviest test.
    let _turn = exclusive();
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    let mut up = command
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()
        .expect("testbed up");
    let mut said = std::io::BufReader::new(up.stdout.take().expect("its output"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("its addresses");
    let addresses: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let address = |part: &str, name: &str| {
        let text = addresses[part][name].as_str().expect("an address");
        text.rsplit('/').next().expect("host:port").to_owned()
    };
    let ports = [
        address("kafka", "bootstrap"),
        address("elasticsearch", "url"),
        address("hdfs", "url"),
        address("hdfs", "http"),
    ];
    assert!(ports.iter().all(|port| connects(port)));
    let config = addresses["hdfs"]["config_dir"]
        .as_str()
        .expect("a folder")
        .to_owned();
    up.kill().expect("SIGKILL");
    up.wait().expect("its end");
    wait_until(
        "all ports are closed",
        Duration::from_secs(20),
        || match ports.iter().find(|port| connects(port)) {
            None => Ok(()),
            Some(port) => Err(format!("{port} is open")),
        },
    )
    .expect("closed ports");
    wait_until("its folder is gone", Duration::from_secs(20), || {
        if std::path::Path::new(&config).exists() {
            Err(config.clone())
        } else {
            Ok(())
        }
    })
    .expect("no folder");
}
