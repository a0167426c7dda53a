//! What becomes of events when a pipeline is stopped.

use std::time::Duration;

use expressway::pipe::{Attempts, Pipe};

use super::lines::{Broker, JUDGE, engine, paused};

#[test]
fn a_pipeline_that_is_stopped_finishes_what_is_under_way_and_leaves_the_rest() {
    let (report, source) = paused(async {
        let (engine, machine) = engine(JUDGE);
        // Without attempts to wait for, the source would be asked for ever.
        let source = Broker::with([r#"{"n":0}"#.to_owned(), r#"{"bad":1}"#.to_owned()]);
        let delay = Duration::from_secs(3_600);
        let attempts = Attempts { max: 9, delay, delay_max: delay };
        let pipe = Pipe::new(engine, machine, source.clone()).attempts(attempts);
        let (stop, seen) = (pipe.stopper(), source.clone());
        tokio::spawn(async move {
            // One is done, and one is given back.
            while seen.settled().len() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.stop();
        });
        (pipe.run().await.expect("it ends well"), source)
    });
    assert_eq!((report.received, report.succeeded, report.again, report.dead), (2, 1, 1, 0));
    assert_eq!(source.waiting(), 1, "the event that failed waits at its source");
}

#[test]
fn what_is_not_finished_in_time_is_counted_and_stays_with_its_source() {
    let report = paused(async {
        let (engine, machine) = engine(
            r#"{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}"#,
        );
        let source = Broker::with((0..3).map(|n| format!(r#"{{"n":{n}}}"#)));
        let pipe = Pipe::new(engine, machine, source).grace(Duration::from_secs(1));
        let stop = pipe.stopper();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.stop();
        });
        pipe.run().await.expect("it ends well")
    });
    assert_eq!((report.received, report.succeeded, report.left), (3, 0, 3));
}
