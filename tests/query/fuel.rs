//! Fuel: code that processes a user's data charges for it, so that a driver gets to read the clock.

use crate::meter::{Chance, Meter, count, longest};
use crate::required::{some_of, step};
use expressway::fuel::{self, Cut, Fuel};
use expressway::json::{self, Arena, Value};
use expressway::query::intrinsic::Call;
use expressway::query::jsonata::{Allowed, Env, EvalErrorKind, Expr, Limits, Profile, Scratch};
use expressway::query::path::Path;
use expressway::query::{Context, ContextField, Names, Scope, Slot};

/// No variables and no context object.
pub(crate) struct Nothing;

impl Names for Nothing {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

/// Work that is charged at once, at most: what is done at once in a library, and cannot be divided, is named in
/// `LARGE_AT_ONCE`.
const AT_ONCE_MAX: u64 = 2_000_000;
/// Time between two looks at the clock, in nanoseconds of the processor. Generous for unoptimised tests.
pub(crate) const STRETCH_NS_MAX: u64 = if cfg!(debug_assertions) { 500_000_000 } else { 5_000_000 };

/// What is evaluated: `JSONata`, a path that begins with `$`, or an intrinsic function.
pub(crate) fn evaluate(source: &str, input: &str, fuel: &Fuel<'_>) -> Result<String, Option<Cut>> {
    let mut arena = Arena::new();
    let input = json::read(&mut arena, input.as_bytes()).expect("JSON");
    let undefined = Value::UNDEFINED;
    let scope =
        Scope { input, result: undefined, error_output: undefined, variables: undefined, context: &Nothing };
    let mut random = || 4;
    let found = match source.strip_prefix("{% ").and_then(|rest| rest.strip_suffix(" %}")) {
        Some(expression) => {
            let profile = Profile::StepFunctions(Allowed::default());
            let Ok(expr) = Expr::compile(expression, &mut Nothing, profile) else { return Err(None) };
            let mut scratch = Scratch::default();
            let limits = Limits::STEP_FUNCTIONS;
            let mut env = Env { now_ms: 0, random: &mut random, scratch: &mut scratch, limits, fuel };
            expr.eval(&mut arena, &scope, &mut env).map_err(|error| match error.kind {
                EvalErrorKind::Cut(cut) => Some(cut),
                _ => None,
            })
        }
        None if source.starts_with('$') => {
            let path = Path::parse(source, &mut Nothing).unwrap_or_else(|error| panic!("{source}: {error}"));
            path.eval(&mut arena, &scope, fuel).map_err(|_| fuel.cut())
        }
        None => {
            let call = Call::parse(source, &mut Nothing).unwrap_or_else(|error| panic!("{source}: {error}"));
            call.eval(&mut arena, &scope, &mut random, fuel).map_err(|_| fuel.cut())
        }
    };
    found.map(
        |value| if arena.size(value) < 1 << 20 { json::to_string(&arena, value) } else { "large".to_owned() },
    )
}

/// An input with `n` of everything.
pub(crate) fn input(n: usize) -> String {
    let text = "a".repeat(n);
    let words = "ab, ".repeat(n / 4);
    let accents = "é".repeat(n / 2);
    let list = |item: &dyn Fn(usize) -> String, n: usize| (0..n).map(item).collect::<Vec<_>>().join(",");
    let numbers = list(&|i| (i * 7919 % n).to_string(), n / 8);
    let texts = list(&|i| format!("\"{}{i}\"", "k".repeat(20)), n / 32);
    let objects = list(&|i| format!("{{\"k\":{i},\"t\":\"x{}\",\"g\":{}}}", i % 10, i % 7), n / 32);
    let members = list(&|i| format!("\"m{i}\":{i}"), n / 16);
    let long = list(&|i| format!("\"{}{}\"", "l".repeat(n / 16), 9 - i), 10);
    let digits = "1".repeat(n);
    format!(
        "{{\"text\":\"{text}\",\"words\":\"{words}\",\"accents\":\"{accents}\",\"numbers\":[{numbers}],\
         \"texts\":[{texts}],\"objects\":[{objects}],\"object\":{{{members}}},\"long\":[{long}],\
         \"digits\":\"{digits}\"}}"
    )
}

/// Each processes something that grows with the input: `@` stands for the input.
const BOMBS: &[&str] = &[
    // Texts.
    "{% $count([1..30].$substringBefore(@text, 'b')) %}",
    "{% $count([1..30].$substringAfter(@text, 'ab')) %}",
    "{% $count([1..30].$contains(@text, 'aaaaab')) %}",
    "{% $count([1..60].$substring(@accents, 3)) %}",
    "{% $count([1..60].$substring(@accents, -3, 2)) %}",
    "{% $count([1..200].$length(@text)) %}",
    "{% $count([1..200].$length(@accents)) %}",
    "{% $count([1..60].$lowercase(@text)) %}",
    "{% $count([1..9].$uppercase(@accents)) %}",
    "{% $count([1..9].$lowercase('ΑΣ' & @accents)) %}",
    "{% $count([1..30].$trim(@words)) %}",
    "{% $count([1..30].$pad('x', $length(@text), 'yz')) %}",
    "{% $count([1..30].$join(@texts, '-')) %}",
    "{% $count([1..9].$split(@words, ', ')) %}",
    "{% $count([1..9].$split(@text, '')) %}",
    "{% $count([1..9].$replace(@words, 'ab', 'c')) %}",
    "{% $count([1..30].(@text & $)) %}",
    "{% $count([1..99].(@text = @text & '')) %}",
    "{% $count([1..60].((@text & 'a') < (@text & 'b'))) %}",
    "{% $count([1..60].((@text & 'a') in [@text & 'b'])) %}",
    "{% $count([1..30].$base64encode(@text)) %}",
    "{% $count([1..30].$base64decode(@text & @text)) %}",
    "{% $count([1..30].$encodeUrlComponent(@words)) %}",
    "{% $count([1..30].$encodeUrl(@accents)) %}",
    "{% $count([1..30].$decodeUrl(@words)) %}",
    "{% $count([1..9].$hash(@text, 'SHA-512')) %}",
    "{% $count([1..9].$hash(@text, 'MD5')) %}",
    "{% $count([1..9].$string(@objects)) %}",
    "{% $count([1..9].$parse($string(@objects))) %}",
    "{% $count([1..30].$eval2) %}",
    // Regular expressions.
    "{% $count([1..9].$contains(@text, /[ab]*c/)) %}",
    "{% $count([1..3].$contains(@text, /(a|aa)+b/)) %}",
    "{% $count([1..3].$match(@words, /(a)(b)/)) %}",
    "{% $count($match(@text, /((a)|(b)|(c)|(d))+$/)) %}",
    "{% $count($match(@text, /(a?){30}b/)) %}",
    "{% $count($match(@words, /(?<=(a))b(?=,)\\1?/)) %}",
    "{% $count([1..3].$contains(@text, /^(?=(?:a|b)*c)/)) %}",
    "{% $count([1..3].$contains(@text, /^(a*)\\1c/i)) %}",
    "{% $count([1..3].$contains(@accents, /^.*(?<=.*b)/)) %}",
    "{% $count([1..3].$contains(@text, /^[a-z]*b/m)) %}",
    "{% $count($split(@words, /,\\s*/)) %}",
    "{% $length($replace(@words, /a(b)/, '$1$0')) %}",
    "{% $length($replace(@words, /a(b)/, function($m) { $m.groups[0] })) %}",
    "{% ($m := /[ab]*c/; $count([1..9].$m(@text))) %}",
    "{% $count([1..9].$match(@text, function($t) { {'match': 'a', 'start': $length($t) - 1, 'end': $length($t), 'groups': [], 'next': function() { $nothing }} })) %}",
    // Numbers and dates.
    "{% $count([1..99].$number(@digits)) %}",
    "{% $count([1..99].$parseInteger(@digits, '0')) %}",
    "{% $count(@numbers.$formatNumber($, '#,##0.00')) %}",
    "{% $count(@numbers.$formatInteger($, 'w')) %}",
    "{% $count(@numbers.$fromMillis($)) %}",
    "{% $count(@numbers.$toMillis('2020-01-01T00:00:00Z')) %}",
    "{% $count(@numbers.$formatBase($, 2)) %}",
    "{% $count(@numbers.$round($ / 3, 2)) %}",
    "{% $count(@numbers.$uuid()) %}",
    // Arrays and objects.
    "{% $sum(@numbers) + $max(@numbers) + $average(@numbers) %}",
    "{% $count($sort(@numbers)) %}",
    "{% $count($sort(@texts)) %}",
    "{% $count([1..9].$sort(@long)) %}",
    "{% $count([1..9].(@long^($))) %}",
    "{% $count($sort(@objects, function($a, $b) { $a.k < $b.k })) %}",
    "{% $count(@objects^(t, >k)) %}",
    "{% $count($distinct(@texts)) %}",
    "{% $count($distinct(@objects.[g])) %}",
    "{% $count($reverse(@numbers)) + $count($shuffle(@numbers)) %}",
    "{% $count([1..9].$append(@numbers, @numbers)) %}",
    "{% $count($zip(@numbers, @numbers)) %}",
    "{% $count($partition(@numbers, 3)) %}",
    "{% $count([1..9].$range(1, $count(@numbers), 1)) %}",
    "{% $count($map(@numbers, function($n) { $n + 1 })) %}",
    "{% $count($filter(@numbers, function($n) { $n > 1 })) %}",
    "{% $reduce(@numbers, function($a, $b) { $a + $b }) %}",
    "{% $count($each(@object, function($v, $k) { $k })) %}",
    "{% $count($keys($sift(@object, function($v) { $v > 1 }))) %}",
    "{% $count([1..30].$keys(@object)) %}",
    "{% $count([1..9].$keys(@objects)) %}",
    "{% $count([1..99].$lookup(@object, 'none')) %}",
    "{% @object.m1 %}",
    "{% $count([1..9].$merge([@object, @object])) %}",
    "{% $count([1..9].$spread(@object)) %}",
    "{% $count([1..9].(@objects ~> |$|{'k': 1}, ['t']|)) %}",
    "{% $count([1..9].$clone(@objects)) %}",
    "{% $count([1..30].(@object = (@object ~> |$|{}|))) %}",
    "{% $count([1..30].(@numbers = $append(@numbers, []))) %}",
    "{% $count([1..99].($count(@numbers) in @numbers)) %}",
    "{% $count([1..9].@objects{t: $sum(k)}) %}",
    "{% $count([1..9].@objects.*) %}",
    "{% $count([1..9].@objects[k > 3]) %}",
    "{% $count([1..9].$states.input.**.k) %}",
    "{% $count([1..9].@objects@$o.{'k': $o.k}) %}",
    "{% $count([1..9].@objects#$i[$i > 2]) %}",
    "{% $count([1..99].($boolean(@numbers) and $not(@numbers))) %}",
    "{% $count([1..99].@numbers.($ ~> $string)) %}",
    // Paths.
    "$..*..k",
    "$..*",
    "$.objects[*].t",
    "$.objects[?(@.k > 3)].t",
    "$.objects[?(@.t =~ /x(1|2)*/)]",
    "$.long[?(@ == 'l')]",
    "$.long[?(@ =~ /(l|ll)*9876543210987654321098765432109876543210/)]",
    "$.numbers[0:100000]",
    "$.object.none",
    // Intrinsic functions.
    "States.ArrayContains($.objects, 'none')",
    "States.ArrayUnique($.objects)",
    "States.ArrayPartition($.numbers, 3)",
    "States.Format('{} {}', $.text, $.objects)",
    "States.JsonToString($.objects)",
    "States.StringToJson(States.JsonToString($.objects))",
    "States.StringSplit($.words, ' ,')",
    "States.JsonMerge($.object, $.object, false)",
    "States.ArrayLength($..*)",
];

/// Ends before the work is done, for any `n`; these are not expected to grow.
const NOTHING_GROWS: [&str; 2] =
    ["{% $count([1..30].$eval2) %}", "{% $count([1..99].$parseInteger(@digits, '0')) %}"];

#[test]
fn all_work_is_charged_as_the_data_grows() {
    let inputs = [input(4_000), input(16_000)];
    let mut failures = Vec::new();
    for bomb in BOMBS.iter().step_by(step(4)) {
        let source = bomb.replace('@', if bomb.starts_with("{%") { "$states.input." } else { "@" });
        let source = source.replace("$states.input.$o", "@$o");
        let mut work = [0; 2];
        for (input, work) in inputs.iter().zip(&mut work) {
            let (longest, ns) = longest(u64::MAX, STRETCH_NS_MAX, |meter| {
                let fuel = Fuel::new(fuel::SLICE, meter);
                let _ = evaluate(&source, input, &fuel);
                *work = fuel.used();
            });
            if longest > AT_ONCE_MAX || ns > STRETCH_NS_MAX {
                failures.push(format!("{source}: {longest} units and {ns} ns without a look at the clock"));
            }
        }
        assert!(work[0] > 100, "{source} does nothing");
        if work[1] < work[0] * 5 / 2 && !NOTHING_GROWS.contains(bomb) {
            failures.push(format!("{source}: work {work:?} does not grow with the data"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), BOMBS.len(), failures.join("\n"));
}

/// A cut ends an evaluation anywhere, and is distinguished from the expression's own errors.
#[test]
fn a_cut_ends_any_evaluation() {
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let input = input(16_000).replacen('{', &format!("{{\"deep\":{deep},"), 1);
    for source in [
        "{% $count([1..800000].$substringBefore($states.input.text, 'b')) %}",
        "{% ($f := function($n) { $f($n + 1) }; $f(1)) %}",
        "{% $reduce([1..800000], function($a, $b) { $match($states.input.text, /(a|aa)+b/) }) %}",
        "{% $match($states.input.text, /(?=(a+)+b)/) %}",
        "{% $match($states.input.text, /(a+)\\1+c/) %}",
        "{% $states.input.numbers.($states.input.numbers.($states.input.numbers)) %}",
        "$..*..*..*..*..z",
    ] {
        let meter = Meter::new(5_000_000);
        let fuel = Fuel::new(fuel::SLICE, &meter);
        assert_eq!(evaluate(source, &input, &fuel), Err(Some(Cut::Deadline)), "{source}");
        assert!(fuel.used() < 8_000_000, "{source}: {}", fuel.used());
        assert_eq!(fuel.charge(1), Err(Cut::Deadline), "{source}");
    }
}

/// A large text of JSON is read in pieces.
#[test]
fn a_large_text_is_parsed_in_pieces() {
    for item in ["7", r#"{"a": [1.5, "b"]}"#] {
        let source = format!(
            "{{% $count($parse('[' & $join($map([1..20000], function() {{ '{item}' }}), ',') & ']')) %}}"
        );
        let meter = Meter::new(u64::MAX);
        let fuel = Fuel::new(fuel::SLICE, &meter);
        assert_eq!(evaluate(&source, "{}", &fuel).as_deref(), Ok("20000"), "{source}");
        let longest = meter.longest_work.get();
        assert!(longest <= 2 * fuel::PIECE, "{source}: {longest} units at once");
    }
}

/// As large as values may be: what is done at once elsewhere is done piece by piece here.
const LARGE: &[&str] = &[
    "$count($shuffle([1..870000]))",
    "$count($reverse([1..870000]))",
    "$sort([1..400000])[0]",
    "$count([1..200000]^(>$))",
    "$count($append([1..430000], [1..430000]))",
    "$count($partition([1..870000], 870000))",
    "$count($range(1, 360000, 1))",
    "$count($distinct([1..200000]))",
    "$count($map([1..870000], function($v) { $v }))",
    "$count($zip([1..100000], [1..100000]))",
    "$length($string([1..400000]))",
    "$count($parse($string([1..400000])))",
    "$length($uppercase($pad('', 4000000, 'é')))",
    "$length($pad('', 4000000, '漢') & $pad('', 100000, 'b'))",
    "$length($join($map([1..300000], $string), ','))",
    "$count($split($pad('', 400000, 'a,'), ','))",
    "$count($keys($merge([1..60000].{'k' & $: $})))",
    "$count([1..300000]{$string($): $})",
    // Much lives, and much is made beside it.
    "($x := $map([1..200000], function($i) { {'a': 'x' & $i} }); $y := $map([1..300000], function($i) { [$i] }); $count($x))",
    "($x := [1..50000].('text ' & $); $y := $reduce([1..300], function($a, $i) { $reverse($x) }, []); $count($x))",
    "($f := $map([1..100000], function($i) { function() { $i } }); $y := $map([1..300000], function($i) { [$i] }); $count($f))",
];

#[test]
fn the_largest_values_are_handled_in_pieces() {
    let mut failures = Vec::new();
    for expression in LARGE.iter().step_by(step(6)) {
        let (work, ns) = longest(u64::MAX, STRETCH_NS_MAX, |meter| {
            let found = evaluate(&format!("{{% {expression} %}}"), "{}", &Fuel::new(fuel::SLICE, meter));
            assert!(found.is_ok(), "{expression}: {found:?}");
        });
        println!("{:6} us, {work:7} units: {expression}", ns / 1_000);
        if work > AT_ONCE_MAX || ns > STRETCH_NS_MAX {
            failures.push(format!("{expression}: {work} units and {ns} ns without a look at the clock"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), LARGE.len(), failures.join("\n"));
}

/// What an argument prints as may be thousands of times what it takes.
#[test]
fn what_prints_as_too_much_is_refused() {
    let deep = format!(
        "{{\"l\": [1], \"deep\": {}\"{}\"{}}}",
        "[".repeat(900),
        "x".repeat(100_000),
        "]".repeat(900)
    );
    for source in
        ["States.ArrayContains($.l, $..*)", "States.ArrayContains($..*, 1)", "States.ArrayUnique($..*)"]
    {
        let (_, ns) = longest(u64::MAX, STRETCH_NS_MAX, |meter| {
            assert_eq!(evaluate(source, &deep, &Fuel::new(fuel::SLICE, meter)), Err(None), "{source}");
        });
        assert!(ns < STRETCH_NS_MAX, "{source}: {ns} ns");
    }
    assert_eq!(evaluate("States.ArrayLength($..*)", &deep, &Fuel::unlimited()).as_deref(), Ok("903"));
}

/// What AWS allows is allowed here: memory counts what lives, and a match what it goes over.
#[test]
fn large_but_legal() {
    legal(&[
        ("{% $length($reduce([1..3000], function($a, $i) { $a & '12345678901234567890' }, '')) %}", "60000"),
        ("{% $count($reduce([1..4000], function($a, $i) { $append($a, $i) }, [])) %}", "4000"),
        (
            "{% ($f := function($a, $n) { $n = 0 ? $length($a) : $f($a & '12345678901234567890', $n - 1) }; $f('', 3000)) %}",
            "60000",
        ),
        ("{% $count($split($pad('', 200000, 'ab,'), /,/)) %}", "66667"),
        ("{% $count($split($pad('', 600000, 'ab,'), ',')) %}", "200001"),
        ("{% $length($replace($pad('', 600000, 'ab,'), ',', ';')) %}", "600000"),
        ("{% $count($match($pad('', 200000, 'ab,'), /(a)(b)/)) %}", "66667"),
        ("{% $count($match($pad('', 200000, 'ab,'), /(a)(?=b)/)) %}", "66667"),
        ("{% $count($split($pad('', 200000, 'ab,'), /(?<=b),/)) %}", "66667"),
        ("{% $length($match($pad('', 200000, 'a'), /^(a|b)+(?!b)/).match) %}", "200000"),
        ("{% $length($replace($pad('', 200000, 'ab,'), /(?<![a-z])(\\w)(?=\\w)/, '$1-')) %}", "266667"),
        ("{% $reduce([1..500], function($a, $i) { $merge([$a, {$string($i): $i}]) }, {}).`500` %}", "500"),
        (
            "{% $reduce([1..300], function($a, $i) { ($f := function() { $a }; $f() & $pad('', 1000, 'y')) }, '') ~> $length() %}",
            "300000",
        ),
        (
            "{% ($x := $map([1..300], function($i) { function($j) { $i + $j } }); $y := $reduce([1..3000], function($a, $i) { $a & '1234567890123456' }, ''); $x[299](1) + $length($y)) %}",
            "48301",
        ),
    ]);
}

#[test]
fn large_but_legal_mapped() {
    legal(&[("{% $sum($map([1..330], function($i) { $length($pad('', 200000, 'x')) })) %}", "66000000")]);
}

#[test]
fn large_but_legal_over_a_path() {
    legal(&[("{% $sum([1..330].$length($pad('', 200000, 'x'))) %}", "66000000")]);
}

fn legal(cases: &[(&str, &str)]) {
    for &(source, expected) in cases {
        assert_eq!(evaluate(source, "{}", &Fuel::unlimited()).as_deref(), Ok(expected), "{source}");
    }
}

/// What never ends is ended by its work, the same on every machine, and in AWS's words.
#[test]
fn an_evaluation_ends_after_about_a_second_of_work() {
    for source in [
        "($f := function($n) { $f($n + 1) }; $f(1))",
        "[1..800000].($x := $; [1..800000])",
        "$match($pad('', 200000, 'a'), /(?=(a+)+b)/)",
        "$match($pad('', 200000, 'a'), /(a+)\\1+c$/)",
    ] {
        let expr = Expr::compile(source, &mut Nothing, Profile::StepFunctions(Allowed::default()))
            .expect("compiles");
        let mut works = [0; 2];
        for work in &mut works {
            let (mut arena, mut scratch) = (Arena::new(), Scratch::default());
            let undefined = Value::UNDEFINED;
            let scope = Scope {
                input: undefined,
                result: undefined,
                error_output: undefined,
                variables: undefined,
                context: &Nothing,
            };
            // A hundredth of the second, for the tests' sake.
            let limits = Limits { work: Limits::STEP_FUNCTIONS.work / 100, ..Limits::STEP_FUNCTIONS };
            let fuel = Fuel::unlimited();
            let mut env = Env { now_ms: 0, random: &mut || 1, scratch: &mut scratch, limits, fuel: &fuel };
            let error = expr.eval(&mut arena, &scope, &mut env).expect_err("never ends");
            let says = [
                "Expression evaluation timeout: Check for infinite loop",
                "Expression evaluation memory limit exceeded: Check for excessive memory usage",
            ];
            assert!(says.contains(&error.message.as_str()), "{source}: {error}");
            *work = fuel.used();
        }
        assert_eq!(works[0], works[1], "{source}");
    }
}

/// Random expressions of the pieces that cost most: no stretch is longer than a look at the clock allows.
#[test]
fn random_expressions_look_at_the_clock() {
    let input = input(8_000);
    let mut slowest = (0, String::new());
    let seeds = count(some_of(1_500, 3));
    for seed in seeds.clone() {
        let mut chance = Chance(seed);
        let source = match chance.below(4) {
            0 => chance.path(),
            1 => chance.intrinsic(2),
            _ => format!("{{% {} %}}", chance.expression(3)),
        };
        let (work, ns) = longest(4_000_000, STRETCH_NS_MAX, |meter| {
            let _ = evaluate(&source, &input, &Fuel::new(fuel::SLICE, meter));
        });
        assert!(work <= 4 * AT_ONCE_MAX, "{source}: {work} units at once (seed {seed})");
        assert!(ns <= STRETCH_NS_MAX, "{source}: {ns} ns without a look at the clock (seed {seed})");
        if ns > slowest.0 {
            slowest = (ns, format!("{source} (seed {seed}, {work} units)"));
        }
    }
    println!("{} expressions; longest stretch {} us: {}", seeds.count(), slowest.0 / 1_000, slowest.1);
}

impl Chance {
    /// A path whose steps are chance's.
    fn path(&mut self) -> String {
        const STEPS: [&str; 14] = [
            ".objects",
            ".numbers",
            ".texts",
            ".object",
            ".long",
            ".text",
            ".*",
            "..*",
            "..k",
            "[*]",
            "[0:1000]",
            "[-1]",
            "[?(@.k > 3)]",
            "[?(@ =~ /(l|ll|k|a)*9/)]",
        ];
        let steps = 1 + self.below(4);
        (0..steps).fold("$".to_owned(), |path, _| path + self.pick(&STEPS))
    }

    /// An intrinsic function; `_` in a form is replaced by another one, or a path.
    fn intrinsic(&mut self, depth: u32) -> String {
        const FORMS: [&str; 14] = [
            "States.Array(_, _, _)",
            "States.ArrayPartition(_, 3)",
            "States.ArrayContains(_, _)",
            "States.ArrayRange(1, 1000, 1)",
            "States.ArrayGetItem(_, 3)",
            "States.ArrayLength(_)",
            "States.ArrayUnique(_)",
            "States.Base64Encode(States.JsonToString(_))",
            "States.Hash(_, 'SHA-256')",
            "States.JsonMerge(_, _, false)",
            "States.JsonToString(_)",
            "States.StringToJson(States.JsonToString(_))",
            "States.Format('{} {}', _, _)",
            "States.StringSplit(States.JsonToString(_), ',:')",
        ];
        let form = self.pick(&FORMS);
        let mut out = String::new();
        for (index, part) in form.split('_').enumerate() {
            if index > 0 {
                let nests = depth > 0 && self.below(2) == 0;
                out.push_str(&if nests { self.intrinsic(depth - 1) } else { self.path() });
            }
            out.push_str(part);
        }
        out
    }

    /// `_` in a form is replaced by another expression.
    fn expression(&mut self, depth: u32) -> String {
        const LEAVES: [&str; 14] = [
            "$states.input.text",
            "$states.input.words",
            "$states.input.accents",
            "$states.input.numbers",
            "$states.input.texts",
            "$states.input.objects",
            "$states.input.object",
            "$states.input.long",
            "$states.input",
            "'a'",
            "3",
            "[1..1000]",
            "$pad('', 100000, 'ab')",
            "{'a': 1}",
        ];
        const FORMS: [&str; 45] = [
            "$substringBefore($string(_), $string(_))",
            "$contains($string(_), /(a|b)*c/)",
            "$length($string(_))",
            "($string(_) & $string(_))",
            "$split($string(_), /[, ]+/)",
            "$match($string(_), /(a)|(b)|([0-9]+)/, 500)",
            "$match($string(_), /(?=(a|b)*c?).\\1/, 500)",
            "$replace($string(_), /[a-c]/, 'xyz')",
            "$map(_, function($v) { _ })",
            "$filter(_, function($v) { $exists(_) })",
            "$reduce(_, function($a, $b) { [$a, $b] })",
            "$sort([_, _] ~> $map($string))",
            "$distinct([_, _])",
            "_.*",
            "_.**",
            "(_)[$exists(_)]",
            "(_).{'k': _}",
            "(_){$string($): $count(_)}",
            "(_)^($string($))",
            "$append(_, _)",
            "$reverse([_])",
            "$zip([_], [_])",
            "$merge([{'a': _}, {'b': _}])",
            "$keys(_)",
            "$spread([_])",
            "(_ = _)",
            "(_ in [_])",
            "($string(_) < $string(_))",
            "$uppercase($string(_))",
            "$trim($string(_))",
            "$base64encode($string(_))",
            "$hash($string(_), 'SHA-256')",
            "$parse($string(_))",
            "$each({'a': _}, function($v) { _ })",
            "$clone([_])",
            "([_] ~> |$|{'z': _}|)",
            "$boolean(_)",
            "$join([_] ~> $map($string), $string(_))",
            "$count(_)",
            "$partition([_], 2)",
            "$lookup(_, 'k')",
            "($x := _; $y := _; [$x, $y])",
            "[_, _, _]",
            "{'a': _, 'b': _}",
            "$encodeUrl($string(_))",
        ];
        if depth == 0 {
            return self.pick(&LEAVES).to_owned();
        }
        let form = self.pick(&FORMS);
        let mut out = String::new();
        for (index, part) in form.split('_').enumerate() {
            if index > 0 {
                let less = 1 + self.below(depth as usize) as u32;
                out.push_str(&self.expression(depth - less));
            }
            out.push_str(part);
        }
        out
    }
}
