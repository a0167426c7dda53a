//! Step Functions Local's mock configuration: its answers, and its errors. History in bounded memory, because both are
//! tested by the same executions.

use std::sync::Arc;

use expressway::engine::Outcome;
use expressway::observe::{EventType, History};
use expressway::program::Program;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::Driver;
use expressway::task::mock::{MockConfig, MockError, TestCase};
use expressway::{asl, compile};

const CONFIG: &str = r#"{
  "StateMachines": {"Orders": {"TestCases": {
    "Happy": {"Charge": "Charged", "Ship": "Shipped"},
    "Flaky": {"Charge": "ThirdTime", "Ship": "Shipped"},
    "Short": {"Charge": "Once", "Ship": "Shipped"},
    "Partial": {"Charge": "Charged"},
    "Dangling": {"Charge": "Nowhere"},
    "Empty": {"Charge": "Unfinished"},
    "Wrong": {"Charge": "BadKey"},
    "Neither": {"Charge": "NoAnswer"},
    "Misspelt": {"Charge": "Misspelt"}
  }}},
  "MockedResponses": {
    "Charged": {"0-9": {"Return": {"paid": 12.50, "id": 9007199254740993}}},
    "Shipped": {"0": {"Return": "shipped"}},
    "ThirdTime": {"0-1": {"Throw": {"Error": "Card.Busy", "Cause": "try again"}}, "2": {"Return": {"paid": 1}}},
    "Once": {"0": {"Throw": {"Error": "Card.Busy"}}},
    "Unfinished": {},
    "BadKey": {"first": {"Return": 1}},
    "NoAnswer": {"0": {"Note": 1}},
    "Misspelt": {"0": {"Retrun": 1}}
  }
}"#;

const MACHINE: &str = r#"{"StartAt": "Charge", "States": {
  "Charge": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"},
    "Retry": [{"ErrorEquals": ["Card.Busy"], "MaxAttempts": 3}], "ResultPath": "$.charge", "Next": "Ship"},
  "Ship": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:111111111111:function:ship",
    "ResultPath": "$.ship", "End": true}}}"#;

fn program(text: &str) -> Arc<Program> {
    let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
    compile::compile(&definition.unwrap_or_else(|| panic!("{problems:?}"))).expect("a program").into()
}

fn driver(case: TestCase) -> Driver<VirtualClock> {
    Driver::with_tasks(program(MACHINE), VirtualClock::at(0), Box::new(case))
}

fn test_case(name: &str) -> Result<TestCase, MockError> {
    MockConfig::parse(CONFIG.as_bytes()).expect("a configuration").test_case("Orders", name)
}

/// The output, or error and cause.
fn run(case: &str) -> Result<String, String> {
    let mut driver = driver(test_case(case).expect("a test case"));
    let ended = driver.run(b"{}").expect("an execution");
    match ended.outcome() {
        Outcome::Failed(fault) => {
            Err(format!("{}: {}", fault.error.as_deref().unwrap_or(""), fault.cause.as_deref().unwrap_or("")))
        }
        _ => {
            let mut output = Vec::new();
            ended.write_output(&mut output);
            Ok(String::from_utf8(output).expect("text"))
        }
    }
}

#[test]
fn test_cases_answer_by_state_and_invocation() {
    assert_eq!(
        run("Happy").as_deref(),
        Ok(r#"{"charge":{"paid":12.5,"id":9007199254740993},"ship":"shipped"}"#)
    );
    assert_eq!(run("Flaky").as_deref(), Ok(r#"{"charge":{"paid":1},"ship":"shipped"}"#));
}

#[test]
fn what_is_not_mocked_fails_by_name() {
    let missing = "States.Runtime: The mocked response 'Once' of the state 'Charge' in the test case 'Short' has no answer for invocation 1.";
    assert_eq!(run("Short"), Err(missing.to_owned()));
    let missing =
        "States.Runtime: The test case 'Partial' has no mocked response for the state 'Ship', invocation 0.";
    assert_eq!(run("Partial"), Err(missing.to_owned()));
    let missing = "States.Runtime: The mocked response 'Unfinished' of the state 'Charge' in the test case 'Empty' has no answer for invocation 0.";
    assert_eq!(run("Empty"), Err(missing.to_owned()));
    let case = test_case("Partial").expect("a test case");
    assert!(case.has("Charge") && !case.has("Ship"));
}

#[test]
fn every_execution_counts_anew() {
    let mut driver = driver(test_case("Flaky").expect("a test case"));
    for _ in 0..3 {
        assert!(driver.run(b"{}").expect("an execution").succeeded());
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let told = |case: &str| test_case(case).map(|_| ()).expect_err("a mistake").to_string();
    assert_eq!(told("Nope"), "the mock configuration has no test case 'Nope' for the state machine 'Orders'");
    assert_eq!(
        told("Dangling"),
        "the mock configuration has no mocked response 'Nowhere', which the state 'Charge' names"
    );
    assert!(
        told("Wrong").starts_with("the mock configuration's MockedResponses/BadKey/first must be named by")
    );
    assert!(
        told("Neither").starts_with("the mock configuration's MockedResponses/NoAnswer/0 must be an object")
    );
    assert_eq!(
        told("Misspelt"),
        "the mock configuration has 'Retrun' at MockedResponses/Misspelt/0: did you mean `Return`?"
    );
    let config = MockConfig::parse(CONFIG.as_bytes()).expect("a configuration");
    let unknown = config.test_case("Nothing", "Happy").map(|_| ()).expect_err("a mistake");
    assert_eq!(unknown, MockError::NoStateMachine("Nothing".to_owned()));
    assert_eq!(config.test_cases("Orders").take(2).collect::<Vec<_>>(), ["Happy", "Flaky"]);
    for text in
        ["", "[]", "{}", r#"{"StateMachines": {}}"#, r#"{"StateMachines": [], "MockedResponses": {}}"#]
    {
        assert!(MockConfig::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_history_keeps_its_end_when_it_has_no_room_for_all() {
    let machine = r#"{"StartAt": "A", "States": {
      "A": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "B"},
      "B": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 1000, "Next": "A"}], "Default": "C"},
      "C": {"Type": "Succeed"}}}"#;
    let mut driver = Driver::with_tasks(
        program(machine),
        VirtualClock::at(0),
        Box::new(test_case("Happy").expect("a case")),
    );
    let mut history = History::new(10_000);
    assert!(driver.run_listened(br#"{"n":0}"#, &mut history).expect("an execution").succeeded());
    let kept = history.events().len() as u64;
    assert!((10..200).contains(&kept), "{kept} events");
    assert_eq!(history.dropped() + kept, 4 * 1_000 + 4);
    let last = history.events().next_back().expect("an event");
    assert_eq!((last.id, last.event_type), (4_004, EventType::ExecutionSucceeded));
    history.clear();
    assert_eq!((history.events().len(), history.dropped()), (0, 0));

    let mut bare = History::new(10_000).without_payloads();
    driver.run_listened(br#"{"n":999}"#, &mut bare).expect("an execution");
    assert!(bare.events().all(|event| event.detail("input").is_none() && event.detail("output").is_none()));
}
