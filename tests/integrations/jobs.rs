//! Jobs (`.sync`): started, polled until they are over, cancelled when they are no longer wanted.

mod kinds;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expressway::asl::MachineType;
use expressway::runtime::{Engine, Handle, MachineSpec, Outcome, Status};
use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use self::kinds::{Job, jobs, task};
use crate::server::{Asked, Says, Server, answer};
use crate::{failure, moto, output};

const SHORT: Duration = Duration::from_millis(1);

fn integrations(url: &str) -> Integrations {
    let credentials = Credentials::new("testing", "testing", None);
    let integrations = Integrations::new().endpoint_url(url).expect("a URL").credentials(credentials);
    integrations.job_pauses(SHORT, 5 * SHORT)
}

fn start(engine: &Engine, resource: &str, parameters: &Value, more: &Value) -> Handle {
    let mut task = json!({"Type": "Task", "Resource": format!("arn:aws:states:::{resource}"), "End": true,
        "Parameters": parameters});
    task.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    let definition = json!({"StartAt": "Job", "States": {"Job": task}}).to_string();
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
    let machine = engine.create(&spec).expect("a machine");
    engine.start(&machine, "{}".to_owned()).expect("it starts")
}

fn engine(url: &str) -> Engine {
    Engine::builder().shards(1).aws(integrations(url)).build().expect("an engine")
}

fn run(url: &str, resource: &str, parameters: &Value) -> Outcome {
    start(&engine(url), resource, parameters, &json!({})).wait()
}

/// The operation of a request: by its target, or by method and path.
fn operation(asked: &Asked) -> String {
    match asked.headers.get("x-amz-target") {
        Some(target) => target.rsplit('.').next().expect("a name").to_owned(),
        None => format!("{} {}", asked.method, asked.target),
    }
}

fn body(asked: &Asked) -> Value {
    if asked.body.is_empty() { json!({}) } else { asked.json() }
}

fn says(status: u16, body: &Value) -> Says {
    answer(status, &[("Content-Type", "application/json")], body.to_string())
}

fn throttled() -> Says {
    says(400, &json!({"__type": "ThrottlingException", "message": "Rate exceeded"}))
}

/// AWS's guide gives Step Functions no permission to undo these.
#[test]
fn what_ends_something_is_not_cancelled() {
    let gone = json!({"JobName": "n"});
    for (resource, parameters, asks) in [
        ("eks:deleteCluster.sync", json!({"Name": "c"}), "GET /clusters/c"),
        (
            "eks:deleteNodegroup.sync",
            json!({"ClusterName": "c", "NodegroupName": "n"}),
            "GET /clusters/c/node-groups/n",
        ),
        (
            "eks:deleteFargateProfile.sync",
            json!({"ClusterName": "c", "FargateProfileName": "f"}),
            "GET /clusters/c/fargate-profiles/f",
        ),
        ("emr-serverless:stopApplication.sync", json!({"ApplicationId": "a"}), "GET /applications/a"),
        ("emr-serverless:deleteApplication.sync", json!({"ApplicationId": "a"}), "GET /applications/a"),
        (
            "emr-serverless:cancelJobRun.sync",
            json!({"ApplicationId": "a", "JobRunId": "j"}),
            "GET /applications/a/jobruns/j",
        ),
        ("emr-containers:deleteVirtualCluster.sync", json!({"Id": "v"}), "GET /virtualclusters/v"),
        ("elasticmapreduce:terminateCluster.sync", json!({"ClusterId": "c"}), "DescribeCluster"),
    ] {
        // Whatever is described is not over yet.
        let running = json!({"cluster": {"status": "DELETING"}, "nodegroup": {"status": "DELETING"},
            "fargateProfile": {"status": "DELETING"}, "application": {"state": "STOPPING"},
            "jobRun": {"state": "CANCELLING"}, "virtualCluster": {"state": "TERMINATING"},
            "Cluster": {"Status": {"State": "TERMINATING"}}});
        let server = Server::start(move |_| says(200, &running));
        let engine = engine(&server.url());
        let handle = start(&engine, resource, &parameters, &json!({}));
        let first = operation(&server.asked.recv().expect("the start"));
        assert_eq!(operation(&server.asked.recv().expect("a question")), asks);
        handle.abort();
        assert_eq!(handle.wait().status, Status::Aborted);
        // What comes after it has come before the answer to this.
        let after = start(&engine, "databrew:startJobRun", &json!({"Name": "n"}), &json!({})).wait();
        assert_eq!(after.status, Status::Succeeded, "{gone}: {after:?}");
        let rest = server.asked.try_iter().map(|asked| operation(&asked));
        let rest: Vec<String> = rest.filter(|it| it != asks && it != "POST /jobs/n/startJobRun").collect();
        assert!(rest.is_empty(), "{resource} ({first}): {rest:?}");
    }
}

/// The integrations of EMR that are no jobs, and those of EMR Serverless whose service answers nothing.
#[test]
fn the_integrations_of_emr_have_forms_of_their_own() {
    let fleet = |id: &str, name: &str| json!({"Id": id, "Name": name});
    for (resource, parameters, says_in_turn, asked, expected) in [
        (
            "elasticmapreduce:cancelStep",
            json!({"ClusterId": "c", "StepId": "s"}),
            vec![json!({"CancelStepsInfoList": [{"StepId": "s", "Status": "SUBMITTED"}]})],
            vec![("CancelSteps", json!({"ClusterId": "c", "StepIds": ["s"]}))],
            json!({"CancelStepsInfo": {"StepId": "s", "Status": "SUBMITTED"}}),
        ),
        (
            "elasticmapreduce:setClusterTerminationProtection",
            json!({"ClusterId": "c", "TerminationProtected": true}),
            vec![json!({})],
            vec![("SetTerminationProtection", json!({"JobFlowIds": ["c"], "TerminationProtected": true}))],
            json!({}),
        ),
        (
            "elasticmapreduce:modifyInstanceFleetByName",
            json!({"ClusterId": "c", "InstanceFleetName": "core", "InstanceFleet": {"TargetOnDemandCapacity": 8}}),
            vec![
                json!({"InstanceFleets": [fleet("f1", "master")], "Marker": "m"}),
                json!({"InstanceFleets": [fleet("f2", "core")]}),
                json!({}),
            ],
            vec![
                ("ListInstanceFleets", json!({"ClusterId": "c"})),
                ("ListInstanceFleets", json!({"ClusterId": "c", "Marker": "m"})),
                (
                    "ModifyInstanceFleet",
                    json!({"ClusterId": "c", "InstanceFleet": {"TargetOnDemandCapacity": 8, "InstanceFleetId": "f2"}}),
                ),
            ],
            json!({}),
        ),
        (
            "elasticmapreduce:modifyInstanceGroupByName",
            json!({"ClusterId": "c", "InstanceGroupName": "core", "InstanceGroup": {"InstanceCount": 8}}),
            vec![json!({"InstanceGroups": [fleet("g1", "core")]}), json!({})],
            vec![
                ("ListInstanceGroups", json!({"ClusterId": "c"})),
                (
                    "ModifyInstanceGroups",
                    json!({"ClusterId": "c", "InstanceGroups": [{"InstanceCount": 8, "InstanceGroupId": "g1"}]}),
                ),
            ],
            json!({}),
        ),
        (
            "elasticmapreduce:terminateCluster",
            json!({"ClusterId": "c"}),
            vec![json!({})],
            vec![("TerminateJobFlows", json!({"JobFlowIds": ["c"]}))],
            json!({}),
        ),
        (
            "emr-serverless:startApplication",
            json!({"ApplicationId": "a"}),
            vec![json!({})],
            vec![("POST /applications/a/start", json!({}))],
            json!({"ApplicationId": "a"}),
        ),
        (
            "emr-serverless:deleteApplication",
            json!({"ApplicationId": "a"}),
            vec![json!({})],
            vec![("DELETE /applications/a", json!({}))],
            json!({"ApplicationId": "a"}),
        ),
    ] {
        let turn = AtomicUsize::new(0);
        let server = Server::start(move |_| says(200, &says_in_turn[turn.fetch_add(1, Ordering::SeqCst)]));
        let mut result = output(&run(&server.url(), resource, &parameters));
        let members = result.as_object_mut().expect("an object");
        assert!(members.remove("SdkHttpMetadata").is_some(), "{resource}");
        assert!(members.remove("SdkResponseMetadata").is_some(), "{resource}");
        assert_eq!(result, expected, "{resource}");
        let was: Vec<(String, Value)> =
            server.asked.try_iter().map(|asked| (operation(&asked), body(&asked))).collect();
        let asked: Vec<_> = asked.into_iter().map(|(name, body)| (name.to_owned(), body)).collect();
        assert_eq!(was, asked, "{resource}");
    }
    let server = Server::saying(says(200, &json!({"InstanceFleets": []})));
    let none = json!({"ClusterId": "c", "InstanceFleetName": "core", "InstanceFleet": {}});
    let (error, cause) = failure(&run(&server.url(), "elasticmapreduce:modifyInstanceFleetByName", &none));
    assert_eq!(error, "States.TaskFailed");
    assert_eq!(cause, r#"The cluster "c" has no InstanceFleet "core""#);
}

/// A service with one job, whose statuses are returned in order; the last of them repeatedly. The second poll is
/// throttled.
fn service(job: &Job, statuses: &[&'static str]) -> Server {
    let (start, describe) = (job.start.clone(), job.describe.clone());
    let (statuses, told) = (statuses.to_vec(), AtomicUsize::new(0));
    Server::start(move |asked| {
        let operation = operation(asked);
        if operation == start.0 {
            return says(200, &start.1);
        }
        if operation != describe.0 {
            return says(200, &json!({}));
        }
        match told.fetch_add(1, Ordering::SeqCst) {
            0 => says(200, &describe.2(statuses[0])),
            1 => throttled(),
            n => says(200, &describe.2(statuses[(n - 1).min(statuses.len() - 1)])),
        }
    })
}

#[test]
fn a_job_is_asked_about_until_it_is_over() {
    for job in jobs() {
        let server = service(&job, &[job.running, job.running, job.succeeded]);
        let outcome = run(&server.url(), job.resource, &job.parameters);
        assert_eq!(output(&outcome), (job.result)(job.succeeded), "{}", job.resource);
        let asked: Vec<Asked> = server.asked.try_iter().collect();
        assert_eq!(operation(&asked[0]), job.start.0);
        // Running, throttled, running, over.
        assert_eq!(asked.len(), 5, "{}: {asked:?}", job.resource);
        for asked in &asked[1..] {
            assert_eq!((operation(asked).as_str(), body(asked)), (job.describe.0, job.describe.1.clone()));
        }

        let server = service(&job, &[job.failed, job.failed]);
        let (error, cause) = failure(&run(&server.url(), job.resource, &job.parameters));
        let cause: Value = serde_json::from_str(&cause).expect("the job as JSON");
        assert_eq!(
            (error.as_str(), cause),
            ("States.TaskFailed", (job.result)(job.failed)),
            "{}",
            job.resource
        );
    }
}

#[test]
fn a_job_that_nobody_wants_any_more_is_cancelled() {
    for (n, job) in jobs().iter().enumerate() {
        let server = service(job, &[job.running]);
        let engine = engine(&server.url());
        // One of them by its own time, the others because the execution is stopped.
        let is_timed = n == 0;
        let more = if is_timed { json!({"TimeoutSeconds": 3}) } else { json!({}) };
        let handle = start(&engine, job.resource, &job.parameters, &more);
        let mut asked = Vec::new();
        let cancel = loop {
            let next = server.asked.recv_timeout(Duration::from_secs(60)).expect("a request");
            if operation(&next) == job.cancel.0 {
                break next;
            }
            asked.push(next);
            // It is known by now, and waited for.
            if asked.len() == 3 && !is_timed {
                handle.abort();
            }
        };
        let body = body(&cancel);
        for (name, value) in job.cancel.1.as_object().expect("members") {
            assert_eq!(body[name], *value, "{}", job.resource);
        }
        let outcome = handle.wait();
        let expected = if is_timed { Status::Failed } else { Status::Aborted };
        assert_eq!(outcome.status, expected, "{}", job.resource);
    }
}

#[test]
fn what_does_not_pass_fails_the_task_and_what_is_not_known_yet_is_asked_again() {
    let job = &jobs()[0];
    let refused = json!({"__type": "AccessDeniedException", "message": "not yours"});
    let start = job.start.clone();
    let server =
        Server::start(
            move |asked| {
                if operation(asked) == start.0 { says(200, &start.1) } else { says(400, &refused) }
            },
        );
    let (error, cause) = failure(&run(&server.url(), job.resource, &job.parameters));
    assert_eq!(error, "Glue.AccessDeniedException", "{cause}");
    assert!(cause.starts_with("not yours (Service: AWSGlue; Status Code: 400;"), "{cause}");
    assert_eq!(server.asked.try_iter().count(), 2, "it is asked once");

    // A moment after the start it is not known; then a connection breaks.
    let (start, describe) = (job.start.clone(), job.describe.clone());
    let told = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        if operation(asked) == start.0 {
            return says(200, &start.1);
        }
        match told.fetch_add(1, Ordering::SeqCst) {
            0 => says(400, &json!({"__type": "EntityNotFoundException", "message": "who?"})),
            1 => Says::HangUp,
            2 => answer(503, &[], "busy"),
            3 => says(200, &json!({})),
            _ => says(200, &describe.2("SUCCEEDED")),
        }
    });
    let outcome = run(&server.url(), job.resource, &job.parameters);
    assert_eq!(output(&outcome), (job.result)("SUCCEEDED"));

    // It never answers again.
    let start = job.start.clone();
    let server = Server::start(
        move |asked| {
            if operation(asked) == start.0 { says(200, &start.1) } else { throttled() }
        },
    );
    let (error, _) = failure(&run(&server.url(), job.resource, &job.parameters));
    assert_eq!(error, "Glue.ThrottlingException");
    assert_eq!(server.asked.try_iter().count(), 31);

    // The start is refused.
    let refusal = json!({"__type": "ConcurrentRunsExceededException", "message": "too many"});
    let server = Server::saying(says(400, &refusal));
    let (error, _) = failure(&run(&server.url(), job.resource, &job.parameters));
    assert_eq!(error, "Glue.ConcurrentRunsExceededException");
}

#[test]
fn tasks_of_ecs_fail_by_their_containers() {
    let parameters = json!({"Cluster": "c", "TaskDefinition": "d", "LaunchType": "FARGATE"});
    let exits = |codes: &[i64]| -> Value {
        json!({"containers": codes.iter().map(|code| json!({"name": "n", "exitCode": code})).collect::<Vec<_>>()})
    };
    for (stopped, fails) in [
        (exits(&[0, 0]), false),
        (exits(&[]), false),
        (exits(&[0, 1]), true),
        (json!({"stopCode": "TaskFailedToStart", "containers": [{"name": "n"}]}), true),
    ] {
        let (at_the_end, told) = (task("STOPPED", &stopped), AtomicUsize::new(0));
        let server = Server::start(move |asked| match operation(asked).as_str() {
            "RunTask" => says(200, &task("PROVISIONING", &json!({}))),
            "DescribeTasks" => {
                assert_eq!(body(asked), json!({"cluster": "c1", "tasks": ["t1"]}));
                match told.fetch_add(1, Ordering::SeqCst) {
                    0 => says(200, &json!({"tasks": [], "failures": [{"arn": "t1", "reason": "MISSING"}]})),
                    1 => says(200, &task("RUNNING", &json!({}))),
                    _ => says(200, &at_the_end),
                }
            }
            other => panic!("{other}"),
        });
        let outcome = run(&server.url(), "ecs:runTask.sync", &parameters);
        let (error, cause) = failure(&outcome);
        let told: Value = if fails { serde_json::from_str(&cause).expect("JSON") } else { output(&outcome) };
        assert_eq!(error, if fails { "States.TaskFailed" } else { "" });
        assert_eq!(
            (&told["LastStatus"], &told["TaskArn"]),
            (&json!("STOPPED"), &json!("t1")),
            "the task itself"
        );
    }
    // There is no room for it: waited for, this is an error; otherwise an answer.
    let server =
        Server::saying(says(200, &json!({"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]})));
    for (pattern, expected) in
        [(".sync", "AmazonECS.Unknown"), (".waitForTaskToken", "AmazonECS.Unknown"), ("", "")]
    {
        let outcome = run(&server.url(), &format!("ecs:runTask{pattern}"), &parameters);
        assert_eq!(failure(&outcome).0, expected, "{pattern}");
    }
    let several = json!({"TaskDefinition": "d", "Count": 2});
    let (error, cause) = failure(&run(&server.url(), "ecs:runTask.sync", &several));
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("'Count' must be 1"), "{cause}");
}

#[test]
fn what_eks_deletes_is_over_when_it_is_gone() {
    let told = AtomicUsize::new(0);
    let server = Server::start(move |asked| match operation(asked).as_str() {
        "DELETE /clusters/c" => says(200, &json!({"cluster": {"name": "c", "status": "DELETING"}})),
        "GET /clusters/c" => match told.fetch_add(1, Ordering::SeqCst) {
            0 => says(200, &json!({"cluster": {"name": "c", "status": "DELETING"}})),
            _ => answer(404, &[("x-amzn-ErrorType", "ResourceNotFoundException")], r#"{"message": "gone"}"#),
        },
        other => panic!("{other}"),
    });
    let outcome = run(&server.url(), "eks:deleteCluster.sync", &json!({"Name": "c"}));
    assert_eq!(output(&outcome), json!({}));
}

#[test]
fn each_start_of_a_job_says_a_key_of_its_own() {
    let query = &jobs()[1];
    let server = service(query, &[query.succeeded]);
    let url = server.url();
    let keys: Vec<Value> = (0..2)
        .map(|_| {
            output(&run(&url, query.resource, &query.parameters));
            let asked: Vec<Asked> = server.asked.try_iter().collect();
            asked[0].json()["ClientRequestToken"].clone()
        })
        .collect();
    assert!(keys[0].as_str().is_some_and(|key| key.len() == 36) && keys[0] != keys[1], "{keys:?}");
}

#[cfg(feature = "durable")]
#[test]
fn a_job_of_a_durable_execution_outlives_the_server() {
    use expressway::runtime::{Durable, StartOptions};

    let folder = std::env::temp_dir().join(format!("expressway-job-{}", std::process::id()));
    let query = &jobs()[1];
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (start, describe, is_over) = (query.start.clone(), query.describe.clone(), Arc::clone(&over));
    let server = Server::start(move |asked| {
        let status = if is_over.load(Ordering::SeqCst) { "SUCCEEDED" } else { "RUNNING" };
        match operation(asked) {
            it if it == start.0 => says(200, &start.1),
            it if it == describe.0 => says(200, &describe.2(status)),
            other => panic!("nothing is cancelled: {other}"),
        }
    });
    let engine = || loop {
        let builder = Engine::builder().shards(1).aws(integrations(&server.url()));
        match builder.durable(Durable::folder(&folder).segment_bytes(1 << 20)).build() {
            Ok(engine) => return engine,
            // The threads of the one before may be about to end still.
            Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    let task = json!({"Type": "Task", "Resource": format!("arn:aws:states:::{}", query.resource),
        "Parameters": query.parameters, "End": true});
    let definition = json!({"StartAt": "T", "States": {"T": task}}).to_string();
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
    let first = engine();
    let machine = first.create(&spec).expect("a machine");
    let options = StartOptions {
        name: Some("a".into()),
        execution_arn: Some("arn:aws:states:us-east-1:123456789012:execution:m:a".into()),
        durable: Some(Box::default()),
        ..StartOptions::default()
    };
    let handle = first.start_with(&machine, "{}".to_owned(), options).expect("it begins");
    let before = server.asked.recv().expect("the start");
    let asked = server.asked.recv().expect("a question");
    assert_eq!(operation(&asked), query.describe.0);
    drop((first, machine, handle));
    // It ends between polls.
    over.store(true, Ordering::SeqCst);
    let second = engine();
    let machine = second.create(&spec).expect("a machine");
    let recovered = second.recovered().into_iter().next().expect("it was recorded");
    let handle = second.resume(&machine, recovered, None).expect("it goes on");
    assert_eq!(output(&handle.wait()), (query.result)("SUCCEEDED"));
    let asked: Vec<Asked> = server.asked.try_iter().collect();
    let starts = asked.iter().filter(|asked| operation(asked) == query.start.0);
    let keys: Vec<Value> = starts.map(|asked| asked.json()["ClientRequestToken"].clone()).collect();
    assert_eq!(keys, [before.json()["ClientRequestToken"].clone()], "the service knows it is the same");
    drop((second, machine));
    let _ = std::fs::remove_dir_all(&folder);
}

/// Calls one action of a service that moto has.
fn call(moto: &moto::Moto, resource: &str, parameters: &Value) -> Value {
    output(&run(moto.url(), resource, parameters))
}

#[test]
fn moto_runs_jobs() {
    let Some(moto) = moto::moto() else { return };
    let role = "arn:aws:iam::123456789012:role/r";
    // What there must be before a job.
    call(
        &moto,
        "aws-sdk:glue:createJob",
        &json!({"Name": "j", "Role": role, "Command": {"Name": "glueetl"}}),
    );
    call(
        &moto,
        "aws-sdk:codebuild:createProject",
        &json!({"Name": "project", "ServiceRole": role, "Source": {"Type": "S3", "Location": "b/o", "Buildspec": "x"},
            "Artifacts": {"Type": "NO_ARTIFACTS"}, "Environment": {"Type": "LINUX_CONTAINER", "Image": "i",
                "ComputeType": "BUILD_GENERAL1_SMALL"}}),
    );
    let application = call(
        &moto,
        "emr-serverless:createApplication",
        &json!({"Name": "a", "ReleaseLabel": "emr-6.6.0", "Type": "SPARK", "ClientToken": "t"}),
    );
    assert!(application["ApplicationId"].is_string(), "{application}");
    for (resource, parameters, pointer, expected) in [
        ("glue:startJobRun.sync", json!({"JobName": "j"}), "/JobRunState", "SUCCEEDED"),
        ("codebuild:startBuild.sync", json!({"ProjectName": "project"}), "/Build/BuildStatus", "SUCCEEDED"),
        (
            "athena:startQueryExecution.sync",
            json!({"QueryString": "SELECT 1", "ResultConfiguration": {"OutputLocation": "s3://b/o"}}),
            "/QueryExecution/Status/State",
            "SUCCEEDED",
        ),
        (
            "sagemaker:createTrainingJob.sync",
            json!({"TrainingJobName": "t", "RoleArn": role, "AlgorithmSpecification": {"TrainingInputMode": "File"},
                "OutputDataConfig": {"S3OutputPath": "s3://b/o"}, "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}}),
            "/TrainingJobStatus",
            "Completed",
        ),
        (
            "elasticmapreduce:createCluster.sync",
            json!({"Name": "c", "Instances": {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.xlarge",
                "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": true}, "JobFlowRole": role, "ServiceRole": role}),
            "/Cluster/Status/State",
            "WAITING",
        ),
    ] {
        let result = call(&moto, resource, &parameters);
        assert_eq!(result.pointer(pointer), Some(&json!(expected)), "{resource}: {result}");
    }
    let (error, _) = failure(&run(moto.url(), "glue:startJobRun.sync", &json!({"JobName": "none"})));
    assert_eq!(error, "Glue.EntityNotFoundException");
}
