//! What is refused when a state machine is created, how calls end early, and what connections are used for.

use std::time::{Duration, Instant};

use expressway::asl::MachineType;
use expressway::runtime::{DefinitionError, Engine, MachineSpec, Profile, Status};
use expressway::task::aws::Integrations;
use serde_json::{Value, json};

use crate::server::{Says, Server, answer};
use crate::{failure, output, run_machine, run_state};

const LAMBDA: &str = "arn:aws:states:::lambda:invoke";

/// The problems of a Task with this resource, when its machine is created: places and texts.
fn refusal(profile: Profile, state: Value) -> Vec<(String, String)> {
    let mut task = state;
    task["Type"] = json!("Task");
    task["End"] = json!(true);
    task["Parameters"] = json!({});
    let inner = json!({"StartAt": "Call", "States": {"Call": task}});
    let each = json!({"Type": "Map", "ItemProcessor": inner, "End": true});
    let definition = json!({"StartAt": "Each", "States": {"Each": each}});
    let engine =
        Engine::builder().shards(1).profile(profile).aws(Integrations::new()).build().expect("an engine");
    match engine.create_state_machine("m", &definition.to_string()) {
        Ok(_) => Vec::new(),
        Err(DefinitionError::Unsupported(errors)) => {
            errors.into_iter().map(|error| (error.location, error.message)).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    for (resource, why) in [
        (
            "arn:aws:states:::aws-sdk:bedrockagentcore:invokeHarness",
            "Bodies of bedrockagentcore:invokeHarness cannot be sent or read",
        ),
        (
            "arn:aws:states:::aws-sdk:codecatalyst:listSpaces",
            "AWS's service 'codecatalyst' is not called here: ",
        ),
    ] {
        let said = refusal(Profile::Open, json!({"Resource": resource}));
        let [(place, text)] = &said[..] else { panic!("{resource}: {said:?}") };
        assert_eq!(place, "/States/Each/ItemProcessor/States/Call/Resource");
        assert!(text.starts_with(&format!("The service task {resource} is not supported. {why}")), "{text}");
    }
    let definition = json!({"StartAt": "A", "States": {"A":
        {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:codecatalyst:verifySession", "Parameters": {}, "End": true}}});
    let (error, cause) =
        failure(&run_machine(Integrations::new().accept_unsupported(), &definition, &json!({})));
    assert_eq!(error, "States.Runtime");
    assert!(
        cause.starts_with("The service task arn:aws:states:::aws-sdk:codecatalyst:verifySession is"),
        "{cause}"
    );
    for resource in [
        LAMBDA,
        "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
        "arn:aws:states:::sqs:sendMessage",
        "arn:aws:states:::sns:publish",
        "arn:aws:states:::dynamodb:updateItem",
        "arn:aws:states:::events:putEvents",
        "arn:aws:states:::states:startExecution",
        "arn:aws:states:::apigateway:invoke",
        "arn:aws:states:::http:invoke",
        "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
        "arn:aws:states:::aws-sdk:cloudwatchlogs:putLogEvents",
        "arn:aws:states:::aws-sdk:secretsmanager:getSecretValue",
    ] {
        assert_eq!(refusal(Profile::Open, json!({"Resource": resource})), [], "{resource}");
    }
}

#[test]
fn handlers_of_ones_own_go_before() {
    let engine = Engine::builder()
        .shards(1)
        .profile(Profile::Open)
        .aws(Integrations::new())
        .task_sync("arn:aws:states:::ecs:runTask", |n: i64| Ok::<i64, expressway::task::TaskError>(n + 1))
        .build()
        .expect("an engine");
    let definition = json!({"StartAt": "A", "States": {"A":
        {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask", "End": true}}});
    let machine = engine.create_state_machine("m", &definition.to_string()).expect("a machine");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let outcome = runtime.block_on(engine.run(&machine, "1")).expect("an execution");
    assert_eq!(outcome.output::<i64>().expect("an output"), 2);
}

#[test]
fn nothing_is_sent_to_aws_without_credentials() {
    let state = json!({"Resource": LAMBDA, "Parameters": {"FunctionName": "f"}});
    let (error, cause) = failure(&run_state(Integrations::new(), state, &json!({})));
    assert_eq!(error, "Lambda.SdkClientException");
    assert!(cause.contains("Unable to load credentials"), "{cause}");
}

#[test]
fn a_timeout_closes_the_request() {
    let server = Server::saying(Says::Nothing);
    let integrations = Integrations::new().endpoint("Lambda", &server.url()).expect("a URL");
    let state = json!({"Resource": LAMBDA, "TimeoutSeconds": 1, "Parameters": {"FunctionName": "f"}});
    let begin = Instant::now();
    assert_eq!(failure(&run_state(integrations, state, &json!({}))).0, "States.Timeout");
    assert!(begin.elapsed() < Duration::from_secs(60));
    server.hung_up.recv().expect("the connection is closed");
}

#[test]
fn stopping_an_execution_closes_the_request() {
    let server = Server::saying(Says::Nothing);
    let integrations = Integrations::new().endpoint("Lambda", &server.url()).expect("a URL");
    let engine = Engine::builder().shards(1).aws(integrations).build().expect("an engine");
    let definition = json!({"StartAt": "A", "States": {"A":
        {"Type": "Task", "Resource": LAMBDA, "Parameters": {"FunctionName": "f"}, "End": true}}});
    let machine = engine.create_state_machine("m", &definition.to_string()).expect("a machine");
    let execution = engine.start(&machine, "{}").expect("an execution");
    server.asked.recv().expect("a request");
    execution.abort();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert_eq!(runtime.block_on(execution).status, Status::Aborted);
    server.hung_up.recv().expect("the connection is closed");
}

#[test]
fn a_connection_that_ended_is_retried_and_refused_ones_are_told() {
    let state = || json!({"Resource": LAMBDA, "Parameters": {"FunctionName": "f"}});
    // No server listens.
    let integrations = Integrations::new().endpoint("Lambda", "http://127.0.0.1:1").expect("a URL");
    let (error, cause) = failure(&run_state(integrations, state(), &json!({})));
    assert_eq!(error, "Lambda.SdkClientException");
    assert!(cause.starts_with("Unable to execute HTTP request: Connect to 127.0.0.1:1 failed"), "{cause}");
    // There is no such host.
    let integrations = Integrations::new().endpoint("Lambda", "http://nowhere.invalid").expect("a URL");
    let (error, cause) = failure(&run_state(integrations, state(), &json!({})));
    assert_eq!(error, "Lambda.SdkClientException");
    assert!(cause.starts_with("Unable to execute HTTP request: nowhere.invalid: "), "{cause}");
    // It hangs up instead of answering.
    let server = Server::saying(Says::HangUp);
    let integrations = Integrations::new().endpoint("Lambda", &server.url()).expect("a URL");
    assert_eq!(failure(&run_state(integrations, state(), &json!({}))).0, "Lambda.SdkClientException");
}

#[test]
fn connections_are_used_again() {
    // Of four calls the second answer ends its connection without saying so before.
    let server = Server::start(|asked| match asked.text() {
        "2" => Says::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2".to_vec()),
        text => answer(200, &[], text),
    });
    let integrations = Integrations::new().endpoint("Lambda", &server.url()).expect("a URL");
    let step = |n: u32, next: Value| {
        let mut state = json!({"Type": "Task", "Resource": LAMBDA, "Parameters": {"FunctionName": "f", "Payload": n},
            "ResultSelector": {"n.$": "$.Payload"}});
        state.as_object_mut().expect("an object").extend(next.as_object().expect("an object").clone());
        state
    };
    let definition = json!({"StartAt": "A", "States": {
        "A": step(1, json!({"Next": "B"})), "B": step(2, json!({"Next": "Wait"})),
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "C"},
        "C": step(3, json!({"Next": "D"})), "D": step(4, json!({"End": true}))}});
    assert_eq!(output(&run_machine(integrations, &definition, &json!({}))), json!({"n": 4}));
    let connections: Vec<usize> = server.asked.iter().take(4).map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1]);
}

#[test]
fn settings_come_from_the_environment() {
    let server = Server::saying(answer(200, &[], "1"));
    let variables = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Integrations::from_variables(pairs)
    };
    let folder = std::env::temp_dir().join(format!("expressway-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (config, keys) = (folder.join("config"), folder.join("credentials"));
    std::fs::write(
        &config,
        "[default]\nregion = eu-north-1\n\n[profile shop]\nregion=eu-west-3 # Paris\ns3 =\n  region = x\n",
    )
    .expect("a file");
    std::fs::write(
        &keys,
        "[other]\naws_access_key_id=NO\n[shop]\naws_access_key_id = AKID\naws_secret_access_key = s=1\n",
    )
    .expect("a file");
    let (config, keys) = (config.to_str().expect("a path"), keys.to_str().expect("a path"));
    let url = server.url();
    let at_url = format!(
        "[profile local]\nservices = here\nendpoint_url = http://127.0.0.1:1\n\
         [services here]\ns3 =\n  endpoint_url = http://127.0.0.1:2\nlambda =\n  endpoint_url = {url}\n"
    );
    let here = folder.join("services");
    std::fs::write(&here, at_url).expect("a file");
    let here = here.to_str().expect("UTF-8");
    for (pairs, expected) in [
        (vec![("LAMBDA_ENDPOINT", &*url)], None),
        (vec![("AWS_PROFILE", "local"), ("AWS_CONFIG_FILE", here)], None),
        (vec![("AWS_ENDPOINT_URL_LAMBDA", &*url), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], None),
        (
            vec![
                ("AWS_ENDPOINT_URL", &*url),
                ("AWS_ACCESS_KEY_ID", "ENV"),
                ("AWS_SECRET_ACCESS_KEY", "s"),
                ("AWS_DEFAULT_REGION", "ap-south-1"),
            ],
            Some("Credential=ENV/DAY/ap-south-1/lambda/aws4_request"),
        ),
        (
            vec![
                ("LAMBDA_ENDPOINT", &*url),
                ("AWS_PROFILE", "shop"),
                ("AWS_CONFIG_FILE", config),
                ("AWS_SHARED_CREDENTIALS_FILE", keys),
            ],
            Some("Credential=AKID/DAY/eu-west-3/lambda/aws4_request"),
        ),
    ] {
        let state = json!({"Resource": LAMBDA, "Parameters": {"FunctionName": "f"}});
        output(&run_state(variables(&pairs).expect("settings"), state, &json!({})));
        let asked = server.asked.recv().expect("a request");
        match expected {
            None => assert!(!asked.headers.contains_key("authorization"), "{pairs:?}"),
            Some(expected) => {
                let expected = expected.replace("DAY", &asked.headers["x-amz-date"][..8]);
                assert!(asked.headers["authorization"].contains(&expected), "{pairs:?}");
            }
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder");
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "LAMBDA_ENDPOINT", "STEP_FUNCTIONS_ENDPOINT"] {
        let wrong = variables(&[(name, "localhost:4566")]).expect_err("it is no URL").to_string();
        assert!(wrong.contains(&format!("'{name}=localhost:4566'")), "{wrong}");
    }
    assert!(variables(&[("SHOP_ENDPOINT", "orders")]).is_ok(), "another program's");
    for (service, meant) in [("Lamda", "lambda"), ("events", "eventbridge"), ("logs", "cloudwatch_logs")] {
        let wrong = variables(&[]).expect("settings").endpoint(service, "http://127.0.0.1:1");
        let wrong = wrong.expect_err("there is no such service").to_string();
        assert!(wrong.ends_with(&format!("did you mean `{meant}`?")), "{wrong}");
    }
    for service in ["EC2", "STS", "Secrets Manager", "bedrock runtime"] {
        assert!(
            variables(&[]).expect("settings").endpoint(service, "http://127.0.0.1:1").is_ok(),
            "{service}"
        );
    }
}

#[test]
fn containers_hand_out_credentials() {
    let keys = Server::start(|asked| match asked.headers.get("authorization").map(String::as_str) {
        Some("secret token") => answer(
            200,
            &[],
            r#"{"AccessKeyId": "CONTAINER", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}"#,
        ),
        _ => answer(403, &[], "no"),
    });
    let server = Server::saying(answer(200, &[], "1"));
    let pairs = [
        ("LAMBDA_ENDPOINT", server.url()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/keys", keys.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret token".to_owned()),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    let integrations = Integrations::from_variables(pairs).expect("settings");
    let call = |next: Value| {
        let mut state = json!({"Type": "Task", "Resource": LAMBDA, "Parameters": {"FunctionName": "f"}});
        state.as_object_mut().expect("an object").extend(next.as_object().expect("an object").clone());
        state
    };
    let definition =
        json!({"StartAt": "A", "States": {"A": call(json!({"Next": "B"})), "B": call(json!({"End": true}))}});
    output(&run_machine(integrations, &definition, &json!({})));
    for asked in server.asked.iter().take(2) {
        assert!(asked.headers["authorization"].contains("Credential=CONTAINER/"));
        assert_eq!(asked.headers["x-amz-security-token"], "t");
    }
    assert_eq!(keys.asked.try_iter().count(), 1, "they are kept");
}

#[test]
fn data_that_nothing_reads_is_refused_with_what_to_set() {
    let map = |fields: Value| {
        let mut map = json!({"Type": "Map", "End": true, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}});
        map.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
        json!({"StartAt": "M", "States": {"M": map}}).to_string()
    };
    let reader = |action: &str, config: Value, parameters: Value| {
        let resource = format!("arn:aws:states:::{action}");
        map(json!({"ItemReader": {"Resource": resource, "ReaderConfig": config, "Parameters": parameters}}))
    };
    let jsonl = json!({"InputType": "JSONL"});
    let (file, object) = (json!({"Path": "p"}), json!({"Bucket": "the-bucket", "Key": "k"}));
    for (definition, place, wanted) in [
        (reader("file:read", jsonl.clone(), file.clone()), "ItemReader/Resource", "--files DIR"),
        (reader("s3:getObject", jsonl.clone(), object.clone()), "ItemReader/Resource", "--endpoint S3=URL"),
        (reader("file:read", json!({}), file), "ItemReader/ReaderConfig", "InputType"),
        (
            reader("s3:getObject", jsonl.clone(), json!({"Bucket": "b", "Key": "k", "Range": "bytes=0-1"})),
            "ItemReader/Parameters",
            "The field 'Range' of arn:aws:states:::s3:getObject is not supported",
        ),
        (
            reader(
                "s3:listObjectsV2",
                json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
                json!({"Bucket": "the-bucket"}),
            ),
            "ItemReader/ReaderConfig/InputType",
            "The InputType CSV is not supported for a list of objects",
        ),
        (
            map(
                json!({"ResultWriter": {"Resource": "arn:aws:states:::file:write", "Parameters": {"Path": "p"}}}),
            ),
            "ResultWriter/Resource",
            "--files DIR",
        ),
    ] {
        let engine = Engine::builder().shards(1).profile(Profile::Open).build().expect("an engine");
        let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
        let Err(DefinitionError::Unsupported(errors)) = engine.create(&spec) else { panic!("{definition}") };
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.location, format!("/States/M/{place}"));
        assert!(error.message.contains(wanted), "{error}");
    }
}
