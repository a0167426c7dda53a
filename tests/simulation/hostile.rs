//! Hostile neighbours: machines that loop without end, compute without end, flood with starts and fan out, beside one that
//! behaves. An auditor of fairness: the one that behaves has its share of the work, and what begins or wakes has its turn
//! in time, in turns of a millisecond of work each; and everything ends.

use expressway::runtime::{Budgets, Engine, Machine, ManualTime, Simulation, Status};

use super::chance::Chance;
use super::required::some_of;

const NOW_MS: u64 = 1_700_000_000_000;
/// Five states: route an order, shape it, route it again.
const ORDER: &str = r#"{"StartAt": "Receive", "States": {
    "Receive": {"Type": "Pass", "Next": "Quantity"},
    "Quantity": {"Type": "Choice", "Default": "Shape", "Choices": [
        {"Variable": "$.qty", "NumericGreaterThan": 100, "Next": "Shape"}]},
    "Shape": {"Type": "Pass", "Next": "Tier", "Parameters": {"id.$": "$.id", "qty.$": "$.qty", "tier.$": "$.tier"}},
    "Tier": {"Type": "Choice", "Default": "End", "Choices": [
        {"Variable": "$.tier", "StringEquals": "gold", "Next": "End"}]},
    "End": {"Type": "Succeed"}}}"#;
const INPUT: &str = r#"{"id": "ord-1", "qty": 24, "tier": "gold"}"#;

const LOOP: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "C": {"Type": "Succeed"},
    "B": {"Type": "Choice", "Default": "A", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "C"}]}}}"#;
const FAN: &str = r#"{"StartAt": "A", "States": {"C": {"Type": "Succeed"},
    "A": {"Type": "Map", "ItemsPath": "$.l", "ResultPath": "$.r", "Next": "B",
        "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}},
    "B": {"Type": "Choice", "Default": "A", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "C"}]}}}"#;
const COMPUTE: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true,
    "Output": "{% $sum([1..2000].($sum([1..200].($ * 2)))) %}"}}}"#;
const WAKE: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "W2"}, "E": {"Type": "Succeed"},
    "W2": {"Type": "Choice", "Default": "W", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}]}}}"#;
const HOSTILE: [&str; 4] = [LOOP, FAN, COMPUTE, WAKE];

struct Neighbourhood {
    engine: Engine,
    simulation: Simulation,
    now_ms: u64,
    order: Machine,
    hostile: Vec<Machine>,
    accepted: u64,
}

impl Neighbourhood {
    fn new(seed: u64, hostile: u64) -> Neighbourhood {
        let mut chance = Chance::new(seed);
        let time = ManualTime::at(NOW_MS);
        let (engine, simulation) = Engine::builder().seed(seed).shards(1).time(time).simulate().unwrap();
        let order = engine.create_state_machine("order", ORDER).unwrap();
        let hostile = (0..hostile)
            .map(|n| engine.create_state_machine(&format!("hostile {n}"), chance.pick(&HOSTILE)).unwrap())
            .collect();
        let mut it = Neighbourhood { engine, simulation, now_ms: NOW_MS, order, hostile, accepted: 0 };
        for machine in &it.hostile {
            let items: Vec<u64> = (0..1 + chance.below(40)).collect();
            let input = serde_json::json!({"l": items}).to_string();
            let executions = chance.pick(&[1, 10, 300]);
            let batch = it.engine.start_batch(machine, std::iter::repeat_n(&input, executions));
            it.accepted += batch.counts().accepted;
        }
        for _ in 0..10 {
            it.turn();
        }
        it
    }

    fn turn(&mut self) {
        self.simulation.shards()[0].turn(self.now_ms);
    }

    /// Orders that are over after so many turns, of a crowd that would take longer.
    fn orders_in(&mut self, turns: u32) -> u64 {
        let batch = self.engine.start_batch(&self.order, std::iter::repeat_n(INPUT, 40_000));
        self.accepted += batch.counts().accepted;
        (0..turns).for_each(|_| self.turn());
        let counts = batch.counts();
        assert!(counts.running > 0, "there is always more to do");
        counts.succeeded
    }

    /// Turns until one order is over.
    fn order_takes(&mut self) -> u32 {
        let handle = self.engine.start(&self.order, INPUT).unwrap();
        self.accepted += 1;
        (1..=1_000)
            .find(|_| {
                self.turn();
                handle.status() == Status::Succeeded
            })
            .expect("an order has its turn")
    }
}

#[test]
fn who_behaves_has_its_share_beside_hostile_neighbours() {
    let alone = Neighbourhood::new(0, 0).orders_in(20);
    for seed in 0..some_of(12, 4) {
        let hostile = 1 + seed % 6;
        let mut it = Neighbourhood::new(seed, hostile);
        for _ in 0..5 {
            let turns = it.order_takes();
            assert!(turns <= 2 + hostile as u32, "seed {seed}: {turns} turns beside {hostile}");
        }
        let orders = it.orders_in(20);
        let share = orders as f64 / alone as f64;
        let fair = 1.0 / (1 + hostile) as f64;
        println!("seed {seed}: {share:.2} beside {hostile}, fair is {fair:.2}");
        assert!(share > 0.7 * fair, "seed {seed}: {share:.2} beside {hostile}");
        // No execution outlives its timeout by more than it takes to notify all of them.
        it.now_ms += 300_000;
        for _ in 0..200 {
            it.turn();
        }
        let counts = it.engine.counts();
        assert_eq!((counts.ended() + counts.running, counts.bugs), (it.accepted, 0));
    }
}

/// A list that grows item by item is billed while it grows, and not only when it is complete: it fails when there is no
/// room for it.
#[test]
fn a_list_that_grows_for_long_is_billed_meanwhile() {
    const GROWS: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true,
        "Output": "{% $count([1..800000].($ * 2)) %}"}}}"#;
    for (budget_mib, expected) in [(256, Status::Succeeded), (32, Status::Failed)] {
        let budgets = Budgets { bytes_max: budget_mib << 20, ..Budgets::default() };
        let builder = Engine::builder().seed(0).shards(1).budgets(budgets).time(ManualTime::at(NOW_MS));
        let (engine, mut simulation) = builder.simulate().unwrap();
        let machine = engine.create_state_machine("grows", GROWS).unwrap();
        let handle = engine.start(&machine, "{}").unwrap();
        let mut most = 0;
        while handle.status() == Status::Running {
            simulation.shards()[0].turn(NOW_MS);
            most = most.max(engine.usage().1);
        }
        assert_eq!(handle.status(), expected, "of {budget_mib} MiB, {most} bytes were billed");
        assert!(most > 28 << 20, "{most}: it takes twelve million bytes three times");
        assert!(most < 72 << 20, "{most}");
    }
}
