//! The fields that states share: paths, templates, Assign, Retry and Catch.

use super::variables::Lookup;
use super::{Lower, Place};
use crate::asl::model::{self as asl, PathField, Setting};
use crate::json::source::{Node, Sourced};
use crate::program::{
    Assign, AssignId, Catcher, ErrorClass, Filter, Next, PathId, Recovery, RecoveryId, ResultPath, Retrier,
    Seconds, TemplateId,
};
use crate::query::jsonata::Allowed;
use crate::query::path::{Path, ReferencePath};
use crate::query::template::{Language, Template};

impl Lower {
    pub(super) fn path(&mut self, place: &Place<'_, '_>, field: &str, text: &str) -> PathId {
        if let Some(&known) = self.paths.get(text) {
            return known;
        }
        match Path::parse(text, &mut Lookup { variables: &place.plan.variables, regexes: &mut self.regexes })
        {
            // The slot of a variable depends on the place.
            Ok(path) if path.variable().is_some() => self.program.paths.push(path),
            Ok(path) => {
                let id = self.program.paths.push(path);
                self.paths.insert(text.to_owned(), id);
                id
            }
            Err(error) => {
                self.refuse(place, field, error.to_string());
                crate::index::Id::from_index(0)
            }
        }
    }

    pub(super) fn filter(&mut self, place: &Place<'_, '_>, field: &str, path: &PathField) -> Filter {
        match path {
            PathField::Absent => Filter::Everything,
            PathField::Null => Filter::Nothing,
            PathField::Path(path) if path.value == "$" => Filter::Everything,
            PathField::Path(path) => Filter::Path(self.path(place, field, &path.value)),
        }
    }

    pub(super) fn result_path(&mut self, place: &Place<'_, '_>, field: &str, path: &PathField) -> ResultPath {
        match path {
            PathField::Absent => ResultPath::Replace,
            PathField::Null => ResultPath::Discard,
            PathField::Path(path) if path.value == "$" => ResultPath::Replace,
            PathField::Path(path) => match ReferencePath::parse(&path.value) {
                Ok(path) => ResultPath::Insert(self.program.references.push(path)),
                Err(error) => {
                    self.refuse(place, field, error.to_string());
                    ResultPath::Replace
                }
            },
        }
    }

    /// A payload template, or in JSONata a value with expressions in it.
    pub(super) fn template(
        &mut self,
        place: &Place<'_, '_>,
        field: &str,
        source: &Node,
        allowed: Allowed,
    ) -> Option<TemplateId> {
        let language = match place.state.query_language {
            asl::QueryLanguage::JsonPath => Language::JsonPath,
            asl::QueryLanguage::Jsonata => Language::Jsonata(allowed),
        };
        match Template::compile(
            source,
            field,
            language,
            &mut Lookup { variables: &place.plan.variables, regexes: &mut self.regexes },
        ) {
            Ok(template) => Some(self.program.templates.push(template)),
            Err(error) => {
                self.refuse(place, &error.field, error.message);
                None
            }
        }
    }

    pub(super) fn literal(
        &mut self,
        place: &Place<'_, '_>,
        field: &str,
        source: &Node,
    ) -> Option<TemplateId> {
        match Template::compile(
            source,
            field,
            Language::Literal,
            &mut Lookup { variables: &place.plan.variables, regexes: &mut self.regexes },
        ) {
            Ok(template) => Some(self.program.templates.push(template)),
            Err(error) => {
                self.refuse(place, &error.field, error.message);
                None
            }
        }
    }

    pub(super) fn expression(&mut self, place: &Place<'_, '_>, field: &str, text: &str) -> TemplateId {
        let names = &mut Lookup { variables: &place.plan.variables, regexes: &mut self.regexes };
        match Template::expression(text, field, Allowed::default(), names) {
            Ok(template) => self.program.templates.push(template),
            Err(error) => {
                self.refuse(place, &error.field, error.message);
                crate::index::Id::from_index(0)
            }
        }
    }

    pub(super) fn seconds(&mut self, place: &Place<'_, '_>, field: &str, setting: &Setting<u64>) -> Seconds {
        match setting {
            Setting::Literal(seconds) => Seconds::Literal(seconds.value),
            Setting::Path(path) => Seconds::Path(self.path(place, &format!("{field}Path"), &path.value)),
            Setting::Expression(text) => Seconds::Expression(self.expression(place, field, &text.value)),
        }
    }

    pub(super) fn assign(
        &mut self,
        place: &Place<'_, '_>,
        field: &str,
        source: Option<&Node>,
        allowed: Allowed,
    ) -> Option<AssignId> {
        let template = self.template(place, field, source?, allowed)?;
        let names = self.program.templates[template].keys();
        let slots = names.iter().filter_map(|name| place.plan.variables.find(name)).collect();
        Some(self.program.assigns.push(Assign { template, slots, slots_seen: place.plan.variables.len() }))
    }

    pub(super) fn next(&mut self, place: &Place<'_, '_>) -> Next {
        match &place.state.next {
            asl::Transition::Next(target) => {
                self.target(place, "Next", target).map_or(Next::Nowhere, Next::State)
            }
            asl::Transition::End => Next::End,
            asl::Transition::Choice => Next::Nowhere,
        }
    }

    pub(super) fn target(
        &mut self,
        place: &Place<'_, '_>,
        field: &str,
        target: &Sourced<String>,
    ) -> Option<crate::program::StateId> {
        let found = place.target(&target.value);
        if found.is_none() {
            self.refuse(place, field, format!("Missing 'Next' target: {}", target.value));
        }
        found
    }

    pub(super) fn recovery(&mut self, place: &Place<'_, '_>) -> Option<RecoveryId> {
        let state = place.state;
        if state.retry.is_empty() && state.catch.is_empty() {
            return None;
        }
        let retry = state.retry.iter().map(retrier).collect();
        let mut catch = Vec::with_capacity(state.catch.len());
        for (i, catcher) in state.catch.iter().enumerate() {
            let field = format!("Catch[{i}]");
            let Some(next) = self.target(place, &format!("{field}/Next"), &catcher.next) else { continue };
            let allowed = Allowed { error_output: true, ..Allowed::default() };
            catch.push(Catcher {
                errors: catcher.error_equals.iter().map(error_class).collect(),
                next,
                result_path: self.result_path(place, &format!("{field}/ResultPath"), &catcher.result_path),
                output: (catcher.output.as_ref())
                    .and_then(|output| self.template(place, &format!("{field}/Output"), output, allowed)),
                assign: self.assign(place, &format!("{field}/Assign"), catcher.assign.as_ref(), allowed),
            });
        }
        Some(self.program.recovery.push(Recovery { retry, catch: catch.into() }))
    }
}

/// Fills in AWS's defaults.
fn retrier(retrier: &asl::Retrier) -> Retrier {
    Retrier {
        errors: retrier.error_equals.iter().map(error_class).collect(),
        interval_seconds: retrier.interval_seconds.unwrap_or(1),
        attempts_max: retrier.attempts_max.unwrap_or(3),
        backoff_rate: retrier.backoff_rate.unwrap_or(2.0),
        delay_seconds_max: retrier.delay_seconds_max,
        full_jitter: retrier.full_jitter,
    }
}

fn error_class(name: &Sourced<String>) -> ErrorClass {
    match name.value.as_str() {
        crate::fault::ALL => ErrorClass::All,
        crate::fault::TASK_FAILED => ErrorClass::TaskFailed,
        crate::fault::TIMEOUT => ErrorClass::Timeout,
        other => ErrorClass::Named(other.into()),
    }
}
