//! The names of AWS's services and of their actions, modelled or not, and which of them Step Functions supports.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::names;

/// The names of all of AWS's services, and their actions' names: see `generate.py` for the form.
#[cfg(feature = "models")]
const NAMES: &str = include_str!("names.txt");
#[cfg(not(feature = "models"))]
const NAMES: &str = "";

/// Actions that AWS does not recognize although the SDK has them, by service (developer guide, "Supported AWS SDK service
/// integrations").
const UNSUPPORTED_ACTIONS: [(&str, &[&str]); 25] = [
    ("applicationdiscovery", &["describeExportConfigurations", "exportConfigurations"]),
    (
        "bedrockagentruntime",
        &["invokeAgent", "invokeFlow", "invokeInlineAgent", "optimizePrompt", "retrieveAndGenerateStream"],
    ),
    ("bedrockruntime", &["converseStream", "invokeModelWithResponseStream"]),
    ("cloudwatchlogs", &["startLiveTail"]),
    (
        "codedeploy",
        &[
            "batchGetDeploymentInstances",
            "getDeploymentInstance",
            "listDeploymentInstances",
            "skipWaitTimeForInstanceTermination",
        ],
    ),
    ("comprehendmedical", &["detectEntities"]),
    ("dataexchange", &["sendApiAsset"]),
    (
        "directconnect",
        &[
            "allocateConnectionOnInterconnect",
            "describeConnectionLoa",
            "describeConnectionsOnInterconnect",
            "describeInterconnectLoa",
        ],
    ),
    ("efs", &["createTags"]),
    ("elastictranscoder", &["testRole"]),
    ("emr", &["describeJobFlows"]),
    (
        "iot",
        &["attachPrincipalPolicy", "detachPrincipalPolicy", "listPolicyPrincipals", "listPrincipalPolicies"],
    ),
    ("iotdeviceadvisor", &["listTestCases"]),
    ("iotsitewise", &["invokeAssistant"]),
    ("kinesis", &["subscribeToShard"]),
    ("lambda", &["invokeAsync", "invokeWithResponseStream"]),
    ("lexruntimev2", &["startConversation"]),
    ("mediapackage", &["rotateChannelCredentials"]),
    ("qbusiness", &["chat"]),
    ("rdsdata", &["executeSql"]),
    ("s3", &["selectObjectContent"]),
    ("s3control", &["selectObjectContent"]),
    ("sagemakerruntime", &["invokeEndpointWithResponseStream"]),
    ("shield", &["deleteSubscription"]),
    ("sts", &["assumeRole", "assumeRoleWithSAML", "assumeRoleWithWebIdentity"]),
];
/// Services of the SDK that AWS does not recognize.
const UNSUPPORTED_SERVICES: [&str; 2] = ["cloudsearchdomain", "mediastoredata"];

/// Services that have ended and whose names AWS still lists.
const ENDED: &str = "apptest elasticinference elastictranscoder evidently finspace finspacedata honeycode iotanalytics \
    iotevents ioteventsdata iotfleethub lookoutmetrics lookoutvision opsworks opsworkscm panorama privatenetworks qldb \
    qldbsession robomaker simspaceweaver sms tnb";

/// The table of names.
struct Names {
    /// What it was made from, with the version.
    source: &'static str,
    /// What the letters stand for in the words of actions: `a` for the first.
    verbs: Vec<&'static str>,
    /// By name, with the words of its actions.
    services: BTreeMap<&'static str, &'static str>,
}

static NAMED: LazyLock<Names> = LazyLock::new(|| {
    let mut lines = NAMES.lines();
    let (source, verbs) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut services: BTreeMap<_, _> = lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    if !services.is_empty() {
        services.extend(ENDED.split(' ').map(|name| (name, "")));
        services.retain(|name, _| !UNSUPPORTED_SERVICES.contains(name));
    }
    Names { source, verbs: verbs.split(' ').collect(), services }
});

impl Names {
    /// Actions of a service, in two parts: `Put` and `Item`.
    fn actions(&self, service: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let words = self.services.get(service).into_iter().flat_map(|words| words.split_ascii_whitespace());
        words.flat_map(|word| {
            let noun = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
            let letters = &word.as_bytes()[..word.len() - noun.len()];
            let verbs = letters.iter().map(|letter| self.verbs[usize::from(letter - b'a')]);
            let is_whole = letters.is_empty().then_some("");
            verbs.chain(is_whole).map(move |verb| (verb, noun))
        })
    }
}

/// The names of AWS's services, as in `aws-sdk` resources, modelled or not.
pub(crate) fn services() -> impl Iterator<Item = &'static str> {
    NAMED.services.keys().copied()
}

/// Whether AWS has a service of this name, as in `aws-sdk` resources.
pub(crate) fn is_service(name: &str) -> bool {
    NAMED.services.contains_key(name)
}

/// The services that are known to have this action, as resources name both.
pub(crate) fn services_with(action: &str) -> impl Iterator<Item = &'static str> {
    // Of a service that has ended no action is known, and any is taken.
    let is_known = |service: &str| NAMED.actions(service).next().is_some();
    services().filter(move |service| is_known(service) && refusal(service, action).is_none())
}

/// Where the names of services and actions are from.
pub(crate) fn source() -> &'static str {
    NAMED.source
}

/// Why AWS refuses a call of the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has no service of this name.
    Service,
    /// The service has no action of this name.
    Action,
    /// Step Functions does not support the action.
    Unsupported,
}

/// Whether AWS refuses a call of the SDK. Of services that have ended any action is taken, and without the feature
/// `models` any service.
pub(crate) fn refusal(service: &str, action: &str) -> Option<Refused> {
    if !NAMES.is_empty() && !is_service(service) {
        return Some(Refused::Service);
    }
    if UNSUPPORTED_ACTIONS.iter().any(|(name, actions)| *name == service && actions.contains(&action)) {
        return Some(Refused::Unsupported);
    }
    (!has_action(service, action)).then_some(Refused::Action)
}

fn has_action(service: &str, action: &str) -> bool {
    if !action.starts_with(|c: char| c.is_ascii_lowercase()) {
        return false;
    }
    let name = names::capitalize(action);
    let mut actions = NAMED.actions(service).peekable();
    actions.peek().is_none() || actions.any(|(verb, noun)| name.strip_prefix(verb) == Some(noun))
}

/// Other names of services: in ARNs, among the optimised integrations, in the AWS CLI and other SDKs, in common use.
const OTHER_NAMES: [(&str, &str); 25] = [
    ("ce", "costexplorer"),
    ("cognitoidp", "cognitoidentityprovider"),
    ("cur", "costandusagereport"),
    ("ddb", "dynamodb"),
    ("dms", "databasemigration"),
    ("documentdb", "docdb"),
    ("ds", "directory"),
    ("elasticmapreduce", "emr"),
    ("elb", "elasticloadbalancing"),
    ("elbv2", "elasticloadbalancingv2"),
    ("email", "ses"),
    ("es", "elasticsearch"),
    ("events", "eventbridge"),
    ("iotdata", "iotdataplane"),
    ("logs", "cloudwatchlogs"),
    ("metrics", "cloudwatch"),
    ("monitoring", "cloudwatch"),
    ("msk", "kafka"),
    ("parameterstore", "ssm"),
    ("sdb", "simpledb"),
    ("secrets", "secretsmanager"),
    ("states", "sfn"),
    ("stepfunctions", "sfn"),
    ("systemsmanager", "ssm"),
    ("tagging", "resourcegroupstaggingapi"),
];

/// The name in resources of a service with another name, such as `elbv2`, or of one that is written with hyphens.
pub(crate) fn other_name(service: &str) -> Option<&'static str> {
    let plain = service.replace('-', "").to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == plain).map(|(_, name)| *name);
    let short = names::package(service);
    other.or_else(|| services().find(|name| (*name == plain || *name == short) && *name != service))
}

/// The actions of a service that Step Functions supports, as resources name them; empty where they are not known.
pub(crate) fn actions(service: &str) -> Vec<String> {
    let named = NAMED.actions(service).map(|(verb, noun)| names::action(&format!("{verb}{noun}")));
    let mut actions: Vec<String> = named.collect();
    actions.sort_unstable();
    actions.retain(|action| refusal(service, action) != Some(Refused::Unsupported));
    actions
}

#[cfg(test)]
#[cfg(feature = "models")]
mod tests {
    use super::*;

    #[test]
    fn what_is_modelled_is_known_by_name() {
        for package in crate::models::called().filter(|it| !UNSUPPORTED_SERVICES.contains(it)) {
            assert!(is_service(package), "{package}");
            let service = crate::models::service::modelled(package).expect("a service");
            let mut known: Vec<String> = service.actions();
            known.retain(|action| refusal(package, action) != Some(Refused::Unsupported));
            known.sort_unstable();
            assert_eq!(actions(package), known, "{package}");
        }
    }

    #[test]
    fn actions_are_put_together_of_verbs_and_nouns() {
        let actions = actions("account");
        for action in
            ["getContactInformation", "putContactInformation", "acceptPrimaryEmailUpdate", "listRegions"]
        {
            assert!(actions.iter().any(|it| it == action), "{action}: {actions:?}");
            assert_eq!(refusal("account", action), None, "{action}");
        }
        let wrong = ["ContactInformation", "contactInformation", "get", "putcontactInformation", "", "ä"];
        for action in wrong {
            assert_eq!(refusal("account", action), Some(Refused::Action), "{action}");
        }
        assert_eq!(services().filter(|name| name.contains(' ')).count(), 0);
    }
}
