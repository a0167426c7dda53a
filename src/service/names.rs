//! Names and ARNs in requests, as AWS checks them.

use super::{Error, Exception};
use crate::arn::{self, Arn};

/// Parses the ARN of a state machine.
pub(super) fn machine_arn(text: &str) -> Result<Arn<'_>, Error> {
    arn_of(text, "stateMachine")
}

/// Parses an ARN that must be of this resource type.
pub(super) fn arn_of<'a>(text: &'a str, resource_type: &str) -> Result<Arn<'a>, Error> {
    let arn = Arn::parse(text).ok_or_else(|| Error::invalid_arn(&format!("Invalid ARN prefix: {text}")))?;
    if arn.resource_type != resource_type {
        let why = format!("Resource type not valid in this context: {}", arn.resource_type);
        return Err(Error::invalid_arn(&why));
    }
    Ok(arn)
}

/// Refuses the ARN of a Map state inside a state machine.
pub(super) fn no_label(arn: &Arn<'_>) -> Result<(), Error> {
    if !arn.is_labelled() {
        Ok(())
    } else {
        Err(Error::validation("This API does not support labelled state machine ARNs")
            .because("API_DOES_NOT_SUPPORT_LABELED_ARNS"))
    }
}

pub(super) fn name(name: &str) -> Result<(), Error> {
    if arn::is_name(name) {
        Ok(())
    } else {
        Err(Error::new(Exception::InvalidName, format!("Invalid Name: '{name}'")))
    }
}

/// The ARN of a role.
pub(super) fn role(arn: &str) -> Result<(), Error> {
    let parts = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":iam::"));
    let of_account = parts.and_then(|(_, rest)| rest.split_once(":role/"));
    let is_role = of_account.is_some_and(|(account, role)| {
        account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && !role.is_empty()
    });
    if is_role {
        Ok(())
    } else {
        Err(Error::new(Exception::InvalidArn, format!("Invalid Role Arn: '{arn}'")))
    }
}
