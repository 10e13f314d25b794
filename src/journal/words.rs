//! Figures and names in sentences.

/// What a sink writes to.
pub fn server(kind: &str) -> &str {
    match kind {
        "elasticsearch" => "Elasticsearch",
        "hdfs" => "HDFS",
        other => other,
    }
}

/// 5,233.
pub fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    match number < 0 {
        true => format!("-{text}"),
        false => text,
    }
}

/// 8 s, 3 min 20 s, 5 h 2 min.
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_people_read_them() {
        assert_eq!(
            [0, 999, 1_000, 5_233_000].map(number),
            ["0", "999", "1,000", "5,233,000"]
        );
        let times = [999, 8_000, 200_000, 18_120_000].map(duration);
        assert_eq!(times, ["0 s", "8 s", "3 min 20 s", "5 h 2 min"]);
    }
}
