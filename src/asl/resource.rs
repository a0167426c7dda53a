//! Parsing of a Task's `Resource` (developer guide, "Integrating services").

use super::diagnostic::{did_you_mean, nearest};
use super::model::{Pattern, ResourceKind};
use crate::models::{self, Refused};

/// Parses a resource ARN; `None` when neither AWS nor we recognize it.
pub(super) fn recognize(arn: &str) -> Option<(ResourceKind, Pattern)> {
    let mut parts = arn.splitn(6, ':');
    let (prefix, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if prefix != "arn" || !is_partition(partition) || rest.is_empty() {
        return None;
    }
    // Recorded: AWS accepts any text as region and account, but refuses a region without an account.
    if service == "states" && region.is_empty() != account.is_empty() {
        return None;
    }
    match service {
        "lambda" => {
            let (name, alias) = match rest.strip_prefix("function:")?.split_once(':') {
                Some((name, alias)) => (name, alias),
                None => (rest.strip_prefix("function:")?, "$LATEST"),
            };
            (is_function_name(name) && (alias == "$LATEST" || is_function_name(alias)))
                .then_some((ResourceKind::Function, Pattern::RequestResponse))
        }
        "states" => match rest.strip_prefix("activity:") {
            Some(name) => (!name.is_empty()).then_some((ResourceKind::Activity, Pattern::RequestResponse)),
            None => integration(rest),
        },
        _ => None,
    }
}

/// `aws`, or one of the other partitions with this prefix: `aws-cn`, `aws-us-gov`.
fn is_partition(partition: &str) -> bool {
    let mut words = partition.split('-');
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.next() == Some("aws") && words.all(is_word)
}

/// Whether a recognized ARN is one of ours, which AWS does not know.
pub(super) fn is_ours(arn: &str) -> bool {
    let rest = arn.split_once(":states:::").map_or("", |(_, rest)| rest);
    rest.split_once(':').is_some_and(|(service, _)| OURS.iter().any(|row| row.service == service))
}

/// Whether an ARN is of a service whose resources AWS checks.
pub(super) fn is_of_aws(arn: &str) -> bool {
    let mut parts = arn.split(':');
    parts.next() == Some("arn") && matches!(parts.nth(1), Some("lambda" | "states"))
}

/// A suggestion for a resource that AWS does not recognize.
pub(super) fn suggestion(arn: &str) -> Option<String> {
    if arn.split(':').nth(2) == Some("lambda") {
        return Some("a function's ARN is `arn:aws:lambda:REGION:ACCOUNT:function:NAME`".to_owned());
    }
    let (_, call) = arn.split_once(":states:::")?;
    let (service, call) = call.split_once(':')?;
    match service {
        "aws-sdk" => call.split_once(':').and_then(|(service, action)| sdk_suggestion(service, action)),
        service => optimised_suggestion(service, call),
    }
}

fn sdk_suggestion(service: &str, call: &str) -> Option<String> {
    let (action, pattern) = call.split_once('.').map_or((call, None), |(action, it)| (action, Some(it)));
    match models::refusal(service, action) {
        Some(Refused::Service) => Some(match models::other_name(service) {
            Some(name) => format!("did you mean `{name}`?"),
            None => did_you_mean(service, models::services()).unwrap_or_else(|| {
                format!("AWS's models have no service `{service}` ({})", models::source())
            }),
        }),
        Some(Refused::Action) => Some(match near_action(service, action) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("AWS's models have no action `{action}` of `{service}` ({})", models::source()),
        }),
        Some(Refused::Unsupported) => Some(format!("Step Functions does not support `{service}:{action}`")),
        None => match pattern? {
            "waitForTaskToken" => None,
            pattern => {
                let row = INTEGRATIONS.iter().find(|row| package(row.service) == service);
                let waits = row.filter(|row| row.sync.split(' ').any(|it| it == action));
                Some(match waits {
                    Some(row) => format!("did you mean `{}:{action}.{pattern}`?", row.service),
                    None => {
                        "of the patterns of waiting, SDK integrations have `.waitForTaskToken`".to_owned()
                    }
                })
            }
        },
    }
}

/// The action that was probably meant by one that the service does not have.
fn near_action(service: &str, action: &str) -> Option<String> {
    let small = action.get(..1)?.to_ascii_lowercase() + &action[1..];
    if models::refusal(service, &small).is_none() {
        return Some(small);
    }
    nearest(action, models::actions(service).iter().map(String::as_str)).map(str::to_owned)
}

/// The name in SDK integrations of a service with an optimised integration.
fn package(service: &str) -> &str {
    models::other_name(service).unwrap_or(service)
}

fn optimised_suggestion(service: &str, call: &str) -> Option<String> {
    let (action, pattern) = call.split_once('.').map_or((call, None), |(action, it)| (action, Some(it)));
    // Most services and actions have no integration of their own, but can be called by the SDK's.
    let sdk = || {
        let package = package(service);
        let meant = |action: &str| format!("did you mean `aws-sdk:{package}:{action}`?");
        match models::refusal(package, action) {
            None => Some(meant(action)),
            Some(Refused::Action) => near_action(package, action).as_deref().map(meant),
            Some(Refused::Service | Refused::Unsupported) => None,
        }
    };
    let Some(row) = INTEGRATIONS.iter().find(|row| row.service == service) else {
        return sdk().or_else(|| did_you_mean(service, INTEGRATIONS.iter().map(|row| row.service)));
    };
    let listed = |actions: &str| actions.split(' ').any(|it| it == action);
    if !listed(row.actions) {
        return did_you_mean(action, row.actions.split(' ')).or_else(sdk);
    }
    let patterns = [("sync", listed(row.sync)), ("waitForTaskToken", listed(row.callback))];
    let has: Vec<&str> = patterns.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    did_you_mean(pattern?, has.iter().copied()).or_else(|| {
        let has: Vec<String> = has.iter().map(|name| format!("`.{name}`")).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(" and ") };
        Some(format!("of the patterns of waiting, `{service}:{action}` has {has}"))
    })
}

/// Lambda's rule for the names of functions and aliases.
fn is_function_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Parses `<service>:<action>[.<pattern>]` or `aws-sdk:<service>:<action>[.waitForTaskToken]`.
fn integration(rest: &str) -> Option<(ResourceKind, Pattern)> {
    let (service, call) = rest.split_once(':')?;
    let (call, pattern) = split_pattern(call)?;
    if service == "aws-sdk" {
        let (service, action) = call.split_once(':')?;
        let named = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let allowed = matches!(pattern, Pattern::RequestResponse | Pattern::WaitForTaskToken);
        return (allowed && named(service) && named(action) && models::refusal(service, action).is_none())
            .then(|| (ResourceKind::Sdk { service: service.into(), action: action.into() }, pattern));
    }
    let row = INTEGRATIONS.iter().chain(OURS).find(|row| row.service == service)?;
    let listed = |actions: &str| actions.split(' ').any(|action| action == call);
    let allowed = match pattern {
        Pattern::RequestResponse => listed(row.actions),
        Pattern::Sync => listed(row.sync),
        Pattern::Sync2 => service == "states" && listed(row.sync),
        Pattern::WaitForTaskToken => listed(row.callback),
    };
    allowed.then(|| (ResourceKind::Service { service: service.into(), action: call.into() }, pattern))
}

fn split_pattern(call: &str) -> Option<(&str, Pattern)> {
    let Some((call, pattern)) = call.split_once('.') else { return Some((call, Pattern::RequestResponse)) };
    let pattern = match pattern {
        "sync" => Pattern::Sync,
        "sync:2" => Pattern::Sync2,
        "waitForTaskToken" => Pattern::WaitForTaskToken,
        _ => return None,
    };
    Some((call, pattern))
}

/// Actions of an optimised integration, separated by blanks, by their patterns.
struct Integration {
    service: &'static str,
    actions: &'static str,
    sync: &'static str,
    callback: &'static str,
}

const fn row(
    service: &'static str,
    actions: &'static str,
    sync: &'static str,
    callback: &'static str,
) -> Integration {
    Integration { service, actions, sync, callback }
}

const EMR_SERVERLESS: &str =
    "createApplication startApplication stopApplication deleteApplication startJobRun cancelJobRun";
const EKS_SYNC: &str = "createCluster deleteCluster createNodegroup deleteNodegroup createFargateProfile deleteFargateProfile runJob";
const SAGEMAKER_SYNC: &str = "createTrainingJob createTransformJob createHyperParameterTuningJob createLabelingJob createProcessingJob \
     createAutoMLJob createAutoMLJobV2";

/// Our own integrations.
const OURS: &[Integration] = &[row("kafka", "produce", "", ""), row("nats", "publish request", "", "")];

/// The optimised integrations (developer guide, "Integrating optimized services").
const INTEGRATIONS: &[Integration] = &[
    row("lambda", "invoke", "", "invoke"),
    row("sqs", "sendMessage", "", "sendMessage"),
    row("sns", "publish", "", "publish"),
    row("dynamodb", "getItem putItem updateItem deleteItem", "", ""),
    row("states", "startExecution", "startExecution", "startExecution"),
    row("events", "putEvents", "", "putEvents"),
    row("apigateway", "invoke", "", "invoke"),
    row("http", "invoke", "", ""),
    row("ecs", "runTask", "runTask", "runTask"),
    row("batch", "submitJob", "submitJob", ""),
    row("glue", "startJobRun", "startJobRun", ""),
    row("databrew", "startJobRun", "startJobRun", ""),
    row(
        "athena",
        "startQueryExecution stopQueryExecution getQueryExecution getQueryResults",
        "startQueryExecution",
        "",
    ),
    row(
        "elasticmapreduce",
        "createCluster terminateCluster addStep cancelStep setClusterTerminationProtection \
         modifyInstanceFleetByName modifyInstanceGroupByName",
        "createCluster terminateCluster addStep",
        "",
    ),
    row(
        "emr-containers",
        "createVirtualCluster deleteVirtualCluster startJobRun",
        "deleteVirtualCluster startJobRun",
        "",
    ),
    row("emr-serverless", EMR_SERVERLESS, EMR_SERVERLESS, ""),
    row(
        "eks",
        "createCluster deleteCluster createNodegroup deleteNodegroup createFargateProfile deleteFargateProfile \
         call runJob",
        EKS_SYNC,
        "call runJob",
    ),
    row(
        "sagemaker",
        "createTrainingJob createTransformJob createHyperParameterTuningJob createLabelingJob createProcessingJob \
         createAutoMLJob createAutoMLJobV2 createModel createEndpoint createEndpointConfig updateEndpoint",
        SAGEMAKER_SYNC,
        "",
    ),
    row(
        "codebuild",
        "startBuild stopBuild batchDeleteBuilds batchGetReports startBuildBatch stopBuildBatch retryBuildBatch \
         deleteBuildBatch",
        "startBuild startBuildBatch retryBuildBatch",
        "",
    ),
    row("mediaconvert", "createJob", "createJob", ""),
    row("bedrock", "invokeModel createModelCustomizationJob", "createModelCustomizationJob", "invokeModel"),
    row("bedrockagentcore", "invokeHarness", "", ""),
];
