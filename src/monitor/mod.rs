//! Watching consumer groups: of whole clusters from outside (`outflow monitor`), and of this process' own sinks from what
//! their workers know (`outflow run`). Both feed the same [`lag`](crate::lag) store, which the admin server shows.
//!
//! | file | owns |
//! |---|---|
//! | [`watched`] | one cluster: how it is judged, what is known of it |
//! | [`words`] | verdicts as observers read them |

pub mod watched;
pub mod words;

pub use watched::{About, Clusters, Judged, Standing, Watched, judge};
