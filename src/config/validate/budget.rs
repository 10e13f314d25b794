//! `fetch.*` and `queued.*` against the memory that there is. They are limits, so less than was asked for is no
//! mistake; but it is said.

use std::collections::BTreeMap;

use super::super::kinds::format_bytes;
use super::super::settings::Property;
use super::Validator;
use crate::kafka::budget::Budget;
use crate::kafka::client::canonical;

impl Validator<'_> {
    /// Says what is cut down to a worker's budget.
    pub(super) fn check_budget(&mut self, properties: &BTreeMap<String, Property>, budget: Budget) {
        for (name, value) in properties {
            let Property::Plain(value) = value else {
                continue;
            };
            let (Some(limit), Ok(wanted)) = (budget.limit(canonical(name)), value.parse::<u64>())
            else {
                continue;
            };
            if wanted > limit {
                let size = format_bytes(budget.bytes());
                let (why, help) = if budget.grows(canonical(name)) {
                    (
                        format!(
                            "a worker's fetched records may take {size} in all, whatever their size and number of \
                             partitions"
                        ),
                        "leave it out, or raise memory; records that are larger pass all the same, alone",
                    )
                } else {
                    (
                        "more makes nothing faster, and stays in memory".to_owned(),
                        "leave it out; records that are larger pass all the same, alone",
                    )
                };
                self.warning(
                    &format!("kafka.properties.\"{name}\""),
                    format!("is cut down to {limit}: {why}"),
                )
                .push(help.into());
            }
        }
    }
}
