//! Random machines.

use serde_json::{Value as Json, json};

use super::chance::Chance;

/// The resources of tasks: a handler, one that passes a token on, and an activity.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
pub(crate) const CALLBACK: &str = "arn:aws:states:::sqs:sendMessage.waitForTaskToken";
pub(crate) const ACTIVITY: &str = "arn:aws:states:us-east-1:123456789012:activity:a";

/// A workflow whose states lead forwards only. Its data is always an object with a number `n` and a list `l`.
pub(crate) fn workflow(chance: &mut Chance, depth: u32, names: &mut u64) -> Json {
    let count = 1 + chance.below(4);
    let first = *names;
    *names += count;
    let mut states = serde_json::Map::new();
    for n in 0..count {
        let name = |n: u64| format!("S{}", first + n);
        let later = |chance: &mut Chance| name(n + 1 + chance.below(count - n - 1));
        let last = n + 1 == count;
        let kind = chance.below(if depth < 2 { 12 } else { 9 });
        if kind == 0 && !last {
            let (one, other) = (later(chance), later(chance));
            let choice = choice(chance, &one, &other);
            states.insert(name(n), choice);
            continue;
        }
        if kind == 1 && last {
            let state = if chance.one_in(2) {
                json!({"Type": "Succeed"})
            } else {
                json!({"Type": "Fail", "Error": "E1", "Cause": "by design"})
            };
            states.insert(name(n), state);
            continue;
        }
        let mut state = match kind {
            0 | 1 => pass(chance),
            2 => json!({"Type": "Wait", "Seconds": chance.below(4)}),
            3..=5 => json!({"Type": "Task", "Resource": FUNCTION}),
            6 | 7 => json!({"Type": "Task", "Resource": CALLBACK,
                "Parameters": {"token.$": "$$.Task.Token", "input.$": "$"}}),
            8 => json!({"Type": "Task", "Resource": ACTIVITY}),
            9 | 10 => {
                json!({"Type": "Map", "ItemsPath": "$.l", "ResultPath": "$.r", "MaxConcurrency": chance.below(4),
                "ItemProcessor": workflow(chance, depth + 1, names)})
            }
            _ => json!({"Type": "Parallel", "ResultPath": "$.r",
                "Branches": [workflow(chance, depth + 1, names), workflow(chance, depth + 1, names)]}),
        };
        if kind >= 3 {
            let target = (!last).then(|| later(chance));
            guard(chance, &mut state, kind < 9, target);
        }
        if last {
            state["End"] = true.into()
        } else {
            state["Next"] = later(chance).into()
        }
        states.insert(name(n), state);
    }
    // States that nothing leads to are refused: the one before leads to them, unless it cannot.
    for n in 1..count {
        let wanted = format!("S{}", first + n);
        let reached = states.values().any(|state| leads_to(state, &wanted));
        if !reached && let Some(before) = states.get_mut(&format!("S{}", first + n - 1)) {
            match before.get("Default") {
                Some(_) => before["Default"] = wanted.into(),
                None => before["Next"] = wanted.into(),
            }
        }
    }
    json!({"StartAt": format!("S{first}"), "States": states})
}

fn leads_to(state: &Json, name: &str) -> bool {
    let rows = ["Choices", "Catch"].iter().flat_map(|rows| state[*rows].as_array().into_iter().flatten());
    state["Next"] == name || state["Default"] == name || rows.into_iter().any(|row| row["Next"] == name)
}

fn pass(chance: &mut Chance) -> Json {
    match chance.below(8) {
        0 => {
            json!({"Type": "Pass", "Result": {"n": chance.below(9), "l": [{"n": 1, "l": []}, {"n": 2, "l": []}]}})
        }
        1..=3 => json!({"Type": "Pass", "Parameters": {"n.$": "$.n", "l.$": "$.l", "was": "é\"\\"}}),
        // This one may be missing.
        4 => json!({"Type": "Pass", "Parameters": {"n.$": "$.n", "l.$": "$.l", "r.$": "$.r"}}),
        5 => json!({"Type": "Pass", "Result": [1.5, null, "x"], "ResultPath": "$.p"}),
        6 => json!({"Type": "Pass", "Result": 1, "ResultPath": null}),
        _ => json!({"Type": "Pass"}),
    }
}

fn choice(chance: &mut Chance, one: &str, other: &str) -> Json {
    let rule = if chance.one_in(2) {
        json!({"Variable": "$.n", "NumericGreaterThan": chance.below(9), "Next": one})
    } else {
        json!({"Variable": "$.r", "IsPresent": true, "Next": one})
    };
    json!({"Type": "Choice", "Choices": [rule], "Default": other})
}

const ERRORS: [&str; 5] = ["E1", "E2", "States.TaskFailed", "States.Timeout", "States.ALL"];

fn guard(chance: &mut Chance, state: &mut Json, is_task: bool, target: Option<String>) {
    if is_task && !chance.one_in(4) {
        let seconds = 1 + chance.below(5);
        state["TimeoutSeconds"] = seconds.into();
        if seconds > 1 && chance.one_in(4) {
            state["HeartbeatSeconds"] = (1 + chance.below(seconds - 1)).into();
        }
    }
    if chance.one_in(2) {
        state["Retry"] = json!([{"ErrorEquals": [chance.pick(&ERRORS)], "MaxAttempts": chance.below(3),
            "IntervalSeconds": 1 + chance.below(2), "BackoffRate": 1.5}]);
    }
    if let Some(target) = target
        && chance.one_in(2)
    {
        state["Catch"] =
            json!([{"ErrorEquals": [chance.pick(&ERRORS)], "ResultPath": "$.e", "Next": target}]);
    }
}
