//! A path on the first line, a document after it. Nothing may panic or hang; results must have the shape that the path
//! determines; a value stored by a reference path must be found again.

use expressway::fuel::Fuel;
use expressway::json::{Arena, Value, equal, read};
use expressway::query::path::{Path, ReferencePath};
use expressway::query::{Context, ContextField, Names, Scope, Slot};

struct Nothing;

impl Names for Nothing {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        Some(Slot(u32::from(!name.starts_with('a'))))
    }
}

impl Context for Nothing {
    fn field(&self, _: &mut Arena, field: ContextField) -> Value {
        if field.steps().is_empty() { Value::NULL } else { Value::UNDEFINED }
    }
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, document) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(path) = Path::parse(text, &mut Nothing) else { return };
    let mut arena = Arena::new();
    arena.set_bytes_max(256 << 20);
    let Ok(input) = read(&mut arena, document.as_bytes()) else { return };
    let variables = arena.array(&[input]);
    let [result, error_output] = [Value::UNDEFINED; 2];
    let scope = Scope { input, result, error_output, variables, context: &Nothing };
    match path.eval(&mut arena, &scope, &Fuel::unlimited()) {
        Ok(found) => assert!(path.is_definite() || found.is_array()),
        Err(fault) => assert!(!fault.message(&path, &mut arena, &scope, &Fuel::unlimited()).is_empty()),
    }
    if let Ok(place) = ReferencePath::parse(text) {
        match place.insert(&mut arena, input, Value::TRUE) {
            Ok(input) => {
                let scope = Scope { input, ..scope };
                let found = path.eval(&mut arena, &scope, &Fuel::unlimited());
                assert!(found.is_ok_and(|found| equal(&arena, found, Value::TRUE)));
            }
            Err(fault) => assert!(!fault.message(&place, &arena, input).is_empty()),
        }
    }
}
