//! When starts are due: the open model.
//!
//! A [`Curve`] is the rate over time, in linear pieces. The n-th start is due when the area below the curve reaches n;
//! for a Poisson process the steps between the areas are exponential instead of one. Workers share a curve by taking
//! every n-th start each, or, for Poisson, steps that are so much longer.

use std::sync::Arc;

/// How the rate of starts goes over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from_s: f64,
    seconds: f64,
    /// Starts per second at its beginning, and how much more of them with every second.
    rate: f64,
    slope: f64,
    /// Starts due before it.
    before: f64,
}

impl Piece {
    fn starts(&self) -> f64 {
        (self.rate + self.slope * self.seconds / 2.0) * self.seconds
    }

    /// When, within the piece, so many of its starts are due.
    fn at(&self, starts: f64) -> f64 {
        if self.slope == 0.0 {
            return starts / self.rate;
        }
        // rate·t + slope·t²/2 = starts, in the form that does not cancel.
        let root = (self.rate * self.rate + 2.0 * self.slope * starts).max(0.0).sqrt();
        2.0 * starts / (self.rate + root)
    }
}

impl Curve {
    /// A curve of pieces: seconds, and the rates at the beginning and the end of each.
    pub fn new(pieces: impl IntoIterator<Item = (f64, f64, f64)>) -> Curve {
        let (mut from_s, mut before) = (0.0, 0.0);
        let mut made = Vec::new();
        for (seconds, rate, to) in pieces {
            if seconds <= 0.0 {
                continue;
            }
            let piece = Piece { from_s, seconds, rate, slope: (to - rate) / seconds, before };
            from_s += seconds;
            before += piece.starts();
            made.push(piece);
        }
        Curve { pieces: made }
    }

    /// The same, after so many seconds at the rate it begins with.
    #[must_use]
    pub fn after(&self, seconds: f64) -> Curve {
        let rate = self.rate_at(0.0);
        let pieces = self.pieces.iter().map(|it| (it.seconds, it.rate, it.rate + it.slope * it.seconds));
        Curve::new(std::iter::once((seconds, rate, rate)).chain(pieces))
    }

    /// How long it is, in seconds.
    pub fn seconds(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.from_s + last.seconds)
    }

    /// How many starts there are in all.
    pub fn starts(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.before + last.starts())
    }

    /// How many starts are due up to a time.
    pub fn starts_until(&self, seconds: f64) -> f64 {
        let piece = self.pieces.iter().rev().find(|piece| piece.from_s <= seconds);
        piece.map_or(0.0, |piece| {
            let inside = (seconds - piece.from_s).min(piece.seconds);
            piece.before + (piece.rate + piece.slope * inside / 2.0) * inside
        })
    }

    /// The rate at a time, in starts per second.
    pub fn rate_at(&self, seconds: f64) -> f64 {
        let piece = self.pieces.iter().rev().find(|piece| piece.from_s <= seconds);
        piece.map_or(0.0, |piece| piece.rate + piece.slope * (seconds - piece.from_s).min(piece.seconds))
    }
}

/// Starts before an edge that are counted one by one, where rounding decides on which side they are.
const NEAR: f64 = 3.0;

/// The starts of one worker, in order.
#[derive(Debug)]
pub struct Pace {
    curve: Arc<Curve>,
    piece: usize,
    /// The area below the curve at which the next start is due.
    area: f64,
    step: f64,
    random: Option<fastrand::Rng>,
    next: Option<u64>,
}

impl Pace {
    /// The starts of worker `worker` of `workers`; Poisson with `seed`, else even.
    pub fn new(curve: &Arc<Curve>, worker: usize, workers: usize, poisson: Option<u64>) -> Pace {
        let random = poisson.map(|seed| fastrand::Rng::with_seed(seed ^ (worker as u64 + 1) << 32));
        let (worker, workers) = (worker as f64, workers as f64);
        let mut pace =
            Pace { curve: Arc::clone(curve), piece: 0, area: worker, step: workers, random, next: None };
        if pace.random.is_some() {
            pace.area = 0.0;
            pace.area += pace.stride();
        }
        pace.next = pace.due();
        pace
    }

    /// When the next start is due, in nanoseconds since the beginning of the curve.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Moves to the next start.
    pub fn advance(&mut self) {
        self.area += self.stride();
        self.next = self.due();
    }

    /// How many starts are due before `nanoseconds`, from the next on; moves behind them. If they are many, a Poisson
    /// process is approximated by its mean.
    pub fn skip_until(&mut self, nanoseconds: u64) -> u64 {
        // A leap first: an unsendable rate leaves too many behind to be counted one by one.
        let area = self.curve.starts_until(nanoseconds as f64 / 1e9) - self.area;
        let mut skipped = ((area / self.step).floor() - NEAR).max(0.0) as u64;
        if skipped > 0 {
            self.area += skipped as f64 * self.step;
            self.next = self.due();
        }
        while self.next.is_some_and(|next| next < nanoseconds) {
            self.advance();
            skipped += 1;
        }
        skipped
    }

    fn stride(&mut self) -> f64 {
        match &mut self.random {
            None => self.step,
            // `f64` is below 1, so the logarithm is finite.
            Some(random) => -(1.0 - random.f64()).ln() * self.step,
        }
    }

    fn due(&mut self) -> Option<u64> {
        loop {
            let piece = self.curve.pieces.get(self.piece)?;
            let inside = self.area - piece.before;
            if inside < piece.starts() {
                return Some(((piece.from_s + piece.at(inside)) * 1e9) as u64);
            }
            self.piece += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(curve: Curve, workers: usize, poisson: Option<u64>) -> Vec<u64> {
        let curve = Arc::new(curve);
        let mut due = Vec::new();
        for worker in 0..workers {
            let mut pace = Pace::new(&curve, worker, workers, poisson);
            while let Some(next) = pace.next() {
                due.push(next);
                pace.advance();
            }
        }
        due.sort_unstable();
        due
    }

    #[test]
    fn a_constant_rate_is_even_whoever_shares_it() {
        let due = all(Curve::new([(1.0, 1_000.0, 1_000.0)]), 3, None);
        assert_eq!(due.len(), 1_000);
        assert!(due.iter().enumerate().all(|(n, &at)| at.abs_diff(n as u64 * 1_000_000) <= 1));
    }

    #[test]
    fn a_ramp_has_its_starts_where_the_rate_is_high() {
        let curve = Curve::new([(10.0, 0.0, 1_000.0)]);
        assert_eq!(curve.starts(), 5_000.0);
        assert_eq!(curve.rate_at(5.0), 500.0);
        let due = all(curve, 2, None);
        assert_eq!(due.len(), 5_000);
        // A quarter of the area is in the first half.
        assert_eq!(due.iter().filter(|&&at| at < 5_000_000_000).count(), 1_250);
        assert!(due.last().is_some_and(|&at| at < 10_000_000_000));
    }

    #[test]
    fn pieces_follow_each_other() {
        let due = all(Curve::new([(1.0, 100.0, 100.0), (1.0, 1_000.0, 1_000.0), (1.0, 0.0, 0.0)]), 1, None);
        assert_eq!(due.len(), 1_100);
        assert_eq!(due.iter().filter(|&&at| at < 1_000_000_000).count(), 100);
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread_and_follows_from_its_seed() {
        let curve = || Curve::new([(20.0, 1_000.0, 1_000.0)]);
        let due = all(curve(), 4, Some(7));
        // Five standard deviations.
        assert!((due.len() as f64 - 20_000.0).abs() < 5.0 * 20_000f64.sqrt(), "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let spread = variance.sqrt() / mean;
        assert!((0.95..1.05).contains(&spread), "{spread}");
        assert_eq!(due, all(curve(), 4, Some(7)));
        assert_ne!(due, all(curve(), 4, Some(8)));
    }

    #[test]
    fn what_is_not_sent_can_be_counted() {
        let mut pace = Pace::new(&Arc::new(Curve::new([(1.0, 1_000.0, 1_000.0)])), 0, 1, None);
        assert_eq!(pace.skip_until(500_000_000), 500);
        assert_eq!(pace.skip_until(u64::MAX), 500);
        assert_eq!(pace.next(), None);
    }

    #[test]
    fn what_is_left_behind_is_counted_at_once_however_much_it_is() {
        let curve = Arc::new(Curve::new([(1.0, 1e9, 1e9), (100.0, 0.0, 1e9)]));
        let mut pace = Pace::new(&curve, 0, 2, None);
        assert_eq!(pace.skip_until(500_000_000), 250_000_000);
        assert!(pace.next().is_some_and(|next| next >= 500_000_000));
        assert_eq!(pace.skip_until(u64::MAX), 250_000_000 + 25_000_000_000);
        let mut pace = Pace::new(&curve, 0, 1, Some(1));
        let skipped = pace.skip_until(1_000_000_000) as f64;
        assert!((skipped / 1e9 - 1.0).abs() < 1e-3, "{skipped}");
    }
}
