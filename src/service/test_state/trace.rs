//! Records what the engine reports of the data at each step of the state.

use super::{ErrorDetails, Inspection, InspectionLevel};
use crate::asl::model::{State, StateKind};
use crate::engine::{Listener, Record, Step};
use crate::fault::Fault;
use crate::json::{self, Arena, Value};
use crate::limits;
use crate::program::Program;

/// What was reported so far. Values are kept as JSON text, the last of each kind.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Whether values are recorded, not only what happens.
    values: bool,
    input_path: Option<String>,
    parameters: Option<String>,
    result: Option<String>,
    result_selector: Option<String>,
    result_path: Option<String>,
    items: Option<String>,
    /// The inputs of the iterations.
    pub(super) selected: Vec<String>,
    /// Bytes of all of them, including those that are not kept.
    selected_bytes: usize,
    pub(super) max_concurrency: Option<u64>,
    pub(super) tolerated_count: Option<u64>,
    pub(super) tolerated_percentage: Option<f64>,
    /// How many items there are.
    pub(super) items_count: usize,
    /// The state's own failure; failures on the way to a catcher come after it.
    pub(super) fault: Option<Fault>,
    pub(super) details: ErrorDetails,
}

impl Listener for Trace {
    fn record(&mut self, _: &Program, _: &Arena, _: &Record<'_>) {}

    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        let text = |value: Value| self.values.then(|| json::to_string(arena, value));
        match step {
            Step::InputPath(value) => self.input_path = text(value),
            Step::Parameters(value) => self.parameters = text(value),
            Step::Result(value) => self.result = text(value),
            Step::ResultSelector(value) => self.result_selector = text(value),
            Step::ResultPath(value) => self.result_path = text(value),
            Step::Items(value) => {
                self.items = text(value);
                self.items_count = value.len();
            }
            Step::Item(value) => {
                self.selected_bytes += arena.size(value) as usize;
                if self.has_all_selected() {
                    let text = text(value);
                    self.selected.extend(text);
                }
            }
            Step::MaxConcurrency(limit) => self.max_concurrency = Some(limit),
            Step::ToleratedFailureCount(count) => self.tolerated_count = Some(count),
            Step::ToleratedFailurePercentage(percentage) => self.tolerated_percentage = Some(percentage),
            Step::Failed(fault) => self.fault = Some(fault.clone()),
            Step::Retry(index, delay_ms) => {
                self.details.retry_index = Some(index);
                self.details.retry_backoff_interval_seconds = delay_ms.map(|ms| ms / 1_000);
            }
            Step::Catch(index) => self.details.catch_index = Some(index),
        }
    }
}

impl Trace {
    pub(super) fn new(level: InspectionLevel) -> Trace {
        Trace { values: level > InspectionLevel::Info, ..Trace::default() }
    }

    /// What AWS shows for this kind of state, as recorded.
    pub(super) fn inspection(&mut self, state: &State, jsonata: bool) -> Inspection {
        let mut shown = Inspection {
            max_concurrency: self.max_concurrency,
            tolerated_failure_count: self.tolerated_count,
            tolerated_failure_percentage: self.tolerated_percentage,
            error_details: (self.details != ErrorDetails::default()).then_some(self.details),
            ..Inspection::default()
        };
        match (&state.kind, jsonata) {
            (StateKind::Task(_), true) => {
                shown.after_arguments = self.parameters.take();
                shown.result = self.result.take();
            }
            (StateKind::Task(_), false) => {
                shown.after_input_path = self.input_path.take();
                shown.after_parameters = self.parameters.take();
                shown.result = self.result.take();
                self.selected_and_put(&mut shown);
            }
            (StateKind::Pass(pass), false) => {
                if pass.result.is_some() {
                    shown.result = self.result.take();
                } else {
                    shown.after_input_path = self.input_path.take();
                    shown.after_parameters = self.parameters.take();
                }
                self.selected_and_put(&mut shown);
            }
            (StateKind::Choice(_) | StateKind::Wait(_) | StateKind::Succeed | StateKind::Fail(_), false) => {
                shown.after_input_path = self.input_path.take();
            }
            (StateKind::Parallel(_), false) => self.selected_and_put(&mut shown),
            (StateKind::Map(map), _) => {
                if !jsonata {
                    shown.after_items_path = self.items.take();
                    self.selected_and_put(&mut shown);
                }
                if map.item_selector.is_some() && shown.max_concurrency.is_some() {
                    // Not a part of them, which would be another list.
                    let shows = self.values && self.has_all_selected();
                    shown.after_item_selector = shows.then(|| format!("[{}]", self.selected.join(",")));
                }
            }
            (_, true) => {}
        }
        shown
    }

    /// Whether the inputs of all iterations were kept.
    pub(super) fn has_all_selected(&self) -> bool {
        self.selected_bytes <= limits::TEST_STATE_SELECTED_BYTES_MAX
    }

    fn selected_and_put(&mut self, shown: &mut Inspection) {
        shown.after_result_selector = self.result_selector.take();
        shown.after_result_path = self.result_path.take();
    }
}
