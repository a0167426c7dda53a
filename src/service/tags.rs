//! Tags of state machines and activities.

use std::sync::Arc;

use super::configuration::Tag;
use super::inner::Inner;
use super::{Error, Exception, Service, limits};
use crate::arn::Arn;

/// Whether these tags are valid together for one resource.
pub(super) fn check(arn: &str, tags: &[Tag]) -> Result<(), Error> {
    if tags.len() > limits::TAGS_MAX {
        let message = format!("Too many tags: '{arn}'");
        return Err(Error::new(Exception::TooManyTags, message).about(arn));
    }
    for (n, tag) in tags.iter().enumerate() {
        if tag.key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::validation("Tag keys must not start with 'aws:'"));
        }
        if !is_plain(&tag.key) || !is_plain(&tag.value) {
            return Err(Error::validation(
                "Tags may only contain Unicode letters, digits, white space, or these symbols: _ . : / = + - @.",
            ));
        }
        if tags[..n].iter().any(|other| other.key == tag.key) {
            return Err(Error::validation(format!("Duplicate tag key: '{}'", tag.key)));
        }
    }
    Ok(())
}

/// The model has no pattern for tags; the API reference has the allowed characters (`Tag`, `CreateStateMachine`).
fn is_plain(text: &str) -> bool {
    text.chars().all(|char| char.is_alphanumeric() || char.is_whitespace() || "_.:/=+-@".contains(char))
}

impl Service {
    /// Adds tags to a state machine or an activity; an existing key gets the new value.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`, `TooManyTags`.
    pub fn tag_resource(&self, arn: &str, tags: &[Tag]) -> Result<(), Error> {
        self.inner.retag(arn, |kept| {
            for tag in tags {
                match kept.iter_mut().find(|other| other.key == tag.key) {
                    Some(other) => other.value.clone_from(&tag.value),
                    None => kept.push(tag.clone()),
                }
                // More are not compared with each other.
                if kept.len() > limits::TAGS_MAX {
                    break;
                }
            }
            check(arn, kept)
        })
    }

    /// Removes tags, by their keys.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`.
    pub fn untag_resource(&self, arn: &str, keys: &[&str]) -> Result<(), Error> {
        self.inner.retag(arn, |kept| {
            kept.retain(|tag| !keys.contains(&&*tag.key));
            Ok(())
        })
    }

    /// The tags of a state machine or an activity.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`.
    pub fn list_tags_for_resource(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        match resource_type(arn)? {
            "activity" => {
                let activity = self.inner.activities.get(arn).ok_or_else(|| missing(arn))?;
                Ok(activity.tags.clone())
            }
            _ => {
                let machine = self.inner.machines.get(arn).ok_or_else(|| missing(arn))?;
                Ok(machine.tags.clone())
            }
        }
    }
}

impl Inner {
    fn retag(&self, arn: &str, change: impl FnOnce(&mut Vec<Tag>) -> Result<(), Error>) -> Result<(), Error> {
        let is_activity = resource_type(arn)? == "activity";
        let _writing = self.writing();
        if is_activity {
            let existing = self.activities.get(arn).ok_or_else(|| missing(arn))?;
            let mut activity = Arc::unwrap_or_clone(existing);
            change(&mut activity.tags)?;
            return self.keep_activity(activity);
        }
        let existing = self.machines.get(arn).ok_or_else(|| missing(arn))?;
        let mut machine = Arc::unwrap_or_clone(existing);
        change(&mut machine.tags)?;
        self.keep_machine(machine)
    }
}

fn resource_type(arn: &str) -> Result<&str, Error> {
    let parsed = Arn::parse(arn).ok_or_else(|| Error::invalid_arn(&format!("Invalid ARN prefix: {arn}")))?;
    match parsed.resource_type {
        found @ ("stateMachine" | "activity") => Ok(found),
        other => Err(Error::invalid_arn(&format!("Resource type not valid in this context: {other}"))),
    }
}

fn missing(arn: &str) -> Error {
    Error::new(Exception::ResourceNotFound, format!("Resource not found: '{arn}'")).about(arn)
}
