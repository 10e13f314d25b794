//! What is ready to use: the dashboard, the alert rules, the runbook, the image. Whether real processes have the metrics is
//! asked in tests/monitor.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "deploy/queries.rs"]
mod queries;

use std::collections::BTreeSet;
use std::path::Path;

use testbed::guard::TestDir;
use testbed::tool::{Said, installed};

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_alert_has_words_and_a_place_in_the_runbook_and_every_place_has_its_alert() {
    let runbook = std::fs::read_to_string(repository("docs/runbook.md")).unwrap();
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let headings: BTreeSet<&str> = headings.collect();
    let rules = queries::rules();
    let names: BTreeSet<&str> = rules.iter().map(|rule| &*rule.name).collect();
    assert_eq!(names, headings);
    assert_eq!(names.len(), rules.len(), "each once");
    for rule in &rules {
        let key = |key: &str| {
            rule.key(key)
                .unwrap_or_else(|| panic!("{}: {key}", rule.name))
        };
        assert!(
            ["critical", "warning"].contains(&key("severity")),
            "{rule:?}"
        );
        assert!(
            key("summary").len() > 15 && key("description").len() > 30,
            "{rule:?}"
        );
        let anchor = format!("docs/runbook.md#{}", rule.name.to_lowercase());
        assert_eq!(key("runbook_url"), anchor);
        assert!(!queries::metrics(&rule.query).is_empty(), "{rule:?}");
    }
}

#[test]
fn the_dashboard_works_on_import() {
    let dashboard = queries::dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let side = |key: &str| panel["gridPos"][key].as_i64().unwrap();
        assert!(side("x") + side("w") <= 24, "{panel}");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert_eq!(
                panel["datasource"]["uid"], "${datasource}",
                "{}",
                panel["title"]
            );
            assert!(!panel["targets"].as_array().unwrap().is_empty());
        }
    }
    let first = panels.iter().find(|panel| panel["type"] == "row").unwrap();
    assert_eq!(first["title"], "Is it well?");
}

#[test]
fn metrics_are_found_in_queries() {
    let query = r#"sum by (sink, le) (rate(a_bucket{x=~"b_c", y="d"}[5m])) > 0 or e unless e offset 1h and on (f) vector(0)"#;
    let found = queries::metrics(query);
    assert_eq!(found, ["a_bucket", "e"].map(str::to_owned).into());
}

fn promtool(args: &[&str]) -> Option<Said> {
    let promtool = installed(&["promtool"], "Debian: prometheus")?;
    Some(promtool.run(args, "").unwrap())
}

#[test]
fn the_rules_do_what_their_own_tests_say() {
    let tests = repository("deploy/prometheus/alerts_test.yaml");
    if let Some(said) = promtool(&["test", "rules", tests.to_str().unwrap()]) {
        assert!(said.is_fine, "{}", said.all());
    }
}

/// As rules of their own: promtool then reads each as PromQL.
#[test]
fn every_query_of_the_dashboard_is_one() {
    let dir = TestDir::new("deploy").unwrap();
    let file = dir.path().join("queries.yaml");
    let mut text = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (n, (_, query)) in queries::of_dashboard().iter().enumerate() {
        let query = query.replace('\'', "''");
        text += &format!("  - record: query_{n}\n    expr: '{query}'\n");
    }
    std::fs::write(&file, text).unwrap();
    if let Some(said) = promtool(&["check", "rules", file.to_str().unwrap()]) {
        let num = queries::of_dashboard().len();
        let is_whole = said.out.contains(&format!("{num} rules found"));
        assert!(said.is_fine && is_whole, "{}", said.all());
    }
}

/// Cargo reads no manifest that names a target whose file isn't there; the image's build has only what it is given.
#[test]
fn the_images_build_has_each_target_that_the_manifest_names() {
    let dockerfile = std::fs::read_to_string(repository("docker/Dockerfile")).unwrap();
    let manifest = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    for (kind, folder) in [
        ("bench", "benches"),
        ("example", "examples"),
        ("test", "tests"),
        ("bin", "src/bin"),
    ] {
        let targets = manifest.get(kind).and_then(|targets| targets.as_array());
        for target in targets.into_iter().flatten() {
            let name = target.get("name").and_then(|name| name.as_str()).unwrap();
            let file = format!("{folder}/{name}.rs");
            assert!(dockerfile.contains(&file), "docker/Dockerfile lacks {file}");
        }
    }
}
