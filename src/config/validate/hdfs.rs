//! The HDFS sink.

use super::super::kinds::Parsed;
use super::super::problem::printable;
use super::super::settings::{
    Compression, HdfsSettings, Partitioning, Rotation, TimeUnit, Tombstones,
};
use super::{Validator, did_you_mean};

impl Validator<'_> {
    pub(super) fn hdfs(&mut self) -> Option<HdfsSettings> {
        let url = self.hdfs_url();
        let base = self.base();
        let config_dir = self.config_dir();
        let compression = self.compression();
        let partitioning = self.partitioning();
        let max_open_files = usize::try_from(self.values.integer("hdfs.max_open_files")?).ok()?;
        Some(HdfsSettings {
            url: url?,
            config_dir,
            user: self.values.text("hdfs.user"),
            base: base?,
            replication: self
                .values
                .integer("hdfs.replication")
                .and_then(|n| u32::try_from(n).ok()),
            compression,
            partitioning: partitioning?,
            rotation: Rotation {
                bytes: self.values.bytes("hdfs.rotate.bytes")?,
                records: self
                    .values
                    .integer("hdfs.rotate.records")
                    .and_then(|n| u64::try_from(n).ok()),
                age: self.values.duration("hdfs.rotate.age")?,
                idle: self.values.duration("hdfs.rotate.idle"),
            },
            max_open_files,
            call_timeout: self.values.duration("hdfs.call_timeout")?,
            tombstones: match self.values.text("hdfs.tombstones")?.as_str() {
                "reject" => Tombstones::Reject,
                _ => Tombstones::Skip,
            },
        })
    }

    fn hdfs_url(&mut self) -> Option<String> {
        const KEY: &str = "hdfs.url";
        const HELP: &str =
            "write url = \"hdfs://namenode:8020\", or \"hdfs://nameservice\" with config_dir";
        let text = self.required(KEY, HELP)?;
        const NO_SCHEME: &str = "doesn't begin with hdfs:// and a host";
        let url = match url::Url::parse(&text) {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                self.error(KEY, NO_SCHEME).push(HELP.into());
                return None;
            }
            Err(error) => {
                self.error(KEY, format!("can't be read: {error}"))
                    .push(HELP.into());
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.error(KEY, "has a user or a password in it")
                .push("set hdfs.user instead".into());
        } else if url.scheme() != "hdfs" || url.host_str().is_none_or(str::is_empty) {
            self.error(KEY, NO_SCHEME).push(HELP.into());
        } else if !matches!(url.path(), "" | "/") || url.query().is_some() {
            self.error(KEY, "has a path in it")
                .push("set hdfs.base to the path".into());
        } else {
            if url.port().is_none() && !self.values.is_set("hdfs.config_dir") && std_dir_unset(self)
            {
                self.warning(
                    KEY,
                    "there is neither a port nor a config_dir that could define a nameservice",
                )
                .push(HELP.into());
            }
            return Some(text.trim_end_matches('/').to_owned());
        }
        None
    }

    fn base(&mut self) -> Option<String> {
        const KEY: &str = "hdfs.base";
        let text = self.required(
            KEY,
            "name the folder that outflow owns: base = \"/data/outflow\"",
        )?;
        let base = text.trim_end_matches('/');
        let (what, help) = if !text.starts_with('/') {
            (
                "isn't an absolute path",
                "begin it with `/`; the NameNode stands in url",
            )
        } else if base.is_empty() {
            (
                "is the root",
                "give outflow a folder of its own: base = \"/data/outflow\"",
            )
        } else if base.split('/').any(|part| matches!(part, "." | "..")) {
            ("has `.` or `..` in it", "write the path as it is")
        } else if base.contains("//") || base.contains(':') || base.chars().any(char::is_control) {
            (
                "has an empty part, a `:` or a control character in it",
                "HDFS takes no such path",
            )
        } else if base.len() > 2_000 || base.split('/').any(|part| part.len() > 255) {
            (
                "is too long",
                "at most 255 bytes a part, and 2,000 in all: topics and file names follow",
            )
        } else if base
            .split('/')
            .any(|part| part.starts_with('_') || (part.starts_with('.') && part.len() > 1))
        {
            (
                "has a part that begins with `_` or `.`",
                "Hive, Spark and MapReduce skip such folders: choose another name",
            )
        } else {
            return Some(base.to_owned());
        };
        self.error(KEY, what).push(help.into());
        None
    }

    fn config_dir(&mut self) -> Option<std::path::PathBuf> {
        const KEY: &str = "hdfs.config_dir";
        let path = std::path::PathBuf::from(self.values.text(KEY)?);
        let found = ["core-site.xml", "hdfs-site.xml"]
            .iter()
            .any(|name| self.surroundings.read_file(&path.join(name)).is_ok());
        if !found {
            self.error(
                KEY,
                "there is neither a core-site.xml nor an hdfs-site.xml that can be read",
            )
            .push("name Hadoop's own configuration directory, often /etc/hadoop/conf".into());
        }
        Some(path)
    }

    fn compression(&mut self) -> Compression {
        const LEVEL: &str = "hdfs.compression_level";
        let level = self.values.integer(LEVEL);
        let (compression, used) = match self.values.text("hdfs.compression").as_deref() {
            Some("zstd") => {
                let level = level.unwrap_or(3);
                (
                    Compression::Zstd(i32::try_from(level).unwrap_or(3)),
                    Some(level),
                )
            }
            Some("gzip") => {
                if level.is_some_and(|level| level > 9) {
                    self.error(LEVEL, "gzip has levels 1 to 9")
                        .push("choose one of them, or zstd".into());
                }
                let level = level.unwrap_or(6);
                (
                    Compression::Gzip(u32::try_from(level).unwrap_or(6)),
                    Some(level),
                )
            }
            _ => (Compression::None, None),
        };
        match (used, level) {
            (None, Some(_)) if !self.values.is_broken("hdfs.compression") => {
                self.error(LEVEL, "isn't used without compression")
                    .push("set compression = \"zstd\" or \"gzip\", or leave it out".into());
            }
            (Some(used), None) => {
                self.derived.insert(LEVEL, Parsed::Integer(used));
            }
            _ => {}
        }
        compression
    }

    fn partitioning(&mut self) -> Option<Partitioning> {
        const ZONE: &str = "hdfs.partition.zone";
        let zone = self.values.text(ZONE);
        let unit = match self.values.text("hdfs.partition.by")?.as_str() {
            "hourly" => TimeUnit::Hourly,
            "daily" => TimeUnit::Daily,
            _ => {
                if zone.is_some() && !self.values.is_broken("hdfs.partition.by") {
                    self.error(ZONE, "isn't used while hdfs.partition.by is \"partition\"")
                        .push("set by = \"hourly\" or \"daily\", or leave the zone out".into());
                }
                return Some(Partitioning::Default);
            }
        };
        let Some(name) = zone else {
            self.derived.insert(ZONE, Parsed::Text("UTC".into()));
            return Some(Partitioning::Time {
                unit,
                zone: jiff::tz::TimeZone::UTC,
            });
        };
        match jiff::tz::TimeZone::get(&name) {
            Ok(zone) => Some(Partitioning::Time { unit, zone }),
            Err(_) => {
                let names: Vec<String> = jiff::tz::db()
                    .available()
                    .map(|name| name.to_string())
                    .collect();
                let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_lowercase();
                let same_city = names.iter().find(|n| city(n) == name.to_lowercase());
                let help = same_city
                    .map(|meant| format!("did you mean `{meant}`?"))
                    .or_else(|| did_you_mean_zone(&name, &names))
                    .unwrap_or_else(|| {
                        "write a name of the time zone database: \"UTC\", \"Europe/Berlin\"".into()
                    });
                self.error(ZONE, format!("{:?} isn't a time zone", printable(&name)))
                    .push(help);
                None
            }
        }
    }
}

fn did_you_mean_zone(name: &str, names: &[String]) -> Option<String> {
    let lower: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
    let meant = did_you_mean(&name.to_lowercase(), lower.iter().map(String::as_str))?;
    let at = lower
        .iter()
        .position(|n| meant.contains(&format!("`{n}`")))?;
    Some(format!("did you mean `{}`?", names[at]))
}

/// hdfs-native reads Hadoop's own variables, too.
fn std_dir_unset(v: &Validator<'_>) -> bool {
    v.surroundings.variable("HADOOP_CONF_DIR").is_none()
        && v.surroundings.variable("HADOOP_HOME").is_none()
}
