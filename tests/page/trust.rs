//! Tokens, what others wrote, and what a person may do.

use super::*;

#[test]
fn what_others_wrote_is_never_markup() {
    const EVIL: &str =
        "<img src=x onerror=\"document.title='evil'\"><script>document.title='evil'</script>";
    let mut sinks = vec![fake::sink("elasticsearch", "elasticsearch", 1)];
    fake::quarantine(&mut sinks[0], 0, EVIL);
    sinks[0].workers[0].partitions[0].topic = EVIL.into();
    sinks[0].health.last_error = Some(EVIL.into());
    sinks[0].health.last_error_ms = Some(unix_ms());
    sinks[0].health.details = vec![(EVIL.into(), EVIL.into())];
    sinks[0].group = Some(EVIL.into());
    let mut store = fake::store(EVIL, 1);
    fake::commits(&mut store, EVIL, (EVIL, 0), |n| (900 + n, 1_000 + n));
    let served = fake::serve(&Fake::new(sinks, Some(store)), 0);
    let group = "#/group/local/%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'evil'%22%3E%3Cscript%3Edocument.title%3D'evil'%3C%2Fscript%3E";
    for path in ["", "#/sink/elasticsearch", group] {
        let page = open(&served, path);
        page.wait_for_text("<img src=x").unwrap();
        if !path.is_empty() {
            click(&page, ".rowlink");
            page.wait_for(
                "the window",
                "document.querySelector('.window svg') !== null",
            )
            .unwrap();
        }
        assert!(
            is_true(
                &page,
                "document.images.length === 1 && document.scripts.length === 1"
            ),
            "{path}"
        );
        assert!(
            is_true(&page, "!document.title.startsWith('evil')"),
            "{path}"
        );
        assert_clean(&page, &served.url());
    }
}

#[test]
fn beyond_loopback_it_asks_for_the_token_and_keeps_it_to_the_tab() {
    let served = fake::serve_for(&two_sinks(), "s3cret");
    let page = open_unheard(&served.url(), "");
    page.wait_for_text("This server asks for its token")
        .unwrap();
    assert!(
        is_true(&page, "!document.body.innerText.includes('hdfs')"),
        "data without a token"
    );
    page.type_text("wrong").unwrap();
    page.press("Enter").unwrap();
    page.wait_for_text("That token wasn’t taken.").unwrap();
    picture(&page, "token");
    page.type_text("s3cret").unwrap();
    page.press("Enter").unwrap();
    page.wait_for_text("All is well").unwrap();
    assert!(is_true(
        &page,
        "localStorage.length === 0 && document.cookie === ''"
    ));
    assert!(page.requests().iter().all(|url| !url.contains("s3cret")));
    page.eval("location.reload()").unwrap();
    page.wait_for("live again, without asking", "document.querySelector('#token').open === false && document.body.innerText.includes('All is well')").unwrap();
    assert_clean(&page, &served.url());
}

#[test]
fn a_quarantined_partition_is_released_after_a_question() {
    let fake = two_sinks();
    fake.change(|sink| fake::quarantine(sink, 2, "a strange file is in the way"));
    let served = fake::serve(&fake, 0);
    let page = open(&served, "#/sink/elasticsearch");
    page.wait_for_text("Quarantined").unwrap();
    let first = "document.querySelector('.partitions tbody .rowlink')?.textContent === 'events[2]'";
    page.wait_for("the worst comes first", first).unwrap();
    click(&page, ".rowlink");
    page.wait_for_text("Mend what is said here, then release it.")
        .unwrap();
    page.wait_for_text("a strange file is in the way").unwrap();
    picture(&page, "quarantined");
    click(&page, ".partition .primary");
    page.wait_for_text("Release events[2]?").unwrap();
    assert!(
        fake.released.lock().unwrap().is_empty(),
        "released without being asked"
    );
    // What the server says against it is shown.
    *fake.refusal.lock().unwrap() =
        Some(Error::unavailable("the worker doesn't answer; try again"));
    click(&page, "#ask-yes");
    page.wait_for_text("the worker doesn't answer; try again")
        .unwrap();
    click(&page, "#ask-yes");
    page.wait_for_text("events[2] was released.").unwrap();
    assert_eq!(*fake.released.lock().unwrap(), ["elasticsearch: events[2]"]);
    page.wait_for_text("events[2] isn't quarantined any more")
        .unwrap();
    assert_clean(&page, &served.url());
}

#[test]
fn a_sink_is_paused_and_resumed_after_a_question() {
    let served = fake::serve(&two_sinks(), 0);
    let page = open(&served, "");
    let button = |text: &str| {
        let of = "document.querySelector('.card .buttons button').textContent";
        page.wait_for(text, &format!("{of} === {text:?}")).unwrap();
        click(&page, ".card .buttons button");
    };
    button("Pause");
    page.wait_for_text("Pause elasticsearch?").unwrap();
    assert!(is_true(
        &page,
        "!document.querySelector('.card').innerText.includes('Paused')"
    ));
    *served.fake.refusal.lock().unwrap() = Some(Error::unavailable("the worker doesn't answer"));
    click(&page, "#ask-yes");
    page.wait_for_text("the worker doesn't answer").unwrap();
    click(&page, "#ask-yes");
    page.wait_for_text("elasticsearch is paused.").unwrap();
    picture(&page, "paused");
    button("Resume");
    click(&page, "#ask-yes");
    page.wait_for_text("All is well").unwrap();
    assert_clean(&page, &served.url());
}
