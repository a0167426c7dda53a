//! The integrations of EMR that are one request with parameters of their own (developer guide, "Create and manage Amazon EMR
//! clusters"). Those that start something are among the jobs.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::parameters::refuse;
use super::service::{Integration, Modelled, Trouble, with_metadata};
use super::settings::Settings;
use crate::fault;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// One action.
#[derive(Debug)]
struct Row {
    action: &'static str,
    operation: &'static str,
    /// What is looked up by its name before.
    named: Option<&'static Named>,
    members: &'static [&'static str],
    request: fn(&Json) -> Json,
    answer: fn(Json) -> Json,
}

/// Parts of a cluster that tasks name, where EMR wants an identifier.
#[derive(Debug)]
struct Named {
    list: &'static str,
    /// The member of the list's answer.
    found: &'static str,
    /// The members with the name, and with the part itself.
    name: &'static str,
    part: &'static str,
    id: &'static str,
}

const FLEETS: Named = Named {
    list: "listInstanceFleets",
    found: "InstanceFleets",
    name: "InstanceFleetName",
    part: "InstanceFleet",
    id: "InstanceFleetId",
};
const GROUPS: Named = Named {
    list: "listInstanceGroups",
    found: "InstanceGroups",
    name: "InstanceGroupName",
    part: "InstanceGroup",
    id: "InstanceGroupId",
};

/// Pages of a list that are read.
const PAGES_MAX: usize = 100;

const ROWS: [Row; 4] = [
    Row {
        action: "cancelStep",
        operation: "cancelSteps",
        named: None,
        members: &["ClusterId", "StepId"],
        request: |given| json!({"ClusterId": given["ClusterId"], "StepIds": [given["StepId"]]}),
        answer: |mut answer| {
            let first = answer.pointer_mut("/CancelStepsInfoList/0").map(Json::take);
            json!({ "CancelStepsInfo": first })
        },
    },
    Row {
        action: "setClusterTerminationProtection",
        operation: "setTerminationProtection",
        named: None,
        members: &["ClusterId", "TerminationProtected"],
        request: |given| json!({"JobFlowIds": [given["ClusterId"]], "TerminationProtected": given["TerminationProtected"]}),
        answer: |answer| answer,
    },
    Row {
        action: "modifyInstanceFleetByName",
        operation: "modifyInstanceFleet",
        named: Some(&FLEETS),
        members: &["ClusterId", "InstanceFleetName", "InstanceFleet"],
        request: |given| json!({"ClusterId": given["ClusterId"], "InstanceFleet": given["InstanceFleet"]}),
        answer: |answer| answer,
    },
    Row {
        action: "modifyInstanceGroupByName",
        operation: "modifyInstanceGroups",
        named: Some(&GROUPS),
        members: &["ClusterId", "InstanceGroupName", "InstanceGroup"],
        request: |given| json!({"ClusterId": given["ClusterId"], "InstanceGroups": [given["InstanceGroup"]]}),
        answer: |answer| answer,
    },
];

/// Does one of them.
#[derive(Debug)]
pub(super) struct Emr(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    row: &'static Row,
    operation: Modelled,
    list: Option<(&'static Named, Modelled)>,
}

/// The handler of an action, if it is one of these.
pub(super) fn handler(
    settings: &Settings,
    integration: &Integration,
    action: &str,
) -> Option<Result<Emr, String>> {
    let row = ROWS.iter().find(|row| row.action == action)?;
    let operation = |action: &str| integration.operation(settings, action);
    let parts = || {
        let list = match row.named {
            Some(named) => Some((named, operation(named.list)?)),
            None => None,
        };
        Ok(Emr(Arc::new(Parts { row, operation: operation(row.operation)?, list })))
    };
    Some(parts())
}

impl AsyncHandler for Emr {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let parts = Arc::clone(&self.0);
        let mut given: Map<String, Json> = call.input()?;
        let refused = |why: String| refuse(call.arena, call.input, &why);
        let members = parts.row.members;
        if let Some(unknown) = given.keys().find(|name| !members.contains(&name.as_str())) {
            return Err(refused(super::wire::unknown(unknown)));
        }
        if let Some(missing) = members.iter().find(|name| given.get(**name).is_none_or(Json::is_null)) {
            return Err(refused(format!("The field '{missing}' is required but was missing")));
        }
        if let Some(named) = parts.row.named {
            let part = &given[named.part];
            if part.get(named.id).is_some() {
                return Err(refused(super::wire::unknown(named.id)));
            }
            if !part.is_object() || !given[named.name].is_string() {
                let wrong = if part.is_object() { named.name } else { named.part };
                return Err(refused(super::wire::invalid(wrong)));
            }
        }
        Ok(Box::pin(async move {
            if let Some((named, list)) = &parts.list {
                let id = named.look_up(list, &given).await?;
                given[named.part][named.id] = id;
            }
            let request = (parts.row.request)(&Json::Object(given));
            let answered = parts.operation.ask_json(&request).await.map_err(Trouble::into_error)?;
            with_metadata(&(parts.row.answer)(answered.output), &answered.reply, &answered.request_id)
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        self.0.operation.calls_out()
    }
}

impl Named {
    /// The identifier of the part with the given name.
    async fn look_up(&self, list: &Modelled, given: &Map<String, Json>) -> Result<Json, TaskError> {
        let mut request = json!({"ClusterId": given["ClusterId"]});
        for _ in 0..PAGES_MAX {
            let mut answer = list.ask_json(&request).await.map_err(Trouble::into_error)?.output;
            let parts = answer.get_mut(self.found).and_then(Json::as_array_mut).into_iter().flatten();
            for part in parts {
                if part.get("Name") == given.get(self.name) {
                    return Ok(part["Id"].take());
                }
            }
            match answer.get("Marker").filter(|marker| marker.is_string()) {
                Some(marker) => request["Marker"] = marker.clone(),
                None => break,
            }
        }
        let cause = format!("The cluster {} has no {} {}", given["ClusterId"], self.part, given[self.name]);
        Err(TaskError::new(fault::TASK_FAILED, cause))
    }
}
