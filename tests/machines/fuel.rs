//! Fuel in the engine: a turn ends by its work, and what a driver cuts ends the execution, not the state.

use expressway::engine::{self, Event, EventMask, Execution, Outcome, Start, Turn};
use expressway::fuel::{self, Cut, Fuel, Refill};
use expressway::json::{self, Compactor};
use expressway::query::jsonata::Scratch;
use expressway::{asl, compile, limits};
use std::cell::Cell;

/// So many more slices.
struct Slices(Cell<u32>);

impl Refill for Slices {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        let left = self.0.get().checked_sub(1).ok_or(Cut::Deadline)?;
        self.0.set(left);
        Ok(fuel::SLICE)
    }
}

struct Bed {
    program: expressway::program::Program,
    execution: Execution,
    effects: Vec<engine::Effect>,
    compactor: Compactor,
    scratch: Scratch,
}

impl Bed {
    fn new(definition: &str, input: &str) -> Bed {
        let (definition, problems) = asl::read(definition.as_bytes(), &asl::Options::default());
        let definition = definition.unwrap_or_else(|| panic!("{problems:?}"));
        let program = compile::compile(&definition).unwrap_or_else(|refused| panic!("{refused:?}"));
        let mut execution = Execution::new();
        execution.reset();
        let input = json::read(&mut execution.arena, input.as_bytes()).expect("JSON");
        let start = Start {
            ahead_ms: 0,
            seed: 1,
            now_ms: 1_000,
            seconds_max: 300,
            bytes_max: limits::EXECUTION_BYTES_MAX,
            secret: 0,
            time_scale: 1.0,
        };
        execution.begin(&program, &start, input);
        Bed {
            program,
            execution,
            effects: Vec::new(),
            compactor: Compactor::new(),
            scratch: Scratch::default(),
        }
    }

    fn turn(&mut self, event: Event, slices: u32) -> (Turn, u64) {
        let refill = Slices(slices.into());
        let fuel = Fuel::new(fuel::SLICE, &refill);
        let mut env = engine::Env {
            ahead_ms: 0,
            now_ms: 1_000,
            transitions_max: u32::MAX,
            fuel: &fuel,
            effects: &mut self.effects,
            listener: None,
            event_mask: EventMask::NONE,
            event_buffer: None,
            compactor: &mut self.compactor,
            scratch: &mut self.scratch,
            random: None,
            activities: None,
        };
        let turn = engine::advance(&self.program, &mut self.execution, event, &mut env);
        (turn, fuel.used())
    }
}

/// A state of each kind of work that takes seconds. All have a Catch where they may.
const BOMBS: &[&str] = &[
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","End":true,
        "Output":"{% $count([1..800000].$substringBefore($states.input.text, 'b')) %}"}}}"#,
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage",
        "Arguments":{"a":"{% $count([1..800000].$contains($states.input.text, /b/)) %}"},
        "Catch":[{"ErrorEquals":["States.ALL"],"Next":"B"}],"Retry":[{"ErrorEquals":["States.ALL"]}],"End":true},
        "B":{"Type":"Succeed"}}}"#,
    r#"{"StartAt":"A","States":{"A":{"Type":"Parallel","Branches":[{"StartAt":"P","States":{"P":{"Type":"Pass","End":true,
        "Parameters":{"a.$":"$..*..*..*..*..z","b.$":"$..*..*..*..*..z","c.$":"$..*..*..*..*..z","d.$":"$..*..*..*..*..z"}}}}],
        "Catch":[{"ErrorEquals":["States.ALL"],"Next":"B"}],"End":true},"B":{"Type":"Succeed"}}}"#,
    r#"{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[{"Variable":"$..*..*..*..*..z","IsPresent":true,"Next":"B"}],
        "Default":"B"},"B":{"Type":"Succeed"}}}"#,
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Choice","Choices":[
        {"Condition":"{% $count([1..800000].($states.input.text & $)) = 1 %}","Next":"B"}],"Default":"B"},
        "B":{"Type":"Succeed"}}}"#,
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Map","Items":"{% [1..1000] %}",
        "ItemSelector":"{% $uppercase($states.input.text & $states.input.text) %}",
        "ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true,
        "Assign":{"x":"{% $hash($states.input, 'SHA-512') %}"}}}},
        "Catch":[{"ErrorEquals":["States.ALL"],"Next":"B"}],"End":true},"B":{"Type":"Succeed"}}}"#,
];

fn input() -> String {
    let list =
        (0..2_000).map(|i| format!("{{\"a\":{{\"b\":[{i},{{\"c\":{i}}}]}}}}")).collect::<Vec<_>>().join(",");
    format!("{{\"text\":\"{}\",\"list\":[{list}]}}", "a".repeat(100_000))
}

#[test]
fn what_is_cut_ends_the_execution_and_no_state_catches_it() {
    for bomb in BOMBS {
        let mut bed = Bed::new(bomb, &input());
        // A turn that yields in time goes on, up to the piece of work that takes longer than its fuel.
        let (mut turn, mut used) = bed.turn(Event::Go, 0);
        for _ in 0..100_000 {
            if turn != Turn::Yielded {
                break;
            }
            (turn, used) = bed.turn(Event::Go, 0);
        }
        assert_eq!(turn, Turn::Cut(Cut::Deadline), "{bomb}");
        assert!(used < 3_000_000, "{bomb}: {used}");
        assert!(bed.execution.outcome().is_none(), "{bomb}");
        assert_eq!(bed.turn(Event::Deadline, 0).0, Turn::Done, "{bomb}");
        assert!(matches!(bed.execution.outcome(), Some(Outcome::TimedOut)), "{bomb}");
    }
}

#[test]
fn a_turn_ends_by_its_work() {
    let endless = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},
        "B":{"Type":"Choice","Choices":[{"Variable":"$.text","StringEquals":"b","Next":"C"}],"Default":"A"},
        "C":{"Type":"Succeed"}}}"#;
    let mut transitions = Vec::new();
    for text in ["a".to_owned(), "a".repeat(100_000)] {
        let mut bed = Bed::new(endless, &format!("{{\"text\":\"{text}\"}}"));
        for _ in 0..3 {
            let before = bed.execution.transitions();
            let (turn, used) = bed.turn(Event::Go, 1);
            assert_eq!(turn, Turn::Yielded);
            assert!(used < 3 * fuel::SLICE, "{used}");
            transitions.push(bed.execution.transitions() - before);
        }
    }
    assert!(transitions[0] > 500 && transitions[5] < 20, "{transitions:?}");
}
