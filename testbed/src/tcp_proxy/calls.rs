//! What the proxy sees of one chosen call: its request, and the answer to exactly that request.
//!
//! Hadoop's RPC and Kafka's protocol both send frames of a four byte length and a body, many calls at once on one
//! connection, each with a number that the answer repeats. So the proxy can lose one answer and pass all others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Result;
use crate::guard::wait_until;

use super::connection::Direction;
use super::frames::Frames;

/// Whose calls these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Hadoop's RPC without SASL, as between an HDFS client and the NameNode.
    Hadoop,
    /// Kafka's, without TLS.
    Kafka,
}

/// What becomes of a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The server does it; its answer, and no other, never comes back.
    LoseAnswer,
    /// The server does it; when its answer comes, the connection is cut instead.
    CutAtAnswer,
    /// The server never hears of it: the connection is cut instead.
    CutBefore,
    /// The request, and what the client sends after it on this connection, waits until [`Trap::let_go`].
    Hold,
    /// Both come through, changed: see [`super::TcpProxy::edit`].
    Edit,
}

/// What is changed in place in a frame.
pub type Edit = Box<dyn FnMut(&mut [u8]) + Send>;

/// A request as the proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The method's name (Hadoop), such as `rename2`; the API key (Kafka), such as `8` for OffsetCommit.
    pub name: String,
    /// The whole frame, its length included.
    pub frame: &'a [u8],
}

impl Call<'_> {
    /// Whether these bytes are in the request: a path, a topic, a group.
    pub fn contains(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.frame.windows(text.len().max(1)).any(|w| w == text)
    }
}

type Choice = Box<dyn FnMut(&Call<'_>) -> bool + Send>;

/// A trap that was set with [`super::TcpProxy::trap`]. Whoever sets another one replaces it.
pub struct Trap {
    state: Arc<State>,
}

struct State {
    then: Then,
    left: AtomicU64,
    chosen: AtomicU64,
    sprung: AtomicU64,
    choice: Mutex<Choice>,
    /// Of the request and of the answer.
    edits: Mutex<Option<(Edit, Edit)>>,
    held_tx: watch::Sender<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Waiting,
    Forward,
    Drop,
}

impl Trap {
    pub(super) fn new(times: u64, then: Then, choice: Choice, edits: Option<(Edit, Edit)>) -> Self {
        let state = State {
            then,
            left: AtomicU64::new(times),
            chosen: AtomicU64::new(0),
            sprung: AtomicU64::new(0),
            choice: Mutex::new(choice),
            edits: Mutex::new(edits),
            held_tx: watch::channel(Held::Waiting).0,
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// How many requests were chosen so far.
    pub fn num_chosen(&self) -> u64 {
        self.state.chosen.load(Ordering::SeqCst)
    }

    /// How many of them have had what was meant for them: their answer came and was lost, they were cut or are held.
    pub fn num_sprung(&self) -> u64 {
        self.state.sprung.load(Ordering::SeqCst)
    }

    /// Waits until so many have.
    pub fn wait(&self, num: u64, timeout: Duration) -> Result<()> {
        let what = format!("the proxy has seen the chosen call {num} times");
        wait_until(&what, timeout, || match self.num_sprung() {
            sprung if sprung >= num => Ok(()),
            sprung => Err(format!("{sprung} times; chosen {}", self.num_chosen())),
        })
    }

    /// Forwards what is held, and what would be held from now on.
    pub fn let_go(&self) {
        self.state.held_tx.send_replace(Held::Forward);
    }

    /// Cuts the connections of what is held, and of what would be held from now on: the server never hears of it.
    pub fn drop_held(&self) {
        self.state.held_tx.send_replace(Held::Drop);
    }
}

impl State {
    fn chooses(&self, call: &Call<'_>) -> bool {
        // The choice first: it may count what it sees.
        let chosen = lock(&self.choice)(call);
        let take = |left: u64| left.checked_sub(1);
        chosen
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
    }
}

/// The proxy's side of it: which trap is set.
pub(super) struct Traps {
    pub(super) protocol: Protocol,
    set: Mutex<Option<Arc<State>>>,
}

impl Traps {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            set: Mutex::new(None),
        }
    }

    pub(super) fn set(&self, trap: &Trap) {
        *lock(&self.set) = Some(Arc::clone(&trap.state));
    }
}

/// What to do with the next bytes of one direction.
pub(super) enum Step {
    Forward(Vec<u8>),
    Swallow(usize),
    /// Wait for the word, then forward or cut.
    Hold(Vec<u8>, Waiting),
    Cut,
}

pub(super) struct Waiting(watch::Receiver<Held>);

impl Waiting {
    /// Whether to forward. Without the trap's owner nobody would ever say so: then it is forwarded.
    pub(super) async fn word(mut self) -> bool {
        match self.0.wait_for(|held| *held != Held::Waiting).await {
            Ok(held) => *held == Held::Forward,
            Err(_) => true,
        }
    }
}

/// What is known of one connection, shared by its two directions.
pub(super) struct Conversation {
    traps: Arc<Traps>,
    doomed: Mutex<HashMap<i64, Arc<State>>>,
}

impl Conversation {
    pub(super) fn new(traps: Arc<Traps>) -> Self {
        Self {
            traps,
            doomed: Mutex::new(HashMap::new()),
        }
    }

    /// The splitter for one direction of it.
    pub(super) fn frames(&self, direction: Direction) -> Frames {
        Frames::new(self.traps.protocol, direction == Direction::ToServer)
    }

    /// What becomes of the next bytes.
    pub(super) fn see(&self, direction: Direction, frames: &mut Frames, bytes: &[u8]) -> Vec<Step> {
        let pieces = frames.push(bytes);
        let step = |frame: Vec<u8>| match direction {
            Direction::ToServer => self.request(frame),
            Direction::ToClient => self.answer(frame),
        };
        pieces.into_iter().map(step).collect()
    }

    fn request(&self, mut frame: Vec<u8>) -> Step {
        let Some(trap) = lock(&self.traps.set).clone() else {
            return Step::Forward(frame);
        };
        let Some((name, number)) = self.traps.protocol.request(&frame) else {
            return Step::Forward(frame);
        };
        let call = Call {
            name,
            frame: &frame,
        };
        if !trap.chooses(&call) {
            return Step::Forward(frame);
        }
        trap.chosen.fetch_add(1, Ordering::SeqCst);
        match trap.then {
            Then::Edit => {
                if let Some((edit, _)) = lock(&trap.edits).as_mut() {
                    edit(&mut frame);
                }
                lock(&self.doomed).insert(number, trap);
                Step::Forward(frame)
            }
            Then::LoseAnswer | Then::CutAtAnswer => {
                lock(&self.doomed).insert(number, trap);
                Step::Forward(frame)
            }
            Then::CutBefore => {
                trap.sprung.fetch_add(1, Ordering::SeqCst);
                Step::Cut
            }
            Then::Hold => {
                trap.sprung.fetch_add(1, Ordering::SeqCst);
                Step::Hold(frame, Waiting(trap.held_tx.subscribe()))
            }
        }
    }

    fn answer(&self, mut frame: Vec<u8>) -> Step {
        let number = self.traps.protocol.answer(&frame);
        match number.and_then(|number| lock(&self.doomed).remove(&number)) {
            None => Step::Forward(frame),
            Some(trap) => {
                trap.sprung.fetch_add(1, Ordering::SeqCst);
                match trap.then {
                    Then::CutAtAnswer => Step::Cut,
                    Then::Edit => {
                        if let Some((_, edit)) = lock(&trap.edits).as_mut() {
                            edit(&mut frame);
                        }
                        Step::Forward(frame)
                    }
                    _ => Step::Swallow(frame.len()),
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
