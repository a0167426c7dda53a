//! `expressway top`: an overview of a running server. Machines with their rates and percentiles, failures, slowest
//! states. Of a pipeline, its counters.

mod snapshot;
mod view;

use expressway::os;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState};

use super::{Stop, Went};
use snapshot::{Overview, Pipeline, Snapshot};
use view::{Asked, Look, Value, View, Which};

/// Watch a running server or pipeline: machines, rates, percentiles, failures, slowest states
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where the server is: HOST:PORT, HOST, PORT, or the URL of its metrics
    #[arg(value_name = "ADDRESS", default_value = "http://127.0.0.1:8083/metrics", value_parser = address)]
    url: String,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// Look once (twice, for the rates), print what there is to see, and end
    #[arg(long)]
    once: bool,
}

const AFTER_HELP: &str = "\
Keys: Tab chooses a table; arrows up and down, PgUp, PgDn, Home, End scroll it; arrows left and right, or 1 to 8, choose \
the column it is sorted by, r turns the order around; q ends.

Examples:
  expressway top
  expressway top 127.0.0.1:9090
  expressway top --once http://orders.internal:8083/metrics
  expressway top 127.0.0.1:9100          # `metrics` of a pipeline's settings";

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it has to be a number of seconds from 0.05 to 3600".to_owned()),
    }
}

/// The address of the metrics: missing parts have the server's defaults, and a number by itself is a port.
fn address(text: &str) -> Result<String, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        // The colons of an IPv6 address are in brackets.
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        match host.parse::<u16>() {
            Ok(port) => format!("http://127.0.0.1:{port}{path}"),
            Err(_) if behind.contains(':') => format!("http://{text}"),
            Err(_) => format!("http://{host}:8083{path}"),
        }
    };
    let (_, rest) = url.split_once("://").unwrap_or_default();
    Ok(match rest.split_once('/') {
        None => format!("{url}/metrics"),
        Some((_, "")) => format!("{url}metrics"),
        Some(_) => url,
    })
}

/// Columns and rows of the output without a terminal.
const PRINTED: (u16, u16) = (110, 32);

/// Columns and rows of what is printed once: on a terminal, as wide as that.
fn printed() -> (u16, u16) {
    let (columns, rows) = PRINTED;
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
    (width.filter(|width| *width > 0).unwrap_or(columns), rows)
}

pub(super) fn run(arguments: &Arguments) -> Result<Went, Stop> {
    look_on(arguments).map(|()| Went::Well)
}

fn look_on(arguments: &Arguments) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Failed(format!("no reactor: {error}")))?;
    let look = || {
        let hint =
            "is a server there? `expressway serve` begins one; `expressway top HOST:PORT` looks elsewhere";
        runtime
            .block_on(snapshot::fetch(&arguments.url))
            .map_err(|why| Stop::Failed(format!("{why}; {hint}")))
    };
    let every = Duration::from_secs_f64(arguments.every);
    let first = look()?;
    if arguments.once || !io::stdout().is_terminal() {
        std::thread::sleep(every);
        let overview = Overview::new(&look()?, Some(&first));
        return print(&overview, &arguments.url);
    }
    let mut terminal =
        ratatui::try_init().map_err(|error| Stop::Failed(format!("no terminal: {}", os::words(&error))))?;
    let result = watch(&mut terminal, arguments, every, first, look);
    ratatui::restore();
    result
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    arguments: &Arguments,
    every: Duration,
    mut before: Snapshot,
    look: impl Fn() -> Result<Snapshot, Stop>,
) -> Result<(), Stop> {
    let broken = |error: io::Error| Stop::Failed(format!("the terminal: {}", os::words(&error)));
    let mut overview = Overview::new(&before, None);
    let mut view = View::default();
    loop {
        terminal.draw(|frame| draw(frame, &overview, &arguments.url, &mut view)).map_err(broken)?;
        let until = Instant::now() + every;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if event::poll(left).map_err(broken)?
                && let Event::Key(key) = event::read().map_err(broken)?
            {
                match view.key(key) {
                    Asked::End => return Ok(()),
                    Asked::Draw => {
                        let drawn = terminal.draw(|frame| draw(frame, &overview, &arguments.url, &mut view));
                        drawn.map_err(broken)?;
                    }
                    Asked::Nothing => {}
                }
            }
        }
        match look() {
            Ok(now) => {
                overview = Overview::new(&now, Some(&before));
                before = now;
            }
            // The server may come back.
            Err(stop) => overview.trouble = Some(stop.to_string()),
        }
    }
}

fn print(overview: &Overview, url: &str) -> Result<(), Stop> {
    let (columns, rows) = printed();
    let mut terminal =
        Terminal::new(TestBackend::new(columns, rows)).map_err(|error| Stop::Failed(error.to_string()))?;
    let mut view = View::default();
    terminal
        .draw(|frame| draw(frame, overview, url, &mut view))
        .map_err(|error| Stop::Failed(error.to_string()))?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..rows {
        let line: String = (0..columns).map(|column| buffer[(column, row)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    super::print(text.trim_end().as_bytes())?;
    super::print(b"\n")
}

fn draw(frame: &mut Frame<'_>, overview: &Overview, url: &str, view: &mut View) {
    let [head, machines, states, foot] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    match &overview.pipeline {
        Some(pipeline) => {
            frame.render_widget(pipeline_summary(pipeline, url), head);
            frame.render_widget(pipeline_table(pipeline), machines.union(states));
        }
        None => {
            frame.render_widget(summary(overview, url), head);
            tables(frame, overview, view, (machines, states));
        }
    }
    let keys = match overview.pipeline {
        Some(_) => "q ends",
        None => "q ends · Tab table · ↑↓ scroll · ←→ sort · r reverse",
    };
    let foot_text = match &overview.trouble {
        Some(trouble) => Line::styled(trouble.clone(), Style::new().fg(Color::Red)),
        None => Line::styled(keys, Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(Paragraph::new(foot_text), foot);
}

/// Machines, and states below them.
fn tables(frame: &mut Frame<'_>, overview: &Overview, view: &mut View, (machines, states): (Rect, Rect)) {
    let header = ["machine", "start/s", "ended/s", "fail/s", "refus/s", "live", "p50", "p99"];
    let focused = view.focus == Which::Machines;
    rows(frame, machines, (" machines ", header), view::machines(overview), (&mut view.machines, focused));
    let header = ["slowest states", "machine", "exits/s", "retry/s", "catch/s", "mean", "p50", "p99"];
    let focused = view.focus == Which::States;
    rows(frame, states, (" states ", header), view::states(overview), (&mut view.states, focused));
}

/// Rows above and below those of a table: its border, and the header.
const FRAME_ROWS: u16 = 3;

/// A table, as it is displayed.
fn rows(
    frame: &mut Frame<'_>,
    area: Rect,
    (title, header): (&'static str, [&'static str; 8]),
    mut rows: Vec<view::Row>,
    (look, focused): (&mut Look, bool),
) {
    look.sort(&mut rows);
    look.bound(rows.len(), usize::from(area.height.saturating_sub(FRAME_ROWS)));
    let inner = Block::bordered().inner(area);
    let widths = widths(header, inner.width);
    let columns = Layout::horizontal(&widths).flex(Flex::Start).spacing(1).split(inner);
    for (n, column) in columns.iter().enumerate() {
        fit(&mut rows, n, usize::from(column.width));
    }
    let cells = rows.iter().map(|row| {
        Row::new(row.iter().zip(header).take(widths.len()).map(|(value, title)| match value {
            Value::Text(text) => Cell::from(text.clone()),
            Value::Rate(rate) => number(*rate).style(colour(title, *rate)),
            Value::Time(seconds) => {
                Cell::from(right(&duration(*seconds))).style(colour(title, seconds.unwrap_or(0.0)))
            }
        }))
    });
    let mut state = TableState::default().with_offset(look.first);
    let border = if focused { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let table = table(title, (&header, &widths), look.sorted_by, cells)
        .block(Block::bordered().title(title).border_style(border));
    frame.render_stateful_widget(table, area, &mut state);
}

/// Cuts the names of a column that are too long for it.
fn fit(rows: &mut [view::Row], column: usize, width: usize) {
    let names = |row: &view::Row| match &row[column] {
        Value::Text(text) => Some(text.clone()),
        Value::Rate(_) | Value::Time(_) => None,
    };
    if let Some(names) = rows.iter().map(names).collect::<Option<Vec<String>>>() {
        let fitted = view::fit(&names.iter().map(String::as_str).collect::<Vec<_>>(), width);
        for (row, name) in rows.iter_mut().zip(fitted) {
            row[column] = Value::Text(name);
        }
    }
}

/// Failures are red, refusals and retries are yellow, and so are percentiles of seconds.
fn colour(title: &str, value: f64) -> Style {
    match title {
        "fail/s" if value > 0.0 => Style::new().fg(Color::Red),
        "refus/s" | "retry/s" | "catch/s" if value > 0.0 => Style::new().fg(Color::Yellow),
        "p99" if value >= 1.0 => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

/// A name and its value.
fn pair(name: &'static str, value: f64) -> [Span<'static>; 2] {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    [Span::raw(name), Span::styled(format!("{} ", short(value)), bold)]
}

fn pipeline_summary<'o>(pipeline: &Pipeline, url: &'o str) -> Paragraph<'o> {
    let rate = |counted: &str| {
        pipeline.counts.iter().find(|(name, ..)| *name == counted).map_or(0.0, |(_, rate, _)| *rate)
    };
    let first: Vec<Span<'_>> = [
        pair("received/s ", rate("received")),
        pair(" published/s ", rate("published")),
        pair(" failed/s ", rate("failed")),
        pair(" retried/s ", rate("retried")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut second = pair("in flight ", pipeline.in_flight).to_vec();
    second.extend(pipeline.lag.into_iter().flat_map(|lag| pair(" waiting at the source ", lag)));
    let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    second.extend(pipeline.down.iter().map(|end| Span::styled(format!(" {end} fails"), red)));
    let second = Line::from(second);
    Paragraph::new(vec![Line::from(first), second]).block(Block::bordered().title(format!(" {url} ")))
}

/// The counters of a pipeline, with totals.
fn pipeline_table(pipeline: &Pipeline) -> Table<'_> {
    let rows = pipeline.counts.iter().map(|(name, rate, all)| {
        let style = match *name {
            "failed" | "source or sink away" if *rate > 0.0 => Style::new().fg(Color::Red),
            "retried" | "not acknowledged" if *rate > 0.0 => Style::new().fg(Color::Yellow),
            _ => Style::new(),
        };
        Row::new([Cell::from(*name), number(*rate), number(*all)]).style(style)
    });
    let widths = [Constraint::Min(20), Constraint::Length(7), Constraint::Length(7)];
    let header = Row::new(["events".to_owned(), right("/s"), right("in all")])
        .style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(header).block(Block::bordered().title(" pipeline "))
}

fn summary<'o>(overview: &'o Overview, url: &'o str) -> Paragraph<'o> {
    let first: Vec<Span<'_>> = [
        pair("started/s ", overview.started),
        pair(" succeeded/s ", overview.succeeded),
        pair(" failed/s ", overview.failed),
        pair(" refused/s ", overview.refused),
    ]
    .into_iter()
    .flatten()
    .collect();
    let second: Vec<Span<'_>> = [
        pair("live ", overview.live),
        pair(" waiting ", overview.queued),
        pair(" parked ", overview.parked),
        pair(" bytes ", overview.bytes),
        pair(" timer lag ms ", overview.lag_ms),
        pair(" not shown ", overview.dropped),
    ]
    .into_iter()
    .flatten()
    .collect();
    let block = Block::bordered().title(format!(" {url} "));
    Paragraph::new(vec![Line::from(first), Line::from(second)]).block(block)
}

fn table<'t>(
    title: &'static str,
    (header, widths): (&[&'static str; 8], &[Constraint]),
    sorted_by: usize,
    rows: impl Iterator<Item = Row<'t>>,
) -> Table<'t> {
    let header = header.iter().enumerate().take(widths.len()).map(|(n, title)| {
        let sorted = if n == sorted_by { Modifier::UNDERLINED } else { Modifier::empty() };
        let title = if n == 0 || *title == "machine" { (*title).to_owned() } else { right(title) };
        Cell::from(title).style(Style::new().add_modifier(sorted))
    });
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(header).block(Block::bordered().title(title))
}

/// The columns of a table, as many as there is room for. Names get the rest, which at 80 columns is still most of them.
fn widths(header: [&str; 8], room: u16) -> Vec<Constraint> {
    let (mut widths, mut taken) = (Vec::with_capacity(header.len()), 0);
    for (n, title) in header.into_iter().enumerate() {
        let (least, width) = match (n, title) {
            (0, _) => (16, Constraint::Min(16)),
            (_, "machine") => (12, Constraint::Min(12)),
            (_, title) => {
                let width = u16::try_from(title.len()).unwrap_or(u16::MAX).clamp(7, 11);
                (width, Constraint::Length(width))
            }
        };
        // With the space before it.
        taken += least + u16::from(n > 0);
        if n > 0 && taken > room {
            break;
        }
        widths.push(width);
    }
    widths
}

fn number<'c>(value: f64) -> Cell<'c> {
    Cell::from(right(&short(value)))
}

fn right(text: &str) -> String {
    format!("{text:>7}")
}

/// Such as `950`, `12.3k`, `4.56M`.
fn short(value: f64) -> String {
    match value {
        _ if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        _ if value < 10_000.0 => format!("{value:.0}"),
        _ if value < 1e6 => format!("{:.1}k", value / 1e3),
        _ if value < 1e9 => format!("{:.2}M", value / 1e6),
        _ => format!("{:.2}G", value / 1e9),
    }
}

/// Seconds, such as `20µs`, `≤1ms`, `250ms`, `5s`.
fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if (1e-6..0.001).contains(&seconds) => format!("{:.0}µs", seconds * 1e6),
        Some(seconds) if seconds <= 0.001 => "≤1ms".to_owned(),
        Some(seconds) if seconds.is_infinite() => ">5min".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.0}ms", seconds * 1_000.0),
        Some(seconds) => format!("{seconds:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        for (text, url) in [
            ("127.0.0.1:20200", "http://127.0.0.1:20200/metrics"),
            ("http://localhost:1/", "http://localhost:1/metrics"),
            ("http://localhost:1", "http://localhost:1/metrics"),
            ("http://localhost:1/other", "http://localhost:1/other"),
            ("localhost", "http://localhost:8083/metrics"),
            ("orders.internal/numbers", "http://orders.internal:8083/numbers"),
            ("[::1]", "http://[::1]:8083/metrics"),
            ("[::1]:9090", "http://[::1]:9090/metrics"),
            ("9108", "http://127.0.0.1:9108/metrics"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(url));
        }
    }

    #[test]
    fn names_have_room_at_80_columns() {
        let header = ["machine", "start/s", "ended/s", "fail/s", "refus/s", "live", "p50", "p99"];
        for columns in [80, 120] {
            let mut terminal = Terminal::new(TestBackend::new(columns, 4)).expect("a terminal");
            let row = Row::new(["checkout-orders-eu", "1", "2", "3", "4", "5", "≤1ms", "250ms"]);
            let widths = widths(header, columns - 2);
            let table = table(" machines ", (&header, &widths), 2, std::iter::once(row));
            terminal.draw(|frame| frame.render_widget(table, frame.area())).expect("a frame");
            let shown = terminal.backend().to_string();
            for whole in ["checkout-orders-eu", "start/s", "refus/s", "p99", "250ms"] {
                assert!(shown.contains(whole), "{whole} is cut at {columns} columns:\n{shown}");
            }
        }
    }
}
