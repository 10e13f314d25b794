//! TLS, credentials and privileges.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use outflow::check::{Finding, Verdict};
use outflow::config::settings::{ElasticsearchAuth, ElasticsearchSettings};
use outflow::sinks::elasticsearch::check;
use outflow::status::CircuitState;
use secrecy::SecretString;
use testbed::elasticsearch::{PASSWORD, USER};
use testbed::{Elasticsearch, ElasticsearchOptions, Fault, HttpProxy};

use super::support::{Driver, Server, assert_holds, fresh, settings};

fn basic(password: &str, settings: ElasticsearchSettings) -> ElasticsearchSettings {
    ElasticsearchSettings {
        auth: ElasticsearchAuth::Basic {
            user: USER.into(),
            password: SecretString::from(password.to_owned()),
        },
        ..settings
    }
}

#[test]
fn tls_and_passwords() {
    // Servers are large: not more at a time than needed.
    let turn = Server::take();
    let options = ElasticsearchOptions {
        secure: true,
        ..ElasticsearchOptions::default()
    };
    let server = Elasticsearch::start(&options).expect("Elasticsearch with security");
    let plain = ElasticsearchSettings {
        allowed_indices: vec!["secured".into()],
        ..settings(server.url(), "secured")
    };
    let trusting = ElasticsearchSettings {
        ca_file: server.ca_file().map(Into::into),
        ..plain.clone()
    };

    let mut driver = Driver::new(basic(PASSWORD, trusting.clone()));
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..100);
    driver.until_acked(0, 1, 100);

    let insecure = ElasticsearchSettings {
        insecure_skip_verify: true,
        ..plain.clone()
    };
    let mut driver = Driver::new(basic(PASSWORD, insecure));
    driver.open(1, "t", 1, 0);
    driver.append_all(1, 0..10);
    driver.until_acked(1, 1, 10);
    for (slot, n) in [(0, 100), (1, 10)] {
        assert_holds(&server.documents(), "secured", slot, n);
    }

    let reason = refused_by_the_server(basic("wrong-secret", trusting.clone()));
    assert!(
        reason.contains("401") && !reason.contains("wrong-secret"),
        "{reason}"
    );
    let reason = refused_by_the_server(basic(PASSWORD, plain.clone()));
    assert!(reason.contains("certificate"), "{reason}");

    let good = findings(&basic(PASSWORD, trusting.clone()));
    assert!(good.iter().all(|f| f.verdict == Verdict::Fine), "{good:?}");
    let locked_out = findings(&basic("wrong-secret", trusting));
    assert!(has_wrong(&locked_out, "401"), "{locked_out:?}");
    let distrusted = findings(&basic(PASSWORD, plain));
    assert!(has_wrong(&distrusted, "not reached"), "{distrusted:?}");
    drop(turn);
}

/// Why the circuit opens for a sink with these settings. Nothing is acked or refused.
fn refused_by_the_server(settings: ElasticsearchSettings) -> String {
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..10);
    driver.until_circuit(CircuitState::Open);
    assert!(driver.refused().is_empty());
    assert_eq!(driver.acked(0, 1), 0);
    driver.health().reason.unwrap()
}

fn findings(settings: &ElasticsearchSettings) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(check(settings, &["t".to_owned()]))
}

fn has_wrong(found: &[Finding], text: &str) -> bool {
    let is_it = |f: &Finding| f.verdict == Verdict::Wrong && f.to_string().contains(text);
    found.iter().any(is_it)
}

#[test]
fn what_is_forbidden_for_a_while_is_waited_for() {
    let server = Server::take();
    let forbidden = |op: &str| {
        let item = format!(
            r#"{{"{op}":{{"status":403,"error":{{"type":"security_exception","reason":"unauthorized"}}}}}}"#
        );
        Fault::Garbage(format!(r#"{{"errors":true,"items":[{item}]}}"#).into_bytes())
    };
    for fault in [Fault::status(401), Fault::status(403), forbidden("index")] {
        let index = fresh("forbidden");
        let proxy = HttpProxy::start(server.url()).unwrap();
        let mut driver = Driver::new(settings(&proxy.url(), &index));
        driver.open(0, "t", 1, 0);
        proxy.always(fault);
        driver.append_all(0, 0..1);
        driver.until_circuit(CircuitState::Open);
        driver.append_all(0, 1..50);
        proxy.heal();
        driver.until_acked(0, 1, 50);
        assert!(driver.refused().is_empty());
        assert_holds(&server.documents(), &index, 0, 50);
    }
}

#[test]
fn an_api_key_goes_into_its_header_and_nowhere_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        (&stream).write_all(answer.as_bytes()).unwrap();
        head
    });
    let settings = ElasticsearchSettings {
        auth: ElasticsearchAuth::ApiKey(SecretString::from("c2VjcmV0LWtleQ==".to_owned())),
        ..settings(&url, "x")
    };
    let mut driver = Driver::new(settings);
    driver.open(0, "t", 1, 0);
    driver.append_all(0, 0..1);
    driver.until_circuit(CircuitState::Open);
    let head = server.join().unwrap();
    let sent = head
        .iter()
        .any(|line| line.eq_ignore_ascii_case("authorization: ApiKey c2VjcmV0LWtleQ=="));
    assert!(sent, "{head:?}");
    let health = format!("{:?}", driver.health());
    assert!(
        health.contains("401") && !health.contains("c2VjcmV0"),
        "{health}"
    );
}
