//! The pipeline: takes records from a [`source`], hands them to a sink, and commits what is final.

pub mod control;
pub mod dead_letter;
pub mod source;
