//! Random machines with random inputs and tasks: the invariants of `tests/trial` always hold, and the same seed gives
//! the same execution. `EXPRESSWAY_SEEDS=from..to` runs others, `EXPRESSWAY_SEEDS=1000` more.

use crate::trial;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::trial::Chance;
use expressway::{asl, compile};
use serde_json::{Value as Json, json};

#[test]
fn random_machines() {
    let (mut accepted, mut refused) = (0, 0);
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in crate::meter::count(crate::required::some_of(400, 2)) {
        let mut chance = Chance(seed);
        let machine = Builder { chance: &mut chance, names: 0, depth: 0 }.workflow().to_string();
        let (definition, problems) = asl::read(machine.as_bytes(), &asl::Options::default());
        let Some(definition) = definition else {
            refused += 1;
            assert!(!problems.is_empty(), "seed {seed}: refused without a word\n{machine}");
            continue;
        };
        let program = compile::compile(&definition);
        let program = Arc::new(program.unwrap_or_else(|errors| panic!("seed {seed}: {errors:?}\n{machine}")));
        accepted += 1;
        let (input, result) = (data(&mut chance, 0), data(&mut chance, 0));
        let errors = ["Boom", "Bang", "States.Timeout", "States.Permissions"].map(str::to_owned);
        let run = || trial::run(&program, &input, &result, &errors, seed);
        let first = run().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{machine}\n{input}"));
        let again = run().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{machine}\n{input}"));
        assert!(first == again, "seed {seed}: two runs differ\n{machine}\n{input}");
        *statuses.entry(first.status).or_default() += 1;
    }
    println!("{statuses:?}; {refused} machines were refused");
    println!("random machines: {accepted} passed, 0 failed, {refused} skipped");
    assert!(accepted > refused, "most machines should be accepted");
}

pub(crate) struct Builder<'c> {
    pub(crate) chance: &'c mut Chance,
    pub(crate) names: usize,
    pub(crate) depth: usize,
}

const PATHS: [&str; 9] = ["$", "$.a", "$.b", "$.a.b", "$.l", "$.l[0]", "$.l[*].a", "$..a", "$.n"];
const REFERENCES: [&str; 5] = ["$", "$.a", "$.r.s", "$.l[0]", "$.new"];

impl Builder<'_> {
    pub(crate) fn workflow(&mut self) -> Json {
        let first = self.names;
        let count = 1 + self.chance.below(4);
        self.names += count;
        let name = |n: usize| format!("S{n}");
        let mut states = serde_json::Map::new();
        for n in first..first + count {
            let next = (n + 1 < first + count).then(|| name(n + 1));
            let any = name(first + self.chance.below(count));
            states.insert(name(n), self.state(next, &any));
        }
        json!({"StartAt": name(first), "States": states})
    }

    fn state(&mut self, next: Option<String>, any: &str) -> Json {
        let last = next.is_none();
        let mut state = match self.chance.below(if self.depth < 2 { 12 } else { 9 }) {
            0 if last => return json!({"Type": "Succeed"}),
            1 if last => return json!({"Type": "Fail", "Error": "Boom", "Cause": "by design"}),
            2 | 3 if !last => return self.choice(next.as_deref().unwrap_or(any), any),
            0 | 2 | 4 => self.pass(),
            1 => self.wait(),
            3 | 5..=8 => self.task(any),
            9 | 10 => self.map(any),
            _ => self.parallel(any),
        };
        match next {
            Some(next) => state["Next"] = next.into(),
            None => state["End"] = true.into(),
        }
        if self.chance.one_in(6) {
            state["InputPath"] = (*self.chance.pick(&PATHS)).into();
        }
        if self.chance.one_in(8) {
            state["OutputPath"] = (*self.chance.pick(&PATHS)).into();
        }
        if state["Type"] != "Wait" && self.chance.one_in(3) {
            state["ResultPath"] = match self.chance.below(6) {
                0 => Json::Null,
                _ => (*self.chance.pick(&REFERENCES)).into(),
            };
        }
        if self.chance.one_in(4) {
            // A separate name for every workflow depth, because inner workflows may not assign outer names.
            state["Assign"] =
                json!({format!("v{}", self.depth): self.chance.below(9), format!("w{}.$", self.depth): "$"});
        }
        state
    }

    fn template(&mut self) -> Json {
        let path = *self.chance.pick(&PATHS);
        match self.chance.below(5) {
            0 => json!({"a.$": path, "b": {"c.$": "$$.State.Name"}}),
            1 => json!({"l": [1, {"a.$": path}], "n": 1}),
            2 => json!({"a.$": "States.Array($, 1, 'x')", "n.$": "States.MathRandom(1, 9)"}),
            3 => json!({"a": 1, "b": "text", "l": [{"a": 1}, {"a": 2}], "n": 3}),
            _ => json!({"a.$": "$", "l.$": "$$.Execution.Input", "n": 2, "u.$": "States.UUID()"}),
        }
    }

    fn pass(&mut self) -> Json {
        match self.chance.below(3) {
            0 => json!({"Type": "Pass"}),
            1 => json!({"Type": "Pass", "Parameters": self.template()}),
            _ => json!({"Type": "Pass", "Result": {"a": {"b": 1}, "l": [1, 2], "n": 1}}),
        }
    }

    fn wait(&mut self) -> Json {
        match self.chance.below(3) {
            0 => json!({"Type": "Wait", "SecondsPath": "$.n"}),
            1 => json!({"Type": "Wait", "Timestamp": "2024-01-01T00:00:20Z"}),
            _ => json!({"Type": "Wait", "Seconds": 1 + self.chance.below(20)}),
        }
    }

    fn choice(&mut self, default: &str, any: &str) -> Json {
        let variable = *self.chance.pick(&["$.a", "$.n", "$.a.b"]);
        let test = match self.chance.below(5) {
            0 => json!({"Variable": variable, "IsPresent": true}),
            1 => {
                json!({"And": [{"Variable": variable, "IsPresent": true}, {"Variable": variable, "IsNumeric": true}]})
            }
            2 => json!({"Not": {"Variable": variable, "IsPresent": true}}),
            3 => json!({"Variable": variable, "NumericLessThan": 2}),
            _ => json!({"Variable": variable, "StringEquals": "text"}),
        };
        let mut rule = test;
        rule["Next"] = any.into();
        json!({"Type": "Choice", "Choices": [rule], "Default": default})
    }

    fn handlers(&mut self, state: &mut Json, any: &str) {
        let errors = *self.chance.pick(&["States.ALL", "Boom", "States.TaskFailed", "States.Timeout"]);
        if self.chance.one_in(3) {
            state["Retry"] = json!([{
                "ErrorEquals": [errors],
                "IntervalSeconds": 1 + self.chance.below(9),
                "MaxAttempts": self.chance.below(4),
                "BackoffRate": 1.5,
                "JitterStrategy": if self.chance.one_in(2) { "FULL" } else { "NONE" }
            }]);
        }
        if self.chance.one_in(3) {
            state["Catch"] = json!([{"ErrorEquals": [errors], "ResultPath": "$.error", "Next": any}]);
        }
        if self.chance.one_in(6) {
            state["ResultSelector"] = self.template();
        }
    }

    fn task(&mut self, any: &str) -> Json {
        let resource = if self.chance.one_in(2) {
            "arn:aws:lambda:us-east-1:111111111111:function:f"
        } else {
            "arn:aws:states:::lambda:invoke"
        };
        let mut state = json!({"Type": "Task", "Resource": resource, "Parameters": {"FunctionName": "f", "Payload": self.template()}});
        if self.chance.one_in(2) {
            state["TimeoutSeconds"] = json!(5 + self.chance.below(10));
            if self.chance.one_in(2) {
                state["HeartbeatSeconds"] = json!(1 + self.chance.below(4));
            }
        }
        self.handlers(&mut state, any);
        state
    }

    fn inner(&mut self) -> Json {
        self.depth += 1;
        let inner = self.workflow();
        self.depth -= 1;
        inner
    }

    fn map(&mut self, any: &str) -> Json {
        let inner = self.inner();
        let mut state =
            json!({"Type": "Map", "ItemProcessor": inner, "MaxConcurrency": self.chance.below(4)});
        if self.chance.one_in(2) {
            state["ItemsPath"] = (*self.chance.pick(&["$.l", "$.a", "$"])).into();
        }
        if self.chance.one_in(3) {
            state["ItemSelector"] =
                json!({"a.$": "$$.Map.Item.Value", "n.$": "$$.Map.Item.Index", "l": [1, 2]});
        }
        if self.chance.one_in(3) {
            state["ToleratedFailureCount"] = json!(self.chance.below(4));
        }
        self.handlers(&mut state, any);
        state
    }

    fn parallel(&mut self, any: &str) -> Json {
        let branches: Vec<Json> = (0..1 + self.chance.below(3)).map(|_| self.inner()).collect();
        let mut state = json!({"Type": "Parallel", "Branches": branches});
        self.handlers(&mut state, any);
        state
    }
}

/// Any JSON, but mostly objects that the paths above find something in.
pub(crate) fn data(chance: &mut Chance, depth: usize) -> Json {
    match chance.below(if depth < 3 { 12 } else { 5 }) {
        0 => Json::Null,
        1 => json!(chance.below(10)),
        2 => json!("text"),
        3 => json!(chance.one_in(2)),
        4 => json!([]),
        5 => (0..chance.below(6)).map(|_| data(chance, depth + 1)).collect(),
        _ => json!({
            "a": data(chance, depth + 1),
            "b": data(chance, depth + 1),
            "l": (0..chance.below(5)).map(|_| data(chance, depth + 1)).collect::<Vec<_>>(),
            "n": chance.below(5)
        }),
    }
}
