//! A call on the first line, a document after it. Nothing may panic or hang, and results stay within their limit.

use expressway::fuel::Fuel;
use expressway::json::{Arena, Value, read};
use expressway::limits;
use expressway::query::intrinsic::Call;
use expressway::query::{Context, ContextField, Names, Scope, Slot};

struct Nothing;

impl Names for Nothing {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, document) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(call) = Call::parse(text, &mut Nothing) else { return };
    assert!(!call.to_string().is_empty());
    let mut arena = Arena::new();
    arena.set_bytes_max(256 << 20);
    let Ok(input) = read(&mut arena, document.as_bytes()) else { return };
    let [result, error_output, variables] = [Value::UNDEFINED; 3];
    let scope = Scope { input, result, error_output, variables, context: &Nothing };
    let mut bits = 1u64;
    let mut random = || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bits
    };
    match call.eval(&mut arena, &scope, &mut random, &Fuel::unlimited()) {
        Ok(value) => assert!(arena.size(value) <= limits::INTRINSIC_RESULT_BYTES_MAX),
        Err(fault) => assert!(!fault.message(&call, &mut arena, &scope, &Fuel::unlimited()).is_empty()),
    }
}
