//! Tags of state machines and activities.

use super::configuration::Tag;
use super::{Error, Exception, limits};

/// Whether these may be all the tags of one thing.
pub(super) fn check(tags: &[Tag]) -> Result<(), Error> {
    if tags.len() > limits::TAGS_MAX {
        let message = format!("Too many tags: the maximum is {}", limits::TAGS_MAX);
        return Err(Error::new(Exception::TooManyTags, message));
    }
    for (n, tag) in tags.iter().enumerate() {
        if tag.key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::validation("Tag keys must not start with 'aws:'"));
        }
        if tags[..n].iter().any(|other| other.key == tag.key) {
            return Err(Error::validation("Duplicate tag keys are not allowed"));
        }
    }
    Ok(())
}
