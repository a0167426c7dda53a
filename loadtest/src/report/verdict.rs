//! Whether the generator itself limited the run.

use super::Generator;
use crate::session::Run;
use crate::units::{show_count, show_nanoseconds};

/// The share of late or dropped starts from which on they are reported.
const LATE_SHARE: f64 = 0.001;
/// Workers that are busy for more of their time than this have nothing left.
const BUSY_SHARE: f64 = 0.9;

pub(super) fn generator(run: &Run) -> Generator {
    let total = &run.total;
    let due = (total.sent + total.dropped).max(1) as f64;
    let late = (total.late + total.dropped) as f64 / due;
    // What workers spend inside targets that run on their own threads is the target's.
    let own = (run.busy - run.inside).max(0.0);
    let mut verdict = Vec::new();
    let mut was_bottleneck = false;
    if !run.plan.arrivals.is_open() {
        verdict.push(
            "closed model: a start waits for the end of another, so pauses of the target are under-reported"
                .to_owned(),
        );
    } else if late > LATE_SHARE {
        let counts = format!(
            "{} starts were sent late and {} not at all, of {}",
            show_count(total.late as f64),
            show_count(total.dropped as f64),
            show_count(due),
        );
        let worst = show_nanoseconds(total.lateness.value_at_percentile(99.9) as f64);
        if let Some(congestion) = &run.congestion {
            was_bottleneck = true;
            verdict.push(format!("the generator was the bottleneck: {counts}; {congestion}"));
        } else if run.busy > BUSY_SHARE && own > run.busy / 2.0 {
            was_bottleneck = true;
            verdict.push(format!("the generator was the bottleneck: {counts}, and its threads had no time left; use more workers or another machine"));
        } else if run.busy > BUSY_SHARE {
            // A target that left processors idle could have used them.
            let left = run.processors.as_ref().filter(|_| run.inside > run.busy / 2.0);
            let hint = left.map_or(String::new(), |it| {
                format!("; with --workers {} it has all processors", it.workers.len() + it.others.len())
            });
            verdict.push(format!(
                "the target was the bottleneck: {counts}, while its threads were busy all the time{hint}"
            ));
        } else {
            verdict.push(format!("the machine paused the generator: {counts} (p99.9 {worst}), although its threads had time; what else runs here?"));
        }
    }
    let (workers, processors) = (run.workers, run.processors.clone());
    Generator { workers, processors, busy: run.busy, was_bottleneck, verdict, usage: run.usage }
}
