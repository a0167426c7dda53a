//! Requests and answers of the page's actions.

use serde_json::{Map, Value as Json};

use crate::asl::MachineType;
use crate::draft::Draft;
use crate::service::Error;

/// Why there is no answer.
pub(super) enum Wrong {
    Refused(&'static str, String),
    Service(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::Service(error)
    }
}

pub(super) type Answer = Result<Json, Wrong>;

/// The members of a request.
pub(super) struct Members(pub(super) Map<String, Json>);

impl Members {
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Json::as_u64)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Json::as_bool) == Some(true)
    }

    pub(super) fn draft(&self) -> Draft<'_> {
        self.draft_of("text", "format")
    }

    /// The version of the draft before this one.
    pub(super) fn before(&self) -> Draft<'_> {
        self.draft_of("before", "beforeFormat")
    }

    fn draft_of(&self, text: &str, format: &str) -> Draft<'_> {
        let machine_type = match self.text("type") {
            "STANDARD" => MachineType::Standard,
            _ => MachineType::Express,
        };
        Draft { text: self.text(text), yaml: self.text(format) == "yaml", machine_type }
    }
}

pub(super) fn invalid(why: String) -> Wrong {
    Wrong::Refused("ValidationException", why)
}
