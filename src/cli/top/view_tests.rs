//! What a person sees, cell by cell.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::*;
use crate::observe::Picture;
use crate::observe::SinkState;
use crate::observe::pages::Cluster;

const COLOURS: Palette = Palette { has_colours: true };

fn figures(status: &str, lag: u64, time_lag_ms: u64, catch_up: &str) -> Figures {
    Figures {
        status: Some(status.to_owned()),
        reason: match status {
            "OK" => "it is read to its end".to_owned(),
            _ => "records come faster than they are read".to_owned(),
        },
        lag: Some(lag),
        time_lag_ms: Some(time_lag_ms),
        consumed_per_s: Some(12.0),
        produced_per_s: Some(31.5),
        catch_up: catch_up.to_owned(),
        catch_up_s: (catch_up == "in_seconds").then_some(75.0),
        ..Figures::default()
    }
}

fn sink(name: &str, state: &str, reason: Option<&str>, figures: Figures) -> Row {
    Row {
        cluster: Some("local".to_owned()),
        group: Some(format!("outflow-{name}")),
        sink: Some(SinkState {
            name: name.to_owned(),
            kind: "elasticsearch".to_owned(),
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            paused: state == "paused",
        }),
        num_partitions: 2,
        figures,
        ..Row::default()
    }
}

/// One sink waits, one runs; and a group that is nobody's here.
fn picture(lag: u64) -> Picture {
    let mut waiting = sink(
        "elasticsearch",
        "waiting",
        Some("connection refused by http://es:9200"),
        figures("WARN", lag, 252_000, "never"),
    );
    let part = |partition, status: &str, state: &str, lag| Part {
        topic: "metrics".to_owned(),
        partition,
        state: Some(state.to_owned()),
        committed: Some(1_000),
        log_end: Some(1_000 + lag as i64),
        client_id: Some("outflow-elasticsearch-0".to_owned()),
        figures: figures(status, lag, 252_000, "in_seconds"),
        ..Part::default()
    };
    waiting.partitions = vec![part(1, "WARN", "waiting", lag), part(0, "OK", "running", 0)];
    let other = Row {
        cluster: Some("local".to_owned()),
        group: Some("payments".to_owned()),
        num_partitions: 12,
        figures: figures("OK", 0, 0, "done"),
        ..Row::default()
    };
    Picture {
        groups: vec![
            waiting,
            sink("hdfs", "running", None, figures("OK", 3, 80, "in_seconds")),
            other,
        ],
        ..Picture::default()
    }
}

fn app(start: Instant) -> App {
    let mut app = App::new("http://127.0.0.1:9600/");
    for lag in [0, 300, 600, 1_200] {
        app.take(Ok(picture(lag)), start);
    }
    app
}

/// The lines, without what is blank at their ends.
fn seen(app: &App, (width, height): (u16, u16), now: Instant) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(frame, app, COLOURS, now))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let lines = (0..height).map(|y| {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

#[test]
fn sinks_and_groups_the_worst_first_and_why() {
    let start = Instant::now();
    assert_eq!(
        seen(&app(start), (100, 16), start),
        "\
outflow top  http://127.0.0.1:9600/
2 sinks, 3 groups, 1 WARN
SINK / GROUP                     STATE      VERDICT LAG       TIME-LAG CATCH-UP  IN/S   NEW/S  PARTS
elasticsearch (outflow-elasticse waiting    WARN    1200      4m12s    never     12     32     2
hdfs (outflow-hdfs)              running    OK      3         80ms     in 1m15s  12     32     2
payments                                    OK      0         0ms      done      12     32     12


elasticsearch (outflow-elasticsearch): connection refused by http://es:9200; records come faster
than they are read

lag over the last 4s, at most 1200
   █
  ▄█
 ▆██
q quit  Enter partitions  ↑↓ choose  s sort: worst  / filter
"
    );
}

#[test]
fn a_narrow_terminal_keeps_what_matters_most() {
    let start = Instant::now();
    assert_eq!(
        seen(&app(start), (44, 8), start),
        "\
outflow top  http://127.0.0.1:9600/
2 sinks, 3 groups, 1 WARN
SINK / GROUP            STATE      LAG
elasticsearch (outflow- waiting    1200
hdfs (outflow-hdfs)     running    3
payments                           0

q quit  Enter partitions  ↑↓ choose  s sort:
"
    );
}

#[test]
fn partitions_of_a_group() {
    let start = Instant::now();
    let mut app = app(start);
    app.press(KeyEvent::from(KeyCode::Enter));
    app.take(Ok(picture(900)), start);
    assert_eq!(
        seen(&app, (100, 14), start),
        "\
outflow top  http://127.0.0.1:9600/ › outflow-elasticsearch
2 sinks, 3 groups, 1 WARN
PARTITION                 STATE       VERDICT LAG       TIME-LAG CATCH-UP  COMMITTED    LOG-END
metrics[1]                waiting     WARN    900       4m12s    in 1m15s  1000         1900
metrics[0]                running     OK      0         4m12s    in 1m15s  1000         1000

metrics[1]: records come faster than they are read


lag over the last 1s, at most 900
█
█
█
q quit  Esc back  ↑↓ choose  s sort: worst  / filter
"
    );
}

#[test]
fn a_process_that_goes_away_is_said_and_what_was_known_stays() {
    let start = Instant::now();
    let mut app = App::new("http://127.0.0.1:9600/");
    assert!(seen(&app, (60, 4), start).contains("asking …"));
    app.take(
        Err("http://127.0.0.1:9600/: Connection refused".to_owned()),
        start,
    );
    assert!(seen(&app, (60, 4), start).contains("\nhttp://127.0.0.1:9600/: Connection refused"));
    app.take(Ok(picture(5)), start);
    let later = start + Duration::from_secs(75);
    assert!(seen(&app, (60, 8), later).contains("not heard for 1m15s  2 sinks, 3 groups, 1 WARN"));
    app.take(Err("Connection refused".to_owned()), later);
    let said = seen(&app, (60, 8), later);
    assert!(
        said.contains("not heard for 1m15s: Connection refused"),
        "{said}"
    );
    assert!(said.contains("elasticsearch"), "{said}");
    app.take(Ok(picture(5)), later);
    assert!(seen(&app, (60, 8), later).contains("\n2 sinks, 3 groups, 1 WARN\n"));
}

#[test]
fn any_size_and_any_name_can_be_drawn() {
    let start = Instant::now();
    let mut app = app(start);
    let mut strange = picture(7);
    strange.groups[0].group = Some("\u{1b}[31m\u{202e}漢字\n".repeat(40));
    strange.clusters.push(Cluster {
        cluster: "local".to_owned(),
        is_ready: true,
        trouble: Some("no broker\nanswers".to_owned()),
    });
    for open in [false, true] {
        app.take(Ok(strange.clone()), start);
        for size in [(1, 1), (2, 30), (7, 3), (20, 14), (46, 5), (300, 80)] {
            let said = seen(&app, size, start);
            assert!(!said.contains('\u{1b}'), "{said}");
        }
        if !open {
            app.press(KeyEvent::from(KeyCode::Enter));
        }
    }
}

#[test]
fn without_colours_nothing_is_coloured_and_the_words_are_the_same() {
    let start = Instant::now();
    let app = app(start);
    let drawn = |has_colours| {
        let mut terminal = Terminal::new(TestBackend::new(100, 16)).unwrap();
        let palette = Palette { has_colours };
        terminal
            .draw(|frame| draw(frame, &app, palette, start))
            .unwrap();
        terminal.backend().buffer().clone()
    };
    let is_coloured =
        |cell: &&ratatui::buffer::Cell| cell.fg != Color::Reset || cell.bg != Color::Reset;
    let (plain, coloured) = (drawn(false), drawn(true));
    assert_eq!(plain.content().iter().filter(is_coloured).count(), 0);
    assert!(coloured.content().iter().filter(is_coloured).count() > 10);
    let words = |buffer: &ratatui::buffer::Buffer| -> String {
        buffer.content().iter().map(|cell| cell.symbol()).collect()
    };
    assert_eq!(words(&plain), words(&coloured));
}
