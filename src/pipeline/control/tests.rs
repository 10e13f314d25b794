//! Step tables for the control: a name, what happens, and exactly what must be done about it.

mod fixed;
mod lifecycle;
mod quarantine;
mod rebalances;
mod script;
