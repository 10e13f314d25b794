//! The pipeline: takes records from a [`source`], hands them to a sink, and commits what is final.
//!
//! Read [`worker`] first: its loop is a record's whole way. [`control`] is what it decides by.

pub mod control;
pub mod dead_letter;
pub mod mailbox;
pub mod report;
mod sayings;
pub mod source;
mod summary;
pub mod supervisor;
pub mod worker;
