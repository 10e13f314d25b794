//! The fault suite: each case loads the pipeline, breaks one thing, proves that it broke and that records moved
//! meanwhile, mends it, and then holds what the broker acknowledged against both sinks, three times: after the
//! drain, after a kill -9, and after a restart.
//!
//! | module | what |
//! |---|---|
//! | [`case`] | what a case is: data, and a [`case::Fault`] |
//! | [`cases`] | the catalogue |
//! | [`claims`] | what a fault says about the ledger |
//! | [`world`], [`servers`] | the servers, proxies, processes and the load of one run |
//! | [`config`] | outflow's configuration for a run |
//! | [`watch`] | committed offsets and memory, sampled from outside |
//! | [`judge`] | ledger against sinks, committed offsets against sinks, secrets in output |
//! | [`run`] | one case from warm-up to verdict |
//! | [`random`] | faults drawn from all cases, two at a time too |
//! | [`outcome`] | what came of it: a line of the table, JSON |
//! | [`command`] | `testbed chaos` |

pub mod case;
pub mod cases;
pub mod claims;
pub mod command;
pub mod config;
pub mod judge;
pub mod outcome;
pub mod random;
pub mod run;
pub mod servers;
pub mod watch;
pub mod world;

pub use case::{Case, Fault, Seen, Setup, Sink, Target};
pub use outcome::Outcome;
pub use run::{Pace, run_case};
pub use world::World;
