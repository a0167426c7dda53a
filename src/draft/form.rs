//! What editors need beside the text: the fields of a state with the types of their values, and possible words.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use super::Draft;
use super::edit::data::kind_of;
use super::edit::tree;
use crate::asl::model::QueryLanguage;
use crate::asl::{self, Form, state_fields};
use crate::models;
use crate::query::intrinsic::Function;
use crate::query::jsonata;

const KINDS: [&str; 8] = ["Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map"];

fn language(name: &str) -> QueryLanguage {
    match name {
        "JSONata" => QueryLanguage::Jsonata,
        _ => QueryLanguage::JsonPath,
    }
}

fn fields(kind: &str, language: QueryLanguage) -> Vec<Json> {
    state_fields(kind, language)
        .into_iter()
        .map(|field| {
            let mut told = json!({"name": field.name, "form": field.form.name(), "required": field.required});
            if let Form::OneOf(options) = field.form {
                told["options"] = json!(options);
            }
            told
        })
        .collect()
}

/// `fields`: by language and type of state, the fields with the types of their values; `functions`: of JSONata, with
/// signatures; `intrinsics`.
pub fn words() -> Json {
    let by_language = |name: &str| {
        let by_kind: Map<String, Json> =
            KINDS.iter().map(|kind| ((*kind).to_owned(), json!(fields(kind, language(name))))).collect();
        json!(by_kind)
    };
    let functions: Vec<(&str, &str)> = jsonata::functions().collect();
    let intrinsics: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
    json!({
        "fields": {"JSONPath": by_language("JSONPath"), "JSONata": by_language("JSONata")},
        "functions": functions, "intrinsics": intrinsics,
    })
}

/// Resources that are returned at once.
const RESOURCES_MAX: usize = 100;

/// The optimised integrations, then the actions of AWS's services. To know which of those Step Functions supports takes
/// longer than to search them.
static RESOURCES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of_service = |service: &'static str| {
        let actions = models::actions(service).into_iter();
        actions.map(move |action| format!("arn:aws:states:::aws-sdk:{service}:{action}"))
    };
    asl::integrations().chain(models::services().flat_map(of_service)).collect()
});

/// `resources`: those that contain all words of a text, in any case: optimised integrations first, then the actions of
/// AWS's services; `more` counts those left out.
///
/// ```
/// # #[cfg(feature = "console")] {
/// let found = expressway::draft::resources("dynamodb QUERY");
/// assert_eq!(found["resources"][0], "arn:aws:states:::aws-sdk:dynamodb:query");
/// # }
/// ```
pub fn resources(words: &str) -> Json {
    let words: Vec<String> = words.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let mut fitting = RESOURCES.iter().filter(|resource| {
        let resource = resource.to_lowercase();
        words.iter().all(|word| resource.contains(word))
    });
    let found: Vec<&String> = fitting.by_ref().take(RESOURCES_MAX).collect();
    json!({"resources": found, "more": fitting.count()})
}

/// The state with its `type` and `language`, the `fields` that it may have, and `values`: those that it has, as JSON
/// text.
///
/// # Errors
/// When the text cannot be read, or has no such state.
pub fn form(draft: Draft<'_>, state: &str) -> Result<Json, String> {
    let (root, states) = tree(draft, state)?;
    let states = states.as_object().ok_or("the states are no object")?;
    let members = states.get(state).and_then(Json::as_object).ok_or("There is no such state")?;
    let own = members.get("QueryLanguage").or_else(|| root.get("QueryLanguage"));
    let language_name = own.and_then(Json::as_str).unwrap_or("JSONPath");
    let kind = kind_of(members.get("Type"));
    let values: Map<String, Json> =
        members.iter().map(|(name, value)| (name.clone(), json!(value.to_string()))).collect();
    Ok(json!({
        "type": kind, "language": language_name, "fields": fields(kind, language(language_name)), "values": values,
    }))
}
