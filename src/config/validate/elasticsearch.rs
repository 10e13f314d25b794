//! The Elasticsearch sink.

use super::super::kinds::Parsed;
use super::super::problem::printable;
use super::super::settings::{
    ElasticsearchAuth, ElasticsearchSettings, IdSource, Tombstones, WriteOp,
};
use super::Validator;
use crate::sinks::elasticsearch::index_name::{self, Template};

impl Validator<'_> {
    pub(super) fn elasticsearch(
        &mut self,
        topics: &[String],
        by_pattern: bool,
    ) -> Option<ElasticsearchSettings> {
        let urls = self.urls();
        let auth = self.elasticsearch_auth();
        let insecure_skip_verify = self.values.flag("elasticsearch.insecure_skip_verify");
        let ca_file = self.ca_file(insecure_skip_verify);
        self.check_transport(urls.as_deref(), &auth);
        let (index, allowed_indices) = self.index(topics, by_pattern);
        let (op, id, tombstones) = self.write_mode()?;
        let count = |key| {
            self.values
                .integer(key)
                .and_then(|n| usize::try_from(n).ok())
        };
        let max_batch_bytes =
            usize::try_from(self.values.bytes("elasticsearch.max_batch_bytes")?).ok()?;
        let gzip_level = self.gzip_level();
        Some(ElasticsearchSettings {
            urls: urls?,
            auth,
            ca_file,
            insecure_skip_verify,
            index: index?,
            allowed_indices,
            date_window: self.values.duration("elasticsearch.date_window")?,
            op,
            id,
            tombstones,
            max_batch_bytes,
            max_batch_docs: count("elasticsearch.max_batch_docs")?,
            linger: self.values.duration("elasticsearch.linger")?,
            max_in_flight: count("elasticsearch.max_in_flight")?,
            request_timeout: self.values.duration("elasticsearch.request_timeout")?,
            gzip_level,
        })
    }

    fn urls(&mut self) -> Option<Vec<url::Url>> {
        const KEY: &str = "elasticsearch.urls";
        const HELP: &str = "write urls = [\"https://es-1:9200\", \"https://es-2:9200\"]";
        if !self.require(KEY, HELP) {
            return None;
        }
        self.values.entries.get(KEY)?.parsed.as_ref()?;
        let texts = self.values.list(KEY);
        if texts.is_empty() {
            self.error(KEY, "is empty").push(HELP.into());
        }
        let mut urls = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            // What can't be read as a URL isn't shown: there may be a password in it.
            let number = if texts.len() > 1 {
                format!("URL {}", i + 1)
            } else {
                "the URL".into()
            };
            let no_scheme = || format!("{number} begins neither with http:// nor with https://");
            match url::Url::parse(text) {
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    self.error(KEY, format!("{number} has a user or a password in it")).push(
                        "a secret doesn't stand in the configuration: set user, and password_file or password_env".into(),
                    );
                }
                Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => {
                    self.error(KEY, no_scheme()).push(HELP.into());
                }
                Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                    self.error(KEY, format!("{number} has a query or a fragment"))
                        .push(
                            "write scheme, host and port, and a path if a proxy wants one".into(),
                        );
                }
                Ok(url) => urls.push(url),
                Err(url::ParseError::RelativeUrlWithoutBase) => {
                    self.error(KEY, no_scheme()).push(HELP.into());
                }
                Err(error) => {
                    self.error(KEY, format!("{number} can't be read: {error}"))
                        .push(HELP.into());
                }
            }
        }
        Some(urls)
    }

    fn elasticsearch_auth(&mut self) -> ElasticsearchAuth {
        let user = self.values.text("elasticsearch.user");
        let names = |stem: &str| {
            ["_file", "_env"]
                .iter()
                .map(|suffix| format!("elasticsearch.{stem}{suffix}"))
                .find(|key| self.values.is_set(key))
        };
        let (password_key, api_key) = (names("password"), names("api_key"));
        let password = self.secret("elasticsearch.password");
        let key = self.secret("elasticsearch.api_key");
        if let Some(api_key) = &api_key
            && (user.is_some() || password_key.is_some())
        {
            self.error(
                api_key,
                "there are an API key and a user, and only one can be used",
            )
            .push("keep the API key, and leave user and password out".into());
        }
        if user.is_some() && password_key.is_none() && api_key.is_none() {
            self.error("elasticsearch.user", "has no password").push(
                "name a file by password_file, or an environment variable by password_env".into(),
            );
        }
        if let (Some(password_key), None) = (&password_key, &user) {
            self.error(password_key, "there is a password, and no user")
                .push("set user".into());
        }
        match (key, user, password) {
            (Some(key), ..) => ElasticsearchAuth::ApiKey(key),
            (None, Some(user), Some(password)) => ElasticsearchAuth::Basic { user, password },
            _ => ElasticsearchAuth::None,
        }
    }

    fn ca_file(&mut self, insecure: bool) -> Option<std::path::PathBuf> {
        const KEY: &str = "elasticsearch.ca_file";
        let help = "name the CA certificate's PEM file; Elasticsearch writes its own to config/certs/http_ca.crt";
        let path = self.pem_file(KEY, help)?;
        if insecure {
            self.error(KEY, "isn't used while insecure_skip_verify is true")
                .push("take insecure_skip_verify away: the CA file does what it was for".into());
        }
        Some(path)
    }

    fn check_transport(&mut self, urls: Option<&[url::Url]>, auth: &ElasticsearchAuth) {
        let urls = urls.unwrap_or_default();
        let in_the_clear = urls
            .iter()
            .any(|url| url.scheme() == "http" && !is_local(url));
        if in_the_clear && !matches!(auth, ElasticsearchAuth::None) {
            self.warning(
                "elasticsearch.urls",
                "credentials cross the network in the clear",
            )
            .push("use https://".into());
        }
        if self.values.flag("elasticsearch.insecure_skip_verify") {
            self.warning(
                "elasticsearch.insecure_skip_verify",
                "anybody on the way may pretend to be Elasticsearch",
            )
            .push("name the CA by ca_file instead".into());
        }
        let all_plain = !urls.is_empty() && urls.iter().all(|url| url.scheme() == "http");
        if all_plain && self.values.is_set("elasticsearch.ca_file") {
            self.error(
                "elasticsearch.ca_file",
                "isn't used: no URL begins with https://",
            )
            .push("use https:// in urls, or leave ca_file out".into());
        }
    }

    /// The template and what it allows, judged by the very code that names indices.
    fn index(&mut self, topics: &[String], by_pattern: bool) -> (Option<String>, Vec<String>) {
        const KEY: &str = "elasticsearch.index";
        const HELP: &str =
            "write index = \"{topic}-{yyyy.MM.dd}\": {topic}, and dates of yyyy, MM, dd and HH";
        let Some(text) = self.values.text(KEY) else {
            return (None, Vec::new());
        };
        let template = match Template::read(&text) {
            Ok(template) => template,
            Err(why) => {
                self.error(KEY, printable(&why)).push(HELP.into());
                return (None, Vec::new());
            }
        };
        for topic in topics {
            if let Err(why) = index_name::validate(&template.sample(topic)) {
                let topic = printable(topic);
                self.error(
                    KEY,
                    format!(
                        "records of {topic:?} have no valid index: {}",
                        printable(&why)
                    ),
                )
                .push("begin index with a literal text: index = \"kafka-{topic}\"".into());
            }
        }
        (
            Some(text),
            self.allowed_indices(&template, topics, by_pattern),
        )
    }

    fn allowed_indices(
        &mut self,
        template: &Template,
        topics: &[String],
        by_pattern: bool,
    ) -> Vec<String> {
        const KEY: &str = "elasticsearch.allowed_indices";
        if !self.values.is_set(KEY) {
            let mut allowed: Vec<String> =
                topics.iter().map(|topic| template.pattern(topic)).collect();
            // Which topics a pattern means is known when they appear; the text around them is known now.
            allowed.extend(by_pattern.then(|| template.pattern("*")));
            allowed.sort();
            allowed.dedup();
            self.derived.insert(KEY, Parsed::List(allowed.clone()));
            return allowed;
        }
        let allowed = self.values.list(KEY);
        for pattern in &allowed {
            if let Err(why) = index_name::validate(&pattern.replace('*', "x")) {
                self.error(KEY, format!("{:?} matches no index: {}", printable(pattern), printable(&why)))
                    .push("write index names in lower case, with `*` for any run of characters: [\"logs-*\"]".into());
            }
        }
        for topic in topics {
            let sample = template.sample(topic);
            if !index_name::is_allowed(&sample, &allowed) {
                let topic = printable(topic);
                self.error(
                    KEY,
                    format!("no pattern allows {sample:?}, where records of {topic:?} would go"),
                )
                .push(format!(
                    "add {:?}, or change index",
                    template.pattern(&topic)
                ));
            }
        }
        allowed
    }

    fn write_mode(&mut self) -> Option<(WriteOp, IdSource, Tombstones)> {
        let op = match self.values.text("elasticsearch.op")?.as_str() {
            "create" => WriteOp::Create,
            _ => WriteOp::Index,
        };
        let id = match self.values.text("elasticsearch.id")?.as_str() {
            "key" => IdSource::Key,
            "none" => IdSource::None,
            _ => IdSource::Offset,
        };
        const KEY: &str = "elasticsearch.tombstones";
        let can_delete = id == IdSource::Key && op == WriteOp::Index;
        let tombstones = match self.values.text(KEY).as_deref() {
            Some("delete") if self.values.is_broken("elasticsearch.id") => Tombstones::Delete,
            Some("delete") if !can_delete => {
                let (what, help) = if op == WriteOp::Create {
                    (
                        "nothing is deleted while op is \"create\"",
                        "set op = \"index\", or tombstones = \"skip\"",
                    )
                } else {
                    (
                        "a null value can only delete a document whose id is its key",
                        "set id = \"key\", or tombstones = \"skip\"",
                    )
                };
                self.error(KEY, what).push(help.into());
                Tombstones::Skip
            }
            Some("delete") => Tombstones::Delete,
            Some("reject") => Tombstones::Reject,
            Some(_) => Tombstones::Skip,
            None => {
                let word = if can_delete { "delete" } else { "skip" };
                self.derived.insert(KEY, Parsed::Text(word.into()));
                if can_delete {
                    Tombstones::Delete
                } else {
                    Tombstones::Skip
                }
            }
        };
        if op == WriteOp::Create && id == IdSource::Key {
            self.warning("elasticsearch.op", "with \"create\" the first record of a key stands, and every later one is refused")
                .push("right for keys that occur once (event ids in a data stream), else set op = \"index\"".into());
        }
        if id == IdSource::None {
            self.warning(
                "elasticsearch.id",
                "a record that is sent again makes a second document",
            )
            .push("set id = \"offset\" for effectively once".into());
        }
        Some((op, id, tombstones))
    }

    fn gzip_level(&mut self) -> Option<u32> {
        const LEVEL: &str = "elasticsearch.compression_level";
        let level = self.values.integer(LEVEL);
        if self.values.text("elasticsearch.compression").as_deref() != Some("gzip") {
            if level.is_some() && !self.values.is_broken("elasticsearch.compression") {
                self.error(LEVEL, "isn't used without compression")
                    .push("set compression = \"gzip\", or leave it out".into());
            }
            return None;
        }
        if level.is_none() {
            self.derived.insert(LEVEL, Parsed::Integer(1));
        }
        u32::try_from(level.unwrap_or(1)).ok()
    }
}

pub(super) fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
