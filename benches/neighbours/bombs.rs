//! Workflows, definitions and requests of a bad neighbour: each uses as much of one resource as it is allowed.

use serde_json::{Value, json};

/// What a neighbour does, again and again.
pub(crate) enum Bomb {
    /// Starts executions of a machine with this definition, each with this input.
    Runs(Value, String),
    /// Asks for this operation with this body.
    Asks(&'static str, String),
    /// So many clients start an execution of a machine with this definition, and close the half on which they speak.
    HalfClosed(Value, usize),
}

/// Every bomb with its name.
pub(crate) fn all() -> Vec<(String, Bomb)> {
    let mut bombs = Vec::new();
    // Rounds of an expression in one state, for ever: the state goes to itself.
    for (name, expression) in EXPRESSIONS {
        bombs.push((format!("JSONata: {name}"), Bomb::Runs(computes(expression), "{}".to_owned())));
    }
    for (name, template) in INTRINSICS {
        bombs.push((format!("JSONPath: {name}"), Bomb::Runs(transforms(template), numbers(2_000))));
    }
    bombs.extend(loops());
    bombs.extend(maps());
    bombs.extend(definitions());
    bombs
}

/// Names, and expressions that take as long as they are let.
const EXPRESSIONS: [(&str, &str); 36] = [
    (
        "texts cut again and again",
        "($t := $pad('', 400000, 'ab'); $sum([1..100000].$length($substringBefore($t, 'c'))))",
    ),
    (
        "texts cut at a place",
        "($t := $pad('', 400000, 'é'); $sum([1..100000].$length($substring($t, 399990))))",
    ),
    ("texts looked through", "($t := $pad('', 400000, 'ab'); $count([1..100000][$contains($t, 'c')]))"),
    ("numbers read", "($t := $pad('1', 300, '0'); $sum([1..500000].$number($t)))"),
    ("lengths", "($t := $pad('', 400000, 'é'); $sum([1..100000].$length($t)))"),
    (
        "texts compared",
        "($t := $pad('', 400000, 'é'); $u := $pad('', 400000, 'é'); $count([1..100000][$t = $u]))",
    ),
    ("texts ordered", "($t := $pad('', 400000, 'é'); $u := $t & 'x'; $count([1..100000][$t < $u]))"),
    ("membership", "($a := [1..5000]; $count([1..100000][$ in $a]))"),
    ("matches", "($t := $pad('', 200000, 'ab'); $count([1..1000].$match($t, /(a)(b)/)))"),
    ("a regex that goes back", "$match($pad('', 100000, 'a'), /(a*)*b/)"),
    ("replacements", "($t := $pad('', 200000, 'ab'); $sum([1..1000].$length($replace($t, /a/, 'xy'))))"),
    ("splits", "($t := $pad('', 200000, 'a,'); $sum([1..1000].$count($split($t, ','))))"),
    ("joins", "($a := [1..50000].$string(); $sum([1..1000].$length($join($a, ','))))"),
    ("sorts", "($a := [1..50000]; $sum([1..1000].$sort($a, function($l, $r) { $l < $r })[0]))"),
    (
        "sorts by long keys",
        "($t := $pad('', 50000, 'é'); $a := [1..300].{'k': $t & $}; $count([1..100].($a^(k))))",
    ),
    ("descendants", "($a := {'a': [1..300].{'b': {'c': $}}}; $count([1..100000].($a.**)))"),
    ("wildcards", "($a := [1..1000].{'a': {'b': $}}; $count([1..10000].($a.*.*)))"),
    ("groups", "($a := [1..10000]; $count([1..1000].($a{$string($): $})))"),
    ("recursion", "($f := function($n) { $n = 0 ? 0 : 1 + $f($n - 1) }; $sum([1..100000].$f(100)))"),
    ("tail calls", "($f := function($n) { $f($n + 1) }; $f(1))"),
    ("higher-order functions", "$sum($map([1..800000], function($v) { $v * 2 }))"),
    ("filters", "$count($filter([1..800000], function($v) { $v % 2 = 0 }))"),
    ("reductions", "$reduce([1..800000], function($a, $v) { $a + $v })"),
    ("appended lists", "$count($reduce([1..20000], function($a, $v) { $append($a, $v) }, []))"),
    ("appended texts", "$length($reduce([1..20000], function($a, $v) { $a & '12345678901234567890' }, ''))"),
    (
        "merged objects",
        "$count($keys($reduce([1..3000], function($a, $v) { $merge([$a, {$string($v): $v}]) }, {})))",
    ),
    ("distinct items", "($a := [1..20000]; $sum([1..1000].$count($distinct($a))))"),
    ("reversals", "($a := [1..100000]; $sum([1..10000].$reverse($a)[0]))"),
    ("shuffles", "($a := [1..100000]; $sum([1..10000].$shuffle($a)[0]))"),
    ("zips", "($a := [1..100000]; $sum([1..10000].$count($zip($a, $a))))"),
    ("JSON written", "($a := [1..50000]; $sum([1..10000].$length($string($a))))"),
    ("JSON read", "($t := $string([1..50000]); $sum([1..10000].$count($parse($t))))"),
    ("hashes", "($t := $pad('', 400000, 'a'); $count([1..10000].$hash($t, 'SHA-512')))"),
    (
        "much that lives beside garbage",
        "($x := $map([1..100000], function($i) { {'a': 'x' & $i} }); \
          $y := $map([1..800000], function($i) { [$i] }); $count($x))",
    ),
    ("encoded texts", "($t := $pad('', 400000, 'é'); $sum([1..1000].$length($base64encode($t))))"),
    ("lists in lists", "($a := [1..2000]; $sum($a.($sum($a.($ * 2)))))"),
];

/// Names, and payload templates over `{"l": [0, 1, …]}`.
const INTRINSICS: [(&str, &str); 10] = [
    ("descendants", r#"{"a.$": "$..*"}"#),
    ("descendants of descendants", r#"{"a.$": "$..*..*"}"#),
    ("filters", r#"{"a.$": "$.l[?(@ > 1)]"}"#),
    ("filters with paths", r#"{"a.$": "$.l[?(@ > $.l[0])]"}"#),
    ("slices", r#"{"a.$": "$.l[0:2000:1]"}"#),
    ("membership", r#"{"a.$": "States.ArrayContains($.l, -1)"}"#),
    ("uniqueness", r#"{"a.$": "States.ArrayUnique($.l)"}"#),
    ("partitions", r#"{"a.$": "States.ArrayPartition($.l, 1)"}"#),
    ("JSON written and read", r#"{"a.$": "States.StringToJson(States.JsonToString($.l))"}"#),
    (
        "Base64 and hashes",
        r#"{"a.$": "States.Hash(States.Base64Encode(States.JsonToString($.l)), 'SHA-512')"}"#,
    ),
];

fn numbers(count: usize) -> String {
    json!({"l": (0..count).collect::<Vec<_>>()}).to_string()
}

/// Evaluates it for ever.
pub(crate) fn computes(expression: &str) -> Value {
    json!({"QueryLanguage": "JSONata", "StartAt": "P", "States": {
        "P": {"Type": "Pass", "Next": "C", "Assign": {"x": format!("{{% {expression} %}}")}, "Output": {}},
        "C": {"Type": "Choice", "Default": "P", "Choices": [{"Condition": "{% $states.input = 1 %}", "Next": "E"}]},
        "E": {"Type": "Succeed"}}})
}

/// Fills the template in for ever.
fn transforms(template: &str) -> Value {
    let template: Value = serde_json::from_str(template).expect("a template");
    json!({"StartAt": "P", "States": {
        "P": {"Type": "Pass", "Next": "C", "Parameters": template, "ResultPath": "$.result"},
        "C": {"Type": "Choice", "Default": "P", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}]},
        "E": {"Type": "Succeed"}}})
}

fn loops() -> Vec<(String, Bomb)> {
    let choice = |variable: &str| {
        json!({"Type": "Choice", "Default": "A",
            "Choices": [{"Variable": variable, "IsPresent": true, "Next": "E"}]})
    };
    let end = json!({"Type": "Succeed"});
    let pass = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": choice("$.end"), "E": end}});
    let rules: Vec<Value> =
        (0..2_000).map(|n| json!({"Variable": "$.l[0]", "NumericEquals": n + 1, "Next": "E"})).collect();
    let rules = json!({"StartAt": "B", "States": {
        "B": {"Type": "Choice", "Default": "B", "Choices": rules}, "E": {"Type": "Succeed"}}});
    let matched: Vec<Value> =
        (0..50).map(|_| json!({"Variable": "$.t", "StringMatches": "*a*a*a*a*a*a*b", "Next": "E"})).collect();
    let matched = json!({"StartAt": "B", "States": {
        "B": {"Type": "Choice", "Default": "B", "Choices": matched}, "E": {"Type": "Succeed"}}});
    let waits = json!({"StartAt": "A", "States": {
        "A": {"Type": "Wait", "Seconds": 0, "Next": "B"}, "B": choice("$.end"), "E": end}});
    let retries = json!({"StartAt": "M", "States": {"M": {"Type": "Parallel", "End": true,
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 99_999_999, "BackoffRate": 1.0}],
        "Branches": (0..500).map(|_| json!({"StartAt": "F", "States": {"F": {"Type": "Fail"}}})).collect::<Vec<_>>()}}});
    vec![
        ("a loop of Pass and Choice".to_owned(), Bomb::Runs(pass, "{}".to_owned())),
        ("a Choice of 2,000 rules".to_owned(), Bomb::Runs(rules, numbers(1))),
        (
            "a Choice of wildcards".to_owned(),
            Bomb::Runs(matched, json!({"t": "a".repeat(100_000)}).to_string()),
        ),
        ("a loop of Waits of no time".to_owned(), Bomb::Runs(waits.clone(), "{}".to_owned())),
        ("8,000 clients that closed their half".to_owned(), Bomb::HalfClosed(waits, 8_000)),
        ("branches that fail and are tried again".to_owned(), Bomb::Runs(retries, "{}".to_owned())),
    ]
}

fn maps() -> Vec<(String, Bomb)> {
    let innermost = |state: Value| json!({"StartAt": "S", "States": {"S": state}});
    let within = |processor: Value| {
        json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemsPath": "$.l",
            "ItemSelector": {"l.$": "$.l"}, "ItemProcessor": processor}}})
    };
    let nested = |state: Value| within(within(within(innermost(state))));
    let wide = within(innermost(json!({"Type": "Pass", "End": true})));
    let fails = json!({"Type": "Fail"});
    let again = json!({"StartAt": "M", "States": {
        "M": {"Type": "Map", "Next": "C", "ItemsPath": "$.l", "ResultPath": null,
            "ItemProcessor": innermost(json!({"Type": "Pass", "End": true}))},
        "C": {"Type": "Choice", "Default": "M", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}]},
        "E": {"Type": "Succeed"}}});
    let small = |n: usize| json!({"l": (0..n).collect::<Vec<_>>()}).to_string();
    vec![
        ("three nested Maps that fail".to_owned(), Bomb::Runs(nested(fails), small(40))),
        ("three nested Maps".to_owned(), Bomb::Runs(nested(json!({"Type": "Pass", "End": true})), small(30))),
        ("a Map that copies its input for each item".to_owned(), Bomb::Runs(wide, numbers(2_000))),
        ("a Map again and again".to_owned(), Bomb::Runs(again, numbers(5_000))),
    ]
}

fn definitions() -> Vec<(String, Bomb)> {
    let validates = |definition: Value| {
        let body = json!({"definition": definition.to_string(), "type": "EXPRESS"});
        Bomb::Asks("ValidateStateMachineDefinition", body.to_string())
    };
    let pass = |fields: Value| {
        let mut state = json!({"Type": "Pass", "End": true});
        state.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        json!({"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": state}})
    };
    let many =
        |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let assigns: serde_json::Map<String, Value> = (0..40_000).map(|n| (format!("v{n}"), json!(n))).collect();
    let texts = format!("{{% [{}] %}}", many(60_000, &|n| format!("'s{n}'")));
    let keys = format!("{{% {{{}}} %}}", many(50_000, &|n| format!("'k{n}':{n}")));
    let misspelt: serde_json::Map<String, Value> =
        (0..15_000).map(|n| (format!("s{n}"), json!({"Type": "Pass", "Next": format!("S{n}x")}))).collect();
    let regexes =
        format!("{{% [{}] %}}", many(800, &|n| format!("$match('a', /[a-z]{{1,{}}}{n}/)", 20 + n % 50)));
    let deep = (0..500).fold(json!({"Type": "Pass", "End": true}), |state, _| {
        json!({"Type": "Parallel", "End": true, "Branches": [{"StartAt": "S", "States": {"S": state}}]})
    });
    let state = json!({"Type": "Pass", "End": true, "QueryLanguage": "JSONata",
        "Output": "{% $sum([1..2000].($sum([1..2000].($ * 2)))) %}"});
    let tested = json!({"definition": state.to_string(), "input": "{}"});
    vec![
        ("a definition of 40,000 variables".to_owned(), validates(pass(json!({"Assign": assigns})))),
        ("an expression of 60,000 texts".to_owned(), validates(pass(json!({"Output": texts})))),
        ("an expression of 50,000 keys".to_owned(), validates(pass(json!({"Output": keys})))),
        ("15,000 misspelt targets".to_owned(), validates(json!({"StartAt": "s0", "States": misspelt}))),
        ("800 regular expressions".to_owned(), validates(pass(json!({"Output": regexes})))),
        ("500 nested branches".to_owned(), validates(json!({"StartAt": "S", "States": {"S": deep}}))),
        ("a state tested that computes".to_owned(), Bomb::Asks("TestState", tested.to_string())),
        (
            "bodies of a megabyte".to_owned(),
            Bomb::Asks("StartExecution", json!({"input": "\u{1}".repeat(170_000)}).to_string()),
        ),
    ]
}
