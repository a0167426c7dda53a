//! `--trace`: an execution as a table, one line per visit of a state, in the order in which the states were entered.
//!
//! States of branches and iterations are below the state they belong to. The engine's records refer to the record
//! before them, which determines their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use expressway::asl;
use expressway::engine::{EventKind, Listener, Record, Schedule};
use expressway::fault::{self, Fault};
use expressway::json::{self, Arena, Value};
use expressway::program::{Program, StateId, StateKind};

use super::{Stop, progress};

/// Which executions are shown, and how much of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    which: Which,
    /// Columns of a line, if inputs and outputs are shown, too.
    data_columns: Option<usize>,
    /// Whether the input had the selected line; of all clones.
    is_met: Arc<AtomicBool>,
}

/// The values of `--trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Which {
    #[default]
    All,
    /// Those that do not succeed.
    Failed,
    /// That of this line of the input.
    Line(u64),
    /// Those that enter a state of this name.
    Entering(String),
}

/// A number is a line and `failed` those that fail, so a state with such a name cannot be selected.
pub(super) fn which(text: &str) -> Result<Which, String> {
    Ok(match (text, text.parse()) {
        ("all", _) => Which::All,
        ("failed", _) => Which::Failed,
        (_, Ok(0)) => return Err("lines are counted from 1".to_owned()),
        (_, Ok(line)) => Which::Line(line),
        ("", _) => return Err("say all, failed, the number of a line, or the name of a state".to_owned()),
        (name, Err(_)) => Which::Entering(name.to_owned()),
    })
}

impl Asked {
    pub(super) fn new(which: Which, data: bool) -> Asked {
        Asked { which, data_columns: data.then(progress::columns), is_met: Arc::default() }
    }

    /// That the input ended without an execution at the selected line, if so.
    pub(super) fn unmet(&self) -> Option<String> {
        match self.which {
            Which::Line(line) if !self.is_met.load(Ordering::Relaxed) => Some(format!(
                "--trace={line}: nothing is shown: the input has no event at line {line}; --trace=failed shows those that \
                 fail, and --trace shows all"
            )),
            _ => None,
        }
    }

    /// Why no execution of the program can match: the selected state is not in it.
    pub(super) fn check(&self, program: &Program) -> Result<(), Stop> {
        let Which::Entering(name) = &self.which else { return Ok(()) };
        let names: Vec<&str> = program.states.iter().map(|(state, _)| program.name(state)).collect();
        if names.contains(&&**name) {
            return Ok(());
        }
        let advice = asl::did_you_mean(name, names).map_or(String::new(), |advice| format!(": {advice}"));
        Err(Stop::failed(format!("--trace={name}: the definition has no state `{name}`{advice}")))
    }
}

/// What is known of one execution so far.
#[derive(Default)]
pub(super) struct Trace {
    asked: Asked,
    failed: bool,
    /// Whether the selected state was entered.
    entered: bool,
    rows: Vec<Row>,
    /// Where each record belongs, by id.
    places: Vec<Place>,
    began: Option<Began>,
    outcome: String,
    /// The number of visits that are not kept.
    hidden: u64,
}

struct Began {
    at: Instant,
    at_ms: u64,
}

/// A record's place: the visit it is about, and the visit whose branch or iteration it is in.
#[derive(Clone, Copy, Default)]
struct Place {
    row: Option<usize>,
    parent: Option<usize>,
    /// The iteration, until its first state is entered.
    iteration: Option<u32>,
}

/// A visit of a state.
struct Row {
    state: StateId,
    name: String,
    kind: &'static str,
    parent: Option<usize>,
    depth: usize,
    began: Duration,
    took: Option<Duration>,
    input_bytes: u32,
    output_bytes: Option<u32>,
    attempts: u32,
    note: String,
    /// The input and the output, truncated for display, if requested.
    data: [String; 2],
}

/// Visits that are kept; a loop may make millions.
const ROWS_MAX: usize = 2_000;

impl Listener for Trace {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if matches!(record.event_kind, EventKind::ExecutionStarted { .. }) {
            *self = Trace {
                asked: std::mem::take(&mut self.asked),
                began: Some(Began { at: Instant::now(), at_ms: record.time_ms }),
                ..Trace::default()
            };
        }
        let mut place = self.places.get(record.previous as usize).copied().unwrap_or_default();
        let now = self.now(record);
        match record.event_kind {
            EventKind::ExecutionStarted { .. } => {}
            EventKind::StateEntered { state, input } => {
                place.row = self.enter(program, state, place, now, arena.size(input));
                self.keep(place.row, 0, arena, input);
                place.iteration = None;
            }
            EventKind::StateExited { state, output, .. } => {
                place.row = self.visit(place, state);
                self.leave(place.row, now, Some(arena.size(output)), None);
                self.keep(place.row, 1, arena, output);
                place.parent = place.row.and_then(|row| self.rows[row].parent);
            }
            EventKind::StateAborted { state } => {
                place.row = self.visit(place, state);
                self.leave(place.row, now, None, Some("aborted"));
            }
            EventKind::MapIterationStarted { state, index } => {
                let map = self.visit(place, state);
                place = Place { row: map, parent: map, iteration: Some(index) };
            }
            EventKind::ParallelStateStarted => place.parent = place.row,
            EventKind::TaskScheduled(Schedule { task, .. }) => {
                if let Some(row) = place.row.and_then(|row| self.rows.get_mut(row)) {
                    row.attempts += 1;
                    row.note = resource_name(&program.tasks[task].resource.arn).to_owned();
                }
            }
            EventKind::TaskFailed { fault, .. }
            | EventKind::TaskTimedOut { fault, .. }
            | EventKind::EvaluationFailed { fault, .. } => {
                if let Some(row) = place.row.and_then(|row| self.rows.get_mut(row)) {
                    row.note = format!("✗ {}", error_name(fault));
                }
            }
            EventKind::ExecutionSucceeded { output } => {
                self.end(now, &format!("SUCCEEDED, {}", bytes(arena, output)))
            }
            EventKind::ExecutionFailed { fault } => self.fail(now, &failure("FAILED", fault)),
            EventKind::ExecutionAborted { fault } => self.fail(now, &failure("ABORTED", fault)),
            EventKind::ExecutionTimedOut => self.fail(now, "TIMED_OUT"),
            _ => {}
        }
        if self.places.len() < PLACES_MAX {
            let id = record.id as usize;
            if self.places.len() <= id {
                self.places.resize(id + 1, Place::default());
            }
            self.places[id] = place;
        }
    }
}

/// Records whose places are kept.
const PLACES_MAX: usize = 1 << 20;

impl Trace {
    /// Time since the execution began. A real clock is coarse, so times below its resolution are measured here; with
    /// virtual time, the record's own is the larger.
    fn now(&self, record: &Record<'_>) -> Duration {
        let Some(began) = &self.began else { return Duration::ZERO };
        let told = Duration::from_millis(record.time_ms.saturating_sub(began.at_ms));
        let measured = began.at.elapsed();
        if told > measured + CLOCK_STEP { told } else { measured }
    }

    fn enter(
        &mut self,
        program: &Program,
        state: StateId,
        place: Place,
        began: Duration,
        input_bytes: u32,
    ) -> Option<usize> {
        self.entered |= matches!(&self.asked.which, Which::Entering(name) if **name == *program.name(state));
        if self.rows.len() == ROWS_MAX {
            self.hidden += 1;
            return None;
        }
        let name = match place.iteration {
            Some(index) => format!("[{index}] {}", program.name(state)),
            None => program.name(state).to_owned(),
        };
        let depth = place.parent.map_or(0, |parent| self.rows[parent].depth + 1);
        self.rows.push(Row {
            state,
            name,
            kind: kind(program.states[state].kind),
            parent: place.parent,
            depth,
            began,
            took: None,
            input_bytes,
            output_bytes: None,
            attempts: 0,
            note: String::new(),
            data: Default::default(),
        });
        Some(self.rows.len() - 1)
    }

    /// The visit of `state` at a place: its own, or an enclosing one.
    fn visit(&self, place: Place, state: StateId) -> Option<usize> {
        let mut at = place.row;
        while let Some(row) = at {
            if self.rows[row].state == state {
                return at;
            }
            at = self.rows[row].parent;
        }
        None
    }

    fn leave(&mut self, row: Option<usize>, now: Duration, output_bytes: Option<u32>, note: Option<&str>) {
        let Some(row) = row.and_then(|row| self.rows.get_mut(row)) else { return };
        row.took = Some(now.saturating_sub(row.began));
        row.output_bytes = output_bytes;
        if let Some(note) = note {
            row.note = note.to_owned();
        }
    }

    /// Keeps an input (0) or an output (1), if it is to be shown.
    fn keep(&mut self, row: Option<usize>, side: usize, arena: &Arena, value: Value) {
        let Some(columns) = self.asked.data_columns else { return };
        let Some(row) = row.and_then(|row| self.rows.get_mut(row)) else { return };
        let mut text = Vec::new();
        json::write(arena, value, &mut text);
        let text = String::from_utf8_lossy(&text);
        let room = columns.saturating_sub(DATA_INDENT + 1).max(20);
        row.data[side] = match text.char_indices().nth(room) {
            None => text.into_owned(),
            Some((end, _)) => format!("{}…", &text[..end]),
        };
    }

    fn fail(&mut self, now: Duration, outcome: &str) {
        self.failed = true;
        self.end(now, outcome);
    }

    fn end(&mut self, now: Duration, outcome: &str) {
        self.outcome = format!("{outcome}, {}", progress::time(now));
        for row in &mut self.rows {
            row.took.get_or_insert(now.saturating_sub(row.began));
        }
    }

    pub(super) fn new(asked: Asked) -> Trace {
        Trace { asked, ..Trace::default() }
    }

    /// Whether the execution of this line may have to be shown.
    pub(super) fn wants(&self, line: u64) -> bool {
        let Which::Line(asked) = self.asked.which else { return true };
        if asked == line {
            self.asked.is_met.store(true, Ordering::Relaxed);
        }
        asked == line
    }

    /// The table of the execution that just ended, which began with this line of the input; empty, if it is not
    /// requested.
    pub(super) fn finish(&mut self, line: u64) -> String {
        let trace = std::mem::replace(self, Trace::new(self.asked.clone()));
        let is_asked = match &self.asked.which {
            Which::All => true,
            Which::Failed => trace.failed,
            Which::Line(asked) => *asked == line,
            Which::Entering(_) => trace.entered,
        };
        if !is_asked {
            return String::new();
        }
        let header = ["state", "type", "at", "took", "in", "out", "tries", ""].map(str::to_owned);
        let mut table = vec![header];
        for row in &trace.rows {
            let tries = if row.attempts > 1 { row.attempts.to_string() } else { String::new() };
            let output = row
                .output_bytes
                .map_or("–".to_owned(), |bytes| format!("{} B", progress::grouped(bytes.into())));
            table.push([
                format!("{}{}", "  ".repeat(row.depth.min(DEPTH_SHOWN_MAX)), row.name),
                row.kind.to_owned(),
                progress::time(row.began),
                row.took.map_or("–".to_owned(), progress::time),
                format!("{} B", progress::grouped(row.input_bytes.into())),
                output,
                tries,
                row.note.clone(),
            ]);
        }
        let mut out = format!("line {line}\n");
        for (n, text) in aligned(&table).lines().enumerate() {
            out.push_str(text);
            out.push('\n');
            let row = n.checked_sub(1).and_then(|n| trace.rows.get(n));
            for (side, data) in row.iter().flat_map(|row| ["in ", "out"].iter().zip(&row.data)) {
                if !data.is_empty() {
                    out.push_str(&format!("{:>width$} {data}\n", side, width = DATA_INDENT - 1));
                }
            }
        }
        if trace.hidden > 0 {
            out.push_str(&format!("  … and {} more visits of states\n", progress::grouped(trace.hidden)));
        }
        out.push_str(&format!("  → {}\n", trace.outcome));
        out
    }
}

const DEPTH_SHOWN_MAX: usize = 20;
/// The indent of an input or an output.
const DATA_INDENT: usize = 10;
/// The resolution of the coarse clock, with a margin.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// Columns as wide as their widest cell; texts to the left, numbers to the right.
fn aligned(table: &[[String; 8]]) -> String {
    const RIGHT: [bool; 8] = [false, false, true, true, true, true, true, false];
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for row in table {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().filter(|&(column, _)| widths[column] > 0) {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            line.push_str("  ");
            line.push_str(&if RIGHT[column] {
                format!("{padding}{cell}")
            } else {
                format!("{cell}{padding}")
            });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn kind(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Pass(_) => "Pass",
        StateKind::Choice(_) => "Choice",
        StateKind::Task(_) => "Task",
        StateKind::Wait(_) => "Wait",
        StateKind::Succeed => "Succeed",
        StateKind::Fail(_) => "Fail",
        StateKind::Parallel(_) => "Parallel",
        StateKind::Map(_) => "Map",
    }
}

/// The most significant end of an ARN: `function:charge`, `dynamodb:getItem`.
fn resource_name(arn: &str) -> &str {
    let parts = arn.rmatch_indices(':').nth(1);
    parts.map_or(arn, |(at, _)| &arn[at + 1..])
}

fn error_name(fault: &Fault) -> &str {
    fault.error.as_deref().unwrap_or("(no error name)")
}

fn failure(status: &str, fault: &Fault) -> String {
    let name = match fault.error.as_deref() {
        // A fault without a name is from a Fail state without `Error`.
        None => String::new(),
        Some(fault::TIMEOUT) => format!(", {}", fault::TIMEOUT),
        Some(name) => format!(", {name}"),
    };
    let cause = fault
        .cause
        .as_deref()
        .map_or(String::new(), |cause| format!(": {}", super::progress::shortened(cause)));
    format!("{status}{name}{cause}")
}

fn bytes(arena: &Arena, value: Value) -> String {
    format!("{} B", progress::grouped(arena.size(value).into()))
}
