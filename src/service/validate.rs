//! `ValidateStateMachineDefinition` (API reference): all problems of a definition, as AWS reports them.

use crate::asl::{self, MachineType, Options, Resources, Severity};

/// A request of `ValidateStateMachineDefinition`.
#[derive(Clone, Debug, Default)]
pub struct ValidateStateMachineDefinition {
    /// `definition`
    pub definition: String,
    /// Whether `type` is `EXPRESS`; `STANDARD` is AWS's default.
    pub express: bool,
    /// Whether `severity` is `WARNING`: warnings are reported, too.
    pub warnings: bool,
    /// `maxResults`, 0 to 100; 0 means 100.
    pub results_max: u32,
    /// Which resources a Task may name.
    pub resources: Resources,
}

/// Its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// Whether `result` is `OK`: a machine can be created from the definition. Warnings do not count.
    pub ok: bool,
    /// `diagnostics`
    pub diagnostics: Vec<Finding>,
    /// `truncated`: whether there are more of them.
    pub truncated: bool,
}

/// One of `diagnostics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `severity`
    pub severity: Severity,
    /// `code`
    pub code: &'static str,
    /// `message`
    pub message: String,
    /// `location`
    pub location: Option<String>,
    /// What the author may have meant. Not part of AWS's answer, but beside it.
    pub suggestion: Option<String>,
}

/// The most diagnostics that are reported (API model).
const RESULTS_MAX: usize = 100;

/// Validates a definition.
///
/// ```
/// use expressway::service::validate::{ValidateStateMachineDefinition, validate};
///
/// let definition = r#"{"States": {"Hello": {"Type": "Pass", "End": true}}}"#.to_owned();
/// let found = validate(&ValidateStateMachineDefinition { definition, ..Default::default() });
/// assert!(!found.ok);
/// assert_eq!(found.diagnostics[0].message, "These fields are required: [StartAt]");
///
/// let definition = r#"{"StartAt": "Helo", "States": {"Hello": {"Type": "Pass", "End": true}}}"#.to_owned();
/// let found = validate(&ValidateStateMachineDefinition { definition, ..Default::default() });
/// assert_eq!(found.diagnostics[0].suggestion.as_deref(), Some("did you mean `Hello`?"));
/// ```
pub fn validate(request: &ValidateStateMachineDefinition) -> Validation {
    let machine_type = if request.express { MachineType::Express } else { MachineType::Standard };
    let options = Options { machine_type, resources: request.resources, express_maps: false };
    let (_, problems) = asl::read(request.definition.as_bytes(), &options);
    let ok = !problems.iter().any(|problem| problem.severity == Severity::Error);
    let results_max = match request.results_max as usize {
        0 => RESULTS_MAX,
        most => most.min(RESULTS_MAX),
    };
    let told = problems.into_iter().filter(|problem| request.warnings || problem.severity == Severity::Error);
    let mut diagnostics: Vec<Finding> = told
        .map(|problem| Finding {
            severity: problem.severity,
            code: problem.code.name(),
            message: problem.message,
            location: problem.location,
            suggestion: problem.suggestion,
        })
        .collect();
    let truncated = diagnostics.len() > results_max;
    diagnostics.truncate(results_max);
    Validation { ok, diagnostics, truncated }
}
