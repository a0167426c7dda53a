//! Runs, and whether they account for every start.

use std::sync::atomic::AtomicBool;

use loadtest::plan::Plan;
use loadtest::session::{self, Run};

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan) -> Run {
    session::run(plan, &AtomicBool::new(false), &mut |_| {}).expect("a run")
}

/// Every start that was due is accounted for, once; so is every latency.
pub(crate) fn account(run: &Run) {
    let total = &run.total;
    assert_eq!(total.sent, total.over() + run.unfinished as u64, "{total:?}");
    assert_eq!(total.latency.len(), total.completed());
    if let Some(curve) = run.plan.arrivals.curve(run.plan.duration)
        && !run.plan.arrivals.is_poisson()
    {
        // The curve's last start may be on its edge, for each worker.
        let due = (total.sent + total.dropped) as f64;
        assert!((due - curve.starts()).abs() <= run.workers as f64, "{due} of {}", curve.starts());
    }
}
