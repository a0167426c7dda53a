//! Wire format of Map Runs.

use super::executions::status_name;
use super::read::{Fields, page};
use super::write::{EMPTY, Object, object};
use crate::runtime::{MapRunCounts, MapRunRedrives, MapRunSettings};
use crate::service::{Error, MapRunFailures, Service, UpdateMapRun};

type Answer = Result<Vec<u8>, Error>;

pub(super) fn describe(service: &Service, fields: Fields<'_>) -> Answer {
    let run = service.describe_map_run(fields.need("mapRunArn"))?;
    let state = run.state();
    let MapRunFailures { items, executions } = service.map_run_failures_not_redrivable(run.arn())?;
    let MapRunRedrives { count, last_ms } = run.redrives();
    let MapRunSettings { concurrency_max, tolerated_count, tolerated_percentage } = state.settings;
    Ok(object(|reply| {
        reply
            .text("mapRunArn", run.arn())
            .text("executionArn", run.execution_arn())
            .text("status", status_name(state.status))
            .time("startDate", run.started_ms())
            .maybe_time("stopDate", state.stopped_ms)
            .number("maxConcurrency", concurrency_max)
            .fraction("toleratedFailurePercentage", tolerated_percentage)
            .number("toleratedFailureCount", tolerated_count)
            .object("itemCounts", |reply| counts(reply, &state.items, (count > 0, items)))
            .object("executionCounts", |reply| counts(reply, &state.executions, (count > 0, executions)))
            .number("redriveCount", u64::from(count))
            .maybe_time("redriveDate", (count > 0).then_some(last_ms));
    }))
}

fn counts(reply: &mut Object<'_>, counts: &MapRunCounts, (is_redriven, not_redrivable): (bool, u64)) {
    reply
        .number("pending", counts.pending)
        .number("running", counts.running)
        .number("succeeded", counts.succeeded)
        .number("failed", counts.failed)
        .number("timedOut", counts.timed_out)
        .number("aborted", counts.aborted)
        .number("total", counts.total())
        .number("resultsWritten", counts.results_written);
    // A Map Run that was not redriven is recorded without them.
    if is_redriven || not_redrivable > 0 {
        reply.number("failuresNotRedrivable", not_redrivable);
    }
    if is_redriven {
        reply.number("pendingRedrive", counts.pending_redrive);
    }
}

pub(super) fn update(service: &Service, fields: Fields<'_>) -> Answer {
    let count = |name| fields.number(name).and_then(|number| u64::try_from(number).ok());
    let change = UpdateMapRun {
        concurrency_max: count("maxConcurrency"),
        tolerated_count: count("toleratedFailureCount"),
        tolerated_percentage: fields.fraction("toleratedFailurePercentage"),
    };
    service.update_map_run(fields.need("mapRunArn"), &change)?;
    Ok(EMPTY.to_vec())
}

pub(super) fn list(service: &Service, fields: Fields<'_>) -> Answer {
    let part = service.list_map_runs(fields.need("executionArn"), &page(fields))?;
    Ok(object(|reply| {
        reply
            .objects("mapRuns", &part.items, |item, run| {
                item.text("executionArn", run.execution_arn())
                    .text("mapRunArn", run.arn())
                    .text("stateMachineArn", run.machine_arn())
                    .time("startDate", run.started_ms())
                    .maybe_time("stopDate", run.state().stopped_ms);
            })
            .maybe_text("nextToken", part.next_token.as_deref());
    }))
}
