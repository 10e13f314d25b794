//! The Elasticsearch sink by itself, driven through the sink's contract against a real Elasticsearch (and a
//! proxy, for what a real one can't be made to do). One server for all tests, which take turns.

#![allow(clippy::unwrap_used, missing_docs)]

mod elasticsearch_sink {
    mod configuration;
    #[path = "../shared/elasticsearch.rs"]
    mod configured;
    mod cost;
    mod outages;
    mod refusals;
    mod security;
    mod support;
    mod writing;
}
