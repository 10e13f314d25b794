//! The chart, with the tools that people use: only where they are installed.

use std::process::{Command, Stdio};

use super::manifests::repository;

/// What a tool said, and whether it was content; `None` where it isn't installed.
fn run(program: &str, args: &[&str], input: Option<&str>) -> Option<(bool, String)> {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let mut command = Command::new(program);
    command.args(args).current_dir(repository("."));
    let started = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("NOT TESTED: {program} isn't installed");
        return None;
    };
    if let Some(input) = input {
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    }
    let done = child.wait_with_output().unwrap();
    let said = if done.status.success() {
        done.stdout
    } else {
        [done.stdout, done.stderr].concat()
    };
    Some((
        done.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

const CHART: &str = "deploy/helm/outflow";
const BOTH: &str = "deploy/helm/outflow/examples/both-sinks.yaml";

/// The chart's objects with these settings, or what helm says is wrong with them.
fn template(settings: &[&str]) -> Option<Result<String, String>> {
    let mut args = vec!["template", "outflow", CHART, "--values", BOTH];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let (is_fine, said) = run("helm", &args, None)?;
    Some(if is_fine { Ok(said) } else { Err(said) })
}

#[test]
fn helm_finds_nothing_wrong() {
    for more in [&[][..], &["--values", BOTH]] {
        let args = [&["lint", "--strict", CHART][..], more].concat();
        if let Some((is_fine, said)) = run("helm", &args, None) {
            assert!(is_fine, "{said}");
        }
    }
}

#[test]
fn the_plain_manifests_are_the_charts() {
    if run("helm", &["version"], None).is_some() {
        let (is_fine, said) = run("scripts/manifests.sh", &["--check"], None).unwrap();
        assert!(is_fine, "{said}");
    }
}

#[test]
fn the_chart_refuses_what_would_not_work() {
    for (setting, why) in [
        ("sinks.hdfs.replica=2", "replica"),
        (
            "sinks.hdfs.resources.limits.memory=1e9",
            "isn't a number of Mi or Gi",
        ),
        ("sinks.monitor.config=x", "call the sink otherwise"),
        (
            "sinks.hdfs.autoscaling.enabled=true,sinks.hdfs.autoscaling.topic=",
            "autoscaling.topic",
        ),
        (
            "sinks.hdfs.secrets.admin-token.secret=a,sinks.hdfs.secrets.admin-token.key=a",
            "admin-token",
        ),
        ("sinks.fixed.config=assign = [\"a:0\"]", "fixed partitions"),
        ("monitor.config=", "monitor.config"),
    ] {
        let Some(rendered) = template(&[setting]) else {
            return;
        };
        let said = rendered.expect_err(setting);
        assert!(said.contains(why), "{setting}: {said}");
    }
}

/// Schemas: kubeconform's own unless KUBECONFORM_SCHEMAS names a place; those of other people's kinds may lack.
#[test]
fn everything_that_the_chart_makes_is_what_kubernetes_takes() {
    let all = [
        "serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true",
        "sinks.elasticsearch.autoscaling.enabled=true,sinks.hdfs.persistence.enabled=true",
        "sinks.hdfs.nodeSelector.a=b,sinks.hdfs.tolerations[0].key=x,sinks.hdfs.priorityClassName=high",
        "admin.tokenSecret.name=,networkPolicy.egress[0].ports[0].port=9092",
    ];
    let Some(rendered) = template(&all) else {
        return;
    };
    let rendered = rendered.unwrap();
    let schemas = std::env::var("KUBECONFORM_SCHEMAS").unwrap_or_else(|_| "default".to_owned());
    let mut args = vec!["-strict", "-summary", "-ignore-missing-schemas"];
    args.extend(
        schemas
            .split(' ')
            .flat_map(|place| ["-schema-location", place]),
    );
    args.push("-");
    let Some((is_fine, said)) = run("kubeconform", &args, Some(&rendered)) else {
        return;
    };
    if said.contains("failed downloading schema") {
        eprintln!("NOT TESTED: kubeconform can't have its schemas: {said}");
        return;
    }
    assert!(is_fine, "{said}");
    let skipped = said
        .rsplit("Skipped: ")
        .next()
        .and_then(|n| n.trim().parse::<usize>().ok());
    assert!(
        skipped.unwrap() <= 3,
        "only other people's kinds have no schema: {said}"
    );
}
