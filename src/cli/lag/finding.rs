//! Is all well? Pure.

use std::time::Duration;

use serde::Serialize;

use super::FailOn;
use crate::observe::words::{rounded, time_lag};
use crate::observe::{Level, Picture, Row};

/// What was found, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    /// Everything was judged, and is OK.
    AllOk,
    /// Something isn't.
    Behind,
    /// Nothing wrong was found, but not everything could be judged.
    NotJudged,
}

/// What isn't well.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub max_lag: Option<u64>,
    pub max_time_lag: Option<Duration>,
    pub fail_on: FailOn,
}

/// The finding, and what a person should know that no row says.
pub(super) fn find(picture: &Picture, limits: &Limits) -> (Finding, Vec<String>) {
    let mut notes = Vec::new();
    let (mut is_behind, mut is_judged) = (false, true);
    for cluster in &picture.clusters {
        let name = &cluster.cluster;
        if let Some(trouble) = &cluster.trouble {
            notes.push(format!("cluster {name}: {trouble}"));
        } else if !cluster.is_ready {
            notes.push(format!("cluster {name}: its commits are still being read"));
        }
        is_judged &= cluster.is_ready && cluster.trouble.is_none();
    }
    if picture.groups.is_empty() {
        notes.push("no group is there, or none that was asked for".to_owned());
        is_judged = false;
    }
    if picture.groups_left_out > 0 {
        let num = picture.groups_left_out;
        notes.push(format!(
            "{num} groups more aren't shown: they are no worse than these"
        ));
    }
    for row in &picture.groups {
        let beyond = limits.beyond(row);
        let fails_from = match limits.fail_on {
            FailOn::Warn => Level::Warn,
            FailOn::Err => Level::Err,
        };
        is_behind |= row.level() >= fails_from || !beyond.is_empty();
        is_judged &= row.level() != Level::Unknown || limits.judge(row);
        notes.extend(beyond);
    }
    let finding = match (is_behind, is_judged) {
        (true, _) => Finding::Behind,
        (false, true) => Finding::AllOk,
        (false, false) => Finding::NotJudged,
    };
    (finding, notes)
}

impl Limits {
    /// How a row is beyond the limits.
    fn beyond(&self, row: &Row) -> Vec<String> {
        let (name, figures) = (row.name(), &row.figures);
        let mut beyond = Vec::new();
        if let (Some(most), Some(lag)) = (self.max_lag, figures.lag)
            && lag > most
        {
            beyond.push(format!(
                "{name}: {lag} records behind, and --max-lag is {most}"
            ));
        }
        let late = figures.time_lag_ms.map(Duration::from_millis);
        if let (Some(most), Some(late)) = (self.max_time_lag, late)
            && late > most
        {
            let (late, most) = (time_lag(figures).unwrap_or_default(), rounded(most));
            beyond.push(format!(
                "{name}: {late} behind, and --max-time-lag is {most}"
            ));
        }
        beyond
    }

    /// Whether they say something of a row that has no verdict.
    fn judge(&self, row: &Row) -> bool {
        let lag = self.max_lag.map(|_| row.figures.lag.is_some());
        let time = self.max_time_lag.map(|_| row.figures.time_lag_ms.is_some());
        let is_asked = lag.is_some() || time.is_some();
        is_asked && lag.unwrap_or(true) && time.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::SinkState;
    use crate::observe::pages::{Cluster, Figures};

    const NONE: Limits = Limits {
        max_lag: None,
        max_time_lag: None,
        fail_on: FailOn::Warn,
    };

    fn row(status: Option<&str>, lag: u64) -> Row {
        Row {
            group: Some("g".to_owned()),
            figures: Figures {
                status: status.map(str::to_owned),
                lag: Some(lag),
                time_lag_ms: Some(lag * 1_000),
                ..Figures::default()
            },
            ..Row::default()
        }
    }

    fn found(rows: &[Row], limits: &Limits) -> Finding {
        let picture = Picture {
            groups: rows.to_vec(),
            ..Picture::default()
        };
        find(&picture, limits).0
    }

    #[test]
    fn a_verdict_decides_from_warn_on_or_from_err_on() {
        let only_err = Limits {
            fail_on: FailOn::Err,
            ..NONE
        };
        for (status, by_default, with_err) in [
            ("OK", Finding::AllOk, Finding::AllOk),
            ("WARN", Finding::Behind, Finding::AllOk),
            ("ERR", Finding::Behind, Finding::Behind),
        ] {
            let rows = [row(Some("OK"), 0), row(Some(status), 5)];
            assert_eq!(found(&rows, &NONE), by_default, "{status}");
            assert_eq!(found(&rows, &only_err), with_err, "{status}");
        }
    }

    #[test]
    fn limits_decide_whatever_the_verdict() {
        let lag = Limits {
            max_lag: Some(10),
            ..NONE
        };
        let time = Limits {
            max_time_lag: Some(Duration::from_secs(10)),
            ..NONE
        };
        for limits in [&lag, &time] {
            for status in [Some("OK"), None] {
                assert_eq!(found(&[row(status, 10)], limits), Finding::AllOk);
                assert_eq!(found(&[row(status, 11)], limits), Finding::Behind);
            }
        }
        let mut unknown = row(None, 3);
        unknown.figures.time_lag_ms = None;
        assert_eq!(found(std::slice::from_ref(&unknown), &lag), Finding::AllOk);
        assert_eq!(found(&[unknown], &time), Finding::NotJudged);
    }

    #[test]
    fn what_could_not_be_judged_is_no_all_clear() {
        assert_eq!(found(&[], &NONE), Finding::NotJudged);
        assert_eq!(found(&[row(None, 0)], &NONE), Finding::NotJudged);
        assert_eq!(
            found(&[row(None, 0), row(Some("ERR"), 0)], &NONE),
            Finding::Behind
        );
        let cluster = |is_ready, trouble: Option<&str>| Picture {
            groups: vec![row(Some("OK"), 0)],
            clusters: vec![Cluster {
                cluster: "c".to_owned(),
                is_ready,
                trouble: trouble.map(str::to_owned),
            }],
            ..Picture::default()
        };
        assert_eq!(find(&cluster(true, None), &NONE).0, Finding::AllOk);
        assert_eq!(find(&cluster(false, None), &NONE).0, Finding::NotJudged);
        let (finding, notes) = find(&cluster(true, Some("no broker answers")), &NONE);
        assert_eq!(finding, Finding::NotJudged);
        assert_eq!(notes, ["cluster c: no broker answers"]);
    }

    #[test]
    fn a_sink_that_stands_still_is_not_well_whatever_its_lag() {
        let mut stuck = row(Some("OK"), 0);
        let state = |state: &str| SinkState {
            name: "es".to_owned(),
            kind: "elasticsearch".to_owned(),
            state: state.to_owned(),
            reason: None,
            paused: state == "paused",
        };
        for (word, expected) in [
            ("running", Finding::AllOk),
            ("paused", Finding::AllOk),
            ("waiting", Finding::Behind),
            ("stuck", Finding::Behind),
            ("fenced", Finding::Behind),
        ] {
            stuck.sink = Some(state(word));
            assert_eq!(
                found(std::slice::from_ref(&stuck), &NONE),
                expected,
                "{word}"
            );
        }
    }
}
