//! The state on a terminal of any size. Pure: the same state and time give the same cells.
//!
//! Columns go as the terminal narrows, the least needed first. Colours repeat what words say.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Sparkline, Table, TableState, Wrap};

use super::app::App;
use crate::observe::pages::Figures;
use crate::observe::words::{catch_up, one_line, pace, rounded, time_lag};
use crate::observe::{Level, Part, Row};

/// An answer is late after this: it is asked for every second.
const LATE: Duration = Duration::from_secs(3);
/// Below so many lines there is no room to explain the chosen row.
const TALL: u16 = 14;

/// How levels look.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// Whether there may be colours (`NO_COLOR` isn't set).
    pub has_colours: bool,
}

impl Palette {
    fn of(self, level: Level) -> Style {
        let style = match level {
            Level::Err => Style::new().add_modifier(Modifier::BOLD),
            _ => Style::new(),
        };
        match (self.has_colours, level) {
            (false, _) | (_, Level::Unknown) => style,
            (true, Level::Ok) => style.fg(Color::Green),
            (true, Level::Warn) => style.fg(Color::Yellow),
            (true, Level::Err) => style.fg(Color::Red),
        }
    }
}

/// A column: its head, its width, and the width of the terminal from which on it is there.
struct Column<T> {
    head: &'static str,
    width: u16,
    from: u16,
    cell: fn(&T) -> String,
}

const fn column<T>(head: &'static str, width: u16, from: u16, cell: fn(&T) -> String) -> Column<T> {
    Column {
        head,
        width,
        from,
        cell,
    }
}

/// The name takes what is left.
const ROWS: [Column<Row>; 8] = [
    column("STATE", 10, 0, |row| {
        row.sink
            .as_ref()
            .map_or_else(String::new, |sink| sink.state.clone())
    }),
    column("VERDICT", 7, 46, |row| word(row.figures.status.clone())),
    column("LAG", 9, 0, |row| lag(&row.figures)),
    column("TIME-LAG", 8, 56, |row| word(time_lag(&row.figures))),
    column("CATCH-UP", 9, 66, |row| word(catch_up(&row.figures))),
    column("IN/S", 6, 76, |row| word(pace(row.figures.consumed_per_s))),
    column("NEW/S", 6, 84, |row| word(pace(row.figures.produced_per_s))),
    column("PARTS", 5, 92, |row| row.num_partitions.to_string()),
];

const PARTS: [Column<Part>; 9] = [
    column("STATE", 11, 46, |part| word(part.state.clone())),
    column("VERDICT", 7, 0, |part| word(part.figures.status.clone())),
    column("LAG", 9, 0, |part| lag(&part.figures)),
    column("TIME-LAG", 8, 56, |part| word(time_lag(&part.figures))),
    column("CATCH-UP", 9, 66, |part| word(catch_up(&part.figures))),
    column("COMMITTED", 12, 80, |part| word(part.committed)),
    column("LOG-END", 12, 94, |part| word(part.log_end)),
    column("IN/S", 6, 102, |part| {
        word(pace(part.figures.consumed_per_s))
    }),
    column("CLIENT", 20, 124, |part| word(part.client_id.clone())),
];

fn word(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| one_line(&value.to_string()))
}

fn lag(figures: &Figures) -> String {
    word(figures.lag)
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, app: &App, palette: Palette, now: Instant) {
    let area = frame.area();
    let panel = if area.height >= TALL { 7 } else { 0 };
    let lines = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(panel),
        Constraint::Length(1),
    ];
    let [title, heard, table, panel, keys] = Layout::vertical(lines).areas(area);
    frame.render_widget(Line::from(title_of(app)).style(Modifier::BOLD), title);
    frame.render_widget(heard_of(app, palette, now), heard);
    match app.open_row() {
        Some(row) => {
            let parts = app.parts();
            let chosen = app.chosen_part();
            let name = |part: &Part| format!("{}[{}]", part.topic, part.partition);
            let shown = Shown {
                columns: &PARTS,
                head: "PARTITION",
                name: &name,
                level: Part::level,
            };
            shown.draw(frame, table, &parts, chosen, palette);
            let part = parts.get(chosen);
            let about = part.map(|part| About {
                name: name(part),
                level: part.level(),
                why: part.figures.reason.clone(),
                lags: app.part_lags(part, usize::from(panel.width)),
            });
            let about = about.unwrap_or_else(|| of_row(app, row, panel.width));
            about.draw(frame, panel, palette);
        }
        None if app.open.is_some() => {
            let gone = Paragraph::new("it isn't there any more; Esc goes back");
            frame.render_widget(gone, table);
        }
        None => {
            let rows = app.rows();
            let chosen = app.chosen_row();
            let shown = Shown {
                columns: &ROWS,
                head: "SINK / GROUP",
                name: &name_of,
                level: Row::level,
            };
            shown.draw(frame, table, &rows, chosen, palette);
            if let Some(row) = rows.get(chosen) {
                of_row(app, row, panel.width).draw(frame, panel, palette);
            }
        }
    }
    frame.render_widget(Line::from(keys_of(app)), keys);
}

/// A sink by its name and group, another's group by its own.
fn name_of(row: &Row) -> String {
    match (&row.sink, &row.group) {
        (Some(sink), Some(group)) => format!("{} ({group})", sink.name),
        _ => row.name().to_owned(),
    }
}

fn title_of(app: &App) -> String {
    let place = match &app.open {
        Some((_, name)) => format!(" › {}", one_line(name)),
        None => String::new(),
    };
    format!("outflow top  {}{place}", one_line(&app.url))
}

/// How much is shown and how fresh it is, or why nothing is heard.
fn heard_of(app: &App, palette: Palette, now: Instant) -> Line<'static> {
    let age = app.age(now);
    let late = age.is_none_or(|age| age > LATE);
    let mut spans = Vec::new();
    match (&app.trouble, age) {
        (Some(why), Some(age)) => {
            let text = format!("not heard for {}: {}", rounded(age), one_line(why));
            return Line::styled(text, palette.of(Level::Err));
        }
        (Some(why), None) => return Line::styled(one_line(why), palette.of(Level::Err)),
        (None, None) => return Line::raw("asking …"),
        (None, Some(age)) if late => {
            let text = format!("not heard for {}  ", rounded(age));
            spans.push(Span::styled(text, palette.of(Level::Warn)));
        }
        _ => {}
    }
    let rows = &app.picture.groups;
    let num_sinks = rows.iter().filter(|row| row.sink.is_some()).count();
    spans.push(Span::raw(format!(
        "{}, {}",
        count(num_sinks, "sink"),
        count(rows.len() + app.picture.groups_left_out, "group"),
    )));
    for (level, what) in [(Level::Err, "ERR"), (Level::Warn, "WARN")] {
        let num = rows.iter().filter(|row| row.level() == level).count();
        if num > 0 {
            spans.push(Span::raw(", "));
            spans.push(Span::styled(format!("{num} {what}"), palette.of(level)));
        }
    }
    let troubles = app.picture.clusters.iter().filter_map(|cluster| {
        let trouble = cluster.trouble.as_ref()?;
        Some(format!(
            "; cluster {}: {}",
            cluster.cluster,
            one_line(trouble)
        ))
    });
    spans.extend(troubles.map(|text| Span::styled(text, palette.of(Level::Warn))));
    Line::from(spans)
}

fn count(num: usize, what: &str) -> String {
    let plural = if num == 1 { "" } else { "s" };
    format!("{num} {what}{plural}")
}

fn keys_of(app: &App) -> String {
    if app.is_typing {
        return format!(
            "name contains: {}▏  Enter keeps it, Esc drops it",
            app.filter
        );
    }
    let sort = app.sort.word();
    let filter = match &*app.filter {
        "" => "/ filter".to_owned(),
        filter => format!("/ filter: {filter} (Esc drops it)"),
    };
    match app.open {
        Some(_) => format!("q quit  Esc back  ↑↓ choose  s sort: {sort}  {filter}"),
        None => format!("q quit  Enter partitions  ↑↓ choose  s sort: {sort}  {filter}"),
    }
}

/// A table of rows or of partitions.
struct Shown<'a, T> {
    columns: &'a [Column<T>],
    head: &'static str,
    name: &'a dyn Fn(&T) -> String,
    level: fn(&T) -> Level,
}

impl<T> Shown<'_, T> {
    fn draw(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        items: &[&T],
        chosen: usize,
        palette: Palette,
    ) {
        let columns: Vec<_> = self
            .columns
            .iter()
            .filter(|c| area.width >= c.from)
            .collect();
        let heads = columns.iter().map(|column| column.head);
        let head = TableRow::new([self.head].into_iter().chain(heads)).style(Modifier::DIM);
        let rows = items.iter().map(|item| {
            let style = palette.of((self.level)(item));
            let name = Cell::from(one_line(&(self.name)(item)));
            let cells = columns.iter().map(|column| {
                let cell = Cell::from((column.cell)(item));
                match column.head {
                    "STATE" | "VERDICT" => cell.style(style),
                    _ => cell,
                }
            });
            TableRow::new([name].into_iter().chain(cells))
        });
        let widths = columns
            .iter()
            .map(|column| Constraint::Length(column.width));
        let widths = [Constraint::Min(8)].into_iter().chain(widths);
        let table = Table::new(rows, widths)
            .header(head)
            .row_highlight_style(Modifier::REVERSED);
        let mut state = TableState::new().with_selected((!items.is_empty()).then_some(chosen));
        frame.render_stateful_widget(table, area, &mut state);
    }
}

/// The chosen row in words, and its lag over time.
struct About {
    name: String,
    level: Level,
    why: String,
    lags: Vec<u64>,
}

fn of_row(app: &App, row: &Row, width: u16) -> About {
    About {
        name: name_of(row),
        level: row.level(),
        why: row.why(),
        lags: app.lags(row, usize::from(width)),
    }
}

impl About {
    fn draw(&self, frame: &mut Frame<'_>, area: Rect, palette: Palette) {
        let lines = [
            Constraint::Length(3),
            Constraint::Length(1),
            Constraint::Min(1),
        ];
        let [words, label, graph] = Layout::vertical(lines).areas(area);
        let text = Line::from(vec![
            Span::styled(one_line(&self.name), palette.of(self.level)),
            Span::raw(": "),
            Span::raw(one_line(&self.why)),
        ]);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), words);
        let most = self.lags.iter().max().copied().unwrap_or(0);
        let seconds = u64::try_from(self.lags.len()).unwrap_or(0);
        let span = rounded(Duration::from_secs(seconds));
        let text = format!("lag over the last {span}, at most {most}");
        frame.render_widget(Line::raw(text).style(Modifier::DIM), label);
        let style = palette.of(if palette.has_colours {
            self.level
        } else {
            Level::Unknown
        });
        let line = Sparkline::default()
            .data(&self.lags)
            .max(most.max(1))
            .style(style);
        frame.render_widget(line, graph);
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
