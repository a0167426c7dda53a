//! In the steady state nothing allocates: the test counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "../benches/machines.rs"]
mod machines;
#[path = "required/mod.rs"]
mod required;
#[path = "../benches/workloads.rs"]
mod workloads;

use expressway::asl::MachineType;
use expressway::json::{self, Arena, Compactor};
use expressway::runtime::inline::Driver;
use expressway::runtime::{Engine, MachineSpec, ManualTime, Status, VirtualClock};
use expressway::task::Handlers;

/// Counts the allocations of each thread, so that tests running beside each other do not see each other's.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes allocated and not freed, and the most that this ever was.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// A thread that ends may allocate and free after its counters are gone, hence `try_with`.

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

fn hold(bytes: isize) {
    let held = HELD.try_with(|held| held.replace(held.get() + bytes) + bytes);
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.unwrap_or(0))));
}

// SAFETY: every method hands its arguments to the system allocator unchanged and returns what that returns; counting
// touches thread-local `Cell`s without a destructor and allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size as isize - layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations (and reallocations) this thread makes while `work` runs, after it ran a few times to warm up.
fn allocations(mut work: impl FnMut()) -> u64 {
    (0..3).for_each(|_| work());
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

const ORDER: &[u8] = br#"{"order":{"id":"ord-000000012345","qty":42,"price":19.95,"tags":["new","priority"],"note":"leave at door"},"customer":{"name":"Alexandra Novak","tier":"gold","country":"CZ"},"ts":"2026-11-22T14:00:00Z"}"#;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn reading_and_writing_allocate_nothing() {
    let (mut arena, mut out) = (Arena::new(), Vec::new());
    let count = allocations(|| {
        arena.clear();
        out.clear();
        let value = json::read(&mut arena, ORDER).unwrap();
        json::write(&arena, value, &mut out);
    });
    assert_eq!(count, 0);
    assert_eq!(out, ORDER);
}

#[test]
fn typed_structs_borrowed_and_built_allocate_nothing() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Customer<'a> {
        name: &'a str,
        tier: &'a str,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order<'a> {
        #[serde(borrow)]
        customer: Customer<'a>,
        ts: &'a str,
    }
    let (mut arena, mut results) = (Arena::new(), Arena::new());
    let count = allocations(|| {
        arena.clear();
        results.clear();
        let value = json::read(&mut arena, ORDER).unwrap();
        let order: Order = json::from_value(&arena, value).unwrap();
        json::to_value(&mut results, &order).unwrap();
    });
    assert_eq!(count, 0);
}

#[test]
fn compaction_allocates_nothing() {
    let (mut arena, mut compactor) = (Arena::new(), Compactor::new());
    let mut data = json::read(&mut arena, ORDER).unwrap();
    let count = allocations(|| {
        json::read(&mut arena, ORDER).unwrap();
        compactor.compact(&mut arena, |visit| visit(&mut data));
    });
    assert_eq!(count, 0);
    assert_eq!(json::to_string(&arena, data).as_bytes(), ORDER);
}

#[test]
fn starts_allocate_nothing() {
    let mut several = ["w1", "w2", "w3"].map(|name| (name, workloads::workload(name))).to_vec();
    several.push(("the event", workloads::event()));
    for (name, workload) in several {
        let mut driver = Driver::new(machines::program(&workload.definition));
        let mut out = Vec::new();
        let count = allocations(|| {
            out.clear();
            driver.run(&workload.input).unwrap().write_output(&mut out);
        });
        assert_eq!(count, 0, "{name}");
        assert!(!out.is_empty(), "{name}");
    }
}

#[test]
fn a_loop_holds_no_more_than_its_live_values() {
    let laps = 500_000;
    let program = machines::program(&machines::counting(laps));
    let mut driver = Driver::with(program, VirtualClock::at(0), &Handlers::new());
    let before = HELD.get();
    PEAK.set(before);
    let ended = driver.run(br#"{"n":0,"kept":["from","lap","to","lap"]}"#).unwrap();
    assert!(ended.succeeded());
    assert_eq!(ended.execution().transitions(), 2 * laps as u64 + 1);
    let above = PEAK.get() - before;
    println!("{above} bytes above the start");
    assert!(above <= 1_048_576, "{above} bytes");
}

/// Memory of a distributed Map's children that wait, beside what the Map Run takes itself.
#[test]
fn a_waiting_child_takes_half_a_kilobyte() {
    let definition = r#"{"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true,
        "ItemsPath": "$.items", "ResultPath": null,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, "StartAt": "Wait",
            "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}}}}"#;
    let held = |children: u64| {
        let time = ManualTime::at(0);
        let (engine, mut simulation) = Engine::builder().shards(1).time(time.clone()).simulate().unwrap();
        let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", definition) };
        let machine = engine.create(&spec).unwrap();
        let items: Vec<u64> = (0..children).collect();
        let execution = engine.start(&machine, format!(r#"{{"items":{items:?}}}"#)).unwrap();
        simulation.settle(0);
        assert_eq!(engine.counts().running, children + 1);
        let held = HELD.get();
        time.advance(60_000);
        simulation.settle(60_000);
        assert_eq!(execution.status(), Status::Succeeded);
        held
    };
    held(10);
    let (few, many) = (1_000, 9_000);
    let bytes = (held(many) - held(few)) / (many - few) as isize;
    println!("{bytes} bytes a waiting child");
    assert!(bytes <= 500, "{bytes} bytes");
}

/// What Standard executions take in memory, at each stage of their lives, is what their service may take for them.
#[cfg(feature = "service")]
#[test]
fn standard_executions_take_what_the_budget_says() {
    use expressway::service::{CreateStateMachine, Service, StartExecution};

    const BUDGET: usize = 16 << 20;
    let wait = r#"{"Type": "Wait", "Seconds": 600, "End": true}"#;
    let call = |next: &str, resource: &str, machine: &str| {
        format!(
            r#"{{"Type": "Task", "Resource": "arn:aws:states:::states:startExecution{resource}", "ResultPath": null,
                "Parameters": {{"Input": {{"for": "it"}},
                    "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:{machine}"}}, {next}}}"#
        )
    };
    let machine = |states: &str| format!(r#"{{"StartAt": "A", "States": {{{states}}}}}"#);
    let forks = [call(r#""Next": "B""#, "", "forks"), call(r#""End": true"#, "", "forks")];
    let machines = [
        ("waits", machine(&format!(r#""A": {wait}"#))),
        ("waits for one", machine(&format!(r#""A": {}"#, call(r#""End": true"#, ".sync", "waits")))),
        ("forks", machine(&format!(r#""A": {}, "B": {}"#, forks[0], forks[1]))),
        ("passes", machine(r#""A": {"Type": "Pass", "End": true}"#)),
    ];
    // The shares of executions, of the histories of those that are open, and of those that are over.
    let (open, histories, over) = (BUDGET / 2, BUDGET / 16, BUDGET / 16);
    // By the name of a machine, whether executions have turns as they begin, how many begin at most, and what they may take.
    for (name, has_turns, starts, allowed) in [
        ("waits", false, 10_000, open),
        ("waits", true, 10_000, open + histories),
        ("waits for one", true, 10_000, open + histories + over),
        ("forks", true, 100, open + histories + over),
        ("passes", true, 2_000, over),
    ]
    .into_iter()
    .step_by(required::step(2))
    {
        let builder = Service::builder().engine(|engine| engine.shards(1)).time(ManualTime::at(0));
        let (service, mut simulation) = builder.memory(BUDGET).simulate().unwrap();
        let mut arn = String::new();
        for (machine, definition) in &machines {
            let request = CreateStateMachine {
                name: machine.replace(' ', "-"),
                definition: definition.clone(),
                role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
                ..CreateStateMachine::default()
            };
            let created = service.create_state_machine(request).unwrap();
            if *machine == name {
                arn = created.arn;
            }
        }
        let before = HELD.get();
        let mut begun = 0;
        for _ in 0..starts {
            let request = StartExecution { machine_arn: arn.clone(), ..StartExecution::default() };
            if service.start_execution(request).is_err() {
                break;
            }
            begun += 1;
            if has_turns && begun % 16 == 0 {
                for _ in 0..8 {
                    let _ = simulation.shards()[0].turn(0);
                }
            }
        }
        let held = HELD.get() - before;
        println!("{name}: {begun} began, {held} bytes of {allowed}");
        assert!(held as usize <= allowed / 10 * 11, "{name}: {begun} began, {held} bytes of {allowed}");
    }
}

/// Compacting a journal keeps nothing in memory of what it drops.
#[cfg(feature = "service")]
#[test]
fn a_journal_is_compacted_in_memory_for_what_is_needed() {
    use expressway::runtime::{Durable, StartOptions};

    let folder = std::env::temp_dir().join(format!("expressway-compacted-{}", std::process::id()));
    let engine = Engine::builder().shards(1).durable(Durable::folder(&folder)).build().unwrap();
    let definition = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", definition) };
    let machine = engine.create(&spec).unwrap();
    let mut begun = 0;
    let mut taken = |executions: usize| {
        for n in begun..begun + executions {
            let options = StartOptions {
                name: Some(n.to_string().into()),
                execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{n}").into()),
                durable: Some(Box::default()),
                ..StartOptions::default()
            };
            let execution = engine.start_with(&machine, "{}".to_owned(), options).unwrap();
            let id = execution.recorded_id().unwrap();
            assert_eq!(execution.wait().status, Status::Succeeded);
            engine.forget_recorded(id);
        }
        begun += executions;
        let before = HELD.get();
        PEAK.set(before);
        engine.compact_journal().unwrap();
        PEAK.get() - before
    };
    let (few, many) = (taken(50), taken(3_000));
    println!("{few} bytes for 50 that are over, {many} for 3,000");
    assert!(many < few + (64 << 10), "{few} bytes for 50, {many} for 3,000");
    drop((machine, engine));
    std::fs::remove_dir_all(&folder).unwrap();
}
