//! Free ports on the loopback address.
//!
//! They come from below the kernel's range for outgoing connections, so that a service that is down
//! finds its port still free when it is started again. And they come from a block that a process has for
//! itself, by a lock, so that nobody who runs beside it takes them meanwhile.

use std::collections::HashSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rand::RngExt;

use crate::error::{Error, Result};

const FIRST: u16 = 11_000;
const END: u16 = 32_000;
/// Ports in a block; one is enough for a file of tests.
const BLOCK: u16 = 500;
const NUM_BLOCKS: u16 = (END - FIRST) / BLOCK;

/// A block of ports that are this process' alone while it runs.
struct Block {
    number: u16,
    _lock: File,
}

#[derive(Default)]
struct Given {
    ports: HashSet<u16>,
    blocks: Vec<Block>,
}

static GIVEN: Mutex<Option<Given>> = Mutex::new(None);

/// A port that nobody listens on now, and that this process hasn't given out before.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    loop {
        let numbers = given.blocks.iter().map(|block| block.number);
        let free = numbers
            .flat_map(ports)
            .find(|port| !given.ports.contains(port) && is_free(*port));
        if let Some(port) = free {
            given.ports.insert(port);
            return Ok(port);
        }
        let block = claim(&std::env::temp_dir()).ok_or_else(|| {
            Error::new(format!(
                "no free port was found on 127.0.0.1 between {FIRST} and {END}: other tests have them, or all that \
                 this process was given are taken"
            ))
        })?;
        given.blocks.push(block);
    }
}

/// Says whether `port` can be listened on now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The ports of a block, from one of them on.
fn ports(number: u16) -> impl Iterator<Item = u16> {
    let start = rand::rng().random_range(0..BLOCK);
    (0..BLOCK).map(move |n| FIRST + number * BLOCK + (start + n) % BLOCK)
}

/// A block that nobody has who looks at the same locks.
fn claim(locks: &Path) -> Option<Block> {
    let start = rand::rng().random_range(0..NUM_BLOCKS);
    let numbers = (0..NUM_BLOCKS).map(|n| (start + n) % NUM_BLOCKS);
    numbers.into_iter().find_map(|number| {
        let path = locks.join(format!("outflow-testbed-ports-{number}.lock"));
        // What another user has made can be read, and so be locked.
        let lock = File::open(&path).or_else(|_| File::create(&path)).ok()?;
        lock.try_lock().ok()?;
        Some(Block {
            number,
            _lock: lock,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_one_holders_until_that_lets_it_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let claim = || claim(dir.path());
        let held: Vec<Block> = std::iter::from_fn(claim).collect();
        let numbers: HashSet<u16> = held.iter().map(|block| block.number).collect();
        let all = usize::from(NUM_BLOCKS);
        assert_eq!((held.len(), numbers.len()), (all, all));
        drop(held);
        let again = claim().expect("they are free again");
        assert!(ports(again.number).all(|port| (FIRST..END).contains(&port)));
        assert_eq!(ports(again.number).count(), usize::from(BLOCK));
    }
}
