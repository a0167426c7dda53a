//! A parsed path: a list of steps.

use super::filter::Filter;
use crate::json::Key;

/// One step of a path, named after its effect on a value.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `.a`, `['a']`: a member of an object.
    Name(Key),
    /// `['a', 'b']`: a new object with these members; missing ones are left out.
    Names(Box<[Key]>),
    /// `[0]`: an element. A negative index is accepted, and has no element.
    Index(i32),
    /// `[0,2]`.
    Indexes(Box<[i32]>),
    /// `[(@.length-1)]`: an element counted from the end; the number is negative.
    FromEnd(i32),
    /// `[2:]`; negative counts from the end.
    SliceFrom(i32),
    /// `[:2]`; negative counts from the end.
    SliceTo(i32),
    /// `[2:4]`; negative is not counted from the end.
    Slice(i32, i32),
    /// `.*`, `[*]`.
    Wildcard,
    /// `..`; determines where the following step is tried.
    Scan,
    /// `[?(@.a == 1)]`.
    Filter(Box<Filter>),
    /// A `$` in the middle of a path, which only affects the place in messages.
    Root,
}

impl Step {
    /// Whether the step has at most one value.
    pub(super) fn is_definite(&self) -> bool {
        matches!(self, Step::Name(_) | Step::Names(_) | Step::Index(_) | Step::FromEnd(_) | Step::Root)
    }

    /// Whether the step can be taken without looking at the rest of the path.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self, Step::Name(_) | Step::Index(_))
    }

    /// Whether the step picks elements of arrays by index.
    pub(super) fn is_by_place(&self) -> bool {
        use Step::{FromEnd, Index, Indexes, Slice, SliceFrom, SliceTo};
        matches!(self, Index(_) | Indexes(_) | FromEnd(_) | SliceFrom(_) | SliceTo(_) | Slice(..))
    }
}

/// Appends the steps in Jayway's normal form, which its messages contain.
pub(super) fn write_steps(steps: &[Step], out: &mut String) {
    steps.iter().for_each(|step| write_step(step, out));
}

pub(super) fn write_step(step: &Step, out: &mut String) {
    match step {
        Step::Name(key) => write_name(key.as_str(), out),
        Step::Names(keys) => write_names(keys, out),
        Step::Index(index) => write_place(&[index], ",", out),
        Step::Indexes(indexes) => write_place(&indexes.iter().collect::<Vec<_>>(), ",", out),
        Step::FromEnd(offset) => {
            out.push_str("[@.size()");
            out.push_str(&offset.to_string());
            out.push(']');
        }
        Step::SliceFrom(from) => write_place(&[from.to_string().as_str(), ""], ":", out),
        Step::SliceTo(to) => write_place(&["", to.to_string().as_str()], ":", out),
        Step::Slice(from, to) => write_place(&[from, to], ":", out),
        Step::Wildcard => out.push_str("[*]"),
        Step::Scan => out.push_str(".."),
        Step::Filter(filter) => {
            out.push_str("[?");
            (1..filter.count).for_each(|_| out.push_str(",?"));
            out.push(']');
        }
        Step::Root => out.push('$'),
    }
}

fn write_place<T: ToString>(numbers: &[T], between: &str, out: &mut String) {
    out.push('[');
    for (i, number) in numbers.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { between });
        out.push_str(&number.to_string());
    }
    out.push(']');
}

pub(super) fn write_name(name: &str, out: &mut String) {
    out.push_str("['");
    out.push_str(name);
    out.push_str("']");
}

pub(super) fn write_names(keys: &[Key], out: &mut String) {
    out.push('[');
    for (i, key) in keys.iter().enumerate() {
        out.push_str(if i == 0 { "'" } else { ", '" });
        out.push_str(key.as_str());
        out.push('\'');
    }
    out.push(']');
}
