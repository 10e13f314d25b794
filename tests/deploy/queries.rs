//! The queries of the dashboard and of the alert rules, and the names of metrics in them.

#![allow(dead_code)] // Not every test that includes this asks for all.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn dashboard() -> Value {
    serde_json::from_str(&file("deploy/grafana/outflow.json")).expect("JSON")
}

/// Where it is asked, and the query: of all panels, with Grafana's variables replaced.
pub fn of_dashboard() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let mut query = query.replace("$__rate_interval", "5m");
            for name in ["instance", "sink", "cluster", "group"] {
                query = query.replace(&format!("\"${name}\""), "\".*\"");
            }
            assert!(!query.contains('$'), "{title}: {query}");
            queries.push((format!("panel {title:?}"), query));
        }
    }
    queries
}

/// An alert rule, as far as it is looked at.
#[derive(Debug, Default)]
pub struct Rule {
    pub name: String,
    pub query: String,
    /// Its other keys: `severity`, `summary`, `description`, `runbook_url`.
    pub keys: Vec<(String, String)>,
}

impl Rule {
    pub fn key(&self, key: &str) -> Option<&str> {
        let found = self.keys.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| &**value)
    }
}

/// The file with the alert rules.
pub fn rules_file() -> String {
    file("deploy/prometheus/alerts.yaml")
}

/// The rules. (promtool reads the file as YAML; this reads the form that it has.)
pub fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut folded = false;
    for line in rules_file().lines() {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix("- alert: ") {
            let name = name.to_owned();
            rules.push(Rule {
                name,
                ..Rule::default()
            });
            continue;
        }
        let Some(rule) = rules.last_mut().filter(|_| !trimmed.starts_with('#')) else {
            continue;
        };
        match trimmed.split_once(": ") {
            _ if folded && !trimmed.ends_with(':') && !trimmed.starts_with("for:") => {
                rule.query.push_str(trimmed);
                rule.query.push(' ');
            }
            Some(("expr", ">-")) => folded = true,
            Some(("expr", query)) => rule.query = query.to_owned(),
            Some((key, value)) => {
                folded = false;
                let value = value.trim_matches('"').to_owned();
                rule.keys.push((key.to_owned(), value));
            }
            None => folded = false,
        }
    }
    rules
}

/// Words of PromQL that are no metrics; functions are known by the bracket after them.
const WORDS: [&str; 9] = [
    "and", "or", "unless", "by", "on", "offset", "bool", "ignoring", "without",
];

/// The metrics in a query: identifiers outside of braces, texts, ranges and lists of labels.
pub fn metrics(query: &str) -> BTreeSet<String> {
    let cut = [
        r#""[^"]*""#,
        r"\{[^}]*\}",
        r"\[[^\]]*\]",
        r"\b(by|on|ignoring|without) *\([^)]*\)",
        r"\boffset +[0-9a-z]+",
    ];
    let bare = cut.iter().fold(query.to_owned(), |query, pattern| {
        let pattern = regex::Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&query, " ").into_owned()
    });
    let name = regex::Regex::new(r"[a-zA-Z_:][a-zA-Z0-9_:]*( *\()?").expect("a pattern");
    let found = name.find_iter(&bare).map(|found| found.as_str());
    let metrics = found.filter(|name| !name.ends_with('(') && !WORDS.contains(name));
    metrics.map(str::to_owned).collect()
}

/// All metrics of dashboard and rules, but for those that Prometheus makes by itself.
pub fn all_metrics() -> BTreeSet<String> {
    let rules = rules().into_iter().map(|rule| rule.query);
    let queries = of_dashboard().into_iter().map(|(_, query)| query);
    let all = rules.chain(queries);
    let mut all: BTreeSet<String> = all.flat_map(|query| metrics(&query)).collect();
    all.remove("up");
    all
}

/// The names that samples have, of what `/metrics` says: those with a sample, and those that will have some.
pub fn exposed(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", "TYPE", name, "counter"] => {
                names.insert(format!("{name}_total"));
            }
            ["#", "TYPE", name, "histogram"] => {
                names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
            }
            ["#", ..] | [] => {}
            [sample, ..] => {
                let name = sample.split('{').next().unwrap_or_default();
                names.insert(name.to_owned());
            }
        }
    }
    names
}
