//! The view of the overview: which table, from which row on, in which order. Keys change it.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::text::Span;

use super::snapshot::Overview;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Rate(f64),
    /// In seconds, if it is known.
    Time(Option<f64>),
}

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Machines,
    States,
}

pub(super) type Row = [Value; 8];

/// The view of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The column by which rows are sorted.
    pub(super) sorted_by: usize,
    pub(super) ascending: bool,
    /// Rows that are scrolled out of view.
    pub(super) first: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) focus: Which,
    pub(super) machines: Look,
    pub(super) states: Look,
}

/// The effect of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// Draw the screen again.
    Draw,
    End,
}

impl Default for View {
    /// The default view: the busiest machines, the slowest states.
    fn default() -> View {
        let look = |sorted_by| Look { sorted_by, ascending: false, first: 0 };
        View { focus: Which::Machines, machines: look(2), states: look(5) }
    }
}

/// Rows that a page key scrolls by.
const PAGE: usize = 10;

impl View {
    /// Handles a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Nothing;
        }
        let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
            return Asked::End;
        }
        let look = match self.focus {
            Which::Machines => &mut self.machines,
            Which::States => &mut self.states,
        };
        match key.code {
            KeyCode::Tab => {
                self.focus = match self.focus {
                    Which::Machines => Which::States,
                    Which::States => Which::Machines,
                };
            }
            KeyCode::Up | KeyCode::Char('k') => look.first = look.first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => look.first = look.first.saturating_add(1),
            KeyCode::PageUp => look.first = look.first.saturating_sub(PAGE),
            KeyCode::PageDown => look.first = look.first.saturating_add(PAGE),
            KeyCode::Home => look.first = 0,
            KeyCode::End => look.first = usize::MAX,
            KeyCode::Right | KeyCode::Char('s') => look.sort_by((look.sorted_by + 1) % 8),
            KeyCode::Left => look.sort_by((look.sorted_by + 7) % 8),
            KeyCode::Char('r') => look.ascending = !look.ascending,
            KeyCode::Char(digit @ '1'..='8') => look.sort_by(digit as usize - '1' as usize),
            _ => return Asked::Nothing,
        }
        Asked::Draw
    }
}

impl Look {
    /// Names are sorted from A, numbers from the largest.
    fn sort_by(&mut self, column: usize) {
        *self = Look { sorted_by: column, ascending: column == 0, first: 0 };
    }

    /// The sorted rows. Equal ones stay ordered by name.
    pub(super) fn sort(&self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let order = compare(&a[self.sorted_by], &b[self.sorted_by]);
            let order = if self.ascending { order } else { order.reverse() };
            order.then_with(|| compare(&a[0], &b[0]))
        });
    }

    /// Limits scrolling to the existing rows.
    pub(super) fn bound(&mut self, rows: usize, visible: usize) {
        self.first = self.first.min(rows.saturating_sub(visible));
    }
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (a, b) => amount(a).total_cmp(&amount(b)),
    }
}

fn amount(value: &Value) -> f64 {
    match value {
        Value::Text(_) => 0.0,
        Value::Rate(rate) => *rate,
        Value::Time(seconds) => seconds.unwrap_or(-1.0),
    }
}

/// The rows of the machines, as the header has them: name, started, ended, failed, refused, live, p50, p99.
pub(super) fn machines(overview: &Overview) -> Vec<Row> {
    let row = |it: &super::snapshot::Machine| {
        [
            Value::Text(it.name.clone()),
            Value::Rate(it.started),
            Value::Rate(it.ended),
            Value::Rate(it.failed),
            Value::Rate(it.throttled),
            Value::Rate(it.live),
            Value::Time(it.p50),
            Value::Time(it.p99),
        ]
    };
    overview.machines.iter().map(row).collect()
}

/// The rows of the states: name, machine, exits, retries, catches, mean, p50, p99.
pub(super) fn states(overview: &Overview) -> Vec<Row> {
    let row = |it: &super::snapshot::State| {
        [
            Value::Text(it.name.clone()),
            Value::Text(it.machine.clone()),
            Value::Rate(it.exits),
            Value::Rate(it.retries),
            Value::Rate(it.catches),
            Value::Time(Some(it.mean)),
            Value::Time(it.p50),
            Value::Time(it.p99),
        ]
    };
    overview.states.iter().map(row).collect()
}

/// Names as they fit into a column. One that is too long is cut in its middle, because names often share a beginning; if
/// it then looks like another name, it is cut from where it differs from that.
pub(super) fn fit(names: &[&str], columns: usize) -> Vec<String> {
    let cut: Vec<String> = names.iter().map(|name| cut(name, columns)).collect();
    let mut alike: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (cut, name) in cut.iter().zip(names) {
        alike.entry(cut).or_default().insert(name);
    }
    let fitted = cut.iter().zip(names).map(|(cut, name)| {
        let group = &alike[&**cut];
        if group.len() == 1 {
            return cut.clone();
        }
        let shared = group.iter().map(|other| shared(name, other)).fold(name.len(), usize::min);
        let (beginning, rest) = name.split_at(shared);
        let room = columns.saturating_sub(1);
        if width(rest) < room {
            return format!("{}…{rest}", first(beginning, room - width(rest)));
        }
        let beginning = first(beginning, room / 3);
        format!("{beginning}…{}…", first(rest, room.saturating_sub(1 + width(beginning))))
    });
    fitted.collect()
}

/// A text with its middle replaced if it is too long.
fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    format!("{}…{}", first(text, room - room / 2), last(text, room / 2))
}

/// How many bytes two texts share at their beginnings, in whole characters.
fn shared(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// As much of the beginning as fits.
fn first(text: &str, columns: usize) -> &str {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| width(&text[..*end]) <= columns).last();
    &text[..end.unwrap_or(0)]
}

/// As much of the end as fits.
fn last(text: &str, columns: usize) -> &str {
    let begins = text.char_indices().rev().map(|(at, _)| at);
    let begin = begins.take_while(|at| width(&text[*at..]) <= columns).last();
    &text[begin.unwrap_or(text.len())..]
}

/// The columns of a terminal that a text takes.
fn width(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_long_are_cut_where_they_stay_distinct() {
        for (names, columns, fitted) in [
            (&["orders"][..], 6, &["orders"][..]),
            (&["orders-eu"], 6, &["ord…eu"]),
            (&["shop-checkout-eu-west", "shop-checkout-us-east"], 12, &["shop-c…-west", "shop-c…-east"]),
            // What differs is in the middle.
            (
                &["shop-checkout-eu-main-live", "shop-checkout-us-main-live"],
                16,
                &["sho…eu-main-live", "sho…us-main-live"],
            ),
            (
                &["a-long-beginning-1-and-a-long-end", "a-long-beginning-2-and-a-long-end"],
                12,
                &["a-l…1-and-a…", "a-l…2-and-a…"],
            ),
            // The same name twice, as of states of two machines.
            (&["charge-the-card", "charge-the-card"], 9, &["char…card", "char…card"]),
            (&["注文を確認する"], 8, &["注文…る"]),
            (&["orders"], 1, &["…"]),
            (&["orders"], 0, &["…"]),
        ] {
            assert_eq!(fit(names, columns), fitted, "{columns} columns");
        }
    }

    fn row(name: &str, ended: f64) -> Row {
        let mut row = [const { Value::Rate(0.0) }; 8];
        (row[0], row[2]) = (Value::Text(name.to_owned()), Value::Rate(ended));
        row
    }

    fn names(look: &Look, rows: &mut [Row]) -> String {
        look.sort(rows);
        rows.iter().map(|row| if let Value::Text(name) = &row[0] { &**name } else { "?" }).collect()
    }

    #[test]
    fn keys_sort_and_scroll_the_table_that_is_chosen() {
        let mut view = View::default();
        let mut rows = [row("b", 1.0), row("c", 3.0), row("a", 1.0)];
        let press = |view: &mut View, code| view.key(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(names(&view.machines, &mut rows), "cab");
        assert_eq!(press(&mut view, KeyCode::Char('1')), Asked::Draw);
        assert_eq!(names(&view.machines, &mut rows), "abc");
        press(&mut view, KeyCode::Char('r'));
        assert_eq!(names(&view.machines, &mut rows), "cba");
        press(&mut view, KeyCode::Right);
        press(&mut view, KeyCode::Right);
        assert_eq!((view.machines.sorted_by, names(&view.machines, &mut rows).as_str()), (2, "cab"));
        press(&mut view, KeyCode::Down);
        press(&mut view, KeyCode::PageDown);
        assert_eq!((view.machines.first, view.states.first), (11, 0));
        view.machines.bound(3, 2);
        assert_eq!(view.machines.first, 1);
        press(&mut view, KeyCode::Tab);
        press(&mut view, KeyCode::End);
        view.states.bound(1, 5);
        assert_eq!((view.focus, view.machines.first, view.states.first), (Which::States, 1, 0));
        assert_eq!(press(&mut view, KeyCode::F(1)), Asked::Nothing);
        assert_eq!(press(&mut view, KeyCode::Char('q')), Asked::End);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::End);
    }
}
