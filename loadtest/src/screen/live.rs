//! The view that fills the terminal.

use std::io::{self, Stderr, stderr};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};

use crate::record::End;
use crate::session::Progress;
use crate::units::{show_count, show_nanoseconds};

/// A terminal that is drawn on; dropped, it is as it was before.
pub struct Live {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    title: String,
    /// Rates at the last looks.
    rates: Vec<u64>,
}

/// Looks that the sparkline remembers.
const RATES_MAX: usize = 512;

impl Live {
    /// Takes the terminal.
    pub(super) fn new(title: &str) -> io::Result<Live> {
        let terminal = Terminal::new(CrosstermBackend::new(stderr()))?;
        // Neither raw nor silent: Ctrl-C is the signal that it always is.
        execute!(stderr(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(Live { terminal, title: title.to_owned(), rates: Vec::new() })
    }

    pub(super) fn draw(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        let rate = progress.recent.completed() as f64 / progress.recent_seconds.max(1e-9);
        if self.rates.len() >= RATES_MAX {
            self.rates.remove(0);
        }
        self.rates.push(rate as u64);
        let (title, rates) = (&self.title, &self.rates);
        self.terminal.draw(|frame| draw(frame, title, rates, rate, progress))?;
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = leave();
    }
}

/// Gives the terminal back.
pub(super) fn leave() -> io::Result<()> {
    execute!(stderr(), terminal::LeaveAlternateScreen, cursor::Show)
}

fn draw(frame: &mut ratatui::Frame<'_>, title: &str, rates: &[u64], rate: f64, progress: &Progress<'_>) {
    let parts = [
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [top, counts, times, spark, foot] = Layout::vertical(parts).areas(frame.area());
    let share = progress.elapsed.as_secs_f64() / progress.planned.as_secs_f64().max(1e-9);
    let doing = if progress.warming { "warming up" } else { "measuring" };
    let elapsed =
        format!("{:.1} of {:.1} s, {doing}", progress.elapsed.as_secs_f64(), progress.planned.as_secs_f64());
    let gauge =
        Gauge::default().block(Block::bordered().title(format!(" {title} "))).ratio(share.clamp(0.0, 1.0));
    frame.render_widget(gauge.label(elapsed).gauge_style(Style::new().fg(Color::Blue)), top);
    let total = progress.total;
    let wanted = progress.wanted.map_or(String::new(), |wanted| format!(" of {} wanted", show_count(wanted)));
    let wrong =
        [End::Failed, End::TimedOut, End::Aborted, End::Refused, End::Broken].map(|end| total.count(end));
    let lines = vec![
        Line::from(format!("{}/s{wanted}", show_count(rate))).bold(),
        Line::from(format!(
            "{} in flight, {} sent",
            show_count(progress.in_flight as f64),
            show_count(total.sent as f64)
        )),
        Line::from(format!(
            "{} failed, {} timed out, {} aborted, {} refused, {} broken; {} late, {} dropped",
            wrong[0], wrong[1], wrong[2], wrong[3], wrong[4], total.late, total.dropped
        ))
        .fg(if total.errors() + total.dropped > 0 { Color::Red } else { Color::Reset }),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" starts ")), counts);
    let row = |name: &str, interval: &crate::record::Interval| {
        let at = |percent: f64| {
            if interval.latency.is_empty() {
                "-".to_owned()
            } else {
                show_nanoseconds(interval.latency.value_at_percentile(percent) as f64)
            }
        };
        Row::new([name.to_owned(), at(50.0), at(90.0), at(99.0), at(99.9), at(99.99), at(100.0)])
    };
    let rows = [row("now", progress.recent), row("all", total)];
    let head = Row::new(["", "p50", "p90", "p99", "p99.9", "p99.99", "max"]).bold();
    let table = Table::new(rows, [Constraint::Length(10); 7]).header(head);
    frame.render_widget(table.block(Block::bordered().title(" latency ")), times);
    let width = usize::from(spark.width.saturating_sub(2));
    let shown = &rates[rates.len().saturating_sub(width)..];
    let sparkline = Sparkline::default().data(shown).style(Style::new().fg(Color::Green));
    frame.render_widget(sparkline.block(Block::bordered().title(" rate ")), spark);
    frame.render_widget(Line::from("Ctrl-C ends it, with a report of what there is").dim(), foot);
}
