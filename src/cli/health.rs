//! `outflow health`: is this process well? One line and an exit code, for what runs containers and services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::{Exit, print, say};
use crate::config::settings::AdminSettings;
use crate::config::surroundings::Host;
use crate::config::{self, keys::FileKind};
use crate::error::Error;
use crate::observe::Client;
use crate::observe::client::{HealthPage, Verdict};

const AFTER_HELP: &str = "\
Asks the admin server that the files configure (or the one at --url), and nothing else: neither
Kafka nor a sink. Without --live it asks /readyz: a sink that waits an outage out is ready, one
that needs a person isn't. With --live it asks /livez: only where that fails does a restart help,
so this is what a restart may depend on.

Exit codes:
  0  it is well
  1  it isn't, or nobody answers in time, or it couldn't be asked";

/// How long it may take unless it is said: whoever asks, asks again soon.
const TIMEOUT: &str = "3s";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Health {
    /// The files that the process was started with
    #[arg(long, short, num_args = 1.., value_name = "FILE", required_unless_present = "url")]
    config: Vec<PathBuf>,
    /// Set a key, over files and environment, as the process was told to
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "config")]
    set: Vec<String>,
    /// Ask this admin server instead of the one that the files configure
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask only whether it is alive: whether a restart would help
    #[arg(long)]
    live: bool,
    /// Give up after this long
    #[arg(long, value_name = "TIME", default_value = TIMEOUT, value_parser = time)]
    timeout: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    config::parse_age(text).ok_or_else(|| "it is a time such as 500ms, 3s or 1m".to_owned())
}

/// Asks, and says what was answered.
pub(super) fn health(arguments: &Health) -> Exit {
    match arguments.ask() {
        Ok(Verdict { is_well: true, why }) => {
            print(&format!("{why}\n"));
            Exit::Fine
        }
        Ok(Verdict { why, .. }) => unwell(&why),
        Err(error) => unwell(&error.to_string()),
    }
}

/// Never 2: to Docker that is no answer.
fn unwell(why: &str) -> Exit {
    say(&format!("unhealthy: {why}\n"));
    Exit::Failed
}

impl Health {
    fn ask(&self) -> Result<Verdict, Error> {
        let (url, token) = self.whom()?;
        let client = Client::within(&url, token.as_ref(), self.timeout)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable(format!("no runtime: {error}")))?;
        let page = match self.live {
            true => HealthPage::Live,
            false => HealthPage::Ready,
        };
        let verdict = runtime.block_on(client.verdict(page));
        // Resolving a name may still be under way on a thread of its own.
        runtime.shutdown_background();
        verdict
    }

    /// The address, and the token with which reasons are shown.
    fn whom(&self) -> Result<(String, Option<SecretString>), Error> {
        let admin = match self.config.is_empty() {
            true => None,
            false => Some(self.admin()?),
        };
        let token = admin.as_ref().and_then(|admin| admin.token.clone());
        if let Some(url) = &self.url {
            return Ok((url.clone(), token));
        }
        match admin.and_then(|admin| admin.listen) {
            Some(address) => Ok((reachable(address)?, token)),
            None => Err(Error::misconfigured(
                "the admin server is off (admin.listen), so there is nobody to ask",
            )),
        }
    }

    fn admin(&self) -> Result<AdminSettings, Error> {
        let none = || Error::misconfigured("no file was given");
        let first = self.config.first().ok_or_else(none)?;
        match config::kind_of(first, &Host) {
            FileKind::Agent => Err(Error::misconfigured(
                "the agent has no admin server: it is well as long as it runs; switch the health check off",
            )),
            FileKind::Monitor | FileKind::Cluster => {
                let loaded = config::load_monitor(first, &self.set, &Host).map_err(wrong)?;
                Ok(loaded.loaded.settings.admin)
            }
            FileKind::Sink | FileKind::Notifier => {
                let loaded = config::load_sinks(&self.config, &self.set, &Host).map_err(wrong)?;
                let deciding = config::deciding(&loaded.loaded, "admin").ok_or_else(none)?;
                Ok(deciding.settings.admin.clone())
            }
        }
    }
}

fn wrong(problems: config::problem::Problems) -> Error {
    Error::misconfigured(format!("the configuration is wrong\n{problems}"))
}

/// Where a server that listens there answers to this machine.
fn reachable(address: SocketAddr) -> Result<String, Error> {
    if address.port() == 0 {
        return Err(Error::misconfigured(
            "admin.listen has port 0, so only the process' log says where it listens: name it by --url",
        ));
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, address.port())))
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (listen, url) in [
            ("0.0.0.0:9600", Some("http://127.0.0.1:9600")),
            ("[::]:9600", Some("http://[::1]:9600")),
            ("127.0.0.1:9601", Some("http://127.0.0.1:9601")),
            ("10.0.0.7:9600", Some("http://10.0.0.7:9600")),
            ("127.0.0.1:0", None),
        ] {
            let found = reachable(listen.parse().unwrap()).ok();
            assert_eq!(found.as_deref(), url, "{listen}");
        }
    }
}
