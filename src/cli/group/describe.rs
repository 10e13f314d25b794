//! `outflow group describe`: what Kafka's own tool prints, and what it can't know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::table::{Table, cell};
use super::super::{Exit, accept, print};
use super::plan::identity;
use super::{failed, runtime};
use crate::config::load_sinks;
use crate::config::settings::{Settings, SinkSettings};
use crate::config::surroundings::Host;
use crate::error::Error;
use crate::kafka::group::target::Selection;
use crate::kafka::group::{GroupClient, Member, Standing, View};
use crate::observe::words::rounded;
use crate::offsets::TopicPartition;
use crate::pipeline::source::Committed;
use crate::sinks::hdfs::log_admin::{LogAdmin, Seen};

/// All that is known of one sink's group.
struct Description<'a> {
    settings: &'a Settings,
    view: View,
    ages: BTreeMap<TopicPartition, Duration>,
    /// Where the positions of fixed partitions are kept, if in a file.
    file: Option<PathBuf>,
    /// HDFS' commit logs, or why they can't be had.
    logs: Option<Result<BTreeMap<TopicPartition, Seen>, Error>>,
}

pub(super) fn describe(files: &[PathBuf], flags: &[String], as_json: bool) -> Result<Exit, Exit> {
    let sinks = accept(load_sinks(files, flags, &Host))?;
    let mut values = Vec::new();
    let mut exit = Exit::Fine;
    for loaded in &sinks {
        let description = Description::of(&loaded.settings).map_err(|error| failed(&error))?;
        if let Some(Err(error)) = &description.logs {
            exit = failed(error);
        }
        match as_json {
            true => values.push(description.json()),
            false => print(&description.text()),
        }
    }
    if as_json {
        print(&format!("{:#}\n", Value::Array(values)));
    }
    Ok(exit)
}

impl<'a> Description<'a> {
    fn of(settings: &'a Settings) -> Result<Self, Error> {
        let client = GroupClient::new(settings)?;
        let mut view = client.view(&Selection::default())?;
        let logs = match &settings.sink {
            SinkSettings::Elasticsearch(_) => None,
            SinkSettings::Hdfs(hdfs) => {
                let ids: Vec<_> = view
                    .partitions
                    .iter()
                    .map(|s| s.partition.clone())
                    .collect();
                let runtime =
                    runtime().map_err(|_| Error::unavailable("no threads to look at HDFS"))?;
                let admin = LogAdmin::new(hdfs, "describe");
                let looked = runtime.block_on(async {
                    let patience = hdfs.call_timeout.saturating_mul(3);
                    let late = |_| Error::unavailable("HDFS doesn't answer");
                    tokio::time::timeout(patience, admin.look_at(&ids))
                        .await
                        .map_err(late)
                });
                runtime.shutdown_background();
                Some(looked.and_then(|looked| looked))
            }
        };
        if let (true, Some(Ok(logs))) = (client.sink_decides(), &logs) {
            for standing in &mut view.partitions {
                standing.committed = logs.get(&standing.partition).map(|log| Committed {
                    offset: log.newest.end,
                    leader_epoch: log.newest.leader_epoch,
                    metadata: String::new(),
                });
            }
        }
        let ages = client.ages(&view.partitions);
        Ok(Description {
            settings,
            view,
            ages,
            file: client.file(),
            logs,
        })
    }

    fn holder(&self, partition: &TopicPartition) -> Option<&Member> {
        let mut members = self.view.members().iter();
        members.find(|member| member.partitions.contains(partition))
    }

    fn log(&self, partition: &TopicPartition) -> Option<&Seen> {
        self.logs.as_ref()?.as_ref().ok()?.get(partition)
    }

    fn text(&self) -> String {
        let mut text = self.head();
        let has_logs = self.logs.is_some();
        let mut head = vec![
            "GROUP",
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "TIME-LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ];
        if has_logs {
            head.extend(["HDFS-END", "HDFS-EPOCH", "HDFS-OWNER"]);
        }
        let mut table = Table::new(&head);
        let mut notes = String::new();
        for standing in &self.view.partitions {
            let id = &standing.partition;
            let holder = self.holder(id);
            let mut row = vec![
                self.settings.kafka.group_id.to_string(),
                id.topic.to_string(),
                id.partition.to_string(),
                cell(
                    standing
                        .committed
                        .as_ref()
                        .map(|committed| committed.offset),
                ),
                standing.log_end.to_string(),
                cell(standing.lag()),
                cell(self.time_lag(standing).map(rounded)),
                cell(holder.map(|member| &member.id)),
                cell(holder.map(|member| &member.host)),
                cell(holder.map(|member| &member.client_id)),
            ];
            if has_logs {
                let log = self.log(id);
                row.extend([
                    cell(log.map(|log| log.newest.end)),
                    cell(log.map(|log| log.owner.epoch)),
                    cell(log.map(|log| &log.owner.owner)),
                ]);
            }
            table.row(row);
            if let Some(note) = self.note(standing) {
                let _ = writeln!(notes, "{id}: {note}");
            }
        }
        let _ = writeln!(text, "{table}");
        if !notes.is_empty() {
            let _ = writeln!(text, "{notes}");
        }
        text
    }

    fn head(&self) -> String {
        let (name, id) = (&self.settings.name, &self.settings.kafka.group_id);
        let Some(group) = &self.view.group else {
            let place = match (&self.file, &self.view.held_by) {
                (Some(file), Some(pid)) => format!("in {}, kept by process {pid}", file.display()),
                (Some(file), None) => format!("in {}, no process keeps them now", file.display()),
                (None, _) => "in HDFS's commit logs".to_owned(),
            };
            return format!(
                "{name}: fixed partitions (kafka.assign) without a group; positions {place}\n\n"
            );
        };
        let shown = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        let mut text = format!(
            "{name}: group {id}, state {}, assignor {}, coordinator {}, members {}\n\n",
            group.state,
            shown(&group.assignor),
            shown(&group.coordinator),
            group.members.len()
        );
        if !group.members.is_empty() {
            let mut table = Table::new(&[
                "CONSUMER-ID",
                "INSTANCE-ID",
                "HOST",
                "CLIENT-ID",
                "#PARTITIONS",
            ]);
            for member in &group.members {
                table.row(vec![
                    member.id.clone(),
                    member.instance_id.clone().unwrap_or_default(),
                    member.host.clone(),
                    member.client_id.clone(),
                    member.partitions.len().to_string(),
                ]);
            }
            let _ = writeln!(text, "{table}");
        }
        text
    }

    /// How old the next record is; nothing is late without a lag.
    fn time_lag(&self, standing: &Standing) -> Option<Duration> {
        match standing.lag()? {
            0 => Some(Duration::ZERO),
            _ => self.ages.get(&standing.partition).copied(),
        }
    }

    /// What a person should know of a partition.
    fn note(&self, standing: &Standing) -> Option<String> {
        let id = &standing.partition;
        let ids = (&standing.partition.topic, standing.partition.partition);
        let committed = standing
            .committed
            .as_ref()
            .map(|committed| committed.offset);
        if let Some(log) = self.log(id) {
            let ours = identity(self.settings, &self.view.cluster_id, standing);
            let end = log.newest.end;
            if log.newest.identity != ours {
                return Some(format!(
                    "the log is of {}, and this is {ours}: outflow stops there. Look at it with `outflow adopt`",
                    log.newest.identity
                ));
            }
            let records_end = standing.committed.as_ref().map(Committed::records_end);
            if let Some(committed) = committed.filter(|_| records_end.is_some_and(|at| at > end)) {
                return Some(format!(
                    "the group's offset {committed} is beyond the log's end {end}: outflow stops there. Look at it \
                     with `outflow adopt --topic {}:{}`",
                    ids.0, ids.1
                ));
            }
            if let Some(committed) = committed.filter(|committed| *committed < end) {
                return Some(format!(
                    "HDFS is at {end} already and the group's offset {committed} follows; outflow goes on at {end}"
                ));
            }
        }
        let committed = committed?;
        if committed < standing.log_start {
            return Some(format!(
                "the group's offset {committed} is gone: Kafka's log begins at {}; kafka.on_offset_lost decides",
                standing.log_start
            ));
        }
        (committed > standing.log_end).then(|| {
            format!(
                "the group's offset {committed} is beyond the end of Kafka's log: was the topic created again?"
            )
        })
    }

    fn json(&self) -> Value {
        let group = self.view.group.as_ref();
        let members = self.view.members().iter().map(|member| {
            json!({
                "consumer_id": member.id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "partitions": member.partitions.len(),
            })
        });
        let partitions = self.view.partitions.iter().map(|standing| {
            let id = &standing.partition;
            let holder = self.holder(id);
            let committed = standing
                .committed
                .as_ref()
                .map(|committed| committed.offset);
            let hdfs = self.log(id).map(|log| {
                json!({
                    "end": log.newest.end,
                    "epoch": log.owner.epoch,
                    "owner": log.owner.owner,
                    "agrees": standing.committed.as_ref().map(Committed::records_end)
                        == Some(log.newest.end),
                })
            });
            json!({
                "topic": *id.topic,
                "partition": id.partition,
                "current_offset": committed,
                "log_start_offset": standing.log_start,
                "log_end_offset": standing.log_end,
                "lag": standing.lag(),
                "time_lag_ms": self.time_lag(standing).map(|age| age.as_millis() as u64),
                "consumer_id": holder.map(|member| &member.id),
                "host": holder.map(|member| &member.host),
                "client_id": holder.map(|member| &member.client_id),
                "hdfs": hdfs,
                "note": self.note(standing),
            })
        });
        json!({
            "sink": *self.settings.name,
            "group": *self.settings.kafka.group_id,
            "cluster_id": self.view.cluster_id,
            "state": group.map(|group| &group.state),
            "assignor": group.map(|group| &group.assignor),
            "coordinator": group.map(|group| &group.coordinator),
            "positions_file": self.file.as_ref().map(|file| file.display().to_string()),
            "held_by": self.view.held_by,
            "members": members.collect::<Vec<_>>(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}
