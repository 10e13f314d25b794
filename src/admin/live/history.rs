//! Rates, and the last half hour of them. Pure: the time is told.

use std::collections::VecDeque;

use serde::Serialize;

use crate::status::{Totals, Verdict};

/// Rates are taken over so long (milliseconds).
const OVER_MS: i64 = 10_000;
/// A sample is kept every so often (milliseconds).
const SAMPLE_MS: i64 = 2_000;
/// So many are: half an hour.
const SAMPLES: usize = 900;
/// What hasn't been seen for so long is gone.
const GONE_MS: i64 = 60_000;

/// Records a second, over the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rates {
    /// Taken from Kafka.
    pub read_per_s: f64,
    /// Acknowledged by the sink.
    pub acked_per_s: f64,
}

/// Unix milliseconds, lag, records read a second, records made a second, level (0 good … 4 bad).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sample(i64, Option<i64>, Option<f64>, Option<f64>, u8);

impl Sample {
    /// When it was taken.
    pub fn at_ms(&self) -> i64 {
        self.0
    }
}

/// What is remembered of one sink or group.
#[derive(Debug, Default)]
pub(super) struct Series {
    totals: VecDeque<(i64, Totals)>,
    samples: VecDeque<Sample>,
    seen_ms: i64,
}

impl Series {
    /// The rates at which these totals grow; none at the first look.
    pub fn rates(&mut self, totals: &Totals, now_ms: i64) -> Option<Rates> {
        self.totals.push_back((now_ms, *totals));
        // The oldest that stays is the newest that is old enough.
        while let Some((second_ms, _)) = self.totals.get(1)
            && *second_ms <= now_ms - OVER_MS
        {
            self.totals.pop_front();
        }
        let (first_ms, first) = self.totals.front()?;
        let seconds = (now_ms - first_ms).max(0) as f64 / 1_000.0;
        let rate = |from: u64, to: u64| round(to.saturating_sub(from) as f64 / seconds);
        (seconds > 0.0).then(|| Rates {
            read_per_s: rate(first.records, totals.records),
            acked_per_s: rate(first.acked_records, totals.acked_records),
        })
    }

    /// Remembers a look, if it is time for a sample.
    pub fn take(
        &mut self,
        now_ms: i64,
        lag: Option<i64>,
        read: Option<f64>,
        made: Option<f64>,
        level: u8,
    ) {
        self.seen_ms = now_ms;
        let last = self.samples.back();
        if last.is_some_and(|last| now_ms < last.0.saturating_add(SAMPLE_MS) && last.4 == level) {
            return;
        }
        let sample = Sample(now_ms, lag, read.map(round), made.map(round), level);
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Samples after a moment, oldest first.
    pub fn after(&self, ms: i64) -> Vec<Sample> {
        let after = self.samples.partition_point(|sample| sample.0 <= ms);
        self.samples.range(after..).copied().collect()
    }

    /// Whether nobody has seen it for long.
    pub fn is_gone(&self, now_ms: i64) -> bool {
        now_ms - self.seen_ms > GONE_MS
    }
}

/// As exact as people read it, so that what hardly changes isn't sent again.
pub(super) fn round(rate: f64) -> f64 {
    match rate.abs() {
        small if small < 10.0 => (rate * 10.0).round() / 10.0,
        small if small < 1_000.0 => rate.round(),
        _ => (rate / 10.0).round() * 10.0,
    }
}

/// A verdict as exact as people read it.
pub(super) fn brief(verdict: &Verdict) -> Verdict {
    Verdict {
        consumed_per_s: verdict.consumed_per_s.map(round),
        produced_per_s: verdict.produced_per_s.map(round),
        catch_up_s: verdict.catch_up_s.map(round),
        // Tenths of a second.
        time_lag_ms: verdict.time_lag_ms.map(|ms| ms / 100 * 100),
        ..verdict.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(records: u64) -> Totals {
        Totals {
            records,
            acked_records: records / 2,
            dead_letters: 0,
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut series = Series::default();
        assert_eq!(series.rates(&totals(0), 0), None, "one moment is no rate");
        let mut last = None;
        for second in 1..=30 {
            let records = match second {
                ..=10 => second * 1_000,
                _ => 10_000 + (second - 10) * 40,
            };
            let now_ms = i64::try_from(second).unwrap() * 1_000;
            last = series.rates(&totals(records), now_ms);
        }
        let rates = last.unwrap();
        assert_eq!((rates.read_per_s, rates.acked_per_s), (40.0, 20.0));
    }

    #[test]
    fn a_sample_is_kept_every_two_seconds_and_whenever_the_level_changes() {
        let mut series = Series::default();
        for (ms, level) in [(0, 0), (1_000, 0), (1_500, 3), (2_000, 3), (3_500, 3)] {
            series.take(ms, Some(7), None, None, level);
        }
        let times: Vec<i64> = series.after(-1).iter().map(|s| s.0).collect();
        assert_eq!(times, [0, 1_500, 3_500]);
        assert_eq!(
            series.after(1_500).len(),
            1,
            "what was sent isn't sent again"
        );
    }

    #[test]
    fn half_an_hour_is_kept() {
        let mut series = Series::default();
        for second in 0..4_000 {
            series.take(second * 1_000, None, None, None, 0);
        }
        assert_eq!(series.after(-1).len(), SAMPLES);
        assert!(!series.is_gone(4_000_000));
        assert!(series.is_gone(4_100_000));
    }
}
