//! The services that deployed machines call: each is valid, and runs with mocks.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

/// Resources, and the parameters of their tasks.
fn calls() -> Vec<(&'static str, Json)> {
    vec![
        ("bedrock:invokeModel", json!({"ModelId": "m", "Body": {"prompt.$": "$.prompt"}})),
        ("bedrock:invokeModel.waitForTaskToken", json!({"ModelId": "m", "Body": {"t.$": "$$.Task.Token"}})),
        ("ecs:runTask.sync", json!({"Cluster": "c", "TaskDefinition": "t", "LaunchType": "FARGATE"})),
        (
            "ecs:runTask.waitForTaskToken",
            json!({"Cluster": "c", "TaskDefinition": "t", "Overrides":
            {"ContainerOverrides": [{"Name": "n", "Environment": [{"Name": "T", "Value.$": "$$.Task.Token"}]}]}}),
        ),
        ("glue:startJobRun.sync", json!({"JobName": "j", "Arguments": {"--day.$": "$.prompt"}})),
        ("codebuild:startBuild", json!({"ProjectName": "p"})),
        ("codebuild:startBuild.sync", json!({"ProjectName": "p"})),
        ("batch:submitJob", json!({"JobName": "j", "JobDefinition": "d", "JobQueue": "q"})),
        ("batch:submitJob.sync", json!({"JobName": "j", "JobDefinition": "d", "JobQueue": "q"})),
        ("emr-serverless:startJobRun.sync", json!({"ApplicationId": "a", "ExecutionRoleArn": "r"})),
        ("athena:startQueryExecution.sync", json!({"QueryString": "SELECT 1", "WorkGroup": "w"})),
        (
            "sagemaker:createTransformJob.sync",
            json!({"ModelName": "m", "TransformJobName": "t",
            "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
            "TransformOutput": {"S3OutputPath": "s3://b/out"},
            "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"}}),
        ),
        (
            "eks:call",
            json!({"ClusterName": "c", "CertificateAuthority": "Y2E=", "Endpoint": "https://c.example.com",
            "Method": "GET", "Path": "/api/v1/pods", "QueryParameters": {"labelSelector": ["a=b"]}}),
        ),
        (
            "eks:runJob.sync",
            json!({"ClusterName": "c", "CertificateAuthority": "Y2E=", "Endpoint.$": "$.prompt", "Job": {"kind": "Job"},
            "LogOptions": {"RetrieveLogs": true}}),
        ),
        (
            "bedrockagentcore:invokeHarness",
            json!({"HarnessArn": "a", "RuntimeSessionId.$": "$.prompt", "Messages": []}),
        ),
        ("aws-sdk:s3:getObject", json!({"Bucket": "b", "Key.$": "$.prompt"})),
        ("aws-sdk:glue:getTable", json!({"DatabaseName": "d", "Name": "t"})),
        (
            "aws-sdk:cloudwatchlogs:putLogEvents",
            json!({"LogGroupName": "g", "LogStreamName": "s",
            "LogEvents": [{"Timestamp": 1_700_000_000_000_u64, "Message": "m"}]}),
        ),
    ]
}

/// A machine that calls once by itself and once in each child of a distributed Map.
fn machine(resource: &str, parameters: &Json) -> Json {
    let task = |next: Json| {
        let mut task = json!({"Type": "Task", "Resource": format!("arn:aws:states:::{resource}"),
            "Parameters": parameters, "ResultPath": "$.result"});
        task.as_object_mut().expect("an object").extend(next.as_object().expect("fields").clone());
        task
    };
    json!({"StartAt": "Call", "States": {
        "Call": task(json!({"Next": "Each"})),
        "Each": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "End": true,
            "ItemSelector": {"prompt.$": "$$.Map.Item.Value"},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "CallEach", "States": {"CallEach": task(json!({"End": true}))}}}}})
}

#[test]
fn machines_that_call_services_are_valid_and_run_with_mocks() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jobs-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &Json| {
        let file = folder.join(name);
        fs::write(&file, text.to_string()).expect("a file");
        file
    };
    let mocks = json!({"StateMachines": {"m": {"TestCases": {"All": {"Call": "Done", "CallEach": "Done"}}}},
        "MockedResponses": {"Done": {"0-9": {"Return": {"status": "ok"}}}}});
    let mocks = file("mocks.json", &mocks);
    for (resource, parameters) in calls() {
        let machine = file("m.asl.json", &machine(resource, &parameters));
        let expressway = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
            let output = command.args(arguments).output().expect("the binary");
            let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
            (output.status.code(), text(output.stdout), text(output.stderr))
        };
        let path = machine.to_str().expect("UTF-8");
        let (code, out, err) = expressway(&["validate", "--type", "standard", path]);
        assert_eq!(code, Some(0), "{resource}: {out}{err}");
        let mocks = mocks.to_str().expect("UTF-8");
        let input = r#"{"prompt": "p", "items": ["a", "b"]}"#;
        let (code, out, err) = expressway(&["run", path, "--mock", mocks, "--input", input, "--quiet"]);
        assert_eq!(code, Some(0), "{resource}: {err}");
        let each = |item: &str| json!({"prompt": item, "result": {"status": "ok"}});
        let out: Json = serde_json::from_str(&out).expect("JSON");
        assert_eq!(out, json!([each("a"), each("b")]), "{resource}");
    }
}

#[test]
fn children_that_run_at_once_count_their_own_invocations() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("children-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &Json| {
        let file = folder.join(name);
        fs::write(&file, text.to_string()).expect("a file");
        file
    };
    let retry = json!([{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}]);
    let task = json!({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": true, "Retry": retry,
        "Parameters": {"QueueUrl": "q", "MessageBody.$": "$"}});
    let machine = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "Send", "States": {"Send": task}}}}});
    let mocks = json!({"StateMachines": {"m": {"TestCases": {"Busy": {"Send": "BusyTwice"}}}},
        "MockedResponses": {"BusyTwice": {"0-1": {"Throw": {"Error": "Busy", "Cause": "try again"}},
            "2": {"Return": "sent"}}}});
    let (machine, mocks) = (file("m.asl.json", &machine), file("mocks.json", &mocks));
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("run").arg(&machine).arg("--mock").arg(&mocks);
    let output = command.args(["--input", r#"["a","b","c","d"]"#, "--quiet"]).output().expect("the binary");
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let out: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(out, json!(["sent", "sent", "sent", "sent"]));
}

/// The same machine, with a Map that passes batches to its children and tolerates failures.
#[cfg(all(feature = "cli-serve", unix))]
fn batched(resource: &str, parameters: &Json) -> Json {
    let mut machine = machine(resource, parameters);
    let each = &mut machine["States"]["Each"];
    each["ItemBatcher"] = json!({"MaxItemsPerBatch": 2, "BatchInput": {"prompt.$": "$.prompt"}});
    let child = &mut each["ItemProcessor"]["States"]["CallEach"];
    // A child's input is its batch.
    let text = parameters.to_string().replace("$.prompt", "$.BatchInput.prompt");
    child["Parameters"] = serde_json::from_str(&text).expect("JSON");
    each["ToleratedFailurePercentage"] = json!(50);
    each["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = json!("STANDARD");
    machine
}

/// Each shape of machine is created over the API and runs with mocks.
#[cfg(all(feature = "cli-serve", unix))]
#[test]
fn what_is_mocked_may_also_be_created_over_the_api() {
    use crate::serving::{Folder, Serving};

    let shapes: Vec<(String, Json, Json)> = (calls().into_iter())
        .flat_map(|(resource, parameters)| {
            let name = resource.replace([':', '.'], "-");
            let each = |item: &str| json!({"prompt": item, "result": {"status": "ok"}});
            let items = json!([{"prompt": "a"}, {"prompt": "b"}]);
            let batch = json!([{"BatchInput": {"prompt": "p"}, "Items": items, "result": {"status": "ok"}}]);
            [
                (format!("{name}-batches"), batched(resource, &parameters), batch),
                (name, machine(resource, &parameters), json!([each("a"), each("b")])),
            ]
        })
        .collect();
    let cases = json!({"TestCases": {"All": {"Call": "Done", "CallEach": "Done"}}});
    let machines: serde_json::Map<String, Json> =
        shapes.iter().map(|(name, ..)| (name.clone(), cases.clone())).collect();
    let mocks = json!({"StateMachines": machines,
        "MockedResponses": {"Done": {"0-9": {"Return": {"status": "ok"}}}}});
    let folder = Folder::new("shapes");
    let mocks = folder.file("mocks.json", mocks.to_string());
    let serving = Serving::start(&["--mock-config", &mocks]);
    let ask = |operation: &str, request: Json| -> Json {
        let (status, body) = serving.ask(operation, &request.to_string());
        assert_eq!(status, 200, "{operation} {request}: {body}");
        serde_json::from_str(&body).expect("JSON")
    };
    for (name, definition, expected) in shapes {
        let created = ask(
            "CreateStateMachine",
            json!({"name": name, "type": "STANDARD", "definition": definition.to_string(),
                "roleArn": "arn:aws:iam::123456789012:role/r"}),
        );
        let case = format!("{}#All", created["stateMachineArn"].as_str().expect("an ARN"));
        let input = json!({"prompt": "p", "items": ["a", "b"]}).to_string();
        let started = ask("StartExecution", json!({"stateMachineArn": case, "input": input}));
        let ended = loop {
            let described = ask("DescribeExecution", json!({"executionArn": started["executionArn"]}));
            if described["status"] != "RUNNING" {
                break described;
            }
        };
        let output = ended["output"].as_str().map(|text| serde_json::from_str(text).expect("JSON"));
        assert_eq!(output, Some(expected), "{name}: {ended}");
    }
}
