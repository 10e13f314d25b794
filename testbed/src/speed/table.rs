//! Rows of figures.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One figure of one candidate, as often as it was taken.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Who.
    pub who: String,
    /// What is counted, with its unit.
    pub what: &'static str,
    /// The figures, one a round.
    pub figures: Vec<f64>,
    /// The same figures of what it is held against, round by round; empty if it is the measure itself.
    pub against: Vec<f64>,
    /// The most that was resident over all rounds, in MiB; 0 if it wasn't looked at.
    pub peak_mib: f64,
    /// What the issue asks of the ratio or of the figure, in words; empty if nothing.
    pub target: &'static str,
}

impl Row {
    /// A row without figures yet.
    pub fn new(who: impl Into<String>, what: &'static str, target: &'static str) -> Self {
        Row {
            who: who.into(),
            what,
            target,
            ..Row::default()
        }
    }

    /// Held against another row's figures of the same rounds.
    pub fn against(mut self, other: &Row) -> Self {
        self.against.clone_from(&other.figures);
        self
    }

    /// The median of the ratios round by round.
    pub fn ratio(&self) -> Option<f64> {
        let pairs = self.figures.iter().zip(&self.against);
        median(&pairs.map(|(own, other)| own / other).collect::<Vec<_>>())
    }

    /// The least and the most of its figures; none if it has none.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        let figures = || self.figures.iter().copied();
        let least = figures().reduce(f64::min)?;
        Some((least, figures().reduce(f64::max)?))
    }
}

/// The middle one; of an even number the mean of the two.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// As Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| who | what | median | least to most | ratio | peak MiB | target |\n|---|---|---:|---:|---:|---:|---|\n",
    );
    for row in rows {
        let (least, most) = row.bounds().unwrap_or((f64::NAN, f64::NAN));
        let ratio = row.ratio().map_or(String::new(), |r| format!("{r:.2}"));
        let peak = match row.peak_mib {
            0.0 => String::new(),
            peak => format!("{peak:.0}"),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} to {} | {ratio} | {peak} | {} |",
            row.who,
            row.what,
            short(median(&row.figures).unwrap_or(f64::NAN)),
            short(least),
            short(most),
            row.target,
        );
    }
    text
}

/// Three digits that matter.
pub fn short(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

/// For those who draw it.
pub fn json(part: &str, rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "who": row.who, "what": row.what, "figures": row.figures, "median": median(&row.figures),
            "ratio": row.ratio(), "peak_mib": row.peak_mib, "target": row.target,
        })
    };
    json!({ "part": part, "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut limit = Row::new("limit", "s", "");
        limit.figures = vec![1.0, 2.0, 4.0];
        let mut own = Row::new("own", "s", "").against(&limit);
        own.figures = vec![2.0, 2.0, 6.0];
        assert_eq!(own.ratio(), Some(1.5));
        assert_eq!(limit.ratio(), None);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(own.bounds(), Some((2.0, 6.0)));
        assert_eq!(Row::new("nobody", "s", "").bounds(), None);
    }
}
