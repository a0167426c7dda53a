//! The records of starts, and how they are merged.
//!
//! Each worker writes into its own [`Interval`]; several times a second it hands that over and begins another, so
//! nothing is shared while starting.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The execution succeeded.
    Succeeded,
    /// The execution failed, as a workflow may.
    Failed,
    /// The execution's time was over.
    TimedOut,
    /// The execution was aborted.
    Aborted,
    /// The target had no room for it.
    Refused,
    /// No answer, or one that makes no sense: connections that break, garbage, no answer in time.
    Broken,
}

/// Different messages of problems that are kept; further ones are counted together.
const PROBLEMS_MAX: usize = 20;

/// What happened to one target between two looks, all in nanoseconds.
#[derive(Clone, Debug)]
pub struct Interval {
    /// From when a start was due to its end.
    pub latency: Histogram<u64>,
    /// From when it was really sent to its end.
    pub service: Histogram<u64>,
    /// From when it was due to when it was sent.
    pub lateness: Histogram<u64>,
    /// Starts that were sent.
    pub sent: u64,
    /// Those sent later than the plan's `late_after`.
    pub late: u64,
    /// Starts that were due and never sent.
    pub dropped: u64,
    /// Ends, by [`End`].
    pub ends: [u64; 6],
    /// Bytes of inputs sent.
    pub input_bytes: u64,
    /// Bytes of outputs, or of answers.
    pub output_bytes: u64,
    /// Durations in steps of 100 ms, each begun one whole, as AWS bills them.
    pub billed_steps: u64,
    /// What went wrong, in words, and how often.
    pub problems: BTreeMap<String, u64>,
    /// Starts later than this are late.
    late_after: u64,
    /// Starts that were due before this are not measured.
    from: u64,
}

/// One start: when it was due and when it was sent, in nanoseconds since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was due.
    pub due: u64,
    /// When it was sent.
    pub sent: u64,
}

fn histogram() -> Histogram<u64> {
    let Ok(histogram) = Histogram::new(3) else { unreachable!("three digits are among the allowed") };
    histogram
}

impl Interval {
    /// One in which nothing happened yet. Sends later than `late_after` are late, and starts due before `from` are left out.
    pub fn new(late_after: u64, from: u64) -> Interval {
        Interval {
            latency: histogram(),
            service: histogram(),
            lateness: histogram(),
            sent: 0,
            late: 0,
            dropped: 0,
            ends: [0; 6],
            input_bytes: 0,
            output_bytes: 0,
            billed_steps: 0,
            problems: BTreeMap::new(),
            late_after,
            from,
        }
    }

    /// A start was sent.
    pub fn sent(&mut self, stamp: Stamp, input_bytes: usize) {
        if stamp.due < self.from {
            return;
        }
        let lateness = stamp.sent.saturating_sub(stamp.due);
        record(&mut self.lateness, lateness);
        self.sent += 1;
        self.late += u64::from(lateness > self.late_after);
        self.input_bytes += input_bytes as u64;
    }

    /// It ended, and there was an answer. Only what the target really carried out has a latency: refusals and breaks are
    /// counted alone.
    pub fn ended(&mut self, stamp: Stamp, now: u64, end: End, output_bytes: usize) {
        if stamp.due < self.from {
            return;
        }
        self.ends[end as usize] += 1;
        if matches!(end, End::Refused | End::Broken) {
            return;
        }
        let service = now.saturating_sub(stamp.sent);
        record(&mut self.latency, now.saturating_sub(stamp.due));
        record(&mut self.service, service);
        self.output_bytes += output_bytes as u64;
        self.billed_steps += 1 + service.saturating_sub(1) / 100_000_000;
    }

    /// It did not come through, for a reason that is worth words.
    pub fn refused(&mut self, stamp: Stamp, end: End, problem: &str) {
        if stamp.due >= self.from {
            self.ends[end as usize] += 1;
            self.problems(problem, 1);
        }
    }

    /// Starts that were due and are never sent.
    pub fn dropped(&mut self, due: u64, count: u64) {
        if due >= self.from {
            self.dropped += count;
        }
    }

    /// Counts what went wrong with a start that ended, in words.
    pub fn problem(&mut self, stamp: Stamp, text: &str) {
        if stamp.due >= self.from {
            self.problems(text, 1);
        }
    }

    fn problems(&mut self, text: &str, count: u64) {
        let is_known = self.problems.contains_key(text);
        let text = if is_known || self.problems.len() < PROBLEMS_MAX { text } else { "others" };
        match self.problems.get_mut(text) {
            Some(known) => *known += count,
            None => drop(self.problems.insert(text.to_owned(), count)),
        }
    }

    /// How many ended so.
    pub fn count(&self, end: End) -> u64 {
        self.ends[end as usize]
    }

    /// Executions that ended by themselves: succeeded, failed, timed out, aborted.
    pub fn completed(&self) -> u64 {
        self.ends[..4].iter().sum()
    }

    /// All that ended, however.
    pub fn over(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// Ends that are no success.
    pub fn errors(&self) -> u64 {
        self.over() - self.count(End::Succeeded)
    }

    /// Adds what happened elsewhere, or later.
    pub fn add(&mut self, other: &Interval) {
        for (mine, others) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            // Histograms that grow take any range.
            let added = mine.add(others);
            debug_assert!(added.is_ok());
        }
        self.sent += other.sent;
        self.late += other.late;
        self.dropped += other.dropped;
        for (mine, others) in self.ends.iter_mut().zip(&other.ends) {
            *mine += others;
        }
        self.input_bytes += other.input_bytes;
        self.output_bytes += other.output_bytes;
        self.billed_steps += other.billed_steps;
        for (text, count) in &other.problems {
            self.problems(text, *count);
        }
    }

    /// Whether nothing happened.
    pub fn is_blank(&self) -> bool {
        self.sent == 0 && self.dropped == 0 && self.over() == 0 && self.problems.is_empty()
    }

    /// Forgets what happened, and keeps the memory: a sender that has to ask the system for some is late meanwhile.
    pub fn clear(&mut self) {
        for histogram in [&mut self.latency, &mut self.service, &mut self.lateness] {
            histogram.reset();
        }
        (self.sent, self.late, self.dropped, self.ends) = (0, 0, 0, [0; 6]);
        (self.input_bytes, self.output_bytes, self.billed_steps) = (0, 0, 0);
        self.problems.clear();
    }

    /// Gives what happened, and begins anew.
    pub fn take(&mut self) -> Interval {
        let fresh = Interval::new(self.late_after, self.from);
        std::mem::replace(self, fresh)
    }
}

/// Writes one value down: a shift, a comparison and an addition.
fn record(histogram: &mut Histogram<u64>, value: u64) {
    // One that grows on its own takes any value; it has none of the 64 bits that it cannot hold.
    let _ = histogram.record(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_start_is_late_in_the_latency_and_not_in_the_service() {
        let mut interval = Interval::new(1_000_000, 0);
        let stamp = Stamp { due: 0, sent: 5_000_000 };
        interval.sent(stamp, 200);
        interval.ended(stamp, 6_000_000, End::Succeeded, 100);
        assert_eq!((interval.sent, interval.late, interval.completed()), (1, 1, 1));
        assert!(interval.latency.max() >= 6_000_000 && interval.service.max() < 1_010_000);
        assert_eq!(interval.billed_steps, 1);
    }

    #[test]
    fn what_was_due_in_the_warm_up_is_not_counted() {
        let mut interval = Interval::new(0, 100);
        let stamp = Stamp { due: 99, sent: 200 };
        interval.sent(stamp, 1);
        interval.ended(stamp, 300, End::Failed, 1);
        interval.problem(stamp, "it failed");
        interval.refused(stamp, End::Broken, "it broke");
        interval.dropped(stamp.due, 1);
        assert!(interval.is_blank(), "{interval:?}");
    }

    #[test]
    fn refusals_have_no_latency() {
        let mut interval = Interval::new(0, 0);
        interval.ended(Stamp { due: 0, sent: 0 }, 10, End::Refused, 0);
        interval.ended(Stamp { due: 0, sent: 0 }, 10, End::Broken, 0);
        assert_eq!((interval.latency.len(), interval.over(), interval.errors()), (0, 2, 2));
    }

    #[test]
    fn every_begun_step_of_100_ms_is_billed() {
        let mut interval = Interval::new(0, 0);
        for (ms, steps) in [(0, 1), (1, 2), (100, 3), (101, 5), (200, 7)] {
            interval.ended(Stamp { due: 0, sent: 0 }, ms * 1_000_000, End::Succeeded, 0);
            assert_eq!(interval.billed_steps, steps, "{ms} ms");
        }
    }

    #[test]
    fn adding_loses_nothing_and_problems_stay_few() {
        let (mut all, mut one) = (Interval::new(0, 0), Interval::new(0, 0));
        for n in 0..100 {
            one.problem(Stamp { due: 0, sent: 0 }, &format!("problem {n}"));
            one.ended(Stamp { due: 0, sent: 0 }, 1 << n.min(40), End::Failed, 1);
        }
        all.add(&one);
        all.add(&one.take());
        assert!(one.is_blank() && !all.is_blank());
        assert_eq!((all.latency.len(), all.count(End::Failed)), (200, 200));
        assert_eq!(all.problems.values().sum::<u64>(), 200);
        assert!(all.problems.len() <= PROBLEMS_MAX + 1);
        all.sent(Stamp { due: 0, sent: 1 }, 1);
        all.dropped(0, 1);
        all.clear();
        assert!(all.is_blank() && all.latency.is_empty() && all.lateness.is_empty());
        assert_eq!((all.output_bytes, all.billed_steps), (0, 0));
    }
}
