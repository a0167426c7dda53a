//! The test bed of queries: a value in an arena.

#![allow(dead_code, reason = "each bench uses what it needs")]

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Expr, Scratch};
use expressway::query::template::Template;
use expressway::query::{self, Context, ContextField, Names, Scope, Slot};

/// An arena with a text in it.
pub(crate) struct Bed<'t> {
    text: &'t [u8],
    pub(crate) arena: Arena,
    input: Value,
    scratch: Scratch,
}

impl<'t> Bed<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Bed<'t> {
        let mut arena = Arena::new();
        let input = json::read(&mut arena, text).unwrap();
        Bed { text, arena, input, scratch: Scratch::default() }
    }

    /// Results stay in the arena, as they do in an execution; when there are many it begins anew, which costs a call a
    /// fraction of a nanosecond.
    fn renew(&mut self) {
        if self.arena.bytes() > 128 * 1_024 {
            self.arena.clear();
            self.input = json::read(&mut self.arena, self.text).unwrap();
        }
    }

    fn scope(input: Value) -> Scope<'static> {
        Scope {
            input,
            result: Value::UNDEFINED,
            error_output: Value::UNDEFINED,
            variables: Value::UNDEFINED,
            context: &Nothing,
        }
    }

    /// Something with its arena and what an expression may see.
    pub(crate) fn on<T>(&mut self, work: impl FnOnce(&mut Arena, &Scope<'_>) -> T) -> T {
        self.renew();
        work(&mut self.arena, &Bed::scope(self.input))
    }

    /// What an expression gives.
    pub(crate) fn evaluate(&mut self, expression: &Expr) -> Value {
        self.renew();
        let mut env =
            query::Env { now_ms: 0, random: &mut || 0, scratch: &mut self.scratch, fuel: &Fuel::unlimited() };
        expression.eval(&mut self.arena, &Bed::scope(self.input), &mut env.jsonata()).unwrap()
    }

    /// What a template gives.
    pub(crate) fn make(&mut self, template: &Template) -> Value {
        self.renew();
        let mut random = || 0;
        let mut env = query::Env {
            now_ms: 0,
            random: &mut random,
            scratch: &mut self.scratch,
            fuel: &Fuel::unlimited(),
        };
        template.eval(&mut self.arena, &Bed::scope(self.input), &mut env).unwrap()
    }
}

/// An empty context object.
struct Nothing;

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

/// No variables.
pub(crate) struct NoNames;

impl Names for NoNames {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}
