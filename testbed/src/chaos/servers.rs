//! The servers of a run: those that all cases share, unless the set-up asks for something that they don't have.

use std::ops::Deref;

use serde_json::json;

use crate::cluster::shared;
use crate::elasticsearch::{Elasticsearch, ElasticsearchOptions};
use crate::error::Result;
use crate::hdfs::{Hdfs, HdfsOptions};
use crate::kafka::{Kafka, KafkaOptions};
use crate::tcp_proxy::{Protocol, TcpProxy};

use super::case::{Properties, Setup};
use super::config;

/// A server that all cases share, or one of this run alone.
pub enum Server<T: 'static> {
    /// Of all.
    Shared(&'static T),
    /// Of this run.
    Own(Box<T>),
}

impl<T> Deref for Server<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

pub(super) type Servers = (Server<Kafka>, Server<Elasticsearch>, Server<Hdfs>);

/// Starts what is needed, and takes the rest from what is shared.
pub(super) fn servers(setup: &Setup) -> Result<Servers> {
    let is_plain = setup.brokers <= 1 && !setup.kafka_secure && setup.kafka.is_empty();
    let kafka = match is_plain {
        true => Server::Shared(&shared().kafka),
        false => Server::Own(Box::new(Kafka::start(&KafkaOptions {
            num_brokers: setup.brokers,
            scram_user: setup.kafka_secure.then(config::kafka_user),
            properties: owned(setup.kafka),
            ..KafkaOptions::default()
        })?)),
    };
    let own = setup.secure || setup.nodes > 1 || !setup.elasticsearch.is_empty();
    let elasticsearch = match !own {
        true => Server::Shared(&shared().elasticsearch),
        false => Server::Own(Box::new(Elasticsearch::start(&ElasticsearchOptions {
            num_nodes: setup.nodes,
            settings: owned(setup.elasticsearch),
            secure: setup.secure,
            ..ElasticsearchOptions::default()
        })?)),
    };
    let is_plain = setup.datanodes <= 1 && setup.hdfs.is_empty();
    let hdfs = match is_plain {
        true => Server::Shared(&shared().hdfs),
        false => Server::Own(Box::new(Hdfs::start(&HdfsOptions {
            num_datanodes: setup.datanodes,
            properties: owned(setup.hdfs),
            ..HdfsOptions::default()
        })?)),
    };
    Ok((kafka, elasticsearch, hdfs))
}

fn owned(properties: Properties) -> Vec<(String, String)> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    properties.iter().map(pair).collect()
}

/// A proxy in front of each broker.
pub(super) fn kafka_proxies(kafka: &Kafka, seed: u64) -> Result<Vec<TcpProxy>> {
    let one = |broker: usize| {
        let (listen, target) = kafka.proxy_addresses(broker)?;
        TcpProxy::start_for(Protocol::Kafka, &listen, &target, seed)
    };
    (0..kafka.nodes().len()).map(one).collect()
}

/// The body of the index.
pub(super) fn index(replicated: bool) -> serde_json::Value {
    json!({
        "settings": { "number_of_shards": 1, "number_of_replicas": i32::from(replicated) },
        "mappings": { "properties": {
            "strict_number": { "type": "long" },
            "pad": { "type": "text", "index": false },
        } },
    })
}
