//! Object constructors, and grouping: the same operation over one item or many.

use super::path::Items;
use super::*;
use crate::json::Mark;
use equal::Firsts;

/// Groups while they are collected; reused memory.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Items of the groups: the item's number and the next entry.
    entries: Vec<(u32, u32)>,
    /// Groups by their key, if there are many.
    index: Firsts,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    key: Value,
    member: u32,
    first: u32,
    last: u32,
}

const NO_ENTRY: u32 = u32::MAX;
/// Up to this many groups are searched one by one.
const GROUPS_SEARCHED_MAX: usize = 8;

/// The parameters of a grouping.
#[derive(Clone, Copy)]
pub(super) struct Grouping {
    pub(super) members: Span,
    pub(super) end: u32,
    pub(super) items: Items,
    /// The items are rows.
    pub(super) schema: Option<SchemaId>,
}

impl Eval<'_> {
    /// A single `{…}`; `constant` means that its keys are different constants.
    pub(super) fn object(
        &mut self,
        node: NodeId,
        (members, constant): (Span, bool),
        input: Value,
        frame: Frame,
    ) -> Outcome {
        if input.is_array() && input.len() > 1 {
            let from = self.arena.begin();
            let end = self.program.ends[node.index()];
            return self.group(Grouping { members, end, items: Items::Of(input), schema: None }, from, frame);
        }
        let item = self.item_of(input, 0);
        if !constant {
            return self.object_of(members, self.program.ends[node.index()], item, frame);
        }
        let program = self.program;
        let from = self.arena.begin();
        for member in &program.members[members.range()] {
            let value = self.eval(member.value.node, item, frame)?;
            if !value.is_undefined() {
                let key = self.eval(member.key.node, item, frame)?;
                self.arena.push(key);
                self.arena.push(value);
            }
        }
        self.end_object(from)
    }

    /// An object constructor in the context of one item.
    fn object_of(&mut self, members: Span, end: u32, item: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let members = &program.members[members.range()];
        if members.len() > GROUPS_SEARCHED_MAX * 2 {
            let from = self.arena.begin();
            return self.group_many(members, end, Items::One(item), None, from, frame);
        }
        let keys = self.arena.begin();
        for member in members {
            let key = self.eval_framed(member.key, item, frame)?;
            self.check_key(key, end)?;
            self.arena.push(key);
        }
        for index in 0..members.len() {
            let key = self.arena.pushed(keys)[index];
            for earlier in 0..if key.is_string() { index } else { 0 } {
                let other = self.arena.pushed(keys)[earlier];
                if other.is_string() && self.same_text(key, other)? {
                    return Err(self.duplicate_key(key, end));
                }
            }
        }
        let from = self.arena.begin();
        for (index, member) in members.iter().enumerate() {
            let key = self.arena.pushed(keys)[index];
            if key.is_undefined() {
                continue;
            }
            let value = self.eval_framed(member.value, item, frame)?;
            if !value.is_undefined() {
                self.arena.push(key);
                self.arena.push(value);
            }
        }
        let value = self.end_object(from);
        self.arena.cancel(keys);
        value
    }

    #[inline]
    fn check_key(&self, key: Value, end: u32) -> Outcome<()> {
        if key.is_string() || key.is_undefined() {
            return Ok(());
        }
        let message = format!("Key in object structure must evaluate to a string; got: {}", self.quoted(key));
        Err(self.at_end("T1003", end, message))
    }

    #[cold]
    fn duplicate_key(&self, key: Value, end: u32) -> Failure {
        self.at_end(
            "D1009",
            end,
            format!("Multiple key definitions evaluate to same key: {}", self.quoted(key)),
        )
    }

    #[cold]
    fn at_end(&self, code: &'static str, end: u32, message: String) -> Failure {
        let mut error = EvalError::new(code, message);
        error.position = Some(end as usize);
        Failure::new(error)
    }

    /// Groups items by the keys of the members.
    pub(super) fn group(&mut self, grouping: Grouping, from: Mark, frame: Frame) -> Outcome {
        let program = self.program;
        let Grouping { members, end, items, schema } = grouping;
        if let (None, 0 | 1) = (schema, self.items_count(items)) {
            let item = self.items_at(items, 0, from);
            let item = if self.items_count(items) == 0 { Value::UNDEFINED } else { item };
            return self.object_of(members, end, item, frame);
        }
        self.group_many(&program.members[members.range()], end, items, schema, from, frame)
    }

    fn group_many(
        &mut self,
        members: &[Member],
        end: u32,
        items: Items,
        schema: Option<SchemaId>,
        from: Mark,
        frame: Frame,
    ) -> Outcome {
        let mut groups = self.scratch.groups.pop().unwrap_or_default();
        groups.groups.clear();
        groups.entries.clear();
        groups.index = Firsts::default();
        let width = schema.map_or(1, |schema| self.width(schema));
        let source = Source { items, width, rows: schema.is_some(), from, frame };
        self.collect(&mut groups, members, end, source)?;
        let out = self.arena.begin();
        for group in &groups.groups {
            let member = &members[group.member as usize];
            let value = self.group_value(&groups, group, member, source)?;
            if !value.is_undefined() {
                self.arena.push(group.key);
                self.arena.push(value);
            }
        }
        self.scratch.groups.push(groups);
        self.end_object(out)
    }

    fn collect(&mut self, groups: &mut Groups, members: &[Member], end: u32, source: Source) -> Outcome<()> {
        let count = self.items_count(source.items) / source.width;
        for item in 0..count {
            for (index, member) in members.iter().enumerate() {
                let key = self.eval_member(member.key, item, source)?;
                self.check_key(key, end)?;
                if key.is_undefined() {
                    continue;
                }
                let entry = groups.entries.len() as u32;
                groups.entries.push((item as u32, NO_ENTRY));
                match self.find_group(groups, key)? {
                    Some(at) if groups.groups[at].member != index as u32 => {
                        return Err(self.duplicate_key(key, end));
                    }
                    Some(at) => {
                        let last = std::mem::replace(&mut groups.groups[at].last, entry);
                        groups.entries[last as usize].1 = entry;
                    }
                    None => {
                        groups.groups.push(Group { key, member: index as u32, first: entry, last: entry });
                    }
                }
            }
        }
        Ok(())
    }

    fn eval_member(&mut self, framed: Framed, item: usize, source: Source) -> Outcome {
        match (source.rows, source.items) {
            (true, Items::Stack(first, _)) => {
                self.eval_in_row(framed, first + item * source.width, source.width, source.frame, source.from)
            }
            _ => {
                let context = self.items_at(source.items, item, source.from);
                self.eval_framed(framed, context, source.frame)
            }
        }
    }

    /// The group with the key; adds a new key to the index, for the caller to add the group.
    fn find_group(&self, groups: &mut Groups, key: Value) -> Outcome<Option<usize>> {
        let count = groups.groups.len();
        if count <= GROUPS_SEARCHED_MAX {
            for (at, group) in groups.groups.iter().enumerate() {
                if self.same_text(group.key, key)? {
                    return Ok(Some(at));
                }
            }
            return Ok(None);
        }
        if groups.index.is_empty() {
            for (at, group) in groups.groups.iter().enumerate() {
                groups.index.first(self, group.key, at as u32)?;
            }
        }
        let at = groups.index.first(self, key, count as u32)? as usize;
        Ok((at < count).then_some(at))
    }

    fn group_value(&mut self, groups: &Groups, group: &Group, member: &Member, source: Source) -> Outcome {
        let (first, next) = groups.entries[group.first as usize];
        if next == NO_ENTRY {
            return self.eval_member(member.value, first as usize, source);
        }
        let context = self.joined(groups, group.first, 0, source)?;
        if !source.rows {
            return self.eval_framed(member.value, context, source.frame);
        }
        let functions = self.scratch.functions.len();
        let slots = member.value.slots.unwrap_or(0).max(source.width as u16 - 1);
        let inner = self.push_frame(source.frame, slots);
        for column in 1..source.width {
            let value = self.joined(groups, group.first, column, source)?;
            self.set_slot(inner, column - 1, value);
        }
        let value = self.eval(member.value.node, context, inner)?;
        self.pop_frame(inner, functions);
        Ok(value)
    }

    /// One column of a group's items, appended.
    fn joined(&mut self, groups: &Groups, mut entry: u32, column: usize, source: Source) -> Outcome {
        let from = self.arena.begin();
        let (mut count, mut last) = (0, UNBOUND);
        while entry != NO_ENTRY {
            self.work(1)?;
            let (item, next) = groups.entries[entry as usize];
            let value = self.items_at(source.items, item as usize * source.width + column, source.from);
            if value.opaque_id() != UNBOUND.opaque_id() && !value.is_undefined() {
                count += 1;
                last = value;
                self.push_flat(value)?;
            }
            entry = next;
        }
        if count <= 1 {
            self.arena.cancel(from);
            return Ok(last);
        }
        self.end_array(from, 0)
    }
}

/// Where the grouped items are.
#[derive(Clone, Copy)]
struct Source {
    items: Items,
    width: usize,
    rows: bool,
    from: Mark,
    frame: Frame,
}
