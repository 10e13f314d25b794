//! Against a small server that answers bulk requests as Elasticsearch does.

use serde_json::{Value, json};

use super::*;
use crate::http::{Answer, Http};

type Seen = Arc<Mutex<Vec<String>>>;

/// Remembers each body and says 201 to each of its items.
fn server() -> (String, Seen) {
    let seen = Seen::default();
    let address = SocketAddr::from(([127, 0, 0, 1], crate::ports::free_port().expect("a port")));
    let listener = block_on(async move { TcpListener::bind(address).await }).expect("a listener");
    let theirs = Arc::clone(&seen);
    runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&theirs);
            let answer = move |request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    let text = String::from_utf8_lossy(&body).into_owned();
                    let items = text.lines().filter(|line| line.contains("_id"));
                    let items: Vec<Value> = items
                        .map(|_| json!({ "index": { "status": 201 } }))
                        .collect();
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(text);
                    let answer = json!({ "took": 1, "errors": false, "items": items });
                    Ok::<_, hyper::Error>(Response::new(Reply::whole(answer.to_string())))
                }
            };
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    (format!("http://{address}"), seen)
}

fn bulk(proxy: &HttpProxy, num: usize) -> Result<Answer> {
    let body: String = (0..num)
        .map(|n| format!("{{\"index\":{{\"_index\":\"i\",\"_id\":\"{n}\"}}}}\n{{\"n\":{n}}}\n"))
        .collect();
    let body = Some(("application/x-ndjson", body.into_bytes()));
    Http::new(proxy.url()).send(hyper::Method::POST, "/_bulk?filter_path=items", body)
}

fn statuses(answer: &Answer) -> Vec<u64> {
    let answer = answer.json().expect("JSON");
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["index"]["status"].as_u64())
        .collect()
}

fn num_seen(seen: &Seen) -> usize {
    seen.lock().unwrap_or_else(PoisonError::into_inner).len()
}

#[test]
fn a_script_is_met_one_request_after_the_other() {
    let (target, seen) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    let busy = Fault::Answer {
        status: 429,
        retry_after: Some(7),
        body: "{}".to_owned(),
    };
    proxy.script([busy, Fault::Pass, Fault::status(503)]);
    let got: Vec<u16> = (0..4)
        .map(|_| bulk(&proxy, 1).expect("an answer").status)
        .collect();
    assert_eq!(got, [429, 200, 503, 200]);
    assert_eq!(
        (
            num_seen(&seen),
            proxy.counters().faults,
            proxy.num_scripted()
        ),
        (2, 2, 0)
    );
}

#[test]
fn only_matching_requests_take_part() {
    let (target, _) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    proxy.always(Fault::status(503));
    let other = Http::new(proxy.url())
        .get("/_cluster/health")
        .expect("an answer");
    assert_eq!(
        (other.status, bulk(&proxy, 1).expect("an answer").status),
        (200, 503)
    );
    assert_eq!(proxy.authorizations().into_iter().collect::<Vec<_>>(), [""]);
    proxy.heal();
    assert_eq!(bulk(&proxy, 1).expect("an answer").status, 200);
}

#[test]
fn a_dropped_response_was_done_by_the_server() {
    let (target, seen) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    proxy.script([Fault::DropResponse, Fault::DropRequest, Fault::Truncate(10)]);
    assert!(bulk(&proxy, 1).is_err());
    assert_eq!(num_seen(&seen), 1);
    assert!(bulk(&proxy, 1).is_err());
    assert_eq!(num_seen(&seen), 1);
    assert!(bulk(&proxy, 1).is_err());
    assert_eq!(num_seen(&seen), 2);
}

#[test]
fn a_truncated_answer_begins_and_breaks_off() {
    use std::io::{Read, Write};
    let (target, _) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    proxy.script([Fault::Truncate(10)]);
    let mut stream = std::net::TcpStream::connect(proxy.address).expect("a connection");
    let action = "{\"index\":{\"_id\":\"1\"}}\n{}\n";
    let head = format!(
        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        action.len()
    );
    stream
        .write_all(format!("{head}{action}").as_bytes())
        .expect("a request");
    let mut answer = String::new();
    // Ends, or is reset, once the ten bytes are through.
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body.len(), 10, "{body}");
}

#[test]
fn large_bodies_are_refused_and_something_is_done_after_an_answer() {
    let (target, seen) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    proxy.always(Fault::TooLarge(100));
    assert_eq!(bulk(&proxy, 1).expect("small").status, 200);
    assert_eq!(bulk(&proxy, 10).expect("large").status, 413);
    assert_eq!((proxy.counters().faults, num_seen(&seen)), (1, 1));
    let (told_tx, told_rx) = std::sync::mpsc::sync_channel(1);
    let then = Fault::Then(Arc::new(move || told_tx.send(()).expect("somebody waits")));
    proxy.script([then]);
    assert_eq!(bulk(&proxy, 1).expect("an answer").status, 200);
    told_rx
        .recv_timeout(Duration::from_secs(20))
        .expect("to be told");
}

#[test]
fn honest_edits_are_kept_from_the_server_and_lies_are_not() {
    let (target, seen) = server();
    let proxy = HttpProxy::start(&target).expect("a proxy");
    proxy.script([Fault::items(&[1], 429), Fault::items(&[0, 1, 2], 400)]);
    assert_eq!(
        statuses(&bulk(&proxy, 3).expect("an answer")),
        [201, 429, 201]
    );
    let forwarded = seen.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
    assert!(
        forwarded.contains(r#"{"n":0}"#) && !forwarded.contains(r#"{"n":1}"#),
        "{forwarded}"
    );
    // Nothing is left to forward.
    assert_eq!(
        statuses(&bulk(&proxy, 3).expect("an answer")),
        [400, 400, 400]
    );
    assert_eq!(num_seen(&seen), 1);

    let edit: EditItem = Arc::new(|item| (item.place == 2).then(|| ItemFault::status(503)));
    proxy.script([Fault::EditItems {
        edit,
        honest: false,
    }]);
    assert_eq!(
        statuses(&bulk(&proxy, 3).expect("an answer")),
        [201, 201, 503]
    );
    let forwarded = seen.lock().unwrap_or_else(PoisonError::into_inner)[1].clone();
    assert!(forwarded.contains(r#"{"n":2}"#), "{forwarded}");
    assert_eq!(proxy.counters().edited_items, 5);
}
