//! What a query sees: the values that its names stand for, variables by slot, and the context object.

use super::jsonata::Regexes;
use crate::json::{Arena, Value};

/// The index of a variable in [`Scope::variables`]. Names become slots at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Resolves variable names to slots while compiling.
pub trait Names {
    /// The slot of the workflow variable `name`, as seen from the state being compiled; `None` when no state assigns
    /// it, in which case it has no value.
    fn slot(&mut self, name: &str) -> Option<Slot>;

    /// The shared regular expressions that are compiled already, if expressions share them.
    fn regexes(&mut self) -> Option<&mut Regexes> {
        None
    }
}

/// The data of a query.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The value of `$` in JSONPath (the state's input, or its result in some fields), and of `$states.input`.
    pub input: Value,
    /// The value of `$states.result`; `Undefined` if there is no result.
    pub result: Value,
    /// The value of `$states.errorOutput`; `Undefined` outside catchers.
    pub error_output: Value,
    /// An array of the workflow variables by [`Slot`]; `Undefined` if not assigned yet.
    pub variables: Value,
    /// The value of `$$` and `$states.context`.
    pub context: &'a dyn Context,
}

impl Scope<'_> {
    /// The value of a variable, `Undefined` when not assigned.
    pub fn variable(&self, arena: &Arena, slot: Slot) -> Value {
        arena.item(self.variables, slot.0 as usize).unwrap_or(Value::UNDEFINED)
    }
}

/// The context object, made piece by piece so that a path such as `$$.Map.Item.Index` builds nothing.
pub trait Context {
    /// The part `field`, `Undefined` if the context object does not have it here.
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value;
}

macro_rules! context_fields {
    ($($(#[$doc:meta])* $name:ident = [$($step:literal),*];)*) => {
        /// A part of the context object (developer guide, "Accessing execution data from the Context object").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ContextField { $($(#[$doc])* $name,)* }

        impl ContextField {
            /// The member names that lead to this part.
            pub const fn steps(self) -> &'static [&'static str] {
                match self { $(ContextField::$name => &[$($step),*],)* }
            }

            /// The longest part on a path that begins with `names`, and how many of them lead to it.
            pub fn resolve<'n>(names: impl Iterator<Item = &'n str>) -> (ContextField, usize) {
                let names: Vec<&str> = names.collect();
                [$(ContextField::$name),*]
                    .into_iter()
                    .filter(|field| names.starts_with(field.steps()))
                    .map(|field| (field, field.steps().len()))
                    .max_by_key(|&(_, len)| len)
                    .unwrap_or((ContextField::Whole, 0))
            }
        }
    };
}

context_fields! {
    /// The whole object.
    Whole = [];
    /// `Execution`.
    Execution = ["Execution"];
    /// The execution's ARN.
    ExecutionId = ["Execution", "Id"];
    /// The execution's input.
    ExecutionInput = ["Execution", "Input"];
    /// The execution's name.
    ExecutionName = ["Execution", "Name"];
    /// The role the machine runs under.
    ExecutionRoleArn = ["Execution", "RoleArn"];
    /// When the execution began, ISO 8601 in UTC.
    ExecutionStartTime = ["Execution", "StartTime"];
    /// How often the execution was redriven; absent in synchronous Express executions.
    ExecutionRedriveCount = ["Execution", "RedriveCount"];
    /// When the execution was redriven last; absent before the first time.
    ExecutionRedriveTime = ["Execution", "RedriveTime"];
    /// `State`.
    State = ["State"];
    /// When the state was entered, ISO 8601 in UTC.
    StateEnteredTime = ["State", "EnteredTime"];
    /// The state's name.
    StateName = ["State", "Name"];
    /// Retries so far, in states that can retry.
    StateRetryCount = ["State", "RetryCount"];
    /// `StateMachine`.
    StateMachine = ["StateMachine"];
    /// The state machine's ARN.
    StateMachineId = ["StateMachine", "Id"];
    /// The state machine's name.
    StateMachineName = ["StateMachine", "Name"];
    /// `Task`.
    Task = ["Task"];
    /// The token of a task that waits for a callback.
    TaskToken = ["Task", "Token"];
    /// `Map`.
    Map = ["Map"];
    /// `Map.Item`.
    MapItem = ["Map", "Item"];
    /// Index of the item, from 0.
    MapItemIndex = ["Map", "Item", "Index"];
    /// The item.
    MapItemValue = ["Map", "Item", "Value"];
    /// The item's key, where the Map goes over an object.
    MapItemKey = ["Map", "Item", "Key"];
    /// Where the item came from.
    MapItemSource = ["Map", "Item", "Source"];
}
