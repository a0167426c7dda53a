//! Parsing of a Task's `Resource` (developer guide, "Integrating services").

use super::diagnostic::nearest;
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

/// A suggestion for a resource that AWS does not recognize; with `ours`, our own integrations may be meant as well.
/// What was meant is always the whole resource, which takes the place of the wrong one.
pub(super) fn suggestion(text: &str, ours: bool) -> Option<String> {
    if let Some(meant) = completed(text) {
        return Some(did_you_mean_all(&meant));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let replaced = |at: usize, by: &str| {
        let mut parts = parts.clone();
        parts[at] = by;
        did_you_mean_all(&parts.join(":"))
    };
    match parts[..] {
        ["arn", partition, ..] if !is_partition(partition) => {
            nearest(partition, ["aws"]).map(|meant| replaced(1, meant))
        }
        ["arn", _, "lambda", ..] => Some(FUNCTION.to_owned()),
        ["arn", _, "states", "", "", rest] => {
            integration_suggestion(&text[..text.len() - rest.len()], rest, ours)
        }
        ["arn", _, "states", _, _, rest] => {
            let (kind, name) = rest.split_once(':').unwrap_or((rest, ""));
            match kind {
                "stateMachine" | "express" | "execution" => Some(CHILD.to_owned()),
                "activity" => Some(ACTIVITY.to_owned()),
                _ => {
                    let meant =
                        nearest(kind, ["activity"]).map(|kind| replaced(5, &format!("{kind}:{name}")));
                    Some(meant.unwrap_or_else(|| INTEGRATION.to_owned()))
                }
            }
        }
        ["arn", _, "states", ..] => Some(INTEGRATION.to_owned()),
        ["arn", _, service, ..] => nearest(service, ["lambda", "states"]).map(|meant| replaced(2, meant)),
        _ => Some(FUNCTION.to_owned()),
    }
}

const FUNCTION: &str = "a function's ARN is `arn:aws:lambda:REGION:ACCOUNT:function:NAME`";
const ACTIVITY: &str = "an activity's ARN is `arn:aws:states:REGION:ACCOUNT:activity:NAME`";
const INTEGRATION: &str =
    "an integration is `arn:aws:states:::SERVICE:ACTION`, such as `arn:aws:states:::lambda:invoke`";
const SDK: &str = "an SDK integration is `arn:aws:states:::aws-sdk:SERVICE:ACTION`";
const CHILD: &str = "a state machine is started with the resource `arn:aws:states:::states:startExecution`: its ARN is the \
    parameter `StateMachineArn`";

fn did_you_mean_all(resource: &str) -> String {
    format!("did you mean `{resource}`?")
}

/// The resource that a text becomes by what it lacks or has too much: blanks around it, a part in front, colons.
fn completed(text: &str) -> Option<String> {
    let bare = text.trim();
    let behind = bare.split_once("states:").map_or(bare, |(_, rest)| rest.trim_start_matches(':'));
    let colon = behind.replacen('.', ":", 1);
    let candidates = [
        bare.to_owned(),
        format!("arn:{bare}"),
        format!("arn:aws:{bare}"),
        format!("arn:aws:states:::{behind}"),
        format!("arn:aws:states:::{colon}"),
    ];
    candidates.into_iter().find(|candidate| candidate != text && recognize(candidate).is_some())
}

/// For what stands behind `head`, which is `arn:aws:states:::`.
fn integration_suggestion(head: &str, rest: &str, ours: bool) -> Option<String> {
    let Some((service, call)) = rest.split_once(':') else { return Some(INTEGRATION.to_owned()) };
    match (service, call.split_once(':')) {
        ("aws-sdk", Some((service, action))) => sdk_suggestion(head, service, action),
        ("aws-sdk", None) => Some(SDK.to_owned()),
        ("file", _) if ours => {
            Some("a file is read by the `ItemReader` of a Map, and written by its `ResultWriter`".to_owned())
        }
        (_, Some(_)) if service.to_ascii_lowercase().contains("sdk") => {
            Some(did_you_mean_all(&format!("{head}aws-sdk:{call}")))
        }
        _ => optimised_suggestion(head, service, call, ours),
    }
}

/// An action, and what stands behind it: nothing, or a pattern with its point.
fn without_pattern(call: &str) -> (&str, &str) {
    call.split_at(call.find('.').unwrap_or(call.len()))
}

fn sdk_suggestion(head: &str, service: &str, call: &str) -> Option<String> {
    let (action, pattern) = without_pattern(call);
    let meant = |service: &str, action: &str, pattern: &str| {
        did_you_mean_all(&format!("{head}aws-sdk:{service}:{action}{pattern}"))
    };
    match models::refusal(service, action) {
        Some(Refused::Service) => {
            let other = models::other_name(service).or_else(|| nearest(service, models::services()));
            let with_action = other.and_then(|other| match models::refusal(other, action) {
                None => Some(meant(other, action, pattern)),
                Some(_) => near_action(other, action).map(|near| meant(other, &near, pattern)),
            });
            let by_action = || {
                let action = small_first(action)?;
                service_with(service, &action).map(|other| meant(other, &action, pattern))
            };
            Some(with_action.or_else(by_action).unwrap_or_else(|| match other {
                Some(other) => format!("did you mean the service `{other}`? It has no action `{action}`"),
                None => format!("AWS's models have no service `{service}` ({})", models::source()),
            }))
        }
        Some(Refused::Action) => {
            let unknown =
                || format!("AWS's models have no action `{action}` of `{service}` ({})", models::source());
            Some(near_action(service, action).map_or_else(unknown, |near| meant(service, &near, pattern)))
        }
        Some(Refused::Unsupported) => Some(format!("Step Functions does not support `{service}:{action}`")),
        None => match pattern.strip_prefix('.')? {
            "waitForTaskToken" => None,
            name => {
                if nearest(name, ["waitForTaskToken"]).is_some() {
                    return Some(meant(service, action, ".waitForTaskToken"));
                }
                let row = INTEGRATIONS.iter().find(|row| package(row.service) == service);
                let waits = row.filter(|row| row.sync.split(' ').any(|it| it == action));
                Some(match waits {
                    Some(row) => did_you_mean_all(&format!("{head}{}:{action}{pattern}", row.service)),
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
    let small = small_first(action)?;
    if models::refusal(service, &small).is_none() {
        return Some(small);
    }
    nearest(action, models::actions(service).iter().map(String::as_str)).map(str::to_owned)
}

/// As resources begin the names of actions; none for a text that is no name.
fn small_first(action: &str) -> Option<String> {
    Some(action.get(..1)?.to_ascii_lowercase() + &action[1..])
}

/// The service that has this action and a name like the given one, such as `cognitoidentityprovider` for `cognito`; or
/// the only one with this action.
fn service_with(service: &str, action: &str) -> Option<&'static str> {
    let plain = service.replace('-', "").to_ascii_lowercase();
    let with_action: Vec<&str> = models::services_with(action).collect();
    let is_alike = |name: &&str| name.starts_with(&plain) || plain.ends_with(name);
    match &with_action[..] {
        [only] => Some(only),
        several => several.iter().copied().find(is_alike),
    }
}

/// The name in SDK integrations of a service with an optimised integration.
fn package(service: &str) -> &str {
    models::other_name(service).unwrap_or(service)
}

fn optimised_suggestion(head: &str, service: &str, call: &str, ours: bool) -> Option<String> {
    let (action, pattern) = without_pattern(call);
    let listed = |actions: &str| actions.split(' ').any(|it| it == action);
    let meant = |service: &str, action: &str, pattern: &str| {
        did_you_mean_all(&format!("{head}{service}:{action}{pattern}"))
    };
    // Most services and actions have no integration of their own, but can be called by the SDK's.
    let sdk = || {
        let package = package(service);
        // Of the patterns, SDK integrations have one only.
        let (pattern, note) = match pattern {
            "" | ".waitForTaskToken" => (pattern, ""),
            _ => ("", " It answers at once: SDK integrations have no `.sync`"),
        };
        let meant = |action: &str| meant(&format!("aws-sdk:{package}"), action, pattern) + note;
        match models::refusal(package, action) {
            None => Some(meant(action)),
            Some(Refused::Action) => near_action(package, action).as_deref().map(meant),
            Some(Refused::Service | Refused::Unsupported) => None,
        }
    };
    let rows = || INTEGRATIONS.iter().chain(if ours { OURS } else { &[] });
    let Some(row) = rows().find(|row| row.service == service) else {
        let names = || rows().map(|row| row.service).chain(["activity"]);
        // A name with an action that it has, or with the one that is closest.
        let with_action = |name: &str| match rows().find(|row| row.service == name) {
            Some(row) if !listed(row.actions) => {
                nearest(action, row.actions.split(' ')).map(|near| meant(name, near, pattern))
            }
            _ => Some(meant(name, action, pattern)),
        };
        let same = names().find(|name| name.eq_ignore_ascii_case(service));
        if let Some(suggestion) = same.and_then(with_action) {
            return Some(suggestion);
        }
        let twin = rows().find(|row| package(row.service) == package(service) && listed(row.actions));
        let twin = twin.map(|row| meant(row.service, action, pattern));
        let near = || nearest(service, names()).and_then(with_action);
        return twin.or_else(sdk).or_else(near).or_else(|| {
            Some(format!(
                "there is no integration `{service}`; the SDK's is `arn:aws:states:::aws-sdk:SERVICE:ACTION`"
            ))
        });
    };
    if !listed(row.actions) {
        let near = nearest(action, row.actions.split(' ')).map(|near| meant(service, near, pattern));
        return near.or_else(sdk).or_else(|| {
            let actions: Vec<String> = row.actions.split(' ').map(|action| format!("`{action}`")).collect();
            Some(format!("the integration `{service}` has {}", actions.join(", ")))
        });
    }
    let (waits, calls_back) = (listed(row.sync), listed(row.callback));
    let patterns =
        [(".sync", waits), (".sync:2", waits && service == "states"), (".waitForTaskToken", calls_back)];
    let has: Vec<&str> = patterns.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    if pattern.is_empty() {
        return None;
    }
    let near = nearest(pattern, has.iter().rev().copied()).map(|near| meant(service, action, near));
    near.or_else(|| {
        let has: Vec<String> = has.iter().map(|name| format!("`{name}`")).collect();
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

/// The resources of the optimised integrations, each with its patterns after it.
#[cfg(feature = "console")]
pub(crate) fn integrations() -> impl Iterator<Item = String> {
    INTEGRATIONS.iter().flat_map(|it| {
        let resource =
            |action: &str, pattern: &str| format!("arn:aws:states:::{}:{action}{pattern}", it.service);
        // The response of `.sync` is JSON in a text, that of `.sync:2` is JSON.
        let sync = if it.service == "states" { ".sync:2" } else { ".sync" };
        let patterns = [(it.actions, ""), (it.sync, sync), (it.callback, ".waitForTaskToken")];
        let named = |(actions, pattern): (&'static str, &'static str)| {
            actions.split_ascii_whitespace().map(move |action| (action, pattern))
        };
        let resources: Vec<String> =
            patterns.into_iter().flat_map(named).map(|(action, pattern)| resource(action, pattern)).collect();
        resources
    })
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
