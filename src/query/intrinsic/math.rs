//! Functions on numbers, and the random ones.

use super::array::whole;
use super::fault::{Detail, INVALID, Outcome};
use crate::json::{Arena, Number, Value};

/// Rounds as Java's `Math.round` does, halves towards positive infinity, and stays within 32 bits.
fn rounded(arena: &Arena, value: Value) -> Result<i64, Detail> {
    let number = match arena.number(value) {
        Some(Number::Int(int)) => int,
        // Adding one half would round up the greatest double below it, and odd numbers beyond 2^52.
        Some(Number::Float(float)) if float.is_finite() => {
            let whole = float.floor();
            whole as i64 + i64::from(float - whole >= 0.5)
        }
        _ => return Err(INVALID),
    };
    within_32_bits(number)
}

fn within_32_bits(number: i64) -> Result<i64, Detail> {
    i32::try_from(number).map(i64::from).map_err(|_| INVALID)
}

pub(super) fn add(arena: &Arena, a: Value, b: Value) -> Outcome {
    within_32_bits(rounded(arena, a)? + rounded(arena, b)?).map(Value::int)
}

/// From `from` up to, but excluding, `to`. AWS truncates the bounds.
pub(super) fn random(
    arena: &Arena,
    from: Value,
    to: Value,
    seed: Option<Value>,
    bits: &mut dyn FnMut() -> u64,
) -> Outcome {
    let (from, to) = (within_32_bits(whole(arena, from)?)?, within_32_bits(whole(arena, to)?)?);
    if from >= to {
        return Err(INVALID);
    }
    let span = (to - from) as u64;
    let offset = match seed {
        Some(seed) => JavaRandom::new(whole(arena, seed)?).below(span),
        None => (u128::from(bits()) * u128::from(span)) >> 64,
    };
    Ok(Value::int(from + offset as i64))
}

/// A random UUID, version 4.
pub(super) fn uuid(arena: &mut Arena, bits: &mut dyn FnMut() -> u64) -> Value {
    let high = bits() & !0xf000 | 0x4000;
    let low = bits() & (u64::MAX >> 2) | 1 << 63;
    let text = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    arena.string(&text)
}

/// The generator of `java.util.Random`: a seed always gives the same number.
struct JavaRandom(u64);

impl JavaRandom {
    fn new(seed: i64) -> JavaRandom {
        JavaRandom((seed as u64 ^ 0x5_DEEC_E66D) & ((1 << 48) - 1))
    }

    fn next(&mut self, bits: u32) -> u64 {
        self.0 = (self.0.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB)) & ((1 << 48) - 1);
        self.0 >> (48 - bits)
    }

    /// As `nextInt(bound)`. Bounds beyond 31 bits, which Java does not have, use more bits.
    fn below(&mut self, bound: u64) -> u128 {
        if bound > i32::MAX as u64 {
            let bits = self.next(32) << 32 | self.next(32);
            return (u128::from(bits) * u128::from(bound)) >> 64;
        }
        if bound.is_power_of_two() {
            return u128::from((bound * self.next(31)) >> 31);
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // The last, incomplete range would favour small values.
            if bits - value + (bound - 1) <= i32::MAX as u64 {
                return u128::from(value);
            }
        }
    }
}
