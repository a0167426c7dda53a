//! Wire format of `ValidateStateMachineDefinition` and `TestState`.

use super::read::Fields;
use super::write::{Object, object};
use crate::service::test_state::{
    FieldValidation, Inspection, InspectionLevel, Mock, MockError, StateConfiguration, TestState,
};
use crate::service::validate::ValidateStateMachineDefinition;
use crate::service::{Error, Service};

type Answer = Result<Vec<u8>, Error>;

pub(super) fn validate(service: &Service, fields: Fields<'_>) -> Answer {
    let found = service.validate_state_machine_definition(ValidateStateMachineDefinition {
        definition: fields.need("definition").to_owned(),
        express: fields.text("type") == Some("EXPRESS"),
        warnings: fields.text("severity") == Some("WARNING"),
        results_max: whole(fields, "maxResults").unwrap_or(0),
        ..ValidateStateMachineDefinition::default()
    });
    Ok(object(|reply| {
        reply
            .text("result", if found.ok { "OK" } else { "FAIL" })
            .objects("diagnostics", &found.diagnostics, |item, finding| {
                item.text("severity", finding.severity.name())
                    .text("code", finding.code)
                    .text("message", &finding.message)
                    .maybe_text("location", finding.location.as_deref())
                    // As in refusals: clients ignore members that they do not know.
                    .maybe_text("suggestion", finding.suggestion.as_deref());
            })
            .flag("truncated", found.truncated);
    }))
}

pub(super) async fn test_state(service: &Service, fields: Fields<'_>) -> Answer {
    let tested = service.test_state(request(fields)).await?;
    Ok(object(|reply| {
        reply
            .maybe_text("output", tested.output.as_deref())
            .maybe_text("error", tested.error.as_deref())
            .maybe_text("cause", tested.cause.as_deref());
        if let Some(inspection) = &tested.inspection {
            reply.object("inspectionData", |data| inspect(data, inspection));
        }
        reply.maybe_text("nextState", tested.next_state.as_deref()).text("status", tested.status.name());
    }))
}

fn request(fields: Fields<'_>) -> TestState {
    let text = |name| fields.text(name).map(str::to_owned);
    let configuration = fields.object("stateConfiguration");
    let configured =
        |name| configuration.and_then(|configuration| configuration.text(name)).map(str::to_owned);
    let counted = |name| configuration.and_then(|configuration| whole(configuration, name));
    TestState {
        definition: fields.need("definition").to_owned(),
        role_arn: text("roleArn"),
        input: text("input"),
        inspection_level: match fields.text("inspectionLevel") {
            Some("DEBUG") => InspectionLevel::Debug,
            Some("TRACE") => InspectionLevel::Trace,
            _ => InspectionLevel::Info,
        },
        reveal_secrets: fields.flag("revealSecrets").unwrap_or(false),
        variables: text("variables"),
        state_name: text("stateName"),
        mock: fields.object("mock").map(mock),
        context: text("context"),
        configuration: StateConfiguration {
            retrier_retry_count: counted("retrierRetryCount"),
            error_caused_by_state: configured("errorCausedByState"),
            map_iteration_failure_count: counted("mapIterationFailureCount"),
            map_item_reader_data: configured("mapItemReaderData"),
        },
    }
}

fn mock(mock: Fields<'_>) -> Mock {
    let error = |error: Fields<'_>| MockError {
        error: error.text("error").map(str::to_owned),
        cause: error.text("cause").map(str::to_owned),
    };
    Mock {
        result: mock.text("result").map(str::to_owned),
        error_output: mock.object("errorOutput").map(error),
        field_validation: match mock.text("fieldValidationMode") {
            Some("PRESENT") => FieldValidation::Present,
            Some("NONE") => FieldValidation::None,
            _ => FieldValidation::Strict,
        },
    }
}

fn whole(fields: Fields<'_>, name: &str) -> Option<u32> {
    fields.number(name).and_then(|number| u32::try_from(number).ok())
}

fn inspect(data: &mut Object<'_>, inspection: &Inspection) {
    let texts = [
        ("input", &inspection.input),
        ("afterArguments", &inspection.after_arguments),
        ("afterInputPath", &inspection.after_input_path),
        ("afterParameters", &inspection.after_parameters),
        ("result", &inspection.result),
        ("afterResultSelector", &inspection.after_result_selector),
        ("afterResultPath", &inspection.after_result_path),
        ("variables", &inspection.variables),
        ("afterItemsPath", &inspection.after_items_path),
        ("afterItemSelector", &inspection.after_item_selector),
        ("afterItemBatcher", &inspection.after_item_batcher),
        ("afterItemsPointer", &inspection.after_items_pointer),
    ];
    for (name, text) in texts {
        data.maybe_text(name, text.as_deref());
    }
    if let Some(details) = &inspection.error_details {
        data.object("errorDetails", |reply| {
            let index = |index: Option<usize>| index.map(|index| index as u64);
            reply
                .maybe_number("catchIndex", index(details.catch_index))
                .maybe_number("retryIndex", index(details.retry_index))
                .maybe_number("retryBackoffIntervalSeconds", details.retry_backoff_interval_seconds);
        });
    }
    data.maybe_number("toleratedFailureCount", inspection.tolerated_failure_count);
    if let Some(percentage) = inspection.tolerated_failure_percentage {
        data.fraction("toleratedFailurePercentage", percentage);
    }
    data.maybe_number("maxConcurrency", inspection.max_concurrency);
}
