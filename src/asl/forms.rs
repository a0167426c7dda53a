//! The fields of a state and the types of their values, for editors: forms and completion.

use super::fields::{Expect, Owner, fields};
use super::model::QueryLanguage;

/// A field that a state of some type may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateField {
    /// Its name.
    pub name: &'static str,
    /// Whether it is required.
    pub required: bool,
    /// The type of its value.
    pub form: Form,
}

/// The type of a field's value, as far as a form needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// A string.
    Text,
    /// A path.
    Path,
    /// The name of a state.
    State,
    /// `true` or `false`.
    Bool,
    /// A number, or an expression in JSONata.
    Number,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// JSON of another kind.
    Json,
}

impl Form {
    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Path => "path",
            Form::State => "state",
            Form::Bool => "bool",
            Form::Number => "number",
            Form::OneOf(_) => "oneOf",
            Form::Json => "json",
        }
    }
}

/// The fields of states of a `Type` in a query language; empty, if there is no such type.
pub fn state_fields(kind: &str, language: QueryLanguage) -> Vec<StateField> {
    let Some(owner) = Owner::state(kind) else { return Vec::new() };
    let of_language = fields(owner).filter(|field| field.only.is_none_or(|only| only == language));
    let told = of_language.map(|field| StateField {
        name: field.name,
        required: field.is_required(owner, language),
        form: match field.name {
            "Next" | "Default" => Form::State,
            _ => form(field.expect),
        },
    });
    told.collect()
}

fn form(expect: Expect) -> Form {
    match expect {
        Expect::Text | Expect::DynamicText(_) | Expect::Timestamp | Expect::Resource | Expect::Label => {
            Form::Text
        }
        Expect::Bool => Form::Bool,
        Expect::OneOf(options) => Form::OneOf(options),
        Expect::Integer(..)
        | Expect::DynamicInteger(..)
        | Expect::DynamicNumber
        | Expect::Percentage
        | Expect::NumberFrom(_) => Form::Number,
        Expect::PathOrNull
        | Expect::ResultPath
        | Expect::ReferencePath
        | Expect::Path
        | Expect::PathOrIntrinsic => Form::Path,
        _ => Form::Json,
    }
}
