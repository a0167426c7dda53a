//! JSONPath compared with the answers of Jayway 2.0.0, which AWS runs.

use crate::corpora;
use crate::corpora::{Report, Roots, lines, suite};
use crate::required::step;
use expressway::fuel::Fuel;
use expressway::json::{Arena, equal, read, to_string};
use expressway::limits;
use expressway::query::path::{Path, PathFault, PathFaultKind, ReferencePath};
use expressway::query::{Names, Slot};
use serde_json::Value as Json;

const KNOWN: &str = include_str!("../known/jsonpath.txt");

#[test]
fn jayway_suite() {
    let Some(documents) = suite("jsonpath/documents.json") else { return };
    let documents: Json = serde_json::from_str(&documents).expect("documents.json");
    for file in ["jsonpath/jayway-tests.jsonl", "jsonpath/cts.jsonl"] {
        let Some(cases) = lines(file) else { return };
        let mut report = Report::new(file, KNOWN);
        for case in &cases {
            let document = match case["document_ref"].as_str() {
                Some(name) => &documents[name],
                None => &case["document"],
            };
            let selector = case["selector"].as_str().expect("selector");
            report.case(case["id"].as_str().expect("id"), answer(selector, document, &case["jayway"]));
        }
        report.finish();
    }
}

/// Compares all recorded results of Jayway for a selector and a document.
fn answer(selector: &str, document: &Json, jayway: &Json) -> Result<(), String> {
    let path = match Path::parse(selector, &mut corpora::NoNames) {
        Err(_) if jayway["stage"] == "compile" => return Ok(()),
        Err(error) => return Err(format!("{selector}: not read: {error}")),
        Ok(_) if jayway["stage"] == "compile" => {
            return Err(format!("{selector}: read, but should be refused"));
        }
        Ok(path) => path,
    };
    same_form(&path, jayway)?;
    let mut arena = Arena::new();
    let input = read(&mut arena, document.to_string().as_bytes()).expect("document");
    let roots = Roots::default();
    let scope = roots.scope(input);
    match (path.eval(&mut arena, &scope, &Fuel::unlimited()), jayway.get("result")) {
        (Ok(found), Some(expected)) => {
            let wanted = read(&mut arena, expected.to_string().as_bytes()).expect("result");
            let same = equal(&arena, found, wanted);
            let found = expressway::json::to_string(&arena, found);
            same.then_some(()).ok_or_else(|| format!("{selector} on {document}: {found}, not {expected}"))
        }
        (Ok(found), None) => {
            let found = expressway::json::to_string(&arena, found);
            Err(format!("{selector} on {document}: {found}, not {}", jayway["message"]))
        }
        (Err(fault), Some(expected)) => Err(format!(
            "{selector} on {document}: {}, not {expected}",
            fault.message(&path, &mut arena, &scope, &Fuel::unlimited())
        )),
        (Err(fault), None) => {
            let not_found = jayway["error"] == "PATH_NOT_FOUND";
            if (fault.kind() == PathFaultKind::NotFound) != not_found {
                return Err(format!("{selector} on {document}: {:?}, not {}", fault.kind(), jayway["error"]));
            }
            let message = fault.message(&path, &mut arena, &scope, &Fuel::unlimited());
            let comparable = not_found || jayway["error"] == "INVALID_PATH";
            if comparable && place(jayway["message"].as_str().expect("a message")) != place(&message) {
                Err(format!("{selector} on {document}: {message}, not {}", jayway["message"]))
            } else {
                Ok(())
            }
        }
    }
}

/// A message without the data it shows: the suite has that as the map provider prints it, and AWS runs Jackson's.
fn place(message: &str) -> &str {
    message.split_once(". Current context is: ").map_or(message, |(place, _)| place)
}

fn same_form(path: &Path, jayway: &Json) -> Result<(), String> {
    let form = path.to_string();
    let root = 1 + path.variable().map_or(usize::from(path.is_context()), str::len);
    let form = format!("${}", &form[root..]);
    if jayway["normalized"] != form.as_str() {
        return Err(format!("{}: reads as {form}, not {}", path.source(), jayway["normalized"]));
    }
    if jayway["definite"] == path.is_definite() {
        Ok(())
    } else {
        Err(format!("{}: definite should be {}", path.source(), jayway["definite"]))
    }
}

#[test]
fn paths_from_real_definitions() {
    let file = "expressions/jsonpath.jsonl";
    let Some(cases) = lines(file) else { return };
    let mut report = Report::new(file, KNOWN);
    for case in &cases {
        let text = case["expr"].as_str().expect("expr");
        let jayway = &case["jayway"];
        let outcome = match Path::parse(text, &mut corpora::NoNames) {
            Ok(_) if jayway["compiles"] == false => Err(format!("{text}: read, but should be refused")),
            Ok(path) => same_form(&path, jayway).and_then(|()| same_root(&path, &case["root"])),
            Err(_) if jayway["compiles"] == false => Ok(()),
            Err(error) => Err(format!("{text}: {error}")),
        };
        report.case(case["id"].as_str().expect("id"), outcome);
    }
    report.finish();
}

fn same_root(path: &Path, root: &Json) -> Result<(), String> {
    let ours = match path.variable() {
        Some(name) => format!("variable:{name}"),
        None => if path.is_context() { "context" } else { "input" }.to_owned(),
    };
    match root.as_str() {
        Some(root) if root == ours => Ok(()),
        _ => Err(format!("{}: root {ours}, not {root}", path.source())),
    }
}

/// `$first` is slot 0, `$second` slot 1.
struct TwoNames;

impl Names for TwoNames {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        ["first", "second"].iter().position(|&known| known == name).map(|slot| Slot(slot as u32))
    }
}

/// Evaluates on an input, a context object and the values of `$first` and, if there is one, `$second`.
fn find(text: &str, input: &Json, context: &Json, variables: &[Json]) -> Result<String, (PathFault, String)> {
    let path = Path::parse(text, &mut TwoNames).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut arena = Arena::new();
    let mut value = |json: &Json| read(&mut arena, json.to_string().as_bytes()).expect("JSON");
    let (input, context) = (value(input), value(context));
    let variables = value(&Json::from(variables));
    let roots = Roots { context, variables };
    let scope = roots.scope(input);
    match path.eval(&mut arena, &scope, &Fuel::unlimited()) {
        Ok(value) => Ok(to_string(&arena, value)),
        Err(fault) => Err((fault, fault.message(&path, &mut arena, &scope, &Fuel::unlimited()))),
    }
}

#[test]
fn roots() {
    let input = serde_json::json!({"a": 1});
    let context =
        serde_json::json!({"Execution": {"Id": "x", "Input": {"b": [1, 2]}}, "State": {"Name": "S"}});
    let variables = [serde_json::json!({"p": [{"q": 7}, {"q": 8}]})];
    let ok = |text: &str, expected: &str| {
        assert_eq!(
            find(text, &input, &context, &variables).map_err(|(_, message)| message),
            Ok(expected.into())
        );
    };
    ok("$", r#"{"a":1}"#);
    ok("$$", &context.to_string());
    ok("$$.Execution.Id", "\"x\"");
    ok("$$['Execution'].Input.b[1]", "2");
    ok("$$.Execution.Input.b[*]", "[1,2]");
    ok("$$..b", "[[1,2]]");
    ok("$first.p[1].q", "8");
    ok("$first['p'][?(@.q == 8)].q", "[8]");
    ok("$first..q", "[7,8]");
    let fails = |text: &str, kind: PathFaultKind, message: &str| {
        let (fault, text) = find(text, &input, &context, &variables).expect_err(text);
        assert_eq!((fault.kind(), text.as_str()), (kind, message));
    };
    fails("$second", PathFaultKind::Unset, "No results for path: $second");
    fails("$second.a.b", PathFaultKind::Unset, "No results for path: $second");
    fails("$third", PathFaultKind::Unset, "No results for path: $third");
    fails("$$.Map.Item.Index", PathFaultKind::Unset, "Missing property in path $['Map']");
    fails("$$.Execution.No", PathFaultKind::NotFound, "No results for path: $['Execution']['No']");
    fails("$$.Execution.No.x", PathFaultKind::NotFound, "Missing property in path $['Execution']['No']");
    fails("$first.x", PathFaultKind::NotFound, "No results for path: $['x']");
    fails(
        "$.a[0]",
        PathFaultKind::Invalid,
        "Filter: [0] can only be applied to arrays. Current context is: 1",
    );
    fails("$.a.length()", PathFaultKind::NotFound, "Property ['length()'] not found in path $['a']");
}

#[test]
fn what_a_path_is() {
    let refused = [
        "",
        "a",
        "@.a",
        "$a b",
        "$9",
        "$a-b",
        "$$x",
        "$$$",
        "$ .a",
        "$.a b",
        "$..",
        "$.",
        "$.a[",
        "$.a[]",
        "$['a'",
        "$[?(@.a]",
        "$[?(@..a)]",
        "$[?(@.a[?(@.b)])]",
        "$[?()]",
        "$[?(@.a &&)]",
        "$[?(@.a == )x]",
        "$[99999999999]",
    ];
    for text in refused {
        assert!(Path::parse(text, &mut TwoNames).is_err(), "{text}");
    }
    let many = format!("${}", ".a".repeat(limits::PATH_STEPS_MAX));
    assert!(Path::parse(&many, &mut TwoNames).is_ok());
    assert!(Path::parse(&format!("{many}.a"), &mut TwoNames).is_err());
    let nested = format!("${}@.a{}", "[?(@".repeat(100_000), ")]".repeat(100_000));
    assert!(Path::parse(&nested, &mut TwoNames).is_err());
    let path = Path::parse("$first.a['b c'][0]..d[1:][?(@.x == 1)]", &mut TwoNames).expect("a path");
    assert_eq!(path.to_string(), "$first['a']['b c'][0]..['d'][1:][?]");
    assert!(!path.is_definite() && !path.is_reference());
    assert!(Path::parse("$", &mut TwoNames).is_ok_and(|path| path.is_input_root() && path.is_reference()));
    assert_eq!(Path::parse("$.a.[", &mut TwoNames).expect_err("no path").offset, 4);
}

#[test]
fn work_is_bounded() {
    let wide = Json::from(vec![serde_json::json!({"a": 1}); 3000]);
    let deep = (0..900).fold(Json::from(1), |inner, _| Json::from(vec![inner]));
    for &text in ["$..*..*..*", "$..[*]..[*]..[*]..[*]", "$..[0]..[0]..[0]..[0]..[0]"].iter().step_by(step(3))
    {
        let (fault, message) = find(text, &deep, &Json::Null, &[]).expect_err("too much work");
        assert_eq!(fault.kind(), PathFaultKind::Exhausted);
        assert!(!message.is_empty());
    }
    assert!(find("$..*", &deep, &Json::Null, &[]).is_ok());
    assert!(find("$[?(@.a == 1)].a", &wide, &Json::Null, &[]).is_ok());
}

#[test]
fn reference_paths() {
    let insert = |text: &str, into: &str, value: &str| {
        let path = ReferencePath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut arena = Arena::new();
        let into = read(&mut arena, into.as_bytes()).expect("JSON");
        let before = to_string(&arena, into);
        let value = read(&mut arena, value.as_bytes()).expect("JSON");
        let made = path.insert(&mut arena, into, value);
        assert_eq!(to_string(&arena, into), before, "the input itself is not changed");
        match made {
            Ok(made) => to_string(&arena, made),
            Err(fault) => fault.message(&path, &arena, into),
        }
    };
    assert_eq!(insert("$", r#"{"a":1}"#, "2"), "2");
    assert_eq!(insert("$.b", r#"{"a":1}"#, "2"), r#"{"a":1,"b":2}"#);
    assert_eq!(insert("$.a", r#"{"a":1,"b":{"c":[]}}"#, "2"), r#"{"a":2,"b":{"c":[]}}"#);
    assert_eq!(insert("$.x.y['z z']", r#"{"a":1}"#, "[]"), r#"{"a":1,"x":{"y":{"z z":[]}}}"#);
    assert_eq!(insert("$.a.c", r#"{"a":{"b":1,"c":2,"d":3}}"#, "null"), r#"{"a":{"b":1,"c":null,"d":3}}"#);
    assert_eq!(insert("$.a[1].b", r#"{"a":[0,{},2]}"#, "1"), r#"{"a":[0,{"b":1},2]}"#);
    assert_eq!(insert("$.a.b", r#"{"a":1}"#, "2"), r#"Unable to apply step "b" to input 1"#);
    for (text, into) in
        [("$.a", "[]"), ("$.a", "\"text\""), ("$.a", "null"), ("$.a[1]", r#"{"a":[0]}"#), ("$[0]", "{}")]
    {
        assert!(insert(text, into, "1").starts_with("Unable to apply"), "{text} {into}");
    }
    let refused = [
        "",
        "a",
        "$$.a",
        "$first",
        "$.*",
        "$..a",
        "$[0,1]",
        "$[-1]",
        "$[1:]",
        "$['a','b']",
        "$[?(@.a)]",
        "$[(@.length-1)]",
    ];
    for text in refused {
        assert!(ReferencePath::parse(text).is_err(), "{text}");
    }
}

#[test]
fn containers_are_equal_only_where_both_are_the_same_path_from_the_document() {
    let input = serde_json::json!({"L": [{"a": [1]}, {"a": {}}, {"a": 1}], "b": [1]});
    let all = input["L"].to_string();
    // As Jayway's node provider has it.
    for (path, expected) in [
        ("$.L[?(@.a==@.a)]", r#"[{"a":1}]"#),
        ("$.L[?(@.a<=@.a)]", r#"[{"a":1}]"#),
        ("$.L[?(@.a!=@.a)]", "[]"),
        ("$.L[?(@==@)]", "[]"),
        ("$.L[?($.b==$.b)]", &all),
        ("$.L[?($['b']==$.b)]", "[]"),
    ] {
        assert_eq!(find(path, &input, &Json::Null, &[]).as_deref().ok(), Some(expected), "{path}");
    }
}

/// `BigDecimal`'s order: all digits of a literal count, and of a double those of its shortest text. An integer beyond 64
/// bits is compared as a container is. Answers of Jayway 2.0.0 with Jackson's node provider.
#[test]
fn numbers_in_filters() {
    let long = "123456789012345678901234567890";
    for (item, condition, expected) in [
        (long, "@.a > 1", false),
        (long, "1 < @.a", false),
        (long, "@.a != 1", false),
        (long, "@.a == 123456789012345678901234567890", false),
        (long, "@.a == '123456789012345678901234567890'", false),
        (long, "@.a != 'x'", false),
        (long, "@.a != null", true),
        (long, "@.a >= null", true),
        (long, "@.a == @.a", false),
        (long, "$[0].a == $[0].a", true),
        (long, "@.a =~ /12.*0/", true),
        (long, "@.a", true),
        ("-9223372036854775809", "@.a < 0", false),
        ("-9223372036854775808", "@.a < 0", true),
        ("9223372036854775808", "@.a > 0", false),
        ("9223372036854775807", "@.a == 9223372036854775807.0", true),
        ("9223372036854775807", "@.a < 9223372036854775808", true),
        ("9223372036854775807", "@.a < 9223372036854775807.5", true),
        ("1e25", "@.a > 1", true),
        ("1.2345678901234567e29", "@.a == 123456789012345678901234567890", false),
        ("1.2345678901234567e29", "@.a == 123456789012345680000000000000", true),
        ("0.1", "@.a == 0.1000000000000000055511151231257827", false),
        ("0.1", "@.a < 0.1000000000000000055511151231257827", true),
        ("0.1", "@.a == .10", true),
        ("-0.1", "@.a > -0.1000000000000000055511151231257827", true),
        ("0.0", "@.a == 1e-400", false),
        ("0", "@.a < 1e-400", true),
        ("1.7976931348623157e308", "@.a < 1e400", true),
        ("1", "@.a < 1e2147483647", true),
        ("10", "@.a == 1.e1", true),
        ("-0.0", "@.a == 0", true),
    ] {
        let input = format!(r#"[{{"a":{item}}}]"#);
        let path = format!("$[?({condition})]");
        let path = Path::parse(&path, &mut TwoNames).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (mut arena, roots) = (Arena::new(), Roots::default());
        let input = read(&mut arena, input.as_bytes()).expect("JSON");
        let found = path.eval(&mut arena, &roots.scope(input), &Fuel::unlimited());
        let found = found.map(|found| arena.item(found, 0).is_some());
        assert_eq!(found.ok(), Some(expected), "{item}: {condition}");
    }
    // Neither is a number to `BigDecimal`: that is an error, as with any text.
    for text in ["1e2147483648", "1e", ".", "1_0", "0x1"] {
        let (fault, _) =
            find(&format!("$[?(@.a < {text})]"), &serde_json::json!([{"a": 1}]), &Json::Null, &[])
                .expect_err(text);
        assert_eq!(fault.kind(), PathFaultKind::Invalid, "{text}");
    }
}
