//! Definitions and single states that are looked at without a machine, on the wire.

use super::read::Fields;
use super::write::{Object, object};
use crate::service::test_state::{
    ErrorDetails, FieldValidation, Inspection, InspectionLevel, Mock, MockError, StateConfiguration,
    TestState,
};
use crate::service::validate::ValidateStateMachineDefinition;
use crate::service::{Error, Service};

pub(super) fn validate(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
    let found = service.validate_state_machine_definition(&ValidateStateMachineDefinition {
        definition: fields.need("definition").to_owned(),
        express: fields.text("type") == Some("EXPRESS"),
        warnings: fields.text("severity") == Some("WARNING"),
        results_max: fields.number("maxResults").and_then(|most| u32::try_from(most).ok()).unwrap_or(0),
        ..ValidateStateMachineDefinition::default()
    });
    Ok(object(|reply| {
        reply
            .text("result", if found.ok { "OK" } else { "FAIL" })
            .objects("diagnostics", &found.diagnostics, |diagnostic, finding| {
                diagnostic
                    .text("severity", finding.severity.name())
                    .text("code", finding.code)
                    .text("message", &finding.message)
                    .maybe_text("location", finding.location.as_deref());
            })
            .flag("truncated", found.truncated);
    }))
}

pub(super) async fn test_state(service: &Service, fields: Fields<'_>) -> Result<Vec<u8>, Error> {
    let tested = service.test_state(&request(fields)).await?;
    Ok(object(|reply| {
        reply
            .maybe_text("output", tested.output.as_deref())
            .maybe_text("error", tested.error.as_deref())
            .maybe_text("cause", tested.cause.as_deref());
        if let Some(shown) = &tested.inspection {
            reply.object("inspectionData", |reply| inspection(reply, shown));
        }
        reply.maybe_text("nextState", tested.next_state.as_deref()).text("status", tested.status.name());
    }))
}

fn request(fields: Fields<'_>) -> TestState {
    let owned = |name: &str| fields.text(name).map(str::to_owned);
    let configuration = fields.object("stateConfiguration");
    let setting = |name: &str| configuration.and_then(|it| it.text(name)).map(str::to_owned);
    let count = |name: &str| configuration?.number(name).and_then(|count| u32::try_from(count).ok());
    TestState {
        definition: fields.need("definition").to_owned(),
        role_arn: owned("roleArn"),
        input: owned("input"),
        inspection_level: match fields.text("inspectionLevel") {
            Some("DEBUG") => InspectionLevel::Debug,
            Some("TRACE") => InspectionLevel::Trace,
            _ => InspectionLevel::Info,
        },
        reveal_secrets: fields.flag("revealSecrets") == Some(true),
        variables: owned("variables"),
        state_name: owned("stateName"),
        mock: fields.object("mock").map(mock),
        context: owned("context"),
        configuration: StateConfiguration {
            retrier_retry_count: count("retrierRetryCount"),
            error_caused_by_state: setting("errorCausedByState"),
            map_iteration_failure_count: count("mapIterationFailureCount"),
            map_item_reader_data: setting("mapItemReaderData"),
        },
    }
}

fn mock(fields: Fields<'_>) -> Mock {
    Mock {
        result: fields.text("result").map(str::to_owned),
        error_output: fields.object("errorOutput").map(|output| MockError {
            error: output.text("error").map(str::to_owned),
            cause: output.text("cause").map(str::to_owned),
        }),
        field_validation: match fields.text("fieldValidationMode") {
            Some("PRESENT") => FieldValidation::Present,
            Some("NONE") => FieldValidation::None,
            _ => FieldValidation::Strict,
        },
    }
}

fn inspection(reply: &mut Object<'_>, shown: &Inspection) {
    reply
        .maybe_text("input", shown.input.as_deref())
        .maybe_text("afterArguments", shown.after_arguments.as_deref())
        .maybe_text("afterInputPath", shown.after_input_path.as_deref())
        .maybe_text("afterParameters", shown.after_parameters.as_deref())
        .maybe_text("result", shown.result.as_deref())
        .maybe_text("afterResultSelector", shown.after_result_selector.as_deref())
        .maybe_text("afterResultPath", shown.after_result_path.as_deref())
        .maybe_text("variables", shown.variables.as_deref());
    if let Some(ErrorDetails { catch_index, retry_index, retry_backoff_interval_seconds }) =
        shown.error_details
    {
        reply.object("errorDetails", |details| {
            let index = |index: Option<usize>| index.map(|index| index as u64);
            details
                .maybe_number("catchIndex", index(catch_index))
                .maybe_number("retryIndex", index(retry_index))
                .maybe_number("retryBackoffIntervalSeconds", retry_backoff_interval_seconds);
        });
    }
    reply
        .maybe_text("afterItemsPath", shown.after_items_path.as_deref())
        .maybe_text("afterItemSelector", shown.after_item_selector.as_deref())
        .maybe_text("afterItemBatcher", shown.after_item_batcher.as_deref())
        .maybe_text("afterItemsPointer", shown.after_items_pointer.as_deref());
    reply.maybe_number("toleratedFailureCount", shown.tolerated_failure_count);
    if let Some(percentage) = shown.tolerated_failure_percentage {
        reply.fraction("toleratedFailurePercentage", percentage);
    }
    reply.maybe_number("maxConcurrency", shown.max_concurrency);
}
