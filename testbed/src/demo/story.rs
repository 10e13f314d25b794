//! How the story looks on the terminal: plain lines, colour only where somebody looks.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Writes the story to standard output.
#[derive(Clone)]
pub struct Story {
    colour: bool,
    began: Instant,
}

/// How a piece of text is shown.
#[derive(Clone, Copy)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Less important.
    Quiet,
    /// A heading.
    Strong,
    /// All is well.
    Good,
    /// Something is wrong, or lags.
    Bad,
}

/// One line of figures.
pub struct Figures {
    /// Since production began.
    pub time: Duration,
    /// Records in Kafka.
    pub produced: i64,
    /// What the Elasticsearch sink has committed.
    pub elasticsearch: i64,
    /// Whether Elasticsearch is up.
    pub elasticsearch_is_up: bool,
    /// What the HDFS sink has committed.
    pub hdfs: i64,
}

impl Story {
    /// Begins now.
    pub fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: std::io::stdout().is_terminal() && !plain,
            began: Instant::now(),
        }
    }

    /// How long it goes already.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// One line.
    pub fn say(&self, text: impl Display) {
        // Nobody may be reading any more; the demo goes on to its end.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A heading with an empty line before it.
    pub fn heading(&self, text: impl Display) {
        self.say(format_args!("\n{}", self.paint(Tone::Strong, text)));
    }

    /// Text in a tone.
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            _ if !self.colour => return text.to_string(),
            Tone::Plain => return text.to_string(),
            Tone::Quiet => "2",
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The names above the figures.
    pub fn columns(&self) {
        let names = format!(
            "    {:>5}  {:>10}  | {:>13}  {:>9}  | {:>10}  {:>9}",
            "time", "in Kafka", "Elasticsearch", "lag", "HDFS", "lag"
        );
        self.say(self.paint(Tone::Quiet, names));
    }

    /// One line of figures.
    pub fn figures(&self, figures: &Figures) {
        let seconds = figures.time.as_secs();
        let time = format!("{}:{:02}", seconds / 60, seconds % 60);
        let lag = |committed: i64| (figures.produced - committed).max(0);
        let tone = if figures.elasticsearch_is_up {
            Tone::Plain
        } else {
            Tone::Bad
        };
        let elasticsearch = format!(
            "{:>13}  {:>9}",
            thousands(figures.elasticsearch),
            thousands(lag(figures.elasticsearch))
        );
        self.say(format_args!(
            "    {time:>5}  {:>10}  | {}  | {:>10}  {:>9}",
            thousands(figures.produced),
            self.paint(tone, elasticsearch),
            thousands(figures.hdfs),
            thousands(lag(figures.hdfs)),
        ));
    }
}

/// 12345 as `12,345`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let all = [0, 999, 1000, 12_345, 1_234_567, -1000].map(thousands);
        assert_eq!(all, ["0", "999", "1,000", "12,345", "1,234,567", "-1,000"]);
    }
}
