//! How a figure went over a run. Pure.

use serde_json::{Value, json};

use super::sample::{Figure, Sample};

/// The beginning, as a share of the run, that doesn't count: caches and pools fill up.
const WARM_UP: f64 = 0.1;

/// A figure over a run, its warm-up left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trend {
    /// By how much it grows in an hour, by least squares.
    pub per_hour: f64,
    /// The median of the first quarter.
    pub first: f64,
    /// The median of the last quarter.
    pub last: f64,
    /// The most.
    pub most: f64,
}

impl Trend {
    /// Of this figure.
    pub fn of(samples: &[Sample], figure: Figure) -> Self {
        let skipped = (samples.len() as f64 * WARM_UP) as usize;
        let points: Vec<(f64, f64)> = samples[skipped.min(samples.len())..]
            .iter()
            .map(|sample| (sample.seconds / 3_600.0, (figure.of)(sample)))
            .collect();
        let quarter = (points.len() / 4).max(1).min(points.len());
        let values = |points: &[(f64, f64)]| points.iter().map(|point| point.1).collect();
        Self {
            per_hour: slope(&points),
            first: median(values(&points[..quarter])),
            last: median(values(&points[points.len() - quarter..])),
            most: points.iter().map(|point| point.1).fold(0.0, f64::max),
        }
    }

    /// Whether the last quarter is no higher than the first, but for the figure's slack.
    pub fn is_flat(&self, figure: &Figure) -> bool {
        self.last <= self.first + figure.slack
    }

    /// For people.
    pub fn line(&self, figure: &Figure) -> String {
        let Self {
            per_hour,
            first,
            last,
            most,
        } = self;
        let verdict = if self.is_flat(figure) {
            "flat"
        } else {
            "NOT FLAT"
        };
        format!(
            "{:<12}  first quarter {first:8.1}  last quarter {last:8.1}  most {most:8.1}  \
             slope {per_hour:+8.2} an hour  {verdict}",
            figure.name
        )
    }

    /// For programs.
    pub fn json(&self, figure: &Figure) -> Value {
        json!({
            "name": figure.name, "per_hour": self.per_hour, "first_quarter_median": self.first,
            "last_quarter_median": self.last, "most": self.most, "slack": figure.slack,
            "flat": self.is_flat(figure),
        })
    }
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let num = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / num;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if below == 0.0 { 0.0 } else { above / below }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(u64) -> u64) -> Vec<Sample> {
        let one = |minute: u64| Sample {
            seconds: 60.0 * minute as f64,
            memory_bytes: memory(minute) << 20,
            ..Sample::default()
        };
        (0..240).map(one).collect()
    }

    #[test]
    fn what_grows_is_not_flat() {
        let [memory, ..] = Sample::FIGURES;
        let trend = Trend::of(&samples(|minute| 50 + minute / 10), memory);
        assert!(!trend.is_flat(&memory), "{trend:?}");
        assert!((trend.per_hour - 6.0).abs() < 0.1, "{trend:?}");
    }

    #[test]
    fn what_fills_up_at_the_beginning_and_then_stays_is_flat() {
        let [memory, ..] = Sample::FIGURES;
        let trend = Trend::of(&samples(|minute| 20 + minute.min(20)), memory);
        assert!(trend.is_flat(&memory), "{trend:?}");
        assert_eq!((trend.first, trend.last, trend.most), (40.0, 40.0, 40.0));
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        assert!(Trend::of(&[], Sample::FIGURES[0]).is_flat(&Sample::FIGURES[0]));
    }
}
