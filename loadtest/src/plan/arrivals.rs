//! When starts are due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arrivals::Curve;
use crate::units::{as_count, as_duration};

/// When starts are due. All but `closed` are open models: starts come at their times, whether the target keeps up or not.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "model", rename_all = "lowercase", deny_unknown_fields)]
pub enum Arrivals {
    /// A new start when another ended: the target sets the pace, and its pauses hide themselves.
    Closed {
        /// Starts under way at a time, of each worker; 0 for what suits the target.
        #[serde(default)]
        in_flight: usize,
    },
    /// Always the same rate.
    Constant {
        /// Starts a second.
        #[serde(with = "as_count")]
        rate: f64,
        /// Whether the gaps are those of independent users, instead of even.
        #[serde(default)]
        poisson: bool,
    },
    /// From one rate to another.
    Ramp {
        /// Starts a second at the beginning.
        #[serde(with = "as_count")]
        from: f64,
        /// Starts a second at the end.
        #[serde(with = "as_count")]
        to: f64,
        /// As above.
        #[serde(default)]
        poisson: bool,
    },
    /// A rate, in the middle of which a higher one begins and ends.
    Spike {
        /// Starts a second before and after.
        #[serde(with = "as_count")]
        base: f64,
        /// Starts a second meanwhile.
        #[serde(with = "as_count")]
        peak: f64,
        /// When it begins.
        #[serde(with = "as_duration")]
        at: Duration,
        /// How long it lasts.
        #[serde(with = "as_duration")]
        lasts: Duration,
        /// As above.
        #[serde(default)]
        poisson: bool,
    },
    /// Higher and higher, until more than a hundredth is dropped, late or broken.
    Steps {
        /// Starts a second of the first step.
        #[serde(with = "as_count")]
        from: f64,
        /// How many more with every step.
        #[serde(with = "as_count")]
        by: f64,
        /// How long a step lasts.
        #[serde(with = "as_duration")]
        every: Duration,
        /// As above.
        #[serde(default)]
        poisson: bool,
    },
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals::Closed { in_flight: 0 }
    }
}

impl Arrivals {
    /// What the open model's rate does over `duration`; none for the closed one.
    pub fn curve(&self, duration: Duration) -> Option<Curve> {
        let seconds = duration.as_secs_f64();
        Some(match *self {
            Arrivals::Closed { .. } => return None,
            Arrivals::Constant { rate, .. } => Curve::new([(seconds, rate, rate)]),
            Arrivals::Ramp { from, to, .. } => Curve::new([(seconds, from, to)]),
            Arrivals::Spike { base, peak, at, lasts, .. } => {
                let at = at.as_secs_f64().min(seconds);
                let lasts = lasts.as_secs_f64().min(seconds - at);
                Curve::new([(at, base, base), (lasts, peak, peak), (seconds - at - lasts, base, base)])
            }
            Arrivals::Steps { from, by, every, .. } => {
                let every = every.as_secs_f64();
                let steps = (seconds / every).ceil() as usize;
                let step = |n: usize| {
                    let rate = from + by * n as f64;
                    (every.min(seconds - n as f64 * every), rate, rate)
                };
                Curve::new((0..steps).map(step))
            }
        })
    }

    /// Whether the gaps are exponential.
    pub fn is_poisson(&self) -> bool {
        match *self {
            Arrivals::Closed { .. } => false,
            Arrivals::Constant { poisson, .. }
            | Arrivals::Ramp { poisson, .. }
            | Arrivals::Spike { poisson, .. }
            | Arrivals::Steps { poisson, .. } => poisson,
        }
    }

    /// Whether the rate is known before.
    pub fn is_open(&self) -> bool {
        !matches!(self, Arrivals::Closed { .. })
    }

    /// The highest rate that is named.
    pub fn rate_max(&self) -> f64 {
        match *self {
            Arrivals::Closed { .. } => 0.0,
            Arrivals::Constant { rate, .. } => rate,
            Arrivals::Ramp { from, to, .. } => from.max(to),
            Arrivals::Spike { base, peak, .. } => base.max(peak),
            Arrivals::Steps { from, by, .. } => from.max(by),
        }
    }

    /// Steps' length, if it is steps.
    pub fn step(&self) -> Option<Duration> {
        match *self {
            Arrivals::Steps { every, .. } => Some(every),
            _ => None,
        }
    }

    /// In words.
    pub fn describe(&self) -> String {
        use crate::units::show_count as show;
        let time = |time: Duration| crate::units::show_nanoseconds(time.as_nanos() as f64);
        let text = match *self {
            Arrivals::Closed { in_flight: 0 } => {
                return "closed model, as many in flight as suit the target".to_owned();
            }
            Arrivals::Closed { in_flight } => {
                return format!("closed model, {in_flight} in flight per worker");
            }
            Arrivals::Constant { rate, .. } => format!("constant {}/s", show(rate)),
            Arrivals::Ramp { from, to, .. } => format!("ramp from {}/s to {}/s", show(from), show(to)),
            Arrivals::Spike { base, peak, at, lasts, .. } => {
                let (at, lasts) = (time(at), time(lasts));
                format!("{}/s with a spike of {}/s after {at} for {lasts}", show(base), show(peak))
            }
            Arrivals::Steps { from, by, every, .. } => {
                format!("steps from {}/s by {}/s every {}", show(from), show(by), time(every))
            }
        };
        format!("open model, {text}, {}", if self.is_poisson() { "Poisson" } else { "even" })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match *self {
            Arrivals::Steps { every, .. } if every < Duration::from_millis(10) => {
                Err("arrivals: a step lasts 10 ms at least".to_owned())
            }
            Arrivals::Closed { .. } => Ok(()),
            _ if self.rate_max() < 1e-3 => Err("arrivals: a rate is more than 0".to_owned()),
            _ => Ok(()),
        }
    }
}
