//! Configuration: TOML files layered by figment (defaults, file, `OUTFLOW_…` environment, flags), turned by
//! one pure function into validated [`settings`].

pub mod settings;
