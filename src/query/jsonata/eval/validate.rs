//! Validation of arguments against signatures.

use super::*;
use crate::json::Mark;
use crate::query::jsonata::syntax::{ParamKind, Signature, kinds};

/// The most arguments of a call, with the one `~>` adds.
const ARGUMENTS_MAX: usize = 127;

impl Eval<'_> {
    pub(in crate::query::jsonata) fn kinds_of(&self, value: Value) -> u8 {
        match value.kind() {
            Kind::Undefined | Kind::Header => kinds::MISSING,
            Kind::Null => kinds::NULL,
            Kind::Bool => kinds::BOOL,
            Kind::Int | Kind::Decimal | Kind::Float => kinds::NUMBER,
            Kind::String => kinds::STRING,
            Kind::Array => kinds::ARRAY,
            Kind::Object => kinds::OBJECT,
            Kind::Opaque => kinds::FUNCTION,
        }
    }

    /// The validated arguments of a built-in function.
    pub(super) fn validated(&mut self, builtin: Builtin, from: Mark, context: Value) -> Outcome<Args> {
        let signature = builtin.signature();
        self.validate(signature, from, context)?;
        let mut args = [Value::UNDEFINED; 4];
        for (arg, &value) in args.iter_mut().zip(self.arena.pushed(from)) {
            *arg = value;
        }
        Ok(args)
    }

    /// Checks the arguments on the stack, and inserts the context and wraps arrays as the signature requires.
    pub(super) fn validate(&mut self, signature: &Signature, from: Mark, context: Value) -> Outcome<()> {
        let params = signature.params();
        let given = self.arena.pushed(from).len();
        // Nearly every call matches parameter by parameter.
        let fits = given <= params.len()
            && params.iter().enumerate().all(|(index, param)| {
                if index < given {
                    !param.many && param.kinds & self.kinds_of(self.arena.pushed(from)[index]) != 0
                } else {
                    param.optional
                }
            });
        if fits {
            return self.complete(params, from, context, given);
        }
        let taken = self.arrange(params, from)?;
        self.rearrange(params, &taken, from, context)
    }

    /// How many arguments each parameter takes if they do not simply follow each other: as many as possible.
    fn arrange(&mut self, params: &[ParamKind], from: Mark) -> Outcome<[u8; Signature::PARAMS_MAX]> {
        let given = self.arena.pushed(from).len().min(ARGUMENTS_MAX);
        let mut letters = [0u8; ARGUMENTS_MAX];
        for (letter, &value) in letters.iter_mut().zip(self.arena.pushed(from)) {
            *letter = self.kinds_of(value);
        }
        // `reach[p]` has bit `a` when parameters `p..` can take exactly the arguments `a..`.
        let mut reach = [0u128; Signature::PARAMS_MAX + 1];
        reach[params.len()] = 1 << given;
        for (p, param) in params.iter().enumerate().rev() {
            for a in (0..=given).rev() {
                let takes = a < given && param.kinds & letters[a] != 0;
                let goes_on = takes && reach[p + 1] >> (a + 1) & 1 == 1;
                let repeats = takes && param.many && reach[p] >> (a + 1) & 1 == 1;
                let skips = param.optional && reach[p + 1] >> a & 1 == 1;
                reach[p] |= u128::from(goes_on || repeats || skips) << a;
            }
        }
        if reach[0] & 1 == 0 {
            return Err(self.mismatch(params, &letters[..given]));
        }
        let (mut taken, mut at) = ([0; Signature::PARAMS_MAX], 0);
        for (p, param) in params.iter().enumerate() {
            while at < given
                && param.kinds & letters[at] != 0
                && (taken[p] == 0 || param.many)
                && (reach[p + 1] >> (at + 1) & 1 == 1 || (param.many && reach[p] >> (at + 1) & 1 == 1))
            {
                taken[p] += 1;
                at += 1;
            }
        }
        Ok(taken)
    }

    /// Builds the arguments like the reference, including that an omitted parameter uses up an argument.
    fn rearrange(
        &mut self,
        params: &[ParamKind],
        taken: &[u8; Signature::PARAMS_MAX],
        from: Mark,
        context: Value,
    ) -> Outcome<()> {
        let given = self.arena.pushed(from).len();
        let mut at = 0;
        for (param, &taken) in params.iter().zip(taken) {
            let argument = |eval: &Self, at: usize| {
                if at < given { eval.arena.pushed(from)[at] } else { Value::UNDEFINED }
            };
            let first = argument(self, at);
            if taken == 0 {
                let value = if param.context { self.context_argument(param, context, at)? } else { first };
                self.arena.push(value);
                at += usize::from(!param.context);
                continue;
            }
            for _ in 0..taken {
                let mut value = first;
                if param.array {
                    value = argument(self, at);
                    if !value.is_undefined() {
                        value = self.as_array_argument(param, value, at)?;
                    }
                }
                self.arena.push(value);
                at += 1;
            }
        }
        let end = self.arena.pushed(from).len();
        self.move_down(from, given, end);
        Ok(())
    }

    /// The context in place of an argument.
    fn context_argument(&self, param: &ParamKind, context: Value, at: usize) -> Outcome {
        let context = if context.marks() & mark::OUTER != 0 { self.item_of(context, 0) } else { context };
        if param.kinds & self.kinds_of(context) != 0 {
            return Ok(context);
        }
        let message =
            format!("Context value is not a compatible type with argument {} of function \"\u{0}\"", at + 1);
        Err(Failure::new(EvalError::new("T0411", message)))
    }

    /// The first argument that matches no parameter.
    #[cold]
    fn mismatch(&self, params: &[ParamKind], letters: &[u8]) -> Failure {
        let mut good = 0;
        for end in 1..=params.len() {
            match longest_prefix(&params[..end], letters) {
                Some(length) => good = length,
                None => break,
            }
        }
        let message =
            format!("Argument {} of function \"\u{0}\" does not match function signature", good + 1);
        Failure::new(EvalError::new("T0410", message))
    }

    fn complete(&mut self, params: &[ParamKind], from: Mark, context: Value, given: usize) -> Outcome<()> {
        for (index, param) in params.iter().enumerate() {
            if index >= given {
                let value = if param.context {
                    self.context_argument(param, context, given)?
                } else {
                    Value::UNDEFINED
                };
                self.set_argument(from, index, value);
                continue;
            }
            let value = self.arena.pushed(from)[index];
            if param.array && !value.is_undefined() {
                let array = self.as_array_argument(param, value, index)?;
                self.set_argument(from, index, array);
            }
        }
        Ok(())
    }

    fn set_argument(&mut self, from: Mark, index: usize, value: Value) {
        while self.arena.pushed(from).len() <= index {
            self.arena.push(Value::UNDEFINED);
        }
        self.arena.pushed_mut(from)[index] = value;
    }

    fn as_array_argument(&mut self, param: &ParamKind, value: Value, index: usize) -> Outcome {
        if param.element != 0 {
            let wanted = kinds::of(param.element);
            let fits = if value.is_array() {
                self.charge(2 * value.len() as u64)?;
                let items = self.arena.items(value);
                items.iter().all(|&item| self.kinds_of(item) == wanted)
            } else {
                self.kinds_of(value) == wanted
            };
            if !fits {
                let of = match param.element {
                    b'a' => "arrays",
                    b'b' => "booleans",
                    b'f' => "functions",
                    b'n' => "numbers",
                    b'o' => "objects",
                    _ => "strings",
                };
                let message =
                    format!("Argument {} of function \"\u{0}\" must be an array of \"{of}\"", index + 1);
                return Err(Failure::new(EvalError::new("T0412", message)));
            }
        }
        if value.is_array() {
            return Ok(value);
        }
        let from = self.arena.begin();
        self.arena.push(value);
        self.end_array(from, 0)
    }
}

/// The most arguments that exactly these parameters can take from the beginning, as a greedy regular expression
/// would; `None` when they cannot.
fn longest_prefix(params: &[ParamKind], letters: &[u8]) -> Option<usize> {
    let mut reach: u128 = 1;
    for param in params {
        let mut next: u128 = if param.optional { reach } else { 0 };
        for (a, &letter) in letters.iter().enumerate() {
            let from = reach >> a & 1 == 1 || (param.many && next >> a & 1 == 1 && a > 0);
            if from && param.kinds & letter != 0 {
                next |= 1 << (a + 1);
            }
        }
        reach = next;
    }
    (reach != 0).then(|| 127 - reach.leading_zeros() as usize)
}
