//! The real Prometheus, where it is installed: does what the dashboard and the alerts ask have an answer?

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::guard::{Guarded, Spec, TestDir, log_tail, wait_until};
use crate::http::Http;
use crate::ports::free_port;
use crate::tool;

const NAME: &str = "prometheus";

/// A running Prometheus that scrapes every second. Dropping it kills it.
pub struct Prometheus {
    _guarded: Guarded,
    http: Http,
    _dir: TestDir,
}

impl Prometheus {
    /// Whether its program is in `PATH`.
    pub fn is_installed() -> bool {
        tool::find(NAME).is_some()
    }

    /// Starts it on these addresses (`127.0.0.1:9600`), with these rules if any, and waits until it answers.
    pub fn start(targets: &[String], rules: Option<&str>) -> Result<Self> {
        let dir = TestDir::new(NAME)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let targets: Vec<String> = targets.iter().map(|t| format!("'{t}'")).collect();
        let rule_files = rules.map_or("", |_| "rule_files: [rules.yaml]\n");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n{rule_files}scrape_configs:\n\
             - job_name: outflow\n  static_configs: [{{ targets: [{}] }}]\n",
            targets.join(", ")
        );
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).context("can't write its configuration")
        };
        write("prometheus.yml", &config)?;
        write("rules.yaml", rules.unwrap_or_default())?;
        let args = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        let log = dir.path().join("log");
        let spec = Spec {
            program: NAME.into(),
            args: args.to_vec(),
            env: Vec::new(),
            dir: dir.path().to_owned(),
            log: log.clone(),
            as_id: None,
        };
        let guarded = Guarded::spawn(NAME, &spec)?;
        let http = Http::new(format!("http://{address}")).with_timeout(Duration::from_secs(30));
        let ready = || match http.get("/-/ready") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(error.to_string()),
        };
        wait_until("Prometheus is ready", Duration::from_secs(60), ready)
            .map_err(|error| Error::new(format!("{error}\n{}", log_tail(&log, 20))))?;
        Ok(Self {
            _guarded: guarded,
            http,
            _dir: dir,
        })
    }

    /// What a query gives now: a list of series, each with `metric` and `value`.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        let url = Url::parse_with_params("http://prometheus", [("query", query)]);
        let url = url.context(format!("{query} can't be asked"))?;
        let query_string = url.query().unwrap_or_default();
        let said = self.http.get(&format!("/api/v1/query?{query_string}"))?;
        let said = said.json()?;
        match said["data"]["result"].as_array() {
            Some(list) => Ok(list.clone()),
            None => Err(Error::new(format!("{query}: {said}"))),
        }
    }

    /// Its rules, each with `name` and `health`.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let said = self.http.get_json("/api/v1/rules")?;
        let groups = said["data"]["groups"].as_array().cloned();
        let rules = groups.into_iter().flatten().flat_map(|mut group| {
            let rules = group["rules"].take();
            rules.as_array().cloned().unwrap_or_default()
        });
        Ok(rules.collect())
    }
}
