//! Rules about whole objects: states, choice rules, retriers and catchers, Map processors.

use super::{Check, Context, OBJECT, STRING, has, has_role, none_of, several_of};
use crate::asl::MachineType;
use crate::asl::diagnostic::{Code, did_you_mean};
use crate::asl::fields::{Expect, Owner};
use crate::asl::model::{Operator, OperatorClass, Pattern, QueryLanguage, ResourceKind};
use crate::asl::place::Place;
use crate::asl::{Resources, resource};
use crate::json::source::{Member, Node, Span};
use crate::limits;
use crate::models::{self, Operation, check};

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
                let message = match chars {
                    0 => "Invalid State name: State name cannot be empty".to_owned(),
                    _ => format!(
                        "Invalid State name: State '{name}' exceeds the {}-character limit allowed by the service",
                        limits::STATE_NAME_CHARS_MAX
                    ),
                };
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
        let resource = node.get("Resource").and_then(Node::as_str).and_then(resource::recognize);
        let has_token = resource.is_some_and(|(_, pattern)| pattern == Pattern::WaitForTaskToken);
        let mut context =
            Context { language: context.machine_language, any_language: false, has_token, ..context };
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
            let names = node.members().into_iter().flatten().map(|member| &*member.key.value);
            let tried = if self.suggests() { 10 } else { 0 };
            let meant = names.take(tried).find_map(|name| did_you_mean(name, ["Type"]));
            self.schema("The field 'Type' is required", place, node.span).suggestion = meant;
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

    /// Rules about an object that the table of fields cannot express.
    pub(super) fn object_rules(
        &mut self,
        node: &Node,
        members: &[Member],
        place: Place<'_>,
        context: Context,
    ) {
        match context.owner {
            Owner::Task => {
                self.heartbeat(node, place);
                self.service_task(node, place, context);
            }
            Owner::ItemReader | Owner::ResultWriter => self.data_parameters(node, place, context),
            Owner::ReaderConfig => self.reader_config(node, place),
            Owner::ProcessorConfig => self.processor_config(node, place),
            Owner::Rule | Owner::NestedRule => self.rule(node, members, place, context),
            Owner::Credentials if !has_role(members, context) => {
                self.schema("The field 'RoleArn' is required but was missing", place, node.span);
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

    /// A service's parameters must be given, even if they are `{}`; activities run with the role of their workers.
    fn service_task(&mut self, node: &Node, place: Place<'_>, context: Context) {
        let known = node.get("Resource").and_then(|resource| {
            let arn = resource.as_str().filter(|arn| !resource::is_ours(arn))?;
            Some((resource, arn, resource::recognize(arn)?.0))
        });
        let Some((resource, arn, kind)) = known else { return };
        let field = if context.is_jsonata() { "Arguments" } else { "Parameters" };
        let missing = node.get("Parameters").or(node.get("Arguments")).is_none();
        match kind {
            // Custom handlers may take the input unchanged.
            ResourceKind::Service { .. } | ResourceKind::Sdk { .. }
                if self.options.resources == Resources::Any => {}
            ResourceKind::Service { .. } | ResourceKind::Sdk { .. } if missing => {
                let message = format!("{field} field is required for resource ARN: {arn}");
                self.schema(message, place, resource.span);
            }
            ResourceKind::Service { .. } | ResourceKind::Sdk { .. } => {
                let given = node.get(field);
                let operation = kind.call().and_then(models::operation);
                if let (Some(given), Some(operation)) = (given, operation) {
                    self.service_parameters(given, &operation, place.field(field), context);
                }
            }
            ResourceKind::Activity => {
                if let Some(credentials) = node.get("Credentials") {
                    let message = "The field 'Credentials' is not supported for activities";
                    self.schema(message, place.field("Credentials"), credentials.span);
                }
            }
            _ => {}
        }
    }

    /// Recorded: for an invalid member at any depth, the location is that of all parameters.
    fn service_parameters(
        &mut self,
        given: &Node,
        operation: &Operation,
        place: Place<'_>,
        context: Context,
    ) {
        for problem in check::definition(operation, given, context.is_jsonata()) {
            let suggestion = match problem.unknown {
                Some((name, known)) if self.suggests() => {
                    did_you_mean(&name, known.iter().map(String::as_str))
                }
                _ => None,
            };
            self.schema(problem.message, place, given.span).suggestion = suggestion;
        }
    }

    /// A reader's required and allowed configuration depends on what is read.
    fn reader_config(&mut self, node: &Node, place: Place<'_>) {
        let text = |name| node.get(name).and_then(Node::as_str);
        let input = text("InputType");
        let start = Span { start: node.span.start, end: node.span.start + 1 };
        if input.is_none() && text("Transformation") == Some("LOAD_AND_FLATTEN") {
            self.schema("The field 'InputType' is required", place, start);
        }
        if input == Some("CSV") && node.get("CSVHeaderLocation").is_none() {
            self.schema("The field 'CSVHeaderLocation' is required", place, start);
        }
        let unsupported: &[&str] = match input {
            Some("JSON") => &["ManifestType", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter"],
            Some("JSONL" | "PARQUET") => &["CSVHeaderLocation", "CSVHeaders", "CSVDelimiter"],
            _ => &[],
        };
        let mut refused = false;
        for name in unsupported {
            if let Some(field) = node.get(name) {
                refused = true;
                self.schema(format!("Field '{name}' is not supported"), place, field.span);
            }
        }
        let given = text("CSVHeaderLocation") == Some("GIVEN");
        if given && !refused && node.get("CSVHeaders").is_none() {
            self.schema("These fields are required: [CSVHeaders]", place, start);
        }
    }

    fn processor_config(&mut self, node: &Node, place: Place<'_>) {
        let distributed = node.get("Mode").filter(|mode| mode.as_str() == Some("DISTRIBUTED"));
        match (distributed, node.get("ExecutionType")) {
            (Some(_), None) => {
                self.schema("These fields are required: [ExecutionType]", place, node.span);
            }
            (None, Some(kind)) => {
                self.schema("Field 'ExecutionType' is not supported", place, kind.span);
            }
            _ => {}
        }
    }

    /// An Express machine has no distributed Maps on AWS.
    pub(super) fn distributed_in_express(&mut self, processor: &Node, place: Place<'_>, context: Context) {
        let mode = processor.get("ProcessorConfig").and_then(|it| it.get("Mode"));
        if let Some(mode) = mode
            && mode.as_str() == Some("DISTRIBUTED")
            && context.machine_type == MachineType::Express
            && !self.options.express_maps
        {
            let message =
                "The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines";
            let place = place.field("ProcessorConfig");
            let opt_in =
                "AWS has none; here `serve --express-maps` and `files` of a pipeline's tasks allow them";
            self.schema(message, place.field("Mode"), mode.span).suggestion = Some(opt_in.to_owned());
        }
    }

    /// Checks a comparison operator; false when the field is not an operator.
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
            OperatorClass::Numeric => Expect::DynamicNumber,
            OperatorClass::Boolean | OperatorClass::Is => Expect::Bool,
            OperatorClass::Timestamp => Expect::Timestamp,
        };
        self.value(expect, &member.value, place.field(name), context);
        true
    }

    /// A rule has one condition, and a rule about a variable has one comparison.
    fn rule(&mut self, node: &Node, members: &[Member], place: Place<'_>, context: Context) {
        let selectors = members.iter().filter(|member| SELECTORS.contains(&&*member.key.value)).count();
        if selectors != 1 {
            let message =
                format!("The object must have only one of the following fields, [{}]", SELECTORS.join(", "));
            self.schema(message, place, node.span);
            return;
        }
        if context.is_jsonata() {
            return;
        }
        let mut operators = members.iter().filter(|member| Operator::named(&member.key.value).is_some());
        let names = Operator::ALL.iter().map(|operator| operator.name());
        match (has(members, "Variable"), operators.next(), operators.next()) {
            (true, None, _) => {
                self.schema(none_of(names), place, node.span);
            }
            (true, Some(_), Some(second)) => {
                self.schema(several_of(names), place, second.key.span);
            }
            (false, Some(operator), _) => {
                let message = format!("Field '{}' is not supported", operator.key.value);
                self.schema(message, place, operator.key.span);
            }
            _ => {}
        }
    }

    /// `States.ALL` must be alone and last.
    pub(super) fn wildcard_last(&mut self, handlers: &[Node], place: Place<'_>) {
        for (index, handler) in handlers.iter().enumerate() {
            let Some(names) = handler.get("ErrorEquals").and_then(Node::items) else { continue };
            let Some(at) = names.iter().position(|name| name.as_str() == Some("States.ALL")) else {
                continue;
            };
            if names.len() > 1 || index + 1 < handlers.len() {
                let element = place.index(index);
                let field = element.field("ErrorEquals");
                let message = "States.ALL must appear alone and at end of list";
                self.schema(message, field.index(at), names[at].span);
            }
        }
    }
}

/// The conditions of a rule, of which it has one, in the order in which AWS lists them.
const SELECTORS: [&str; 5] = ["And", "Or", "Not", "Variable", "Condition"];

/// The type of the executions that run a Map's processor.
pub(super) fn child_type(processor: &Node, around: MachineType) -> MachineType {
    let config = processor.get("ProcessorConfig");
    let field = |name| config.and_then(|it| it.get(name)).and_then(Node::as_str);
    match (field("Mode"), field("ExecutionType")) {
        (Some("DISTRIBUTED"), Some("EXPRESS")) => MachineType::Express,
        (Some("DISTRIBUTED"), Some("STANDARD")) => MachineType::Standard,
        _ => around,
    }
}
