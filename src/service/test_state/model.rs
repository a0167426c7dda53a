//! Requests of `TestState` and their answers.

use crate::asl::Resources;
use crate::json::{self, Arena, ReadError, ReadErrorKind};

/// A request of `TestState`. [`Default`] has AWS's defaults for absent members.
#[derive(Clone, Debug, Default)]
pub struct TestState {
    /// `definition`: a state, or with `state_name` a whole machine.
    pub definition: String,
    /// `roleArn`
    pub role_arn: Option<String>,
    /// `input`: JSON text; `{}` when absent.
    pub input: Option<String>,
    /// `inspectionLevel`
    pub inspection_level: InspectionLevel,
    /// `revealSecrets`
    pub reveal_secrets: bool,
    /// `variables`: JSON text of an object.
    pub variables: Option<String>,
    /// `stateName`
    pub state_name: Option<String>,
    /// `mock`
    pub mock: Option<Mock>,
    /// `context`: JSON text of the context object.
    pub context: Option<String>,
    /// `stateConfiguration`
    pub configuration: StateConfiguration,
}

/// `inspectionLevel`: how much the answer shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InspectionLevel {
    /// The outcome.
    #[default]
    Info,
    /// The data at each step of the state, too.
    Debug,
    /// The request and response of an HTTP task, too.
    Trace,
}

/// `mock`: the result of the state's work. Exactly one of `result` and `error_output`.
#[derive(Clone, Debug, Default)]
pub struct Mock {
    /// `result`: JSON text.
    pub result: Option<String>,
    /// `errorOutput`
    pub error_output: Option<MockError>,
    /// `fieldValidationMode`
    pub field_validation: FieldValidation,
}

/// `mock.errorOutput`
#[derive(Clone, Debug, Default)]
pub struct MockError {
    /// `error`
    pub error: Option<String>,
    /// `cause`
    pub cause: Option<String>,
}

/// `mock.fieldValidationMode`: how a mocked result is compared with the API's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FieldValidation {
    /// Members that the API requires must be present, and members that are present must be valid.
    #[default]
    Strict,
    /// Members that are present must be valid.
    Present,
    /// Not at all.
    None,
}

/// `stateConfiguration`
#[derive(Clone, Debug, Default)]
pub struct StateConfiguration {
    /// `retrierRetryCount`: how often the retrier that matches the error has been used before.
    pub retrier_retry_count: Option<u32>,
    /// `errorCausedByState`: the state inside a Map or Parallel that the mocked error comes from.
    pub error_caused_by_state: Option<String>,
    /// `mapIterationFailureCount`: how many iterations of the Map failed.
    pub map_iteration_failure_count: Option<u32>,
    /// `mapItemReaderData`: what `ItemReader` reads, as in its source.
    pub map_item_reader_data: Option<String>,
}

/// Where and when a test takes place.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Of the ARNs in the context object: such as `aws`.
    pub partition: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The source of everything random.
    pub seed: u64,
    /// Which resources a Task may name.
    pub resources: Resources,
}

/// The answer of `TestState`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestedState {
    /// `output`: JSON text.
    pub output: Option<String>,
    /// `error`
    pub error: Option<String>,
    /// `cause`
    pub cause: Option<String>,
    /// `nextState`
    pub next_state: Option<String>,
    /// `status`
    pub status: TestStatus,
    /// `inspectionData`
    pub inspection: Option<Box<Inspection>>,
}

/// `status`: the outcome of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TestStatus {
    /// `SUCCEEDED`
    #[default]
    Succeeded,
    /// `FAILED`: with an error that nothing handles.
    Failed,
    /// `RETRIABLE`: with an error after which it would be tried again.
    Retriable,
    /// `CAUGHT_ERROR`: with an error that a catcher handles.
    CaughtError,
}

impl TestStatus {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            TestStatus::Succeeded => "SUCCEEDED",
            TestStatus::Failed => "FAILED",
            TestStatus::Retriable => "RETRIABLE",
            TestStatus::CaughtError => "CAUGHT_ERROR",
        }
    }
}

/// `inspectionData`: the data at each step of the state. What does not apply is absent. Everything except the numbers
/// is JSON text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// `input`
    pub input: Option<String>,
    /// `afterArguments` (JSONata)
    pub after_arguments: Option<String>,
    /// `afterInputPath` (JSONPath)
    pub after_input_path: Option<String>,
    /// `afterParameters` (JSONPath)
    pub after_parameters: Option<String>,
    /// `result`
    pub result: Option<String>,
    /// `afterResultSelector` (JSONPath)
    pub after_result_selector: Option<String>,
    /// `afterResultPath` (JSONPath)
    pub after_result_path: Option<String>,
    /// `variables`: an object of all variables that have a value afterwards.
    pub variables: Option<String>,
    /// `errorDetails`
    pub error_details: Option<ErrorDetails>,
    /// `afterItemsPath` (JSONPath)
    pub after_items_path: Option<String>,
    /// `afterItemSelector`: an array of the inputs of the iterations.
    pub after_item_selector: Option<String>,
    /// `afterItemBatcher`: an array of the inputs of the child executions.
    pub after_item_batcher: Option<String>,
    /// `afterItemsPointer`
    pub after_items_pointer: Option<String>,
    /// `toleratedFailureCount`
    pub tolerated_failure_count: Option<u64>,
    /// `toleratedFailurePercentage`
    pub tolerated_failure_percentage: Option<f64>,
    /// `maxConcurrency`
    pub max_concurrency: Option<u64>,
}

/// `errorDetails`: the handler of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorDetails {
    /// `catchIndex`
    pub catch_index: Option<usize>,
    /// `retryIndex`
    pub retry_index: Option<usize>,
    /// `retryBackoffIntervalSeconds`
    pub retry_backoff_interval_seconds: Option<u64>,
}

/// Why a text cannot be read: in AWS's words, unless it is JSON with a number that no double has.
pub(super) fn unreadable(text: &str, words: &str) -> String {
    match json::read(&mut Arena::default(), text.as_bytes()) {
        Err(ReadError { kind: kind @ ReadErrorKind::NumberRange, .. }) => format!("{words}: {kind}"),
        _ => words.to_owned(),
    }
}
