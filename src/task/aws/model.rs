//! The operations of services that tasks can call, and messages about others.

use crate::asl::did_you_mean;
use crate::models::{self, Naming, NotFound, Operation, Protocol};

/// An operation by its service's name in resources, and its own, such as `putItem`.
pub(super) fn find(service: &str, action: &str, naming: Naming) -> Result<(Operation, Protocol), String> {
    let not_found = match models::find(service, action, naming) {
        Ok(operation) => match operation.service.protocol {
            // Its body is a stream of events, for instance.
            Some(Protocol::Rest | Protocol::RestXml)
                if operation.wrapper.is_none() || (operation.is_stream && naming == Naming::Java) =>
            {
                return Err(format!("Bodies of {service}:{action} cannot be sent or read"));
            }
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
    // A service of AWS's that is not called is no misspelt other one.
    if models::is_service(service) {
        return format!("AWS's service '{service}' is not called here: a mock can answer the task");
    }
    let advice = models::other_name(service)
        .map(|name| format!("did you mean `{name}`?"))
        .or_else(|| did_you_mean(service, models::called()));
    let advice = advice.map_or(String::new(), |advice| format!(": {advice}"));
    format!("There is no service '{service}'{advice}")
}
