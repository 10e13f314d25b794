//! What changes comes by itself, and goes on after restarts and cuts.

use super::*;

#[test]
fn a_change_shows_without_a_reload_and_is_told_in_order() {
    let sinks = ["elasticsearch", "hdfs"].map(|name| fake::sink(name, name, 4));
    let served = fake::serve(&Fake::new(sinks.to_vec(), None), 0);
    let page = open(&served, "");
    page.eval("window.mark = 1").unwrap();
    page.wait_for_text("All is well").unwrap();
    served
        .fake
        .change(|sink| fake::go_away(sink, "connection refused"));
    page.wait_for_text("elasticsearch waits for Elasticsearch.")
        .unwrap();
    page.wait_for_text("Nothing is lost").unwrap();
    page.wait_for_text("5,233").unwrap();
    picture(&page, "outage");
    served.fake.change(|sink| fake::come_back(sink, 5_233));
    page.wait_for_text("elasticsearch is catching up after an outage.")
        .unwrap();
    served.fake.change(|sink| fake::come_back(sink, 12));
    page.wait_for_text("Caught up again").unwrap();
    page.wait_for_text("All is well").unwrap();
    let told = "[...document.querySelectorAll('#journal .text')].map((n) => n.textContent.split(/[:;,]/)[0].replace(/\\d+ s/, 'n s'))";
    let told = page.eval(told).unwrap();
    let told: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    assert_eq!(
        told[..3],
        [
            "Caught up again",
            "Elasticsearch is back after n s",
            "Elasticsearch is away"
        ]
    );
    assert!(is_true(&page, "window.mark === 1"), "it was reloaded");
    assert_clean(&page, &served.url());
}

#[test]
fn it_comes_back_by_itself_after_the_server_was_restarted_and_forgets_nothing() {
    let port = free_port().unwrap();
    let fake = two_sinks();
    let served = fake::serve(&fake, port);
    let page = open(&served, "");
    fake.change(|sink| fake::go_away(sink, "the first one"));
    page.wait_for_text("Elasticsearch is away: the first one")
        .unwrap();
    let url = served.url();
    drop(served);
    page.wait_for_text("outflow doesn’t answer; trying again")
        .unwrap();
    picture(&page, "gone");
    // Another process: its numbers begin anew.
    let fake = two_sinks();
    let served = fake::serve(&fake, port);
    page.wait_for_text("All is well").unwrap();
    fake.change(|sink| fake::go_away(sink, "the second one"));
    page.wait_for_text("Elasticsearch is away: the second one")
        .unwrap();
    let count = |text: &str| {
        let of = "[...document.querySelectorAll('#journal .text')]";
        page.eval(&format!(
            "{of}.filter((n) => n.textContent.includes({text:?})).length"
        ))
        .unwrap()
    };
    assert_eq!(count("the first one"), 1);
    assert_eq!(count("the second one"), 1);
    assert_eq!(count("started"), 2);
    assert_clean(&page, &url);
    drop(served);
}

#[test]
fn an_open_page_goes_on_where_it_was_when_only_its_connection_is_cut() {
    let served = fake::serve(&two_sinks(), 0);
    let between = TcpProxy::start(&served.address.to_string(), 1).unwrap();
    let url = format!("http://{}/", between.address());
    let page = open_unheard(&url, "");
    page.wait_for_text("hdfs runs").unwrap();
    between.set(Mode::Refuse).unwrap();
    page.wait_for_text("trying again").unwrap();
    served
        .fake
        .change(|sink| fake::go_away(sink, "while nobody saw it"));
    between.set(Mode::Pass).unwrap();
    page.wait_for_text("Elasticsearch is away: while nobody saw it")
        .unwrap();
    let all = "document.querySelectorAll('#journal li').length";
    let texts =
        "new Set([...document.querySelectorAll('#journal .text')].map((n) => n.textContent)).size";
    assert_eq!(
        page.eval(all).unwrap(),
        page.eval(texts).unwrap(),
        "an entry came twice"
    );
    assert_clean(&page, &url);
}

#[test]
fn the_binary_serves_it_and_says_that_it_waits_for_kafka() {
    let dir = TestDir::new("page").unwrap();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let nobody = free_port().unwrap();
    let file = dir.path().join("es.toml");
    let config = format!(
        "name = \"es\"\n[kafka]\nbootstrap_servers = \"127.0.0.1:{nobody}\"\ntopics = [\"t\"]\n\
         [elasticsearch]\nurls = [\"http://127.0.0.1:{nobody}\"]\nindex = \"i\"\n[admin]\nlisten = \"{address}\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let args = ["run", "--config", file.to_str().unwrap()];
    let binary = env!("CARGO_BIN_EXE_outflow");
    let process = Outflow::spawn(binary, &args, &[], dir.path().join("log")).unwrap();
    let process = process.with_admin(&address);
    let answers = || Ok(process.http()?.get("/livez").err().map(|e| e.to_string()));
    process
        .wait_for("it listens", std::time::Duration::from_secs(30), answers)
        .unwrap();
    let url = format!("http://{address}/");
    let page = open_unheard(&url, "");
    page.wait_for_text("es waits for Kafka.").unwrap();
    page.wait_for_text(&format!("127.0.0.1:{nobody}")).unwrap();
    picture(&page, "binary");
    assert_clean(&page, &url);
}
