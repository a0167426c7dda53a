//! Order-by, and the stable merge sort behind it and `$sort`.

use super::path::Items;
use super::*;
use crate::json::Mark;
use std::cmp::Ordering;

/// Returns whether the second comes before the first.
pub(in crate::query::jsonata) type Swap<'c> = &'c mut dyn FnMut(&mut Eval<'_>, u32, u32) -> Outcome<bool>;

/// The input of a sort: items or rows on the stack.
#[derive(Clone, Copy)]
struct Sorted {
    terms: Span,
    items: Items,
    /// Values per item: more than one for rows.
    width: usize,
    from: Mark,
    /// The position of the keys, counted from the mark.
    keys: usize,
    frame: Frame,
    schema: Option<SchemaId>,
}

impl Eval<'_> {
    /// The items in the order of the terms, on the stack.
    pub(super) fn sort_items(
        &mut self,
        terms: Span,
        items: Items,
        frame: Frame,
        from: Mark,
    ) -> Outcome<Items> {
        let count = self.items_count(items);
        let sorted = Sorted { terms, items, width: 1, from, keys: 0, frame, schema: None };
        let (first, last) = self.sort_by(sorted, count)?;
        Ok(if first == last { Items::None } else { Items::Stack(first, last) })
    }

    /// The rows `first..last` in the order of the terms.
    pub(super) fn sort_rows(
        &mut self,
        terms: Span,
        schema: SchemaId,
        (first, last): (usize, usize),
        frame: Frame,
        from: Mark,
    ) -> Outcome<(usize, usize)> {
        let width = self.width(schema);
        let items = Items::Stack(first, last);
        let sorted = Sorted { terms, items, width, from, keys: 0, frame, schema: Some(schema) };
        self.sort_by(sorted, (last - first) / width)
    }

    fn sort_by(&mut self, mut sorted: Sorted, count: usize) -> Outcome<(usize, usize)> {
        let from = sorted.from;
        sorted.keys = self.arena.pushed(from).len();
        let keys = count * sorted.terms.range().len();
        self.make_room(keys);
        for made in 0..keys {
            if made % ITEMS_AT_ONCE == 0 {
                self.work(ITEMS_AT_ONCE.min(keys - made))?;
            }
            self.arena.push(UNBOUND);
        }
        self.check_bytes()?;
        let mut order = self.order(count);
        self.merge_sort(&mut order, &mut |eval, a, b| eval.comes_after(&sorted, a, b))?;
        self.arena.cancel_after(from, sorted.keys);
        for (n, &index) in order.iter().enumerate() {
            if n % ITEMS_AT_ONCE == 0 {
                self.work(2 * ITEMS_AT_ONCE.min(order.len()) * sorted.width)?;
            }
            for column in 0..sorted.width {
                let value = self.items_at(sorted.items, index as usize * sorted.width + column, from);
                self.arena.push(value);
            }
        }
        self.scratch.orders.push(order);
        Ok((sorted.keys, sorted.keys + count * sorted.width))
    }

    /// The numbers below `count`, in reused memory.
    pub(in crate::query::jsonata) fn order(&mut self, count: usize) -> Vec<u32> {
        let mut order = self.scratch.orders.pop().unwrap_or_default();
        order.clear();
        order.extend(0..count as u32);
        order
    }

    /// Returns the memory of an order.
    pub(in crate::query::jsonata) fn give_back(&mut self, order: Vec<u32>) {
        self.scratch.orders.push(order);
    }

    /// The key of item `index` for term `term`, computed when first needed.
    fn sort_key(&mut self, sorted: &Sorted, term: usize, index: u32) -> Outcome {
        let program = self.program;
        let terms = &program.terms[sorted.terms.range()];
        let at = sorted.keys + index as usize * terms.len() + term;
        let known = self.arena.pushed(sorted.from)[at];
        if known.opaque_id() != UNBOUND.opaque_id() {
            return Ok(known);
        }
        let key = terms[term].key;
        let item = self.items_at(sorted.items, index as usize * sorted.width, sorted.from);
        let value = match (sorted.items, sorted.schema) {
            (Items::Stack(first, _), Some(_)) => {
                let row = first + index as usize * sorted.width;
                self.eval_in_row(key, row, sorted.width, sorted.frame, sorted.from)?
            }
            _ => self.eval_framed(key, item, sorted.frame)?,
        };
        self.arena.pushed_mut(sorted.from)[at] = value;
        Ok(value)
    }

    fn comes_after(&mut self, sorted: &Sorted, a: u32, b: u32) -> Outcome<bool> {
        let program = self.program;
        for (index, term) in program.terms[sorted.terms.range()].iter().enumerate() {
            let x = self.sort_key(sorted, index, a)?;
            let y = self.sort_key(sorted, index, b)?;
            // No value comes last, in both directions.
            let order = match (x.is_undefined(), y.is_undefined()) {
                (true, true) => continue,
                (true, false) => return Ok(true),
                (false, true) => return Ok(false),
                _ => self.order_of(term.key.node, x, y)?,
            };
            match if term.descending { order.reverse() } else { order } {
                Ordering::Equal => {}
                order => return Ok(order == Ordering::Greater),
            }
        }
        Ok(false)
    }

    fn order_of(&self, node: NodeId, x: Value, y: Value) -> Outcome<Ordering> {
        match (self.arena.as_f64(x), self.arena.as_f64(y)) {
            (Some(x), Some(y)) => return Ok(x.partial_cmp(&y).unwrap_or(Ordering::Greater)),
            _ if x.is_string() && y.is_string() => {
                return self.compare_text(x, y);
            }
            _ => {}
        }
        let sortable = |value: Value| value.is_number() || value.is_string();
        if !sortable(x) || !sortable(y) {
            let message =
                "The expressions within an order-by clause must evaluate to numeric or string values";
            return Err(self.raise(node, "T2008", "^", message.to_owned()));
        }
        let message = format!(
            "Type mismatch when comparing values {} and {} in order-by clause",
            self.quoted(x),
            self.quoted(y)
        );
        Err(self.raise(node, "T2007", "^", message))
    }

    /// A stable merge sort that may fail; it compares in the reference's order.
    pub(in crate::query::jsonata) fn merge_sort(&mut self, order: &mut [u32], swap: Swap<'_>) -> Outcome<()> {
        if order.len() <= 1 {
            return Ok(());
        }
        let middle = order.len() / 2;
        self.work(2 * (order.len() % ITEMS_AT_ONCE))?;
        self.merge_sort(&mut order[..middle], swap)?;
        self.merge_sort(&mut order[middle..], swap)?;
        let mut left = self.scratch.orders.pop().unwrap_or_default();
        left.clear();
        left.extend_from_slice(&order[..middle]);
        let (mut l, mut r, mut out) = (0, middle, 0);
        while l < left.len() {
            if r < order.len() && swap(self, left[l], order[r])? {
                order[out] = order[r];
                r += 1;
            } else {
                order[out] = left[l];
                l += 1;
            }
            out += 1;
            if out % ITEMS_AT_ONCE == 0 {
                self.work(2 * ITEMS_AT_ONCE)?;
            }
        }
        self.scratch.orders.push(left);
        Ok(())
    }
}
