//! A task's parameters, and the errors for invalid ones.

use crate::fault;
use crate::json::{self, Arena, Value};
use crate::task::{Call, TaskError};

/// The members of a task's input. Unused ones are refused, as on AWS.
pub(super) struct Parameters<'c> {
    arena: &'c Arena,
    input: Value,
    known: &'static [&'static str],
}

impl<'c> Parameters<'c> {
    /// The input's members, which must be among `known`.
    pub(super) fn read(
        call: &'c Call<'_>,
        known: &'static [&'static str],
    ) -> Result<Parameters<'c>, TaskError> {
        let (arena, input) = (&*call.arena, call.input);
        let parameters = Parameters { arena, input, known };
        if !input.is_object() {
            return Err(parameters.refuse("The value must be an object"));
        }
        for (name, _) in arena.entries(input) {
            let name = arena.str(name);
            if !known.contains(&name) {
                return Err(
                    parameters.refuse(&format!("The field \"{name}\" is not supported by Step Functions"))
                );
            }
        }
        Ok(parameters)
    }

    pub(super) fn arena(&self) -> &'c Arena {
        self.arena
    }

    /// A member that is present, and not null.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        debug_assert!(self.known.contains(&name));
        self.arena.get_str(self.input, name).filter(|value| !value.is_null())
    }

    /// An optional text member.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'c str>, TaskError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => self.arena.as_str(value).map(Some).ok_or_else(|| self.misshapen(name)),
        }
    }

    /// A required text member.
    pub(super) fn required(&self, name: &str) -> Result<&'c str, TaskError> {
        self.text(name)?
            .ok_or_else(|| self.refuse(&format!("The field '{name}' is required but was missing")))
    }

    /// A member has the wrong shape.
    pub(super) fn misshapen(&self, name: &str) -> TaskError {
        self.refuse(&format!("The value of the field '{name}' has an invalid format"))
    }

    /// The parameters are invalid.
    pub(super) fn refuse(&self, why: &str) -> TaskError {
        refuse(self.arena, self.input, why)
    }
}

/// The failure of a task with invalid parameters.
pub(super) fn refuse(arena: &Arena, input: Value, why: &str) -> TaskError {
    let input = json::to_string(arena, input);
    let cause = format!("The Parameters '{input}' could not be used to start the Task: [{why}]");
    TaskError::new(fault::RUNTIME, cause)
}
