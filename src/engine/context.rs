//! The context object, `$$` and `$states.context` (developer guide, "Accessing execution data from the Context object").

use sha2::{Digest, Sha256};

use super::execution::{Frame, Identity, Token};
use super::redrive::Redrives;
use super::run::MapItem;
use crate::clock;
use crate::json::{Arena, Value};
use crate::program::{Program, StateKind};
use crate::query::{Context, ContextField};

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
                "" => arena.string(&execution_arn(self.identity, self.seed)),
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

/// The token of a visit: a hash, because one token, or the execution's ARN, must not give away another.
pub(super) fn task_token(secret: u128, seed: u64, token: Token) -> u128 {
    let mut hash = Sha256::new();
    hash.update(b"task token");
    hash.update(secret.to_le_bytes());
    hash.update(seed.to_le_bytes());
    hash.update(token.visit.to_le_bytes());
    let hash = hash.finalize();
    hash.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// The execution's own ARN; else the machine's ARN with its resource type changed, the name, and for Express a unique
/// suffix.
pub(super) fn execution_arn(identity: &Identity, seed: u64) -> String {
    let mut arn = Vec::new();
    write_execution_arn(identity, seed, &mut arn);
    String::from_utf8(arn).expect("it is made of texts")
}

/// Appends the ARN of the execution.
pub(super) fn write_execution_arn(identity: &Identity, seed: u64, out: &mut Vec<u8>) {
    if !identity.execution_arn.is_empty() {
        return out.extend_from_slice(identity.execution_arn.as_bytes());
    }
    let machine = &*identity.state_machine_arn;
    let kind = if identity.is_standard { ":execution:" } else { ":express:" };
    const MACHINE: &str = ":stateMachine:";
    // Usually it ends with the name; if not, the part behind `arn:<partition>:states:<region>:<account>` is known.
    let name = &*identity.state_machine_name;
    let parts = match machine.strip_suffix(name).and_then(|before| before.strip_suffix(MACHINE)) {
        Some(before) => Some((before, name)),
        None => {
            let at = memchr::memchr_iter(b':', machine.as_bytes()).nth(4).unwrap_or_default();
            machine[at..].strip_prefix(MACHINE).map(|after| (&machine[..at], after))
        }
    };
    match parts {
        Some((before, after)) => {
            [before, kind, after].iter().for_each(|part| out.extend_from_slice(part.as_bytes()))
        }
        None => out.extend_from_slice(machine.as_bytes()),
    }
    out.push(b':');
    identity.write_execution_name(seed, out);
    if !identity.is_standard {
        out.push(b':');
        out.extend_from_slice(&uuid_text(!seed));
    }
}

/// A UUID (version 4 in form) derived from a number.
pub(crate) fn uuid(seed: u64) -> String {
    String::from_utf8(uuid_text(seed).to_vec()).expect("it is ASCII")
}

/// The text of [`uuid`].
pub(super) fn uuid_text(seed: u64) -> [u8; 36] {
    let mix = |n: u64| {
        let mut z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    crate::uuid::text(mix(1), mix(2))
}
