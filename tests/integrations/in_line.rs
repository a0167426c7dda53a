//! Service tasks of in-line drivers: on the caller's own thread.

use expressway::runtime::RealClock;
use expressway::runtime::inline::{Driver, Outcome};
use expressway::task::aws::{InLine, Integrations};
use expressway::{asl, compile};
use serde_json::{Value, json};

use crate::server::{Says, Server, answer};

fn run(server: &Server, definition: &Value) -> Result<String, (String, String)> {
    let (definition, problems) = asl::read(definition.to_string().as_bytes(), &asl::Options::default());
    let definition = definition.unwrap_or_else(|| panic!("{problems:?}"));
    let program = compile::compile(&definition).expect("a program");
    let integrations = Integrations::new().endpoint("Lambda", &server.url()).expect("a URL");
    let tasks = Box::new(InLine::new(integrations));
    let mut driver = Driver::with_tasks(program.into(), RealClock, tasks);
    let ended = driver.run(b"{\"n\": [1]}").expect("an execution");
    match ended.outcome() {
        Outcome::Failed(fault) => {
            let fault = fault.clone();
            Err((fault.error.unwrap_or_default().into_owned(), fault.cause.unwrap_or_default()))
        }
        _ => {
            let mut output = Vec::new();
            ended.write_output(&mut output);
            Ok(String::from_utf8(output).expect("UTF-8"))
        }
    }
}

fn task(fields: Value) -> Value {
    let mut state = json!({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
        "Parameters": {"FunctionName": "f", "Payload.$": "$.n"}, "OutputPath": "$.Payload"});
    state.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({"StartAt": "A", "States": {"A": state}})
}

#[test]
fn services_are_called() {
    let server = Server::start(|asked| answer(200, &[], format!("[{}]", asked.text())));
    assert_eq!(run(&server, &task(json!({}))), Ok("[[1]]".to_owned()));
}

#[test]
fn time_is_kept() {
    let server = Server::saying(Says::Nothing);
    assert_eq!(
        run(&server, &task(json!({"TimeoutSeconds": 1}))),
        Err(("States.Timeout".to_owned(), String::new()))
    );
    server.hung_up.recv().expect("the connection is closed");
}

#[test]
fn what_is_not_supported_fails() {
    let server = Server::saying(answer(200, &[], "1"));
    let fields = json!({"Resource": "arn:aws:states:::aws-sdk:codecatalyst:verifySession", "Parameters": {}});
    let (error, cause) = run(&server, &task(fields)).expect_err("a failure");
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("verifySession is not supported"), "{cause}");
}
