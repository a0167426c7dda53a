//! The operations of services that tasks can call, and what is said of others.

use crate::asl::did_you_mean;
use crate::models::{self, Naming, NotFound, Operation, Protocol};

/// The names of all of AWS's services; `src/models/generate.py` makes them.
const NAMES: &str = include_str!("../../models/names.txt");

/// Whether AWS has this action of a service, as far as is known: of services that are not modelled, only the names are.
pub(super) fn is_on_aws(service: &str, action: &str) -> bool {
    match models::find(service, action, Naming::Java) {
        Ok(_) => true,
        Err(NotFound::Action(_)) => false,
        Err(NotFound::Service) => NAMES.lines().any(|name| name == service),
    }
}

/// What services are called elsewhere: in ARNs, among the optimised integrations, by people.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("events", "eventbridge"),
    ("states", "sfn"),
    ("stepfunctions", "sfn"),
    ("logs", "cloudwatchlogs"),
    ("monitoring", "cloudwatch"),
    ("secrets", "secretsmanager"),
    ("email", "ses"),
];

/// An operation by its service's name as in a resource, and its own, such as `putItem`.
pub(super) fn find(service: &str, action: &str, naming: Naming) -> Result<(Operation, Protocol), String> {
    let not_found = match models::find(service, action, naming) {
        Ok(operation) => match operation.service.protocol {
            Some(protocol) => return Ok((operation, protocol)),
            None => NotFound::Service,
        },
        Err(NotFound::Action(service)) if service.protocol.is_none() => NotFound::Service,
        Err(not_found) => not_found,
    };
    Err(match not_found {
        NotFound::Service => unsupported(service),
        NotFound::Action(service) => {
            let actions = service.actions();
            let advice = did_you_mean(action, actions.iter().map(String::as_str));
            let advice = advice.map_or(String::new(), |advice| format!(": {advice}"));
            format!("The service '{}' has no action '{action}'{advice}", service.id)
        }
    })
}

fn unsupported(service: &str) -> String {
    let known = OTHER_NAMES.iter().find(|(other, _)| *other == service).map(|(_, name)| *name);
    let advice = known
        .map(|name| format!("did you mean `{name}`?"))
        .or_else(|| did_you_mean(service, models::called()));
    match advice {
        Some(advice) => format!("The service '{service}' is not supported: {advice}"),
        None => {
            let services: Vec<&str> = models::called().collect();
            format!("The service '{service}' is not supported; these are: {}", services.join(", "))
        }
    }
}
