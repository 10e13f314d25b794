//! Times, paces and lags in words. Pure.

use std::time::Duration;

use super::pages::Figures;

/// In the two largest units: to the millisecond below a second.
pub fn rounded(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => format!("{}ms", age.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How old the oldest unread record is; `>` where it is older than that.
pub fn time_lag(figures: &Figures) -> Option<String> {
    let ms = figures.time_lag_ms?;
    let more = if figures.time_lag_is_more { ">" } else { "" };
    Some(format!("{more}{}", rounded(Duration::from_millis(ms))))
}

/// Offsets a second, in three digits or so.
pub fn pace(per_s: Option<f64>) -> Option<String> {
    let per_s = per_s.filter(|per_s| per_s.is_finite())?;
    Some(match per_s {
        n if n >= 9_999_500.0 => format!("{:.0}M", n / 1e6),
        n if n >= 999_500.0 => format!("{:.1}M", n / 1e6),
        n if n >= 9_950.0 => format!("{:.0}k", n / 1e3),
        n if n >= 999.5 => format!("{:.1}k", n / 1e3),
        n if n >= 9.95 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    })
}

/// When it will have caught up.
pub fn catch_up(figures: &Figures) -> Option<String> {
    match (&*figures.catch_up, figures.catch_up_s) {
        ("done", _) => Some("done".to_owned()),
        ("in_seconds", Some(seconds)) => {
            // A year is as good as more.
            let seconds = seconds.clamp(1.0, 3.2e7);
            Some(format!(
                "in {}",
                rounded(Duration::from_secs_f64(seconds.round()))
            ))
        }
        ("keeps_up", _) => Some("keeps up".to_owned()),
        ("never", _) => Some("never".to_owned()),
        _ => None,
    }
}

/// On one line, without what would move a terminal's cursor.
pub fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_their_two_largest_units() {
        for (seconds, expected) in [
            (0.0, "0ms"),
            (0.25, "250ms"),
            (59.9, "59s"),
            (61.0, "1m01s"),
            (3_725.0, "1h02m"),
            (90_000.0, "1d01h"),
        ] {
            assert_eq!(rounded(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn paces_keep_to_a_few_digits() {
        for (per_s, expected) in [
            (0.0, "0.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (1_234.0, "1.2k"),
            (45_678.0, "46k"),
            (1_234_567.0, "1.2M"),
            (45e6, "45M"),
        ] {
            assert_eq!(pace(Some(per_s)).as_deref(), Some(expected));
        }
        assert_eq!(pace(Some(f64::NAN)), None);
        assert_eq!(pace(None), None);
    }

    #[test]
    fn catching_up_is_said_as_one_would() {
        let said = |catch_up: &str, catch_up_s| {
            super::catch_up(&Figures {
                catch_up: catch_up.to_owned(),
                catch_up_s,
                ..Figures::default()
            })
        };
        assert_eq!(said("done", Some(0.0)).as_deref(), Some("done"));
        assert_eq!(said("in_seconds", Some(75.4)).as_deref(), Some("in 1m15s"));
        assert_eq!(said("in_seconds", Some(0.01)).as_deref(), Some("in 1s"));
        assert_eq!(
            said("in_seconds", Some(1e300)).as_deref(),
            Some("in 370d08h")
        );
        assert_eq!(said("keeps_up", None).as_deref(), Some("keeps up"));
        assert_eq!(said("never", None).as_deref(), Some("never"));
        assert_eq!(said("unknown", None), None);
    }
}
