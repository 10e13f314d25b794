//! Notifications as their receivers get them: over sockets, from groups that are judged by the real rules.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "notify/alertmanager.rs"]
mod alertmanager;
#[path = "notify/receiver.rs"]
mod receiver;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use outflow::check::Verdict;
use outflow::clock::unix_ms;
use outflow::config::load_monitor;
use outflow::config::surroundings::Host;
use outflow::lag::group_records::CommittedOffset;
use outflow::lag::{Keep, LogEnd, Rules, Sighting, Store};
use outflow::monitor::{About, Watched};
use outflow::notify::settings::NotifierSettings;
use outflow::notify::{Notifications, try_out};
use prometheus_client::registry::Registry;
use receiver::{Answer, Certificate, LONG, MailServer, Receiver};
use testbed::guard::{TestDir, wait_until};
use tokio::runtime::Runtime;

/// Two clusters whose groups are what a test says, and notifiers that tell of them.
struct Scene {
    watched: Arc<Watched>,
    /// Looked at after the first.
    other: Arc<Watched>,
    order: AtomicI64,
    registry: Registry,
    _notifications: Notifications,
    _runtime: Runtime,
    _dir: TestDir,
}

/// The notifiers of a monitor's file with these sections; `DIR` is a folder for their files.
fn notifiers(dir: &TestDir, sections: &str) -> Vec<NotifierSettings> {
    let dir = dir.path();
    let sections = sections.replace("DIR", dir.to_str().unwrap());
    std::fs::write(dir.join("token"), "hidden-token\n").unwrap();
    std::fs::write(dir.join("password"), "hidden-password").unwrap();
    let file = dir.join("monitor.toml");
    let cluster = "[[cluster]]\nname = \"local\"\nbootstrap_servers = \"127.0.0.1:1\"\n";
    std::fs::write(&file, format!("{cluster}{sections}")).unwrap();
    let loaded = load_monitor(&file, &[], &Host).unwrap_or_else(|e| panic!("{e}"));
    loaded.loaded.settings.notify
}

/// Told as soon as it is seen.
const AT_ONCE: &str = "for = \"0s\"\nclose_after = \"0s\"\ntimeout = \"3s\"\n";

fn webhook(name: &str, receiver: &Receiver, more: &str) -> String {
    let url = receiver.url();
    format!("[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\n{AT_ONCE}{more}")
}

fn cluster(name: &str) -> Arc<Watched> {
    let about = About {
        name: name.into(),
        offset_refresh_ms: 200,
        ..About::default()
    };
    let mut store = Store::new(Keep::default());
    store.set_topics(&[Sighting {
        name: "orders",
        id: None,
        num_partitions: 1,
    }]);
    for i in 0..12 {
        let at_ms = unix_ms() - 120_000 + i * 10_000;
        store.take_log_end(
            "orders",
            0,
            LogEnd {
                offset: 1_000,
                at_ms,
            },
        );
    }
    let watched = Watched::new(about, Rules::default(), store, unix_ms);
    watched.set_ready();
    Arc::new(watched)
}

impl Scene {
    fn start(sections: &str) -> Scene {
        let dir = TestDir::new("notify").unwrap();
        let settings = notifiers(&dir, sections);
        let (watched, other) = (cluster("local"), cluster("other"));
        let runtime = Runtime::new().unwrap();
        let mut registry = Registry::default();
        let clusters = vec![watched.clone(), other.clone()];
        let started = Notifications::start(&settings, clusters, runtime.handle(), &mut registry);
        Scene {
            watched,
            other,
            order: AtomicI64::new(0),
            registry,
            _notifications: started.unwrap_or_else(|e| panic!("{e}")),
            _runtime: runtime,
            _dir: dir,
        }
    }

    /// Commits of (offset, seconds ago), which are seen at once.
    fn commit(&self, watched: &Watched, group: &str, commits: impl Iterator<Item = (i64, i64)>) {
        let (mut store, now_ms) = (watched.store(), unix_ms());
        for (offset, ago) in commits {
            let value = CommittedOffset {
                offset,
                timestamp_ms: now_ms - ago * 1_000,
            };
            let order = self.order.fetch_add(1, Ordering::Relaxed);
            store.take_commit(group, "orders", 0, value, order, now_ms);
        }
    }

    /// A group that commits the same offset again and again.
    fn stall(&self, group: &str) {
        self.stall_in(&self.watched, group);
    }

    fn stall_in(&self, watched: &Watched, group: &str) {
        let every_ten_seconds = (0..12).map(|n| (100, 120 - n * 10));
        self.commit(watched, group, every_ten_seconds);
    }

    /// It has read everything.
    fn mend(&self, group: &str) {
        self.commit(&self.watched, group, std::iter::once((1_000, 0)));
    }

    /// A metric, `name{labels}` as it is written.
    fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("{name} isn't in {text}"));
        value.trim().parse().unwrap()
    }

    fn wait_for_metric(&self, name: &str, wanted: f64) {
        let check = || match self.metric(name) {
            found if found == wanted => Ok(()),
            found => Err(found.to_string()),
        };
        wait_until(name, LONG, check).unwrap();
    }
}

fn wait_for(receiver: &Receiver, wanted: &[&str]) {
    let check = || match receiver.told() {
        told if told == wanted => Ok(()),
        told => Err(format!("{told:?}")),
    };
    wait_until(&format!("{wanted:?} is told"), LONG, check).unwrap();
}

#[test]
fn an_incident_is_told_in_order_whatever_its_receiver_does_first() {
    let receiver = Receiver::start([
        Answer::Status(500, "out of order"),
        Answer::Hang,
        Answer::Garbage,
        Answer::Close,
        Answer::Status(404, "not yet"),
    ]);
    let more = "repeat_interval = \"1s\"\npage_url = \"https://outflow.example\"\nbearer_token_file = \"DIR/token\"\n\
        [notify.headers]\n\"X-Team\" = \"data\"\n[notify.secret_headers]\n\"X-Api-Key\" = { file = \"DIR/password\" }\n";
    let scene = Scene::start(&webhook("ops", &receiver, more));
    scene.stall("payments");
    let repeated = || match receiver.told() {
        told if told.len() >= 2 => Ok(()),
        told => Err(format!("{told:?}")),
    };
    wait_until("it is told and repeated", LONG, repeated).unwrap();
    scene.mend("payments");
    let closed = || match receiver.told().last().map(String::as_str) {
        Some("close payments") => Ok(()),
        _ => Err(format!("{:?}", receiver.told())),
    };
    wait_until("its end is told", LONG, closed).unwrap();
    let requests = receiver.requests();
    let (first, rest) = requests.split_first().unwrap();
    let (last, between) = rest.split_last().unwrap();
    assert_eq!(first.json()["event"], "open");
    assert!(between.iter().all(|r| r.json()["event"] == "repeat"));
    let ids: Vec<_> = requests.iter().map(|r| r.json()["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let said = first.json();
    assert_eq!(said["status"], "ERR");
    assert_eq!(said["partitions"][0]["status"], "STALL");
    assert_eq!(said["lag"], 900);
    assert_eq!(
        said["page_url"],
        "https://outflow.example/#/group/local/payments"
    );
    assert_eq!(last.json()["status"], "OK");
    let head = first.head.to_lowercase();
    for line in [
        "authorization: bearer hidden-token",
        "x-team: data",
        "x-api-key: hidden-password",
        "content-type: application/json",
    ] {
        assert!(head.contains(line), "{line} isn't in {head}");
    }
    scene.wait_for_metric("outflow_notifications_queued{notifier=\"ops\"}", 0.0);
    let sent =
        |event| format!("outflow_notifications_sent_total{{notifier=\"ops\",event=\"{event}\"}}");
    assert_eq!(scene.metric(&sent("open")), 1.0);
    assert_eq!(scene.metric(&sent("close")), 1.0);
    assert!(scene.metric("outflow_notification_retries_total{notifier=\"ops\"}") >= 5.0);
    assert_eq!(
        scene.metric("outflow_open_incidents{notifier=\"ops\"}"),
        0.0
    );
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let (well, stuck) = (
        Receiver::start([]),
        Receiver::start(std::iter::repeat_n(Answer::Hang, 1_000)),
    );
    let long = webhook("stuck", &stuck, "").replace("3s", "10m");
    let scene = Scene::start(&format!("{long}{}", webhook("well", &well, "")));
    scene.stall("a");
    wait_for(&well, &["open a"]);
    scene.stall("b");
    wait_for(&well, &["open a", "open b"]);
    scene.wait_for_metric("outflow_notifications_queued{notifier=\"stuck\"}", 2.0);
}

#[test]
fn a_message_that_is_refused_is_given_up_and_the_next_goes_through() {
    let receiver = Receiver::start([Answer::Status(400, "invalid_payload")]);
    let scene = Scene::start(&webhook("ops", &receiver, ""));
    scene.stall("a");
    let refused =
        "outflow_notifications_failed_total{notifier=\"ops\",event=\"open\",reason=\"refused\"}";
    scene.wait_for_metric(refused, 1.0);
    scene.stall("b");
    wait_for(&receiver, &["open b"]);
}

#[test]
fn a_queue_that_is_full_gives_up_the_oldest_and_counts_it() {
    let receiver = Receiver::start(std::iter::repeat_n(Answer::Hang, 1_000));
    let section = webhook("ops", &receiver, "queue = 2\n").replace("3s", "10m");
    let scene = Scene::start(&section);
    let queued = "outflow_notifications_queued{notifier=\"ops\"}";
    for (i, group) in (1_u8..=3).zip(["a", "b", "c"]) {
        scene.stall(group);
        scene.wait_for_metric(queued, f64::from(i));
    }
    scene.stall("d");
    let full =
        "outflow_notifications_failed_total{notifier=\"ops\",event=\"open\",reason=\"queue_full\"}";
    scene.wait_for_metric(full, 1.0);
    assert_eq!(scene.metric(queued), 3.0, "one on its way, two wait");
}

#[test]
fn while_the_brokers_are_away_nothing_is_told() {
    let receiver = Receiver::start([]);
    let scene = Scene::start(&webhook("ops", &receiver, ""));
    scene.watched.set_no_logs(true);
    scene.stall("a");
    // The other cluster is looked at after it.
    scene.stall_in(&scene.other, "b");
    wait_for(&receiver, &["open b"]);
    scene.watched.set_no_logs(false);
    wait_for(&receiver, &["open b", "open a"]);
    scene.watched.set_no_logs(true);
    scene.mend("a");
    scene.stall_in(&scene.other, "c");
    wait_for(&receiver, &["open b", "open a", "open c"]);
    scene.watched.set_no_logs(false);
    wait_for(&receiver, &["open b", "open a", "open c", "close a"]);
}

#[test]
fn a_group_that_is_gone_is_told_as_that() {
    let receiver = Receiver::start([]);
    let scene = Scene::start(&webhook("ops", &receiver, ""));
    scene.stall("a");
    wait_for(&receiver, &["open a"]);
    scene.watched.store().forget_commits("a", "orders", 0);
    wait_for(&receiver, &["open a", "close a"]);
    let said = receiver.requests()[1].json();
    assert_eq!(said["status"], "NOTFOUND");
    assert_eq!(said["title"], "group a of cluster local is gone");
}

#[test]
fn slack_and_a_template_of_ones_own_get_their_shapes() {
    let (slack, own) = (Receiver::start([]), Receiver::start([]));
    let (slack_url, own_url) = (slack.url(), own.url());
    let scene = Scene::start(&format!(
        "[[notify]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"{slack_url}\"\n{AT_ONCE}\
         [[notify]]\nname = \"own\"\nkind = \"webhook\"\nurl = \"{own_url}\"\n{AT_ONCE}\
         template = '{{\"what\": \"{{{{ group }}}}\", \"over\": {{{{ event == \"close\" }}}}}}'\n"
    ));
    let group = "a\"<!channel>";
    scene.stall(group);
    let both = || match (slack.requests().len(), own.requests().len()) {
        (1, 1) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("both are told", LONG, both).unwrap();
    let said = slack.requests()[0].json();
    let text = said["text"].as_str().unwrap();
    assert_eq!(
        text,
        "ERR: group a\"&lt;!channel&gt; of cluster local is stuck"
    );
    let said = own.requests()[0].json();
    assert_eq!(said, serde_json::json!({ "what": group, "over": false }));
}

fn email(server: &MailServer, more: &str) -> String {
    let address = server.address();
    format!(
        "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"{address}\"\nfrom = \"outflow <outflow@example.com>\"\n\
         to = [\"ops@example.com\", \"Bob <bob@example.com>\"]\n{AT_ONCE}{more}"
    )
}

#[test]
fn a_mail_goes_to_all_and_its_end_is_in_the_same_thread() {
    // Twice it is told to come back later.
    let server = MailServer::start(&["451 greylisted", "451 greylisted"]);
    let more = "tls = \"none\"\nuser = \"outflow\"\npassword_file = \"DIR/password\"\n";
    let scene = Scene::start(&email(&server, more));
    scene.stall("payments");
    let arrived = |num: usize| {
        let check = || match server.mails() {
            mails if mails.len() == num => Ok(mails),
            mails => Err(format!("{mails:?}")),
        };
        wait_until("the mail arrives", LONG, check).unwrap()
    };
    let opened = &arrived(1)[0];
    let envelope = opened.envelope.join("\n");
    assert!(envelope.contains("RCPT TO:<bob@example.com>"), "{envelope}");
    assert!(envelope.contains("AUTH PLAIN"), "{envelope}");
    assert!(
        opened
            .text
            .contains("Subject: [outflow] ERR: group payments of cluster local is stuck")
    );
    assert!(opened.text.contains("orders[0] STALL"), "{}", opened.text);
    scene.mend("payments");
    let closed = &arrived(2)[1];
    let header = |mail: &receiver::Mail, name: &str| {
        let found = mail.text.lines().find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("{name} in {}", mail.text))
            .trim()
            .to_owned()
    };
    assert_eq!(
        header(closed, "In-Reply-To:"),
        header(opened, "Message-ID:")
    );
    assert!(header(closed, "Subject:").contains("is well again"));
}

#[test]
fn a_mail_that_is_refused_for_good_is_given_up() {
    let server = MailServer::start(&["550 no such user"]);
    let scene = Scene::start(&email(&server, "tls = \"none\"\n"));
    scene.stall("a");
    let refused =
        "outflow_notifications_failed_total{notifier=\"mail\",event=\"open\",reason=\"refused\"}";
    scene.wait_for_metric(refused, 1.0);
    scene.stall("b");
    let check = || match server.mails().len() {
        1 => Ok(()),
        num => Err(num.to_string()),
    };
    wait_until("the next arrives", LONG, check).unwrap();
}

/// With a server that offers no TLS nothing is said, least of all the password.
#[test]
fn starttls_that_isnt_offered_is_no_way_round() {
    let server = MailServer::start(&[]);
    let dir = TestDir::new("notify").unwrap();
    let more = "user = \"outflow\"\npassword_file = \"DIR/password\"\n";
    let settings = notifiers(&dir, &email(&server, more));
    let runtime = Runtime::new().unwrap();
    let finding = runtime.block_on(try_out::tell(&settings[0]));
    assert_eq!(finding.verdict, Verdict::Wrong, "{finding}");
    assert!(finding.what.contains("STARTTLS"), "{finding}");
    assert!(!server.heard().iter().any(|line| line.starts_with("AUTH")));
    assert!(server.mails().is_empty());
}

#[test]
fn a_certificate_is_trusted_if_it_is_named_and_else_nothing_is_said() {
    let dir = TestDir::new("notify-tls").unwrap();
    let certificate = Certificate::make(dir.path());
    let ca = format!("ca_file = \"{}\"\n", certificate.file.display());
    let (https, smtps) = (
        Receiver::with_tls(&certificate),
        MailServer::with_tls(&certificate),
    );
    let runtime = Runtime::new().unwrap();
    let tell = |section: &str| {
        let settings = notifiers(&dir, section);
        runtime.block_on(try_out::tell(&settings[0]))
    };
    for section in [webhook("ops", &https, ""), email(&smtps, "tls = \"tls\"\n")] {
        let section = section.replace("3s", "10s");
        let refused = tell(&section);
        assert_eq!(refused.verdict, Verdict::Wrong, "{refused}");
        let told = tell(&format!("{section}{ca}"));
        assert_eq!(told.verdict, Verdict::Fine, "{told}");
    }
    assert_eq!(https.told(), ["open outflow-test", "close outflow-test"]);
    assert_eq!(smtps.mails().len(), 2);
}

#[test]
fn whether_a_receiver_can_be_reached_is_said_without_telling_it_anything() {
    let (receiver, server) = (Receiver::start([]), MailServer::start(&[]));
    let dir = TestDir::new("notify").unwrap();
    let nobody = "[[notify]]\nname = \"nobody\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/secret-path\"\n";
    let sections = format!(
        "{}{}{nobody}",
        webhook("ops", &receiver, ""),
        email(&server, "tls = \"none\"\n")
    );
    let settings = notifiers(&dir, &sections);
    let runtime = Runtime::new().unwrap();
    let found: Vec<_> = settings
        .iter()
        .map(|s| runtime.block_on(try_out::reach(s)))
        .collect();
    let verdicts: Vec<_> = found.iter().map(|f| f.verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Fine, Verdict::Fine, Verdict::Warning],
        "{found:?}"
    );
    assert!(
        found[2]
            .what
            .contains("http://127.0.0.1:1 can't be reached"),
        "{found:?}"
    );
    assert!(!format!("{found:?}{settings:?}").contains("secret-path"));
    assert!(
        receiver
            .requests()
            .iter()
            .all(|r| r.head.starts_with("HEAD") && r.body.is_empty())
    );
    assert!(server.mails().is_empty());
}

#[test]
fn the_command_line_tries_a_notifier_out() {
    let receiver = Receiver::start([]);
    let dir = TestDir::new("notify").unwrap();
    notifiers(&dir, &webhook("ops", &receiver, ""));
    let check = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outflow"));
        command
            .arg("check")
            .arg("--config")
            .arg(dir.path().join("monitor.toml"));
        command.args(["--test-notify", name]).output().unwrap()
    };
    let tried = check("ops");
    let said = String::from_utf8(tried.stdout).unwrap();
    assert_eq!(tried.status.code(), Some(0), "{said}");
    assert!(
        said.contains("ok: notifier ops: http://127.0.0.1:"),
        "{said}"
    );
    assert!(!said.contains("secret-path"), "{said}");
    assert_eq!(receiver.told(), ["open outflow-test", "close outflow-test"]);
    let said = receiver.requests()[0].json();
    assert_eq!(said["is_test"], true);
    assert!(said["title"].as_str().unwrap().starts_with("Test: "));
    let unknown = check("nobody");
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("there are ops"), "{said}");
}
