//! An execution that is written down and read again after any turn, and whose timers and tasks are derived anew then,
//! has the same future as one that was not: the same events, tokens and outcome. On random machines.

use std::collections::BTreeMap;

use expressway::engine::{
    self, Effect, Event, EventMask, Execution, SnapshotError, Start, TimerKind, Token, Turn,
};
use expressway::fault::Fault;
use expressway::fuel::Fuel;
use expressway::json::{self, Compactor};
use expressway::observe::History;
use expressway::program::Program;
use expressway::query::jsonata::Scratch;
use expressway::{asl, compile};

use crate::random_machines::{Builder, data};
use crate::required::some_of;
use crate::trial::Chance;

const BEGIN_MS: u64 = 1_704_067_200_000;
/// Some machines never end.
const TURNS_MAX: usize = 200;

/// What is to happen, by time and token: the order does not depend on when it was asked for.
type Agenda = BTreeMap<(u64, u64, u8), Due>;

#[derive(Clone, Debug)]
enum Due {
    Timer(TimerKind),
    Answer(Result<String, Fault>),
}

/// The result of a task with this token, and its delay, if it ends.
fn answer(token: Token, seed: u64, result: &str) -> Option<(u64, Due)> {
    let mut chance = Chance(token.to_bits() ^ seed);
    let after_ms = match chance.below(6) {
        0 => return None,
        1 | 2 => chance.below(3_000) as u64,
        _ => 0,
    };
    let failed = || Fault { error: Some("Boom".into()), cause: Some("by chance".to_owned()) };
    let answer = if chance.one_in(5) { Err(failed()) } else { Ok(result.to_owned()) };
    Some((after_ms, Due::Answer(answer)))
}

fn plan(agenda: &mut Agenda, effects: &mut Vec<Effect>, now_ms: u64, seed: u64, result: &str) {
    for effect in effects.drain(..) {
        match effect {
            Effect::Timer { token, kind, at_ms } => {
                agenda.retain(|&(_, of, n), _| (of, n) != (token.to_bits(), kind as u8));
                agenda.insert((at_ms.max(now_ms), token.to_bits(), kind as u8), Due::Timer(kind));
            }
            Effect::Cancel(token) => agenda.retain(|&(_, of, _), _| of != token.to_bits()),
            Effect::Task(call) => {
                // One that is asked for a second time is under way already.
                let is_known = agenda.keys().any(|&(_, of, n)| (of, n) == (call.token.to_bits(), 9));
                if let Some((after_ms, due)) = answer(call.token, seed, result).filter(|_| !is_known) {
                    agenda.insert((now_ms + after_ms, call.token.to_bits(), 9), due);
                }
            }
        }
    }
}

/// The snapshots in a journal: each as a delta to the one before.
#[cfg(feature = "durable")]
#[derive(Default)]
struct Records {
    encoder: expressway::journal::delta::Encoder,
    last: Vec<u8>,
    rebuilt: Vec<u8>,
}

#[cfg(feature = "durable")]
impl Records {
    fn follow(&mut self, snapshot: &[u8], place: &str) {
        let mut delta = Vec::new();
        self.encoder.encode(&self.last, snapshot, &mut delta);
        assert!(delta.len() <= snapshot.len() + 16, "{place}: a delta is larger than what it is told by");
        let mut next = Vec::new();
        let read = expressway::journal::delta::decode(&self.rebuilt, &delta, 1 << 30, &mut next);
        assert!(read.is_some() && next == snapshot, "{place}: records come to another state");
        (self.last, self.rebuilt) = (snapshot.to_vec(), next);
    }
}

/// The events, one by one, and their result.
fn play(program: &Program, seed: u64, input: &str, result: &str, is_restored: bool) -> Vec<String> {
    let fingerprint = program.fingerprint();
    let (mut effects, mut compactor, mut scratch) = (Vec::new(), Compactor::default(), Scratch::default());
    let mut history = History::new(16 << 20);
    let mut execution = Execution::new();
    // Memory that another execution used before.
    for _ in 0..2 {
        execution.reset();
        let input = json::read(&mut execution.arena, input.as_bytes()).expect("the input is JSON");
        let start = Start { seed, now_ms: BEGIN_MS, secret: 7, ..Start::default() };
        execution.begin(program, &start, input);
        if !is_restored {
            break;
        }
    }
    #[cfg(feature = "durable")]
    let mut records = Records::default();
    let mut agenda = Agenda::new();
    let (mut now_ms, mut event, mut told) = (BEGIN_MS, Event::Go, Vec::new());
    for turn in 0..TURNS_MAX {
        let fuel = Fuel::unlimited();
        let mut env = engine::Env {
            ahead_ms: 0,
            now_ms,
            transitions_max: 1 + (seed % 3) as u32,
            is_last_state: false,
            fuel: &fuel,
            effects: &mut effects,
            listener: Some(&mut history),
            event_mask: EventMask::STATES,
            event_buffer: None,
            compactor: &mut compactor,
            scratch: &mut scratch,
            random: None,
            activities: None,
        };
        let went = engine::advance(program, &mut execution, event, &mut env);
        plan(&mut agenda, &mut effects, now_ms, seed, result);
        if went == Turn::Done {
            let outcome = match execution.outcome() {
                Some(engine::Outcome::Succeeded(output)) => json::to_string(&execution.arena, *output),
                other => format!("{other:?}"),
            };
            told.push(format!("turn {turn}: {outcome}"));
            break;
        }
        if is_restored {
            let mut snapshot = Vec::new();
            execution.snapshot(fingerprint, &mut snapshot).expect("nothing is nested deeply");
            #[cfg(feature = "durable")]
            records.follow(&snapshot, &format!("seed {seed}, turn {turn}"));
            execution = Execution::new();
            execution.restore(&snapshot, fingerprint).expect("it was written just now");
            // Only what runs outside outlives the process.
            agenda.retain(|_, due| matches!(due, Due::Answer(_)));
            execution.pending(program, &mut effects);
            plan(&mut agenda, &mut effects, now_ms, seed, result);
            let mut again = Vec::new();
            execution.snapshot(fingerprint, &mut again).expect("it was written before");
            assert!(snapshot == again, "seed {seed}, turn {turn}: what was read is written otherwise");
        }
        event = match went {
            Turn::Yielded => Event::Go,
            _ => {
                let Some(((at_ms, token, _), due)) = agenda.pop_first() else { break };
                now_ms = now_ms.max(at_ms);
                let token = Token::from_bits(token);
                told.push(format!("{now_ms}: {token:?} {:032x} {due:?}", execution.task_token(token)));
                match due {
                    Due::Timer(kind) => Event::Timer(token, kind),
                    Due::Answer(Err(fault)) => Event::TaskFailed(token, fault),
                    Due::Answer(Ok(text)) => {
                        let output = json::read(&mut execution.arena, text.as_bytes());
                        Event::TaskSucceeded(token, output.expect("results are JSON"))
                    }
                }
            }
        };
    }
    told.extend(history.events().map(|event| format!("{event:?}")));
    told
}

#[test]
fn whatever_turn_it_is_restored_after_the_future_is_the_same() {
    let (mut compared, mut longest) = (0, 0);
    for seed in 0..some_of(1_500, 3) {
        let mut chance = Chance(seed);
        let machine = Builder { chance: &mut chance, names: 0, depth: 0 }.workflow().to_string();
        let (definition, _) = asl::read(machine.as_bytes(), &asl::Options::default());
        let Some(definition) = definition else { continue };
        let program = compile::compile(&definition).expect("what is accepted is compiled");
        let (input, result) = (data(&mut chance, 0).to_string(), data(&mut chance, 0).to_string());
        let alone = play(&program, seed, &input, &result, false);
        let restored = play(&program, seed, &input, &result, true);
        for (n, (one, other)) in alone.iter().zip(&restored).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {n}\n{machine}");
        }
        assert_eq!(alone.len(), restored.len(), "seed {seed}\n{machine}");
        compared += 1;
        longest = longest.max(alone.len());
    }
    assert!(
        compared >= some_of(1_500, 3) / 4 * 3 && longest > 100,
        "{compared} compared, the longest tells {longest} lines"
    );
}

#[test]
fn what_is_no_snapshot_of_the_program_is_refused() {
    let machine = |name: &str| {
        let text = format!(
            r#"{{"StartAt": "{name}", "States": {{"{name}": {{"Type": "Wait", "Seconds": 1, "End": true}}}}}}"#
        );
        let (definition, _) = asl::read(text.as_bytes(), &asl::Options::default());
        compile::compile(&definition.expect("it is valid")).expect("it compiles")
    };
    let (program, other) = (machine("A"), machine("B"));
    let mut execution = Execution::new();
    execution.reset();
    let input = json::read(&mut execution.arena, br#"{"a": [1, 2.50, "x"]}"#).expect("it is JSON");
    execution.begin(&program, &Start::default(), input);
    let mut snapshot = Vec::new();
    execution.snapshot(program.fingerprint(), &mut snapshot).expect("it is shallow");
    let mut read = Execution::new();
    assert_eq!(read.restore(&snapshot, other.fingerprint()), Err(SnapshotError::Program));
    for bytes in 0..snapshot.len() {
        assert!(read.restore(&snapshot[..bytes], program.fingerprint()).is_err(), "cut at {bytes}");
    }
    let mut newer = snapshot.clone();
    newer[0] += 2;
    assert_eq!(read.restore(&newer, program.fingerprint()), Err(SnapshotError::Version(newer[0])));
    assert_eq!(read.restore(&snapshot, program.fingerprint()), Ok(()));
    // Bytes that were damaged are refused or read, but nothing panics.
    for at in 0..snapshot.len() {
        for bit in 0..8 {
            let mut damaged = snapshot.clone();
            damaged[at] ^= 1 << bit;
            let _ = read.restore(&damaged, program.fingerprint());
        }
    }
}
