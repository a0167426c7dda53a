//! What a task was given, and what is said when that cannot be used.

use crate::fault;
use crate::json::{self, Arena, Value};
use crate::task::{Call, TaskError};

/// The members of a task's input. What nobody took is refused, as AWS does.
pub(super) struct Parameters<'c> {
    arena: &'c Arena,
    input: Value,
    known: &'static [&'static str],
}

impl<'c> Parameters<'c> {
    /// The input's members, of which only those `known` may be there.
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

    /// A member that is there, and is not null.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        debug_assert!(self.known.contains(&name));
        self.arena.get_str(self.input, name).filter(|value| !value.is_null())
    }

    /// A member that must be text if it is there.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'c str>, TaskError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => self.arena.as_str(value).map(Some).ok_or_else(|| self.misshapen(name)),
        }
    }

    /// A member that must be there, as text.
    pub(super) fn required(&self, name: &str) -> Result<&'c str, TaskError> {
        self.text(name)?
            .ok_or_else(|| self.refuse(&format!("The field '{name}' is required but was missing")))
    }

    /// A member has not the shape it should have.
    pub(super) fn misshapen(&self, name: &str) -> TaskError {
        self.refuse(&format!("The value of the field '{name}' has an invalid format"))
    }

    /// The parameters cannot be used.
    pub(super) fn refuse(&self, why: &str) -> TaskError {
        refuse(self.arena, self.input, why)
    }
}

/// The failure of a task whose parameters cannot be used.
pub(super) fn refuse(arena: &Arena, input: Value, why: &str) -> TaskError {
    let input = json::to_string(arena, input);
    let cause = format!("The Parameters '{input}' could not be used to start the Task: [{why}]");
    TaskError::new(fault::RUNTIME, cause)
}
