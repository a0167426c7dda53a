//! How long single events take: a sample that stays small however many there are.

use std::time::{Duration, Instant};

/// Times of every n-th event. When the sample is full, every second time is forgotten and n doubles.
pub(super) struct Latency {
    times: Vec<Duration>,
    stride: u32,
    /// Events until the next one is timed.
    wait: u32,
}

const SAMPLE_MAX: usize = 1 << 15;
/// Looking at the clock twice costs 50 ns, a tenth of a small workflow; spread over this many events it is nothing.
const STRIDE_AT_FIRST: u32 = 8;

impl Latency {
    pub(super) fn new() -> Latency {
        Latency { times: Vec::with_capacity(SAMPLE_MAX), stride: STRIDE_AT_FIRST, wait: 0 }
    }

    /// The time, if the event to come is to be timed.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<Instant> {
        if self.wait > 0 {
            self.wait -= 1;
            return None;
        }
        self.wait = self.stride - 1;
        Some(Instant::now())
    }

    /// The event that began then is over.
    #[inline]
    pub(super) fn end(&mut self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.keep(begun.elapsed());
        }
    }

    fn keep(&mut self, time: Duration) {
        if self.times.len() == SAMPLE_MAX {
            let mut keep = false;
            self.times.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.saturating_mul(2);
        }
        self.times.push(time);
    }

    /// The times below which these shares of the events lie, such as 0.5 and 0.99. Nothing when none was timed.
    pub(super) fn quantiles<const N: usize>(&mut self, shares: [f64; N]) -> Option<[Duration; N]> {
        self.times.sort_unstable();
        let last = self.times.len().checked_sub(1)?;
        Some(shares.map(|share| self.times[((last as f64 * share).round() as usize).min(last)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_sample_that_was_thinned_out() {
        let mut latency = Latency::new();
        for n in 0..4 * SAMPLE_MAX as u64 {
            latency.keep(Duration::from_nanos(n));
        }
        assert!(latency.times.len() <= SAMPLE_MAX && latency.stride > STRIDE_AT_FIRST);
        let [all] = latency.quantiles([1.0]).expect("times were kept");
        assert_eq!(all, Duration::from_nanos(4 * SAMPLE_MAX as u64 - 1));
        assert_eq!(Latency::new().quantiles([0.5]), None);
    }
}
