//! After warm-up an evaluation allocates nothing, unless it uses regular expressions or defines functions.
//!
//! A separate test binary: its allocator counts.

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Allowed, Env, Expr, Limits, Profile, Scratch};
use expressway::query::{Context, ContextField, Names, Scope, Slot};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// The one place where the tests need it: an allocator is an unsafe trait.
#[allow(unsafe_code)]
// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

impl Names for Nothing {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

const DOCUMENT: &[u8] = br#"{"order":{"id":"o-1","customer":{"name":"Ada"}},"items":[
    {"sku":"a","price":2.5,"qty":4},{"sku":"b","price":10,"qty":1},{"sku":"a","price":0.25,"qty":8}]}"#;

#[test]
fn none_after_warm_up() {
    let sources = [
        "$states.input.order.customer.name",
        "$states.input.items.price",
        "$states.input.items[price > 1].{'sku': sku, 'total': price * qty}",
        "$sum($states.input.items.(price * qty))",
        "$states.input.items{sku: $sum(qty)}",
        "$states.input.items^(>price).sku",
        "$states.input.items#$i.($i & sku)",
        "$states.input.items@$x.qty{$x.sku: $}",
        "$states.input.order.id & '-' & $string(1.5) & $uppercase('x')",
        "($x := $states.input.order; $x.id = 'o-1' ? $x.customer.name : 'none')",
        "[1..20].($ * 2)",
        "$states.input.items[-1].sku in ['a', 'b']",
        "$map($states.input.items.price, $round)",
        "$join($states.input.items.sku, ',') ~> $length()",
        "$append($states.input.items.qty, [1, 2]) ~> $reverse() ~> $count()",
        "$max($states.input.items.price) + $average($states.input.items.qty)",
        "$substring('abcdef', 1, 3) & $pad('x', 4) & $trim(' a  b ')",
        "$string($states.input.items)",
        "$merge($states.input.items)",
        "$sort($states.input.items.sku)",
    ];
    for source in sources {
        let expr = Expr::compile(source, &mut Nothing, Profile::StepFunctions(Allowed::default()))
            .unwrap_or_else(|error| panic!("{source}: {error}"));
        let (mut arena, mut scratch) = (Arena::new(), Scratch::default());
        let mut count = 0;
        for round in 0..5 {
            arena.clear();
            let input = json::read(&mut arena, DOCUMENT).expect("JSON");
            let scope = Scope {
                input,
                variables: Value::UNDEFINED,
                context: &Nothing,
                result: Value::UNDEFINED,
                error_output: Value::UNDEFINED,
            };
            let mut env = Env {
                now_ms: 0,
                random: &mut || 4,
                scratch: &mut scratch,
                limits: Limits::STEP_FUNCTIONS,
                fuel: &Fuel::unlimited(),
            };
            let before = COUNT.get();
            let value = expr.eval(&mut arena, &scope, &mut env);
            if round >= 2 {
                count += COUNT.get() - before;
            }
            assert!(value.is_ok_and(|value| !value.is_undefined()), "{source}");
        }
        assert_eq!(count, 0, "{source}");
    }
}
