//! The members of a request that was checked against its shape.

use serde_json::{Map, Value as Json};

use super::shape::whole;
use crate::service::Page;

/// The members of a request, or of a structure in it. Required members are present.
#[derive(Clone, Copy)]
pub(super) struct Fields<'r>(pub(super) &'r Map<String, Json>);

impl<'r> Fields<'r> {
    fn get(self, name: &str) -> Option<&'r Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// An optional string.
    pub(super) fn text(self, name: &str) -> Option<&'r str> {
        self.get(name).and_then(Json::as_str)
    }

    /// A required string.
    pub(super) fn need(self, name: &str) -> &'r str {
        self.text(name).unwrap_or_default()
    }

    pub(super) fn flag(self, name: &str) -> Option<bool> {
        self.get(name).and_then(Json::as_bool)
    }

    pub(super) fn number(self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Json::Number(number) => Some(whole(number)),
            _ => None,
        }
    }

    /// A number that need not be an integer.
    pub(super) fn fraction(self, name: &str) -> Option<f64> {
        self.get(name).and_then(Json::as_f64)
    }

    pub(super) fn object(self, name: &str) -> Option<Fields<'r>> {
        self.get(name).and_then(Json::as_object).map(Fields)
    }

    pub(super) fn objects(self, name: &str) -> Option<impl Iterator<Item = Fields<'r>>> {
        let items = self.get(name).and_then(Json::as_array)?;
        Some(items.iter().filter_map(Json::as_object).map(Fields))
    }

    pub(super) fn texts(self, name: &str) -> impl Iterator<Item = &'r str> {
        let items = self.get(name).and_then(Json::as_array);
        items.into_iter().flatten().filter_map(Json::as_str)
    }

    /// Whether payloads and definitions are requested (`includedData`).
    pub(super) fn wants_all_data(self) -> bool {
        self.text("includedData") != Some("METADATA_ONLY")
    }
}

/// `maxResults` and `nextToken`.
pub(super) fn page(fields: Fields<'_>) -> Page {
    Page {
        results_max: fields.number("maxResults").and_then(|number| u32::try_from(number).ok()),
        token: fields.text("nextToken").map(str::to_owned),
    }
}
