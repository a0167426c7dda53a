//! Random JSONata expressions over random documents, against other implementations.
//!
//! * `jlens-core`, in process: 2,000 comparisons in a usual run; `JSONATA_DIFFERENTIAL_COUNT=100000` for more.
//! * The reference implementation on Node, when `JSONATA_NODE` names a directory in which `npm install jsonata@2.0.6`
//!   was run: as many comparisons again.
//!
//! `JSONATA_DIFFERENTIAL_SEED` replays a run; the seed of a failure is printed with it. Differences that are known and
//! have a reason are skipped by the rules in [`explained`].

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Env, EvalErrorKind, Expr, Limits, Profile, Scratch};
use expressway::query::{Context, ContextField, Names, Scope, Slot};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::process::{Command, Stdio};

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

/// What an implementation makes of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Undefined,
    Value(Json),
    Error(String),
    /// The value is or holds a function.
    Function,
}

/// A small generator of pseudo-random numbers; the same seed gives the same expressions everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 11) as usize % count
    }

    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "price", "qty", "tags"];
const TEXTS: [&str; 8] = ["", "x", "abc", "a-b c", "12", "Zz", "é😀", "2020-01-02T03:04:05.006Z"];
const NUMBERS: [&str; 10] = ["0", "1", "2", "3", "-1", "10", "0.5", "2.25", "1e3", "100"];

fn document(random: &mut Random, depth: usize) -> Json {
    match random.below(if depth == 0 { 6 } else { 12 }) {
        0 => Json::Null,
        1 => Json::Bool(random.chance(50)),
        2 => json!(TEXTS[random.below(TEXTS.len())]),
        3..=5 => serde_json::from_str(NUMBERS[random.below(NUMBERS.len())]).expect("a number"),
        6..=8 => {
            let count = random.below(4);
            Json::Array((0..count).map(|_| document(random, depth - 1)).collect())
        }
        _ => members(random, depth - 1),
    }
}

fn members(random: &mut Random, depth: usize) -> Json {
    let mut object = serde_json::Map::new();
    for name in NAMES {
        if random.chance(55) {
            object.insert(name.to_owned(), document(random, depth));
        }
    }
    Json::Object(object)
}

/// An expression; `depth` bounds its size.
fn expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return leaf(random);
    }
    let sub = |random: &mut Random| expression(random, depth - 1);
    match random.below(30) {
        0 | 1 => leaf(random),
        2..=7 => path(random, depth),
        8 => format!("({} {} {})", sub(random), random.pick(&["+", "-", "*", "/", "%"]), sub(random)),
        9 => format!(
            "({} {} {})",
            sub(random),
            random.pick(&["=", "!=", "<", "<=", ">", ">=", "in"]),
            sub(random)
        ),
        10 => format!("({} {} {})", sub(random), random.pick(&["and", "or", "&"]), sub(random)),
        11 => format!("[{}, {}]", sub(random), sub(random)),
        12 => format!("[{}]", sub(random)),
        13 => format!("{{'k': {}, 'l': {}}}", sub(random), sub(random)),
        14 => format!("({} ? {} : {})", sub(random), sub(random), sub(random)),
        15 => format!("($v := {}; {})", sub(random), sub(random)),
        16 => format!("{}{{{}: {}}}", path(random, depth), path(random, depth - 1), sub(random)),
        17 | 18 => format!("{}({})", random.pick(&ONE), sub(random)),
        19 => format!("{}({}, {})", random.pick(&TWO), sub(random), sub(random)),
        20 => format!("$map({}, function($v, $i) {{ {} }})", sub(random), sub(random)),
        21 => format!("$filter({}, function($v) {{ {} }})", sub(random), sub(random)),
        22 => format!("$reduce({}, function($v, $w) {{ {} }})", sub(random), sub(random)),
        23 => format!(
            "({} ~> {})",
            sub(random),
            random.pick(&["$string", "$count", "$sum", "$keys", "$reverse"])
        ),
        24 => text_call(random, depth),
        25 => format!(
            "[{}..{}]",
            random.pick(&["0", "1", "-2", "a", "$"]),
            random.pick(&["3", "2", "0", "qty"])
        ),
        26 => format!("({} ~> |{}|{{'n': {}}}|)", sub(random), path(random, depth - 1), sub(random)),
        27 => format!("-{}", sub(random)),
        28 => format!("(function($v) {{ {} }})({})", sub(random), sub(random)),
        _ => format!("$each({}, function($v, $k) {{ $k & {} }})", sub(random), sub(random)),
    }
}

const ONE: [&str; 26] = [
    "$count",
    "$sum",
    "$max",
    "$min",
    "$average",
    "$string",
    "$length",
    "$uppercase",
    "$lowercase",
    "$trim",
    "$number",
    "$abs",
    "$floor",
    "$round",
    "$boolean",
    "$not",
    "$exists",
    "$keys",
    "$spread",
    "$merge",
    "$reverse",
    "$sort",
    "$distinct",
    "$type",
    "$base64encode",
    "$encodeUrlComponent",
];
const TWO: [&str; 8] =
    ["$append", "$lookup", "$zip", "$join", "$substring", "$power", "$contains", "$substringBefore"];

fn leaf(random: &mut Random) -> String {
    match random.below(8) {
        0 => (*random.pick(&NUMBERS)).to_owned(),
        1 => format!("'{}'", random.pick(&TEXTS)),
        2 => random.pick(&["true", "false", "null", "[]", "{}", "$", "$$", "$v"]).to_owned(),
        _ => random.pick(&NAMES).to_owned(),
    }
}

fn path(random: &mut Random, depth: usize) -> String {
    let mut out = match random.below(12) {
        0 => "$".to_owned(),
        1 => "$$".to_owned(),
        2 => "$v".to_owned(),
        3 => "*".to_owned(),
        4 => "**".to_owned(),
        _ => random.pick(&NAMES).to_owned(),
    };
    for _ in 0..random.below(4) {
        match random.below(15) {
            0 => out.push_str(".*"),
            1 => out.push_str(&format!("[{}]", random.pick(&["0", "1", "-1", "0.7", "[0,1]", "true"]))),
            2 if depth > 0 => out.push_str(&format!("[{}]", expression(random, depth - 1))),
            3 if depth > 0 => out.push_str(&format!(".({})", expression(random, depth - 1))),
            4 if depth > 0 => out.push_str(&format!("^({}{})", random.pick(&["", "<", ">"]), key(random))),
            5 => out.push_str("[]"),
            6 if depth > 0 => out.push_str(&format!("@$v.{}", expression(random, 0))),
            7 => out.push_str(&format!(".{}#$i", random.pick(&NAMES))),
            8 if out.ends_with(char::is_alphanumeric) => out.push_str(".%"),
            9 if depth > 0 => out.push_str(&format!(".[{}]", expression(random, depth - 1))),
            10 if depth > 0 => out.push_str(&format!(".{{'k': {}}}", expression(random, depth - 1))),
            11 if depth > 0 => out.push_str(&format!(
                "{{'k': {}}}[{}]",
                expression(random, 0),
                random.pick(&["0", "-1", "true", "a", "[0, 1]"])
            )),
            _ => out.push_str(&format!(".{}", random.pick(&NAMES))),
        }
    }
    out
}

fn key(random: &mut Random) -> String {
    random.pick(&["a", "price", "qty", "$", "$string($)", "-price"]).to_owned()
}

fn text_call(random: &mut Random, depth: usize) -> String {
    let text = if random.chance(50) {
        format!("'{}'", random.pick(&TEXTS))
    } else {
        format!("$string({})", expression(random, depth - 1))
    };
    let pattern = random.pick(&["/[a-c]/", "/(\\w)-(\\w)/", "/\\s+/", "'a'", "'-'", "/^x|c$/i", "/B+/i"]);
    match random.below(8) {
        0 => format!("$split({text}, {pattern})"),
        1 => format!("$replace({text}, {pattern}, '<$0$1>')"),
        2 => format!("$contains({text}, {pattern})"),
        3 => format!("$match({text}, {})", random.pick(&["/[a-c]/", "/(\\w)-(\\w)/", "/\\d/"])),
        4 => format!("$pad({text}, {}, '+-')", random.pick(&NUMBERS)),
        5 => format!("$substring({text}, {}, {})", random.pick(&NUMBERS), random.pick(&NUMBERS)),
        6 => format!(
            "$formatNumber({}, '{}')",
            expression(random, 0),
            // No exponents: the reference never ends on `$formatNumber(0, '0e0')`.
            random.pick(&["#,##0.00", "0", "00.#", "0%", "(#)"])
        ),
        _ => format!(
            "$formatInteger({}, '{}')",
            random.pick(&NUMBERS),
            random.pick(&["0", "w", "I", "a", "#,##0", "Ww;o", "001;o"])
        ),
    }
}

/// Ours.
fn ours(source: &str, input: &Json) -> Outcome {
    let expr = match Expr::compile(source, &mut Nothing, Profile::Language) {
        Ok(expr) => expr,
        Err(error) => return Outcome::Error(error.code.to_owned()),
    };
    let mut arena = Arena::new();
    let input = json::read(&mut arena, input.to_string().as_bytes()).expect("a document is JSON");
    let scope = Scope {
        input,
        variables: Value::UNDEFINED,
        context: &Nothing,
        result: Value::UNDEFINED,
        error_output: Value::UNDEFINED,
    };
    let mut scratch = Scratch::default();
    let mut env = Env {
        now_ms: 0,
        random: &mut || 1,
        scratch: &mut scratch,
        limits: Limits::LANGUAGE,
        fuel: &Fuel::unlimited(),
    };
    match expr.eval(&mut arena, &scope, &mut env) {
        Ok(value) if value.is_undefined() => Outcome::Undefined,
        Ok(value) => {
            let text = json::to_string(&arena, value);
            Outcome::Value(serde_json::from_str(&text).expect("a result is JSON"))
        }
        Err(error) if error.kind == EvalErrorKind::UnsupportedResult => Outcome::Function,
        Err(error) => Outcome::Error(error.code.unwrap_or("U1001").to_owned()),
    }
}

fn jlens(source: &str, input: &Json) -> Outcome {
    let bindings = jlens_core::Bindings::new();
    match jlens_core::Expression::compile(source).and_then(|expr| expr.evaluate(Some(input), &bindings)) {
        Ok(None) => Outcome::Undefined,
        Ok(Some(value)) => Outcome::Value(value),
        Err(error) => Outcome::Error(error.code().to_owned()),
    }
}

/// Runs all pairs through the reference in one process.
fn node(directory: &str, pairs: &[(String, Json)]) -> Vec<Outcome> {
    const SCRIPT: &str = r#"
        const jsonata = require(process.argv[1] + '/node_modules/jsonata');
        const lines = require('fs').readFileSync(0, 'utf8').split('\n').filter(Boolean);
        let odd = false;
        const clean = (key, value) => {
            if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
            if (typeof value === 'function' || (value && (value._jsonata_lambda || value._jsonata_function))) odd = true;
            return value;
        };
        (async () => {
            for (const line of lines) {
                const [source, data] = JSON.parse(line);
                let out;
                try {
                    odd = false;
                    const value = await jsonata(source).evaluate(data);
                    const text = JSON.stringify(value, clean);
                    out = odd ? {f: true} : text === undefined ? {u: true} : {v: JSON.parse(text)};
                } catch (error) {
                    out = {e: error.code || 'internal'};
                }
                console.log(JSON.stringify(out));
            }
        })();
    "#;
    let mut child = Command::new("node")
        .args(["-e", SCRIPT, directory])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let lines: String = pairs.iter().map(|(source, input)| format!("{}\n", json!([source, input]))).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("node ends");
    writer.join().expect("no panic").expect("node reads");
    let outcome = |line: &str| {
        let line: Json = serde_json::from_str(line).expect("an answer is JSON");
        match (line.get("v"), line.get("e").and_then(Json::as_str)) {
            (Some(value), _) => Outcome::Value(value.clone()),
            (_, Some(code)) => Outcome::Error(code.to_owned()),
            _ if line.get("f").is_some() => Outcome::Function,
            _ => Outcome::Undefined,
        }
    };
    String::from_utf8(output.stdout).expect("text").lines().map(outcome).collect()
}

/// Equal, with numbers as doubles that may differ in the last places.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Which implementation ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Jlens,
    Node,
}

/// Why a difference is known, `None` when it is not.
fn explained(
    source: &str,
    input: &Json,
    ours: &Outcome,
    theirs: &Outcome,
    other: Other,
) -> Option<&'static str> {
    let has = |text: &str| source.contains(text);
    let jlens = other == Other::Jlens;
    // Braces of objects and groups, not of function bodies.
    let groups = source.match_indices('{').any(|(at, _)| !source[..at].ends_with(") "));
    let rules = [
        (
            !jlens && groups && input.to_string().contains("[]"),
            "the reference's objects and groups put an item into an empty array of the document itself",
        ),
        (
            has("~> |") && (jlens || has("$$") || has("$v")),
            "the others change the document itself where a transform's pattern leads out of the copy, and make cycles",
        ),
        (
            has("^(") && (has("@$") || has("#$") || has("%")),
            "behind an order-by the others forget that items carry bindings: predicates and groups see the rows",
        ),
        (has("$base64encode"), "the others encode Latin-1 and lose everything else; here text is UTF-8"),
        (
            jlens && has("$contains"),
            "$contains without a second argument is false in 2.0.6 and nothing in 2.2, which jlens follows",
        ),
        (
            jlens && (has(" / ") || has(" % ")),
            "infinity and NaN are values until they are used in 2.0.6; jlens refuses them when they are made",
        ),
        (
            jlens && groups && (has("@$") || has("#$") || has("%")),
            "grouping no rows ends the reference with an exception of its host; jlens evaluates the keys",
        ),
        (jlens && has("$power"), "jlens prints whole numbers beyond 2^53 with more than 15 digits"),
    ];
    if let Some((_, reason)) = rules.iter().find(|(applies, _)| *applies) {
        return Some(reason);
    }
    match (ours, theirs) {
        (_, Outcome::Error(code)) if code == "internal" => {
            Some("a JavaScript exception, not a JSONata error")
        }
        (Outcome::Error(_), Outcome::Error(_)) if source.contains(',') => Some(
            "the reference evaluates the members of constructors at the same time: any of their errors may be first",
        ),
        (Outcome::Function, _) | (_, Outcome::Function) => Some("a function in the result: refused here"),
        _ => None,
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn pairs() -> (u64, Vec<(String, Json)>) {
    let seed = setting("JSONATA_DIFFERENTIAL_SEED", 0x2545_F491_4F6C_DD1D);
    let count = setting("JSONATA_DIFFERENTIAL_COUNT", 2_000);
    let mut random = Random(seed | 1);
    let pairs = (0..count).map(|index| {
        let input = if random.chance(80) { members(&mut random, 3) } else { document(&mut random, 3) };
        (expression(&mut random, 1 + index as usize % 4), input)
    });
    (seed, pairs.collect())
}

fn compare(other: Other, seed: u64, pairs: &[(String, Json)], theirs: &[Outcome]) {
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for ((source, input), theirs) in pairs.iter().zip(theirs) {
        let ours = std::panic::catch_unwind(|| ours(source, input))
            .unwrap_or_else(|_| panic!("{source} over {input}"));
        let agrees = match (&ours, theirs) {
            (Outcome::Value(a), Outcome::Value(b)) => same(a, b),
            (a, b) => a == b,
        };
        match agrees {
            true => passed += 1,
            false if explained(source, input, &ours, theirs, other).is_some() => skipped += 1,
            false => {
                failed.push(format!("{source}\n  over   {input}\n  ours   {ours:?}\n  theirs {theirs:?}"))
            }
        }
    }
    println!("{other:?}: {passed} passed, {} failed, {skipped} skipped (seed {seed})", failed.len());
    failed.sort_by_key(String::len);
    let shown = failed.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failed.is_empty(), "{} of {} differ:\n{shown}", failed.len(), pairs.len());
    assert_eq!(pairs.len(), theirs.len(), "an answer for every question");
}

#[test]
fn agrees_with_jlens() {
    let (seed, pairs) = pairs();
    let theirs: Vec<Outcome> = pairs.iter().map(|(source, input)| jlens(source, input)).collect();
    compare(Other::Jlens, seed, &pairs, &theirs);
}

#[test]
fn agrees_with_the_reference() {
    let Ok(directory) = std::env::var("JSONATA_NODE") else {
        eprintln!("JSONATA_NODE is not set: the reference implementation was not run");
        return;
    };
    let (seed, pairs) = pairs();
    let theirs = node(&directory, &pairs);
    compare(Other::Node, seed, &pairs, &theirs);
}
