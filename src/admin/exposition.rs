//! Every family of metrics once, with all its samples: each sink registers its own handles under the same
//! names, and a reader of the text may refuse a family that comes twice.

/// Brings the blocks of each family together, in the order of their first appearance.
pub fn merge_families(text: &str) -> String {
    let mut families: Vec<(&str, String, String)> = Vec::new();
    let mut at = 0;
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let name = comment.split(' ').nth(1).unwrap_or_default();
            at = families
                .iter()
                .position(|(n, ..)| *n == name)
                .unwrap_or(families.len());
            if at == families.len() {
                families.push((name, String::new(), String::new()));
            }
        }
        let Some((_, head, samples)) = families.get_mut(at) else {
            continue;
        };
        let is_comment = line.starts_with('#');
        if is_comment && head.lines().any(|known| known == line) {
            continue;
        }
        let part = if is_comment { head } else { samples };
        part.push_str(line);
        part.push('\n');
    }
    let mut merged: String = families
        .iter()
        .map(|(_, head, samples)| format!("{head}{samples}"))
        .collect();
    merged.push_str("# EOF\n");
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_two_sinks_has_one_head() {
        let one = "# HELP a_b About.\n# TYPE a_b counter\na_b_total{sink=\"x\"} 1\n";
        let other = "# HELP c_d About.\n# TYPE c_d gauge\nc_d 2\n";
        let two = "# HELP a_b About.\n# TYPE a_b counter\na_b_total{sink=\"y\"} 3\n";
        assert_eq!(
            merge_families(&format!("{one}{other}{two}# EOF\n")),
            format!("{one}a_b_total{{sink=\"y\"}} 3\n{other}# EOF\n")
        );
    }
}
