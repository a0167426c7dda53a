//! Keys and what they may do, through the binary: requests signed with two keys of different reach.

use serde_json::{Value as Json, json};

use crate::serving::{Folder, Key, Serving};

const ADMIN: Key = Key { id: "KADMIN", secret: "all", region: "us-east-1" };
const MAKER: Key = Key { id: "KMAKER", secret: "some", region: "us-east-1" };

const KEYS: &str = r#"{"keys": [
    {"accessKeyId": "KADMIN", "secretAccessKey": "all", "allow": [{"actions": ["*"], "resources": ["*"]}]},
    {"accessKeyId": "KMAKER", "secretAccessKey": "some", "allow": [
        {"actions": ["states:*"], "resources": ["*:stateMachine:own*", "*:activity:own*"]},
        {"actions": ["states:TestState"], "resources": ["*"]}]}]}"#;

struct World {
    folder: Folder,
}

impl World {
    fn new(test: &str) -> World {
        let folder = Folder::new(test);
        folder.write("keys.json", KEYS);
        World { folder }
    }

    fn start(&self) -> Serving {
        let path = |name: &str| self.folder.0.join(name).to_str().expect("UTF-8").to_owned();
        Serving::start(&["--auth", &path("keys.json"), "--state", &path("state")])
    }
}

fn arn(machine: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:stateMachine:{machine}")
}

fn definition(state: &Json) -> String {
    json!({"StartAt": "S", "States": {"S": state}}).to_string()
}

fn create(serving: &Serving, key: &Key, name: &str, state: &Json) -> (u16, String) {
    let request = json!({"name": name, "type": "EXPRESS", "definition": definition(state),
        "roleArn": "arn:aws:iam::123456789012:role/r"});
    serving.ask_as(key, "CreateStateMachine", &request.to_string())
}

/// A task that starts a machine.
fn starts(machine: &str) -> Json {
    json!({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "End": true,
        "Parameters": {"StateMachineArn": arn(machine), "Input": {"StateMachineArn": "not looked at"}}})
}

/// An execution's outcome: its status, and its cause if it failed.
fn run(serving: &Serving, key: &Key, machine: &str) -> (String, String) {
    let request = json!({"stateMachineArn": arn(machine)}).to_string();
    let (status, body) = serving.ask_as(key, "StartSyncExecution", &request);
    assert_eq!(status, 200, "{body}");
    let ended: Json = serde_json::from_str(&body).expect("JSON");
    let text = |name: &str| ended[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("cause"))
}

#[test]
fn what_an_operation_does_not_have_says_nothing_of_what_it_is_about() {
    let world = World::new("members");
    let serving = world.start();
    let own = arn("own");
    let pass = json!({"Type": "Pass", "End": true});
    assert_eq!(create(&serving, &ADMIN, "secret", &pass).0, 200);
    assert_eq!(create(&serving, &MAKER, "own", &pass).0, 200);
    let allowed = |operation: &str, body: Json| {
        let (status, body) = serving.ask_as(&MAKER, operation, &body.to_string());
        assert!(status == 200 || body.contains("AccessDeniedException"), "{operation}: {body}");
        status == 200
    };
    for (operation, mut body) in [
        ("ListStateMachines", json!({})),
        ("ListActivities", json!({})),
        ("ValidateStateMachineDefinition", json!({"definition": definition(&pass)})),
        ("SendTaskSuccess", json!({"taskToken": "t", "output": "{}"})),
        ("SendTaskHeartbeat", json!({"taskToken": "t"})),
        ("DescribeStateMachine", json!({"stateMachineArn": arn("secret")})),
    ] {
        assert!(!allowed(operation, body.clone()), "{operation}");
        // Members of other operations, at any depth.
        for member in ["stateMachineArn", "resourceArn", "executionArn", "stateMachineAliasArn"] {
            if body.get(member).is_none() {
                body[member] = json!(own);
            }
        }
        body["routingConfiguration"] = json!([{"stateMachineVersionArn": own, "weight": 100}]);
        assert!(!allowed(operation, body), "{operation} with members that it does not have");
    }
    // What does not widen does not narrow either.
    assert!(allowed("DescribeStateMachine", json!({"stateMachineArn": own, "executionArn": arn("secret")})));
    // Of two members of a name both take the last.
    let twice = format!(r#"{{"stateMachineArn": "{own}", "stateMachineArn": "{}"}}"#, arn("secret"));
    let (status, body) = serving.ask_as(&MAKER, "DescribeStateMachine", &twice);
    assert!(status == 400 && body.contains("AccessDeniedException"), "{body}");
}

#[test]
fn a_signature_is_for_one_region() {
    let world = World::new("region");
    let serving = world.start();
    let (status, body) = serving.ask_as(&ADMIN, "ListActivities", "{}");
    assert_eq!(status, 200, "{body}");
    let (status, body) = serving.ask_as(&Key { region: "eu-west-1", ..ADMIN }, "ListActivities", "{}");
    assert!(status == 400 && body.contains("InvalidSignatureException"), "{body}");
}

#[test]
fn a_machine_starts_no_more_than_whoever_wrote_it_may() {
    let world = World::new("makers");
    let serving = world.start();
    let pass = json!({"Type": "Pass", "End": true});
    assert_eq!(create(&serving, &ADMIN, "secret", &pass).0, 200);
    assert_eq!(create(&serving, &MAKER, "own", &pass).0, 200);
    assert_eq!(create(&serving, &MAKER, "own-to-own", &starts("own")).0, 200);
    assert_eq!(create(&serving, &MAKER, "own-to-secret", &starts("secret")).0, 200);
    assert_eq!(create(&serving, &ADMIN, "own-by-admin", &starts("secret")).0, 200);
    let denied = |serving: &Serving, key: &Key, machine: &str| {
        let (status, cause) = run(serving, key, machine);
        let is_denied =
            cause.contains("KMAKER is not authorized to perform: states:StartExecution on resource: ");
        assert!(is_denied == (status == "FAILED"), "{machine}: {status} {cause}");
        is_denied
    };
    assert!(!denied(&serving, &MAKER, "own-to-own"));
    assert!(denied(&serving, &MAKER, "own-to-secret"));
    assert!(denied(&serving, &ADMIN, "own-to-secret"), "whoever starts it");
    assert!(!denied(&serving, &MAKER, "own-by-admin"), "what was lent on purpose");

    // The author of the definition is responsible for it; a caller that changes something else is not.
    let update = |key: &Key, member: &str, value: Json| {
        let request = json!({"stateMachineArn": arn("own-by-admin"), member: value}).to_string();
        let (status, body) = serving.ask_as(key, "UpdateStateMachine", &request);
        assert_eq!(status, 200, "{body}");
    };
    update(&MAKER, "tracingConfiguration", json!({"enabled": true}));
    assert!(!denied(&serving, &MAKER, "own-by-admin"));
    update(&MAKER, "definition", json!(definition(&starts("secret"))));
    assert!(denied(&serving, &MAKER, "own-by-admin"));
    update(&ADMIN, "tracingConfiguration", json!({"enabled": false}));
    assert!(denied(&serving, &MAKER, "own-by-admin"));

    // What it may is stored with it.
    assert_eq!(serving.stop().0, Some(0));
    let serving = world.start();
    for machine in ["own-to-secret", "own-by-admin"] {
        assert!(denied(&serving, &MAKER, machine), "{machine} after a restart");
    }
    assert!(!denied(&serving, &MAKER, "own-to-own"));

    // One state by itself does no more either.
    let (status, body) = serving.ask_as(
        &MAKER,
        "TestState",
        &json!({"definition": starts("secret").to_string(), "roleArn": "arn:aws:iam::123456789012:role/r"})
            .to_string(),
    );
    assert!(status == 200 && body.contains("KMAKER is not authorized"), "{body}");
}

#[test]
fn the_sdk_integration_reaches_no_further() {
    let world = World::new("sdk-integration");
    let serving = world.start();
    let call = |action: &str, parameters: Json| {
        json!({"Type": "Task", "Resource": format!("arn:aws:states:::aws-sdk:sfn:{action}"), "End": true,
            "Parameters": parameters})
    };
    let role = "arn:aws:iam::123456789012:role/r";
    let pass = definition(&json!({"Type": "Pass", "End": true}));
    let cases = [
        ("own-1", call("startSyncExecution", json!({"StateMachineArn": arn("secret")})), true),
        ("own-2", call("listStateMachines", json!({})), true),
        ("own-3", call("describeStateMachine", json!({"StateMachineArn": arn("own-1")})), false),
        // The server signs such a request: the new machine would carry what the server may do.
        (
            "own-4",
            call("createStateMachine", json!({"Name": "own-5", "Definition": pass, "RoleArn": role})),
            true,
        ),
    ];
    for (name, state, is_denied) in cases {
        let (status, body) = create(&serving, &MAKER, name, &state);
        assert_eq!(status, 200, "{body}");
        // A permitted call is sent, and there is no server.
        let (status, cause) = run(&serving, &MAKER, name);
        assert_eq!(status, "FAILED");
        assert_eq!(cause.contains("KMAKER is not authorized"), is_denied, "{name}: {cause}");
    }
}
