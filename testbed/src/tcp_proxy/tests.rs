//! Against an echo server: each mode does what it says, for new and for open connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};

use super::*;

/// Answers every byte with itself, for as long as the test process lives.
fn echo_server() -> String {
    let listener = StdListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut buffer = [0; 4096];
                while let Ok(num @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..num]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn proxy() -> TcpProxy {
    TcpProxy::start(&echo_server(), 1).expect("a proxy")
}

fn connect(proxy: &TcpProxy) -> StdStream {
    let stream = StdStream::connect(proxy.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

fn echo(stream: &mut StdStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// No answer comes while the mode holds; a short wait can only miss a fault, not invent one.
fn says_nothing(stream: &mut StdStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let silent = echo(stream, b"x").is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    silent
}

/// Sets a trap for "stop" and returns where it tells what it has done.
fn trapped(proxy: &TcpProxy, spring: Spring) -> std::sync::mpsc::Receiver<()> {
    let (done_tx, done_rx) = std::sync::mpsc::sync_channel(1);
    proxy.set_trap(Some(Trap {
        is_it: Box::new(|data| data.starts_with(b"stop")),
        spring,
        action: Box::new(move || done_tx.send(()).expect("somebody waits")),
    }));
    done_rx
}

#[test]
fn a_trap_springs_once_before_or_after_its_request_and_the_connection_is_gone() {
    let proxy = proxy();
    for (number, spring) in [(1, Spring::Before), (2, Spring::After)] {
        let done_rx = trapped(&proxy, spring);
        let mut stream = connect(&proxy);
        assert_eq!(echo(&mut stream, b"go on").expect("an echo"), b"go on");
        let sent = proxy.counters().bytes_to_server;
        assert!(echo(&mut stream, b"stop").is_err(), "{spring:?}");
        done_rx
            .recv_timeout(Duration::from_secs(20))
            .expect("the action");
        assert_eq!(proxy.num_sprung(), number);
        let forwarded = proxy.counters().bytes_to_server - sent;
        assert_eq!(forwarded, if spring == Spring::After { 4 } else { 0 });
        let mut stream = connect(&proxy);
        assert_eq!(echo(&mut stream, b"stop").expect("an echo"), b"stop");
    }
}

#[test]
fn passes_both_ways_and_counts() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    assert_eq!(echo(&mut stream, b"hello").ok(), Some(b"hello".to_vec()));
    let counters = proxy.counters();
    assert_eq!((counters.accepted, counters.bytes_to_server), (1, 5));
}

#[test]
fn refuse_closes_and_refuses_until_it_is_over() {
    let proxy = proxy();
    let mut open = connect(&proxy);
    assert!(echo(&mut open, b"hello").is_ok());
    proxy.set(Mode::Refuse).expect("a switch");
    assert!(
        echo(&mut open, b"hello").is_err(),
        "an open connection goes on"
    );
    let refused = StdStream::connect(proxy.address()).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    proxy.set(Mode::Pass).expect("a switch");
    assert!(echo(&mut connect(&proxy), b"hello").is_ok());
}

#[test]
fn a_black_hole_accepts_and_is_silent_and_goes_on_afterwards() {
    let proxy = proxy();
    let mut open = connect(&proxy);
    assert!(echo(&mut open, b"hello").is_ok());
    proxy.set(Mode::Blackhole).expect("a switch");
    assert!(says_nothing(&mut open));
    let mut new = connect(&proxy);
    assert!(says_nothing(&mut new));
    assert_eq!(proxy.counters().bytes_to_server, 5);
    // Like a frozen process that wakes up: what was sent meanwhile arrives.
    proxy.set(Mode::Pass).expect("a switch");
    let mut late = [0; 1];
    assert!(new.read_exact(&mut late).is_ok() && late == *b"x");
}

#[test]
fn swallowed_responses_reach_the_server() {
    let proxy = proxy();
    proxy.set(Mode::SwallowResponses).expect("a switch");
    assert!(says_nothing(&mut connect(&proxy)));
    let swallowed = || match proxy.counters() {
        Counters {
            bytes_to_server: 1,
            bytes_swallowed: 1,
            bytes_to_client: 0,
            ..
        } => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until(
        "one byte there, one swallowed",
        Duration::from_secs(10),
        swallowed,
    )
    .expect("both");
}

#[test]
fn a_half_open_connection_swallows_requests() {
    let proxy = proxy();
    proxy.set(Mode::HalfOpen).expect("a switch");
    assert!(says_nothing(&mut connect(&proxy)));
    assert_eq!(proxy.counters().bytes_to_server, 0);
}

#[test]
fn cut_after_so_many_bytes_of_an_answer() {
    let proxy = proxy();
    proxy
        .set(Mode::CutAfter {
            to_server: None,
            to_client: Some(3),
        })
        .expect("a switch");
    let mut stream = connect(&proxy);
    stream.write_all(b"hello").expect("a request");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"hel");
    wait_until(
        "the cut is counted",
        Duration::from_secs(10),
        || match proxy.counters().cut {
            1 => Ok(()),
            num => Err(format!("{num}")),
        },
    )
    .expect("one cut");
}

#[test]
fn reset_is_a_reset() {
    let proxy = proxy();
    let mut open = connect(&proxy);
    assert!(echo(&mut open, b"hello").is_ok());
    proxy.set(Mode::Reset).expect("a switch");
    let error = open.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(error.err(), Some(ErrorKind::ConnectionReset));
}

#[test]
fn slow_modes_lose_nothing() {
    let proxy = proxy();
    let text = vec![b'a'; 2000];
    let millis = Duration::from_millis;
    for mode in [
        Mode::Delay {
            delay: millis(5),
            jitter: millis(10),
        },
        Mode::Throttle {
            bytes_per_second: 20_000,
        },
    ] {
        proxy.set(mode).expect("a switch");
        assert_eq!(echo(&mut connect(&proxy), &text).ok(), Some(text.clone()));
    }
}
