//! Wire format of executions.

use super::history;
use super::read::{Fields, page};
use super::write::{Object, object};
use crate::runtime::{Outcome, Status};
use crate::service::{Error, ExecutionItem, ListExecutions, Service, StartExecution};

type Answer = Result<Vec<u8>, Error>;

/// The status of a child whose Map Run is redriven, and has not come to it yet.
const PENDING_REDRIVE: &str = "PENDING_REDRIVE";

pub(super) async fn start(service: &Service, fields: Fields<'_>, trace: Option<&str>) -> Answer {
    let started = service.start_recorded(request(fields, trace), None).await?;
    Ok(object(|reply| {
        reply.text("executionArn", &started.arn).time("startDate", started.started_ms);
    }))
}

pub(super) async fn start_sync(service: &Service, fields: Fields<'_>, trace: Option<&str>) -> Answer {
    let request = request(fields, trace);
    let trace_header = request.trace_header.clone();
    let input = request.input.clone().unwrap_or_else(|| "{}".to_owned());
    let ended = service.start_sync_execution(request).await?;
    let whole = fields.wants_all_data();
    Ok(object(|reply| {
        reply
            .text("executionArn", &ended.arn)
            .text("stateMachineArn", &ended.machine_arn)
            .text("name", &ended.name)
            .time("startDate", ended.outcome.started_ms)
            .time("stopDate", ended.outcome.stopped_ms)
            .text("status", status_name(ended.outcome.status));
        payloads(reply, whole, &input, Some(&ended.outcome));
        reply.maybe_text("traceHeader", trace_header.as_deref());
        reply.object("billingDetails", |billing| {
            billing
                .number("billedMemoryUsedInMB", ended.billing.memory_mb)
                .number("billedDurationInMilliseconds", ended.billing.duration_ms);
        });
    }))
}

pub(super) async fn describe(service: &Service, fields: Fields<'_>) -> Answer {
    let described = service.describe_execution(fields.need("executionArn"))?;
    service.until_recorded([&*described.arn]).await;
    let outcome = described.outcome.as_deref();
    let status = outcome.map_or(Status::Running, |outcome| outcome.status);
    let redrive = &described.redrive;
    Ok(object(|reply| {
        reply
            .text("executionArn", &described.arn)
            .text("stateMachineArn", &described.machine_arn)
            .text("name", &described.name)
            .text("status", if described.is_pending_redrive { PENDING_REDRIVE } else { status_name(status) })
            .time("startDate", described.started_ms)
            .maybe_time("stopDate", outcome.map(|outcome| outcome.stopped_ms));
        payloads(reply, fields.wants_all_data(), &described.input, outcome);
        reply
            .maybe_text("traceHeader", described.trace_header.as_deref())
            .maybe_text("stateMachineVersionArn", described.version_arn.as_deref())
            .maybe_text("stateMachineAliasArn", described.alias_arn.as_deref())
            .maybe_text("mapRunArn", described.map_run_arn.as_deref())
            .number("redriveCount", redrive.count.into())
            .maybe_time("redriveDate", redrive.date_ms)
            .text("redriveStatus", redrive.status())
            .maybe_text("redriveStatusReason", redrive.reason());
    }))
}

pub(super) async fn stop(service: &Service, fields: Fields<'_>) -> Answer {
    let text = |name| fields.text(name).map(str::to_owned);
    let stopped_ms =
        service.stop_execution(fields.need("executionArn"), text("error"), text("cause")).await?;
    Ok(object(|reply| {
        reply.time("stopDate", stopped_ms);
    }))
}

pub(super) async fn list(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_executions(&listed(fields))?;
    service.until_recorded(part.items.iter().map(|item| &*item.arn)).await;
    Ok(object(|reply| {
        reply
            .objects("executions", &part.items, write_item)
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

pub(super) fn listed(fields: Fields<'_>) -> ListExecutions {
    ListExecutions {
        machine_arn: fields.text("stateMachineArn").map(str::to_owned),
        map_run_arn: fields.text("mapRunArn").map(str::to_owned),
        status: fields.text("statusFilter").map(status_of),
        redriven: fields.text("redriveFilter").map(|filter| filter == "REDRIVEN"),
        page: page(fields),
    }
}

pub(super) fn write_item(item: &mut Object<'_>, execution: &ExecutionItem) {
    item.text("executionArn", &execution.arn)
        .text("stateMachineArn", &execution.machine_arn)
        .text("name", &execution.name)
        .text(
            "status",
            if execution.is_pending_redrive { PENDING_REDRIVE } else { status_name(execution.status) },
        )
        .time("startDate", execution.started_ms)
        .maybe_time("stopDate", execution.stopped_ms)
        .maybe_text("mapRunArn", execution.map_run_arn.as_deref())
        .maybe_text("stateMachineVersionArn", execution.version_arn.as_deref())
        .maybe_text("stateMachineAliasArn", execution.alias_arn.as_deref())
        .number("redriveCount", execution.redrive_count.into())
        .maybe_time("redriveDate", execution.redrive_ms);
}

pub(super) async fn history(service: &Service, fields: Fields<'_>) -> Answer {
    let arn = fields.need("executionArn");
    let newest_first = fields.flag("reverseOrder").unwrap_or(false);
    let (part, labels) = service.get_execution_history(arn, newest_first, &page(fields))?;
    service.until_recorded([arn]).await;
    let data = fields.flag("includeExecutionData").unwrap_or(true);
    Ok(object(|reply| {
        reply
            .objects("events", &part.items, |item, event| history::write(item, event, &labels, data))
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}

pub(super) async fn redrive(service: &Service, fields: Fields<'_>) -> Answer {
    let token = fields.text("clientToken");
    let redriven_ms = service.redrive_execution(fields.need("executionArn"), token).await?;
    Ok(object(|reply| {
        reply.time("redriveDate", redriven_ms);
    }))
}

// ---- parts ----

pub(super) fn request(fields: Fields<'_>, trace: Option<&str>) -> StartExecution {
    StartExecution {
        machine_arn: fields.need("stateMachineArn").to_owned(),
        name: fields.text("name").map(str::to_owned),
        input: fields.text("input").map(str::to_owned),
        trace_header: fields.text("traceHeader").or(trace).map(str::to_owned),
    }
}

/// AWS's name.
pub(crate) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    }
}

fn status_of(name: &str) -> Option<Status> {
    [Status::Running, Status::Succeeded, Status::Failed, Status::TimedOut, Status::Aborted]
        .into_iter()
        .find(|&status| status_name(status) == name)
}

/// `input`, and the execution's outcome.
fn payloads(reply: &mut Object<'_>, whole: bool, input: &str, outcome: Option<&Outcome>) {
    let included = |details: &mut Object<'_>| {
        details.flag("included", whole);
    };
    if whole {
        reply.text("input", input);
    }
    reply.object("inputDetails", included);
    let Some(outcome) = outcome else { return };
    if outcome.status == Status::Succeeded {
        if whole {
            // The engine writes JSON, which is UTF-8.
            reply.text("output", std::str::from_utf8(outcome.json()).unwrap_or_default());
        }
        reply.object("outputDetails", included);
    }
    if !whole {
        return;
    }
    // One that timed out has neither.
    if let Some(fault) = &outcome.fault {
        reply.maybe_text("error", fault.error.as_deref()).maybe_text("cause", fault.cause.as_deref());
    }
}
