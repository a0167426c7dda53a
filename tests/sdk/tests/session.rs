//! Every operation through the AWS SDK for Rust.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_sfn::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sfn::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents, retry::RetryConfig,
};
use aws_sdk_sfn::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_sfn::types::{
    ExecutionStatus, InspectionLevel, RoutingConfigurationListItem, StateMachineStatus, StateMachineType,
    SyncExecutionStatus, Tag, TestExecutionStatus, ValidateStateMachineDefinitionResultCode,
};
use aws_sdk_sfn::{Client, Config};
use expressway::server::Server;
use expressway::service::Service;

const ROLE: &str = "arn:aws:iam::123456789012:role/sdk";

/// Takes the `sync-` off the endpoint's name again, which AWS's model puts in front of it.
#[derive(Debug)]
struct PlainHost;

impl Intercept for PlainHost {
    fn name(&self) -> &'static str {
        "PlainHost"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = context.request().uri().replacen("://sync-", "://", 1);
        Ok(context.request_mut().set_uri(uri)?)
    }
}

fn client(address: SocketAddr) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{address}"))
        .interceptor(PlainHost)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn start() -> (Server, Client) {
    let mut config = expressway::server::Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let service = Service::builder().build().expect("a service");
    let server = Server::start(&config, &service).expect("a server");
    let client = client(server.address());
    (server, client)
}

fn pass(result: &str) -> String {
    format!(r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "Result": "{result}", "End": true}}}}}}"#)
}

/// Asserts which exception an operation ends with.
macro_rules! fails {
    ($call:expr, $($code:literal)|+) => {{
        let error = $call.send().await.expect_err(concat!($($code, " "),+)).into_service_error();
        assert!(matches!(error.code(), $(Some($code))|+), "{error:?}");
    }};
}

/// The answer of an operation.
macro_rules! ask {
    ($call:expr) => {
        $call
            .send()
            .await
            .unwrap_or_else(|error| panic!("{}: {:?}", stringify!($call), error.into_service_error()))
    };
}

#[tokio::test]
async fn express_machines() {
    let (_server, sfn) = start();
    let valid = ask!(sfn.validate_state_machine_definition().definition(pass("x")));
    assert_eq!(*valid.result(), ValidateStateMachineDefinitionResultCode::Ok);
    let tag = Tag::builder().key("team").value("sdk").build();
    let created = ask!(
        sfn.create_state_machine()
            .name("sdk")
            .definition(pass("one"))
            .role_arn(ROLE)
            .r#type(StateMachineType::Express)
            .tags(tag)
    );
    let arn = created.state_machine_arn();
    let described = ask!(sfn.describe_state_machine().state_machine_arn(arn));
    assert_eq!(described.status(), Some(&StateMachineStatus::Active));
    assert_eq!(described.definition(), pass("one"));
    assert_eq!(ask!(sfn.list_state_machines()).state_machines().len(), 1);
    let outcome = ask!(sfn.start_sync_execution().state_machine_arn(arn).input("{}"));
    assert_eq!((outcome.status(), outcome.output()), (&SyncExecutionStatus::Succeeded, Some("\"one\"")));
    assert!(ask!(sfn.start_execution().state_machine_arn(arn)).execution_arn().contains(":express:sdk:"));
    fails!(sfn.start_sync_execution().state_machine_arn(arn).input("{"), "InvalidExecutionInput");
    fails!(sfn.list_executions().state_machine_arn(arn), "StateMachineTypeNotSupported");
    ask!(sfn.tag_resource().resource_arn(arn).tags(Tag::builder().key("stage").value("test").build()));
    ask!(sfn.untag_resource().resource_arn(arn).tag_keys("team"));
    let tags = ask!(sfn.list_tags_for_resource().resource_arn(arn));
    assert_eq!(tags.tags().iter().map(|tag| tag.key()).collect::<Vec<_>>(), [Some("stage")]);
    let tested = ask!(
        sfn.test_state()
            .definition(r#"{"Type": "Pass", "Result": 1, "End": true}"#)
            .role_arn(ROLE)
            .inspection_level(InspectionLevel::Debug)
    );
    assert_eq!((tested.status(), tested.output()), (Some(&TestExecutionStatus::Succeeded), Some("1")));
    versions(&sfn, arn).await;
    ask!(sfn.delete_state_machine().state_machine_arn(arn));
}

async fn versions(sfn: &Client, arn: &str) {
    let one = ask!(sfn.publish_state_machine_version().state_machine_arn(arn));
    let one = one.state_machine_version_arn();
    let two = ask!(sfn.update_state_machine().state_machine_arn(arn).definition(pass("two")).publish(true));
    let two = two.state_machine_version_arn().expect("a version");
    let versions = ask!(sfn.list_state_machine_versions().state_machine_arn(arn));
    assert_eq!(versions.state_machine_versions().len(), 2);
    let all = |version: &str| {
        let item = RoutingConfigurationListItem::builder().state_machine_version_arn(version).weight(100);
        item.build().expect("a route")
    };
    let alias = ask!(sfn.create_state_machine_alias().name("live").routing_configuration(all(one)));
    let alias = alias.state_machine_alias_arn();
    let output =
        async || ask!(sfn.start_sync_execution().state_machine_arn(alias)).output().map(str::to_owned);
    assert_eq!(output().await.as_deref(), Some("\"one\""));
    ask!(sfn.update_state_machine_alias().state_machine_alias_arn(alias).routing_configuration(all(two)));
    assert_eq!(output().await.as_deref(), Some("\"two\""));
    let described = ask!(sfn.describe_state_machine_alias().state_machine_alias_arn(alias));
    assert_eq!(described.routing_configuration()[0].weight(), 100);
    let aliases = ask!(sfn.list_state_machine_aliases().state_machine_arn(arn));
    assert_eq!(aliases.state_machine_aliases().len(), 1);
    fails!(sfn.delete_state_machine_version().state_machine_version_arn(two), "ConflictException");
    ask!(sfn.delete_state_machine_alias().state_machine_alias_arn(alias));
    ask!(sfn.delete_state_machine_version().state_machine_version_arn(one));
}

#[tokio::test]
async fn standard_machines_and_activities() {
    let (_server, sfn) = start();
    let created = ask!(sfn.create_activity().name("work"));
    let activity = created.activity_arn();
    assert_eq!(ask!(sfn.describe_activity().activity_arn(activity)).name(), "work");
    assert_eq!(ask!(sfn.list_activities()).activities().len(), 1);
    let definition = format!(
        r#"{{"StartAt": "W", "States": {{"W": {{"Type": "Task", "Resource": "{activity}", "End": true}}}}}}"#
    );
    let machine = ask!(sfn.create_state_machine().name("standard").definition(definition).role_arn(ROLE));
    let arn = machine.state_machine_arn();
    for is_good in [true, false] {
        let execution = ask!(sfn.start_execution().state_machine_arn(arn).input("[1]"));
        let execution = execution.execution_arn();
        let task = ask!(sfn.get_activity_task().activity_arn(activity).worker_name("sdk"));
        let token = task.task_token().expect("a task");
        assert_eq!(task.input(), Some("[1]"));
        ask!(sfn.send_task_heartbeat().task_token(token));
        let expected = if is_good {
            ask!(sfn.send_task_success().task_token(token).output("[2]"));
            ExecutionStatus::Succeeded
        } else {
            ask!(sfn.send_task_failure().task_token(token).error("Broken"));
            ExecutionStatus::Failed
        };
        assert_eq!(ended(&sfn, execution).await, expected);
        let history = ask!(sfn.get_execution_history().execution_arn(execution));
        assert_eq!(history.events().len(), if is_good { 7 } else { 6 });
        let machine = ask!(sfn.describe_state_machine_for_execution().execution_arn(execution));
        assert_eq!(machine.state_machine_arn(), arn);
    }
    let left = ask!(sfn.start_execution().state_machine_arn(arn));
    let left = left.execution_arn();
    ask!(sfn.stop_execution().execution_arn(left).error("Enough"));
    assert_eq!(ended(&sfn, left).await, ExecutionStatus::Aborted);
    assert_eq!(ask!(sfn.list_executions().state_machine_arn(arn)).executions().len(), 3);
    let run = "arn:aws:states:us-east-1:123456789012:mapRun:standard/M:00000000-0000-0000-0000-000000000000";
    fails!(sfn.describe_map_run().map_run_arn(run), "ResourceNotFound" | "ValidationException");
    fails!(sfn.update_map_run().map_run_arn(run), "ResourceNotFound" | "ValidationException");
    ask!(sfn.redrive_execution().execution_arn(left));
    fails!(sfn.redrive_execution().execution_arn(left), "ExecutionNotRedrivable" | "ValidationException");
    ask!(sfn.stop_execution().execution_arn(left).error("Enough"));
    assert_eq!(ended(&sfn, left).await, ExecutionStatus::Aborted);
    assert!(ask!(sfn.list_map_runs().execution_arn(left)).map_runs().is_empty());
    ask!(sfn.delete_state_machine().state_machine_arn(arn));
    ask!(sfn.delete_activity().activity_arn(activity));
}

/// How an execution ended. It has as long as a slow machine needs.
async fn ended(sfn: &Client, arn: &str) -> ExecutionStatus {
    let asking = async {
        loop {
            let status = ask!(sfn.describe_execution().execution_arn(arn)).status().clone();
            if status != ExecutionStatus::Running {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("an end")
}
