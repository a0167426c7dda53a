//! The JSON layer through its public API: what is read, how it is written, what is refused and where.

use expressway::json::{self, Arena, ReadErrorKind};
use proptest::prelude::*;

use crate::required::some_of;

fn rewritten(text: &str) -> Result<String, ReadErrorKind> {
    let mut arena = Arena::new();
    let value = json::read(&mut arena, text.as_bytes()).map_err(|error| error.kind)?;
    let written = json::to_string(&arena, value);
    assert_eq!(written.len(), arena.size(value) as usize, "size of {text}");
    Ok(written)
}

#[test]
fn texts_are_written_compactly() {
    for (text, expected) in [
        ("{}", "{}"),
        (" [ ] ", "[]"),
        (r#"{"a":1,"b":[true,false,null]}"#, r#"{"a":1,"b":[true,false,null]}"#),
        (r#"{ "a" : [ 1 , { "b" : 2 } ] }"#, r#"{"a":[1,{"b":2}]}"#),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"\u0061":1,"b":"\n","a":3}"#, r#"{"a":3,"b":"\n"}"#),
        (r#""\ud83d\ude00 \u00e9 \/ \u0001""#, "\"😀 é / \\u0001\""),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1.50", "1.5"),
        ("1.0", "1.0"),
        ("1e2", "100.0"),
        ("0.00001", "0.00001"),
        ("0.000001", "1.0E-6"),
        ("1e25", "1.0E25"),
        ("-1.5e-300", "-1.5E-300"),
        ("1.7976931348623157e308", "1.7976931348623157E308"),
        ("-1.2345678901234567e-308", "-1.2345678901234567E-308"),
        ("123456789012345678", "123456789012345678"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("[1, 123456789012345678901234567890]", "[1,123456789012345678901234567890]"),
    ] {
        assert_eq!(rewritten(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    use ReadErrorKind::*;
    for (text, kind, offset) in [
        ("", UnexpectedEnd, 0),
        ("  ", UnexpectedEnd, 2),
        ("not", ExpectedValue, 1),
        ("tru", UnexpectedEnd, 3),
        ("[1,]", ExpectedValue, 3),
        ("[1 2]", ExpectedComma, 3),
        ("{'a':1}", ExpectedName, 1),
        ("{\"a\" 1}", ExpectedColon, 5),
        ("{\"a\":1,}", ExpectedName, 7),
        ("01", Number, 1),
        ("-", UnexpectedEnd, 1),
        ("1.", UnexpectedEnd, 2),
        ("1.e", Number, 2),
        ("1e999", NumberRange, 0),
        ("[-1e400]", NumberRange, 1),
        ("\"\\x\"", Escape, 1),
        ("\"\\ud800\"", Escape, 1),
        ("\"\\udc00\"", Escape, 1),
        ("\"a\nb\"", ControlCharacter, 2),
        ("\"abc", UnexpectedEnd, 4),
        ("1 1", TrailingText, 2),
        ("{\"a\":1}x", TrailingText, 7),
    ] {
        let error = json::read(&mut Arena::new(), text.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
    }
    let error = json::read(&mut Arena::new(), b"\"\xff\"").unwrap_err();
    assert_eq!((error.kind, error.offset), (Utf8, 1));
    let error = json::read(&mut Arena::new(), b"{\n \"a\": x}").unwrap_err();
    assert_eq!(error.line_column(b"{\n \"a\": x}"), (2, 7));
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(rewritten(&deep(1_000)).is_ok());
    assert_eq!(rewritten(&deep(1_001)), Err(ReadErrorKind::TooDeep));
    assert_eq!(rewritten(&deep(1_000_000)), Err(ReadErrorKind::TooDeep));
    assert_eq!(rewritten(&"{\"a\":".repeat(1_000_000)), Err(ReadErrorKind::TooDeep));

    let mut arena = Arena::new();
    arena.set_bytes_max(1_000);
    assert_eq!(json::read(&mut arena, &[b'1'; 1_001]).unwrap_err().kind, ReadErrorKind::TooLarge);
    arena.clear();
    assert!(json::read(&mut arena, b"[1,2]").is_ok());

    let many = format!("[{}0]", "0,".repeat(1_000_000));
    assert_eq!(rewritten(&many).unwrap(), many);
    let members: Vec<String> = (0..100_000).map(|i| format!("\"k{}\":{i}", i % 50_000)).collect();
    let written = rewritten(&format!("{{{}}}", members.join(","))).unwrap();
    assert!(written.starts_with("{\"k0\":50000,\"k1\":50001"));
}

/// The reader remembers some names. Here others take their place, and they come back, in the middle of an object.
#[test]
fn names_that_are_forgotten_are_still_found_twice() {
    let mut arena = Arena::new();
    let many: Vec<String> = (0..400).map(|n| format!(r#""many{n}":0"#)).collect();
    json::read(&mut arena, format!("{{{}}}", many.join(",")).as_bytes()).unwrap();
    for n in 0..2_000 {
        let inner = format!(r#"{{"m{n}":0,"twice":5,"o":6,"x":7}}"#);
        let text = format!(r#"{{"twice":1,"o":{inner},"twice":9}}"#);
        for _ in 0..3 {
            arena.clear();
            let value = json::read(&mut arena, text.as_bytes()).unwrap();
            assert_eq!(json::to_string(&arena, value), format!(r#"{{"twice":9,"o":{inner}}}"#));
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        // Without an exponent, which is written otherwise.
        (1e-4..1e15f64, any::<bool>()).prop_map(|(float, less)| if less { -float } else { float }.into()),
        "\\PC{0,12}|[\"\\\\\u{0}-\u{1f}a-z]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            proptest::collection::vec(("[a-c\"\\\\é]{0,3}", inner), 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Texts of objects whose names come again and again, also twice in one object, and of names of all lengths around those
/// that the reader remembers.
fn any_object_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => "[a-h]",
        2 => (0..400u32).prop_map(|n| format!("name{n}")),
        1 => "[xy]{11,16}",
        1 => Just("\\u0061".to_owned()),
    ];
    let leaf = prop_oneof!["[1-9]{1,3}", "\"[a-z]{0,20}\"", Just("null".to_owned())];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        let member = (name.clone(), prop_oneof![9 => Just(":"), 1 => Just(" : ")], inner.clone());
        let member = member.prop_map(|(name, colon, value)| format!("\"{name}\"{colon}{value}"));
        let object = proptest::collection::vec(member, 0..6);
        let object = object.prop_map(|members| format!("{{{}}}", members.join(",")));
        let array = proptest::collection::vec(object.clone(), 0..4);
        prop_oneof![3 => object, 1 => array.prop_map(|objects| format!("[{}]", objects.join(",")))]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(some_of(2_000, 4) as u32) })]

    /// Texts that serde_json writes come out byte for byte, pretty-printed ones compact again.
    #[test]
    fn written_as_serde_json_writes(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(rewritten(&text).unwrap(), text.clone());
        prop_assert_eq!(rewritten(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), text);
    }

    /// A double's text reads back as the same double, and its exponent is written as AWS writes it.
    #[test]
    fn doubles_are_written_as_aws_writes_them(float in any::<f64>()) {
        prop_assume!(float.is_finite());
        let text = rewritten(&serde_json::Value::from(float).to_string()).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), float.to_bits(), "{}", text);
        let form = regex::Regex::new(r"^-?\d+\.\d+(E-?[1-9]\d*)?$").unwrap();
        prop_assert!(form.is_match(&text), "{}", text);
    }

    /// What an arena has read before does not show in what it reads next.
    #[test]
    fn read_one_after_the_other(texts in proptest::collection::vec(any_object_text(), 1..12)) {
        let mut arena = Arena::new();
        for text in texts {
            arena.clear();
            let value = json::read(&mut arena, text.as_bytes()).unwrap();
            let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(json::to_string(&arena, value), expected.to_string(), "{}", text);
        }
    }

    /// Decimals stay text until they are used in arithmetic; then they are the nearest double.
    #[test]
    fn decimals_are_the_nearest_double(text in "-?(0|[1-9][0-9]{0,8})\\.[0-9]{1,6}") {
        let mut arena = Arena::new();
        let value = json::read(&mut arena, text.as_bytes()).unwrap();
        prop_assert_eq!(arena.as_f64(value).unwrap().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
    }

    /// Damaged texts are accepted, refused and understood as serde_json does.
    #[test]
    fn refused_as_serde_json_refuses(
        value in any_json(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut text = value.to_string().into_bytes();
        for (index, byte) in cuts {
            let at = index.index(text.len());
            text[at] = byte;
        }
        super::fuzz::json::run(&text);
    }
}
