//! Sets of characters, and which characters are equal without regard to case.

use std::sync::LazyLock;

/// The greatest code point.
const LAST: u32 = 0x10_FFFF;

/// A set of characters: ranges of code points in order, neither overlapping nor adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    ranges: Vec<(u32, u32)>,
}

impl Set {
    /// From ranges in any order.
    pub(super) fn new(mut ranges: Vec<(u32, u32)>) -> Set {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        Set { ranges: merged }
    }

    pub(super) fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    pub(super) fn complement(&self) -> Set {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut from = 0;
        for &(low, high) in &self.ranges {
            if low > from {
                ranges.push((from, low - 1));
            }
            from = high + 1;
        }
        if from <= LAST {
            ranges.push((from, LAST));
        }
        Set { ranges }
    }

    /// With all characters that are equal to one of the set without regard to case.
    pub(super) fn any_case(&self) -> Set {
        let mut ranges = self.ranges.clone();
        for &(low, high) in &self.ranges {
            let inside = low..=high;
            for case in between(&CASES.by_char, low, high) {
                if inside.contains(&case.least) && inside.contains(&case.greatest) {
                    continue;
                }
                let from = CASES.by_canonical.partition_point(|&(upper, _)| upper < case.canonical);
                let equal = CASES.by_canonical[from..].iter().take_while(|row| row.0 == case.canonical);
                ranges.extend(equal.map(|&(_, c)| (c, c)));
            }
        }
        Set::new(ranges)
    }

    pub(super) fn contains(&self, c: char) -> bool {
        let c = u32::from(c);
        let behind = self.ranges.partition_point(|&(low, _)| low <= c);
        behind > 0 && c <= self.ranges[behind - 1].1
    }
}

/// The form by which JavaScript compares characters without regard to case: its `Canonicalize` without the flag `u`.
/// Characters outside the Basic Multilingual Plane are two units there, which have no case.
pub(super) fn canonical(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        // What is not ASCII never equals what is.
        (Some(upper), None) if c.len_utf16() == 1 && upper.len_utf16() == 1 && !upper.is_ascii() => upper,
        _ => c,
    }
}

/// A character of one unit that is equal to others.
#[derive(Clone, Copy)]
struct Case {
    c: u32,
    canonical: u32,
    /// Of those that are equal.
    least: u32,
    greatest: u32,
}

struct Cases {
    by_char: Vec<Case>,
    /// Canonical forms, each with the characters that have it, itself too.
    by_canonical: Vec<(u32, u32)>,
}

static CASES: LazyLock<Cases> = LazyLock::new(|| {
    let small = (0..=0xFFFF).filter_map(char::from_u32).filter(|&c| canonical(c) != c);
    let mut by_canonical: Vec<(u32, u32)> = small
        .flat_map(|c| {
            let upper = u32::from(canonical(c));
            [(upper, u32::from(c)), (upper, upper)]
        })
        .collect();
    by_canonical.sort_unstable();
    by_canonical.dedup();
    let equal = by_canonical.chunk_by(|a, b| a.0 == b.0).flat_map(|equal| {
        let (least, greatest) = (equal[0].1, equal[equal.len() - 1].1);
        equal.iter().map(move |&(canonical, c)| Case { c, canonical, least, greatest })
    });
    let mut by_char: Vec<Case> = equal.collect();
    by_char.sort_unstable_by_key(|case| case.c);
    Cases { by_char, by_canonical }
});

/// The cases of the characters of a range.
fn between(cases: &[Case], low: u32, high: u32) -> &[Case] {
    let from = cases.partition_point(|case| case.c < low);
    &cases[from..from + cases[from..].partition_point(|case| case.c <= high)]
}
