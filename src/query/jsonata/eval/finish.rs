//! Cleaning of results: no functions, no sequence marks, no numbers JSON does not have.

use super::*;

impl Eval<'_> {
    /// The value for the user.
    pub(super) fn finish(&mut self, value: Value) -> Outcome {
        let value = self.without_bindings(value)?;
        self.check_bytes()?;
        if !self.odd {
            return Ok(marked(value, 0));
        }
        self.clean(value)
    }

    /// Non-finite numbers become text, missing items `null`; functions are refused.
    fn clean(&mut self, value: Value) -> Outcome {
        match value.kind() {
            Kind::Opaque => Err(Failure::new(EvalError {
                kind: EvalErrorKind::UnsupportedResult,
                ..EvalError::bound("unsupported result type".to_owned())
            })),
            Kind::Float if self.arena.as_f64(value).is_some_and(|float| !float.is_finite()) => {
                let text =
                    crate::query::jsonata::number::js_text(self.arena.as_f64(value).unwrap_or(f64::NAN));
                self.string(&text)
            }
            Kind::Array | Kind::Object => self.clean_container(value),
            _ => Ok(value),
        }
    }

    fn clean_container(&mut self, value: Value) -> Outcome {
        self.work(1)?;
        let from = self.arena.begin();
        let mut changed = false;
        for index in 0..value.len() {
            self.work(1)?;
            let (key, child) = match self.arena.entry(value, index) {
                Some((key, child)) => (Some(key), child),
                None => (None, self.item_of(value, index)),
            };
            let mut new = self.nested(|eval| eval.clean(child))?;
            if new.is_undefined() {
                new = Value::NULL;
            }
            changed |= new.kind() != child.kind() || new.block() != child.block();
            if let Some(key) = key {
                self.arena.push(key);
            }
            self.arena.push(new);
        }
        if !changed {
            self.arena.cancel(from);
            return Ok(marked(value, 0));
        }
        if value.is_array() { self.end_array(from, 0) } else { self.end_object(from) }
    }
}
