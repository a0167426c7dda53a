//! Predicates, grouping and `[]` on a node that is not a path.

use super::path::Items;
use super::*;

impl Eval<'_> {
    pub(super) fn wrap(&mut self, id: WrapId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let wrap = &program.wraps[id.index()];
        // Not `eval`: the node and its attachments are one evaluation, and the sequence must stay one.
        let mut value = self.dispatch(wrap.inner, input, frame)?;
        for stage in &program.stages[wrap.predicates.range()] {
            if let Stage::Filter(framed) = stage {
                value = self.filter(*framed, value, frame)?;
            }
        }
        value = self.without_bindings(value)?;
        if let Some(members) = wrap.group {
            let items = if value.is_array() { Items::Of(value) } else { Items::One(value) };
            let grouping = group::Grouping { members, end: wrap.group_end, items, schema: None };
            let from = self.arena.begin();
            value = self.group(grouping, from, frame)?;
        }
        if wrap.keep_array && value.marks() & mark::SEQUENCE != 0 {
            value = value.with_marks(value.marks() | mark::KEEP);
        }
        Ok(value)
    }

    /// One predicate on a value as a whole.
    fn filter(&mut self, predicate: Framed, value: Value, frame: Frame) -> Outcome {
        let from = self.arena.begin();
        if value.marks() & mark::TUPLE != 0 {
            let schema = SchemaId(self.item_of(value, 0).as_int().unwrap_or(0) as u32);
            for index in 1..value.len() {
                self.work(1)?;
                let item = self.item_of(value, index);
                self.arena.push(item);
            }
            let width = self.width(schema);
            let rows = self.filter_rows(predicate, width, (0, value.len() - 1), frame, from)?;
            return self.tuple_value(schema, rows.0, rows.1, from);
        }
        // No value is an item as well.
        self.odd |= value.is_undefined();
        self.push_flat(value)?;
        if let Some(raw) = self.filter_stack(predicate, frame, from)? {
            self.arena.cancel(from);
            return Ok(raw);
        }
        self.end_array(from, mark::SEQUENCE)
    }
}
