//! Watching consumer groups: of whole clusters from outside (`outflow monitor`), and of this process' own sinks from what
//! their workers know (`outflow run`). Both feed the same [`lag`](crate::lag) store, which the admin server shows.
//!
//! | file | owns |
//! |---|---|
//! | [`watched`] | one cluster: how it is judged, what is known of it |
//! | [`words`] | verdicts as observers read them |
//! | [`cluster`] | a cluster's two threads: topics and log ends; what groups commit |
//! | `progress` | how far that was read (pure) |
//! | [`inside`] | this process' own sinks |

pub mod cluster;
pub mod inside;
mod progress;
pub mod watched;
pub mod words;

use std::sync::Arc;

use crate::clock::unix_ms;
use crate::config::settings::ClusterSettings;
use crate::error::Error;
use crate::kafka::watch::MONITOR;
use crate::lag::Store;

pub use cluster::Watch;
pub use watched::{About, Clusters, Judged, Standing, Watched, Who, judge};

/// The clusters of a monitor.
#[derive(Debug)]
pub struct Monitor {
    clusters: Clusters,
    watches: Vec<Watch>,
}

impl Monitor {
    /// Starts to watch.
    ///
    /// # Errors
    /// There are no threads to be had.
    pub fn start(settings: &[ClusterSettings]) -> Result<Self, Error> {
        let clusters: Clusters = settings.iter().map(|s| Arc::new(watched(s))).collect();
        let pairs = settings.iter().zip(&clusters);
        let watches: Result<_, _> = pairs.map(|(s, watched)| Watch::start(s, watched)).collect();
        Ok(Monitor {
            watches: watches?,
            clusters,
        })
    }

    /// What is known.
    pub fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    /// Clusters whose threads are gone: a fault of outflow, and only a restart helps.
    pub fn dead(&self) -> Vec<&str> {
        let pairs = self.clusters.iter().zip(&self.watches);
        let dead = pairs.filter(|(_, watch)| !watch.is_alive());
        dead.map(|(watched, _)| &*watched.about.name).collect()
    }

    /// Ends all of it, soon.
    pub fn stop(&self) {
        self.watches.iter().for_each(Watch::stop);
    }
}

fn watched(settings: &ClusterSettings) -> Watched {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let servers = settings.bootstrap_servers.split(',');
    let about = About {
        name: settings.name.clone(),
        servers: servers.map(|server| server.trim().to_owned()).collect(),
        client_id: MONITOR.into(),
        offset_refresh_ms: millis(settings.offset_refresh),
        topic_refresh_ms: millis(settings.topic_refresh),
        include: settings.groups.clone(),
    };
    let store = Store::new(settings.keep.clone());
    Watched::new(about, settings.rules, store, unix_ms)
}
