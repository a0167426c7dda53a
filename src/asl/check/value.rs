//! Rules about single values: types, ranges, paths, templates, expressions.

use std::collections::HashSet;

use super::state::child_type;
use super::{
    ARRAY, BOOLEAN, Check, Context, INTEGER, NUMBER, OBJECT, STRING, looks_like_path, looks_like_query,
};
use crate::asl::MachineType;
use crate::asl::diagnostic::{Code, did_you_mean};
use crate::asl::fields::{Expect, Owner};
use crate::asl::model::{Pattern, ResourceKind, jsonata_expression, template_key};
use crate::asl::place::Place;
use crate::asl::syntax;
use crate::asl::{Resources, resource, timestamp};
use crate::json::source::{Node, NodeValue, Span};
use crate::limits;
use crate::query::jsonata::Allowed;
use crate::query::path::SyntaxError;

impl Check {
    /// Checks the value of a field.
    pub(super) fn value(&mut self, expect: Expect, node: &Node, place: Place<'_>, context: Context) {
        if context.is_jsonata() && self.expression_field(expect, node, place, context) {
            return;
        }
        match expect {
            Expect::Data => self.static_data(node, place),
            Expect::Text => {
                self.text(node, place);
            }
            Expect::DynamicText(twin) => {
                if let Some(text) = self.text(node, place)
                    && !context.is_jsonata()
                {
                    self.maybe_path(text, twin, node, place);
                }
            }
            Expect::Bool | Expect::Condition => {
                if node.as_bool().is_none() {
                    self.schema(BOOLEAN, place, node.span).suggestion = boolean(node);
                }
            }
            Expect::OneOf(values) => self.one_of(values, node, place),
            Expect::Integer(min, max) | Expect::DynamicInteger(min, max) => {
                self.integer(min, max, node, place);
            }
            Expect::DynamicNumber => self.number(f64::MIN, f64::MAX, NUMBER, node, place),
            // Recorded: a value that is not a number is reported as not an integer.
            Expect::Percentage => self.number(0.0, 100.0, INTEGER, node, place),
            Expect::NumberFrom(min) => self.number(min, f64::MAX, NUMBER, node, place),
            Expect::JsonPointer => self.json_pointer(node, place),
            Expect::Timestamp => self.timestamp(node, place, context),
            Expect::PathOrNull | Expect::ResultPath if node.value == NodeValue::Null => {}
            Expect::PathOrNull
            | Expect::ResultPath
            | Expect::ReferencePath
            | Expect::Path
            | Expect::PathOrIntrinsic => self.path(expect, node, place),
            Expect::Template => self.template(node, place, context, context.allowed()),
            Expect::Assign => self.assign(node, place, context, context.allowed()),
            Expect::Items => {
                if node.items().is_none() && node.members().is_none() {
                    self.schema("Expected value of type [ARRAY, OBJECT]", place, node.span);
                }
                self.template(node, place, context, context.allowed());
            }
            Expect::ErrorNames | Expect::Texts => self.texts(expect, node, place),
            Expect::Resource => self.resource(node, place, context),
            Expect::ResourceAction(actions, ours) => self.resource_action(actions, ours, node, place),
            Expect::Label => self.label(node, place),
            Expect::States => self.states(node, place, context),
            Expect::Object(owner) => {
                let mut context = context.inside(owner);
                if owner == Owner::Processor {
                    self.distributed_in_express(node, place, context);
                    context.machine_type = child_type(node, context.machine_type);
                }
                self.object(node, place, context);
            }
            Expect::Objects(owner) | Expect::SomeObjects(owner) => {
                self.objects(expect, owner, node, place, context);
            }
        }
    }

    fn objects(&mut self, expect: Expect, owner: Owner, node: &Node, place: Place<'_>, context: Context) {
        let Some(items) = node.items() else {
            self.schema(ARRAY, place, node.span).suggestion = bracketed(node);
            return;
        };
        if items.is_empty() && matches!(expect, Expect::SomeObjects(_)) {
            self.schema("Value cannot be empty", place, node.span);
        }
        for (index, item) in items.iter().enumerate() {
            self.object(item, place.index(index), context.inside(owner));
        }
        if matches!(owner, Owner::Retrier | Owner::Catcher) {
            self.wildcard_last(items, place);
        }
    }

    /// JSONata: whether the field needs no further check because it has expressions.
    fn expression_field(&mut self, expect: Expect, node: &Node, place: Place<'_>, context: Context) -> bool {
        let allowed = Allowed {
            result: expect.sees_result(place.name(), context.owner),
            error_output: context.owner == Owner::Catcher,
            ..context.allowed()
        };
        match expect {
            Expect::Template => {
                self.template(node, place, context, allowed);
                true
            }
            Expect::Assign => {
                self.assign(node, place, context, allowed);
                true
            }
            Expect::DynamicText(_)
            | Expect::DynamicInteger(..)
            | Expect::DynamicNumber
            | Expect::Percentage
            | Expect::Timestamp
            | Expect::Condition
            | Expect::Items => {
                node.as_str().is_some_and(|text| self.jsonata_text(text, node, place, context.allowed()))
            }
            _ => false,
        }
    }

    /// Checks a text that may be an expression; false when it is plain data.
    fn jsonata_text(&mut self, text: &str, node: &Node, place: Place<'_>, allowed: Allowed) -> bool {
        if let Some(expression) = jsonata_expression(text) {
            self.expression(expression, node, place, allowed);
        } else if is_half_open(text) {
            self.schema("JSONata string must start with {% and end with %}", place, node.span);
        } else {
            return false;
        }
        true
    }

    fn expression(&mut self, text: &str, node: &Node, place: Place<'_>, allowed: Allowed) {
        if let Some((code, error)) = syntax::jsonata_error(text, allowed, &mut self.regexes) {
            let start = node.as_str().and_then(|whole| whole.find(text)).unwrap_or_default();
            self.error(code, error.message, place, inside(node, start + error.offset));
        }
    }

    fn text<'n>(&mut self, node: &'n Node, place: Place<'_>) -> Option<&'n str> {
        let text = node.as_str();
        if text.is_none() {
            self.schema(STRING, place, node.span);
        }
        text
    }

    /// Warns of a path in a field that is not evaluated.
    fn maybe_path(&mut self, text: &str, twin: &str, node: &Node, place: Place<'_>) {
        if looks_like_path(text) {
            let name = place.name();
            let message = format!("The value of the field '{name}' looks like a path, but is not evaluated");
            let twin = if twin == "Path" { format!("{name}Path") } else { twin.to_owned() };
            self.warning(Code::NoPath, message, place, node.span).suggestion =
                Some(format!("did you mean the field `{twin}`?"));
        }
    }

    fn one_of(&mut self, values: &[&str], node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        if !values.contains(&text) {
            let message = format!("Value should be one of the following: [{}]", values.join(", "));
            let suggests = self.suggests();
            let suggestion = if suggests { did_you_mean(text, values.iter().copied()) } else { None };
            self.schema(message, place, node.span).suggestion = suggestion;
        }
    }

    fn integer(&mut self, min: u64, max: u64, node: &Node, place: Place<'_>) {
        let Some(text) = node.as_number().filter(|text| !text.contains(['.', 'e', 'E'])) else {
            self.schema(INTEGER, place, node.span).suggestion = unquoted(node);
            return;
        };
        // A number too long for any integer exceeds the limit on the side of its sign.
        let value = text.parse().unwrap_or(if text.starts_with('-') { i128::MIN } else { i128::MAX });
        if value < i128::from(min) {
            self.schema(format!("Minimum value is {min}"), place, node.span);
        } else if value > i128::from(max) {
            self.schema(format!("Maximum value is {max}"), place, node.span);
        }
    }

    fn number(&mut self, min: f64, max: f64, wrong_type: &str, node: &Node, place: Place<'_>) {
        let Some(value) = node.as_number().and_then(|text| text.parse::<f64>().ok()) else {
            self.schema(wrong_type, place, node.span).suggestion = unquoted(node);
            return;
        };
        if value < min {
            self.schema(format!("Minimum value is {min}"), place, node.span);
        } else if value > max {
            self.schema(format!("Maximum value is {max}"), place, node.span);
        }
    }

    fn json_pointer(&mut self, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        if !text.is_empty() && !text.starts_with('/') {
            let message = format!("Invalid input: JSON Pointer expression must start with '/': \"{text}\"");
            self.schema(message, place, node.span);
        }
    }

    fn timestamp(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some(text) = self.text(node, place) else { return };
        if !timestamp::is_rfc3339(text) {
            let name = place.name();
            let suggestion = (!context.is_jsonata() && looks_like_path(text))
                .then(|| format!("did you mean the field `{name}Path`?"));
            self.schema("String does not match RFC3339 timestamp", place, node.span).suggestion = suggestion;
        }
    }

    fn path(&mut self, expect: Expect, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let error = match expect {
            Expect::ReferencePath => syntax::reference_path_error(text, &mut self.regexes),
            Expect::ResultPath => syntax::result_path_error(text),
            Expect::PathOrIntrinsic if !text.trim_start().starts_with('$') => {
                syntax::intrinsic_error(text, &mut self.regexes)
            }
            _ => syntax::path_error(text, &mut self.regexes),
        };
        let Some(error) = error else { return };
        let rooted = text.starts_with('$');
        let message = match expect {
            Expect::Path if !rooted => {
                "Value is not a Reference Path: Reference path didn't start with '$'".to_owned()
            }
            Expect::Path => format!("Value is not a Reference Path: {}", error.message),
            Expect::ReferencePath | Expect::ResultPath
                if rooted && syntax::path_error(text, &mut self.regexes).is_none() =>
            {
                format!("Value is not a Reference Path: {}", error.message)
            }
            _ => "Value must be a valid JSONPath.".to_owned(),
        };
        let is_path_without_root = !rooted
            && is_plain(text)
            && syntax::path_error(&format!("$.{text}"), &mut self.regexes).is_none();
        let suggestion = if is_path_without_root {
            Some(format!("did you mean `$.{text}`?"))
        } else {
            (!message.ends_with(&error.message)).then_some(error.message)
        };
        self.schema(message, place, inside(node, error.offset)).suggestion = suggestion;
    }

    /// A payload template, or in JSONata data whose strings may be expressions.
    fn template(&mut self, node: &Node, place: Place<'_>, context: Context, allowed: Allowed) {
        match &node.value {
            NodeValue::String(text) if context.is_jsonata() => {
                self.jsonata_text(text, node, place, allowed);
            }
            NodeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(item, place.index(index), context, allowed);
                }
            }
            NodeValue::Object(members) => {
                let keys: HashSet<&str> = if context.is_jsonata() {
                    HashSet::new()
                } else {
                    members.iter().map(|member| &*member.key.value).collect()
                };
                for member in members {
                    let key = &*member.key.value;
                    match template_key(key) {
                        Some(plain) if !context.is_jsonata() => {
                            if keys.contains(plain) {
                                let message = format!("Field '{plain}' and field '{key}' give the same name");
                                self.schema(message, place, member.key.span);
                            }
                            self.template_value(key, &member.value, place);
                        }
                        _ => {
                            self.no_dollar(key, &member.value, place, context);
                            self.template(&member.value, place.field(key), context, allowed);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// The value of a key that ends in `.$`.
    fn template_value(&mut self, key: &str, node: &Node, place: Place<'_>) {
        let error = match node.as_str() {
            None => Some(SyntaxError { message: "it is not a string".into(), offset: 0 }),
            Some(text) if text.trim_start().starts_with('$') => syntax::path_error(text, &mut self.regexes),
            Some(text) => syntax::intrinsic_error(text, &mut self.regexes),
        };
        if let Some(error) = error {
            let message = format!(
                "The value for the field '{key}' must be a valid JSONPath or a valid intrinsic function call"
            );
            self.schema(message, place, inside(node, error.offset)).suggestion = Some(error.message);
        }
    }

    fn no_dollar(&mut self, key: &str, node: &Node, place: Place<'_>, context: Context) {
        if !context.is_jsonata() && node.as_str().is_some_and(looks_like_query) {
            let message =
                format!("The value of the field '{key}' looks like a JSONPath or an intrinsic function call");
            self.warning(Code::NoDollar, message, place, node.span).suggestion =
                Some(format!("did you mean the field `{key}.$`?"));
        }
    }

    /// A Pass state's `Result` is not evaluated. AWS warns of "attempt to use a path in the result of a pass state"
    /// (API reference), for any key.
    fn static_data(&mut self, node: &Node, place: Place<'_>) {
        match &node.value {
            NodeValue::String(text) if looks_like_path(text) => {
                let message = "The path is not evaluated in 'Result'".to_owned();
                self.warning(Code::PassResultIsStatic, message, place, node.span).suggestion =
                    Some("did you mean the field `Parameters`?".into());
            }
            NodeValue::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.static_data(item, place.index(index)));
            }
            NodeValue::Object(members) => {
                for member in members {
                    let key = &*member.key.value;
                    if template_key(key).is_some() && member.value.as_str().is_some_and(looks_like_query) {
                        let message = format!("The field '{key}' is not evaluated in 'Result'");
                        self.warning(Code::PassResultIsStatic, message, place, member.key.span).suggestion =
                            Some("did you mean the field `Parameters`?".into());
                    } else {
                        self.static_data(&member.value, place.field(key));
                    }
                }
            }
            _ => {}
        }
    }

    fn assign(&mut self, node: &Node, place: Place<'_>, context: Context, allowed: Allowed) {
        let Some(members) = node.members() else {
            self.schema(OBJECT, place, node.span);
            return;
        };
        for member in members {
            let key = &*member.key.value;
            let name = if context.is_jsonata() { key } else { template_key(key).unwrap_or(key) };
            if name == "states" {
                let message = "Cannot assign to reserved variable '$states'.";
                self.error(Code::ReservedVariableName, message, place, member.key.span);
            } else if let Some(why) = variable_name_error(name) {
                let message = format!("Invalid variable name '{name}': the variable name {why}.");
                self.error(Code::InvalidVariableName, message, place, member.key.span);
            }
        }
        self.template(node, place, context, allowed);
    }

    fn texts(&mut self, expect: Expect, node: &Node, place: Place<'_>) {
        let Some(items) = node.items() else {
            self.schema(ARRAY, place, node.span).suggestion = bracketed(node);
            return;
        };
        if items.is_empty() && expect == Expect::ErrorNames {
            self.schema("Value cannot be empty", place, node.span);
        }
        for (index, item) in items.iter().enumerate() {
            self.text(item, place.index(index));
        }
    }

    fn resource(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some(text) = self.text(node, place) else { return };
        let recognized = resource::recognize(text)
            .filter(|_| self.options.resources != Resources::Aws || !resource::is_ours(text));
        let Some((kind, pattern)) = recognized else {
            let others = matches!(self.options.resources, Resources::AwsAndOthers | Resources::Any);
            if others && !text.is_empty() && !resource::is_of_aws(text) {
                return self.other_resource(text, node, place);
            }
            let message = if text.starts_with("arn:") {
                format!(
                    "The resource provided {text} is not recognized. The value is not a valid resource ARN, or the \
                     resource is not available in this region."
                )
            } else {
                "Value is not a valid resource ARN".to_owned()
            };
            let ours = self.options.resources != Resources::Aws;
            let suggestion = placeholder(node)
                .or_else(|| if self.suggests() { resource::suggestion(text, ours) } else { None });
            self.schema(message, place, node.span).suggestion = suggestion;
            return;
        };
        if resource::is_ours(text) {
            self.extension(text, place, node.span);
        }
        if context.machine_type == MachineType::Standard {
            return;
        }
        // Exactly as recorded, including a trailing blank.
        let message = match (kind, pattern) {
            (ResourceKind::Activity, _) => "Express state machine does not support Activity ARN",
            (_, Pattern::Sync | Pattern::Sync2) => {
                "Express state machine does not support '.sync' service integration"
            }
            (_, Pattern::WaitForTaskToken) => {
                "Express state machine does not support '.waitForTaskToken' service integration "
            }
            (_, Pattern::RequestResponse) => return,
        };
        self.schema(message, place, node.span);
    }

    /// A resource of our own.
    fn extension(&mut self, text: &str, place: Place<'_>, span: Span) {
        let message = format!("AWS does not know the resource {text}: it is an extension of Expressway");
        self.warning(Code::Extension, message, place, span);
    }

    /// A resource that only a handler with that name does. What tools replace may become any.
    fn other_resource(&mut self, text: &str, node: &Node, place: Place<'_>) {
        if self.options.resources != Resources::AwsAndOthers || placeholder(node).is_some() {
            return;
        }
        let suggestion = if self.suggests() { resource::suggestion(text, true) } else { None };
        let message =
            format!("AWS refuses the resource {text}: only a handler of your own, or a mock, can do it");
        self.warning(Code::Extension, message, place, node.span).suggestion = suggestion;
    }

    /// One of AWS's actions, or our own.
    fn resource_action(&mut self, actions: &[&str], ours: &str, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let action = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":states:::"));
        let action = action.filter(|(partition, _)| !partition.is_empty()).map_or("", |(_, action)| action);
        if action == ours && self.options.resources != Resources::Aws {
            self.extension(text, place, node.span);
        } else if !actions.contains(&action) {
            let message = "The field 'Resource' does not match any of the allowed values";
            self.schema(message, place, node.span).suggestion = placeholder(node);
        }
    }

    fn label(&mut self, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let forbidden = |char: char| {
            char.is_whitespace() || char.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"".contains(char)
        };
        if text.is_empty() || text.contains(forbidden) {
            let message = format!("Invalid Label name: Label '{text}' contains invalid characters");
            self.error(Code::InvalidLabelName, message, place, node.span);
        } else if text.chars().count() > LABEL_CHARS_MAX {
            let message = format!(
                "Invalid Label name: Label '{text}' exceeds the {LABEL_CHARS_MAX}-character limit allowed by the \
                 service"
            );
            self.error(Code::InvalidLabelName, message, place, node.span);
        }
        if !self.labels.insert(text.to_owned()) {
            self.error(Code::DuplicateLabelName, format!("Duplicate Label name: {text}"), place, node.span);
        }
    }
}

/// Characters of a distributed Map's label.
const LABEL_CHARS_MAX: usize = 40;

/// The span of a string from a byte on, where it goes wrong, to its end.
fn inside(node: &Node, offset: usize) -> Span {
    let Span { start, end } = node.span;
    // With escapes in the text, the byte offset is unknown.
    let plain = node.as_str().is_some_and(|text| text.len() + 2 == (end - start) as usize);
    if plain { Span { start: (start + 1 + offset as u32).min(end - 1), end } } else { node.span }
}

/// Whether a text is only letters, digits, underscores and dots.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '.'))
}

/// Whether a text has only one of the two marks of an expression. With a blank before it, it is plain data.
fn is_half_open(text: &str) -> bool {
    let spaced = text.starts_with(char::is_whitespace);
    text.starts_with("{%") || (text.ends_with("%}") && !spaced)
}

/// The suggestion for a text that a tool should have replaced: `${Table}`, `<PARTITION>`.
fn placeholder(node: &Node) -> Option<String> {
    let text = node.as_str()?;
    let between = |open: &str, close: &str| {
        let start = text.find(open)?;
        let length = text[start..].find(close)?;
        Some(&text[start..start + length + close.len()])
    };
    let found = between("${", "}").or_else(|| between("<", ">"))?;
    Some(format!("the placeholder `{found}` was not replaced"))
}

/// The suggestion for a text where a list must be.
fn bracketed(node: &Node) -> Option<String> {
    if node.members().is_some() {
        return Some("put it in brackets: `[{…}]`".to_owned());
    }
    let text = node.as_str().filter(|text| text.len() <= limits::STATE_NAME_CHARS_MAX)?;
    Some(format!("put it in brackets: `[\"{text}\"]`"))
}

/// The suggestion for a text where a number must be: AWS replaces `${…}` inside of quotes, and they stay.
fn unquoted(node: &Node) -> Option<String> {
    let text = node.as_str()?;
    if let Some(placeholder) = placeholder(node) {
        return Some(format!("{placeholder}; where a number must stand, it has no quotes around it"));
    }
    text.parse::<f64>().ok()?;
    Some(format!(
        "remove the quotes: `\"{text}\"` is a string, and so is what replaces `${{…}}` between quotes"
    ))
}

/// The suggestion for a text where true or false must be.
fn boolean(node: &Node) -> Option<String> {
    match node.as_str()?.to_ascii_lowercase().as_str() {
        text @ ("true" | "false") => Some(format!("remove the quotes: `{text}`")),
        // So YAML 1.1 wrote them; to YAML 1.2 they are texts.
        text @ ("yes" | "on" | "y") => Some(format!("`{text}` is a text: write `true`")),
        text @ ("no" | "off" | "n") => Some(format!("`{text}` is a text: write `false`")),
        _ => placeholder(node),
    }
}

/// Variable names are identifiers (specification, "Variables").
fn variable_name_error(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let count = name.chars().count();
    let start = chars.next().is_some_and(|char| char.is_alphabetic() || char == '_');
    if !start || !chars.all(|char| char.is_alphanumeric() || char == '_') {
        return Some("contains invalid characters".into());
    }
    (count > limits::VARIABLE_NAME_CHARS_MAX).then(|| {
        format!("exceeds the {}-character limit allowed by the service", limits::VARIABLE_NAME_CHARS_MAX)
    })
}
