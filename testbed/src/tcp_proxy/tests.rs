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

/// Answers every frame with its call's number, as Kafka would, and tells which calls it has done.
fn kafka_server() -> (String, std::sync::mpsc::Receiver<i32>) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address").to_string();
    let (done_tx, done_rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let done_tx = done_tx.clone();
            std::thread::spawn(move || {
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    let number = request[8..].try_into().expect("four bytes");
                    let _ = done_tx.send(i32::from_be_bytes(number));
                    let answer = [&[0, 0, 0, 4], &request[8..]].concat();
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, done_rx)
}

fn call(stream: &mut StdStream, key: u8, number: u8) {
    let request = [0, 0, 0, 8, 0, key, 0, 0, 0, 0, 0, number];
    stream.write_all(&request).expect("a request");
}

fn answer(stream: &mut StdStream) -> std::io::Result<u8> {
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).map(|()| answer[7])
}

#[test]
fn the_answer_to_one_chosen_call_is_lost_and_all_others_come() {
    let (server, done) = kafka_server();
    let listen = format!("127.0.0.1:{}", crate::ports::free_port().expect("a port"));
    let proxy = TcpProxy::start_for(Protocol::Kafka, &listen, &server, 1).expect("a proxy");
    let mut stream = connect(&proxy);
    let mut commits = 0;
    let second_commit = move |call: &Call<'_>| {
        commits += usize::from(call.name == "8");
        commits == 2
    };
    let trap = proxy.trap(1, Then::LoseAnswer, second_commit);
    let trap = trap.expect("a trap");
    for (key, number) in [(8, 1), (1, 2), (8, 3), (1, 4), (8, 5)] {
        call(&mut stream, key, number);
    }
    let came: Vec<_> = (0..4).map(|_| answer(&mut stream).expect("it")).collect();
    assert_eq!(came, [1, 2, 4, 5]);
    assert_eq!((trap.num_chosen(), trap.num_sprung()), (1, 1));
    let done: Vec<_> = done.iter().take(5).collect();
    assert_eq!(done, [1, 2, 3, 4, 5], "the server has done it");

    let trap = proxy.trap(1, Then::CutAtAnswer, |call| call.name == "8");
    call(&mut stream, 8, 6);
    assert!(answer(&mut stream).is_err());
    assert_eq!(trap.expect("a trap").num_sprung(), 1);
}

#[test]
fn a_held_call_is_done_when_it_is_let_go_and_never_when_it_is_dropped() {
    let (server, done) = kafka_server();
    let listen = format!("127.0.0.1:{}", crate::ports::free_port().expect("a port"));
    let proxy = TcpProxy::start_for(Protocol::Kafka, &listen, &server, 1).expect("a proxy");
    for is_let_go in [true, false] {
        let mut stream = connect(&proxy);
        let trap = proxy.trap(1, Then::Hold, |call| call.name == "8");
        let trap = trap.expect("a trap");
        call(&mut stream, 8, 1);
        trap.wait(1, Duration::from_secs(20)).expect("it is held");
        assert!(done.try_recv().is_err(), "the server knows it");
        match is_let_go {
            true => {
                trap.let_go();
                assert_eq!(answer(&mut stream).ok(), Some(1));
                assert_eq!(done.recv(), Ok(1));
            }
            false => {
                trap.drop_held();
                assert!(answer(&mut stream).is_err());
            }
        }
    }
    assert!(done.try_recv().is_err(), "the server knows it");
}
