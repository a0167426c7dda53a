//! Executions, on the wire.

use super::read::Fields;
use super::write::{Object, object};
use crate::fault;
use crate::runtime::{Outcome, Status};
use crate::service::{Error, Service, StartExecution};

pub(super) fn start(service: &Service, fields: Fields<'_>, trace: Option<&str>) -> Result<Vec<u8>, Error> {
    let started = service.start_execution(request(fields, trace))?;
    Ok(object(|reply| {
        reply.text("executionArn", &started.arn).time("startDate", started.started_ms);
    }))
}

pub(super) async fn start_sync(
    service: &Service,
    fields: Fields<'_>,
    trace: Option<&str>,
) -> Result<Vec<u8>, Error> {
    let request = request(fields, trace);
    let input = request.input.clone().unwrap_or_else(|| "{}".to_owned());
    let ended = service.start_sync_execution(request).await?;
    let whole = fields.text("includedData") != Some("METADATA_ONLY");
    Ok(object(|reply| {
        reply
            .text("executionArn", &ended.arn)
            .text("stateMachineArn", &ended.machine_arn)
            .text("name", &ended.name)
            .time("startDate", ended.outcome.started_ms)
            .time("stopDate", ended.outcome.stopped_ms)
            .text("status", status_name(ended.outcome.status));
        payloads(reply, whole, &input, Some(&ended.outcome));
        reply.maybe_text("traceHeader", fields.text("traceHeader"));
        reply.object("billingDetails", |billing| {
            billing
                .number("billedMemoryUsedInMB", ended.billed_mb)
                .number("billedDurationInMilliseconds", ended.billed_ms);
        });
    }))
}

pub(super) fn describe(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
    let described = service.describe_execution(fields.need("executionArn"))?;
    let whole = fields.text("includedData") != Some("METADATA_ONLY");
    let outcome = described.outcome.as_deref();
    Ok(object(|reply| {
        let status = outcome.map_or(Status::Running, |outcome| outcome.status);
        reply
            .text("executionArn", &described.arn)
            .text("stateMachineArn", &described.machine_arn)
            .text("name", &described.name)
            .text("status", status_name(status))
            .time("startDate", described.started_ms)
            .maybe_time("stopDate", outcome.map(|outcome| outcome.stopped_ms));
        payloads(reply, whole, &described.input, outcome);
        reply
            .maybe_text("traceHeader", described.trace_header.as_deref())
            .maybe_text("stateMachineVersionArn", described.version_arn.as_deref())
            .maybe_text("stateMachineAliasArn", described.alias_arn.as_deref())
            .number("redriveCount", 0);
        let redrivable = matches!(status, Status::Failed | Status::TimedOut | Status::Aborted);
        if !redrivable {
            let reason = format!("Execution is {} and cannot be redriven", status_name(status));
            reply.text("redriveStatus", "NOT_REDRIVABLE").text("redriveStatusReason", &reason);
        }
    }))
}

fn request(fields: Fields<'_>, trace: Option<&str>) -> StartExecution {
    StartExecution {
        machine_arn: fields.need("stateMachineArn").to_owned(),
        name: fields.text("name").map(str::to_owned),
        input: fields.text("input").map(str::to_owned),
        trace_header: fields.text("traceHeader").or(trace).map(str::to_owned),
    }
}

/// AWS's name.
pub(super) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    }
}

/// `input`, and what the execution came to.
fn payloads(reply: &mut Object<'_>, whole: bool, input: &str, outcome: Option<&Outcome>) {
    if whole {
        reply.text("input", input);
    }
    reply.object("inputDetails", |details| {
        details.flag("included", whole);
    });
    let Some(outcome) = outcome else { return };
    if outcome.status == Status::Succeeded {
        if whole {
            // The engine writes JSON, which is UTF-8.
            reply.text("output", std::str::from_utf8(outcome.json()).unwrap_or_default());
        }
        reply.object("outputDetails", |details| {
            details.flag("included", whole);
        });
    }
    if outcome.status == Status::TimedOut {
        reply.text("error", fault::TIMEOUT);
    }
    if let Some(fault) = outcome.fault.as_ref().filter(|_| whole) {
        reply.maybe_text("error", fault.error.as_deref()).maybe_text("cause", fault.cause.as_deref());
    }
}
