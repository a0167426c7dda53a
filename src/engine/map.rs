//! Inline Map states (specification, "Map State").

use super::context::MapItem;
use super::execution::Join;
use super::record::EventKind;
use super::run::{QueryInputs, Run, StateError};
use super::step::Step;
use super::wait::plain;
use crate::fault::{self, Fault};
use crate::json::{self, Number, Value};
use crate::limits;
use crate::program::{Items, MapId, PathId, Percentage, Seconds, StateKind, TemplateId};
use crate::query::ContextField;
use crate::query::template::Prepared;

/// Work of beginning an iteration, beside that of its input.
const ITERATION: u64 = 100;

impl Run<'_, '_> {
    pub(super) fn map(&mut self, frame: u32, map: MapId) -> Result<(), StateError> {
        let row = &self.program.maps[map];
        if let Some(distributed) = &row.distributed {
            return self.distributed_map(frame, map, distributed);
        }
        if row.items == Items::NotInline {
            // Measured on AWS in 2026.
            let text =
                "The ItemReader, ItemBatcher and ResultWriter fields are not supported for INLINE maps";
            return Err(self.runtime(frame, text).into());
        }
        let effective = self.filtered_input(frame)?;
        let concurrency = self.map_concurrency(frame, row.max_concurrency, effective)?;
        let tolerated_count = match row.tolerated_count {
            Some(count) => Some(self.tolerated_count(frame, count, effective)?),
            None => None,
        };
        let tolerated_percentage = match row.tolerated_percentage {
            Some(percentage) => Some(self.tolerated_percentage(frame, percentage, effective)?),
            None => None,
        };
        let items = self.items(frame, row.items, effective)?;
        self.step_told(Step::Items(items));
        let total = items.len() as u32;
        // If either threshold fails the Map, the lower one counts.
        if let Some(count) = tolerated_count {
            self.step_told(Step::ToleratedFailureCount(count));
        }
        if let Some(percentage) = tolerated_percentage {
            self.step_told(Step::ToleratedFailurePercentage(percentage));
        }
        let by_percentage = tolerated_percentage.map(|most| (f64::from(total) * most / 100.0).floor() as u32);
        let by_count = tolerated_count.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
        let tolerated = by_percentage.into_iter().chain(by_count).min();
        self.chain(frame, EventKind::MapStateStarted { length: total });
        // A Map that is visited by itself gets a mocked result, with any items.
        if total == 0 && self.execution.context.is_undefined() {
            let last = self.execution.frames[frame as usize].last_event;
            let succeeded = self.emit(last, EventKind::MapStateSucceeded);
            let mark = self.execution.arena.begin();
            let nothing = self.execution.arena.end_array(mark);
            let left = self.leave_with(frame, nothing);
            // As after iterations.
            if let Err(StateError::Failed(_)) = left {
                self.execution.frames[frame as usize].last_event = succeeded;
            }
            return left;
        }
        let prepared = match row.selector {
            // Preparing does not pay off for one item; a context object supplied by the caller is never prepared for.
            Some(selector) if total > 1 && self.execution.context.is_undefined() => {
                self.program.templates[selector].prepare(&mut self.execution.arena, effective)
            }
            _ => Prepared::default(),
        };
        let join = self.open_join(
            frame,
            Join {
                items,
                prepared,
                total,
                tolerated: tolerated.unwrap_or(0),
                has_tolerance: tolerated.is_some(),
                ..Join::default()
            },
        )?;
        if let Err(stop) = self.next_iterations(frame, join, concurrency.min(total)) {
            self.children_not_begun(frame, join, stop);
        }
        Ok(())
    }

    /// Begins the Map's next `count` iterations. What is the same for all is looked up once.
    pub(super) fn next_iterations(&mut self, frame: u32, join: u32, count: u32) -> Result<(), StateError> {
        let state = self.state_id(frame);
        let StateKind::Map(map) = self.program.states[state].kind else {
            unreachable!("only a Map's join begins iterations");
        };
        let row = &self.program.maps[map];
        let Join { items, started, prepared, .. } = self.execution.joins[join as usize];
        let last = self.execution.frames[frame as usize].last_event;
        let child_template = self.child_template(join, row.processor);
        for index in started..started + count {
            self.charge(ITERATION + 2 * prepared.row.len() as u64)?;
            let item = if items.is_object() {
                self.execution.arena.entry(items, index as usize)
            } else {
                self.execution.arena.item(items, index as usize).map(|value| (Value::UNDEFINED, value))
            };
            let (key, value) = item.expect("a join has as many items as it has children");
            let input = match row.selector {
                Some(selector) => self.selected(frame, prepared, selector, (index, value, key))?,
                None if items.is_object() => self.pair(key, value),
                None => value,
            };
            self.step_told(Step::Item(input));
            let begun = self.emit(last, EventKind::MapIterationStarted { state, index });
            self.open_child(&child_template, index, input, begun)?;
        }
        Ok(())
    }

    /// `ItemSelector`, for the item with this index, value and key.
    #[inline]
    fn selected(
        &mut self,
        frame: u32,
        prepared: Prepared,
        selector: TemplateId,
        item: (u32, Value, Value),
    ) -> Result<Value, StateError> {
        let (index, value, key) = item;
        self.refuse_null(frame, selector, self.execution.frames[frame as usize].effective)?;
        let made =
            self.program.templates[selector].complete(
                &mut self.execution.arena,
                prepared,
                |field| match field {
                    ContextField::MapItemIndex => Value::int(index.into()),
                    ContextField::MapItemValue => value,
                    ContextField::MapItemKey => key,
                    _ => Value::UNDEFINED,
                },
            );
        if !made.is_undefined() {
            self.check_memory(frame)?;
            return Ok(made);
        }
        self.selected_slowly(frame, selector, item)
    }

    #[inline(never)]
    fn selected_slowly(
        &mut self,
        frame: u32,
        selector: TemplateId,
        item: (u32, Value, Value),
    ) -> Result<Value, StateError> {
        let effective = self.execution.frames[frame as usize].effective;
        let (index, value, key) = item;
        let item = MapItem { index, value, key, source: Value::UNDEFINED };
        self.template(frame, selector, QueryInputs { item: Some(&item), ..QueryInputs::of(effective) })
    }

    /// A member of an object as an item: `{"Key": …, "Value": …}`.
    pub(super) fn pair(&mut self, key: Value, value: Value) -> Value {
        let arena = &mut self.execution.arena;
        let mark = arena.begin();
        for (name, part) in [("Key", key), ("Value", value)] {
            let name = arena.string(name);
            arena.push(name);
            arena.push(part);
        }
        arena.end_object(mark)
    }

    pub(super) fn items(&mut self, frame: u32, items: Items, effective: Value) -> Result<Value, StateError> {
        let jsonata = self.state(frame).jsonata;
        let found = match items {
            Items::NotInline => unreachable!("such a Map fails when it is entered"),
            Items::Input => effective,
            Items::Path(path) => self.items_path(frame, path, effective)?,
            Items::Template(template) => {
                let value = self.template(frame, template, QueryInputs::of(effective))?;
                if self.program.templates[template].as_expression().is_some() {
                    self.expect_type(frame, template, value, "array", Value::is_array)?;
                }
                value
            }
        };
        if found.is_array() || (found.is_object() && !jsonata) {
            return Ok(found);
        }
        if jsonata {
            let found = json::to_string(&self.execution.arena, found);
            let text = format!("Map state input must be an array but was: {found}");
            // Recorded: an invalid type of the items has no location.
            return Err(self.evaluation(frame, "", &text));
        }
        // Recorded: a path into the context object is reported relative to that object's root.
        let source = match items {
            Items::Path(path) => self.program.paths[path].source(),
            _ => "$",
        };
        let source = if source.starts_with("$$") { &source[1..] } else { source };
        Err(Fault::new(fault::RUNTIME, format!("Reference path \"{source}\" must point to array.")).into())
    }

    /// The value that `ItemsPath` selects.
    fn items_path(&mut self, frame: u32, path: PathId, effective: Value) -> Result<Value, StateError> {
        let query_inputs = QueryInputs::of(effective);
        if let Some(found) = self.try_path(frame, path, query_inputs) {
            return Ok(found);
        }
        let path_text = &self.program.paths[path];
        let why = self.query(frame, query_inputs, |arena, scope, _| path_text.conflict(arena, scope));
        match why {
            Some(why) => Err(Fault::new(fault::REFERENCE_PATH_CONFLICT, why).into()),
            None => self.path(frame, path, query_inputs),
        }
    }

    /// The effective `MaxConcurrency`; 0 is no limit.
    pub(super) fn concurrency_asked(
        &mut self,
        frame: u32,
        limit: Seconds,
        effective: Value,
    ) -> Result<u64, StateError> {
        match limit {
            Seconds::Literal(limit) => Ok(limit),
            Seconds::Expression(template) => self.expression_seconds(frame, template, "MaxConcurrency"),
            Seconds::Path(path) => {
                let value = self.path(frame, path, QueryInputs::of(effective))?;
                let limit = self.integer(frame, path, value, "MaxConcurrencyPath")?;
                u64::try_from(limit)
                    .map_err(|_| self.runtime(frame, "MaxConcurrency cannot be negative.").into())
            }
        }
    }

    fn map_concurrency(&mut self, frame: u32, limit: Seconds, effective: Value) -> Result<u32, StateError> {
        let asked = self.concurrency_asked(frame, limit, effective)?;
        self.step_told(Step::MaxConcurrency(asked));
        let most = u64::from(limits::MAP_CONCURRENCY_MAX);
        Ok(if asked == 0 { most } else { asked.min(most) } as u32)
    }

    /// An integer, or a string that is one (recorded: `"1"` is accepted).
    pub(super) fn integer(
        &mut self,
        frame: u32,
        path: crate::program::PathId,
        value: Value,
        field: &str,
    ) -> Result<i64, StateError> {
        let parsed = match value.as_int() {
            Some(int) => Some(int),
            None => self.execution.arena.as_str(value).and_then(|text| text.parse().ok()),
        };
        parsed.ok_or_else(|| {
            let (found, source) = (plain(&self.execution.arena, value), self.program.paths[path].source());
            let text = format!(
                "The {field} field refers to value \"{found}\" which is not a valid integer: {source}"
            );
            self.runtime(frame, &text).into()
        })
    }

    pub(super) fn tolerated_count(
        &mut self,
        frame: u32,
        count: Seconds,
        effective: Value,
    ) -> Result<u64, StateError> {
        match count {
            Seconds::Literal(count) => Ok(count),
            Seconds::Expression(template) => {
                self.expression_seconds(frame, template, "ToleratedFailureCount")
            }
            Seconds::Path(path) => {
                let value = self.path(frame, path, QueryInputs::of(effective))?;
                let count = self.integer(frame, path, value, "ToleratedFailureCountPath")?;
                u64::try_from(count)
                    .map_err(|_| self.runtime(frame, "ToleratedFailureCount cannot be negative.").into())
            }
        }
    }

    pub(super) fn tolerated_percentage(
        &mut self,
        frame: u32,
        percentage: Percentage,
        effective: Value,
    ) -> Result<f64, StateError> {
        let percentage = match percentage {
            Percentage::Literal(percentage) => percentage,
            Percentage::Path(path) => {
                let value = self.path(frame, path, QueryInputs::of(effective))?;
                let parsed = match self.execution.arena.number(value).map(Number::to_f64) {
                    Some(number) => Some(number),
                    None => self.execution.arena.as_str(value).and_then(|text| text.parse().ok()),
                };
                parsed.ok_or_else(|| {
                    let (found, source) = (plain(&self.execution.arena, value), self.program.paths[path].source());
                    let text = format!(
                        "The ToleratedFailurePercentagePath field refers to value \"{found}\" which is not a valid \
                         float: {source}"
                    );
                    StateError::from(self.runtime(frame, &text))
                })?
            }
            Percentage::Expression(template) => {
                let value = self.template(frame, template, QueryInputs::of(effective))?;
                self.expect_type(frame, template, value, "number", Value::is_number)?;
                self.execution.arena.as_f64(value).expect("it was found to be a number")
            }
        };
        if (0.0..=100.0).contains(&percentage) {
            Ok(percentage)
        } else {
            Err(self.runtime(frame, "ToleratedFailurePercentage must be between 0 and 100.").into())
        }
    }
}
