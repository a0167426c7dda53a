//! Problems of a definition, in AWS's words, with the place and a suggestion of our own.

use std::fmt;

use crate::json::source::Span;

/// One problem of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the definition is refused for it.
    pub severity: Severity,
    /// The kind of problem.
    pub code: Code,
    /// What is wrong; AWS's own text where it is known.
    pub message: String,
    /// AWS's form of the place, such as `/States/Route/Choices[0]/Next`. The whole machine has `/`; problems without a
    /// place have none.
    pub location: Option<String>,
    /// The place in the text.
    pub span: Span,
    /// What the author may have meant, such as ``did you mean `Next`?``. Not part of AWS's answer.
    pub suggestion: Option<String>,
}

/// Whether a definition with the problem is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It is.
    Error,
    /// It is not.
    Warning,
}

impl Severity {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// Kinds of problems, as `ValidateStateMachineDefinition` names them (API reference,
        /// `ValidateStateMachineDefinitionDiagnostic`). The codes that only the creating of a machine can meet (its
        /// name) are not here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// AWS's name.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The text is not JSON: `{"StartAt": "A",}`.
    InvalidJsonDescription = "INVALID_JSON_DESCRIPTION";
    /// A field is missing, misplaced or malformed: `{"Type": "Wait", "Seconds": "soon", "End": true}`.
    SchemaValidationFailed = "SCHEMA_VALIDATION_FAILED";
    /// No state of the machine ends it: two Pass states that lead to each other.
    MissingEndState = "MISSING_END_STATE";
    /// Two states of the machine, nested ones included, have one name.
    DuplicateStateName = "DUPLICATE_STATE_NAME";
    /// A state's name is empty or longer than 80 characters.
    InvalidStateName = "INVALID_STATE_NAME";
    /// Two distributed Maps have one `Label`.
    DuplicateLabelName = "DUPLICATE_LABEL_NAME";
    /// A `Label` is too long or holds a character AWS does not allow: `"Label": "all items"`.
    InvalidLabelName = "INVALID_LABEL_NAME";
    /// `Next`, `Default` or `StartAt` names no state, or a state cannot be reached: `"Next": "Chrage"`.
    MissingTransitionTarget = "MISSING_TRANSITION_TARGET";
    /// Maps and Parallels are nested too deeply.
    TooDeeplyNested = "TOO_DEEPLY_NESTED";
    /// A JSONata expression does not parse: `{% $states.input. %}`.
    InvalidJsonataExpression = "INVALID_JSONATA_EXPRESSION";
    /// A JSONata expression refers to what does not exist there: `{% phone %}`, `{% $$ %}`.
    UnsupportedJsonataExpression = "UNSUPPORTED_JSONATA_EXPRESSION";
    /// An assigned variable's name is no identifier, or too long: `"Assign": {"a-b": 1}`.
    InvalidVariableName = "INVALID_VARIABLE_NAME";
    /// A variable cannot be called `states`: that is where the state's data is.
    ReservedVariableName = "RESERVED_VARIABLE_NAME";
    /// A branch or iteration assigns a variable that the workflow around it assigns too.
    DuplicateVariableName = "DUPLICATE_VARIABLE_NAME";
    /// Warning: a payload template's text looks like a path, but its key does not end in `.$`: `{"id": "$.id"}`.
    NoDollar = "NO_DOLLAR";
    /// Warning: a plain field's text looks like a path: `{"Type": "Fail", "Error": "$.error"}` for `ErrorPath`.
    NoPath = "NO_PATH";
    /// Warning: a Pass state's `Result` has a key that ends in `.$`, which is not evaluated there.
    PassResultIsStatic = "PASS_RESULT_IS_STATIC";
    /// Warning: an object holds a name twice; the last one counts. A code of our own.
    DuplicateFieldName = "DUPLICATE_FIELD_NAME";
    /// Warning: a resource that AWS does not know: one of this program's, such as `arn:aws:states:::file:read`, or one that
    /// only a handler with that name does. A code of our own.
    Extension = "EXTENSION";
}

impl Diagnostic {
    /// Line and column of the problem, both from 1, the column in characters. `text` is the definition.
    pub fn line_column(&self, text: &str) -> (u32, u32) {
        line_column(text, self.span.start as usize)
    }
}

impl fmt::Display for Diagnostic {
    /// AWS's one-line form: `<CODE>: <message> at <location>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The JSON parser's message ends with its place already.
        if self.code == Code::InvalidJsonDescription {
            return write!(f, "{}: {}", self.code.name(), self.message);
        }
        let location = self.location.as_deref().unwrap_or("null");
        write!(f, "{}: {} at {location}", self.code.name(), self.message)
    }
}

/// The message of `CreateStateMachine` for a definition with these problems: all errors, in order, in one line.
pub fn invalid_definition(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<String> =
        diagnostics.iter().filter(|it| it.severity == Severity::Error).map(Diagnostic::to_string).collect();
    format!("Invalid State Machine Definition: '{}'", errors.join(", "))
}

/// The suggestions for these problems, each with its place: `/States/A: did you mean `Next`?`.
pub fn suggestions(diagnostics: &[Diagnostic]) -> Option<String> {
    let placed = |it: &Diagnostic| {
        let suggestion = it.suggestion.as_deref()?;
        Some(format!("{}: {suggestion}", it.location.as_deref().unwrap_or("/")))
    };
    let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error);
    let suggestions: Vec<String> = errors.filter_map(placed).collect();
    (!suggestions.is_empty()).then(|| suggestions.join("; "))
}

/// As [`invalid_definition`], with suggestions: for programmers.
pub fn explain_invalid(diagnostics: &[Diagnostic]) -> String {
    let mut text = "invalid state machine definition:".to_owned();
    for diagnostic in diagnostics.iter().filter(|it| it.severity == Severity::Error) {
        text.push_str("\n  ");
        text.push_str(&diagnostic.to_string().replace('\n', "\n  "));
        if let Some(suggestion) = &diagnostic.suggestion {
            text.push_str("; ");
            text.push_str(suggestion);
        }
    }
    text
}

/// Line and column of a byte of `text`, both from 1, the column in characters.
pub fn line_column(text: &str, byte: usize) -> (u32, u32) {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    let before = &text[..byte];
    let line = before.bytes().filter(|&byte| byte == b'\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    (line as u32 + 1, column as u32 + 1)
}

/// ``did you mean `X`?`` for the candidate nearest to `word`, if one is near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The candidate that differs from a word in few letters.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed && *candidate != word)
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Longer words get no suggestion: they are unlikely to be misspelt, and comparing them costs time.
const WORD_CHARS_MAX: usize = 100;

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, ignoring case.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
