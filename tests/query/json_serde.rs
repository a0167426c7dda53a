//! Typed structs from values and values from typed structs, always beside what serde_json does with the same text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use expressway::json::{self, Arena, ErrorKind};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::required::some_of;

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Meters(f64);

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Pair(i8, String);

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Line(i32, i32),
    Box { w: u16, h: Option<u16> },
    Group(Vec<Shape>),
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Event {
    OrderPlaced { id: String, total: f64 },
    Refund(BTreeMap<String, i64>),
    Heartbeat,
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A,
    B(u8),
    C { x: i64 },
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Flag(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Nothing,
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: u8,
    #[serde(default)]
    b: Option<String>,
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct Flat {
    id: u32,
    note: Option<char>,
    #[serde(flatten)]
    rest: BTreeMap<String, Any>,
}

#[derive(Debug, PartialEq, Clone, Serialize, Deserialize)]
struct FlatEnum {
    a: u8,
    #[serde(flatten)]
    event: Event,
}

const TEXTS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "127",
    "128",
    "255",
    "256",
    "-129",
    "65536",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "1.0",
    "1.5",
    "0.1",
    "1e3",
    "1e30",
    "\"\"",
    "\"a\"",
    "\"é\"",
    "\"ab\\n\"",
    "\"Dot\"",
    "\"Circle\"",
    "\"A\"",
    "\"Heartbeat\"",
    "[]",
    "[1]",
    "[1,2]",
    "[1,\"x\"]",
    "[1,\"x\",null]",
    "[1,2,3]",
    "[null]",
    "[[1],[]]",
    "[1,\"x\",[true,null,{\"k\":1.5}]]",
    "[\"Dot\",{\"Circle\":1}]",
    "[7,\"b\"]",
    "{}",
    "{\"Dot\":null}",
    "{\"Dot\":1}",
    "{\"Circle\":2.5}",
    "{\"Circle\":null}",
    "{\"Line\":[1,2]}",
    "{\"Line\":[1]}",
    "{\"Line\":[1,2,3]}",
    "{\"Line\":{}}",
    "{\"Box\":{\"w\":1}}",
    "{\"Box\":{\"w\":1,\"h\":2,\"x\":3}}",
    "{\"Box\":[1,2]}",
    "{\"Box\":{\"h\":2}}",
    "{\"Group\":[\"Dot\",{\"Group\":[]}]}",
    "{\"Group\":[\"Dot\"],\"Dot\":null}",
    "{\"Nope\":1}",
    "{\"type\":\"order-placed\",\"id\":\"o\",\"total\":1}",
    "{\"id\":\"o\",\"total\":1.5,\"type\":\"order-placed\",\"more\":[]}",
    "{\"type\":\"refund\",\"x\":1,\"y\":-2}",
    "{\"type\":\"refund\",\"x\":1.5}",
    "{\"type\":\"heartbeat\"}",
    "{\"type\":\"other\"}",
    "{\"t\":\"A\"}",
    "{\"t\":\"B\",\"c\":3}",
    "{\"c\":{\"x\":9223372036854775807},\"t\":\"C\"}",
    "{\"t\":\"B\"}",
    "{\"a\":1}",
    "{\"a\":1,\"b\":null}",
    "{\"a\":1,\"b\":\"x\"}",
    "{\"a\":1,\"c\":2}",
    "{\"b\":\"x\"}",
    "{\"a\":256}",
    "{\"a\":\"1\"}",
    "{\"a\":1,\"type\":\"heartbeat\"}",
    "{\"a\":1,\"type\":\"order-placed\",\"id\":\"o\",\"total\":2}",
    "{\"id\":1,\"note\":\"é\",\"x\":{\"y\":[1,null,\"z\"]}}",
    "{\"id\":1,\"note\":\"ab\"}",
    "{\"id\":1}",
    "{\"1\":1,\"-2\":2}",
    "{\"1\":1,\"300\":2}",
    "{\"01\":1}",
    "{\" 1\":1}",
    "{\"1 \":1}",
    "{\"1.5\":1,\"2\":2}",
    "{\"1e2\":1}",
    "{\"\":1}",
    "{\"true\":1,\"false\":0}",
    "{\"Dot\":1,\"x\":2}",
    "{\"Dot\":1}",
    "{\"ké\":1}",
    "{\"a\":{\"b\":{\"c\":[]}}}",
];

/// What both make of the text as a `T`, and back.
fn beside<T: DeserializeOwned + Serialize + std::fmt::Debug>(text: &str) {
    let name = std::any::type_name::<T>();
    let mut arena = Arena::new();
    let value = json::read(&mut arena, text.as_bytes()).unwrap();
    let found = json::from_value::<T>(&arena, value);
    let expected = serde_json::from_str::<T>(text);
    match (&found, &expected) {
        (Ok(found), Ok(expected)) => assert_eq!(format!("{found:?}"), format!("{expected:?}")),
        (Err(found), Err(_)) => assert_eq!(found.kind(), ErrorKind::Mismatch, "{name} of {text}"),
        _ => panic!("{name} of {text}: {found:?}, serde_json: {expected:?}"),
    }
    if let Ok(typed) = found {
        written::<T>(&typed);
    }
}

fn written<T: Serialize + ?Sized>(typed: &T) -> String {
    let mut arena = Arena::new();
    let value = json::to_value(&mut arena, typed).unwrap();
    let text = json::to_string(&arena, value);
    // Read and written once more, because a float of 32 bits may get its exponent earlier.
    let expected = serde_json::to_string(typed).unwrap();
    let read = json::read(&mut arena, expected.as_bytes()).unwrap();
    assert_eq!(text, json::to_string(&arena, read));
    assert_eq!(text.len(), arena.size(value) as usize);
    text
}

macro_rules! all_beside {
    ($text:expr; $($type:ty,)*) => { $(beside::<$type>($text);)* };
}

#[test]
fn every_type_takes_every_text_as_serde_json_does() {
    for text in TEXTS {
        all_beside!(text;
            (), bool, i8, i16, i32, i64, u8, u16, u32, u64, i128, u128, f32, f64, char, String, Box<str>, Cow<'static, str>,
            Option<u8>, Option<Option<String>>, Option<()>, Unit, Meters, Pair, (i64,), (u8, String), [i32; 2], Vec<u8>,
            Vec<Option<i64>>, Vec<serde_json::Value>, Shape, Vec<Shape>, Event, Adjacent, Any, Strict, Flat, FlatEnum,
            BTreeMap<String, u8>, BTreeMap<i8, i64>, BTreeMap<u64, f64>, BTreeMap<i128, u8>, BTreeMap<bool, u8>,
            BTreeMap<char, u8>, BTreeMap<Option<String>, u8>, BTreeMap<Box<str>, serde_json::Value>, serde_json::Value,
            serde_json::Number, Box<Shape>, Result<u8, String>, std::time::Duration, std::num::NonZeroU8, std::net::IpAddr,
        );
    }
}

#[test]
fn what_texts_cannot_show_is_written_as_serde_json_writes_it() {
    assert_eq!(written(&f64::NAN), "null");
    assert_eq!(written(&f64::NEG_INFINITY), "null");
    assert_eq!(written(&f32::INFINITY), "null");
    assert_eq!(written(&0.1f32), "0.1");
    assert_eq!(written(&16_777_216f32), "16777216.0");
    assert_eq!(written(&-0.0), "-0.0");
    assert_eq!(written("é\"\u{1}"), "\"é\\\"\\u0001\"");
    assert_eq!(written(&Some(Some(()))), "null");
    assert_eq!(written(&BTreeMap::from([(1.5f32.to_bits(), 'x')])), "{\"1069547520\":\"x\"}");
    assert_eq!(written(&BTreeMap::from([(false, 1), (true, 2)])), "{\"false\":1,\"true\":2}");
    assert_eq!(written(&BTreeMap::from([('é', i64::MIN)])), "{\"é\":-9223372036854775808}");
    assert_eq!(written(&std::net::Ipv4Addr::LOCALHOST), "\"127.0.0.1\"");
    assert_eq!(written(&format_args!("{}-{}", 1, 2)), "\"1-2\"");
    assert_eq!(written(&serde_json::json!({"a": [1, {"b": null}]})), "{\"a\":[1,{\"b\":null}]}");

    let mut arena = Arena::new();
    let value = json::to_value(&mut arena, &[u64::MAX, 1 << 63, 5]).unwrap();
    assert_eq!(json::to_string(&arena, value), "[1.8446744073709552E19,9.223372036854776E18,5]");
    let value = json::to_value(&mut arena, &(i128::MIN, u128::MAX, -5i128)).unwrap();
    assert_eq!(json::to_string(&arena, value), "[-1.7014118346046923E38,3.402823669209385E38,-5]");
}

#[test]
fn strings_are_borrowed_from_the_arena() {
    #[derive(Deserialize)]
    struct Line<'a> {
        sku: &'a str,
        #[serde(borrow)]
        note: Cow<'a, str>,
        raw: &'a [u8],
    }
    let mut arena = Arena::new();
    let text = br#"{"sku":"SKU-1","note":"two\nlines","raw":"bytes"}"#;
    let value = json::read(&mut arena, text).unwrap();
    let line: Line = json::from_value(&arena, value).unwrap();
    assert_eq!((line.sku, line.raw), ("SKU-1", &b"bytes"[..]));
    assert!(matches!(line.note, Cow::Borrowed("two\nlines")));
}

#[test]
fn errors_say_what_and_where() {
    let mut arena = Arena::new();
    let text = br#"{"lines":[{"sku":"a"},{"unit price":[1,true]}],"ship":{"Circle":"x"}}"#;
    let value = json::read(&mut arena, text).unwrap();

    type Lines = BTreeMap<String, Vec<BTreeMap<String, Vec<i64>>>>;
    let error = json::from_value::<Lines>(&arena, value).unwrap_err();
    assert_eq!(error.path(), "$.lines[0].sku");
    assert_eq!(error.to_string(), "invalid type: string \"a\", expected a sequence at $.lines[0].sku");

    #[derive(Debug, Deserialize)]
    struct Order {
        #[allow(dead_code)]
        lines: (serde::de::IgnoredAny, HashMap<String, Vec<u8>>),
    }
    let error = json::from_value::<Order>(&arena, value).unwrap_err();
    assert_eq!(error.path(), "$.lines[1]['unit price'][1]");
    assert_eq!(error.message(), "invalid type: boolean `true`, expected u8");

    #[derive(Debug, Deserialize)]
    struct Ship {
        #[allow(dead_code)]
        ship: Shape,
    }
    let error = json::from_value::<Ship>(&arena, value).unwrap_err();
    assert_eq!(error.to_string(), "invalid type: string \"x\", expected f64 at $.ship.Circle");
    let error = json::from_value::<Strict>(&arena, value).unwrap_err();
    assert_eq!(error.path(), "$.lines", "{error}");

    let error = json::to_value(&mut arena, &[Some(BTreeMap::from([((1, 2), 3)]))]).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Key, "key must be a string at $[0]"));
    let error = json::to_value(&mut arena, &(1, BTreeMap::from([("k", Refuses)]))).unwrap_err();
    assert_eq!((error.kind(), error.path().as_str()), (ErrorKind::Mismatch, "$[1].k"));
}

#[derive(Clone, Copy)]
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

/// Serializes as an array in an array, this many levels deep.
struct Deep(u32);

impl Serialize for Deep {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_unit(),
            n => serializer.collect_seq([Deep(n - 1)]),
        }
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let mut arena = Arena::new();
    let value = json::to_value(&mut arena, &Deep(1_000)).unwrap();
    assert_eq!(value.depth(), 1_000);
    assert!(json::from_value::<serde_json::Value>(&arena, value).is_ok());
    assert_eq!(json::to_value(&mut arena, &Deep(1_001)).unwrap_err().kind(), ErrorKind::TooDeep);
    assert_eq!(json::to_value(&mut arena, &Deep(1_000_000)).unwrap_err().kind(), ErrorKind::TooDeep);
    let value = arena.array(&[value]);
    let error = json::from_value::<serde_json::Value>(&arena, value).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooDeep);

    let mut arena = Arena::new();
    arena.set_bytes_max(100_000);
    let endless = std::iter::repeat("an endless list");
    struct Endless<I>(I);
    impl<I: Iterator<Item: Serialize> + Clone> Serialize for Endless<I> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.clone())
        }
    }
    let error = json::to_value(&mut arena, &Endless(endless)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    arena.clear();
    assert_eq!(json::to_value(&mut arena, &vec![(); 9_000]).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn raw_json_text_is_read_not_quoted() {
    // What serde_json's RawValue sends a serializer.
    struct Raw(&'static str);
    impl Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut raw = serializer.serialize_struct("$serde_json::private::RawValue", 1)?;
            raw.serialize_field("$serde_json::private::RawValue", self.0)?;
            raw.end()
        }
    }
    let mut arena = Arena::new();
    let value = json::to_value(&mut arena, &[Raw("{\"a\": [1]}"), Raw("\"x\"")]).unwrap();
    assert_eq!(json::to_string(&arena, value), "[{\"a\":[1]},\"x\"]");
    assert!(json::to_value(&mut arena, &Raw("{")).is_err());
}

fn any_shape() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Any::Flag),
        any::<i64>().prop_map(Any::Int),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Any::Float),
        "\\PC{0,12}|[\"\\\\\u{0}-\u{1f}a-z]{0,12}".prop_map(Any::Text),
        Just(Any::Nothing),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Any::List),
            proptest::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..8).prop_map(Any::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(some_of(1_000, 4) as u32) })]

    /// To a value and back is the identity, exact in 64 bits, and the text is serde_json's but for exponents.
    #[test]
    fn there_and_back(typed in any_shape()) {
        let mut arena = Arena::new();
        let value = json::to_value(&mut arena, &typed).unwrap();
        let text = serde_json::to_string(&typed).unwrap();
        let read = json::read(&mut arena, text.as_bytes()).unwrap();
        let written = json::to_string(&arena, value);
        prop_assert_eq!(&json::to_string(&arena, read), &written);
        prop_assert_eq!(arena.size(value) as usize, written.len());
        prop_assert!(written == text || written.contains('E'), "{} is not {}", written, text);
        prop_assert_eq!(&json::from_value::<Any>(&arena, value).unwrap(), &typed);
        let tree: serde_json::Value = json::from_value(&arena, value).unwrap();
        prop_assert_eq!(tree, serde_json::to_value(&typed).unwrap());
        prop_assert!(json::equal(&arena, value, read));
        prop_assert_eq!(json::from_value::<Any>(&arena, read).unwrap(), typed);
    }
}
