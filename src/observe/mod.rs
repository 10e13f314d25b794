//! A running process from outside: what its admin server's pages say, as one picture that `outflow lag` prints and
//! `outflow top` shows.
//!
//! | file | owns |
//! |---|---|
//! | [`pages`] | the pages' JSON, as far as it is looked at; what an older or newer outflow leaves out is empty |
//! | [`client`] | asking for them |
//! | [`picture`] | sinks and groups as rows, the worst first (pure) |
//! | [`row`] | a row, its partitions, and how much they matter (pure) |
//! | [`words`] | times, paces and the rest in words (pure) |

pub mod client;
pub mod pages;
pub mod picture;
pub mod row;
pub mod words;

pub use client::Client;
pub use picture::{Partitions, Picture, Wanted};
pub use row::{Level, Part, Row, SinkState};
