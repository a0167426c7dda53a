//! Compaction keeps what the roots reach, keeps sharing, and keeps nothing else.

use expressway::json::{self, Arena, Compactor, Kind, Value};
use proptest::prelude::*;

use crate::required::some_of;

fn compact(arena: &mut Arena, roots: &mut [Value]) {
    Compactor::new().compact(arena, |visit| roots.iter_mut().for_each(visit));
}

#[test]
fn a_value_made_of_shared_parts_stays_small() {
    let mut arena = Arena::new();
    let mut value = json::read(&mut arena, br#"["a string that is longer than thirty-two bytes"]"#).unwrap();
    let (a, b) = (arena.string("a"), arena.string("b"));
    for _ in 0..20 {
        let mark = arena.begin();
        [a, value, b, value].into_iter().for_each(|child| arena.push(child));
        value = arena.end_object(mark);
    }
    let (size, bytes) = (arena.size(value), arena.bytes());
    let mut roots = [value, value];
    compact(&mut arena, &mut roots);
    assert_eq!(arena.bytes(), bytes);
    assert_eq!(arena.size(roots[0]), size);
    assert!(json::equal(&arena, roots[0], roots[1]));
}

#[test]
fn strings_cut_out_of_one_string_share_its_text() {
    let mut arena = Arena::new();
    let whole = arena.string(&"0123456789".repeat(1_000));
    let mark = arena.begin();
    for from in 0..9_000 {
        let part = arena.substring(whole, from, 10_000);
        arena.push(part);
    }
    let parts = arena.end_array(mark);
    let mut roots = [parts, arena.substring(whole, 5, 15), whole];
    let bytes = arena.bytes();
    compact(&mut arena, &mut roots);
    assert!(arena.bytes() <= bytes);
    for (from, &part) in arena.items(roots[0]).iter().enumerate() {
        assert_eq!(arena.str(part), &arena.str(roots[2])[from..]);
    }
    assert_eq!(arena.str(roots[1]), "5678901234");
}

#[test]
fn what_is_no_json_survives() {
    let mut arena = Arena::new();
    let garbage = arena.string("garbage");
    let mark = arena.begin();
    [Value::UNDEFINED, Value::opaque(7), Value::float(1.5), Value::int(i64::MIN), garbage]
        .into_iter()
        .for_each(|child| arena.push(child));
    let list = arena.end_array(mark);
    let empty = arena.array(&[]);
    let none = arena.string("");
    let mut roots = [Value::opaque(9), Value::UNDEFINED, list, empty, empty, none, Value::int(3)];
    compact(&mut arena, &mut roots);
    let kinds: Vec<Kind> = arena.items(roots[2]).iter().map(|item| item.kind()).collect();
    assert_eq!(kinds, [Kind::Undefined, Kind::Opaque, Kind::Float, Kind::Int, Kind::String]);
    assert_eq!(arena.items(roots[2])[1].opaque_id(), Some(7));
    assert_eq!(roots[0].opaque_id(), Some(9));
    assert!(roots[1].is_undefined());
    assert_eq!(json::to_string(&arena, roots[3]), "[]");
    assert_eq!(arena.as_str(roots[5]), Some(""));
    assert_eq!(roots[6].as_int(), Some(3));
}

#[test]
fn very_deep_values_move_without_recursion() {
    let mut arena = Arena::new();
    let mut value = arena.string("bottom");
    for _ in 0..1_000_000 {
        value = arena.array(&[value]);
    }
    let mut roots = [value];
    compact(&mut arena, &mut roots);
    let mut value = roots[0];
    while let Some(inner) = arena.item(value, 0) {
        value = inner;
    }
    assert_eq!(arena.str(value), "bottom");
}

#[test]
fn an_arena_full_of_garbage_can_be_used_again() {
    let mut arena = Arena::new();
    arena.set_bytes_max(10_000);
    let mut compactor = Compactor::new();
    let mut data = json::read(&mut arena, br#"{"n": 0, "text": "kept"}"#).unwrap();
    for n in 0..10_000 {
        let mark = arena.begin();
        let (key, text) = (arena.string("n"), arena.get_str(data, "text").unwrap());
        [key, Value::int(n)].into_iter().for_each(|child| arena.push(child));
        let key = arena.string("text");
        [key, text].into_iter().for_each(|child| arena.push(child));
        data = arena.end_object(mark);
        if arena.bytes() > 5_000 {
            compactor.compact(&mut arena, |visit| visit(&mut data));
        }
    }
    assert!(!arena.overflowed());
    assert_eq!(json::to_string(&arena, data), r#"{"n":9999,"text":"kept"}"#);
    assert!(!arena.reserve(10_000), "the budget moves along");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(some_of(500, 2) as u32) })]

    /// Any parts of any documents, canonical or not, read the same after any number of compactions.
    #[test]
    fn compacted_values_are_the_same(
        texts in proptest::collection::vec(any_text(), 1..5),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        rounds in 1usize..4,
    ) {
        let mut arena = Arena::new();
        let mut pool = Vec::new();
        for text in &texts {
            let value = json::read(&mut arena, text.as_bytes()).unwrap();
            collect(&arena, value, &mut pool);
        }
        let mut roots: Vec<Value> = picks.iter().map(|pick| pool[pick.index(pool.len())]).collect();
        let joined = arena.array(&roots);
        roots.push(joined);
        let before: Vec<String> = roots.iter().map(|&root| json::to_string(&arena, root)).collect();
        let mut compactor = Compactor::new();
        for _ in 0..rounds {
            let bytes = arena.bytes();
            compactor.compact(&mut arena, |visit| roots.iter_mut().for_each(visit));
            prop_assert!(arena.bytes() <= bytes);
            for (&root, before) in roots.iter().zip(&before) {
                prop_assert_eq!(&json::to_string(&arena, root), before);
                prop_assert_eq!(arena.size(root) as usize, before.len());
            }
            let again = json::read(&mut arena.clone(), before[0].as_bytes()).unwrap();
            prop_assert_eq!(again.depth(), roots[0].depth());
        }
        let bytes = arena.bytes();
        compactor.compact(&mut arena, |visit| roots.iter_mut().for_each(visit));
        prop_assert_eq!(arena.bytes(), bytes, "there is no garbage in a compacted arena");
    }
}

/// The value and all in it.
fn collect(arena: &Arena, value: Value, pool: &mut Vec<Value>) {
    pool.push(value);
    arena.items(value).iter().for_each(|&item| collect(arena, item, pool));
    arena.entries(value).for_each(|(key, member)| {
        pool.push(key);
        collect(arena, member, pool);
    });
}

fn any_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        any::<f32>().prop_filter("finite", |float| float.is_finite()).prop_map(Into::into),
        "[a-z\"\né]{0,40}".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::vec(("[a-c\"]{0,6}", inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, pretty)| {
        if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
    })
}

#[test]
fn much_that_lives_in_any_order_survives() {
    const COUNT: usize = 100_000;
    let mut arena = Arena::new();
    let long = "long ".repeat(100_000);
    let long_value = arena.string(&long);
    let texts: Vec<Value> = (0..COUNT).map(|n| arena.string(&format!("text {n}"))).collect();
    arena.string("garbage");
    let at = |n: usize| n * 7_919 % COUNT;
    let mark = arena.begin();
    for n in 0..COUNT {
        arena.push(texts[at(n)]);
    }
    let list = arena.end_array(mark);
    let mut roots: Vec<Value> = (0..COUNT).map(|n| texts[at(n * 3 + 1)]).collect();
    roots.extend([list, long_value]);
    let before = arena.bytes();
    compact(&mut arena, &mut roots);
    assert_eq!(arena.bytes(), before - "garbage".len());
    for n in 0..COUNT {
        assert_eq!(arena.str(roots[n]), format!("text {}", at(n * 3 + 1)));
        assert_eq!(arena.str(arena.items(roots[COUNT])[n]), format!("text {}", at(n)));
    }
    assert_eq!(arena.str(roots[COUNT + 1]), long);
}
