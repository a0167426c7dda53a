//! `| pattern | update, delete |`: a copy of the object with changes to the matches of the pattern.
//!
//! The reference changes its copy in place. Values here are immutable, so changes are recorded by the block they
//! change, and a value is rebuilt with them when it is read and at the end.

use super::*;
use std::collections::HashMap;

/// Changed objects: the present members of a block. The values in it are those of the copy, unchanged.
type Changes = HashMap<u32, Vec<(Value, Value)>>;

impl Eval<'_> {
    pub(super) fn transform(&mut self, id: TransformId, object: Value, frame: Frame) -> Outcome {
        if object.is_undefined() {
            return Ok(object);
        }
        let program = self.program;
        let transform = program.transforms[id.index()];
        let copy = self.deep_copy(object)?;
        let matches = self.eval(transform.pattern, copy, frame)?;
        if matches.is_undefined() {
            return Ok(copy);
        }
        let mut changes = Changes::new();
        for index in 0..self.count_of(matches) {
            let target = self.item_of(matches, index);
            let current = self.with_changes(target, &changes)?;
            let update = self.eval(transform.update, current, frame)?;
            if !update.is_undefined() {
                if !update.is_object() {
                    let quoted = self.quoted(update);
                    let message = format!(
                        "The insert/update clause of the transform expression must evaluate to an object: {quoted}"
                    );
                    return Err(self.raise(transform.update, "T2011", "", message));
                }
                self.update(target, update, &mut changes)?;
            }
            if let Some(delete) = transform.delete {
                let current = self.with_changes(target, &changes)?;
                let names = self.eval(delete, current, frame)?;
                if !names.is_undefined() {
                    self.delete(target, names, delete, &mut changes)?;
                }
            }
        }
        self.with_changes(copy, &changes)
    }

    /// The present members of an object.
    fn members_of(&self, target: Value, changes: &Changes) -> Vec<(Value, Value)> {
        let block = target.block().unwrap_or(0);
        changes.get(&block).cloned().unwrap_or_else(|| self.arena.entries(target).collect())
    }

    fn update(&mut self, target: Value, update: Value, changes: &mut Changes) -> Outcome<()> {
        if !target.is_object() {
            return Ok(());
        }
        let mut members = self.members_of(target, changes);
        self.work(members.len())?;
        for (key, value) in self.arena.entries(update) {
            self.charge(2 * members.len() as u64 + key.len() as u64)?;
            match members.iter_mut().find(|(known, _)| self.arena.str(*known) == self.arena.str(key)) {
                Some(member) => member.1 = value,
                None => members.push((key, value)),
            }
        }
        changes.insert(target.block().unwrap_or(0), members);
        Ok(())
    }

    fn delete(&mut self, target: Value, names: Value, node: NodeId, changes: &mut Changes) -> Outcome<()> {
        self.work(self.count_of(names))?;
        for index in 0..self.count_of(names) {
            if !self.item_of(names, index).is_string() {
                let quoted = self.quoted(names);
                let message = format!(
                    "The delete clause of the transform expression must evaluate to a string or array of strings: {quoted}"
                );
                return Err(self.raise(node, "T2012", "", message));
            }
        }
        if !target.is_object() {
            return Ok(());
        }
        let mut members = self.members_of(target, changes);
        for index in 0..self.count_of(names) {
            let name = self.item_of(names, index);
            self.charge(4 * members.len() as u64 + name.len() as u64)?;
            members.retain(|(key, _)| self.arena.str(*key) != self.arena.str(name));
        }
        changes.insert(target.block().unwrap_or(0), members);
        Ok(())
    }

    /// The value with the changes inside it.
    fn with_changes(&mut self, value: Value, changes: &Changes) -> Outcome {
        if changes.is_empty() { Ok(value) } else { self.rebuild(value, changes, &mut Vec::new()) }
    }

    /// `inside` are the blocks being rebuilt: an object inserted into itself is not followed again.
    fn rebuild(&mut self, value: Value, changes: &Changes, inside: &mut Vec<u32>) -> Outcome {
        let Some(block) = value.block().filter(|block| !inside.contains(block)) else { return Ok(value) };
        self.work(1 + value.len() + inside.len() / 8)?;
        inside.push(block);
        let from = self.arena.begin();
        let mut changed = changes.contains_key(&block);
        let members = if value.is_object() { self.members_of(value, changes) } else { Vec::new() };
        for (key, member) in members {
            let new = self.nested(|eval| eval.rebuild(member, changes, inside))?;
            changed |= new.block() != member.block();
            self.arena.push(key);
            self.arena.push(new);
        }
        if value.is_array() {
            for index in 0..value.len() {
                let item = self.item_of(value, index);
                let new = self.nested(|eval| eval.rebuild(item, changes, inside))?;
                changed |= new.block() != item.block();
                self.arena.push(new);
            }
        }
        inside.pop();
        if !changed {
            self.arena.cancel(from);
            return Ok(value);
        }
        if value.is_array() { self.end_array(from, value.marks()) } else { self.end_object(from) }
    }

    /// A copy in which every container has a separate block.
    pub(in crate::query::jsonata) fn deep_copy(&mut self, value: Value) -> Outcome {
        if !value.is_container() {
            return Ok(if self.is_function(value) { Value::UNDEFINED } else { value });
        }
        self.work(1 + value.len())?;
        let from = self.arena.begin();
        for index in 0..value.len() {
            match self.arena.entry(value, index) {
                Some((key, member)) => {
                    let copy = self.nested(|eval| eval.deep_copy(member))?;
                    if !copy.is_undefined() {
                        self.arena.push(key);
                        self.arena.push(copy);
                    }
                }
                None => {
                    let item = self.item_of(value, index);
                    let copy = self.nested(|eval| eval.deep_copy(item))?;
                    self.arena.push(if copy.is_undefined() { Value::NULL } else { copy });
                }
            }
        }
        if value.is_array() { self.end_array(from, 0) } else { self.end_object(from) }
    }
}
