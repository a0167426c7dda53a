//! Turns: busy executions leave others their share, and can be aborted wherever they are.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use expressway::runtime::{Budgets, Engine, Limit, Machine, ManualTime, Simulation, StartError, Status};

use super::required::step;

const NOW_MS: u64 = 1_700_000_000_000;
/// Turns of a shard, each of about a millisecond, after which a start that takes no time must be over.
const TURNS_MAX: u32 = 20;

const LOOP: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Choice",
    "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "C"}], "Default": "A"}, "C": {"Type": "Succeed"}}}"#;
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const NAP: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "P"},
    "P": {"Type": "Pass", "End": true}}}"#;

struct World {
    engine: Engine,
    simulation: Simulation,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let time = ManualTime::at(NOW_MS);
        let (engine, simulation) = Engine::builder().seed(1).shards(1).time(time).simulate().unwrap();
        World { engine, simulation, now_ms: NOW_MS }
    }

    fn machine(&self, name: &str, definition: &str) -> Machine {
        self.engine.create_state_machine(name, definition).unwrap()
    }

    /// Starts so many endless executions, and lets the shard measure them.
    fn crowd(&mut self, machine: &Machine, executions: usize) {
        let batch = self.engine.start_batch(machine, std::iter::repeat_n("{}", executions));
        assert_eq!(batch.counts().accepted, executions as u64);
        for _ in 0..100 {
            self.turn();
        }
    }

    fn turn(&mut self) -> bool {
        self.simulation.shards()[0].turn(self.now_ms)
    }

    /// How many turns it takes until that is so.
    fn turns_until(&mut self, is_so: impl Fn() -> bool) -> u32 {
        (1..=1_000)
            .find(|_| {
                self.turn();
                is_so()
            })
            .expect("it never comes to that")
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn loops_keep_nobody_from_beginning() {
    for crowd in [10, 1_000] {
        let mut world = World::new();
        let spins = world.machine("spins", LOOP);
        world.crowd(&spins, crowd);
        let other = world.machine("other", PASS);
        let handle = world.engine.start(&other, "{}").unwrap();
        let turns = world.turns_until(|| handle.status() == Status::Succeeded);
        assert!(turns <= TURNS_MAX, "{crowd} loops: {turns} turns");
    }
}

/// Those of the same machine wait their turn among the others, not until all are over.
#[test]
fn loops_do_not_keep_those_of_their_own_machine_from_beginning() {
    let mut world = World::new();
    let machine = world.machine("either", LOOP);
    world.crowd(&machine, 1_000);
    let handle = world.engine.start(&machine, r#"{"end": 1}"#).unwrap();
    let turns = world.turns_until(|| handle.status() == Status::Succeeded);
    assert!(turns <= TURNS_MAX, "{turns} turns");
}

/// Timers of a machine that behaves fire in time beside them.
#[test]
fn loops_keep_nobody_from_going_on() {
    let mut world = World::new();
    let (spins, naps) = (world.machine("spins", LOOP), world.machine("naps", NAP));
    let handle = world.engine.start(&naps, "{}").unwrap();
    world.turn();
    world.crowd(&spins, 1_000);
    assert_eq!(handle.status(), Status::Running);
    world.now_ms += 1_000;
    let turns = world.turns_until(|| handle.status() == Status::Succeeded);
    assert!(turns <= TURNS_MAX, "{turns} turns");
}

/// A flood of starts that wait is no wall before the start of another machine.
#[test]
fn a_flood_of_starts_is_no_wall() {
    let mut world = World::new();
    let (spins, other) = (world.machine("spins", LOOP), world.machine("other", PASS));
    let _flood: Vec<_> = (0..20_000).map(|_| world.engine.start(&spins, "{}").unwrap()).collect();
    let handle = world.engine.start(&other, "{}").unwrap();
    let turns = world.turns_until(|| handle.status() == Status::Succeeded);
    assert!(turns <= TURNS_MAX, "{turns} turns");
}

#[test]
fn loops_are_stopped_and_time_out_in_time() {
    let mut world = World::new();
    let spins = world.machine("spins", LOOP);
    let handle = world.engine.start(&spins, "{}").unwrap();
    world.crowd(&spins, 200);
    handle.abort();
    assert!(world.turns_until(|| handle.status() == Status::Aborted) <= 1);
    world.now_ms += 300_000;
    let engine = world.engine.clone();
    assert!(world.turns_until(|| engine.counts().timed_out == 200) <= TURNS_MAX);
    assert_eq!(world.engine.usage(), (0, 0));
}

/// Also those that wait for a place of a machine whose executions are all in the midst of an expression.
#[test]
fn what_waits_to_begin_is_stopped_in_time() {
    let computes = r#"{"StartAt": "P", "QueryLanguage": "JSONata", "States": {"P": {"Type": "Pass", "End": true,
        "Output": "{% $sum([1..20000].($sum([1..2000].($ * 2)))) %}"}}}"#;
    let mut world = World::new();
    let machine = world.machine("computes", computes);
    let handles: Vec<_> = (0..40).map(|_| world.engine.start(&machine, "{}").unwrap()).collect();
    for _ in 0..20 {
        world.turn();
    }
    for handle in handles.iter().rev() {
        handle.abort();
        let turns = world.turns_until(|| handle.status() == Status::Aborted);
        assert!(turns <= 1, "{turns} turns");
    }
    assert_eq!(world.engine.usage(), (0, 0));
}

/// One that is waited for begins on the thread of its caller, and moves to a shard when it is long.
#[test]
fn a_long_run_leaves_the_thread_of_its_caller() {
    let mut world = World::new();
    let spins = world.machine("spins", LOOP);
    for _ in 0..2 {
        let mut run = Box::pin(world.engine.run(&spins, "{}"));
        for _ in 0..3 {
            assert!(poll(run.as_mut()).is_pending());
            world.simulation.shards()[0].turn(world.now_ms);
        }
        assert_eq!(world.simulation.shards()[0].executions(), 1);
        drop(run);
        world.simulation.shards()[0].turn(world.now_ms);
        assert_eq!(world.engine.usage(), (0, 0), "nobody waits for it any more");
    }
    let counts = world.engine.counts();
    assert_eq!((counts.accepted, counts.aborted), (2, 2));
    let pass = world.machine("pass", PASS);
    assert!(poll(pin!(world.engine.run(&pass, "{}"))).is_ready());
}

/// While draining, what does not end by itself times out; and when the engine is dropped, nothing is left.
#[test]
fn loops_end_with_the_engine() {
    let mut world = World::new();
    let spins = world.machine("spins", LOOP);
    world.crowd(&spins, 1_000);
    let engine = world.engine.clone();
    let mut drain = Box::pin(async move { engine.drain(std::time::Duration::from_secs(5)).await });
    assert!(poll(drain.as_mut()).is_pending());
    world.turn();
    assert!(poll(drain.as_mut()).is_pending());
    world.now_ms += 5_000;
    world.turn();
    let Poll::Ready(counts) = poll(drain.as_mut()) else { panic!("the time is over") };
    assert_eq!(counts.timed_out, 1_000);
}

// ---- inside of an expression ----

/// One state whose expression takes so many times a millisecond of work, about.
fn bomb(milliseconds: u32) -> String {
    let n = milliseconds * 20;
    format!(
        r#"{{"QueryLanguage": "JSONata", "StartAt": "P", "States": {{"P": {{"Type": "Pass", "End": true,
            "Output": "{{% $sum([1..{n}].($sum([1..200].($ * 2)))) %}}"}}}}}}"#
    )
}

fn bomb_output(milliseconds: u32) -> String {
    (u64::from(milliseconds) * 20 * 200 * 201).to_string()
}

#[test]
fn expressions_keep_nobody_waiting() {
    let mut world = World::new();
    let bombs = world.machine("bombs", &bomb(500));
    let other = world.machine("other", PASS);
    let bombs: Vec<_> = (0..20).map(|_| world.engine.start(&bombs, "{}").unwrap()).collect();
    world.turn();
    for _ in 0..3 {
        let handle = world.engine.start(&other, "{}").unwrap();
        let turns = world.turns_until(|| handle.status() == Status::Succeeded);
        assert!(turns <= TURNS_MAX, "{turns} turns");
    }
    assert!(bombs.iter().all(|bomb| bomb.status() == Status::Running));
}

#[test]
fn suspended_expressions_come_to_what_they_come_to() {
    let mut world = World::new();
    let machine = world.machine("bombs", &bomb(3));
    let mut bombs: Vec<_> = (0..20).map(|_| world.engine.start(&machine, "{}").unwrap()).collect();
    world.simulation.settle(world.now_ms);
    for bomb in &mut bombs {
        let Poll::Ready(outcome) = poll(Pin::new(bomb)) else { panic!("it is over") };
        assert_eq!(String::from_utf8_lossy(outcome.json()), bomb_output(3), "{outcome:?}");
    }
    assert_eq!(world.engine.usage(), (0, 0));
}

#[test]
fn suspended_expressions_are_billed_what_they_hold() {
    let mut world = World::new();
    let machine = world.machine(
        "holds",
        r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true, "Output":
            "{% ($a := [1..500000]; $sum([1..10000].($sum([1..200].($ * 2)))) + $count($a)) %}"}}}"#,
    );
    let handle = world.engine.start(&machine, "{}").unwrap();
    // Half a million numbers of 16 bytes.
    let engine = world.engine.clone();
    world.turns_until(|| engine.usage().1 > 8_000_000);
    assert!(engine.usage().1 < 64_000_000, "{} bytes", engine.usage().1);
    handle.abort();
    world.turn();
    assert_eq!(engine.usage(), (0, 0));
}

#[test]
fn expressions_are_reached_wherever_they_are() {
    let mut world = World::new();
    let machine = world.machine("bombs", &bomb(2_000));
    let bombs: Vec<_> = (0..3).map(|_| world.engine.start(&machine, "{}").unwrap()).collect();
    for _ in 0..10 {
        world.turn();
    }
    bombs[0].abort();
    assert!(world.turns_until(|| bombs[0].status() == Status::Aborted) <= 1);
    let engine = world.engine.clone();
    let mut run = Box::pin(engine.run(&machine, "{}"));
    for _ in 0..20 {
        assert!(poll(run.as_mut()).is_pending());
        world.turn();
    }
    drop(run);
    assert!(world.turns_until(|| engine.counts().aborted == 2) <= 1, "nobody waits for it any more");
    world.now_ms += 300_000;
    assert!(world.turns_until(|| engine.counts().timed_out == 2) <= 2);
    assert_eq!(world.engine.usage(), (0, 0));
}

/// What lives is moved while garbage is collected, which is not cut in its midst: wherever an execution is, it ends soon.
#[test]
fn expressions_that_hold_much_are_reached_too() {
    let mut world = World::new();
    let machine = world.machine(
        "holds",
        r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true, "Output":
            "{% ($a := $map([1..50000], function($i) { {'a': 'x' & $i} }); $b := $map([1..400000], function($i) { [$i] }); $count($a) + $count($b)) %}"}}}"#,
    );
    for &turns in [5, 20, 40, 60, 61, 62, 63, 64, 80, 100].iter().step_by(step(3)) {
        let handle = world.engine.start(&machine, "{}").unwrap();
        for _ in 0..turns {
            world.turn();
        }
        assert_eq!(handle.status(), Status::Running, "after {turns} turns");
        handle.abort();
        let took = world.turns_until(|| handle.status() == Status::Aborted);
        assert!(took <= 50, "{took} turns after {turns}");
    }
    assert_eq!(world.engine.usage(), (0, 0));
}

/// Executions that grow while they are under way stay within the budget, and leave room for others to begin.
#[test]
fn expressions_that_grow_leave_room_for_others() {
    let budgets = Budgets { bytes_max: 160 << 20, ..Budgets::default() };
    let builder = Engine::builder().seed(1).shards(1).time(ManualTime::at(NOW_MS)).budgets(budgets);
    let (engine, mut simulation) = builder.simulate().unwrap();
    let hoards = engine
        .create_state_machine(
            "hoards",
            r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true, "Output":
                "{% $count($map([1..400000], function($i) { [$i] })) %}"}}}"#,
        )
        .unwrap();
    let other = engine.create_state_machine("other", PASS).unwrap();
    let mut runs: Vec<_> = (0..6).map(|_| engine.start(&hoards, "{}").unwrap()).collect();
    let mut most = 0;
    while runs.iter().any(|run| run.status() == Status::Running) {
        simulation.shards()[0].turn(NOW_MS);
        most = most.max(engine.usage().1);
        let other = engine.start(&other, "{}").expect("there is room for others");
        simulation.shards()[0].turn(NOW_MS);
        drop(other);
    }
    assert!(most < 200 << 20, "{most} bytes of a budget of {}", 160 << 20);
    let causes: Vec<String> = runs
        .iter_mut()
        .filter_map(|run| match poll(Pin::new(run)) {
            Poll::Ready(outcome) => outcome.fault.as_ref()?.cause.clone(),
            Poll::Pending => panic!("it is over"),
        })
        .collect();
    assert!(!causes.is_empty() && causes.len() < 6, "{causes:?}");
    assert!(causes.iter().all(|cause| cause.contains("memory")), "{causes:?}");
}

#[test]
fn expressions_end_with_the_engine() {
    for drains in [true, false] {
        let World { engine, mut simulation, now_ms } = World::new();
        let machine = engine.create_state_machine("bombs", &bomb(2_000)).unwrap();
        let bombs: Vec<_> = (0..20).map(|_| engine.start(&machine, "{}").unwrap()).collect();
        for _ in 0..10 {
            simulation.shards()[0].turn(now_ms);
        }
        if drains {
            let _ = poll(pin!(engine.drain(std::time::Duration::ZERO)));
        } else {
            drop(engine);
        }
        simulation.settle(now_ms);
        let expected = if drains { Status::TimedOut } else { Status::Aborted };
        assert!(bombs.iter().all(|bomb| bomb.status() == expected));
    }
    // An execution inside an operation ends in order even when everything is dropped.
    let mut world = World::new();
    let machine = world.machine("bombs", &bomb(2_000));
    let _handle = world.engine.start(&machine, "{}").unwrap();
    world.turn();
}

/// A machine whose starts fill the queue of a shard leaves the last quarter of it to the others.
#[test]
fn a_flood_of_starts_leaves_others_their_places() {
    let budgets = Budgets { queue_max: 8, ..Budgets::default() };
    let time = ManualTime::at(NOW_MS);
    let engine = Engine::builder().seed(1).shards(1).time(time).budgets(budgets);
    let (engine, mut simulation) = engine.simulate().unwrap();
    let [flood, other] = ["flood", "other"].map(|name| engine.create_state_machine(name, PASS).unwrap());
    let refused = |machine: &Machine| match engine.start(machine, "{}") {
        Ok(_) => None,
        Err(StartError::Throttled(throttled)) => Some(throttled.limit),
        Err(error) => panic!("{error}"),
    };
    let before: Vec<_> = (0..6).map(|_| refused(&flood)).collect();
    assert_eq!(before, [None; 6]);
    assert_eq!(refused(&other), None, "it has its share, although the flood has more than its own");
    assert_eq!(refused(&flood), Some(Limit::Share));
    assert_eq!(refused(&other), None);
    assert_eq!(refused(&other), Some(Limit::Queue), "there is no place left for anyone");
    simulation.settle(NOW_MS);
    assert_eq!((refused(&flood), refused(&other)), (None, None), "places are given back");
}
