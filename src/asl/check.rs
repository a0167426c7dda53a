//! Checks every object of a definition against the [table of fields](super::fields) and every value against its field's
//! type. Never stops at a problem.

pub(crate) mod data;
mod state;
mod value;

use std::collections::HashSet;

use super::diagnostic::{Code, Diagnostic, Severity, did_you_mean};
use super::fields::{self, Expect, Owner};
use super::model::{Operator, QueryLanguage};
use super::place::Place;
use super::{MachineType, Options};
use crate::json::source::{Member, Node, Span};
use crate::limits;
use crate::query::jsonata::{Allowed, Regexes};

/// What a check has found so far.
pub(super) struct Check {
    pub(super) options: Options,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The last problem that was dropped for lack of room.
    dropped: Option<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// Labels of distributed Maps met so far.
    labels: HashSet<String>,
    /// The regular expressions of the machine's expressions.
    regexes: Regexes,
}

/// What the objects around a value determine.
#[derive(Clone, Copy)]
pub(super) struct Context {
    /// The language here.
    language: QueryLanguage,
    /// The machine's language: the default of its states.
    machine_language: QueryLanguage,
    /// The object the value is a field of.
    owner: Owner,
    /// Whether fields of the other language are allowed: the state's `QueryLanguage` was refused already.
    any_language: bool,
    /// Whether the state around is a task that waits for its token.
    has_token: bool,
    /// The type of the machine, or of the child executions of the enclosing distributed Map.
    machine_type: MachineType,
    /// The number of enclosing workflows.
    depth: usize,
}

/// AWS's names of types in its messages.
const OBJECT: &str = "Expected value of type [OBJECT]";
const ARRAY: &str = "Expected value of type [ARRAY]";
const STRING: &str = "Expected value of type [STRING]";
const BOOLEAN: &str = "Expected value of type [BOOLEAN]";
const INTEGER: &str = "Expected value of type Integer";
const NUMBER: &str = "Expected value of type [NUMBER]";

impl Check {
    pub(super) fn new(options: Options) -> Check {
        Check {
            options,
            diagnostics: Vec::new(),
            dropped: None,
            errors: 0,
            warnings: 0,
            labels: HashSet::new(),
            regexes: Regexes::default(),
        }
    }

    /// Whether something was found that refuses the definition.
    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether computing suggestions is still worthwhile.
    pub(super) fn suggests(&self) -> bool {
        self.diagnostics.len() < limits::SUGGESTIONS_MAX
    }

    /// Adds an error and returns it, for a suggestion.
    pub(super) fn error(
        &mut self,
        code: Code,
        message: impl Into<String>,
        place: Place<'_>,
        span: Span,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, code, message.into(), Some(place), span)
    }

    /// Adds a schema error.
    pub(super) fn schema(
        &mut self,
        message: impl Into<String>,
        place: Place<'_>,
        span: Span,
    ) -> &mut Diagnostic {
        self.error(Code::SchemaValidationFailed, message, place, span)
    }

    /// Adds a warning.
    pub(super) fn warning(
        &mut self,
        code: Code,
        message: String,
        place: Place<'_>,
        span: Span,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, code, message, Some(place), span)
    }

    /// Adds a problem, as long as there are not too many of its severity.
    pub(super) fn push(
        &mut self,
        severity: Severity,
        code: Code,
        message: String,
        place: Option<Place<'_>>,
        span: Span,
    ) -> &mut Diagnostic {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        let keep = *count <= limits::DIAGNOSTICS_MAX;
        let location = place.filter(|_| keep).map(|place| place.to_string());
        let diagnostic = Diagnostic { severity, code, message, location, span, suggestion: None };
        if !keep {
            return self.dropped.insert(diagnostic);
        }
        let at = self.diagnostics.len();
        self.diagnostics.push(diagnostic);
        &mut self.diagnostics[at]
    }

    /// Checks the whole machine.
    pub(super) fn machine(&mut self, root: &Node) {
        // Any value but the exact `JSONPath` makes AWS read states as JSONata.
        let language = match root.get("QueryLanguage") {
            None => QueryLanguage::JsonPath,
            Some(node) if node.as_str() == Some("JSONPath") => QueryLanguage::JsonPath,
            Some(_) => QueryLanguage::Jsonata,
        };
        self.object(root, Place::ROOT, self.context(language));
    }

    /// Checks a single state, in a machine whose language is JSONPath.
    pub(super) fn lone_state(&mut self, state: &Node, place: Place<'_>) {
        self.state(state, place, self.context(QueryLanguage::JsonPath));
    }

    fn context(&self, language: QueryLanguage) -> Context {
        Context {
            language,
            machine_language: language,
            owner: Owner::Machine,
            any_language: false,
            has_token: false,
            machine_type: self.options.machine_type,
            depth: 0,
        }
    }

    /// Checks an object; `context` names its kind.
    fn object(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some(members) = node.members() else {
            self.schema(OBJECT, place, node.span);
            return;
        };
        self.required(node, members, place, context);
        // Recorded: without the role, other members are not reported.
        let no_role = context.owner == Owner::Credentials && !has_role(members, context);
        for member in members.iter().filter(|_| !no_role) {
            self.member(member, place, context);
        }
        self.choices(node, members, place, context);
        self.object_rules(node, members, place, context);
    }

    fn required(&mut self, node: &Node, members: &[Member], place: Place<'_>, context: Context) {
        let missing: Vec<&str> = fields::fields(context.owner)
            .filter(|field| field.is_required(context.owner, context.language))
            .map(|field| field.name)
            .filter(|&name| !has(members, name))
            .collect();
        if !missing.is_empty() {
            let message = format!("These fields are required: [{}]", missing.join(", "));
            let suggestion = members
                .iter()
                .filter(|member| fields::field(context.owner, &member.key.value).is_none())
                .take(if self.suggests() { 10 } else { 0 })
                .find_map(|member| did_you_mean(&member.key.value, missing.iter().copied()));
            let span = Span { start: node.span.start, end: node.span.start + 1 };
            self.schema(message, place, span).suggestion = suggestion;
        }
    }

    fn member(&mut self, member: &Member, place: Place<'_>, context: Context) {
        let name = &*member.key.value;
        let Some(field) = fields::field(context.owner, name) else {
            if context.owner.is_rule() && self.operator(member, place, context) {
                return;
            }
            let known = fields::fields(context.owner).map(|field| field.name);
            let operators = Operator::ALL.iter().map(|it| it.name()).filter(|_| context.owner.is_rule());
            let suggestion = if self.suggests() { did_you_mean(name, known.chain(operators)) } else { None };
            let message = format!("Field '{name}' is not supported");
            self.schema(message, place, member.key.span).suggestion = suggestion;
            return;
        };
        if let Some(only) = field.only
            && only != context.language
        {
            if !context.any_language {
                self.other_language(name, only, place, member.key.span);
            }
            return;
        }
        self.value(field.expect, &member.value, place.field(name), context);
    }

    /// A field of the other language.
    fn other_language(&mut self, name: &str, only: QueryLanguage, place: Place<'_>, span: Span) {
        let (set, other) = match only {
            QueryLanguage::Jsonata => ("JSONPath", "JSONata"),
            QueryLanguage::JsonPath => ("JSONata", "JSONPath"),
        };
        let message = format!(
            "The QueryLanguage is set to '{set}', but field '{name}' is only supported for the '{other}' \
             QueryLanguage"
        );
        self.schema(message, place, span);
    }

    /// Of some fields an object may have only so many.
    fn choices(&mut self, node: &Node, members: &[Member], place: Place<'_>, context: Context) {
        for choose in fields::choices(context.owner) {
            let present: Vec<&Member> = members
                .iter()
                .filter(|member| choose.names.contains(&&*member.key.value))
                // `"End": false` does not count.
                .filter(|member| &*member.key.value != "End" || member.value.as_bool() != Some(false))
                .collect();
            if present.len() < choose.at_least {
                let span = Span { start: node.span.start, end: node.span.start + 1 };
                self.schema(none_of(choose.names.iter().copied()), place, span);
            } else if present.len() > choose.at_most {
                let span = present[choose.at_most].key.span;
                self.schema(several_of(choose.names.iter().copied()), place, span);
            }
        }
    }
}

/// AWS's message when one of these fields is required and missing.
fn none_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!("This object should have only one of the following fields: [{}]", names.join(", "))
}

/// AWS's message when more than one of these fields is given.
fn several_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    format!("There should only be one of the following fields: [{}]", names.join(", "))
}

/// Whether credentials have a role.
fn has_role(members: &[Member], context: Context) -> bool {
    has(members, "RoleArn") || (!context.is_jsonata() && has(members, "RoleArn.$"))
}

/// Whether an object has a member `name`.
fn has(members: &[Member], name: &str) -> bool {
    members.iter().any(|member| *member.key.value == *name)
}

impl Context {
    /// The same for an object inside.
    fn inside(self, owner: Owner) -> Context {
        Context { owner, ..self }
    }

    /// The parts of `$states` that are available in all fields.
    fn allowed(self) -> Allowed {
        Allowed { no_token: !self.has_token, ..Allowed::default() }
    }

    fn is_jsonata(self) -> bool {
        self.language == QueryLanguage::Jsonata
    }
}

/// The expectation for a field whose twin ends in `Path`, if a plain text there looks like a path.
fn looks_like_path(text: &str) -> bool {
    text == "$" || text.starts_with("$.") || text.starts_with("$[") || text.starts_with("$$.")
}

/// The same, or an intrinsic call.
fn looks_like_query(text: &str) -> bool {
    looks_like_path(text) || (text.starts_with("States.") && text.ends_with(')'))
}

impl Expect {
    /// Whether `Assign` or `Output` of a state can use the state's result.
    fn sees_result(self, name: &str, owner: Owner) -> bool {
        matches!(self, Expect::Template | Expect::Assign)
            && matches!(name, "Output" | "Assign")
            && matches!(owner, Owner::Task | Owner::Parallel | Owner::Map)
    }
}
