//! Step tables for the control: a name, what happens, and exactly what must be done about it.

mod commits;
mod fixed;
mod lifecycle;
mod pausing;
mod quarantine;
mod rebalances;
mod script;
