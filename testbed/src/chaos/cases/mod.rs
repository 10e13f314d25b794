//! The catalogue.

mod answers;
mod elasticsearch;
mod hdfs;
mod hdfs_answers;
mod kafka;
mod kafka_data;
mod kafka_groups;
mod kafka_refusals;
mod kafka_transactions;
mod limits;
mod moments;
mod process;
mod secure;
mod words;

use super::case::Case;

/// Every case, in the order of the list of faults.
pub fn all() -> Vec<Case> {
    let groups = [
        process::CASES,
        moments::CASES,
        limits::CASES,
        kafka::CASES,
        kafka_data::CASES,
        kafka_groups::CASES,
        kafka_refusals::CASES,
        kafka_transactions::CASES,
        elasticsearch::CASES,
        answers::CASES,
        secure::CASES,
        hdfs::CASES,
        hdfs_answers::CASES,
    ];
    let mut all = groups.concat();
    all.sort_by_key(|case| case.id);
    all
}

/// The case of this id, whatever its letters' case.
pub fn find(id: &str) -> Option<Case> {
    all()
        .into_iter()
        .find(|case| case.id.eq_ignore_ascii_case(id))
}
