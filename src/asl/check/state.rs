//! Rules about whole objects: states, choice rules, retriers and catchers, Map processors.

use super::{Check, Context, OBJECT, STRING, has};
use crate::asl::MachineType;
use crate::asl::diagnostic::{Code, did_you_mean};
use crate::asl::fields::{Expect, Owner};
use crate::asl::model::{Operator, OperatorClass, QueryLanguage};
use crate::asl::place::Place;
use crate::json::source::{Member, Node};
use crate::limits;

impl Check {
    /// Checks `States`.
    pub(super) fn states(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let Some(members) = node.members() else {
            self.schema(OBJECT, place, node.span);
            return;
        };
        if members.is_empty() {
            self.schema("Value cannot be empty", place, node.span);
        }
        if context.depth >= limits::WORKFLOW_DEPTH_MAX {
            let message = format!("States are nested more than {} levels deep", limits::WORKFLOW_DEPTH_MAX);
            self.error(Code::TooDeeplyNested, message, place, node.span);
            return;
        }
        for member in members {
            let name = &*member.key.value;
            let chars = name.chars().count();
            if chars == 0 || chars > limits::STATE_NAME_CHARS_MAX {
                let message =
                    format!("State name must have 1 to {} characters: {name}", limits::STATE_NAME_CHARS_MAX);
                self.error(Code::InvalidStateName, message, place.field(name), member.key.span);
            }
            let context = Context { depth: context.depth + 1, ..context };
            self.state(&member.value, place.field(name), context);
        }
    }

    /// Checks one state.
    pub(in crate::asl) fn state(&mut self, node: &Node, place: Place<'_>, context: Context) {
        if node.members().is_none() {
            self.schema(OBJECT, place, node.span);
            return;
        }
        let mut context = Context { language: context.machine_language, any_language: false, ..context };
        if let Some(own) = node.get("QueryLanguage") {
            let is_path = own.as_str() == Some("JSONPath");
            context.language = if is_path { QueryLanguage::JsonPath } else { QueryLanguage::Jsonata };
            if is_path && context.machine_language == QueryLanguage::Jsonata {
                let message =
                    "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
                self.schema(message, place, own.span);
                context.any_language = true;
            }
        }
        let Some(kind) = node.get("Type") else {
            self.schema("These fields are required: [Type]", place, node.span);
            return;
        };
        let kind_place = place.field("Type");
        match kind.as_str().map(|text| (text, Owner::state(text))) {
            Some((_, Some(owner))) => self.object(node, place, context.inside(owner)),
            Some((text, None)) => {
                let names: Vec<&str> = Owner::STATES.iter().map(|&(name, _)| name).collect();
                let message =
                    format!("The field 'Type' should have one of these values: [{}]", names.join(", "));
                let suggestion = did_you_mean(text, names);
                self.schema(message, kind_place, kind.span).suggestion = suggestion;
            }
            None => {
                self.schema(STRING, kind_place, kind.span);
            }
        }
    }

    /// What the table of fields cannot say about an object.
    pub(super) fn object_rules(
        &mut self,
        node: &Node,
        members: &[Member],
        place: Place<'_>,
        context: Context,
    ) {
        match context.owner {
            Owner::Task => self.heartbeat(node, place),
            Owner::Map => self.map(node, place),
            Owner::ProcessorConfig => self.processor_config(node, place),
            Owner::Rule | Owner::NestedRule => self.rule(node, members, place, context),
            Owner::Credentials => {
                let role = if context.is_jsonata() { &["RoleArn"][..] } else { &["RoleArn", "RoleArn.$"] };
                if !role.iter().any(|name| has(members, name)) {
                    self.schema("The field 'RoleArn' is required but was missing", place, node.span);
                }
            }
            _ => {}
        }
    }

    fn heartbeat(&mut self, node: &Node, place: Place<'_>) {
        let seconds =
            |name| node.get(name).and_then(Node::as_number).and_then(|text| text.parse::<u64>().ok());
        let (timeout, heartbeat) = (seconds("TimeoutSeconds"), seconds("HeartbeatSeconds"));
        if let (Some(timeout), Some(heartbeat), Some(field)) =
            (timeout, heartbeat, node.get("HeartbeatSeconds"))
            && heartbeat >= timeout
        {
            let message = "HeartbeatSeconds must be smaller than TimeoutSeconds";
            self.schema(message, place.field("HeartbeatSeconds"), field.span);
        }
    }

    /// Fields that only a distributed Map obeys. A `Label` without effect does no harm; the others would change data.
    fn map(&mut self, node: &Node, place: Place<'_>) {
        let processor = node.get("ItemProcessor").or(node.get("Iterator"));
        let mode = processor.and_then(|it| it.get("ProcessorConfig")).and_then(|it| it.get("Mode"));
        if mode.and_then(Node::as_str) == Some("DISTRIBUTED") {
            return;
        }
        for name in ["ItemReader", "ItemBatcher", "ResultWriter"] {
            if let Some(field) = node.get(name) {
                let message =
                    format!("Field '{name}' is only supported for a Map state in 'DISTRIBUTED' mode");
                self.schema(message, place.field(name), field.span);
            }
        }
    }

    fn processor_config(&mut self, node: &Node, place: Place<'_>) {
        let distributed = node.get("Mode").filter(|mode| mode.as_str() == Some("DISTRIBUTED"));
        match (distributed, node.get("ExecutionType")) {
            (Some(_), None) => {
                self.schema("These fields are required: [ExecutionType]", place, node.span);
            }
            (None, Some(kind)) => {
                let message = "Field 'ExecutionType' is only supported for a Map state in 'DISTRIBUTED' mode";
                self.schema(message, place.field("ExecutionType"), kind.span);
            }
            _ => {}
        }
    }

    /// An Express machine has no distributed Maps.
    pub(super) fn distributed_in_express(&mut self, processor: &Node, place: Place<'_>, context: Context) {
        let mode = processor.get("ProcessorConfig").and_then(|it| it.get("Mode"));
        if let Some(mode) = mode
            && mode.as_str() == Some("DISTRIBUTED")
            && context.machine_type == MachineType::Express
        {
            let message = "Express state machine does not support Map state in 'DISTRIBUTED' mode";
            let place = place.field("ProcessorConfig");
            self.schema(message, place.field("Mode"), mode.span);
        }
    }

    /// Checks a comparison operator; false when the field is none.
    pub(super) fn operator(&mut self, member: &Member, place: Place<'_>, context: Context) -> bool {
        let name = &*member.key.value;
        let Some(operator) = Operator::named(name) else { return false };
        if context.is_jsonata() {
            if !context.any_language {
                self.other_language(name, QueryLanguage::JsonPath, place, member.key.span);
            }
            return true;
        }
        let expect = match operator.class() {
            _ if operator.has_path_operand() => Expect::Path,
            OperatorClass::String => Expect::DynamicText("Path"),
            OperatorClass::Matches => Expect::Text,
            OperatorClass::Numeric => Expect::DynamicNumber(f64::MIN, f64::MAX),
            OperatorClass::Boolean | OperatorClass::Is => Expect::Bool,
            OperatorClass::Timestamp => Expect::Timestamp,
        };
        self.value(expect, &member.value, place.field(name), context);
        true
    }

    /// A JSONPath rule asks one thing.
    fn rule(&mut self, node: &Node, members: &[Member], place: Place<'_>, context: Context) {
        if context.is_jsonata() {
            return;
        }
        let asks: Vec<&str> = members
            .iter()
            .map(|member| &*member.key.value)
            .filter(|name| matches!(*name, "And" | "Or" | "Not") || Operator::named(name).is_some())
            .collect();
        let compares = asks.iter().any(|name| Operator::named(name).is_some());
        match asks.len() {
            0 => {
                let message = "A choice rule needs a comparison operator, or one of [And, Or, Not]";
                self.schema(message, place, node.span);
            }
            1 if compares && !has(members, "Variable") => {
                self.schema("These fields are required: [Variable]", place, node.span);
            }
            1 if !compares && has(members, "Variable") => {
                let message = format!("Field 'Variable' is not supported together with '{}'", asks[0]);
                self.schema(message, place, node.span);
            }
            1 => {}
            _ => {
                let message = format!("Only one of these fields is allowed: [{}]", asks.join(", "));
                self.schema(message, place, node.span);
            }
        }
    }

    /// `States.ALL` stands alone and last.
    pub(super) fn wildcard_last(&mut self, handlers: &[Node], place: Place<'_>) {
        for (index, handler) in handlers.iter().enumerate() {
            let Some(names) = handler.get("ErrorEquals").and_then(Node::items) else { continue };
            let Some(all) = names.iter().find(|name| name.as_str() == Some("States.ALL")) else { continue };
            let element = place.index(index);
            let field = element.field("ErrorEquals");
            if names.len() > 1 {
                let message = "'States.ALL' must be the only error name in 'ErrorEquals'";
                self.schema(message, field, all.span);
            }
            if index + 1 < handlers.len() {
                let message =
                    format!("'States.ALL' is only supported in the last element of '{}'", place.name());
                self.schema(message, field, all.span);
            }
        }
    }
}

/// The type of the executions that run what a Map does with its items.
pub(super) fn child_type(processor: &Node, around: MachineType) -> MachineType {
    let config = processor.get("ProcessorConfig");
    let field = |name| config.and_then(|it| it.get(name)).and_then(Node::as_str);
    match (field("Mode"), field("ExecutionType")) {
        (Some("DISTRIBUTED"), Some("EXPRESS")) => MachineType::Express,
        (Some("DISTRIBUTED"), Some("STANDARD")) => MachineType::Standard,
        _ => around,
    }
}
