//! Group C: who we are, and who the server is: passwords and certificates, on a real server with security.

use std::time::Duration;

use crate::certs::ALTERNATIVE_NAMES;
use crate::elasticsearch::PASSWORD;
use crate::error::{Error, Result};
use crate::guard::wait_until;
use crate::tcp_proxy::Mode;

use super::super::case::{Case, Fault, Proxy, Seen, Setup};
use super::super::world::World;
use super::elasticsearch::{ALONE, is_waited_for};

const SECURE: Case = Case {
    setup: Setup {
        secure: true,
        proxies: &[Proxy::Elasticsearch],
        ..Setup::PLAIN
    },
    in_subset: false,
    random: false,
    ..ALONE
};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: "F45",
        name: "the password was changed (401)",
        fault: |_| Box::new(Password::default()),
        ..SECURE
    },
    Case {
        id: "F50",
        name: "the certificate has expired",
        fault: |_| {
            let validity = &["-startdate", "-30d", "-validity", "1"];
            Box::new(Certificate::new(ALTERNATIVE_NAMES, validity))
        },
        ..SECURE
    },
    Case {
        id: "F50b",
        name: "the certificate is of another host",
        fault: |_| Box::new(Certificate::new("san=dns:elsewhere.example", LONG)),
        ..SECURE
    },
];

const LONG: &[&str] = &["-validity", "3650"];
/// A server looks for other files and users every five seconds.
const NOTICED: Duration = Duration::from_secs(60);

/// Breaks off what is connected: a certificate matters to new connections only.
fn reconnect(world: &World) -> Result<()> {
    world.elasticsearch_proxy()?.set(Mode::Reset)?;
    world.elasticsearch_proxy()?.set(Mode::Pass)
}

/// It is waited for, and a person is asked for: the service isn't ready.
fn asks_for_a_person(world: &World) -> Result<bool> {
    let ready = world.outflow()?.http()?.get("/readyz")?;
    Ok(is_waited_for(world) && ready.status == 503)
}

#[derive(Default)]
struct Password {
    seen: u64,
}

impl Fault for Password {
    fn inject(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.set_password("another-password")?;
        let what = "the old password is refused";
        wait_until(what, NOTICED, || {
            let answer = world.elasticsearch.http().get("/_cluster/health");
            match answer.map_err(|error| error.to_string())?.status {
                401 => Ok(()),
                status => Err(format!("HTTP {status}")),
            }
        })
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.seen == 0 && asks_for_a_person(world)? {
            self.seen = 1;
        }
        Ok(true)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "times a person was asked for"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world.elasticsearch.set_password(PASSWORD)?;
        world.elasticsearch.node().wait_ready()
    }
}

struct Certificate {
    names: &'static str,
    validity: &'static [&'static str],
    seen: u64,
}

impl Certificate {
    fn new(names: &'static str, validity: &'static [&'static str]) -> Self {
        Self {
            names,
            validity,
            seen: 0,
        }
    }
}

impl Fault for Certificate {
    fn inject(&mut self, world: &World) -> Result<()> {
        let server = &world.elasticsearch;
        server.set_certificate(self.names, self.validity)?;
        wait_until("the server shows its new certificate", NOTICED, || {
            reconnect(world).map_err(|error| error.to_string())?;
            match is_waited_for(world) {
                true => Ok(()),
                false => Err("outflow still takes it".to_owned()),
            }
        })
    }

    fn turn(&mut self, world: &World) -> Result<bool> {
        if self.seen > 0 {
            return Ok(true);
        }
        let status = world.outflow()?.status()?;
        let reason = status[0]["health"]["reason"].as_str().unwrap_or_default();
        if reason.to_lowercase().contains("certificate") {
            self.seen = 1;
        } else if !reason.is_empty() {
            return Err(Error::new(format!(
                "it doesn't say that it is the certificate: {reason}"
            )));
        }
        Ok(true)
    }

    fn seen(&mut self, _world: &World) -> Result<Seen> {
        Ok(Seen::new(self.seen, "times the certificate was refused"))
    }

    fn heal(&mut self, world: &World) -> Result<()> {
        world
            .elasticsearch
            .set_certificate(ALTERNATIVE_NAMES, LONG)?;
        wait_until("the server shows its old certificate", NOTICED, || {
            let fresh = crate::http::Http::new(world.elasticsearch.url());
            let ca_file = world.elasticsearch.ca_file();
            let ca_file = ca_file.ok_or_else(|| "no authority".to_owned())?;
            let fresh = fresh
                .with_ca_file(ca_file)
                .map_err(|error| error.to_string())?;
            fresh
                .get("/")
                .map(|_| ())
                .map_err(|error| error.to_string())
        })
    }
}
