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
                    self.schema(BOOLEAN, place, node.span);
                }
            }
            Expect::OneOf(values) => self.one_of(values, node, place),
            Expect::Integer(min, max) | Expect::DynamicInteger(min, max) => {
                self.integer(min, max, node, place);
            }
            Expect::DynamicNumber(min, max) => self.number(min, max, node, place),
            Expect::NumberFrom(min) => self.number(min, f64::MAX, node, place),
            Expect::Timestamp => self.timestamp(node, place, context),
            Expect::PathOrNull | Expect::ResultPath if node.value == NodeValue::Null => {}
            Expect::PathOrNull
            | Expect::ResultPath
            | Expect::ReferencePath
            | Expect::Path
            | Expect::PathOrIntrinsic => self.path(expect, node, place),
            Expect::Template => self.template(node, place, context, Allowed::default()),
            Expect::Assign => self.assign(node, place, context, Allowed::default()),
            Expect::Items => {
                if node.items().is_none() && node.members().is_none() {
                    self.schema("Expected value of type [ARRAY, OBJECT]", place, node.span);
                }
                self.template(node, place, context, Allowed::default());
            }
            Expect::ErrorNames | Expect::Texts => self.texts(expect, node, place),
            Expect::Resource => self.resource(node, place, context),
            Expect::ResourceAction(actions) => self.resource_action(actions, node, place),
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
            self.schema(ARRAY, place, node.span);
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

    /// JSONata: whether the field is settled because it holds expressions.
    fn expression_field(&mut self, expect: Expect, node: &Node, place: Place<'_>, context: Context) -> bool {
        let allowed = Allowed {
            result: expect.sees_result(place.name(), context.owner),
            error_output: context.owner == Owner::Catcher,
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
            | Expect::DynamicNumber(..)
            | Expect::Timestamp
            | Expect::Condition
            | Expect::Items => match node.as_str().and_then(jsonata_expression) {
                Some(expression) => {
                    self.expression(expression, node, place, Allowed::default());
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn expression(&mut self, text: &str, node: &Node, place: Place<'_>, allowed: Allowed) {
        if let Some((code, error)) = syntax::jsonata_error(text, allowed) {
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
                Some(format!("did you mean `{twin}`?"));
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
            self.schema(INTEGER, place, node.span);
            return;
        };
        if !text.parse().is_ok_and(|value: u64| (min..=max).contains(&value)) {
            let message = if max < i64::MAX as u64 {
                format!("Value must be an integer from {min} to {max}")
            } else {
                format!("Value must be an integer not below {min}")
            };
            self.schema(message, place, node.span);
        }
    }

    fn number(&mut self, min: f64, max: f64, node: &Node, place: Place<'_>) {
        let Some(value) = node.as_number().and_then(|text| text.parse::<f64>().ok()) else {
            self.schema(NUMBER, place, node.span);
            return;
        };
        if value < min {
            self.schema(format!("Value must not be below {min}"), place, node.span);
        } else if value > max {
            self.schema(format!("Value must not be above {max}"), place, node.span);
        }
    }

    fn timestamp(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some(text) = self.text(node, place) else { return };
        if !timestamp::is_rfc3339(text) {
            let name = place.name();
            let suggestion = (!context.is_jsonata() && looks_like_path(text))
                .then(|| format!("did you mean `{name}Path`?"));
            self.schema("String does not match RFC3339 timestamp", place, node.span).suggestion = suggestion;
        }
    }

    fn path(&mut self, expect: Expect, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let (what, error) = match expect {
            Expect::ReferencePath => ("Reference Path", syntax::reference_path_error(text)),
            Expect::ResultPath => ("Reference Path", syntax::result_path_error(text)),
            Expect::PathOrIntrinsic if !text.trim_start().starts_with('$') => {
                ("JSONPath or intrinsic function call", syntax::intrinsic_error(text))
            }
            _ => ("JSONPath", syntax::path_error(text)),
        };
        if let Some(error) = error {
            let suggestion = (!text.starts_with('$')
                && syntax::path_error(&format!("$.{text}")).is_none()
                && is_plain(text))
            .then(|| format!("did you mean `$.{text}`?"));
            let message = format!("Value is not a valid {what}: {}", error.message);
            self.schema(message, place, inside(node, error.offset)).suggestion = suggestion;
        }
    }

    /// A payload template, or in JSONata data whose strings may be expressions.
    fn template(&mut self, node: &Node, place: Place<'_>, context: Context, allowed: Allowed) {
        match &node.value {
            NodeValue::String(text) if context.is_jsonata() => {
                if let Some(expression) = jsonata_expression(text) {
                    self.expression(expression, node, place, allowed);
                }
            }
            NodeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(item, place.index(index), context, allowed);
                }
            }
            NodeValue::Object(members) => {
                let keys: HashSet<&str> = match context.is_jsonata() {
                    true => HashSet::new(),
                    false => members.iter().map(|member| &*member.key.value).collect(),
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
            Some(text) if text.trim_start().starts_with('$') => syntax::path_error(text),
            Some(text) => syntax::intrinsic_error(text),
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
                Some(format!("did you mean `{key}.$`?"));
        }
    }

    /// A Pass state's `Result` is not evaluated.
    fn static_data(&mut self, node: &Node, place: Place<'_>) {
        match &node.value {
            NodeValue::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.static_data(item, place.index(index)));
            }
            NodeValue::Object(members) => {
                for member in members {
                    let key = &*member.key.value;
                    if template_key(key).is_some() && member.value.as_str().is_some_and(looks_like_query) {
                        let message = format!("The field '{key}' is not evaluated in 'Result'");
                        self.warning(Code::PassResultIsStatic, message, place, member.key.span).suggestion =
                            Some("did you mean `Parameters`?".into());
                    }
                    self.static_data(&member.value, place.field(key));
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
            if let Some(why) = variable_name_error(name) {
                self.schema(format!("Invalid variable name '{name}': {why}"), place, member.key.span);
            }
        }
        self.template(node, place, context, allowed);
    }

    fn texts(&mut self, expect: Expect, node: &Node, place: Place<'_>) {
        let Some(items) = node.items() else {
            self.schema(ARRAY, place, node.span);
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
            let own = !text.is_empty() && !resource::is_of_aws(text);
            if self.options.resources == Resources::Any && own {
                return;
            }
            let message = format!(
                "The resource provided {text} is not recognized. The value is not a valid resource ARN, or the \
                 resource is not available in this region."
            );
            self.schema(message, place, node.span);
            return;
        };
        if context.machine_type == MachineType::Standard {
            return;
        }
        // Word for word as recorded, the blank at the end of one included.
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

    fn resource_action(&mut self, actions: &[&str], node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let action = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":states:::"));
        if !action.is_some_and(|(partition, action)| !partition.is_empty() && actions.contains(&action)) {
            let message = format!(
                "The resource provided {text} is not recognized. The value is not a valid resource ARN, or the \
                 resource is not available in this region."
            );
            self.schema(message, place, node.span);
        }
    }

    fn label(&mut self, node: &Node, place: Place<'_>) {
        let Some(text) = self.text(node, place) else { return };
        let forbidden = |char: char| {
            char.is_whitespace() || char.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"".contains(char)
        };
        if text.is_empty() || text.chars().count() > LABEL_CHARS_MAX || text.contains(forbidden) {
            let message = format!("Invalid Label: '{text}'");
            self.error(Code::InvalidLabelName, message, place, node.span);
        }
        if !self.labels.insert(text.to_owned()) {
            self.error(Code::DuplicateLabelName, format!("Duplicate Label: {text}"), place, node.span);
        }
    }
}

/// Characters of a distributed Map's label.
const LABEL_CHARS_MAX: usize = 40;

/// The place of a byte of a string, from where it goes wrong to its end.
fn inside(node: &Node, offset: usize) -> Span {
    let Span { start, end } = node.span;
    // With escapes in it, nobody knows which byte of the text that is.
    let plain = node.as_str().is_some_and(|text| text.len() + 2 == (end - start) as usize);
    if plain { Span { start: (start + 1 + offset as u32).min(end - 1), end } } else { node.span }
}

/// Whether a text is only letters, digits, underscores and dots.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '.'))
}

/// Variables are named like identifiers (specification, "Variables").
fn variable_name_error(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let count = name.chars().count();
    let start = chars.next().is_some_and(|char| char.is_alphabetic() || char == '_');
    if !start || !chars.all(|char| char.is_alphanumeric() || char == '_') {
        return Some("it must be an identifier".into());
    }
    if count > limits::VARIABLE_NAME_CHARS_MAX {
        return Some(format!("it has more than {} characters", limits::VARIABLE_NAME_CHARS_MAX));
    }
    (name == "states").then(|| "it is reserved".into())
}
