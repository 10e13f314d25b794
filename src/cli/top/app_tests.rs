use super::*;
use crate::observe::SinkState;

fn row(name: &str, lag: u64, time_lag_ms: Option<u64>) -> Row {
    Row {
        cluster: Some("local".to_owned()),
        group: Some(name.to_owned()),
        figures: Figures {
            lag: Some(lag),
            time_lag_ms,
            ..Figures::default()
        },
        ..Row::default()
    }
}

fn with_parts(mut row: Row, lags: &[u64]) -> Row {
    let parts = (0..).zip(lags).map(|(partition, lag)| Part {
        topic: "t".to_owned(),
        partition,
        figures: Figures {
            lag: Some(*lag),
            ..Figures::default()
        },
        ..Part::default()
    });
    row.partitions = parts.collect();
    row
}

fn picture(groups: Vec<Row>) -> Picture {
    Picture {
        groups,
        ..Picture::default()
    }
}

fn app(groups: Vec<Row>) -> App {
    let mut app = App::new("http://127.0.0.1:9600/");
    app.take(Ok(picture(groups)), Instant::now());
    app
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        assert_eq!(app.press(KeyEvent::from(*key)), Flow::On);
    }
}

fn names(app: &App) -> String {
    let rows = app.rows();
    rows.iter()
        .map(|row| row.name())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn q_and_control_c_leave_wherever_one_is() {
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    let mut app = app(vec![row("a", 1, None)]);
    assert_eq!(app.press(KeyEvent::from(KeyCode::Char('q'))), Flow::Quit);
    assert_eq!(app.press(control('c')), Flow::Quit);
    press(&mut app, &[KeyCode::Char('/'), KeyCode::Char('q')]);
    assert_eq!(app.filter, "q", "while typing it is a letter");
    assert_eq!(app.press(control('c')), Flow::Quit);
}

#[test]
fn the_chosen_row_stays_chosen_though_the_order_changes_and_answers_fail() {
    let mut app = app(vec![
        row("a", 9, None),
        row("b", 5, None),
        row("c", 1, None),
    ]);
    press(&mut app, &[KeyCode::Down]);
    assert_eq!(app.chosen_row(), 1);
    let turned = vec![row("c", 1, None), row("a", 9, None), row("b", 5, None)];
    app.take(Ok(picture(turned)), Instant::now());
    assert_eq!(app.rows()[app.chosen_row()].name(), "b");
    app.take(Err("connection refused".to_owned()), Instant::now());
    assert_eq!(app.trouble.as_deref(), Some("connection refused"));
    assert_eq!(
        app.rows()[app.chosen_row()].name(),
        "b",
        "the last picture stays"
    );
    app.take(Ok(picture(vec![row("a", 9, None)])), Instant::now());
    assert_eq!((app.trouble.as_deref(), app.chosen_row()), (None, 0));
    app.take(Ok(Picture::default()), Instant::now());
    press(
        &mut app,
        &[KeyCode::Down, KeyCode::End, KeyCode::PageUp, KeyCode::Enter],
    );
    assert_eq!(
        (app.chosen_row(), &app.open),
        (0, &None),
        "there is nothing to choose"
    );
}

#[test]
fn choosing_ends_at_the_ends() {
    let rows = ["a", "b", "c"].map(|name| row(name, 0, None));
    let mut app = app(rows.to_vec());
    for (key, place) in [
        (KeyCode::Up, 0),
        (KeyCode::Char('j'), 1),
        (KeyCode::PageDown, 2),
        (KeyCode::Down, 2),
        (KeyCode::Home, 0),
        (KeyCode::End, 2),
        (KeyCode::Char('k'), 1),
    ] {
        press(&mut app, &[key]);
        assert_eq!(app.chosen_row(), place, "{key:?}");
    }
}

#[test]
fn sorting_goes_round() {
    let mut app = app(vec![
        row("b", 5, Some(9_000)),
        row("c", 7, None),
        row("a", 1, Some(60_000)),
    ]);
    for (word, expected) in [
        ("worst", "b c a"),
        ("lag", "c b a"),
        ("time lag", "a b c"),
        ("name", "a b c"),
        ("worst", "b c a"),
    ] {
        assert_eq!((app.sort.word(), &*names(&app)), (word, expected));
        press(&mut app, &[KeyCode::Char('s')]);
    }
}

#[test]
fn the_filter_is_typed_kept_and_dropped() {
    let mut orders = row("orders", 1, None);
    orders.sink = Some(SinkState {
        name: "To-HDFS".to_owned(),
        kind: "hdfs".to_owned(),
        state: "running".to_owned(),
        reason: None,
        paused: false,
    });
    let mut app = app(vec![row("payments", 2, None), orders]);
    press(&mut app, &[KeyCode::Char('/')]);
    press(
        &mut app,
        &"hdfsx".chars().map(KeyCode::Char).collect::<Vec<_>>(),
    );
    assert_eq!(names(&app), "");
    press(&mut app, &[KeyCode::Backspace]);
    assert_eq!(
        names(&app),
        "orders",
        "by the sink's name, whatever the case"
    );
    press(&mut app, &[KeyCode::Enter, KeyCode::Down]);
    assert_eq!((names(&app), app.is_typing), ("orders".to_owned(), false));
    press(&mut app, &[KeyCode::Esc]);
    assert_eq!(names(&app), "payments orders");
    press(
        &mut app,
        &[KeyCode::Char('/'), KeyCode::Char('x'), KeyCode::Esc],
    );
    assert_eq!((&*app.filter, app.is_typing), ("", false));
}

#[test]
fn enter_opens_the_chosen_group_and_asks_for_its_partitions() {
    let mut app = app(vec![row("a", 9, None), row("b", 5, None)]);
    assert_eq!(app.wanted().partitions, Partitions::None);
    press(&mut app, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(app.wanted().partitions, Partitions::Of("b".to_owned()));
    assert_eq!(app.parts().len(), 0, "they weren't answered yet");
    for lag in [3, 4] {
        let b = with_parts(row("b", 5, None), &[0, lag, 1]);
        app.take(Ok(picture(vec![row("a", 9, None), b])), Instant::now());
    }
    press(&mut app, &[KeyCode::Down]);
    let parts = app.parts();
    assert_eq!(app.part_lags(parts[app.chosen_part()], 10), [3, 4]);
    press(&mut app, &[KeyCode::Char('s')]);
    let numbers: Vec<_> = app.parts().iter().map(|part| part.partition).collect();
    assert_eq!(numbers, [1, 2, 0], "by lag");
    assert_eq!(app.parts()[app.chosen_part()].partition, 1);
    press(&mut app, &[KeyCode::Esc]);
    assert_eq!(app.wanted().partitions, Partitions::None);
    assert_eq!(app.rows()[app.chosen_row()].name(), "b");
}

#[test]
fn the_graph_has_a_sample_of_each_answer() {
    let mut app = app(vec![row("a", 1, None)]);
    for lag in [2, 3] {
        app.take(Ok(picture(vec![row("a", lag, None)])), Instant::now());
        app.take(Err("away".to_owned()), Instant::now());
    }
    assert_eq!(app.lags(app.rows()[0], 10), [1, 2, 3]);
}
