//! The catalogue.

mod answers;
mod elasticsearch;
mod hdfs;
mod kafka;
mod limits;
mod moments;
mod process;
mod secure;

use super::case::Case;

/// Every case, in the order of the list of faults.
pub fn all() -> Vec<Case> {
    let groups = [
        process::CASES,
        moments::CASES,
        limits::CASES,
        kafka::CASES,
        elasticsearch::CASES,
        answers::CASES,
        secure::CASES,
        hdfs::CASES,
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
