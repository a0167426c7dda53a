//! JSONata as Step Functions runs it: its functions, refusals, bounds and results, as tables.

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{
    Allowed, CompileErrorKind, Env, EvalError, EvalErrorKind, Expr, Limits, Profile, Scratch,
};
use expressway::query::{Context, ContextField, Names, Scope, Slot};

use crate::required::step;

/// A context object in which every part is its own name, so that a test sees which part was read.
struct Parts;

impl Context for Parts {
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value {
        match field {
            ContextField::MapItemIndex => Value::int(3),
            ContextField::Whole => json::read(arena, br#"{"Execution":{"Id":"whole"}}"#).expect("JSON"),
            ContextField::TaskToken => Value::UNDEFINED,
            _ => arena.string(&field.steps().join("/")),
        }
    }
}

/// `$order` is assigned, `$later` is known but not assigned.
struct Variables;

impl Names for Variables {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        ["order", "later"].iter().position(|&known| known == name).map(|at| Slot(at as u32))
    }
}

const ALL: Profile = Profile::StepFunctions(Allowed { result: true, error_output: true, no_token: false });
const NONE: Profile = Profile::StepFunctions(Allowed { result: false, error_output: false, no_token: false });

/// The value as JSON text, `undefined`, or the error as text.
fn run(source: &str) -> Result<String, EvalError> {
    let expr = Expr::compile(source, &mut Variables, ALL).unwrap_or_else(|error| panic!("{source}: {error}"));
    let mut arena = Arena::new();
    let input = json::read(&mut arena, br#"{"a":{"b":[{"c":1},{"c":2}]},"n":1.50,"big":9007199254740993}"#);
    let order = json::read(&mut arena, br#"{"id":"o-1"}"#).expect("JSON");
    let result = json::read(&mut arena, br#"{"Payload":42}"#).expect("JSON");
    let variables = arena.array(&[order, Value::UNDEFINED]);
    let scope = Scope {
        input: input.expect("JSON"),
        variables,
        context: &Parts,
        result,
        error_output: Value::UNDEFINED,
    };
    let mut scratch = Scratch::default();
    let mut next = 0x0123_4567_89AB_CDEFu64;
    let mut random = || {
        next = next.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        next
    };
    let mut env = Env {
        now_ms: 1_700_000_000_123,
        random: &mut random,
        scratch: &mut scratch,
        limits: Limits::STEP_FUNCTIONS,
        fuel: &Fuel::unlimited(),
    };
    expr.eval(&mut arena, &scope, &mut env).map(|value| {
        if value.is_undefined() { "undefined".to_owned() } else { json::to_string(&arena, value) }
    })
}

fn shown(source: &str) -> String {
    run(source).unwrap_or_else(|error| error.to_string())
}

#[test]
fn values() {
    let cases = [
        // `$states` and variables.
        ("$states.input.a.b.c", "[1,2]"),
        ("$states.input.a.b[0]", r#"{"c":1}"#),
        ("$states.input.n", "1.5"),
        ("$states.input.big", "9007199254740993"),
        ("$states.result.Payload + 1", "43"),
        ("$states.errorOutput", "undefined"),
        ("$states.context.Execution.Id", r#""Execution/Id""#),
        ("$states.context.Map.Item.Index", "3"),
        ("$states.context.Task.Token", "undefined"),
        ("$states.context.Nothing", "undefined"),
        ("$keys($states)", r#"["input","result","context"]"#),
        ("$states.context", r#"{"Execution":{"Id":"whole"}}"#),
        ("$order.id", r#""o-1""#),
        ("$later", "undefined"),
        ("$unknown", "undefined"),
        ("($order := 5; $order)", "5"),
        ("$map([1,2], function($order) { $order * 2 })", "[2,4]"),
        ("$states.input.a.b[c > 1].c", "2"),
        ("$states.input.a.b.{ 'x': c }", r#"[{"x":1},{"x":2}]"#),
        // $partition
        ("$partition([1,2,3,4,5], 2)", "[[1,2],[3,4],[5]]"),
        ("$partition([1,2,3], 2.9)", "[[1,2],[3]]"),
        ("$partition([1,2,3], 0)", "undefined"),
        ("$partition([], 2)", "undefined"),
        ("$partition([1], 9)", "[[1]]"),
        ("$partition([1,2])", "[[1,2]]"),
        ("$partition([1,2], $unknown)", "[[1,2]]"),
        ("$partition([])", "[[]]"),
        ("$partition($unknown, 2)", "undefined"),
        // $range
        ("$range(1, 9, 2)", "[1,3,5,7,9]"),
        ("$range(1, 9, 9)", "1"),
        ("$range(-1.7, 2, 1)", "[-1,0,1,2]"),
        ("$range(5, 1, -2)", "[5,3,1]"),
        ("$range(1, 5, 0)", "undefined"),
        ("$range(1, 5, -1)", "undefined"),
        ("$range(1, 5)", "undefined"),
        ("$count($range(1, 2000, 1))", "2000"),
        // $hash
        ("$hash('abc', 'MD5')", r#""900150983cd24fb0d6963f7d28e17f72""#),
        ("$hash('abc', 'SHA-1')", r#""a9993e364706816aba3e25717850c26c9cd0d89d""#),
        ("$hash('abc', 'SHA-256')", r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#),
        ("$substring($hash('abc', 'SHA-384'), 0, 16)", r#""cb00753f45a35e8b""#),
        ("$substring($hash('abc', 'SHA-512'), 0, 16)", r#""ddaf35a193617aba""#),
        ("$hash($unknown, 'MD5')", "undefined"),
        // $random, $uuid, $parse
        ("$random(42)", "0.7275636800328681"),
        ("$random() < 1 and $random() >= 0", "true"),
        (
            "$match($uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/).index",
            "0",
        ),
        (r#"$parse('{"a": [1, 2.50]}').a"#, "[1,2.5]"),
        ("$parse('[1.0, 1e2, -0.50]')", "[1,100,-0.5]"),
        (r#"$parse("{'a': {'b': ':', \"c\": \"'\"}}")"#, r#"{"a":{"b":":","c":"'"}}"#),
        ("$parse()", "undefined"),
        ("$string($parse('9223372036854775807'))", r#""9223372036854775807""#),
        ("$string($parse('999999999999999868928'))", r#""999999999999999900000""#),
        // $base64decode, $decodeUrl…
        ("$base64decode('YWJ')", r#""ab""#),
        ("$base64decode('YWI')", r#""ab""#),
        ("$decodeUrlComponent('a+b%2B')", r#""a b+""#),
        ("$decodeUrl('a+b')", r#""a b""#),
        ("$decodeUrlComponent('%E6')", "\"\u{fffd}\""),
        // White space of regular expressions
        (r"$contains('a\u00a0b', /\s/)", "false"),
        (r"$contains('a b', /[\s]/)", "true"),
        (r"$contains('\u00a0', /\S/)", "true"),
        // $formatNumber
        ("$length($formatNumber(1e308, '0.00'))", "312"),
        ("$substring($formatNumber(1e308, '0.00'), 0, 4)", r#""1000""#),
        ("$length($formatNumber(1e308, '0%'))", "312"),
        ("$formatNumber(0.285, '0.00%')", r#""28.50%""#),
        // $string
        ("$string(2/3)", r#""0.666666666666666""#),
        ("$string(-2/3)", r#""-0.666666666666667""#),
        ("$string(0.1 + 0.2)", r#""0.3""#),
        ("$string(-0.9999999999999999)", r#""-1""#),
        ("$string(1234567890123456.7)", r#""1.23456789012345e+15""#),
        ("$string([2/3])", r#""[0.666666666666666]""#),
        ("'' & 2/3", r#""0.666666666666666""#),
        (r#"$length($string(["\u0001\n"]))"#, "7"),
        // A character of two units has two halves.
        ("$count($split('😀', ''))", "2"),
        ("$split('a😀b', '')", "[\"a\",\"\u{fffd}\",\"\u{fffd}\",\"b\"]"),
        ("$count($split('a😀b', '', 2))", "2"),
        // $merge, $sort, NaN
        ("$merge([{'a': 1}, [{'b': 2}, [{'a': 3}]]])", r#"{"a":3,"b":2}"#),
        (r"$sort(['\uff5e', '\ud83d\ude00'])[0] = '\ud83d\ude00'", "true"),
        ("0/0 > 5", "true"),
        ("0/0 < 5", "false"),
        ("5 < 0/0", "true"),
        // $toMillis
        ("$toMillis('12 pm', '[h] [P1]') != $toMillis('12 am', '[h] [P1]')", "true"),
        // Numbers
        ("1/0", r#""Infinity""#),
        ("[-1/0, [1/0]]", r#"["-Infinity",["Infinity"]]"#),
        ("0/0", r#""NaN""#),
        ("$string(1e20)", r#""100000000000000000000""#),
        ("$string(1e21)", r#""1e+21""#),
        ("$count(null)", "1"),
        ("{'a': $unknown, 'b': null}", r#"{"b":null}"#),
        // Time does not advance during an evaluation.
        ("$now() = $now() and $millis() = 1700000000123", "true"),
        ("$now()", r#""2023-11-14T22:13:20.123Z""#),
    ];
    for (source, expected) in cases {
        assert_eq!(shown(source), expected, "{source}");
    }
}

#[test]
fn errors() {
    let cases = [
        ("$eval('1')", "T1006: Attempted to invoke a non-function"),
        ("$abs('x')", "T0410: Argument 1 of function \"abs\" does not match function signature"),
        ("$sum(['x'])", "T0412: Argument 1 of function \"sum\" must be an array of \"numbers\""),
        ("1 + 'x'", "T2002: The right side of the \"+\" operator must evaluate to a number"),
        ("'x' * 1", "T2001: The left side of the \"*\" operator must evaluate to a number"),
        ("-'x'", "D1002: Cannot negate a non-numeric value: \"x\""),
        (
            "1 < 'x'",
            "T2009: The values 1 and \"x\" either side of operator \"<\" must be of the same data type",
        ),
        (
            "1/3 < 'x'",
            "T2009: The values 0.3333333333333333 and \"x\" either side of operator \"<\" must be of the same data type",
        ),
        (
            "$power(100, $unknown)",
            "D3061: The power function has resulted in a value that cannot be represented as a JSON number: base=100, \
             exponent=undefined",
        ),
        ("$number('x')", "D3030: Unable to cast value to a number: \"x\""),
        ("{1: 2}", "T1003: Key in object structure must evaluate to a string; got: 1"),
        ("$error('stop')", "D3137: stop"),
        ("$partition([1], -1)", "D3137: Second argument must be zero or greater"),
        ("$partition(null, 2)", "T0412: Argument 1 of function \"partition\" must be an array of undefined"),
        ("$partition('x', 2)", "T0412: Argument 1 of function \"partition\" must be an array of undefined"),
        ("$partition({'a': 1})", "T0412: Argument 1 of function \"partition\" must be an array of undefined"),
        (
            "$partition([1], '2')",
            "T0410: Argument 2 of function \"partition\" does not match function signature",
        ),
        (
            "$partition([1], null)",
            "T0410: Argument 2 of function \"partition\" does not match function signature",
        ),
        ("$hash()", "T0410: Argument 1 of function \"hash\" does not match function signature"),
        (
            "$hash('x', 'md5')",
            "D3137: Hash algorithm 'md5' must be one of SHA-1, SHA-384, SHA-256, SHA-512, MD5",
        ),
        (
            "$hash('x', $unknown)",
            "D3137: Hash algorithm 'undefined' must be one of SHA-1, SHA-384, SHA-256, SHA-512, MD5",
        ),
        ("$parse('')", "D3137: Invalid JSON"),
        ("$parse('{bad}')", "D3137: Invalid JSON"),
        (r#"$parse('{"a":1,"a":2}')"#, "D3137: Invalid JSON"),
        (r#"$parse('[{"b":{"a":1,"a":2}}]')"#, "D3137: Invalid JSON"),
        ("$parse('[1e400]')", "D3137: Invalid JSON"),
        ("$merge([1])", "T0412: Argument 1 of function \"merge\" must be an array of \"objects\""),
        (
            "$merge([{'a': 1}, [2]])",
            "T0412: Argument 1 of function \"merge\" must be an array of \"objects\"",
        ),
        ("$decodeUrlComponent('%zz')", "D3140: Malformed URL passed to $decodeUrlComponent(): \"%zz\""),
        (
            "$formatNumber(1, 'x')",
            "D3086: The sub-picture must not contain a passive character that is preceded by an active character and \
             that is followed by another active character",
        ),
        (
            "$formatNumber(1, '#0e')",
            "D3093: The exponent part of the sub-picture must comprise only of one or more characters that are \
             members of the 'decimal digit family'",
        ),
        (
            "$toMillis('2018-05-22', '[YN]-[M]-[D]')",
            "D3133: The 'name' modifier can only be applied to months and days in the date/time picture string, not \
             \"Y\"",
        ),
        (
            "$toMillis('x', '[E]')",
            "D3133: The 'name' modifier can only be applied to months and days in the date/time picture string, not \
             \"E\"",
        ),
        ("['a'..3]", "T2003: The left side of the range operator (..) must evaluate to an integer"),
        ("(1/0) + 1", "D1001: Number out of range: null"),
        ("$replace('a', /x*/, '')", "D1004: Regular expression matches zero length string"),
    ];
    for (source, expected) in cases {
        assert_eq!(shown(source), expected, "{source}");
    }
    for source in ["$sum", "function($x) { $x }", "[$sum]", "{'f': /a/}", "$f := function($x) { $x }"] {
        let error = run(source).expect_err(source);
        assert_eq!(error.kind, EvalErrorKind::UnsupportedResult, "{source}");
    }
}

#[test]
fn an_error_has_a_position_and_a_token() {
    let error = run("1 + ('x' * 2)").expect_err("not a number");
    assert_eq!((error.position, error.token.as_deref()), (Some(10), Some("*")));
    let error = run("'é😀' & $abs('x')").expect_err("not a number");
    // UTF-16 code units, as the reference counts.
    assert_eq!((error.position, error.token.as_deref()), (Some(13), Some("abs")));
}

#[test]
fn refusals() {
    let missing_end = "Unexpected end of expression";
    let invalid = [
        ("[1, 2", "S0203", "Expected \"]\" before end of expression"),
        ("[1, 2)", "S0202", "Expected \"]\", got \")\""),
        ("'abc", "S0101", "String literal must be terminated by a matching quote"),
        ("1 +", "S0207", missing_end),
        ("", "S0207", missing_end),
        ("}", "S0211", "The symbol \"}\" cannot be used as a unary operator"),
        ("$match('a', /a)", "S0302", "No terminating / in regular expression"),
        ("1 ?? 2", "S0211", "The symbol \"?\" cannot be used as a unary operator"),
        ("1 ?: 2", "S0211", "The symbol \":\" cannot be used as a unary operator"),
        ("$match('a', /a**/i)", "S0303", "Invalid regular expression: /a**/i: Nothing to repeat"),
        ("/* open", "S0106", "Comment has no closing tag"),
        ("`open", "S0105", "Quoted property name must be terminated with a backquote (`)"),
        ("5 := 6", "S0212", "The left side of := must be a variable name (start with $)"),
    ];
    for (source, code, message) in invalid {
        let error = Expr::compile(source, &mut Variables, NONE).expect_err(source);
        assert_eq!((error.kind, error.code), (CompileErrorKind::Invalid, code), "{source}");
        assert_eq!(error.message, message, "{source}");
    }
    let unsupported = [
        ("phone", "Reference to 'phone' at the top level is not supported.", 5),
        ("1 + phone.number", "Reference to 'phone' at the top level is not supported.", 9),
        ("{ 'a': phone }", "Reference to 'phone' at the top level is not supported.", 12),
        ("function() { phone }", "Reference to 'phone' at the top level is not supported.", 18),
        ("$sum(phone)", "Reference to 'phone' at the top level is not supported.", 10),
        ("$", "Reference to '$' at the top level is not supported.", 1),
        ("$.a", "Reference to '$' at the top level is not supported.", 1),
        ("$$", "Reference to '$$' is not supported.", 2),
        ("$states.input[$$.a]", "Reference to '$$' is not supported.", 16),
        ("$states.errorOutput", "Field '$states.errorOutput' does not exist.", 19),
        ("$states.result.a", "Field '$states.result' does not exist.", 14),
        ("$states.result[0]", "Field '$states.result' does not exist.", 14),
        ("$states.nothing", "Field '$states.nothing' does not exist.", 15),
    ];
    for (source, message, position) in unsupported {
        let error = Expr::compile(source, &mut Variables, NONE).expect_err(source);
        assert_eq!(error.kind, CompileErrorKind::Unsupported, "{source}");
        assert_eq!((error.message.as_str(), error.position), (message, position), "{source}");
    }
    let allowed = [
        "$states.input.phone",
        "$states.input[phone = 1]",
        "$states.input^(phone)",
        "$states.input{phone: $}",
        "$states.input.(phone & $)",
        "$states.input.items.$map(list, function($v) { name })",
        "$states.input ~> |phone|{'a': 1}|",
        "$map($states.input.list, function($v) { $v.phone })",
    ];
    for source in allowed {
        if let Err(error) = Expr::compile(source, &mut Variables, NONE) {
            panic!("{source}: {error}");
        }
    }
}

fn nested(count: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(count), close.repeat(count))
}

#[test]
fn bounds() {
    let stack = "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as \
                 tail-recursive.";
    let memory = "Expression evaluation memory limit exceeded: Check for excessive memory usage";
    let time = "Expression evaluation timeout";
    let sum = |terms: usize| vec!["1"; terms].join("+");
    let chain = |stages: usize| format!("1{}", " ~> $abs".repeat(stages));
    let doubling =
        |times: usize| format!("$length($reduce([1..{times}], function($s, $i) {{ $s & $s }}, 'x'))");
    let cases = [
        (sum(100), "100"),
        (sum(101), stack),
        (nested(99, "(", ")"), "1"),
        (nested(100, "(", ")"), stack),
        (format!("$type({})", nested(98, "[", "]")), "\"array\""),
        (nested(100, "[", "]"), stack),
        (chain(99), "1"),
        (chain(100), stack),
        ("$count([1..873782])".to_owned(), "873782"),
        ("$count([1..873783])".to_owned(), memory),
        ("[1..873782] ~> $count()".to_owned(), "873782"),
        ("$count([1..9999999999])".to_owned(), "D2014"),
        (doubling(22), "4194304"),
        (doubling(23), memory),
        (doubling(400), memory),
        ("$length($pad('x', 4194304))".to_owned(), "4194304"),
        ("$pad('x', 4194305)".to_owned(), memory),
        ("$pad('x', 1e300)".to_owned(), memory),
        ("($f := function() { $f() }; $f())".to_owned(), time),
        ("($f := function() { 1 + $f() }; $f())".to_owned(), stack),
        ("$map([1..100000], function($x) { [1..100000] })".to_owned(), memory),
        ("$range(1, 360146, 1)".to_owned(), memory),
        ("$reduce([1..5000], function($a, $i) { [$a, [$a]] }, [])".to_owned(), memory),
        ("$reduce([1..100000], function($a, $i) { $append($a, $i) }, [])".to_owned(), time),
        ("$reduce($append([$string], [1..2000]), function($f, $i) { $map(?, $f) })([1])".to_owned(), stack),
        ("$reduce($append([$abs], [1..2000]), function($f, $i) { $f ~> $abs })(1)".to_owned(), stack),
        ("$join($map([1..500000], function($i) { 'aaaaaaaaaaaaaaaaaaaa' }))".to_owned(), memory),
        ("$string($reduce([1..60], function($a, $i) { [$a, $a] }, 'x'))".to_owned(), memory),
        ("$reduce([1..900], function($a, $i) { {'a': $a, 'b': $a} }, 'x') = 1".to_owned(), memory),
        (
            "($f := function($s) { $reduce([1..60], function($a, $i) { {'a': $a, 'b': $a} }, $s) }; $f(1) = $f(1))"
                .to_owned(),
            memory,
        ),
        (format!("$match('{}', /(a+)+$/)", "a".repeat(20_000) + "b"), "undefined"),
    ];
    for (source, expected) in cases.into_iter().step_by(step(2)) {
        let outcome = shown(&source);
        let shown = &source[..source.len().min(80)];
        assert!(outcome.starts_with(expected), "{shown}: {}", &outcome[..outcome.len().min(200)]);
    }
}

/// Nothing an author or a caller can write may exhaust a thread's usual stack of 2 MiB, in a debug build as well.
#[test]
fn a_small_stack_is_enough() {
    let sources: Vec<String> = [
        nested(400, "(", ")"),
        nested(100_000, "(", ")"),
        nested(100_000, "[", "]"),
        "-".repeat(100_000),
        "(".repeat(100_000),
        "{'a':".repeat(100_000),
        "function(){".repeat(100_000),
        "a.".repeat(100_000),
        "1+".repeat(100_000),
        "x[".repeat(100_000),
        "a?".repeat(100_000),
        format!("${}", "[0]".repeat(100_000)),
        format!("({})", "$f := ".repeat(100_000)),
        format!("{}1", "1 + ".repeat(450)),
        format!("{}1", "1 & (".repeat(400) + &")".repeat(0)),
        nested(490, "(", ")"),
        nested(490, "[", "]"),
        format!("{}1{}", "$sum(".repeat(450), ")".repeat(450)),
        format!("{}1{}", "{'a': ".repeat(450), "}".repeat(450)),
        format!("{}1{}", "$map(1, function($x){".repeat(200), "})".repeat(200)),
        format!("${}", ".(a".repeat(400) + &")".repeat(400)),
        format!("${}", "[a[b^(c)]]".repeat(200)),
        "($f := function($x) { 1 + $f([$x]) }; $f(1))".to_owned(),
        "($f := function($x) { $map([1], function($y) { $f([$x]) }) }; $f(1))".to_owned(),
        "($f := function($x) { {'a': $x.$f([$])} }; $f(1))".to_owned(),
        "($f := function($x) { [1]@$v#$i.$f($x)^($f($)) }; $f(1))".to_owned(),
        "($f := function($x) { [1,2]{$string($): $f($x)} }; $f(1))".to_owned(),
        "($f := function($x) { $x ~> |$|{'a': $f({})}| }; $f({}))".to_owned(),
        "($f := function($x) { $replace('a', /a/, function($m) { $f(1) }) }; $f(1))".to_owned(),
        "($f := function($x) { $sort([2,1], function($a, $b) { $f(1) }) }; $f(1))".to_owned(),
        "$reduce($append([$string], [1..5000]), function($f, $i) { $map(?, $f) })([1])".to_owned(),
        "$reduce($append([$abs], [1..5000]), function($f, $i) { $f ~> $abs })(1)".to_owned(),
        "($x := $reduce([1..990], function($a, $i) { [$a, $i] }, [1]); $string($x) & $string($distinct([$x, $x])))".to_owned(),
        "($x := $reduce([1..990], function($a, $i) { {'a': $a} }, 1); [$x = $x, $count($x.**), $boolean([$x]), $x ~> |**|{'b':1}|])".to_owned(),
        "($x := $reduce([1..990], function($a, $i) { [$a, $i] }, [1]); [$keys($x), $spread($x), $x.*, $x.a, $boolean($x)])".to_owned(),
    ]
    .into();
    // An optimised build, however it was built, has to do with the stack that threads usually have.
    let stack = if cfg!(debug_assertions) { expressway::limits::STACK_BYTES } else { 2 << 20 };
    let thread = std::thread::Builder::new().stack_size(stack).spawn(move || {
        for source in &sources {
            for profile in [Profile::Language, ALL] {
                let Ok(expr) = Expr::compile(source, &mut Variables, profile) else { continue };
                for limits in [Limits::STEP_FUNCTIONS, Limits::LANGUAGE] {
                    let mut arena = Arena::new();
                    let input = arena.string("x");
                    let scope = Scope {
                        input,
                        variables: Value::UNDEFINED,
                        context: &Parts,
                        result: Value::UNDEFINED,
                        error_output: Value::UNDEFINED,
                    };
                    let mut scratch = Scratch::default();
                    let limits = Limits { work: 100_000_000, ..limits };
                    let mut env = Env {
                        now_ms: 0,
                        random: &mut || 1,
                        scratch: &mut scratch,
                        limits,
                        fuel: &Fuel::unlimited(),
                    };
                    let _ = expr.eval(&mut arena, &scope, &mut env);
                }
            }
        }
    });
    thread.expect("a thread").join().expect("no overflow, no panic");
}
