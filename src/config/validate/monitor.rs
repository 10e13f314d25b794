//! The monitor's file: clusters, and how their groups are judged. And a sink's own share of that.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::document::Repeated;
use super::super::layers::Values;
use super::super::problem::{Place, Problem, Problems};
use super::super::settings::{ClusterSettings, LagSettings, MonitorSettings};
use super::super::surroundings::Surroundings;
use super::notify::notifiers;
use super::{Derived, Validator};
use crate::lag::{GroupPatterns, Keep, Mends, Rules};

/// The monitor's file. `None` if anything is wrong, which `problems` then says.
pub fn monitor(
    values: &Values,
    repeated: &Repeated<Values>,
    surroundings: &dyn Surroundings,
    problems: &mut Problems,
) -> (Option<MonitorSettings>, Derived, Vec<Derived>) {
    let clusters = &repeated.clusters;
    if clusters.is_empty() {
        let place = Place::WholeFile(values.file.clone());
        let problem = Problem::new("cluster", place, "there is no cluster in this file");
        problems.push(problem.help("begin one with a line of its own: [[cluster]]"));
    }
    let mut names = BTreeSet::new();
    let mut settings = Vec::new();
    for cluster in clusters {
        let mut v = Validator::new(cluster, surroundings, problems);
        v.client = "cluster";
        let validated = v.cluster();
        if let Some(cluster) = &validated
            && !names.insert(cluster.name.clone())
        {
            v.error("cluster.name", "is the name of another cluster, too")
                .push("give every cluster a name of its own".into());
        }
        settings.extend(validated);
    }
    let mut v = Validator::new(values, surroundings, problems);
    let (admin, log) = (v.admin(), v.log());
    let derived = v.derived;
    let (notify, of_notifiers) =
        notifiers(&repeated.notifiers, Some(&names), surroundings, problems);
    let settings = admin.map(|admin| MonitorSettings {
        clusters: settings,
        notify,
        admin,
        log,
    });
    let settings = settings.filter(|_| !problems.has_errors());
    (settings, derived, of_notifiers)
}

impl Validator<'_> {
    fn cluster(&mut self) -> Option<ClusterSettings> {
        let name = self.name_of(
            "cluster.name",
            "name the cluster: it stands in paths, metrics and logs",
        );
        let bootstrap_servers = self.bootstrap_servers();
        let properties = self.properties();
        let (groups, shown) = self.groups();
        let rules = Rules {
            mends: Mends {
                trend: self.values.flag("cluster.mends.trend"),
                quiet: self.values.flag("cluster.mends.quiet"),
                prompt_stop: self.values.flag("cluster.mends.prompt_stop"),
                every_rewind: self.values.flag("cluster.mends.every_rewind"),
                young_window: self.values.flag("cluster.mends.young_window"),
            },
            ..self.rules("cluster")
        };
        Some(ClusterSettings {
            name: name?,
            bootstrap_servers: bootstrap_servers?,
            properties,
            offset_refresh: self.values.duration("cluster.offset_refresh")?,
            topic_refresh: self.values.duration("cluster.topic_refresh")?,
            read_back: self.values.duration("cluster.read_back")?,
            groups: shown,
            keep: Keep {
                intervals: self.count("cluster.intervals"),
                min_distance_ms: millis(self.values.duration("cluster.min_distance")?),
                expire_ms: millis(self.values.duration("cluster.expire_group")?),
                max_groups: self.count("cluster.max_groups"),
                max_partitions: self.count("cluster.max_partitions"),
                groups,
            },
            rules,
        })
    }

    /// A sink's share.
    pub(super) fn lag(&mut self) -> Option<LagSettings> {
        Some(LagSettings {
            cluster: self.name_of("lag.cluster", "name the cluster")?,
            offset_refresh: self.values.duration("lag.offset_refresh")?,
            keep: Keep {
                intervals: self.count("lag.intervals"),
                ..Keep::default()
            },
            rules: self.rules("lag"),
        })
    }

    fn rules(&self, section: &str) -> Rules {
        let number = |key: &str| self.values.integer(&format!("{section}.{key}"));
        let complete = number("minimum_complete").unwrap_or(0);
        Rules {
            minimum_complete: complete as f32 / 100.0,
            allowed_lag: number("allowed_lag").map_or(0, |n| u64::try_from(n).unwrap_or(0)),
            ..Rules::default()
        }
    }

    fn count(&self, key: &str) -> usize {
        let number = self.values.integer(key);
        number.and_then(|n| usize::try_from(n).ok()).unwrap_or(1)
    }

    /// Which groups are watched, and the pattern as it was written.
    fn groups(&mut self) -> (GroupPatterns, String) {
        let shown = self.values.text("cluster.groups_pattern");
        let include = shown.as_deref();
        let include = include.and_then(|text| self.whole_name("cluster.groups_pattern", text));
        let exclude = self.values.list("cluster.groups_exclude");
        let exclude = exclude.iter();
        let exclude = exclude
            .filter_map(|text| self.whole_name("cluster.groups_exclude", text))
            .collect();
        (
            GroupPatterns { include, exclude },
            shown.unwrap_or_default(),
        )
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
