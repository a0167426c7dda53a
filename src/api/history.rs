//! Wire format of history events (API reference, `HistoryEvent`).

use super::write::Object;
use crate::observe::EventType;
use crate::observe::history::{Detail, Event};
use crate::service::HistoryLabels;

pub(super) fn write(item: &mut Object<'_>, event: &Event, labels: &HistoryLabels, data: bool) {
    item.time("timestamp", event.time_ms)
        .text("type", event.event_type.name())
        .number("id", event.id)
        .number("previousEventId", event.previous);
    let Some(name) = event.event_type.details_name() else { return };
    item.object(name, |details| {
        for (name, detail) in &event.details {
            member(details, name, detail, data);
            // AWS documents the region between the resource and the parameters.
            if *name == "resource" && event.event_type == EventType::TaskScheduled {
                details.text("region", &labels.region);
            }
        }
        if event.event_type == EventType::ExecutionStarted {
            details
                .text("roleArn", &labels.role_arn)
                .maybe_text("stateMachineAliasArn", labels.alias_arn.as_deref())
                .maybe_text("stateMachineVersionArn", labels.version_arn.as_deref());
        }
    });
}

/// A member of an event's details. Requested payloads have a sibling with their truncation; `parameters` has none, and
/// is always shown.
fn member(details: &mut Object<'_>, name: &str, detail: &Detail, data: bool) {
    match detail {
        Detail::Text(text) => {
            details.text(name, text);
        }
        Detail::Number(number) => {
            details.number(name, *number);
        }
        Detail::Json(text) if name == "parameters" => {
            details.text(name, text);
        }
        Detail::Json(_) | Detail::Members(_) if !data && name != "taskCredentials" => {}
        Detail::Json(text) => {
            details.text(name, text).object(&format!("{name}Details"), whole);
        }
        Detail::Members(members) => {
            details.object(name, |object| {
                for (name, member) in members {
                    match member {
                        Detail::Text(text) | Detail::Json(text) => object.text(name, text),
                        Detail::Number(number) => object.number(name, *number),
                        // Nothing is nested deeper.
                        Detail::Members(_) => object,
                    };
                }
            });
            if name == "assignedVariables" {
                details.object("assignedVariablesDetails", whole);
            }
        }
    }
}

fn whole(details: &mut Object<'_>) {
    details.flag("truncated", false);
}
