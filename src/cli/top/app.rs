//! What is shown, and what keys do to it. Pure: pictures, keys and the time go in.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::history::Histories;
use crate::observe::pages::Figures;
use crate::observe::{Part, Partitions, Picture, Row, Wanted};

/// Cluster and name of a row.
pub type RowKey = (Option<String>, String);
/// Topic and number of a partition.
pub type PartKey = (String, i32);

/// In which order rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// As the picture has them.
    Worst,
    /// The most records first.
    Lag,
    /// The oldest record first.
    TimeLag,
    /// By name.
    Name,
}

impl Sort {
    /// What the user reads.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Worst => "worst",
            Sort::Lag => "lag",
            Sort::TimeLag => "time lag",
            Sort::Name => "name",
        }
    }

    fn next(self) -> Self {
        match self {
            Sort::Worst => Sort::Lag,
            Sort::Lag => Sort::TimeLag,
            Sort::TimeLag => Sort::Name,
            Sort::Name => Sort::Worst,
        }
    }
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    On,
    /// The user wants to leave.
    Quit,
}

/// The state.
#[derive(Debug)]
pub struct App {
    /// Whom it asks.
    pub url: String,
    /// How all stood when it was last heard.
    pub picture: Picture,
    /// When that was.
    pub heard: Option<Instant>,
    /// Why nothing is heard now.
    pub trouble: Option<String>,
    /// The order.
    pub sort: Sort,
    /// What names must contain.
    pub filter: String,
    /// Whether keys go into the filter.
    pub is_typing: bool,
    /// Whose partitions are shown.
    pub open: Option<RowKey>,
    selected: Option<RowKey>,
    selected_part: Option<PartKey>,
    lags: Histories<RowKey>,
    part_lags: Histories<PartKey>,
}

impl App {
    /// Nothing has been heard yet.
    pub fn new(url: &str) -> Self {
        App {
            url: url.to_owned(),
            picture: Picture::default(),
            heard: None,
            trouble: None,
            sort: Sort::Worst,
            filter: String::new(),
            is_typing: false,
            open: None,
            selected: None,
            selected_part: None,
            lags: Histories::default(),
            part_lags: Histories::default(),
        }
    }

    /// What to ask for next.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            partitions: match &self.open {
                Some((_, name)) => Partitions::Of(name.clone()),
                None => Partitions::None,
            },
            ..Wanted::default()
        }
    }

    /// An answer came, or none.
    pub fn take(&mut self, answer: Result<Picture, String>, now: Instant) {
        let picture = match answer {
            Ok(picture) => picture,
            Err(why) => {
                self.trouble = Some(why);
                return;
            }
        };
        self.trouble = None;
        self.heard = Some(now);
        self.picture = picture;
        let rows = self.picture.groups.iter();
        let sample = |figures: &Figures| figures.lag.unwrap_or(0);
        self.lags
            .take(rows.map(|row| (key(row), sample(&row.figures))));
        let parts = self.open_row().map_or(Vec::new(), |row| {
            let parts = row.partitions.iter();
            parts
                .map(|part| (part_key(part), sample(&part.figures)))
                .collect()
        });
        self.part_lags.take(parts.into_iter());
    }

    /// How old what is shown is.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// The rows that are shown, in their order.
    pub fn rows(&self) -> Vec<&Row> {
        let rows = self.picture.groups.iter();
        let mut rows: Vec<_> = rows.filter(|row| self.is_shown(&names(row))).collect();
        sort_by(&mut rows, self.sort, |row| {
            (&row.figures, row.name().to_owned())
        });
        rows
    }

    /// The row whose partitions are shown, if it is still there.
    pub fn open_row(&self) -> Option<&Row> {
        let open = self.open.as_ref()?;
        self.picture.groups.iter().find(|row| key(row) == *open)
    }

    /// The partitions that are shown, in their order.
    pub fn parts(&self) -> Vec<&Part> {
        let parts = self.open_row().map_or(&[][..], |row| &row.partitions);
        let name = |part: &Part| format!("{}[{:>9}]", part.topic, part.partition);
        let shown = |part: &&Part| self.is_shown(&format!("{}[{}]", part.topic, part.partition));
        let mut parts: Vec<_> = parts.iter().filter(shown).collect();
        sort_by(&mut parts, self.sort, |part| (&part.figures, name(part)));
        parts
    }

    fn is_shown(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// The place of the row that is chosen; the first if it isn't there.
    pub fn chosen_row(&self) -> usize {
        let place = |wanted: &RowKey| self.rows().iter().position(|row| key(row) == *wanted);
        self.selected.as_ref().and_then(place).unwrap_or(0)
    }

    /// The place of the partition that is chosen.
    pub fn chosen_part(&self) -> usize {
        let place = |wanted: &PartKey| {
            self.parts()
                .iter()
                .position(|part| part_key(part) == *wanted)
        };
        self.selected_part.as_ref().and_then(place).unwrap_or(0)
    }

    /// The lags of a row, the oldest first.
    pub fn lags(&self, row: &Row, most: usize) -> Vec<u64> {
        self.lags.newest(&key(row), most)
    }

    /// The lags of a partition of the open row, the oldest first.
    pub fn part_lags(&self, part: &Part, most: usize) -> Vec<u64> {
        self.part_lags.newest(&part_key(part), most)
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent) -> Flow {
        let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if with_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Flow::Quit;
        }
        if self.is_typing {
            self.type_in(key.code);
            return Flow::On;
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::PageUp => self.choose(-10),
            KeyCode::PageDown => self.choose(10),
            KeyCode::Home => self.choose(isize::MIN),
            KeyCode::End => self.choose(isize::MAX),
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => self.back(),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('/') => self.is_typing = true,
            _ => {}
        }
        Flow::On
    }

    fn type_in(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    fn choose(&mut self, by: isize) {
        let go =
            |from: usize, num: usize| from.saturating_add_signed(by).min(num.saturating_sub(1));
        if self.open.is_some() {
            let parts = self.parts();
            let place = go(self.chosen_part(), parts.len());
            self.selected_part = parts.get(place).map(|part| part_key(part));
        } else {
            let rows = self.rows();
            let place = go(self.chosen_row(), rows.len());
            self.selected = rows.get(place).map(|row| key(row));
        }
    }

    fn open(&mut self) {
        if self.open.is_some() {
            return;
        }
        let row = self.rows().get(self.chosen_row()).map(|row| key(row));
        if row.is_some() {
            self.selected.clone_from(&row);
            self.open = row;
            self.selected_part = None;
            self.filter.clear();
        }
    }

    /// Out of the partitions, or else out of the filter.
    fn back(&mut self) {
        self.filter.clear();
        self.open = None;
    }
}

fn key(row: &Row) -> RowKey {
    (row.cluster.clone(), row.name().to_owned())
}

fn part_key(part: &Part) -> PartKey {
    (part.topic.clone(), part.partition)
}

/// All by which a row can be found.
fn names(row: &Row) -> String {
    let sink = row.sink.as_ref().map_or("", |sink| &*sink.name);
    format!("{} {sink}", row.name())
}

fn sort_by<'a, T>(items: &mut [&'a T], sort: Sort, of: impl Fn(&'a T) -> (&'a Figures, String)) {
    use std::cmp::Reverse;
    match sort {
        Sort::Worst => {}
        Sort::Lag => items.sort_by_key(|item| Reverse(of(item).0.lag)),
        Sort::TimeLag => items.sort_by_key(|item| Reverse(of(item).0.time_lag_ms)),
        Sort::Name => items.sort_by_cached_key(|item| of(item).1),
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
