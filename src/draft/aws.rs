//! What becomes of a definition on AWS that AWS creates: what fails there, is cut, or is taken as it stands.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::places::Places;
use crate::asl::{MachineType, Severity, placeholders};
use crate::fault;
use crate::json::source::{Node, NodeValue, Span};
use crate::json::yaml;
use crate::limits;

/// When it happens.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// An execution runs.
    Run,
    /// Nothing replaces it before the definition is created.
    Deployment,
}

/// Something that AWS does.
pub(super) struct Finding {
    when: When,
    severity: Severity,
    /// The name of the error with which it ends.
    error: Option<&'static str>,
    message: String,
    location: String,
    span: Span,
    /// What may stand there instead.
    instead: Option<String>,
}

impl Finding {
    pub(super) fn json(&self, places: &Places) -> Json {
        let when = match self.when {
            When::Run => "run",
            When::Deployment => "deployment",
        };
        let (from, to) = (places.of_byte(self.span.start as usize), places.of_byte(self.span.end as usize));
        let mut told = json!({
            "when": when, "severity": self.severity.name(), "code": self.error, "message": self.message,
            "location": self.location, "from": from, "to": to,
        });
        if let Some(insert) = &self.instead {
            told["fix"] = json!({"from": from, "to": to, "insert": insert});
        }
        told
    }
}

/// What AWS does with a definition, in the order of the text.
pub(super) fn findings(root: &Node, machine_type: MachineType) -> Vec<Finding> {
    let mut walk = Walk::default();
    walk.timeout(root, "", machine_type);
    walk.workflow(root, "", machine_type);
    walk.functions(root, "");
    walk.placeholders(root);
    walk.findings.sort_unstable_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
    walk.findings
}

#[derive(Default)]
struct Walk {
    findings: Vec<Finding>,
}

/// How long an execution may take, and what it is called.
const fn longest(machine_type: MachineType) -> (u64, &'static str, &'static str) {
    match machine_type {
        MachineType::Express => (limits::EXPRESS_SECONDS_MAX, "an Express execution", "5 minutes"),
        MachineType::Standard => (limits::STANDARD_SECONDS_MAX, "an execution", "a year"),
    }
}

fn number(node: &Node, field: &str) -> Option<f64> {
    node.get(field)?.as_number()?.parse().ok()
}

impl Walk {
    fn add(
        &mut self,
        severity: Severity,
        error: Option<&'static str>,
        node: &Node,
        at: String,
        message: String,
    ) {
        let (location, span) = (at, node.span);
        self.findings.push(Finding {
            when: When::Run,
            severity,
            error,
            message,
            location,
            span,
            instead: None,
        });
    }

    fn instead(&mut self, text: String) {
        if let Some(last) = self.findings.last_mut() {
            last.instead = Some(text);
        }
    }

    /// The depth is bounded by the reader of the text.
    fn workflow(&mut self, workflow: &Node, at: &str, machine_type: MachineType) {
        for member in workflow.get("States").and_then(Node::members).unwrap_or(&[]) {
            self.state(&member.value, &format!("{at}/States/{}", member.key.value), machine_type);
        }
    }

    fn state(&mut self, state: &Node, at: &str, machine_type: MachineType) {
        self.timeout(state, at, machine_type);
        self.retries(state, at, machine_type);
        match state.get("Type").and_then(Node::as_str) {
            Some("Wait") => self.wait(state, at, machine_type),
            Some("Pass") => self.result(state, at),
            Some("Map") => {
                let inner = |field| state.get(field).map(|inner| (field, inner));
                for (field, inner) in ["ItemProcessor", "Iterator"].into_iter().filter_map(inner) {
                    let config = |name| inner.get("ProcessorConfig")?.get(name)?.as_str();
                    let is_distributed = config("Mode") == Some("DISTRIBUTED");
                    let machine_type = match config("ExecutionType") {
                        Some("EXPRESS") if is_distributed => MachineType::Express,
                        Some("STANDARD") if is_distributed => MachineType::Standard,
                        _ => machine_type,
                    };
                    self.concurrency(state, at, is_distributed);
                    self.workflow(inner, &format!("{at}/{field}"), machine_type);
                }
            }
            Some("Parallel") => {
                let branches = state.get("Branches").and_then(Node::items).unwrap_or(&[]);
                for (n, branch) in branches.iter().enumerate() {
                    self.workflow(branch, &format!("{at}/Branches[{n}]"), machine_type);
                }
            }
            _ => {}
        }
    }

    fn wait(&mut self, state: &Node, at: &str, machine_type: MachineType) {
        let (max, whose, words) = longest(machine_type);
        if let (Some(seconds), Some(node)) = (number(state, "Seconds"), state.get("Seconds"))
            && seconds >= max as f64
        {
            let longer = match machine_type {
                MachineType::Express => ": a Standard one may take a year",
                MachineType::Standard => "",
            };
            let message =
                format!("In this Wait of {seconds} s {whose} times out: it may take {words}{longer}");
            self.add(Severity::Error, Some(fault::TIMEOUT), node, format!("{at}/Seconds"), message);
        }
    }

    fn timeout(&mut self, holder: &Node, at: &str, machine_type: MachineType) {
        let (max, whose, words) = longest(machine_type);
        if let (Some(seconds), Some(node)) = (number(holder, "TimeoutSeconds"), holder.get("TimeoutSeconds"))
            && seconds > max as f64
        {
            let message = format!("These {seconds} s never pass: {whose} times out after {words}, {max} s");
            let location = format!("{at}/TimeoutSeconds");
            self.add(Severity::Warning, Some(fault::TIMEOUT), node, location, message);
            self.instead(max.to_string());
        }
    }

    fn retries(&mut self, state: &Node, at: &str, machine_type: MachineType) {
        let (max, whose, words) = longest(machine_type);
        for (n, retrier) in state.get("Retry").and_then(Node::items).unwrap_or(&[]).iter().enumerate() {
            let seconds = delays(retrier);
            if seconds >= max as f64 {
                let message = format!(
                    "Its retries wait for {} s in all: {whose} times out after {words}, before the last one",
                    seconds.round()
                );
                self.add(
                    Severity::Warning,
                    Some(fault::TIMEOUT),
                    retrier,
                    format!("{at}/Retry[{n}]"),
                    message,
                );
            }
        }
    }

    fn concurrency(&mut self, state: &Node, at: &str, is_distributed: bool) {
        let (max, kind, what) = if is_distributed {
            (limits::MAP_RUN_CONCURRENCY_MAX, "a Map Run", "child executions")
        } else {
            (u64::from(limits::MAP_CONCURRENCY_MAX), "an inline Map", "iterations")
        };
        if let (Some(asked), Some(node)) = (number(state, "MaxConcurrency"), state.get("MaxConcurrency"))
            && asked > max as f64
        {
            let message = format!("AWS runs at most {max} {what} of {kind} at a time, not {asked}");
            self.add(Severity::Warning, None, node, format!("{at}/MaxConcurrency"), message);
            self.instead(max.to_string());
        }
    }

    fn result(&mut self, state: &Node, at: &str) {
        let max = limits::PAYLOAD_BYTES_MAX as usize;
        // In YAML an alias is short where its value is long.
        if let Some(node) = state.get("Result")
            && let bytes = yaml::to_json(node).len()
            && bytes > max
        {
            let message = format!("This Result has {bytes} bytes: a payload may have {max}");
            let error = Some(fault::DATA_LIMIT_EXCEEDED);
            self.add(Severity::Error, error, node, format!("{at}/Result"), message);
        }
    }

    /// CloudFormation's functions, as objects. AWS takes them as data.
    fn functions(&mut self, node: &Node, at: &str) {
        match &node.value {
            NodeValue::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.functions(item, &format!("{at}[{n}]"));
                }
            }
            NodeValue::Object(members) => {
                if let [member] = &members[..] {
                    let (name, is_text) = (&*member.key.value, member.value.as_str().is_some());
                    if name.starts_with("Fn::") || (name == "Ref" && is_text) {
                        self.left(node, at.to_owned(), format!("`{name}` of CloudFormation is not replaced"));
                        return;
                    }
                }
                for member in members.iter().filter(|member| &*member.key.value != "Comment") {
                    self.functions(&member.value, &format!("{at}/{}", member.key.value));
                }
            }
            _ => {}
        }
    }

    fn placeholders(&mut self, root: &Node) {
        let mut known: HashMap<String, usize> = HashMap::new();
        // The first place of each, and how many there are.
        let mut found: Vec<(String, Span, String, usize)> = Vec::new();
        placeholders::each(root, &mut |placeholder, node, names, is_resource| {
            // As a resource it is refused, and said so.
            if is_resource {
                return;
            }
            if let Some(&at) = known.get(placeholder) {
                found[at].3 += 1;
            } else {
                known.insert(placeholder.to_owned(), found.len());
                found.push((placeholder.to_owned(), node.span, names.to_owned(), 1));
            }
        });
        for (placeholder, span, names, count) in found {
            let also = match count {
                1 => String::new(),
                count => format!(" in {count} places"),
            };
            let node = Node { value: NodeValue::Null, span };
            self.left(&node, names, format!("The placeholder `{placeholder}` is not replaced{also}"));
        }
    }

    /// What a deployment should have replaced.
    fn left(&mut self, node: &Node, at: String, what: String) {
        let message = format!("{what}: without a tool that does, AWS takes it as it stands");
        self.add(Severity::Warning, None, node, at, message);
        if let Some(last) = self.findings.last_mut() {
            last.when = When::Deployment;
        }
    }
}

/// The seconds that all attempts of a retrier wait for, without jitter.
fn delays(retrier: &Node) -> f64 {
    let setting = |field, default| number(retrier, field).unwrap_or(default);
    let (mut delay, rate) = (setting("IntervalSeconds", 1.0), setting("BackoffRate", 2.0));
    let (mut attempts, longest) = (setting("MaxAttempts", 3.0), setting("MaxDelaySeconds", f64::INFINITY));
    let mut seconds = 0.0;
    while attempts >= 1.0 && seconds < 2.0 * limits::STANDARD_SECONDS_MAX as f64 {
        seconds += delay.min(longest);
        delay *= rate;
        attempts -= 1.0;
        if delay.min(longest) <= 0.0 {
            break;
        }
    }
    seconds
}
