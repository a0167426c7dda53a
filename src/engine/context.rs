//! The context object, `$$` and `$states.context` (developer guide, "Accessing execution data from the Context object").

use super::execution::{Frame, Redrives};
use super::identity::{Identity, Token, task_token, uuid};
use crate::clock;
use crate::json::{Arena, Value};
use crate::program::{Program, StateKind};
use crate::query::{Context, ContextField};

/// `Map.Item` of the context object.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapItem {
    pub(super) index: u32,
    pub(super) value: Value,
    /// `Undefined` if the items are an array.
    pub(super) key: Value,
    /// Where it came from; `Undefined` in an inline Map.
    pub(super) source: Value,
}

/// The content of the context object for one evaluation.
pub(super) struct StateContext<'a> {
    pub(super) identity: &'a Identity,
    pub(super) program: &'a Program,
    pub(super) input: Value,
    /// The context object itself, if the caller supplied one.
    pub(super) whole: Value,
    pub(super) redrives: Redrives,
    pub(super) seed: u64,
    pub(super) secret: u128,
    pub(super) started_ms: u64,
    /// How far displayed times are ahead of those of frames.
    pub(super) ahead_ms: i64,
    pub(super) frame: &'a Frame,
    pub(super) item: Option<&'a MapItem>,
}

impl Context for StateContext<'_> {
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value {
        if !self.whole.is_undefined() {
            return self.made_elsewhere(arena, field);
        }
        self.made_here(arena, field)
    }
}

impl StateContext<'_> {
    fn made_here(&self, arena: &mut Arena, field: ContextField) -> Value {
        use ContextField::*;
        match field {
            Whole => self.object(
                arena,
                &[
                    ("Execution", Execution),
                    ("StateMachine", StateMachine),
                    ("State", State),
                    ("Map", Map),
                    ("Task", Task),
                ],
            ),
            Execution if self.identity.is_standard => self.object(
                arena,
                &[
                    ("Id", ExecutionId),
                    ("Input", ExecutionInput),
                    ("StartTime", ExecutionStartTime),
                    ("Name", ExecutionName),
                    ("RoleArn", ExecutionRoleArn),
                    ("RedriveCount", ExecutionRedriveCount),
                    ("RedriveTime", ExecutionRedriveTime),
                ],
            ),
            Execution => self.object(
                arena,
                &[
                    ("Id", ExecutionId),
                    ("Input", ExecutionInput),
                    ("Name", ExecutionName),
                    ("RoleArn", ExecutionRoleArn),
                    ("StartTime", ExecutionStartTime),
                    ("RedriveCount", ExecutionRedriveCount),
                    ("RedriveTime", ExecutionRedriveTime),
                ],
            ),
            ExecutionId => match &*self.identity.execution_arn {
                "" => arena.string(&self.identity.execution_arn_with(self.seed)),
                arn => arena.string(arn),
            },
            ExecutionInput => self.input,
            ExecutionName => match &*self.identity.execution_name {
                "" => arena.string(&uuid(self.seed)),
                name => arena.string(name),
            },
            ExecutionRoleArn => arena.string(&self.identity.role_arn),
            ExecutionStartTime => arena.string(&clock::format_millis(self.started_ms)),
            ExecutionRedriveCount if self.identity.shows_redrive_count => {
                Value::int(i64::from(self.redrives.count))
            }
            ExecutionRedriveTime if self.redrives.count > 0 => {
                arena.string(&clock::format_millis(self.redrives.last_ms))
            }
            State => self.object(
                arena,
                &[("Name", StateName), ("EnteredTime", StateEnteredTime), ("RetryCount", StateRetryCount)],
            ),
            StateEnteredTime => arena
                .string(&clock::format_millis(self.frame.entered_ms.saturating_add_signed(self.ahead_ms))),
            StateName => {
                self.frame.state.map_or(Value::UNDEFINED, |state| arena.string(self.program.name(state)))
            }
            StateRetryCount if self.can_retry() => Value::int(i64::from(self.frame.retries)),
            StateMachine => self.object(arena, &[("Id", StateMachineId), ("Name", StateMachineName)]),
            StateMachineId => arena.string(&self.identity.state_machine_arn),
            StateMachineName => arena.string(&self.identity.state_machine_name),
            Task if self.has_token() => self.object(arena, &[("Token", TaskToken)]),
            TaskToken if self.has_token() => arena.string(&self.task_token()),
            Map if self.item.is_some() => self.object(arena, &[("Item", MapItem)]),
            MapItem if self.item.is_some() => self.object(
                arena,
                &[
                    ("Index", MapItemIndex),
                    ("Value", MapItemValue),
                    ("Key", MapItemKey),
                    ("Source", MapItemSource),
                ],
            ),
            MapItemIndex => self.item.map_or(Value::UNDEFINED, |item| Value::int(i64::from(item.index))),
            MapItemValue => self.item.map_or(Value::UNDEFINED, |item| item.value),
            MapItemKey => self.item.map_or(Value::UNDEFINED, |item| item.key),
            // Only distributed Maps have it (measured).
            MapItemSource => self.item.map_or(Value::UNDEFINED, |item| item.source),
            _ => Value::UNDEFINED,
        }
    }
}

impl StateContext<'_> {
    /// A part of a supplied context object. Only an item that is being selected is added to it.
    #[cold]
    fn made_elsewhere(&self, arena: &mut Arena, field: ContextField) -> Value {
        use ContextField::*;
        let steps = field.steps();
        if self.item.is_some() && steps.first() == Some(&"Map") {
            return self.made_here(arena, field);
        }
        if self.item.is_some() && field == Whole {
            let map = self.made_here(arena, Map);
            let mark = arena.begin();
            for n in 0..self.whole.len() {
                if let Some((key, value)) = arena.entry(self.whole, n) {
                    arena.push(key);
                    arena.push(value);
                }
            }
            let name = arena.string("Map");
            arena.push(name);
            arena.push(map);
            return arena.end_object(mark);
        }
        let part = |value, &step: &&str| arena.get_str(value, step).unwrap_or(Value::UNDEFINED);
        steps.iter().fold(self.whole, part)
    }

    /// An object of the parts that exist.
    fn object(&self, arena: &mut Arena, parts: &[(&str, ContextField)]) -> Value {
        let mark = arena.begin();
        for &(name, field) in parts {
            let value = self.field(arena, field);
            if !value.is_undefined() {
                let name = arena.string(name);
                arena.push(name);
                arena.push(value);
            }
        }
        arena.end_object(mark)
    }

    fn can_retry(&self) -> bool {
        let kind = self.frame.state.map(|state| self.program.states[state].kind);
        matches!(kind, Some(StateKind::Task(_) | StateKind::Map(_) | StateKind::Parallel(_)))
    }

    fn has_token(&self) -> bool {
        let kind = self.frame.state.map(|state| self.program.states[state].kind);
        matches!(kind, Some(StateKind::Task(task)) if self.program.tasks[task].resource.has_token)
    }

    fn task_token(&self) -> String {
        // The number of the frame is not part of it: visits are counted over the whole execution.
        let token = Token { frame: 0, visit: self.frame.visit };
        format!("{:032x}", task_token(self.secret, self.seed, token))
    }
}
