//! Free ports on the loopback address.
//!
//! They come from below the kernel's range for outgoing connections, so that a service that is down
//! finds its port still free when it is started again.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use rand::RngExt;

use crate::error::{Error, Result};

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody listens on now, and that this process hasn't given out before.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let mut rng = rand::rng();
    for _ in 0..2000 {
        let port = rng.random_range(11_000..32_000);
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::new(
        "no free port was found on 127.0.0.1 between 11000 and 32000",
    ))
}

/// Says whether `port` can be listened on now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
