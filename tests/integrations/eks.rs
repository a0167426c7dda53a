//! Kubernetes in clusters of EKS, against servers that the tests start.

use std::time::Duration;

use expressway::runtime::Outcome;
use expressway::task::aws::{Credentials, HttpPolicy, Integrations};
use serde_json::{Value, json};

use crate::server::{Asked, Says, Server, answer};
use crate::{failure, output, run as run_task};

const CALL: &str = "arn:aws:states:::eks:call";
const RUN: &str = "arn:aws:states:::eks:runJob";

fn integrations() -> Integrations {
    let pause = Duration::from_millis(5);
    Integrations::new()
        .credentials(Credentials::new("AKID", "secret", None))
        .http(HttpPolicy { allow_all: true, ..HttpPolicy::default() })
        .job_pauses(pause, 5 * pause)
}

fn run(server: &Server, resource: &str, more: Value) -> Outcome {
    let mut parameters = json!({"ClusterName": "c", "CertificateAuthority": "", "Endpoint": server.url()});
    parameters.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    run_task(integrations(), resource, &parameters)
}

fn json_answer(status: u16, body: Value) -> Says {
    answer(status, &[("Content-Type", "application/json")], body.to_string())
}

#[test]
fn a_cluster_is_called() {
    let server = Server::start(|asked| match asked.method.as_str() {
        "GET" => json_answer(200, json!({"items": [{"metadata": {"name": "p"}}]})),
        "PATCH" => answer(200, &[], "patched"),
        _ => json_answer(409, json!({"kind": "Status", "reason": "AlreadyExists"})),
    });
    let query = json!({"labelSelector": ["a=b,c=d"], "limit": ["5", "6"]});
    let asks = json!({"Method": "GET", "Path": "/api/v1/pods", "QueryParameters": query});
    let expected = json!({"ResponseBody": {"items": [{"metadata": {"name": "p"}}]}, "StatusCode": 200, "StatusText": "OK"});
    assert_eq!(output(&run(&server, CALL, asks)), expected);
    let asked = server.asked.recv().expect("a request");
    assert_eq!(asked.target, "/api/v1/pods?labelSelector=a%3Db%2Cc%3Dd&limit=5&limit=6");
    assert!(asked.headers["authorization"].starts_with("Bearer k8s-aws-v1.aHR0cHM6Ly9zdHMu"), "{asked:?}");

    let asks =
        json!({"Method": "PATCH", "Path": "/api/v1/pods/p", "RequestBody": [{"op": "remove", "path": "/a"}]});
    let expected = json!({"ResponseBody": "patched", "StatusCode": 200, "StatusText": "OK"});
    assert_eq!(output(&run(&server, CALL, asks)), expected);
    let asked = server.asked.recv().expect("a request");
    assert_eq!(asked.headers["content-type"], "application/json-patch+json");
    assert_eq!(asked.json(), json!([{"op": "remove", "path": "/a"}]));

    let asks = json!({"Method": "POST", "Path": "/api/v1/pods", "RequestBody": {"kind": "Pod"}});
    let (error, cause) = failure(&run(&server, CALL, asks));
    assert_eq!(error, "EKS.409");
    let cause: Value = serde_json::from_str(&cause).expect("JSON");
    let body = json!({"kind": "Status", "reason": "AlreadyExists"});
    assert_eq!(cause, json!({"ResponseBody": body, "StatusCode": 409, "StatusText": "Conflict"}));
}

/// A cluster whose jobs end in this condition after some polls.
fn cluster(ends: &'static str) -> Server {
    let polls = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |asked: &Asked| {
        let path = asked.target.split('?').next().unwrap_or("");
        match (asked.method.as_str(), path) {
            ("POST", "/apis/batch/v1/namespaces/mine/jobs") => {
                json_answer(201, json!({"metadata": {"name": "job-1"}, "spec": asked.json()["spec"]}))
            }
            ("GET", "/apis/batch/v1/namespaces/mine/jobs/job-1") => {
                match polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => json_answer(200, json!({"status": {"active": 1}})),
                    1 => answer(503, &[], "later"),
                    _ => {
                        let conditions = json!([{"type": "Suspended", "status": "False"}, {"type": ends, "status": "True"}]);
                        json_answer(
                            200,
                            json!({"metadata": {"name": "job-1"}, "status": {"conditions": conditions}}),
                        )
                    }
                }
            }
            ("GET", "/api/v1/namespaces/mine/pods") => json_answer(
                200,
                json!({"items": [
                {"metadata": {"name": "pod-a"}, "spec": {"containers": [{"name": "one"}, {"name": "two"}]}},
                {"metadata": {"name": "pod-b"}, "spec": {"containers": [{"name": "one"}]}}]}),
            ),
            ("GET", "/api/v1/namespaces/mine/pods/pod-a/log") if asked.target.contains("container=one") => {
                answer(200, &[], "{\"pi\": 3.25}\n")
            }
            ("GET", "/api/v1/namespaces/mine/pods/pod-a/log") => answer(200, &[], "two lines\nof text\n"),
            _ => json_answer(404, json!({"kind": "Status"})),
        }
    })
}

#[test]
fn a_job_is_run_and_its_logs_are_read() {
    let job = json!({"kind": "Job", "spec": {"backoffLimit": 0}});
    let more = |logs: Value| json!({"Namespace": "mine", "Job": job, "LogOptions": logs});
    let server = cluster("Complete");
    let started = output(&run(&server, RUN, json!({"Namespace": "mine", "Job": job.to_string()})));
    let body = json!({"metadata": {"name": "job-1"}, "spec": {"backoffLimit": 0}});
    assert_eq!(started, json!({"ResponseBody": body, "StatusCode": 201, "StatusText": "Created"}));

    let sync = format!("{RUN}.sync");
    let ended = output(&run(
        &server,
        &sync,
        more(json!({"RetrieveLogs": true, "LogParameters": {"tailLines": ["6"]}})),
    ));
    assert_eq!(ended["metadata"]["name"], "job-1");
    let gone = json!({"error": "EKS.404", "cause": json!({"ResponseBody": {"kind": "Status"}, "StatusCode": 404,
        "StatusText": "Not Found"}).to_string()});
    let logs = json!({"pods": {
        "pod-a": {"containers": {"one": {"log": {"pi": 3.25}}, "two": {"log": "two lines\nof text\n"}}},
        "pod-b": {"containers": {"one": gone}}}});
    assert_eq!(ended["logs"], logs);
    let targets: Vec<String> = server.asked.try_iter().map(|asked| asked.target).collect();
    assert!(targets.contains(&"/api/v1/namespaces/mine/pods?labelSelector=job-name%3Djob-1".to_owned()));
    assert!(targets.contains(&"/api/v1/namespaces/mine/pods/pod-a/log?tailLines=6&container=two".to_owned()));
    let raw =
        output(&run(&cluster("Complete"), &sync, more(json!({"RetrieveLogs": "true", "RawLogs": true}))));
    assert_eq!(raw.pointer("/logs/pods/pod-a/containers/one/log"), Some(&json!("{\"pi\": 3.25}\n")));
    assert_eq!(output(&run(&cluster("Complete"), &sync, more(json!({})))).get("logs"), None);

    let (error, cause) = failure(&run(&cluster("Failed"), &sync, more(json!({}))));
    assert_eq!(error, "States.TaskFailed");
    assert!(cause.contains("\"name\":\"job-1\""), "{cause}");
}

#[test]
fn what_cannot_be_asked_is_told() {
    let server = Server::saying(answer(200, &[], "{}"));
    let get = |more: Value| {
        let mut asks = json!({"Method": "GET", "Path": "/api"});
        asks.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        failure(&run(&server, CALL, asks))
    };
    for (more, error, why) in [
        (
            json!({"Method": "OPTIONS"}),
            "States.Runtime",
            "The value of the field 'Method' has an invalid format",
        ),
        (json!({"Path": "/a?b"}), "States.Runtime", "The value of the field 'Path' has an invalid format"),
        (
            json!({"Endpoint": "c"}),
            "States.Runtime",
            "The value of the field 'Endpoint' has an invalid format",
        ),
        (
            json!({"Endpoint": "https://localhost:1", "CertificateAuthority": "bm8="}),
            "States.Runtime",
            "The value of the field 'CertificateAuthority' has an invalid format",
        ),
        (json!({"Endpoint": "http://127.0.0.1:1"}), "States.TaskFailed", "Connect to 127.0.0.1:1 failed"),
        (json!({"Namespace": "n"}), "States.Runtime", "\"Namespace\" is not supported"),
    ] {
        let (was, cause) = get(more);
        assert_eq!(was, error, "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
    // A workflow's input must not reach hosts that only the engine's network can reach.
    let parameters = json!({"ClusterName": "c", "CertificateAuthority": "", "Endpoint": server.url(), "Method": "GET", "Path": "/"});
    let closed = Integrations::new().credentials(Credentials::new("AKID", "secret", None));
    let (_, cause) = failure(&run_task(closed, CALL, &parameters));
    assert!(cause.contains("is to be called over https"), "{cause}");
    assert!(server.asked.try_recv().is_err(), "nothing was sent");
}

#[test]
fn a_job_that_nobody_wants_any_more_is_deleted_with_its_pods() {
    use expressway::asl::MachineType;
    use expressway::runtime::{Engine, MachineSpec, Status};

    let server = Server::start(|asked: &Asked| match asked.method.as_str() {
        "POST" => json_answer(201, json!({"metadata": {"name": "job-1"}})),
        _ => json_answer(200, json!({"status": {"active": 1}})),
    });
    let engine = Engine::builder().shards(1).aws(integrations()).build().expect("an engine");
    let parameters = json!({"ClusterName": "c", "CertificateAuthority": "", "Endpoint": server.url(), "Job": {"kind": "Job"}});
    let task =
        json!({"Type": "Task", "Resource": format!("{RUN}.sync"), "Parameters": parameters, "End": true});
    let definition = json!({"StartAt": "T", "States": {"T": task}}).to_string();
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
    let machine = engine.create(&spec).expect("a machine");
    let handle = engine.start(&machine, "{}".to_owned()).expect("it starts");
    let asked = || server.asked.recv_timeout(Duration::from_secs(60)).expect("a request");
    assert_eq!((asked().method, asked().method), ("POST".to_owned(), "GET".to_owned()));
    handle.abort();
    assert_eq!(handle.wait().status, Status::Aborted);
    let delete = std::iter::from_fn(|| Some(asked())).find(|asked| asked.method != "GET").expect("another");
    let job = "/apis/batch/v1/namespaces/default/jobs/job-1?propagationPolicy=Background";
    assert_eq!((delete.method.as_str(), delete.target.as_str()), ("DELETE", job));
}
