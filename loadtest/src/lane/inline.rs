//! Starts that are carried out on the sender's own thread.

use std::hint::black_box;
use std::sync::Arc;

use expressway::engine::Outcome;
use expressway::program::Program;
use expressway::runtime::RealClock;
use expressway::runtime::inline::Driver;

use super::{Clock, Lane, Simulated};
use crate::inputs::Inputs;
use crate::record::{End, Interval, Stamp};

/// Does nothing, so that what is left is what the generator costs.
#[derive(Debug)]
pub struct Empty {
    inputs: Inputs,
    clock: Clock,
}

impl Empty {
    /// A lane to nowhere.
    pub fn new(inputs: Inputs, clock: Clock) -> Empty {
        Empty { inputs, clock }
    }
}

impl Lane for Empty {
    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64 {
        let input = black_box(self.inputs.get(n));
        interval.sent(stamp, input.len());
        let now = self.clock.now();
        interval.ended(stamp, now, End::Succeeded, 0);
        now
    }
}

/// The in-line driver: bytes to bytes.
pub struct InLine {
    driver: Driver<RealClock>,
    inputs: Inputs,
    output: Vec<u8>,
    clock: Clock,
}

impl InLine {
    /// A separate driver for one worker.
    pub fn new(program: Arc<Program>, inputs: Inputs, tasks: Simulated, clock: Clock) -> InLine {
        let driver = Driver::with_tasks(program, RealClock, Box::new(tasks));
        InLine { driver, inputs, output: Vec::new(), clock }
    }
}

impl Lane for InLine {
    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64 {
        let input = self.inputs.get(n);
        interval.sent(stamp, input.len());
        self.output.clear();
        let end = match self.driver.run(input) {
            Ok(ended) => {
                ended.write_output(&mut self.output);
                match ended.outcome() {
                    Outcome::Succeeded(_) => End::Succeeded,
                    Outcome::Failed(fault) => {
                        interval.problem(stamp, fault.error.as_deref().unwrap_or("failed without a name"));
                        End::Failed
                    }
                    Outcome::TimedOut => End::TimedOut,
                    Outcome::Aborted(_) => End::Aborted,
                }
            }
            Err(error) => {
                interval.problem(stamp, &error.to_string());
                End::Refused
            }
        };
        black_box(&self.output);
        let now = self.clock.now();
        interval.ended(stamp, now, end, self.output.len());
        now
    }
}
