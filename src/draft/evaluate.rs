//! Evaluates one expression of a draft, over the values of a run at its place.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::fuel::{self, Cut, Fuel, Refill};
use crate::json::{self, Arena, Key, Value};
use crate::query::intrinsic::Call;
use crate::query::jsonata::{Allowed, Expr, Profile, Scratch};
use crate::query::path::Path;
use crate::query::{Context, ContextField, Env, Names, Scope, Slot};

/// Bytes of a value that are returned.
const VALUE_BYTES_MAX: u32 = 64 << 10;

/// An expression, and its data: JSON texts, `None` for missing ones.
#[derive(Clone, Debug)]
pub struct Expression<'a> {
    /// JSONata without the `{%` and `%}` around it; in JSONPath a path, or an intrinsic function.
    pub source: &'a str,
    /// Whether it is JSONata.
    pub jsonata: bool,
    /// `$states.input`, or what `$` means in JSONPath.
    pub input: Option<&'a str>,
    /// `$states.result`.
    pub result: Option<&'a str>,
    /// `$states.errorOutput`.
    pub error_output: Option<&'a str>,
    /// The known part of the context object.
    pub context: &'a str,
    /// Variables: names and values.
    pub variables: &'a [(String, String)],
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// How much real time it may take.
    pub within: Duration,
}

/// Evaluates an expression. `value` is its value as JSON text, or `problem` says why it has no value. Random values
/// differ from those in a run.
pub fn evaluate(asked: &Expression<'_>) -> Json {
    match value_of(asked) {
        Ok(text) => json!({"value": text}),
        Err(why) => json!({"problem": why}),
    }
}

fn value_of(asked: &Expression<'_>) -> Result<String, String> {
    let mut arena = Arena::new();
    let mut read = |name: &str, text: Option<&str>| match text {
        None => Ok(Value::UNDEFINED),
        Some(text) => json::read(&mut arena, text.as_bytes())
            .map_err(|error| format!("The {name} cannot be read: {error}")),
    };
    let input = read("input", asked.input)?;
    let result = read("result", asked.result)?;
    let error_output = read("error output", asked.error_output)?;
    let known =
        KnownContext { whole: read("context object", Some(asked.context))?, missing: Cell::new(None) };
    let mut values = Vec::with_capacity(asked.variables.len());
    for (name, text) in asked.variables {
        values.push(read(&format!("variable `{name}`"), Some(text))?);
    }
    let variables = arena.array(&values);
    let scope = Scope { input, result, error_output, variables, context: &known };
    let clock = Within { until: Instant::now() + asked.within };
    let fuel = Fuel::new(fuel::SLICE, &clock);
    let found = eval(asked, &mut arena, &scope, &fuel);
    if fuel.cut().is_some() {
        return Err("The evaluation takes too long to be shown here".to_owned());
    }
    if let Some(field) = known.missing.get() {
        let name = field.steps().join(".");
        return Err(format!(
            "It reads `{name}` of the context object, which is known while an execution runs only"
        ));
    }
    let value = found?;
    if value.is_undefined() {
        return Err("There is no value".to_owned());
    }
    match arena.size(value) {
        bytes if bytes > VALUE_BYTES_MAX => {
            Err(format!("The value has {bytes} bytes, too many to be shown here"))
        }
        _ => Ok(json::to_string(&arena, value)),
    }
}

fn eval(
    asked: &Expression<'_>,
    arena: &mut Arena,
    scope: &Scope<'_>,
    fuel: &Fuel<'_>,
) -> Result<Value, String> {
    let names = &mut Assigned(asked.variables);
    let source = asked.source.trim();
    let mut random = || 0x9e37_79b9_7f4a_7c15;
    if asked.jsonata {
        let allowed = Allowed { result: true, error_output: true, no_token: false };
        let expr =
            Expr::compile(source, names, Profile::StepFunctions(allowed)).map_err(|it| it.to_string())?;
        let mut scratch = Scratch::default();
        let mut env = Env { now_ms: asked.now_ms, random: &mut random, scratch: &mut scratch, fuel };
        return expr.eval(arena, scope, &mut env.jsonata()).map_err(|error| error.to_string());
    }
    if source.starts_with('$') {
        let path = Path::parse(source, names).map_err(|error| error.to_string())?;
        return path.eval(arena, scope, fuel).map_err(|fault| fault.message(&path, arena, scope, fuel));
    }
    let call = Call::parse(source, names).map_err(|error| error.to_string())?;
    call.eval(arena, scope, &mut random, fuel).map_err(|fault| fault.message(&call, arena, scope, fuel))
}

/// Variables by index.
struct Assigned<'a>(&'a [(String, String)]);

impl Names for Assigned<'_> {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        // The last one of a name has the latest value.
        self.0.iter().rposition(|(known, _)| known == name).map(|at| Slot(at as u32))
    }
}

/// The known part of the context object, and the requests for the rest.
struct KnownContext {
    whole: Value,
    missing: Cell<Option<ContextField>>,
}

impl Context for KnownContext {
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value {
        let value = field.steps().iter().fold(self.whole, |value, name| arena.member(value, &Key::new(name)));
        if value.is_undefined() {
            self.missing.set(Some(field));
        }
        value
    }
}

/// Cuts an evaluation when its time is over.
struct Within {
    until: Instant,
}

impl Refill for Within {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        if Instant::now() >= self.until { Err(Cut::Deadline) } else { Ok(fuel::SLICE) }
    }
}
