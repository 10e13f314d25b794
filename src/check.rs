//! What `outflow check --connect` finds on the servers: one [`Finding`] for each thing looked at, good or bad,
//! each with what to do.

use std::fmt;

/// How a thing that was looked at stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It will run, and somebody should know.
    Warning,
    /// It won't run.
    Wrong,
}

/// One thing that was looked at on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub verdict: Verdict,
    /// What was looked at: `topic host-metrics`, `index host-metrics-*`. Never holds a secret.
    pub subject: String,
    /// What was found, in one line.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    /// All is well with `subject`.
    pub fn fine(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Verdict::Fine, subject, what, None)
    }

    /// It will run, and somebody should know.
    pub fn warning(
        subject: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Warning, subject, what, Some(help.into()))
    }

    /// It won't run.
    pub fn wrong(
        subject: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::new(Verdict::Wrong, subject, what, Some(help.into()))
    }

    fn new(
        verdict: Verdict,
        subject: impl Into<String>,
        what: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Finding {
            verdict,
            subject: subject.into(),
            what: what.into(),
            help,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "error",
        };
        write!(f, "{verdict}: {}: {}", self.subject, self.what)?;
        match &self.help {
            Some(help) => write!(f, "\n  = help: {help}"),
            None => Ok(()),
        }
    }
}
