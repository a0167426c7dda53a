//! Paths without bindings: names, wildcards, chains, steps and their predicates. Items of a step are on the arena's
//! stack; the items of earlier steps are left below until the path ends.

use super::*;
use crate::json::Mark;

/// The items before or after a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Items {
    None,
    One(Value),
    /// The elements of an array.
    Of(Value),
    /// Those on the stack, counted from the path's mark.
    Stack(usize, usize),
    /// A single array that is the last step's whole result: it is not a sequence.
    Raw(Value),
}

/// Collects the results of the last step: a single array stays itself, everything else is flattened.
#[derive(Clone, Copy)]
struct Gathering {
    results: usize,
    only: Value,
}

impl<'e> Eval<'e> {
    // ---- names ----

    /// The member `key` of an object, or the sequence of the members of an array's objects.
    pub(super) fn lookup(&mut self, input: Value, key: KeyId) -> Outcome {
        let key = self.key(key);
        self.lookup_key(input, key)
    }

    pub(in crate::query::jsonata) fn lookup_key(&mut self, input: Value, key: &Key) -> Outcome {
        match input.kind() {
            Kind::Object => Ok(self.member(input, key)),
            Kind::Array => {
                let from = self.arena.begin();
                self.push_members(input, key)?;
                self.sequence(from)
            }
            _ => Ok(Value::UNDEFINED),
        }
    }

    /// Pushes the members `key` of an array's objects, arrays flattened by one level.
    pub(in crate::query::jsonata) fn push_members(&mut self, array: Value, key: &Key) -> Outcome<()> {
        for index in 0..array.len() {
            self.work(1)?;
            let item = self.item_of(array, index);
            match item.kind() {
                Kind::Object => {
                    let value = self.member(item, key);
                    if !value.is_undefined() {
                        self.push_flat(value)?;
                    }
                }
                // A sequence of the inner array's members would be flattened again: the same items.
                Kind::Array => self.nested(|eval| eval.push_members(item, key))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Pushes the elements of an array, or the value itself.
    pub(in crate::query::jsonata) fn push_flat(&mut self, value: Value) -> Outcome<()> {
        if value.is_array() {
            self.check_bytes()?;
            self.push_items(value)?;
        } else {
            self.arena.push(value);
        }
        Ok(())
    }

    /// Pushes a step's result: arrays flattened unless they were constructed as one item.
    #[inline]
    fn push_result(&mut self, value: Value) -> Outcome<()> {
        if value.marks() & mark::CONS != 0 {
            self.arena.push(value);
            return Ok(());
        }
        self.push_flat(value)
    }

    /// What was pushed since `from`, as a sequence, collapsed.
    pub(in crate::query::jsonata) fn sequence(&mut self, from: Mark) -> Outcome {
        match *self.arena.pushed(from) {
            [] => Ok(Value::UNDEFINED),
            [only] => {
                self.arena.cancel(from);
                Ok(only)
            }
            _ => self.end_array(from, mark::SEQUENCE),
        }
    }

    /// As [`sequence`](Self::sequence), but without items it is an empty sequence.
    fn sequence_or_empty(&mut self, from: Mark) -> Outcome {
        match *self.arena.pushed(from) {
            [only] => {
                self.arena.cancel(from);
                Ok(only)
            }
            _ => self.end_array(from, mark::SEQUENCE),
        }
    }

    pub(super) fn wildcard(&mut self, input: Value) -> Outcome {
        let input = if input.marks() & mark::OUTER != 0 { self.item_of(input, 0) } else { input };
        let from = self.arena.begin();
        let mut plain = false;
        let count = if input.is_container() { input.len() } else { 0 };
        for index in 0..count {
            self.work(1)?;
            let value = match self.arena.entry(input, index) {
                Some((_, value)) => value,
                None => self.item_of(input, index),
            };
            if value.is_array() {
                // Appending an array turns the sequence into a plain array.

                plain = true;
                self.push_deep(value)?;
            } else {
                self.arena.push(value)
            }
        }
        if plain { self.end_array(from, 0) } else { self.end_array(from, mark::SEQUENCE) }
    }

    /// Pushes all values in an array of arrays.
    fn push_deep(&mut self, value: Value) -> Outcome<()> {
        for index in 0..value.len() {
            self.work(1)?;
            let item = self.item_of(value, index);
            if item.is_array() { self.nested(|eval| eval.push_deep(item))? } else { self.arena.push(item) }
        }
        Ok(())
    }

    pub(super) fn descendants(&mut self, input: Value) -> Outcome {
        if input.is_undefined() {
            return Ok(input);
        }
        let from = self.arena.begin();
        self.push_descendants(input)?;
        self.sequence_or_empty(from)
    }

    fn push_descendants(&mut self, value: Value) -> Outcome<()> {
        if !value.is_array() {
            self.arena.push(value);
        }
        if !value.is_container() {
            return Ok(());
        }
        self.check_bytes()?;
        for index in 0..value.len() {
            self.work(1)?;
            let child = match self.arena.entry(value, index) {
                Some((_, child)) => child,
                None => self.item_of(value, index),
            };
            self.nested(|eval| eval.push_descendants(child))?;
        }
        Ok(())
    }

    // ---- chains ----

    /// A single chain.
    pub(super) fn chain(&mut self, id: ChainId, input: Value, frame: Frame) -> Outcome {
        let from = self.arena.begin();
        let items = self.chain_items(id, input, frame, from, true)?;
        self.gather_up(items, from)
    }

    /// Makes a value of the items at the end of a path.
    fn gather_up(&mut self, items: Items, from: Mark) -> Outcome {
        match items {
            Items::None => {
                self.arena.cancel(from);
                Ok(Value::UNDEFINED)
            }
            Items::One(value) | Items::Raw(value) => {
                self.arena.cancel(from);
                Ok(value)
            }
            Items::Of(value) => {
                self.arena.cancel(from);
                Ok(self.collapse(marked(value, mark::SEQUENCE)))
            }
            Items::Stack(first, last) => {
                self.move_down(from, first, last);
                self.sequence(from)
            }
        }
    }

    /// Keeps only the items `first..last` on the stack.
    pub(super) fn move_down(&mut self, from: Mark, first: usize, last: usize) {
        if first > 0 {
            self.arena.pushed_mut(from).copy_within(first..last, 0);
        }
        self.arena.cancel_after(from, last - first);
    }

    /// The start of a chain.
    fn chain_root(&mut self, root: ChainRoot, input: Value, frame: Frame) -> Outcome {
        let states = self.states;
        Ok(match root {
            ChainRoot::Context => input,
            ChainRoot::Node(node) => self.eval(node, input, frame)?,
            ChainRoot::StatesInput => states.input,
            ChainRoot::StatesResult => states.result,
            ChainRoot::StatesErrorOutput => states.error_output,
            ChainRoot::StatesContext(field) => {
                self.charge(bounds::CONTEXT)?;
                states.context.field(self.arena, field)
            }
            ChainRoot::Nowhere => Value::UNDEFINED,
        })
    }

    /// The items at the end of a chain; `last` means that nothing follows it in its path.
    fn chain_items(
        &mut self,
        id: ChainId,
        input: Value,
        frame: Frame,
        from: Mark,
        last: bool,
    ) -> Outcome<Items> {
        let program = self.program;
        let chain = program.chains[id.index()];
        let keys = &program.keys[chain.keys.range()];
        if self.depth >= self.limits.depth {
            return Err(self.stack_overflow());
        }
        let mut value = self.chain_root(chain.root, input, frame)?;
        let relative = chain.root == ChainRoot::Context;
        for (index, key) in keys.iter().enumerate() {
            match value.kind() {
                Kind::Object => {
                    value = self.member(value, key);
                    if value.is_undefined() {
                        return Ok(Items::None);
                    }
                }
                Kind::Array => {
                    let items = if value.marks() & mark::CONS != 0 && !(relative && index == 0) {
                        Items::One(value)
                    } else {
                        Items::Of(value)
                    };
                    return self.names(items, &keys[index..], from, last);
                }
                _ => return Ok(Items::None),
            }
        }
        Ok(match value.kind() {
            Kind::Undefined => Items::None,
            Kind::Array if last && value.marks() & mark::SEQUENCE == 0 => Items::Raw(value),
            Kind::Array if value.marks() & mark::CONS == 0 || (relative && keys.is_empty()) => {
                Items::Of(value)
            }
            _ => Items::One(value),
        })
    }

    /// Steps that are plain names, over several items.
    fn names(&mut self, mut items: Items, keys: &[Key], from: Mark, last: bool) -> Outcome<Items> {
        for (index, key) in keys.iter().enumerate() {
            let (start, count) = (self.arena.pushed(from).len(), self.items_count(items));
            let mut gathering = Gathering { results: 0, only: Value::UNDEFINED };
            for at in 0..count {
                self.work(1)?;
                let item = self.items_at(items, at, from);
                let value = match item.kind() {
                    Kind::Object => self.member(item, key),
                    Kind::Array => self.lookup_key(item, key)?,
                    _ => continue,
                };
                if !value.is_undefined() {
                    gathering.results += 1;
                    gathering.only = value;
                    self.push_result(value)?;
                }
            }
            items = self.gathered(gathering, from, start, last && index + 1 == keys.len())?;
        }
        Ok(items)
    }

    fn gathered(&mut self, gathering: Gathering, from: Mark, start: usize, last: bool) -> Outcome<Items> {
        let Gathering { results, only } = gathering;
        if last && results == 1 && only.is_array() && only.marks() & mark::SEQUENCE == 0 {
            return Ok(Items::Raw(only));
        }
        let end = self.arena.pushed(from).len();
        self.check_items(end - start)?;
        self.check_bytes()?;
        Ok(if end == start { Items::None } else { Items::Stack(start, end) })
    }

    pub(super) fn items_count(&self, items: Items) -> usize {
        match items {
            Items::None => 0,
            Items::One(_) => 1,
            Items::Of(value) | Items::Raw(value) => value.len(),
            Items::Stack(first, last) => last - first,
        }
    }

    #[inline]
    pub(super) fn items_at(&self, items: Items, index: usize, from: Mark) -> Value {
        match items {
            Items::None => Value::UNDEFINED,
            Items::One(value) => value,
            Items::Of(value) | Items::Raw(value) => self.item_of(value, index),
            Items::Stack(first, _) => self.arena.pushed(from)[first + index],
        }
    }

    /// The items of an argument that is a path or a chain, left on the stack if they are several numbers.
    pub(super) fn argument_items(
        &mut self,
        node: NodeId,
        input: Value,
        frame: Frame,
        from: Mark,
    ) -> Outcome<Items> {
        match self.program.node(node) {
            Node::Chain(chain) => self.chain_items(chain, input, frame, from, true),
            Node::Path(path) => match self.path_items(path, input, frame, from)? {
                Walked::Items(items) => Ok(items),
                // Paths with bindings are not handled here.
                Walked::Rows(..) => Ok(Items::None),
            },
            _ => Ok(Items::One(self.eval(node, input, frame)?)),
        }
    }

    /// Makes one value of items, as at the end of a path.
    pub(super) fn value_of(&mut self, items: Items, from: Mark) -> Outcome {
        self.gather_up(items, from)
    }

    // ---- paths ----

    pub(super) fn path(&mut self, id: PathId, input: Value, frame: Frame) -> Outcome {
        let from = self.arena.begin();
        let items = self.path_items(id, input, frame, from)?;
        let path = &self.program.paths[id.index()];
        let rows = matches!(items, Walked::Rows(..));
        if let Some(group) = path.group {
            let (end, schema) = (path.group_end, rows.then_some(path.schema));
            let items = match items.into_items() {
                Items::Raw(value) if path.keep_singleton && value.marks() & mark::CONS != 0 => {
                    Items::One(value)
                }
                items => items,
            };
            let grouping = group::Grouping { members: group, end, items, schema };
            let value = self.group(grouping, from, frame)?;
            self.arena.cancel(from);
            return Ok(value);
        }
        let items = match items {
            Walked::Items(items) => items,
            Walked::Rows(first, last) if path.tuple => {
                return self.tuple_value(path.schema, first, last, from);
            }
            Walked::Rows(first, last) => self.row_items(path.schema, first, last, from),
        };
        if !path.keep_singleton && !path.keep_array {
            return self.gather_up(items, from);
        }
        match items {
            Items::Raw(value) if value.marks() & mark::CONS == 0 || !path.keep_singleton => {
                self.arena.cancel(from);
                Ok(value)
            }
            Items::None => {
                self.arena.cancel(from);
                Ok(Value::UNDEFINED)
            }
            Items::Of(value) => {
                self.arena.cancel(from);
                Ok(marked(value, mark::SEQUENCE | mark::KEEP))
            }
            Items::One(value) | Items::Raw(value) => {
                self.arena.push(value);
                let end = self.arena.pushed(from).len();
                self.move_down(from, end - 1, end);
                self.end_array(from, mark::SEQUENCE | mark::KEEP)
            }
            Items::Stack(first, last) => {
                self.move_down(from, first, last);
                self.end_array(from, mark::SEQUENCE | mark::KEEP)
            }
        }
    }

    /// Walks a path's steps.
    fn path_items(&mut self, id: PathId, input: Value, frame: Frame, from: Mark) -> Outcome<Walked> {
        let program = self.program;
        let path = &program.paths[id.index()];
        let steps = &program.steps[path.steps.range()];
        let mut items = match path.prefix {
            Some(chain) => {
                let items = self.chain_items(chain, input, frame, from, steps.is_empty())?;
                if matches!(items, Items::None) {
                    return Ok(Walked::Items(items));
                }
                items
            }
            None if input.is_array() && !path.absolute => Items::Of(input),
            None => Items::One(input),
        };
        for (index, step) in steps.iter().enumerate() {
            if step.tuple {
                return self.rows(path, index, items, frame, from);
            }
            items = match step.what {
                StepKind::Eval(framed) if index == 0 && step.cons_array && path.prefix.is_none() => {
                    self.cons_step(framed.node, items, frame)?
                }
                StepKind::Eval(framed) => {
                    self.step(step, framed.node, items, index + 1 == steps.len(), frame, from)?
                }
                // A single item needs no sorting; a constructed array is not a sequence.
                StepKind::Sort(_) if matches!(items, Items::Raw(value) if value.len() <= 1) => {
                    self.filter_items(step.stages, items, frame, from)?
                }
                StepKind::Sort(terms) => {
                    let sorted = self.sort_items(terms, items, frame, from)?;
                    self.filter_items(step.stages, sorted, frame, from)?
                }
            };
            if self.items_count(items) == 0 {
                // An empty array constructor is the path's value even when steps follow.
                let raw = matches!(items, Items::Raw(_));
                return Ok(Walked::Items(if raw { items } else { Items::None }));
            }
        }
        Ok(Walked::Items(items))
    }

    /// An array constructor that begins a path: evaluated once, with the whole context.
    fn cons_step(&mut self, node: NodeId, items: Items, frame: Frame) -> Outcome<Items> {
        let context = match items {
            Items::Of(value) => value,
            Items::One(value) => {
                let mut wrapped = self.arena.array(&[value]);
                wrapped = wrapped.with_marks(mark::SEQUENCE);
                wrapped
            }
            _ => Value::UNDEFINED,
        };
        let value = self.eval(node, context, frame)?;
        Ok(match value.kind() {
            Kind::Undefined => Items::None,
            Kind::Array => Items::Raw(value),
            _ => Items::One(value),
        })
    }

    /// One step over all items.
    fn step(
        &mut self,
        step: &Step,
        node: NodeId,
        items: Items,
        last: bool,
        frame: Frame,
        from: Mark,
    ) -> Outcome<Items> {
        let program = self.program;
        let (start, count) = (self.arena.pushed(from).len(), self.items_count(items));
        let stages = &program.stages[step.stages.range()];
        let name = match program.node(node) {
            Node::Name(key) => Some(key),
            _ => None,
        };
        let since = self.since();
        let mut gathering = Gathering { results: 0, only: Value::UNDEFINED };
        for index in 0..count {
            self.reclaim(since, &mut [&mut gathering.only])?;
            let item = self.items_at(items, index, from);
            let value = match name {
                Some(key) => {
                    self.work(1)?;
                    self.lookup(item, key)?
                }
                None => self.eval(node, item, frame)?,
            };
            if stages.is_empty() {
                if value.is_undefined() {
                    continue;
                }
                gathering.results += 1;
                gathering.only = value;
                self.push_result(value)?;
                continue;
            }
            gathering.results += 1;
            gathering.only = Value::UNDEFINED;
            if let Some(raw) = self.filter_value(stages, value, frame)? {
                gathering.only = raw;
            }
        }
        self.gathered(gathering, from, start, last)
    }

    /// Applies predicates to a value and pushes the items that pass. An array picked by number is also returned: it is
    /// not a sequence.
    fn filter_value(&mut self, stages: &[Stage], value: Value, frame: Frame) -> Outcome<Option<Value>> {
        let from = self.arena.begin();
        // No value is an item as well: if it passes the predicate, it is one item without a value.
        self.odd |= value.is_undefined();
        // A constructed array is filtered like any other.
        self.push_flat(value)?;
        let mut raw = None;
        for stage in stages {
            if let Stage::Filter(framed) = stage {
                raw = self.filter_stack(*framed, frame, from)?;
            }
        }
        Ok(raw)
    }

    /// Applies one predicate to what was pushed since `from`.
    pub(super) fn filter_stack(
        &mut self,
        predicate: Framed,
        frame: Frame,
        from: Mark,
    ) -> Outcome<Option<Value>> {
        let count = self.arena.pushed(from).len();
        if let Node::Number(number) = self.program.node(predicate.node) {
            let index = self.arena.as_f64(self.program.numbers[number.index()]).unwrap_or(f64::NAN).floor();
            let picked = self.pick(index, count).map(|at| self.arena.pushed(from)[at]);
            self.arena.cancel(from);
            let Some(picked) = picked.filter(|picked| !picked.is_undefined()) else { return Ok(None) };
            self.push_flat(picked)?;
            return Ok(picked.is_array().then_some(picked));
        }
        let since = self.since();
        for index in 0..count {
            self.reclaim(since, &mut [])?;
            let item = self.arena.pushed(from)[index];
            let verdict = self.eval(predicate.node, item, frame)?;
            for _ in 0..self.passes(verdict, index, count)? {
                self.arena.push(item);
            }
            self.check_bytes()?;
        }
        let end = self.arena.pushed(from).len();
        self.work((end - count) / 8)?;
        self.move_down(from, count, end);
        Ok(None)
    }

    /// The position of an index, counted from the end when negative.
    pub(super) fn pick(&self, index: f64, count: usize) -> Option<usize> {
        let index = if index < 0.0 { count as f64 + index } else { index };
        (index >= 0.0 && index < count as f64).then_some(index as usize)
    }

    /// How many times a predicate lets item `index` pass.
    #[inline]
    pub(super) fn passes(&mut self, verdict: Value, index: usize, count: usize) -> Outcome<usize> {
        if let Some(passes) = verdict.as_bool() {
            return Ok(usize::from(passes));
        }
        let is = |float: f64| {
            let at = float.floor();
            usize::from(if at < 0.0 { count as f64 + at == index as f64 } else { at == index as f64 })
        };
        if verdict.is_number() {
            if let Some(float) = self.numeric(verdict)? {
                return Ok(is(float));
            }
        } else if verdict.is_array() {
            let mut times = 0;
            let mut numbers = true;
            for at in 0..verdict.len() {
                self.work(1)?;
                let item = self.item_of(verdict, at);
                match self.numeric(item)? {
                    Some(float) => times += is(float),
                    None => {
                        numbers = false;
                        break;
                    }
                }
            }
            if numbers {
                return Ok(times);
            }
        }
        Ok(usize::from(self.truth(verdict)?))
    }

    /// Predicates after a sort.
    fn filter_items(&mut self, stages: Span, items: Items, frame: Frame, from: Mark) -> Outcome<Items> {
        let program = self.program;
        if stages.is_empty() {
            return Ok(items);
        }
        let start = self.arena.pushed(from).len();
        let inner = self.arena.begin();
        for index in 0..self.items_count(items) {
            self.work(1)?;
            let item = self.items_at(items, index, from);
            self.arena.push(item);
        }
        let mut raw = None;
        for stage in &program.stages[stages.range()] {
            if let Stage::Filter(framed) = stage {
                raw = self.filter_stack(*framed, frame, inner)?;
            }
        }
        if let Some(raw) = raw {
            return Ok(Items::Raw(raw));
        }
        let end = self.arena.pushed(from).len();
        Ok(if end == start { Items::None } else { Items::Stack(start, end) })
    }
}

/// The result of walking a path's steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walked {
    Items(Items),
    /// Rows on the stack, counted in values from the path's mark.
    Rows(usize, usize),
}

impl Walked {
    fn into_items(self) -> Items {
        match self {
            Walked::Items(items) => items,
            Walked::Rows(first, last) => Items::Stack(first, last),
        }
    }
}
