//! The recorded cases.

use std::collections::HashSet;

use expressway::asl::{Resources, Severity};
use expressway::service::Error;
use expressway::service::test_state::{
    FieldValidation, InspectionLevel, Mock, MockError, News, Progress, StateConfiguration, Surroundings,
    Test, TestState, TestedState,
};
use expressway::service::validate::{ValidateStateMachineDefinition, validate};
use serde_json::{Map, Value, json};

use crate::corpora::{Report, recorded};

/// What the function of the recordings without a mock answers.
const FUNCTION_ANSWERS: &str = r#""HelloWorld!""#;

pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        partition: "aws".to_owned(),
        region: "us-east-1".to_owned(),
        account: "111111111111".to_owned(),
        now_ms: 1_760_000_000_000,
        seed: 7,
        resources: Resources::Aws,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(crate) fn request(json: &Value) -> TestState {
    let number = |value: &Value| value.as_u64().map(|number| number as u32);
    let configuration = &json["stateConfiguration"];
    let mock = json.get("mock").map(|mock| Mock {
        result: text(&mock["result"]),
        error_output: mock
            .get("errorOutput")
            .map(|error| MockError { error: text(&error["error"]), cause: text(&error["cause"]) }),
        field_validation: match mock["fieldValidationMode"].as_str() {
            Some("PRESENT") => FieldValidation::Present,
            Some("NONE") => FieldValidation::None,
            _ => FieldValidation::Strict,
        },
    });
    TestState {
        definition: text(&json["definition"]).unwrap_or_else(|| json["definition"].to_string()),
        role_arn: text(&json["roleArn"]),
        input: text(&json["input"]),
        inspection_level: match json["inspectionLevel"].as_str() {
            Some("DEBUG") => InspectionLevel::Debug,
            Some("TRACE") => InspectionLevel::Trace,
            _ => InspectionLevel::Info,
        },
        reveal_secrets: json["revealSecrets"] == true,
        variables: text(&json["variables"]),
        state_name: text(&json["stateName"]),
        mock,
        context: text(&json["context"]),
        configuration: StateConfiguration {
            retrier_retry_count: number(&configuration["retrierRetryCount"]),
            error_caused_by_state: text(&configuration["errorCausedByState"]),
            map_iteration_failure_count: number(&configuration["mapIterationFailureCount"]),
            map_item_reader_data: text(&configuration["mapItemReaderData"]),
        },
    }
}

/// Runs a test; time passes at once, `answer` is the result of tasks.
pub(crate) fn run(request: &TestState, answer: &str) -> Result<TestedState, Error> {
    let surroundings = surroundings();
    let mut now_ms = surroundings.now_ms;
    let mut test = Test::new(request, &surroundings)?;
    let mut news = News::Begin;
    for _ in 0..10 {
        news = match test.advance(news, now_ms)? {
            Progress::Done(tested) => return Ok(*tested),
            Progress::Task(_) => News::Answer(Ok(answer.as_bytes().to_vec())),
            Progress::Wait { until_ms } => {
                now_ms = until_ms;
                News::Time
            }
        };
    }
    panic!("a test has no end");
}

/// The answer as the wire has it.
pub(crate) fn wire(tested: &TestedState) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    put("output", tested.output.clone().map(Value::from));
    put("error", tested.error.clone().map(Value::from));
    put("cause", tested.cause.clone().map(Value::from));
    put("nextState", tested.next_state.clone().map(Value::from));
    put("status", Some(Value::from(tested.status.name())));
    put(
        "inspectionData",
        tested.inspection.as_ref().map(|it| {
            let details = it.error_details.map(|details| {
                json!({
                    "catchIndex": details.catch_index,
                    "retryIndex": details.retry_index,
                    "retryBackoffIntervalSeconds": details.retry_backoff_interval_seconds,
                })
            });
            json!({
                "input": it.input, "afterArguments": it.after_arguments, "afterInputPath": it.after_input_path,
                "afterParameters": it.after_parameters, "result": it.result,
                "afterResultSelector": it.after_result_selector, "afterResultPath": it.after_result_path,
                "variables": it.variables, "errorDetails": details, "afterItemsPath": it.after_items_path,
                "afterItemSelector": it.after_item_selector, "afterItemBatcher": it.after_item_batcher,
                "afterItemsPointer": it.after_items_pointer, "toleratedFailureCount": it.tolerated_failure_count,
                "toleratedFailurePercentage": it.tolerated_failure_percentage, "maxConcurrency": it.max_concurrency,
            })
        }),
    );
    without_null(Value::Object(all))
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            members.map(|(name, value)| (name, without_null(value))).collect()
        }
        value => value,
    }
}

/// The corpus's own rule: placeholders match anything, numbers compare by value, and a recorded container may match
/// JSON text.
pub(crate) fn matches(expected: &Value, actual: &Value, wild: &HashSet<&str>) -> bool {
    match (expected, actual) {
        (Value::String(text), _) if wild.contains(text.as_str()) => true,
        (Value::String(pattern), Value::String(text)) => fits(pattern, text, wild),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(_) | Value::Array(_), Value::String(text)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|actual| matches(expected, &actual, wild))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| matches(a, b, wild)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches(a, b, wild))
        }
        // Of a JSON text that is no container, the recorder kept the text or its value.
        (expected, Value::String(text)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|it| it == *expected)
        }
        (a, b) => a == b,
    }
}

/// Whether a text matches a pattern in which placeholders match any text.
fn fits(pattern: &str, text: &str, wild: &HashSet<&str>) -> bool {
    let next = wild.iter().filter_map(|token| pattern.find(token).map(|at| (at, token.len()))).min();
    let Some((at, len)) = next else {
        return pattern == text || serde_json::from_str::<String>(text).is_ok_and(|it| it == pattern);
    };
    let (before, after) = (&pattern[..at], &pattern[at + len..]);
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|&skip| rest.is_char_boundary(skip)).any(|skip| fits(after, &rest[skip..], wild))
}

fn compare(expected: &Value, found: Result<TestedState, Error>, wild: &HashSet<&str>) -> Result<(), String> {
    match (found, expected.get("error_response")) {
        (Ok(tested), None) => {
            let actual = wire(&tested);
            if matches(&expected["response"], &actual, wild) {
                Ok(())
            } else {
                Err(format!("{actual}\n    recorded {}", expected["response"]))
            }
        }
        (Ok(tested), Some(error)) => Err(format!("{}\n    recorded {error}", wire(&tested))),
        (Err(error), Some(recorded)) => {
            let same = recorded["code"] == error.exception.name() && recorded["message"] == *error.message;
            if same { Ok(()) } else { Err(format!("{error}\n    recorded {recorded}")) }
        }
        (Err(error), None) => Err(format!("{error}\n    recorded {expected}")),
    }
}

#[test]
fn tested_states() {
    let Some(rows) = recorded("test_state.jsonl") else { return };
    let mut report = Report::new("test_state.jsonl", include_str!("../known/test_state.txt"));
    for row in &rows {
        let expected = &row["expected"];
        if expected["error_response"]["client_side"] == true {
            // The recording's client refused the request by itself.
            continue;
        }
        let wild = row["placeholders"]["output"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = run(&request(&row["request"]), FUNCTION_ANSWERS);
        report.case(row["id"].as_str().expect("an id"), compare(expected, found, &wild.collect()));
    }
    report.finish();
}

/// Our own cases: from the guide, and unrecorded ones.
#[test]
fn own_cases() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    let mut report = Report::new("cases.json", "");
    for row in &rows {
        let answer = row.get("answer").map_or_else(|| FUNCTION_ANSWERS.to_owned(), Value::to_string);
        let found = run(&request(&row["request"]), &answer);
        report.case(row["title"].as_str().expect("a title"), compare(row, found, &HashSet::new()));
    }
    report.finish();
}

#[test]
fn validated_definitions() {
    let Some(rows) = recorded("validation.jsonl") else { return };
    let mut report = Report::new("validation.jsonl", include_str!("../known/test_state.txt"));
    for row in rows.iter().filter(|row| row["op"] == "ValidateStateMachineDefinition") {
        let found = validate(&ValidateStateMachineDefinition {
            definition: text(&row["definition_text"]).expect("a definition"),
            express: row["machine_type"] == "EXPRESS",
            warnings: row["request"]["severity"] == "WARNING",
            results_max: row["request"]["maxResults"].as_u64().unwrap_or(0) as u32,
            resources: Resources::Aws,
        });
        let diagnostics: Vec<Value> = (found.diagnostics.iter())
            .map(|it| {
                without_null(json!({
                    "severity": it.severity.name(), "code": it.code, "message": it.message,
                    "location": it.location,
                }))
            })
            .collect();
        let actual = json!({
            "result": if found.ok { "OK" } else { "FAIL" },
            "diagnostics": diagnostics,
            "truncated": found.truncated,
        });
        assert!(found.diagnostics.iter().all(|it| it.severity == Severity::Error));
        let recorded = &row["expected"]["response"];
        let same = matches(recorded, &actual, &HashSet::new());
        let outcome = if same { Ok(()) } else { Err(format!("{actual}\n    recorded {recorded}")) };
        report.case(row["id"].as_str().expect("an id"), outcome);
    }
    report.finish();
}
