//! The picture as tables. Pure.

use std::fmt::Write as _;

use super::super::table::{Table, cell};
use crate::observe::pages::Figures;
use crate::observe::words::{catch_up, one_line, pace, time_lag};
use crate::observe::{Picture, Row};

/// Groups, then each one's partitions as far as they are there.
pub(super) fn text(picture: &Picture) -> String {
    let mut text = String::new();
    if picture.groups.is_empty() {
        return text;
    }
    let has_sinks = picture.groups.iter().any(|row| row.sink.is_some());
    let has_clusters = picture.clusters.len() > 1;
    let mut head = Vec::new();
    head.extend(has_clusters.then_some("CLUSTER"));
    head.push("GROUP");
    if has_sinks {
        head.extend(["SINK", "STATE"]);
    }
    head.extend(FIGURES);
    let mut table = Table::new(&head);
    for row in &picture.groups {
        let mut cells = Vec::new();
        if has_clusters {
            cells.push(cell(row.cluster.as_deref()));
        }
        cells.push(cell(row.group.as_deref()));
        if has_sinks {
            let sink = row.sink.as_ref();
            cells.push(cell(sink.map(|sink| &sink.name)));
            cells.push(cell(sink.map(|sink| &sink.state)));
        }
        cells.extend(figures(&row.figures, &row.why()));
        table.row(cells);
    }
    let _ = write!(text, "{table}");
    for row in picture
        .groups
        .iter()
        .filter(|row| !row.partitions.is_empty())
    {
        let _ = write!(text, "\n{}\n{}", row.name(), partitions(row));
        if row.partitions_left_out > 0 {
            let _ = writeln!(text, "and {} partitions more", row.partitions_left_out);
        }
    }
    text
}

const FIGURES: [&str; 7] = [
    "VERDICT",
    "LAG",
    "TIME-LAG",
    "CONSUMED/S",
    "PRODUCED/S",
    "CATCH-UP",
    "WHY",
];

fn figures(figures: &Figures, why: &str) -> [String; 7] {
    [
        cell(figures.status.as_deref()),
        cell(figures.lag),
        cell(time_lag(figures)),
        cell(pace(figures.consumed_per_s)),
        cell(pace(figures.produced_per_s)),
        cell(catch_up(figures)),
        one_line(why),
    ]
}

fn partitions(row: &Row) -> Table {
    let has_states = row.partitions.iter().any(|part| part.state.is_some());
    let mut head = vec!["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET"];
    head.push(if has_states { "STATE" } else { "CLIENT-ID" });
    head.extend(FIGURES);
    let mut table = Table::new(&head);
    for part in &row.partitions {
        let who = if has_states {
            &part.state
        } else {
            &part.client_id
        };
        let mut cells = vec![
            part.topic.clone(),
            part.partition.to_string(),
            cell(part.committed),
            cell(part.log_end),
            cell(who.as_deref()),
        ];
        cells.extend(figures(&part.figures, &part.figures.reason));
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Part;
    use crate::observe::SinkState;

    #[test]
    fn a_group_and_its_partitions() {
        let figures = Figures {
            status: Some("WARN".to_owned()),
            reason: "the lag grew".to_owned(),
            lag: Some(1_200),
            time_lag_ms: Some(252_000),
            time_lag_is_more: true,
            consumed_per_s: Some(0.0),
            produced_per_s: Some(31.24),
            catch_up: "never".to_owned(),
            catch_up_s: None,
        };
        let row = Row {
            group: Some("g".to_owned()),
            sink: Some(SinkState {
                name: "es".to_owned(),
                kind: "elasticsearch".to_owned(),
                state: "waiting".to_owned(),
                reason: Some("connection\u{1b}[31m refused".to_owned()),
                paused: false,
            }),
            partitions: vec![Part {
                topic: "t".to_owned(),
                partition: 3,
                state: Some("running".to_owned()),
                committed: Some(10),
                log_end: Some(1_210),
                figures: figures.clone(),
                ..Part::default()
            }],
            figures,
            ..Row::default()
        };
        let picture = Picture {
            groups: vec![row],
            ..Picture::default()
        };
        assert_eq!(
            text(&picture),
            "\
GROUP  SINK  STATE    VERDICT  LAG   TIME-LAG  CONSUMED/S  PRODUCED/S  CATCH-UP  WHY
g      es    waiting  WARN     1200  >4m12s    0.0         31          never     connection [31m refused; the lag grew

g
TOPIC  PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  STATE    VERDICT  LAG   TIME-LAG  CONSUMED/S  PRODUCED/S  CATCH-UP  WHY
t      3          10              1210            running  WARN     1200  >4m12s    0.0         31          never     the lag grew
"
        );
        assert_eq!(text(&Picture::default()), "");
    }
}
