//! The latency of single events: a sample of bounded size.

use std::time::Duration;

/// Times of some events. When the sample is full, every second time is dropped, also of later ones.
pub(super) struct Latency {
    times: Vec<Duration>,
    stride: u32,
    /// Times to skip before the next one is kept.
    wait: u32,
}

const SAMPLE_MAX: usize = 1 << 15;

impl Latency {
    pub(super) fn new() -> Latency {
        Latency { times: Vec::new(), stride: 1, wait: 0 }
    }

    /// Adds the time of an event.
    pub(super) fn add(&mut self, time: Duration) {
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        if self.times.len() == SAMPLE_MAX {
            let mut keep = false;
            self.times.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.saturating_mul(2);
        }
        self.wait = self.stride - 1;
        self.times.push(time);
    }

    /// The times below which these shares of the events are, such as 0.5 and 0.99. `None` when none was timed.
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
            latency.add(Duration::from_nanos(n));
        }
        assert!(latency.times.len() <= SAMPLE_MAX);
        let [half] = latency.quantiles([0.5]).expect("times were kept");
        assert!(half.as_nanos().abs_diff(2 * SAMPLE_MAX as u128) < 16, "{half:?}");
        assert_eq!(Latency::new().quantiles([0.5]), None);
    }
}
