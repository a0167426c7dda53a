//! The context object, `$$` and `$states.context` (developer guide, "Accessing execution data from the Context object").

use super::execution::{Frame, Identity};
use crate::clock;
use crate::json::{Arena, Value};
use crate::program::{Program, StateKind};
use crate::query::{Context, ContextField};

/// What the context object of one evaluation shows.
pub(super) struct StateContext<'a> {
    pub(super) identity: &'a Identity,
    pub(super) program: &'a Program,
    pub(super) input: Value,
    pub(super) seed: u64,
    pub(super) started_ms: u64,
    pub(super) frame: &'a Frame,
    pub(super) item: Option<(u32, Value, Value)>,
}

impl Context for StateContext<'_> {
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value {
        use ContextField::*;
        match field {
            Whole => self.object(
                arena,
                &[
                    ("Execution", Execution),
                    ("State", State),
                    ("StateMachine", StateMachine),
                    ("Map", Map),
                    ("Task", Task),
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
                ],
            ),
            ExecutionId => match &*self.identity.execution_arn {
                "" => arena.string(&self.execution_arn()),
                arn => arena.string(arn),
            },
            ExecutionInput => self.input,
            ExecutionName => match &*self.identity.execution_name {
                "" => arena.string(&uuid(self.seed)),
                name => arena.string(name),
            },
            ExecutionRoleArn => arena.string(&self.identity.role_arn),
            ExecutionStartTime => arena.string(&clock::format_millis(self.started_ms)),
            ExecutionRedriveCount if self.identity.shows_redrive_count => Value::int(0),
            State => self.object(
                arena,
                &[("EnteredTime", StateEnteredTime), ("Name", StateName), ("RetryCount", StateRetryCount)],
            ),
            StateEnteredTime => arena.string(&clock::format_millis(self.frame.entered_ms)),
            StateName => {
                self.frame.state.map_or(Value::UNDEFINED, |state| arena.string(self.program.name(state)))
            }
            StateRetryCount if self.can_retry() => Value::int(i64::from(self.frame.retries)),
            StateMachine => self.object(arena, &[("Id", StateMachineId), ("Name", StateMachineName)]),
            StateMachineId => arena.string(&self.identity.state_machine_arn),
            StateMachineName => arena.string(&self.identity.state_machine_name),
            Task if self.waits_for_token() => self.object(arena, &[("Token", TaskToken)]),
            TaskToken if self.waits_for_token() => arena.string(&self.task_token()),
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
            MapItemIndex => self.item.map_or(Value::UNDEFINED, |(index, _, _)| Value::int(i64::from(index))),
            MapItemValue => self.item.map_or(Value::UNDEFINED, |(_, value, _)| value),
            MapItemKey => self.item.map_or(Value::UNDEFINED, |(_, _, key)| key),
            MapItemSource if self.item.is_some() => arena.string("STATE_DATA"),
            _ => Value::UNDEFINED,
        }
    }
}

impl StateContext<'_> {
    /// An object of those parts that are there.
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

    fn waits_for_token(&self) -> bool {
        let kind = self.frame.state.map(|state| self.program.states[state].kind);
        matches!(kind, Some(StateKind::Task(task)) if self.program.tasks[task].resource.waits_for_token)
    }

    /// The machine's ARN with its resource type changed, the name, and for Express a part of its own.
    fn execution_arn(&self) -> String {
        let machine = self.identity.state_machine_arn.replacen(":stateMachine:", ":express:", 1);
        let name = match &*self.identity.execution_name {
            "" => uuid(self.seed),
            name => name.to_owned(),
        };
        format!("{machine}:{name}:{}", uuid(!self.seed))
    }

    fn task_token(&self) -> String {
        uuid(self.seed.rotate_left(17) ^ u64::from(self.frame.visit))
    }
}

/// A UUID (version 4 in form) that follows from a number.
pub(super) fn uuid(seed: u64) -> String {
    let mix = |n: u64| {
        let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let (high, low) = (mix(1), mix(2));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        (low >> 48) & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}
