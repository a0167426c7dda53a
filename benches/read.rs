//! JSON text into the arena and out of it, beside the libraries that could have been used instead.
//!
//! The comparison that decides whether a parser of our own is worth its file: the same arena, filled through
//! sonic-rs's deserializer. `cargo bench --bench read`.

mod measure;
mod workloads;

use criterion::Throughput;
use expressway::json::{self, Arena, Value};
use measure::{Comparison, candidate};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OURS: &str = "json::read";
const SONIC: &str = "the same arena through sonic_rs";

fn main() {
    let texts = [
        ("W2's input", workloads::workload("w2").input),
        ("the event", workloads::event().input),
        ("a document", workloads::document()),
    ];
    let mut comparisons = Vec::new();
    for (name, text) in &texts {
        let text = text.trim_ascii();
        comparisons.push(reading(format!("read {name}, {} bytes", text.len()), text));
        comparisons.push(writing(format!("write {name}, {} bytes", text.len()), text));
    }
    println!();
    for measured in measure::run(comparisons).iter().filter(|it| it.title.starts_with("read")) {
        let ratio = measured.ratio(SONIC, OURS);
        println!("{}: a parser of our own needs 1.30 ×, has {ratio:.2} ×", measured.title);
    }
}

fn reading(title: String, text: &[u8]) -> Comparison<'_> {
    let (mut ours, mut filled, mut spaced) = (Arena::new(), Arena::new(), Arena::new());
    let pretty =
        serde_json::to_vec_pretty(&serde_json::from_slice::<serde_json::Value>(text).unwrap()).unwrap();
    let (value, other) = (json::read(&mut ours, text).unwrap(), fill(&mut filled, text).unwrap());
    assert_eq!(json::to_string(&ours, value), json::to_string(&filled, other));
    let candidates = vec![
        candidate(OURS, move || {
            ours.clear();
            json::read(&mut ours, text).unwrap()
        }),
        candidate(SONIC, move || {
            filled.clear();
            fill(&mut filled, text).unwrap()
        }),
        candidate("json::read of the pretty-printed text", move || {
            spaced.clear();
            json::read(&mut spaced, &pretty).unwrap()
        }),
        candidate("sonic_rs::Value", || sonic_rs::from_slice::<sonic_rs::Value>(text).unwrap()),
        candidate("serde_json::Value", || serde_json::from_slice::<serde_json::Value>(text).unwrap()),
        candidate("serde_json, validation only", || {
            serde_json::from_slice::<serde::de::IgnoredAny>(text).unwrap()
        }),
        candidate("std::str::from_utf8", || std::str::from_utf8(text).unwrap().len()),
    ];
    Comparison { title, throughput: Throughput::Bytes(text.len() as u64), baseline: OURS, candidates }
}

fn writing(title: String, text: &[u8]) -> Comparison<'_> {
    let (mut read, mut built) = (Arena::new(), Arena::new());
    let value = json::read(&mut read, text).unwrap();
    let tree: serde_json::Value = serde_json::from_slice(text).unwrap();
    let sonic: sonic_rs::Value = sonic_rs::from_slice(text).unwrap();
    // Built, hence without a span to copy.
    let other = json::to_value(&mut built, &tree).unwrap();
    assert_eq!(json::to_string(&built, other).as_bytes(), text);
    let candidates = vec![
        candidate("json::write", move || fresh(&read, value)),
        candidate("json::write of a value that was built", move || fresh(&built, other)),
        candidate("sonic_rs::to_vec", move || sonic_rs::to_vec(&sonic).unwrap()),
        candidate("serde_json::to_vec", move || serde_json::to_vec(&tree).unwrap()),
    ];
    let throughput = Throughput::Bytes(text.len() as u64);
    Comparison { title, throughput, baseline: "json::write", candidates }
}

fn fresh(arena: &Arena, value: Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(arena.size(value) as usize);
    json::write(arena, value, &mut out);
    out
}

/// What `json::read` would be on top of a well-kept parser.
fn fill(arena: &mut Arena, text: &[u8]) -> Result<Value, sonic_rs::Error> {
    let mut deserializer = sonic_rs::Deserializer::from_slice(text);
    let value = Fill(arena).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Fill<'a>(&'a mut Arena);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::float(value as f64), Value::int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(self.0.string(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mark = self.0.begin();
        while let Some(item) = items.next_element_seed(Fill(self.0))? {
            self.0.push(item);
        }
        Ok(self.0.end_array(mark))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mark = self.0.begin();
        while let Some(key) = members.next_key_seed(Fill(self.0))? {
            self.0.push(key);
            let value = members.next_value_seed(Fill(self.0))?;
            self.0.push(value);
        }
        Ok(self.0.end_object(mark))
    }
}
