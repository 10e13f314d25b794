//! Whether a series grows, though it falls now and then.

/// The standard normal quantile for one error in forty: so often a series without a trend is said to grow.
const SURE: f64 = 1.96;

/// Whether the values grow, by the Mann-Kendall test (Mann 1945, Kendall 1975): of all pairs of an earlier and a later value, so
/// many more rise than fall that chance explains it in fewer than one of forty cases. It asks nothing of the values' size, so a
/// single peak isn't a trend, and a saw-tooth that climbs is one. Fewer than four values never grow.
pub fn grows(values: &[u64]) -> bool {
    let n = values.len();
    if n < 4 {
        return false;
    }
    let mut score = 0_i64;
    for (i, earlier) in values.iter().enumerate() {
        for later in values.iter().skip(i + 1) {
            score += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let spread = spread(values);
    // One less for the step from a count to a continuous curve.
    spread > 0.0 && (score - 1) as f64 / spread > SURE
}

/// The standard deviation of the score without a trend, equal values considered.
fn spread(values: &[u64]) -> f64 {
    let term = |n: usize| {
        let n = n as f64;
        n * (n - 1.0) * (2.0 * n + 5.0)
    };
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|equal| term(equal.len()))
        .sum();
    ((term(values.len()) - ties) / 18.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::grows;

    #[test]
    fn a_saw_tooth_that_climbs_grows() {
        assert!(grows(&[10, 50, 30, 80, 60, 120, 100, 150, 130, 180]));
        assert!(grows(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    }

    #[test]
    fn one_that_stays_doesnt() {
        assert!(!grows(&[10, 50, 30, 60, 10, 50, 30, 60, 10, 50]));
        assert!(!grows(&[7; 10]));
        assert!(!grows(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]));
    }

    #[test]
    fn a_single_peak_and_too_few_values_are_no_trend() {
        assert!(!grows(&[5, 5, 5, 5, 5, 5, 5, 5, 5, 1_000_000]));
        assert!(!grows(&[1, 2, 3]));
        assert!(!grows(&[]));
    }
}
