//! Evaluation of calls. Arguments are pushed onto the arena's stack; the depth of recursion is that of the calls.

use super::call::Call;
use super::fault::{Detail, Fault, FaultKind, INVALID, Outcome, TOO_LARGE};
use super::program::{Function, Node, NodeId};
use super::{array, math, text};
use crate::fuel::Fuel;
use crate::json::{Arena, Kind, Number, Value};
use crate::limits;
use crate::query::Scope;

pub(super) struct Evaluation<'e> {
    pub(super) call: &'e Call,
    pub(super) arena: &'e mut Arena,
    pub(super) scope: &'e Scope<'e>,
    pub(super) random: &'e mut dyn FnMut() -> u64,
    pub(super) fuel: &'e Fuel<'e>,
}

/// Work of a call beside that of its arguments.
const CALL: u64 = 100;
/// Work for a byte of an argument.
const BYTE: u64 = 5;

/// The message of `States.JsonToString` has more details.
const ONE_ARGUMENT: Detail = Detail::Arguments("only a single argument is allowed.");

impl Evaluation<'_> {
    pub(super) fn run(&mut self) -> Result<Value, Fault> {
        self.node(NodeId(self.call.nodes.len() as u32 - 1))
    }

    fn node(&mut self, id: NodeId) -> Result<Value, Fault> {
        let call = self.call;
        match &call.nodes[id.0 as usize] {
            Node::Constant(value) => Ok(*value),
            Node::Text(text) => Ok(self.arena.string(text)),
            Node::Template(_) => Ok(Value::UNDEFINED),
            Node::Path(path) => path.find(self.arena, self.scope, self.fuel).map_err(|fault| {
                let kind = FaultKind::Path { fault, path: id };
                Fault { kind }
            }),
            Node::Call { function, from, to, .. } => {
                let mark = self.arena.begin();
                let (mut bytes, mut infinite) = (0u64, false);
                for argument in from.0..to.0 {
                    match self.node(NodeId(argument)) {
                        Ok(value) => {
                            bytes = bytes.saturating_add(self.arena.bulk(value));
                            infinite |= value.kind() == Kind::Float && is_infinite(self.arena, value);
                            self.arena.push(value);
                        }
                        Err(fault) => {
                            self.arena.cancel(mark);
                            return Err(fault);
                        }
                    }
                }
                let count = (to.0 - from.0) as usize;
                let outcome = match *function {
                    _ if !self.charged(bytes) => Err(INVALID),
                    Function::JsonToString if count != 1 => Err(ONE_ARGUMENT),
                    _ if !function.takes(count) => Err(INVALID),
                    // A number beyond doubles is parsed, but invalid for every function.
                    _ if infinite => Err(INVALID),
                    Function::UUID => Ok(math::uuid(self.arena, self.random)),
                    // Closes the pushed arguments themselves.
                    Function::Array => Ok(self.arena.end_array(mark)),
                    Function::Format => text::format(self.arena, mark, call.nodes.get(from.0 as usize)),
                    function => {
                        let mut arguments = [Value::UNDEFINED; 3];
                        arguments[..count].copy_from_slice(self.arena.pushed(mark));
                        self.apply(function, arguments, count)
                    }
                };
                self.arena.cancel(mark);
                self.checked(*function, outcome)
            }
        }
    }

    /// Charges a call for its arguments; false when the work was cut. Results that are too large are refused before
    /// they are written, or charged piece by piece.
    #[inline]
    fn charged(&self, bytes: u64) -> bool {
        let bytes = bytes.min(u64::from(limits::INTRINSIC_RESULT_BYTES_MAX));
        self.fuel.charge(CALL + BYTE * bytes).is_ok()
    }

    fn checked(&self, function: Function, outcome: Outcome) -> Result<Value, Fault> {
        let outcome = match outcome {
            Ok(_) if self.arena.overflowed() => Err(TOO_LARGE),
            Ok(value) if self.arena.size(value) > limits::INTRINSIC_RESULT_BYTES_MAX => Err(TOO_LARGE),
            outcome => outcome,
        };
        outcome.map_err(|detail| Fault { kind: FaultKind::Invalid { function, detail } })
    }

    fn apply(&mut self, function: Function, [a, b, c]: [Value; 3], count: usize) -> Outcome {
        let arena = &mut *self.arena;
        match function {
            Function::ArrayContains => array::contains(arena, a, b, self.fuel),
            Function::ArrayGetItem => array::get_item(arena, a, b),
            Function::ArrayLength => array::length(a),
            Function::ArrayPartition => array::partition(arena, a, b, self.fuel),
            Function::ArrayRange => array::range(arena, a, b, c),
            Function::ArrayUnique => array::unique(arena, a, self.fuel),
            Function::Base64Decode => text::base64_decode(arena, a),
            Function::Base64Encode => text::base64_encode(arena, a),
            Function::Hash => text::hash(arena, a, b),
            Function::JsonMerge => text::json_merge(arena, a, b, c),
            Function::JsonToString => text::json_to_string(arena, a),
            Function::StringSplit => text::string_split(arena, a, b),
            Function::StringToJson => text::string_to_json(arena, a),
            Function::MathAdd => math::add(arena, a, b),
            Function::MathRandom => math::random(arena, a, b, (count == 3).then_some(c), self.random),
            Function::Array | Function::Format | Function::UUID => {
                unreachable!("they take any number of arguments")
            }
        }
    }
}

#[cold]
fn is_infinite(arena: &Arena, value: Value) -> bool {
    matches!(arena.number(value), Some(Number::Float(float)) if float.is_infinite())
}
