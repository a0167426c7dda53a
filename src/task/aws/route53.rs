//! Route 53 names what it has by paths, such as `/hostedzone/Z1`, and does not take them back as such. AWS's SDK for Java
//! leaves only what is behind the last slash, in the answers of some operations (its `Route53IdInterceptor`).

use serde_json::Value as Json;

/// The members of an answer that are cut.
fn members(operation: &str) -> &'static [&'static str] {
    match operation {
        "ChangeResourceRecordSets" | "DeleteHostedZone" | "GetChange" => &["ChangeInfo"],
        "CreateHostedZone" => &["ChangeInfo", "HostedZone", "DelegationSet"],
        "GetHostedZone" => &["HostedZone", "DelegationSet"],
        "ListHostedZones" => &["HostedZones"],
        "ListResourceRecordSets" => &["ResourceRecordSets"],
        "CreateHealthCheck" | "GetHealthCheck" => &["HealthCheck"],
        "ListHealthChecks" => &["HealthChecks"],
        "CreateReusableDelegationSet" | "GetReusableDelegationSet" => &["DelegationSet"],
        "ListReusableDelegationSets" => &["DelegationSets"],
        _ => &[],
    }
}

/// Cuts the paths before identifiers in an answer.
pub(super) fn cut_paths(operation: &str, output: &mut Json) {
    for &name in members(operation) {
        let Some(member) = output.get_mut(name) else { continue };
        let names: &[&str] = match name {
            "ResourceRecordSets" => &["HealthCheckId", "SetIdentifier"],
            _ => &["Id"],
        };
        let each = match member {
            Json::Array(items) => items.as_mut_slice(),
            one => std::slice::from_mut(one),
        };
        for item in each {
            names.iter().for_each(|name| cut(item.get_mut(name)));
            cut(item.get_mut("AliasTarget").and_then(|alias| alias.get_mut("HostedZoneId")));
        }
    }
}

fn cut(text: Option<&mut Json>) {
    // A slash at the beginning alone is kept, as in the SDK.
    if let Some(Json::String(text)) = text
        && let Some(at) = text.rfind('/').filter(|at| *at > 0)
    {
        text.drain(..=at);
    }
}
