//! Data flow: InputPath, Parameters, ResultSelector, ResultPath, OutputPath; Arguments and Output (developer guide,
//! "Processing input and output", "Transforming data with JSONata").

use super::run::{QueryInputs, Run, StateError};
use super::step::Step;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::program::{Filter, PathId, ResultPath, TemplateId};
use crate::query::path::Path;

/// Bytes of an input up to which following a path in it is negligible work.
const LARGE_BYTES: u32 = 4_096;

impl Run<'_, '_> {
    /// The input after `InputPath`, kept as the effective input.
    pub(super) fn filtered_input(&mut self, frame: u32) -> Result<Value, StateError> {
        let input = self.execution.frames[frame as usize].input;
        let effective = self.filter(frame, self.state(frame).input, input)?;
        self.execution.frames[frame as usize].effective = effective;
        self.step_told(Step::InputPath(effective));
        Ok(effective)
    }

    /// The input after `InputPath` and `Parameters`, or `Arguments`.
    pub(super) fn effective_input(&mut self, frame: u32) -> Result<Value, StateError> {
        let mut effective = self.filtered_input(frame)?;
        if let Some(parameters) = self.state(frame).parameters {
            effective = self.template_of(frame, parameters, effective)?;
            self.execution.frames[frame as usize].effective = effective;
        }
        self.step_told(Step::Parameters(effective));
        Ok(effective)
    }

    /// The result of `Parameters` or `ResultSelector`.
    fn template_of(&mut self, frame: u32, template: TemplateId, value: Value) -> Result<Value, StateError> {
        self.refuse_null(frame, template, value)?;
        self.template(frame, template, QueryInputs::of(value))
    }

    /// In null AWS does not even resolve a path of `Parameters`, `ResultSelector` or `ItemSelector`.
    #[inline]
    pub(super) fn refuse_null(
        &self,
        frame: u32,
        template: TemplateId,
        value: Value,
    ) -> Result<(), StateError> {
        if value.is_null() && self.program.templates[template].reads_input() {
            let text = "Unable to apply Path transformation to null or empty input.";
            return Err(self.runtime(frame, text).into());
        }
        Ok(())
    }

    pub(super) fn filter(&mut self, frame: u32, filter: Filter, value: Value) -> Result<Value, StateError> {
        match filter {
            Filter::Everything => Ok(value),
            Filter::Nothing => {
                let mark = self.execution.arena.begin();
                Ok(self.execution.arena.end_object(mark))
            }
            Filter::Path(path) => self.path(frame, path, QueryInputs::of(value)),
        }
    }

    /// The value that a path selects, or `States.Runtime` with Jayway's message.
    pub(super) fn path(
        &mut self,
        frame: u32,
        path: PathId,
        query_inputs: QueryInputs,
    ) -> Result<Value, StateError> {
        let path = &self.program.paths[path];
        let found = self.follow(path, query_inputs.input);
        if !found.is_undefined() {
            return Ok(found);
        }
        let found = self.query(frame, query_inputs, |arena, scope, env| {
            path.eval(arena, scope, env.fuel).map_err(|fault| {
                let says = fault.message(path, arena, scope, env.fuel);
                format!("Invalid path '{}' : {says}", path.source())
            })
        });
        self.cut()?;
        let value = found.map_err(|text| self.runtime(frame, &text))?;
        self.check_memory(frame)?;
        Ok(value)
    }

    fn try_path_slowly(&mut self, frame: u32, path: &Path, query_inputs: QueryInputs) -> Option<Value> {
        self.query(frame, query_inputs, |arena, scope, env| path.find(arena, scope, env.fuel).ok())
    }

    /// The value at a path of names and indexes.
    #[inline(always)]
    fn follow(&self, path: &Path, input: Value) -> Value {
        if input.is_container() && self.execution.arena.size(input) > LARGE_BYTES {
            self.env.fuel.note(path.work(&self.execution.arena, input));
        }
        path.follow(&self.execution.arena, input)
    }

    /// The value that a path selects, if any.
    #[inline(always)]
    pub(super) fn try_path(&mut self, frame: u32, path: PathId, query_inputs: QueryInputs) -> Option<Value> {
        let path = &self.program.paths[path];
        let found = self.follow(path, query_inputs.input);
        if !found.is_undefined() {
            return Some(found);
        }
        self.try_path_slowly(frame, path, query_inputs)
    }

    /// The state's output in JSONPath, and the data for its Assign.
    pub(super) fn jsonpath_output(
        &mut self,
        frame: u32,
        result: Value,
    ) -> Result<(Value, QueryInputs<'static>), StateError> {
        let state = self.state(frame);
        let (selector, result_path, output_path) = (state.result, state.result_path, state.output);
        let mut result = result;
        if let Some(selector) = selector {
            result = self.template_of(frame, selector, result)?;
        }
        self.step_told(Step::ResultSelector(result));
        let input = self.execution.frames[frame as usize].input;
        let combined = self.combine(result_path, input, result)?;
        self.step_told(Step::ResultPath(combined));
        let output = self.filter(frame, output_path, combined)?;
        Ok((output, QueryInputs::of(result)))
    }

    /// `ResultPath`: puts the result into the input.
    pub(super) fn combine(
        &mut self,
        result_path: ResultPath,
        input: Value,
        result: Value,
    ) -> Result<Value, StateError> {
        match result_path {
            ResultPath::Replace => Ok(result),
            ResultPath::Discard => Ok(input),
            ResultPath::Insert(path) => {
                let path = &self.program.references[path];
                self.charge(path.work(&self.execution.arena, input))?;
                let inserted = path.insert(&mut self.execution.arena, input, result);
                // Reported without the state, unlike most failures.
                inserted.map_err(|fault| {
                    let text = fault.message(path, &self.execution.arena, input);
                    Fault::new(fault::REFERENCE_PATH_CONFLICT, text).into()
                })
            }
        }
    }

    /// The state's output in JSONata, and the data for its Assign.
    pub(super) fn jsonata_output(
        &mut self,
        frame: u32,
        result: Value,
    ) -> Result<(Value, QueryInputs<'static>), StateError> {
        let input = self.execution.frames[frame as usize].input;
        let query_inputs = QueryInputs { input, result, ..QueryInputs::default() };
        match self.state(frame).result {
            Some(output) => Ok((self.template(frame, output, query_inputs)?, query_inputs)),
            None => Ok((result, query_inputs)),
        }
    }
}
