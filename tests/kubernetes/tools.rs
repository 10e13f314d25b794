//! The chart, with the tools that people use: only where they are installed.

use testbed::tool::{Said, installed};

use super::manifests::repository;

fn run(program: &str, source: &str, args: &[&str], input: &str) -> Option<Said> {
    let tool = installed(&[program], source)?;
    Some(tool.run(args, input).unwrap())
}

fn helm(args: &[&str]) -> Option<Said> {
    run("helm", "https://helm.sh", args, "")
}

const CHART: &str = "deploy/helm/outflow";
const BOTH: &str = "deploy/helm/outflow/examples/both-sinks.yaml";

/// The chart's objects with these settings, or what helm says is wrong with them.
fn template(settings: &[&str]) -> Option<Result<String, String>> {
    let mut args = vec!["template", "outflow", CHART, "--values", BOTH];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let said = helm(&args)?;
    Some(match said.is_fine {
        true => Ok(said.out),
        false => Err(said.all()),
    })
}

#[test]
fn helm_finds_nothing_wrong() {
    for more in [&[][..], &["--values", BOTH]] {
        let args = [&["lint", "--strict", CHART][..], more].concat();
        if let Some(said) = helm(&args) {
            assert!(said.is_fine, "{}", said.all());
        }
    }
}

#[test]
fn the_plain_manifests_are_the_charts() {
    if helm(&["version"]).is_some() {
        let script = repository("scripts/manifests.sh");
        let said = run(script.to_str().unwrap(), "ours", &["--check"], "").unwrap();
        assert!(said.is_fine, "{}", said.all());
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
    let source = "https://github.com/yannh/kubeconform";
    let Some(said) = run("kubeconform", source, &args, &rendered) else {
        return;
    };
    let (is_fine, said) = (said.is_fine, said.all());
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
