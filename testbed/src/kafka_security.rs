//! Kafka with a user and a password on the listener that outflow uses through proxies: passwords that change, rights
//! that are taken away. Everybody else (the brokers, the tests) stays as they are, and may do everything.

use crate::error::Result;
use crate::kafka::Kafka;

const LOGIN: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// What a broker needs for it.
pub(crate) fn properties() -> Vec<(String, String)> {
    let map = "PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT";
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    [
        ("listener.security.protocol.map", map),
        (
            "listener.name.proxied.sasl.enabled.mechanisms",
            "SCRAM-SHA-256",
        ),
        (
            "listener.name.proxied.scram-sha-256.sasl.jaas.config",
            LOGIN,
        ),
        ("authorizer.class.name", authorizer),
        ("allow.everyone.if.no.acl.found", "true"),
        ("super.users", "User:ANONYMOUS"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl Kafka {
    /// Gives a user another password. Connections that are open stay so.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        let config = format!("SCRAM-SHA-256=[password={password}]");
        let bootstrap = self.bootstrap();
        let server = ["--bootstrap-server", bootstrap.as_str()];
        let what = ["--alter", "--add-config", config.as_str()];
        let whose = ["--entity-type", "users", "--entity-name", user];
        let args = [&server[..], &what, &whose].concat();
        self.tool("kafka.admin.ConfigCommand", &args).map(|_| ())
    }

    /// Denies a user to read anything from any topic and to be in any group; or allows it again.
    pub fn deny_reading(&self, user: &str, denies: bool) -> Result<()> {
        let principal = format!("User:{user}");
        let bootstrap = self.bootstrap();
        let server = ["--bootstrap-server", bootstrap.as_str()];
        let what: &[&str] = match denies {
            true => &["--add"],
            false => &["--remove", "--force"],
        };
        let rule = [
            "--deny-principal",
            principal.as_str(),
            "--operation",
            "Read",
        ];
        let on = ["--topic", "*", "--group", "*"];
        let args = [&server[..], what, &rule, &on].concat();
        self.tool("org.apache.kafka.tools.AclCommand", &args)
            .map(|_| ())
    }
}
