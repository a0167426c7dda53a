//! Paths with bindings: every item is a row, the item first and then the bindings of `@`, `#` and `%`.

use super::path::{Items, Walked};
use super::*;
use crate::json::Mark;

impl Eval<'_> {
    /// Values in a row of the schema.
    pub(super) fn width(&self, schema: SchemaId) -> usize {
        1 + self.program.schemas[schema.index()].len()
    }

    /// A frame that holds a row's bindings.
    fn row_frame(&mut self, slots: u16, row: usize, width: usize, frame: Frame, from: Mark) -> Frame {
        let frames = &mut self.scratch.frames;
        let at = frames.len();
        frames.push(Value::opaque(frame.0));
        frames.extend_from_slice(&self.arena.pushed(from)[row + 1..row + width]);
        frames.resize(at + 1 + (slots as usize).max(width - 1), UNBOUND);
        Frame(at as u32)
    }

    /// Evaluates in the context and with the bindings of the row that begins at `row`.
    pub(super) fn eval_in_row(
        &mut self,
        framed: Framed,
        row: usize,
        width: usize,
        frame: Frame,
        from: Mark,
    ) -> Outcome {
        let functions = self.scratch.functions.len();
        let context = self.arena.pushed(from)[row];
        let inner = self.row_frame(framed.slots.unwrap_or(0), row, width, frame, from);
        let value = self.eval(framed.node, context, inner)?;
        self.pop_frame(inner, functions);
        Ok(value)
    }

    /// Evaluates outside of any row: in a frame for bindings, none of them is bound.
    #[inline]
    pub(super) fn eval_framed(&mut self, framed: Framed, context: Value, frame: Frame) -> Outcome {
        let Some(slots) = framed.slots else { return self.eval(framed.node, context, frame) };
        let functions = self.scratch.functions.len();
        let inner = self.push_frame(frame, slots);
        let value = self.eval(framed.node, context, inner)?;
        self.pop_frame(inner, functions);
        Ok(value)
    }

    /// Walks the steps of a path from the first one with a binding.
    pub(super) fn rows(
        &mut self,
        path: &Path,
        first_step: usize,
        items: Items,
        frame: Frame,
        from: Mark,
    ) -> Outcome<Walked> {
        let program = self.program;
        let width = self.width(path.schema);
        let mut items = items;
        let mut rows = None;
        for step in &program.steps[path.steps.range()][first_step..] {
            if let (StepKind::Sort(terms), None) = (step.what, rows) {
                items = self.sort_items(terms, items, frame, from)?;
            }
            let had_rows = rows.is_some();
            let (first, last) = match rows {
                Some(rows) => rows,
                None => self.first_rows(items, width, from)?,
            };
            let next = match step.what {
                StepKind::Sort(terms) if had_rows => {
                    self.sort_rows(terms, path.schema, (first, last), frame, from)?
                }
                StepKind::Sort(_) => {
                    self.number_rows(step.index, (first, last), width, from);
                    (first, last)
                }
                StepKind::Eval(framed) => {
                    self.row_step(step, framed, path.schema, (first, last), frame, from)?
                }
            };
            rows = Some(self.row_stages(step.stages, width, next, frame, from)?);
        }
        let (first, last) = rows.unwrap_or((0, 0));
        Ok(Walked::Rows(first, last))
    }

    fn first_rows(&mut self, items: Items, width: usize, from: Mark) -> Outcome<(usize, usize)> {
        let start = self.arena.pushed(from).len();
        for index in 0..self.items_count(items) {
            self.work(width)?;
            let item = self.items_at(items, index, from);
            self.arena.push(item);
            for _ in 1..width {
                self.arena.push(UNBOUND);
            }
        }
        self.check_bytes()?;
        Ok((start, self.arena.pushed(from).len()))
    }

    fn number_rows(&mut self, column: u16, (first, last): (usize, usize), width: usize, from: Mark) {
        if column == 0 {
            return;
        }
        self.note((last - first) as u64);
        for (number, row) in self.arena.pushed_mut(from)[first..last].chunks_exact_mut(width).enumerate() {
            row[column as usize] = Value::int(number as i64);
        }
    }

    fn row_step(
        &mut self,
        step: &Step,
        framed: Framed,
        schema: SchemaId,
        (first, last): (usize, usize),
        frame: Frame,
        from: Mark,
    ) -> Outcome<(usize, usize)> {
        let width = self.width(schema);
        let start = self.arena.pushed(from).len();
        for row in (first..last).step_by(width) {
            let value = self.eval_in_row(framed, row, width, frame, from)?;
            if value.is_undefined() {
                continue;
            }
            if value.marks() & mark::TUPLE != 0 {
                self.push_inner_rows(value, schema, row, from)?;
                continue;
            }
            for index in 0..self.count_of(value) {
                self.work(width)?;
                self.check_bytes()?;
                let item = self.item_of(value, index);
                let at = self.push_row(row, width, from);
                let context = self.arena.pushed(from)[row];
                let new = &mut self.arena.pushed_mut(from)[at..];
                match step.focus {
                    0 => new[0] = item,
                    column => new[column as usize] = item,
                }
                if step.index > 0 {
                    new[step.index as usize] = Value::int(index as i64);
                }
                if step.ancestor > 0 {
                    new[step.ancestor as usize] = context;
                }
            }
        }
        let end = self.arena.pushed(from).len();
        self.check_items((end - start) / width)?;
        Ok((start, end))
    }

    /// Copies a row to the top of the stack and returns its position.
    fn push_row(&mut self, row: usize, width: usize, from: Mark) -> usize {
        let at = self.arena.pushed(from).len();
        for column in 0..width {
            let value = self.arena.pushed(from)[row + column];
            self.arena.push(value);
        }
        at
    }

    /// Rows of a nested path: their bindings are added to those of the row.
    fn push_inner_rows(&mut self, value: Value, schema: SchemaId, row: usize, from: Mark) -> Outcome<()> {
        let program = self.program;
        let width = self.width(schema);
        let inner = SchemaId(self.item_of(value, 0).as_int().unwrap_or(0) as u32);
        let inner_width = self.width(inner);
        for inner_row in (1..value.len()).step_by(inner_width) {
            self.work(width + inner_width * width)?;
            self.check_bytes()?;
            let at = self.push_row(row, width, from);
            let item = self.item_of(value, inner_row);
            self.arena.pushed_mut(from)[at] = item;
            for (column, name) in program.schemas[inner.index()].iter().enumerate() {
                let bound = self.item_of(value, inner_row + 1 + column);
                let place = program.schemas[schema.index()].iter().position(|known| known == name);
                if let (Some(place), false) = (place, bound.opaque_id() == UNBOUND.opaque_id()) {
                    self.arena.pushed_mut(from)[at + 1 + place] = bound;
                }
            }
        }
        Ok(())
    }

    fn row_stages(
        &mut self,
        stages: Span,
        width: usize,
        rows: (usize, usize),
        frame: Frame,
        from: Mark,
    ) -> Outcome<(usize, usize)> {
        let program = self.program;
        let mut rows = rows;
        for stage in &program.stages[stages.range()] {
            match *stage {
                Stage::Index(column) => self.number_rows(column, rows, width, from),
                Stage::Filter(framed) => rows = self.filter_rows(framed, width, rows, frame, from)?,
            }
        }
        Ok(rows)
    }

    /// The rows that pass a predicate.
    pub(super) fn filter_rows(
        &mut self,
        framed: Framed,
        width: usize,
        (first, last): (usize, usize),
        frame: Frame,
        from: Mark,
    ) -> Outcome<(usize, usize)> {
        let count = (last - first) / width;
        let start = self.arena.pushed(from).len();
        if let Node::Number(number) = self.program.node(framed.node) {
            let index = self.arena.as_f64(self.program.numbers[number.index()]).unwrap_or(f64::NAN).floor();
            if let Some(at) = self.pick(index, count) {
                self.push_row(first + at * width, width, from);
            }
        } else {
            for index in 0..count {
                let row = first + index * width;
                let verdict = self.eval_in_row(framed, row, width, frame, from)?;
                for _ in 0..self.passes(verdict, index, count)? {
                    self.work(width)?;
                    self.push_row(row, width, from);
                }
                self.check_bytes()?;
            }
        }
        Ok((start, self.arena.pushed(from).len()))
    }

    /// The items of rows, without their bindings.
    pub(super) fn row_items(&mut self, schema: SchemaId, first: usize, last: usize, from: Mark) -> Items {
        let width = self.width(schema);
        let start = self.arena.pushed(from).len();
        self.note((last - first) as u64);
        for row in (first..last).step_by(width) {
            let item = self.arena.pushed(from)[row];
            self.arena.push(item);
        }
        let end = self.arena.pushed(from).len();
        if start == end { Items::None } else { Items::Stack(start, end) }
    }

    /// Rows as a value: the schema's number, then row after row.
    pub(super) fn tuple_value(&mut self, schema: SchemaId, first: usize, last: usize, from: Mark) -> Outcome {
        let start = self.arena.pushed(from).len();
        self.arena.push(Value::int(i64::from(schema.0)));
        for at in first..last {
            self.work(1)?;
            let value = self.arena.pushed(from)[at];
            self.arena.push(value);
        }
        let end = self.arena.pushed(from).len();
        self.move_down(from, start, end);
        self.odd = true;
        self.end_array(from, mark::TUPLE)
    }

    /// The items of rows whose bindings are not used.
    pub(super) fn without_bindings(&mut self, value: Value) -> Outcome {
        if value.marks() & mark::TUPLE == 0 {
            return Ok(value);
        }
        let schema = SchemaId(self.item_of(value, 0).as_int().unwrap_or(0) as u32);
        let width = self.width(schema);
        let from = self.arena.begin();
        for row in (1..value.len()).step_by(width) {
            self.work(1)?;
            let item = self.item_of(value, row);
            self.arena.push(item);
        }
        self.sequence(from)
    }
}
