//! What the server says to the configuration, for `outflow check --connect`: every finding at once, each with
//! what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::index_name::Template;
use super::transport::{Client, Method, Reply, Request};
use crate::check::Finding;
use crate::config::settings::{ElasticsearchAuth, ElasticsearchSettings, Tombstones, WriteOp};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the server whether records of `topics` can go where the settings send them. Changes nothing there.
pub async fn check(settings: &ElasticsearchSettings, topics: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = check_all(settings, topics, &mut findings).await {
        findings.push(Finding::wrong(
            "elasticsearch",
            error,
            "mend this, and check again",
        ));
    }
    findings
}

async fn check_all(
    settings: &ElasticsearchSettings,
    topics: &[String],
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let template = Template::parse(&settings.index).map_err(|e| e.what)?;
    let client = Client::new(settings).map_err(|e| e.what)?;
    let mut reached = 0;
    // Each node once, so that one dead among several is seen.
    for _ in &settings.urls {
        match client.ping().await {
            Ok(()) => reached += 1,
            Err(e) => findings.push(Finding::wrong(
                "elasticsearch",
                format!("not reached: {}", e.what),
                "check urls (http:// or https://, and the port), the network and TLS (ca_file)",
            )),
        }
    }
    if reached == 0 {
        return Ok(());
    }
    if !check_who_we_are(&client, settings, findings).await? {
        return Ok(());
    }
    check_version(&client, findings).await?;
    for name in names(&template, topics) {
        check_index(&client, settings, &name, findings).await?;
    }
    if topics.is_empty() && template.literal().is_none() {
        findings.push(Finding::fine(
            format!("index {}", settings.index),
            "topics come by their pattern, so each index is seen when it is written",
        ));
    } else if template.has_date() {
        findings.push(Finding::fine(
            format!("index {}", settings.index),
            "the date comes from records, so each index is seen when it is written",
        ));
    }
    Ok(())
}

/// The names that are known beforehand: of named topics, or without a topic in them.
fn names(template: &Template, topics: &[String]) -> BTreeSet<String> {
    // Without a topic in it a name is the same for all.
    let any = ["any".to_owned()];
    let topics = match template.literal() {
        Some(_) => any.as_slice(),
        None => topics,
    };
    let resolve = |topic: &String| template.resolve(topic, None, 0, 0, &[]).ok();
    topics
        .iter()
        .filter_map(resolve)
        .map(|resolved| resolved.name)
        .collect()
}

/// Authentication and privileges. False: nothing else can be asked.
async fn check_who_we_are(
    client: &Client,
    settings: &ElasticsearchSettings,
    findings: &mut Vec<Finding>,
) -> Result<bool, String> {
    const SUBJECT: &str = "elasticsearch user";
    let reply = get(client, "/_security/_authenticate").await?;
    match reply.status {
        200 => {
            let user = body(&reply)["username"].as_str().unwrap_or("?").to_owned();
            findings.push(Finding::fine(SUBJECT, format!("authenticated as '{user}'")));
        }
        401 | 403 => {
            findings.push(Finding::wrong(
                SUBJECT,
                format!("{}: not authenticated (HTTP {})", reply.node, reply.status),
                "check the user and password, or the API key",
            ));
            return Ok(false);
        }
        // Without security the endpoint isn't there.
        _ => {
            if !matches!(settings.auth, ElasticsearchAuth::None) {
                findings.push(Finding::warning(
                    SUBJECT,
                    "credentials are configured, but the server has security off",
                    "switch security on, or take the credentials away",
                ));
            }
            return Ok(true);
        }
    }
    check_privileges(client, settings, findings).await?;
    Ok(true)
}

async fn check_privileges(
    client: &Client,
    settings: &ElasticsearchSettings,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let mut privileges = match settings.op {
        WriteOp::Index => vec!["index"],
        // Replays are compared with what is there.
        WriteOp::Create => vec!["create_doc", "read"],
    };
    if settings.tombstones == Tombstones::Delete {
        privileges.push("delete");
    }
    let names = &settings.allowed_indices;
    if names.is_empty() {
        return Ok(());
    }
    let question = json!({"index": [{"names": names, "privileges": privileges}]});
    let path = "/_security/user/_has_privileges";
    let reply = send(client, Method::Post, path, Some(question)).await?;
    if reply.status != 200 {
        findings.push(Finding::warning(
            "elasticsearch privileges",
            format!("they can't be asked for (HTTP {})", reply.status),
            "see that the user may write to the indices",
        ));
        return Ok(());
    }
    let answer = body(&reply);
    for name in names {
        let is_missing = |privilege: &&&str| answer["index"][name][**privilege] == json!(false);
        let missing: Vec<_> = privileges.iter().filter(is_missing).copied().collect();
        let subject = format!("index {name}");
        findings.push(if missing.is_empty() {
            Finding::fine(subject, "may be written to")
        } else {
            Finding::wrong(
                subject,
                format!("privileges are missing: {}", missing.join(", ")),
                "grant them to the user or the API key",
            )
        });
    }
    Ok(())
}

async fn check_version(client: &Client, findings: &mut Vec<Finding>) -> Result<(), String> {
    let path = "/_nodes?filter_path=nodes.*.version,cluster_name";
    let reply = get(client, path).await?;
    let answer = body(&reply);
    let nodes = answer["nodes"].as_object().into_iter().flatten();
    let versions: Vec<&str> = nodes
        .filter_map(|(_, node)| node["version"].as_str())
        .collect();
    let cluster = answer["cluster_name"].as_str().unwrap_or("?");
    let subject = "elasticsearch";
    findings.push(match versions.first() {
        Some(first) => Finding::fine(subject, format!("cluster '{cluster}', version {first}")),
        None => Finding::warning(
            subject,
            format!("the version can't be asked for (HTTP {})", reply.status),
            "see that it is Elasticsearch 8 or 9",
        ),
    });
    if let Some(old) = versions.iter().find(|v| major(v) < Some(8)) {
        findings.push(Finding::warning(
            subject,
            format!("version {old} is older than what outflow is tested with"),
            "use Elasticsearch 8 or 9",
        ));
    }
    Ok(())
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

async fn check_index(
    client: &Client,
    settings: &ElasticsearchSettings,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    // The name was validated: nothing in it needs escaping.
    let reply = get(client, &format!("/_resolve/index/{name}")).await?;
    let answer = body(&reply);
    let has = |kind: &str| {
        answer[kind]
            .as_array()
            .is_some_and(|found| !found.is_empty())
    };
    let subject = format!("index {name}");
    if has("data_streams") {
        findings.push(match settings.op {
            WriteOp::Create => Finding::fine(subject, "is a data stream"),
            WriteOp::Index => Finding::wrong(
                subject,
                "is a data stream, which takes op = \"create\" only",
                "set op = \"create\", or another index",
            ),
        });
        return Ok(());
    }
    if !has("indices") && !has("aliases") {
        return check_auto_create(client, subject, findings).await;
    }
    findings.push(Finding::fine(subject, "is there"));
    check_index_settings(client, name, findings).await
}

async fn check_auto_create(
    client: &Client,
    subject: String,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let path = "/_cluster/settings?include_defaults=true\
                &filter_path=*.action.auto_create_index";
    let reply = get(client, path).await?;
    let answer = body(&reply);
    let setting = ["transient", "persistent", "defaults"]
        .iter()
        .find_map(|layer| answer[*layer]["action"]["auto_create_index"].as_str());
    findings.push(match setting {
        Some("false") => Finding::wrong(
            subject,
            "isn't there, and action.auto_create_index is off",
            "create it, with its mapping",
        ),
        Some("true") => Finding::warning(
            subject,
            "isn't there: the first record creates it, with a mapping guessed from that record",
            "create it or an index template beforehand, if the mapping matters",
        ),
        other => Finding::warning(
            subject,
            format!(
                "isn't there; action.auto_create_index = {} decides whether the first record creates it",
                other.unwrap_or("?")
            ),
            "create it, with its mapping",
        ),
    });
    Ok(())
}

async fn check_index_settings(
    client: &Client,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let reply = get(client, &format!("/{name}/_settings?flat_settings=true")).await?;
    let answer = body(&reply);
    for (index, found) in answer.as_object().into_iter().flatten() {
        let setting = |key: &str| found["settings"][key].as_str();
        let blocks = [
            "index.blocks.write",
            "index.blocks.read_only",
            "index.blocks.read_only_allow_delete",
        ];
        for block in blocks.into_iter().filter(|b| setting(b) == Some("true")) {
            findings.push(Finding::wrong(
                format!("index {index}"),
                format!("has {block} = true"),
                "remove the block (and see why it is there: a full disk sets one)",
            ));
        }
        if setting("index.translog.durability") == Some("async") {
            findings.push(Finding::warning(
                format!("index {index}"),
                "has index.translog.durability = async: what the server acknowledges can be lost with a node",
                "set it to request",
            ));
        }
    }
    Ok(())
}

async fn get(client: &Client, path: &str) -> Result<Reply, String> {
    send(client, Method::Get, path, None).await
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    question: Option<Value>,
) -> Result<Reply, String> {
    let request = Request {
        method,
        path,
        query: &[],
        body: question.map(|json| json.to_string().into()),
        timeout: TIMEOUT,
    };
    client.send(request).await.map_err(|e| e.what)
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}
