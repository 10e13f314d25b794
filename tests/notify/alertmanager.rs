//! Against the real Alertmanager, where it is installed.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use testbed::guard::{Guarded, Spec, TestDir, wait_until};
use testbed::http::Http;
use testbed::ports::free_port;
use testbed::tool::installed;

use super::receiver::LONG;
use super::{AT_ONCE, Scene};

fn start(program: PathBuf, dir: &TestDir, port: u16) -> Guarded {
    let config = "route:\n  receiver: none\nreceivers:\n  - name: none\n";
    std::fs::write(dir.path().join("alertmanager.yml"), config).unwrap();
    let spec = Spec {
        program,
        args: vec![
            "--config.file=alertmanager.yml".into(),
            "--storage.path=data".into(),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--cluster.listen-address=".into(),
        ],
        env: Vec::new(),
        dir: dir.path().to_owned(),
        log: dir.path().join("log"),
        as_id: None,
    };
    Guarded::spawn("alertmanager", &spec).unwrap()
}

#[test]
fn the_real_one_shows_an_alert_until_it_is_over() {
    // Debian's name, and that of the project's own archives.
    let names = ["prometheus-alertmanager", "alertmanager"];
    let Some(program) = installed(&names, "Debian: prometheus-alertmanager") else {
        return;
    };
    let (dir, port) = (TestDir::new("alertmanager").unwrap(), free_port().unwrap());
    let _process = start(program.path().to_owned(), &dir, port);
    let http = Http::new(format!("http://127.0.0.1:{port}")).with_timeout(Duration::from_secs(10));
    let ready = || match http.get("/-/ready") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("Alertmanager is ready", LONG, ready).unwrap();
    // Two notifiers, as of two monitors: one alert.
    let section = |name: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{port}\"\n{AT_ONCE}\
             threshold = \"ERR\"\n[notify.labels]\nteam = \"data\"\n"
        )
        .replace("3s", "10s")
    };
    let scene = Scene::start(&format!("{}{}", section("one"), section("two")));
    scene.stall("payments");
    for name in ["one", "two"] {
        let sent =
            format!("outflow_notifications_sent_total{{notifier=\"{name}\",event=\"open\"}}");
        scene.wait_for_metric(&sent, 1.0);
    }
    let alerts = || http.get_json("/api/v2/alerts").unwrap();
    let shown = || match alerts() {
        Value::Array(all) if all.len() == 1 => Ok(all),
        other => Err(other.to_string()),
    };
    let all = wait_until("the alert is there", LONG, shown).unwrap();
    assert_eq!(
        all[0]["labels"],
        serde_json::json!({ "alertname": "ConsumerGroupInTrouble", "cluster": "local", "consumer_group": "payments",
            "severity": "critical", "team": "data" })
    );
    assert_eq!(all[0]["status"]["state"], "active");
    let summary = all[0]["annotations"]["summary"].as_str().unwrap();
    assert_eq!(summary, "ERR: group payments of cluster local is stuck");
    scene.mend("payments");
    let over = || match alerts() {
        Value::Array(all) if all.is_empty() => Ok(()),
        other => Err(other.to_string()),
    };
    wait_until("it is over", LONG, over).unwrap();
}
