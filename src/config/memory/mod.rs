//! The memory of a whole process: what its sinks may hold together, and what the process may really have.
//!
//! | file | owns |
//! |---|---|
//! | `shares` | `--memory`: one budget a process, shared by the sinks that set none themselves |
//! | `limit` | what the process may have: its control group's limit, or the machine's memory |
//! | `fit` | the warning where the one doesn't fit below the other |

mod fit;
mod limit;
mod shares;

pub(super) use fit::check_fit;
pub(super) use shares::share;

pub use shares::Share;
