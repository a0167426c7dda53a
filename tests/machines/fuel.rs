//! Fuel in the engine: a turn ends after its work, and a cut by the driver ends the execution, not the state.

use crate::meter::{Chance, count, longest};
use crate::required::step;
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
        let turn = self.turn_with(event, &fuel);
        (turn, fuel.used())
    }

    fn turn_with(&mut self, event: Event, fuel: &Fuel<'_>) -> Turn {
        let mut env = engine::Env {
            ahead_ms: 0,
            now_ms: 1_000,
            transitions_max: u32::MAX,
            is_last_state: false,
            fuel,
            effects: &mut self.effects,
            listener: None,
            event_mask: EventMask::NONE,
            event_buffer: None,
            compactor: &mut self.compactor,
            scratch: &mut self.scratch,
            random: None,
            activities: None,
        };
        engine::advance(&self.program, &mut self.execution, event, &mut env)
    }
}

/// A state of each kind of work that takes seconds. All have a Catch where they may.
const BOMBS: &[&str] = &[
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","End":true,
        "Output":"{% $count([1..800000].$substringBefore($states.input.text, 'b')) %}"}}}"#,
    r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage",
        "Arguments":{"QueueUrl":"q","MessageBody":"{% $count([1..800000].$contains($states.input.text, /b/)) %}"},
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
        // A turn that yields in time continues, up to the piece of work that takes longer than its fuel.
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

/// Time between two looks at the clock, in nanoseconds of the processor. Generous for unoptimised tests.
const STRETCH_NS_MAX: u64 = if cfg!(debug_assertions) { 250_000_000 } else { 5_000_000 };

/// Turns of one execution that are measured.
const TURNS_MAX: u32 = 50;

/// Random definitions over much data: Maps and Parallels in each other, templates, rules, variables. Nothing works for
/// long without a look at the clock.
#[test]
fn random_definitions_look_at_the_clock() {
    let input = data();
    let mut slowest = (0, String::new());
    let (mut done, seeds) = (0, count(30));
    for seed in seeds.clone() {
        let definition = Chance(seed).machine();
        let mut is_done = false;
        let (work, ns) = longest(3_000_000, STRETCH_NS_MAX, |meter| {
            let (mut bed, mut turn) = (Bed::new(&definition, &input), Turn::Yielded);
            for _ in 0..TURNS_MAX {
                if turn != Turn::Yielded {
                    break;
                }
                meter.look_away();
                turn = bed.turn_with(Event::Go, &Fuel::new(fuel::SLICE, meter));
                meter.look();
            }
            is_done = turn == Turn::Done;
            meter.look_away();
        });
        done += u64::from(is_done);
        assert!(ns <= STRETCH_NS_MAX, "{definition}: {ns} ns without a look at the clock (seed {seed})");
        if ns > slowest.0 {
            slowest = (ns, format!("{definition} (seed {seed}, {work} units)"));
        }
    }
    println!(
        "{} definitions; longest stretch {} us: {}",
        seeds.clone().count(),
        slowest.0 / 1_000,
        slowest.1
    );
    assert!(done > 0, "none comes to its end");
}

/// Definitions whose executions hold much, each of which was moved, copied or given back as a whole once.
fn large() -> Vec<(&'static str, String, String)> {
    let numbers = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let variables: String = (0..36)
        .map(|n| {
            format!(
                r#""A{n}":{{"Type":"Pass","Assign":{{"v{n}":"{{% $map([1..16000],function($i){{'y'&$i}}) %}}"}},"Next":"A{}"}},"#,
                n + 1
            )
        })
        .collect();
    let wide: Vec<String> = (0..800).map(|n| format!(r#""k{n}.$":"$""#)).collect();
    vec![
        (
            "variables of 10 MB",
            format!(
                r#"{{"QueryLanguage":"JSONata","StartAt":"A0","States":{{{variables}
                "A36":{{"Type":"Pass","Output":"{{% $pad('',200000,'x') %}}","Next":"A37"}},
                "A37":{{"Type":"Choice","Choices":[{{"Condition":"{{% 1 = 2 %}}","Next":"E"}}],"Default":"A36"}},
                "E":{{"Type":"Succeed"}}}}}}"#
            ),
            "{}".to_owned(),
        ),
        (
            "results that are wide",
            format!(
                r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","ItemsPath":"$.l","End":true,
                "ItemProcessor":{{"StartAt":"P","States":{{"P":{{"Type":"Pass","Parameters":{{{}}},"End":true}}}}}}}}}}}}"#,
                wide.join(",")
            ),
            format!("{{\"l\":[{numbers}]}}"),
        ),
        (
            "texts in many iterations",
            r#"{"QueryLanguage":"JSONata","StartAt":"M","States":{"M":{"Type":"Map","Items":"{% [1..400] %}","End":true,
            "ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","Output":"{% $pad('', 250000, 'x') %}","End":true}}}}}}"#
                .to_owned(),
            "{}".to_owned(),
        ),
    ]
}

#[test]
fn what_holds_much_looks_at_the_clock() {
    let mut failures = Vec::new();
    for (name, definition, input) in large().into_iter().step_by(step(4)) {
        let (work, ns) = longest(u64::MAX, STRETCH_NS_MAX, |meter| {
            let (mut bed, mut turn) = (Bed::new(&definition, &input), Turn::Yielded);
            for _ in 0..2_000 {
                if turn != Turn::Yielded {
                    break;
                }
                meter.look_away();
                turn = bed.turn_with(Event::Go, &Fuel::new(fuel::SLICE, meter));
                meter.look();
            }
            meter.look_away();
        });
        println!("{:6} us, {work:7} units: {name}", ns / 1_000);
        if ns > STRETCH_NS_MAX || work > 10 * fuel::SLICE {
            failures.push(format!("{name}: {work} units and {ns} ns without a look at the clock"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Some 100 kB of everything.
fn data() -> String {
    let list = |item: &dyn Fn(usize) -> String, n: usize| (0..n).map(item).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"list":[{}],"objects":[{}],"texts":[{}],"object":{{{}}},"text":"{}"}}"#,
        list(&|n| n.to_string(), 2_000),
        list(&|n| format!(r#"{{"k":{n},"t":"x{}","l":[1,2,3]}}"#, n % 10), 1_000),
        list(&|n| format!(r#""{}{n}""#, "k".repeat(20)), 1_000),
        list(&|n| format!(r#""m{n}":{n}"#), 1_000),
        "ab, ".repeat(5_000),
    )
}

impl Chance {
    fn machine(&mut self) -> String {
        let mut number = 0;
        let states = self.states(&mut number, 2);
        format!("{{{states}}}")
    }

    /// `"StartAt"` and `"States"` of a workflow: one to three states one after the other.
    fn states(&mut self, number: &mut u32, depth: u32) -> String {
        let count = 1 + self.below(3) as u32;
        let first = *number;
        *number += count;
        let states: Vec<String> = (0..count)
            .map(|n| {
                let next = if n + 1 < count {
                    format!(r#""Next":"s{}""#, first + n + 1)
                } else {
                    r#""End":true"#.to_owned()
                };
                format!(r#""s{}":{}"#, first + n, self.state(&next, number, depth))
            })
            .collect();
        format!(r#""StartAt":"s{first}","States":{{{}}}"#, states.join(","))
    }

    fn state(&mut self, next: &str, number: &mut u32, depth: u32) -> String {
        const PATHS: [&str; 8] =
            ["$", "$.list", "$.objects", "$.texts", "$.object", "$..k", "$.objects[?(@.k > 500)]", "$.none"];
        const EXPRESSIONS: [&str; 10] = [
            "$states.input",
            "$states.input.list",
            "[$states.input.objects.k]",
            "$states.input.objects[k > 500]",
            "$sort($states.input.texts)",
            "$states.input.objects{t: $count(k)}",
            "$split($states.input.text, ', ')",
            "$parse($string($states.input))",
            "$distinct($states.input.objects.t)",
            "$map([1..2000], function($n) { {'n': $n, 'l': [1..3]} })",
        ];
        let jsonata = r#""QueryLanguage":"JSONata","#;
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => format!(
                r#"{{"Type":"Pass","Parameters":{{"a.$":"{}","b.$":"{}","list.$":"$.list"}},{next}}}"#,
                self.pick(&PATHS[..7]),
                self.pick(&PATHS[..7])
            ),
            1 => {
                format!(r#"{{"Type":"Pass",{jsonata}"Output":"{{% {} %}}",{next}}}"#, self.pick(&EXPRESSIONS))
            }
            2 => format!(
                r#"{{"Type":"Pass",{jsonata}"Assign":{{"v{}":"{{% {} %}}"}},"Output":{{"list":"{{% [1..1000] %}}","v":"{{% {} %}}"}},{next}}}"#,
                self.below(1 << 30),
                self.pick(&EXPRESSIONS),
                self.pick(&EXPRESSIONS)
            ),
            3 => format!(
                r#"{{"Type":"Pass","Parameters":{{"list.$":"States.ArrayRange(1, 1000, 1)","s.$":"States.JsonToString($)"}},"ResultPath":"$.r",{next}}}"#
            ),
            4 => {
                let inside = self.states(number, depth - 1);
                format!(
                    r#"{{"Type":"Map","ItemsPath":"$.list","ItemSelector":{{"list":[1,2,3],"whole.$":"{}"}},"ItemProcessor":{{{inside}}},"ResultPath":"$.m",{next}}}"#,
                    self.pick(&PATHS)
                )
            }
            5 => {
                let inside = self.states(number, depth - 1);
                format!(
                    r#"{{"Type":"Map",{jsonata}"Items":"{{% [1..{}] %}}","ItemProcessor":{{{inside}}},"Output":{{"list":"{{% $states.result %}}"}},{next}}}"#,
                    10 + self.below(2_000)
                )
            }
            _ => {
                let branches: Vec<String> = (0..1 + self.below(20))
                    .map(|_| format!("{{{}}}", self.states(number, depth - 1)))
                    .collect();
                format!(
                    r#"{{"Type":"Parallel","Branches":[{}],"ResultPath":"$.p",{next}}}"#,
                    branches.join(",")
                )
            }
        }
    }
}
