//! Notifiers: every kind, and what is said of a mistake.

use std::time::Duration;

use outflow::config::load_monitor;
use outflow::config::settings::MonitorSettings;
use outflow::notify::settings::{Body, HttpAuth, Level, NotifierSettings, SmtpTls, Target};

use super::{Machine, elasticsearch, monitor_of, said};

const CLUSTER: &str = "[[cluster]]\nname = \"local\"\nbootstrap_servers = \"k:9092\"\n";

/// Lines from 4 on.
fn with(lines: &str) -> Machine {
    Machine::default()
        .file("monitor.toml", &format!("{CLUSTER}{lines}"))
        .file("/run/url", "https://hooks.slack.com/services/hidden\n")
        .file("/run/secret", "hidden\n")
}

fn load(machine: &Machine, flags: &[&str]) -> MonitorSettings {
    let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
    let loaded = load_monitor("monitor.toml".as_ref(), &flags, machine);
    loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .loaded
        .settings
}

fn mistakes(machine: &Machine) -> Vec<String> {
    said(&load_monitor("monitor.toml".as_ref(), &[], machine).expect_err("wrong"))
}

fn http(notifier: &NotifierSettings) -> &outflow::notify::settings::HttpTarget {
    match &notifier.target {
        Target::Http(target) => target,
        Target::Email(_) => panic!("{notifier:?}"),
    }
}

#[test]
fn each_kind_has_what_it_needs_and_the_defaults_of_its_kind() {
    let machine = with(
        "[[notify]]\nname = \"chat\"\nkind = \"slack\"\nurl_file = \"/run/url\"\n\
         [[notify]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:9093\"\nthreshold = \"ERR\"\n\
         bearer_token_file = \"/run/secret\"\nclusters = [\"local\"]\n[notify.labels]\nteam = \"data\"\n\
         [[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"mail.example.com\"\nfrom = \"outflow@example.com\"\n\
         to = [\"Ops <ops@example.com>\"]\ntls = \"tls\"\nrepeat_interval = \"off\"\n",
    );
    let settings = load(&machine, &["notify.page_url=https://outflow.example.com"]);
    let [chat, am, mail] = &settings.notify[..] else {
        panic!("{settings:?}")
    };
    assert_eq!(chat.selection.threshold, Level::Warn);
    assert_eq!(chat.patience.repeat, Some(Duration::from_secs(4 * 3_600)));
    assert_eq!(chat.patience.open_after, Duration::from_secs(30));
    assert!(matches!(http(chat).body, Body::Template(_)));
    assert_eq!(http(chat).shown, "https://hooks.slack.com");
    assert_eq!(am.patience.repeat, Some(Duration::from_secs(60)));
    assert!(matches!(http(am).auth, HttpAuth::Bearer(_)));
    let Body::Alertmanager { labels } = &http(am).body else {
        panic!("{am:?}")
    };
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        labels,
        &[label("team", "data"), label("severity", "critical")]
    );
    assert_eq!(mail.patience.repeat, None);
    let Target::Email(target) = &mail.target else {
        panic!("{mail:?}")
    };
    assert_eq!((&*target.host, target.port), ("mail.example.com", 465));
    assert_eq!(target.tls, SmtpTls::Tls);
    for notifier in [chat, am, mail] {
        assert_eq!(
            notifier.page_url.as_deref(),
            Some("https://outflow.example.com")
        );
        assert!(!format!("{notifier:?}").contains("hidden"), "{notifier:?}");
    }
    let loaded = load_monitor("monitor.toml".as_ref(), &[], &machine).expect("valid");
    let shown = loaded.loaded.effective.to_string();
    assert_eq!(shown.matches("[[notify]]").count(), 3, "{shown}");
    assert!(shown.contains("repeat_interval = \"1m\""), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let machine = with(
        "[[notify]]\nname = \"a\"\nkind = \"webhok\"\n\
         [[notify]]\nname = \"b\"\nkind = \"webhook\"\nurl = \"https://user:hidden@h/\"\nto = [\"x\"]\nclusters = [\"locale\"]\n\
         group_thresholds = [\"batch-.*=LOUD\"]\npassword = \"hidden\"\nuser = \"u\"\n[notify.headers]\n\"X-Api-Key\" = \"hidden\"\n\
         [[notify]]\nname = \"b\"\nkind = \"email\"\nserver = \"smtp://mail\"\nfrom = \"nobody\"\ntls = \"none\"\nurl = \"http://h\"\n\
         [[notify]]\nname = \"c\"\nkind = \"alertmanager\"\nrepeat_interval = \"off\"\n[notify.labels]\ncluster = \"x\"\n",
    );
    let mistakes = mistakes(&machine);
    let expected = [
        "6:8 notify.kind: \"webhok\" isn't one of the choices",
        "10:1 notify.url: the URL has a user or a password in it",
        "11:6 notify.to: isn't used by kind = \"webhook\"",
        "12:12 notify.clusters: \"locale\" isn't the name of a cluster",
        "13:20 notify.group_thresholds: \"batch-.*=LOUD\" isn't a pattern and a threshold",
        "14:1 notify.password: a secret doesn't stand in the configuration",
        "15:8 notify.user: has no password",
        "17:1 notify.headers.X-Api-Key: a secret doesn't stand in the configuration",
        "18:3 notify.to: nobody is told",
        "21:10 notify.server: \"smtp://mail\" isn't a host and a port",
        "22:8 notify.from: \"nobody\" isn't an address",
        "24:1 notify.url: isn't used by kind = \"email\"",
        "25:3 notify.url: is missing",
        "28:19 notify.repeat_interval: is off, and Alertmanager takes what isn't repeated as over",
        "30:1 notify.labels.cluster: this label is outflow's own",
    ];
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\n{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    assert!(!mistakes.join("").contains("hidden"), "{mistakes:#?}");
}

#[test]
fn two_notifiers_of_one_name_are_a_mistake() {
    let one = "[[notify]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://h\"\n";
    let mistakes = mistakes(&with(&format!("{one}{one}")));
    let expected = "9:8 notify.name: is the name of another notifier, too | give every notifier a name of its own";
    assert_eq!(mistakes, [expected]);
}

#[test]
fn a_broken_template_is_said_with_its_file_and_line() {
    let webhook = "[[notify]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://h\"\n";
    let file = with(&format!("{webhook}template_file = \"/etc/alert.json\"\n"))
        .file("/etc/alert.json", "{\n\"text\": \"{{ titel }}\"}");
    let problems = load_monitor("monitor.toml".as_ref(), &[], &file).expect_err("wrong");
    let text = problems.to_string();
    assert!(text.contains("--> /etc/alert.json:2:1"), "{text}");
    assert!(text.contains("undefined"), "{text}");
    let inline = with(&format!(
        "{webhook}template = '{{\"text\": {{{{ title }}}}}}'\n"
    ));
    let mistakes = mistakes(&inline);
    assert!(
        mistakes[0]
            .starts_with("8:1 notify.template: what it makes of the event \"open\" isn't JSON"),
        "{mistakes:?}"
    );
    let plain = with(&format!(
        "{webhook}template = '{{{{ title }}}}'\n[notify.headers]\n\"Content-Type\" = \"text/plain\"\n"
    ));
    load(&plain, &[]);
}

/// A sink's file has them, too, for its own group; the agent's has no use for them.
#[test]
fn a_sink_tells_of_its_own_group() {
    let notify = "[[notify]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://h\"\n";
    let settings = elasticsearch(notify).settings();
    assert_eq!(settings.notify.len(), 1);
    assert_eq!(monitor_of(CLUSTER).notify.len(), 0);
    let agent = "[kafka]\nbootstrap_servers = \"k:9092\"\n[agent]\ntopic = \"t\"\n";
    let machine = Machine::default().file("agent.toml", &format!("{agent}{notify}"));
    let problems = outflow::config::load_agent("agent.toml".as_ref(), &[], &machine);
    assert_eq!(
        said(&problems.expect_err("wrong")),
        [
            "5:3 notify: belongs into a sink's or the monitor's file | leave it out: the agent watches no groups"
        ]
    );
}
