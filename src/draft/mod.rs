//! Drafts: definitions being edited. Problems, picture, and runs with an input: with mocks under virtual time, or for
//! real on an engine. All
//! results are JSON for a page that only draws; places are counted in UTF-16, as editors in browsers count.

mod aws;
mod compare;
mod edit;
mod estimate;
mod evaluate;
mod form;
mod picture;
mod places;
mod quotas;
mod real;
mod recorder;
mod run;
mod trace;

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::asl::{self, Definition, Diagnostic, MachineType, Options, Resources, Severity};
use crate::json::source::{self, Source};
use crate::json::yaml;
use crate::picture::{Graph, Scene, mermaid, svg};
use crate::program::Program;
use crate::{compile, limits};
use places::Places;

pub use compare::compare;
pub use edit::{Edit, Patch, Step, edit};
pub use evaluate::{Expression, evaluate};
pub use form::{form, resources, words};
pub use quotas::Used;
pub use real::RealRun;
pub use run::{Ask, mocks, run};
pub use trace::{details_of, outline};

/// A definition in an editor.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'t> {
    /// The text.
    pub text: &'t str,
    /// Whether it is YAML; JSON otherwise.
    pub yaml: bool,
    /// The type of the machine.
    pub machine_type: MachineType,
}

/// Problems that are returned; the rest is only counted.
const PROBLEMS_MAX: usize = 500;

impl Draft<'_> {
    fn read(&self) -> (Option<Definition>, Vec<Diagnostic>) {
        self.read_with(Resources::AwsAndOurs)
    }

    fn read_with(&self, resources: Resources) -> (Option<Definition>, Vec<Diagnostic>) {
        let options = Options { machine_type: self.machine_type, resources, express_maps: false };
        match self.yaml {
            true if self.text.len() > limits::DEFINITION_BYTES_MAX => {
                asl::read(self.text.as_bytes(), &options)
            }
            true => asl::read_yaml(self.text.as_bytes(), &options),
            false => asl::read(self.text.as_bytes(), &options),
        }
    }

    /// The tree of the text, if it can be read.
    fn source(&self) -> Option<Source> {
        match self.yaml {
            true if self.text.len() > limits::DEFINITION_BYTES_MAX => None,
            true => yaml::read(self.text).ok(),
            false => source::read(self.text.as_bytes(), limits::DEFINITION_BYTES_MAX).ok(),
        }
    }

    /// The picture of what can be read of it.
    fn sketch(&self, places: &Places) -> Option<Json> {
        let graph = match self.yaml {
            true if self.text.len() > limits::DEFINITION_BYTES_MAX => return None,
            true => Graph::sketch_yaml(self.text)?,
            false => Graph::sketch(self.text.as_bytes())?,
        };
        Some(picture::json(&graph, &Scene::of(&graph), places))
    }

    /// The program, or why it does not compile.
    fn program(&self) -> Result<Arc<Program>, String> {
        let (definition, problems) = self.read();
        let Some(definition) = definition else { return Err(asl::explain_invalid(&problems)) };
        compile::compile(&definition).map(Arc::new).map_err(|refused| {
            let said: Vec<String> =
                refused.iter().map(|it| format!("{} at {}", it.message, it.location)).collect();
            said.join("\n")
        })
    }
}

/// The problems of a draft, and its picture if it has none.
///
/// `problems`: `severity`, `code`, `message`, `from`, `to`, and perhaps `suggestion` and a `fix` (`from`, `to`,
/// `insert`). `problemsMore` counts those left out. `picture`: the graph with its places, and each state's position in
/// the text; null for an invalid text. `sketch`, only for such a text and with `sketches`: a picture of the parts of it that
/// can be read.
pub fn inspect(draft: Draft<'_>, sketches: bool) -> Json {
    let (definition, problems) = draft.read();
    let places = Places::of(draft.text);
    let mut told: Vec<Json> =
        problems.iter().take(PROBLEMS_MAX).map(|problem| told(draft.text, &places, problem)).collect();
    let mut more = problems.len().saturating_sub(PROBLEMS_MAX);
    let Some(definition) = definition else {
        let sketch = if sketches { draft.sketch(&places) } else { None };
        return json!({"problems": told, "problemsMore": more, "picture": null, "sketch": sketch});
    };
    if let Err(refused) = compile::compile(&definition) {
        more += refused.len().saturating_sub(PROBLEMS_MAX);
        told.extend(refused.iter().take(PROBLEMS_MAX).map(|refused| {
            // An error of compiling has no position in the text, only a place in the definition.
            json!({"severity": Severity::Error.name(), "code": "NOT_SUPPORTED",
                "message": format!("{} at {}", refused.message, refused.location), "from": 0, "to": 0})
        }));
    }
    json!({"problems": told, "problemsMore": more, "picture": of_definition(&definition, &places)})
}

/// A state machine that a draft is, or will be.
#[derive(Debug, Default)]
pub struct Deployed<'d> {
    /// Its name; empty if it is not known.
    pub name: &'d str,
    /// How many tags it has, if that is known.
    pub tags: Option<usize>,
    /// What the last run of the draft used.
    pub used: Option<Used>,
}

/// What AWS would do with a draft.
///
/// `findings`: `when` it happens (`creation`: AWS refuses it; `warning`: AWS warns; `run`: it fails, or is cut;
/// `deployment`: something that a tool should have replaced is left; `last`: the last run met a quota), `severity`, `code`
/// (AWS's; `null` if it has none), `message`, and perhaps `location`, `from`, `to`, `state`, `suggestion`, `fix`.
/// `findingsMore` counts those left out. `quotas`: `quota`, `unit`, `used`, `allowed`, `level` (`within`, `near`, `over`),
/// whether it is that of the last `run`, and perhaps `from` and `to`, or `state`.
pub fn on_aws(draft: Draft<'_>, deployed: &Deployed<'_>) -> Json {
    let (_, problems) = draft.read_with(Resources::Aws);
    let places = Places::of(draft.text);
    let mut findings: Vec<Json> = (problems.iter())
        .map(|problem| {
            let mut told = told(draft.text, &places, problem);
            told["when"] = json!(match problem.severity {
                Severity::Error => "creation",
                Severity::Warning => "warning",
            });
            told
        })
        .collect();
    let used = deployed.used.as_ref();
    findings.extend(used.into_iter().flat_map(quotas::crossed));
    let mut rows = Vec::new();
    if let Some(source) = draft.source() {
        let found = aws::findings(&source.root, draft.machine_type);
        findings.extend(found.iter().map(|finding| finding.json(&places)));
        let json = if draft.yaml { Some(yaml::to_json(&source.root)) } else { None };
        let measured = quotas::Measured {
            root: &source.root,
            definition: json.as_deref().unwrap_or(draft.text),
            machine_type: draft.machine_type,
            name: deployed.name,
            tags: deployed.tags,
        };
        rows = quotas::quotas(&measured, used, &places);
    }
    let more = findings.len().saturating_sub(PROBLEMS_MAX);
    findings.truncate(PROBLEMS_MAX);
    json!({"findings": findings, "findingsMore": more, "quotas": rows})
}

/// What AWS would bill for a thousand executions that go as a run of the draft did: `executions`, `region`, `transitions` and
/// `standard`, `ms`, `bytes`, `mb` and `express`.
pub fn estimate(draft: Draft<'_>, used: &Used) -> Json {
    let json = if draft.yaml { draft.source().map(|source| yaml::to_json(&source.root)) } else { None };
    estimate::estimate(json.map_or(draft.text.len(), |json| json.len()), &used.billed())
}

/// The picture of a machine's definition: `null` if it cannot be read.
pub fn picture_of(text: &str, machine_type: MachineType) -> Json {
    let options = Options { machine_type, resources: Resources::Any, express_maps: false };
    let (definition, _) = asl::read(text.as_bytes(), &options);
    definition.map_or(Json::Null, |definition| of_definition(&definition, &Places::of(text)))
}

/// A draft in another form: its picture as `svg` or `mermaid`, or its text as `json`, which the API takes.
///
/// # Errors
/// When the draft is invalid, or there is no such form.
pub fn export(draft: Draft<'_>, form: &str) -> Result<String, String> {
    let (definition, problems) = draft.read();
    let definition = definition.ok_or_else(|| asl::explain_invalid(&problems))?;
    let graph = Graph::of(&definition);
    match form {
        "json" if draft.yaml => (yaml::read(draft.text).map(|source| yaml::to_json(&source.root)))
            .map_err(|error| error.to_string()),
        "json" => Ok(draft.text.to_owned()),
        "svg" => Ok(svg::write(&graph, None)),
        "mermaid" => Ok(mermaid::write(&graph, None)),
        _ => Err(format!("There is no form {form:?}: it is svg, mermaid or json")),
    }
}

/// `width`, `height`, `nodes`, `edges`, `paths`, `labels`, `marks`, `frames`.
fn of_definition(definition: &Definition, places: &Places) -> Json {
    let graph = Graph::of(definition);
    picture::json(&graph, &Scene::of(&graph), places)
}

fn told(text: &str, places: &Places, problem: &Diagnostic) -> Json {
    let (start, end) = (problem.span.start as usize, problem.span.end as usize);
    let (from, to) = (places.of_byte(start), places.of_byte(end));
    let mut told = json!({
        "severity": problem.severity.name(), "code": problem.code.name(), "message": problem.message,
        "from": from, "to": to,
    });
    if let Some(location) = &problem.location {
        told["location"] = json!(location);
    }
    if let Some(suggestion) = &problem.suggestion {
        told["suggestion"] = json!(suggestion);
        let meant = suggestion.strip_prefix("did you mean `").and_then(|rest| rest.strip_suffix("`?"));
        if let (Some(meant), Some(written)) = (meant, text.get(start..end))
            && let Some(insert) = instead(written, meant)
        {
            told["fix"] = json!({"from": from, "to": to, "insert": insert});
        }
    }
    told
}

/// The replacement of a single name, in quotes if it has quotes.
fn instead(written: &str, meant: &str) -> Option<String> {
    let quote = written.chars().next().filter(|first| matches!(first, '"' | '\''));
    match quote {
        Some('"') if written.len() >= 2 && written.ends_with('"') => {
            let inner = &written[1..written.len() - 1];
            (!inner.contains(['"', '\\', '\n'])).then(|| json!(meant).to_string())
        }
        None => {
            let is_plain = |text: &str| {
                text.chars().all(|c| c.is_alphanumeric() || "._-$".contains(c)) && !text.is_empty()
            };
            (is_plain(written) && is_plain(meant)).then(|| meant.to_owned())
        }
        Some(_) => None,
    }
}
