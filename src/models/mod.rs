//! AWS's services: their operations, and the shapes of requests and responses, as a table that `generate.py` makes from
//! AWS's own service models and from what its SDK for Java renames. Definitions, tasks, mocks and calls are checked
//! against it. A service is unpacked and parsed when it is first needed, and kept.

pub(crate) mod check;
mod known;
pub(crate) mod names;
mod service;

#[cfg(feature = "integrations")]
pub(crate) use known::is_service;
pub(crate) use known::{Refused, actions, other_name, refusal, services, services_with, source};
pub(crate) use service::*;
