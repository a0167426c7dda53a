//! Work grows in proportion: twice as much of anything takes at most 2.2 times as long on the thread's own clock,
//! measured at a size and at four times that. What is too much there is measured at sixteen times as well: a step from
//! one cache to the next shows between two sizes, while work that grows faster than its input shows between all. Each
//! row is a shape that a definition or input can have; those that were quadratic once are among them.
#![cfg(target_os = "linux")]

use std::fmt::Write;
use std::sync::Arc;

use expressway::asl::{self, Options, Severity};
use expressway::compile;
use expressway::program::Program;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::Driver;
use expressway::task::Handlers;
use rustix::time::{ClockId, clock_gettime};

use required::step;

#[path = "required/mod.rs"]
mod required;

/// The system's gives large blocks back to the kernel, and clearing new ones is then most of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Twice as much, and what caches and allocators add.
const GROWTH_MAX: f64 = 2.2;
/// The least of so many runs counts: what others do on the machine only adds.
const RUNS: usize = 2;
/// Repeated measurements after a violation: on a busy machine the least time takes longer to be seen.
const RUNS_MAX: usize = 30;

/// Nanoseconds of this thread's processor time that `work` takes.
fn measure<T>(work: impl FnOnce() -> T) -> f64 {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
    };
    let before = now();
    let result = work();
    let took = now() - before;
    drop(result);
    took
}

/// How much longer `large`, which is four times `small`, takes for twice as much.
fn ratio(small: &mut impl FnMut(), large: &mut impl FnMut()) -> f64 {
    let (mut least, mut least_large) = (f64::MAX, f64::MAX);
    for run in 0..RUNS_MAX {
        if run >= RUNS && (least_large / least).sqrt() <= GROWTH_MAX {
            break;
        }
        least = least.min(measure(&mut *small));
        least_large = least_large.min(measure(&mut *large));
    }
    println!("    {:.2} ms -> {:.2} ms", least / 1e6, least_large / 1e6);
    (least_large / least).sqrt()
}

/// How much longer it takes for twice as much. `prepare` makes work of once, four and sixteen times a size.
fn growth<W: FnMut()>(prepare: impl Fn(usize) -> W) -> f64 {
    let (mut small, mut large) = (prepare(1), prepare(4));
    let growth = ratio(&mut small, &mut large);
    if growth <= GROWTH_MAX {
        return growth;
    }
    growth.min(ratio(&mut large, &mut prepare(16)))
}

/// Measures all rows before it complains.
fn check(rows: Vec<(&str, f64)>) {
    let mut steep = String::new();
    for (name, growth) in rows {
        println!("{growth:5.2}  {name}");
        if growth > GROWTH_MAX {
            let _ = writeln!(steep, "{name}: {growth:.2} times as long for twice as much");
        }
    }
    assert!(steep.is_empty(), "{steep}");
}

/// `count` times what `part` writes, with commas between.
fn list(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(",")
}

/// A machine of one Pass state with these fields, in JSONata.
fn pass(fields: &str) -> String {
    format!(
        r#"{{"QueryLanguage":"JSONata","StartAt":"A","States":{{"A":{{"Type":"Pass","End":true,{fields}}}}}}}"#
    )
}

/// The same whose output is a JSONata expression.
fn expression(text: &str) -> String {
    let text = serde_json::to_string(&format!("{{% {text} %}}")).expect("a text");
    pass(&format!(r#""Output":{text}"#))
}

fn states(count: usize, state: impl Fn(usize) -> String) -> String {
    format!(r#"{{"StartAt":"s0","States":{{{}}}}}"#, list(count, |n| format!(r#""s{n}":{}"#, state(n))))
}

/// Passes one after the other with something in each.
fn chain(count: usize, field: impl Fn(usize) -> String) -> String {
    states(count, |n| {
        let next = if n + 1 < count { format!(r#""Next":"s{}""#, n + 1) } else { r#""End":true"#.into() };
        format!(r#"{{"Type":"Pass",{}{next}}}"#, field(n))
    })
}

type Shape = (&'static str, usize, fn(usize) -> String);

/// Expressions that are accepted.
const ACCEPTED_EXPRESSIONS: &[Shape] = &[
    ("strings in one array", 4_000, |n| expression(&format!("[{}]", list(n, |n| format!("'s{n}'"))))),
    ("numbers in one array", 4_000, |n| expression(&format!("[{}]", list(n, |n| n.to_string())))),
    ("keys of one object", 3_000, |n| expression(&format!("{{{}}}", list(n, |n| format!("'k{n}':{n}"))))),
    ("names of one array", 3_000, |n| {
        expression(&format!("[{}]", list(n, |n| format!("$states.input.(k{n})"))))
    }),
    ("paths of one array", 2_500, |n| {
        expression(&format!("[{}]", list(n, |n| format!("$states.input.a{n}.b{n}"))))
    }),
    ("variables of one block", 2_500, |n| {
        let bound: String = (0..n).map(|n| format!("$v{n}:={n};")).collect();
        expression(&format!("({bound}$v0)"))
    }),
    ("variables of one block, all read", 2_000, |n| {
        let bound: String = (0..n).map(|n| format!("$v{n}:={n};")).collect();
        let read: Vec<String> = (0..n).map(|n| format!("$v{n}")).collect();
        expression(&format!("({bound}[{}])", read.join(",")))
    }),
    ("functions of one block", 1_500, |n| {
        let bound: String = (0..n).map(|n| format!("$f{n}:=function($x){{$x+{n}}};")).collect();
        expression(&format!("({bound}$f0(1))"))
    }),
    ("calls", 2_500, |n| expression(&format!("[{}]", list(n, |_| "$sum([1,2])".into())))),
    ("predicates that look outwards", 1_000, |n| {
        let items = list(n, |n| format!("a{n}.b[x=%.y].c"));
        expression(&format!("$states.input.[{items}]"))
    }),
    ("members of a group with rows", 1_000, |n| {
        let names: String = (0..100).map(|n| format!(".a@$n{n}")).collect();
        let members = list(n, |n| format!("'k{n}':$n{}", n % 100));
        expression(&format!("$states.input{names}{{{members}}}"))
    }),
    ("comments", 10_000, |n| expression(&format!("{} 1", "/* a */ ".repeat(n)))),
    ("characters that are not ASCII", 10_000, |n| expression(&format!("[{}]", list(n, |_| "'é'".into())))),
    ("escapes in a text", 20_000, |n| expression(&format!("'{}'", r"\n".repeat(n)))),
    ("braces in a regex", 4_000, |n| expression(&format!("$match('a', /a{}/)", r"\{".repeat(n / 20)))),
    ("look-around in a regex", 1_000, |n| {
        expression(&format!("$match('a', /a{}/i)", r"(?=(b)\1|[^c]?)*".repeat(n / 4)))
    }),
    ("look-around in look-around", 1_000, |n| {
        expression(&format!("$match('a', /{}a{}/)", "(?!(?:b|".repeat(n / 2), ")+)".repeat(n / 2)))
    }),
    ("names of groups in a regex", 1_000, |n| {
        let groups: String = (0..n / 2).map(|n| format!(r"\k<n{n}>(?<n{n}>a?)")).collect();
        expression(&format!("$match('a', /{groups}/)"))
    }),
    ("backslashes in a regex", 2_000, |n| expression(&format!("$match('a', /a{}/)", r"\\".repeat(2 * n)))),
];

/// Definitions that are accepted.
const ACCEPTED: &[Shape] = &[
    ("states", 1_000, |n| chain(n, |_| String::new())),
    ("variables that one state assigns", 4_000, |n| {
        pass(&format!(r#""Assign":{{{}}}"#, list(n, |n| format!(r#""v{n}":1"#))))
    }),
    ("variables, one a state, read by the next", 750, |n| {
        chain(n, |n| match n {
            0 => r#""Assign":{"v0":0},"#.into(),
            n => format!(r#""Assign":{{"v{n}.$":"$v{}"}},"#, n - 1),
        })
    }),
    ("variables around branches", 750, |n| {
        let branches = list(n, |n| {
            let state = format!(r#"{{"Type":"Pass","Assign":{{"w{n}":1}},"End":true}}"#);
            format!(r#"{{"StartAt":"b{n}","States":{{"b{n}":{state}}}}}"#)
        });
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Pass","Assign":{{{}}},"Next":"B"}},
            "B":{{"Type":"Parallel","Branches":[{branches}],"End":true}}}}}}"#,
            list(n, |n| format!(r#""v{n}":1"#))
        )
    }),
    ("payload template: members", 3_000, |n| {
        let members = list(n, |n| format!(r#""k{n}.$":"$.a{n}""#));
        chain(2, |at| if at == 0 { format!(r#""Parameters":{{{members}}},"#) } else { String::new() })
    }),
    ("payload template: paths with filters", 1_000, |n| {
        let members = list(n, |n| format!(r#""k{n}.$":"$.a[?(@.b=={n})].c""#));
        chain(2, |at| if at == 0 { format!(r#""Parameters":{{{members}}},"#) } else { String::new() })
    }),
    ("payload template: a path of many steps", 30, |n| {
        chain(2, |at| if at == 0 { format!(r#""InputPath":"${}","#, ".a".repeat(n)) } else { String::new() })
    }),
    ("payload template: an intrinsic of many arguments", 3_000, |n| {
        let arguments = list(n, |n| format!("'a{n}'"));
        let template = format!(r#""Parameters":{{"a.$":"States.Array({arguments})"}},"#);
        chain(2, |at| if at == 0 { template.clone() } else { String::new() })
    }),
    ("expressions deep in a template", 200, |n| {
        let (open, close) =
            (r#"{"a long name of a field that is written out":"#.repeat(300), "}".repeat(300));
        let template = format!("{open}[{}]{close}", list(n, |_| r#""{%1%}""#.into()));
        pass(&format!(r#""Output":{template}"#))
    }),
    ("rules of a Choice that compare texts", 1_000, |n| {
        let rules = list(n, |n| format!(r#"{{"Variable":"$.a","StringEquals":"t{n}","Next":"B"}}"#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Choice","Choices":[{rules}],"Default":"B"}},
            "B":{{"Type":"Succeed"}}}}}}"#
        )
    }),
    ("tests of one rule", 1_000, |n| {
        let tests = list(n, |n| format!(r#"{{"Variable":"$.a{n}","NumericLessThan":{n}}}"#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Choice","Choices":[{{"And":[{tests}],"Next":"B"}}],
            "Default":"B"}},"B":{{"Type":"Succeed"}}}}}}"#
        )
    }),
    ("catchers", 1_000, |n| {
        let catchers = list(n, |n| format!(r#"{{"ErrorEquals":["E{n}"],"Next":"B"}}"#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Task","Resource":"arn:aws:lambda:eu-west-1:123456789012:function:f",
            "Catch":[{catchers}],"Next":"B"}},"B":{{"Type":"Succeed"}}}}}}"#
        )
    }),
    ("Maps that assign beside each other", 350, |n| {
        states(n, |at| {
            let inner = r#"{"Type":"Pass","Assign":{"x":1},"End":true}"#;
            let next = if at + 1 < n { format!(r#""Next":"s{}""#, at + 1) } else { r#""End":true"#.into() };
            format!(
                r#"{{"Type":"Map","ItemProcessor":{{"StartAt":"i{at}","States":{{"i{at}":{inner}}}}},{next}}}"#
            )
        })
    }),
    ("Maps that assign what a state after them assigns", 350, |n| {
        states(n + 1, |at| {
            if at == n {
                return r#"{"Type":"Pass","Assign":{"x":1},"End":true}"#.into();
            }
            let inner = r#"{"Type":"Pass","Assign":{"x":1},"End":true}"#;
            let inner = format!(r#"{{"StartAt":"i{at}","States":{{"i{at}":{inner}}}}}"#);
            format!(r#"{{"Type":"Map","ItemProcessor":{inner},"Next":"s{}"}}"#, at + 1)
        })
    }),
    ("branches that assign what many states after them assign", 300, |n| {
        let branches = list(n, |n| {
            let state = r#"{"Type":"Pass","Assign":{"x":1},"End":true}"#;
            format!(r#"{{"StartAt":"b{n}","States":{{"b{n}":{state}}}}}"#)
        });
        let rest = list(n, |at| {
            let next = if at + 1 < n { format!(r#""Next":"s{}""#, at + 1) } else { r#""End":true"#.into() };
            format!(r#""s{at}":{{"Type":"Pass","Assign":{{"x":1}},{next}}}"#)
        });
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Parallel","Branches":[{branches}],"Next":"s0"}},{rest}}}}}"#
        )
    }),
    ("variables that are assigned inside, and by states after that", 300, |n| {
        let inside = list(n, |n| format!(r#""v{n}":1"#));
        let rest = list(n, |at| {
            let next = if at + 1 < n { format!(r#""Next":"s{}""#, at + 1) } else { r#""End":true"#.into() };
            format!(r#""s{at}":{{"Type":"Pass","Assign":{{"v{at}":1}},{next}}}"#)
        });
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Parallel","Branches":[{{"StartAt":"b","States":{{"b":
            {{"Type":"Pass","Assign":{{{inside}}},"End":true}}}}}}],"Next":"s0"}},{rest}}}}}"#
        )
    }),
    ("branches", 500, |n| {
        let branches =
            list(n, |n| format!(r#"{{"StartAt":"b{n}","States":{{"b{n}":{{"Type":"Succeed"}}}}}}"#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Parallel","Branches":[{branches}],"End":true}}}}}}"#
        )
    }),
    ("variables that are read many states after", 400, |n| {
        chain(n, |at| match at {
            0 => format!(r#""Assign":{{{}}},"#, list(n, |n| format!(r#""v{n}":{n}"#))),
            at if at + 1 == n => {
                format!(r#""Parameters":{{{}}},"#, list(n, |n| format!(r#""k{n}.$":"$v{n}""#)))
            }
            _ => String::new(),
        })
    }),
    ("variables in a ring of states", 400, |n| {
        let ring = list(n, |at| {
            let rule = format!(r#"{{"Variable":"$","IsNull":true,"Next":"E","Assign":{{"v{at}":1}}}}"#);
            format!(r#""s{at}":{{"Type":"Choice","Choices":[{rule}],"Default":"s{}"}}"#, (at + 1) % n)
        });
        format!(r#"{{"StartAt":"s0","States":{{{ring},"E":{{"Type":"Succeed"}}}}}}"#)
    }),
    ("states that catch", 500, |n| {
        let tasks = list(n, |at| {
            let catch = format!(r#"[{{"ErrorEquals":["States.ALL"],"Next":"E","Assign":{{"v{at}":1}}}}]"#);
            let resource = "arn:aws:lambda:eu-west-1:123456789012:function:f";
            let next = (at + 1) % n;
            format!(r#""s{at}":{{"Type":"Task","Resource":"{resource}","Catch":{catch},"Next":"s{next}"}}"#)
        });
        format!(r#"{{"StartAt":"s0","States":{{{tasks},"E":{{"Type":"Succeed"}}}}}}"#)
    }),
    ("retriers", 1_000, |n| {
        let retriers = list(n, |n| format!(r#"{{"ErrorEquals":["E{n}"],"MaxAttempts":2}}"#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Task","Resource":"arn:aws:lambda:eu-west-1:123456789012:function:f",
            "Retry":[{retriers}],"End":true}}}}}}"#
        )
    }),
    ("errors of one catcher", 2_000, |n| {
        let errors = list(n, |n| format!(r#""E{n}""#));
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Task","Resource":"arn:aws:lambda:eu-west-1:123456789012:function:f",
            "Catch":[{{"ErrorEquals":[{errors}],"Next":"B"}}],"Next":"B"}},"B":{{"Type":"Succeed"}}}}}}"#
        )
    }),
    ("rules in JSONata that assign", 750, |n| {
        let rules = list(n, |n| {
            format!(r#"{{"Condition":"{{% $states.input.a = {n} %}}","Assign":{{"v{n}":1}},"Next":"B"}}"#)
        });
        format!(
            r#"{{"QueryLanguage":"JSONata","StartAt":"A","States":{{"A":{{"Type":"Choice","Choices":[{rules}],
            "Default":"B"}},"B":{{"Type":"Succeed"}}}}}}"#
        )
    }),
    ("names that stand twice", 1_500, |n| {
        pass(&format!(r#""Output":[{}]"#, list(n, |_| r#"{"a":1,"a":2}"#.into())))
    }),
    ("names that stand twice beside branches", 500, |n| {
        let branches = list(n, |n| {
            let state = r#"{"Type":"Pass","Result":{"a":1,"a":2},"End":true}"#;
            format!(r#"{{"StartAt":"b{n}","States":{{"b{n}":{state}}}}}"#)
        });
        format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Parallel","Branches":[{branches}],"End":true}}}}}}"#
        )
    }),
    ("members of one literal", 4_000, |n| {
        pass(&format!(r#""Output":{{{}}}"#, list(n, |n| format!(r#""k{n}":{n}"#))))
    }),
];

/// Definitions that are refused.
const REFUSED: &[Shape] = &[
    ("misspelt targets", 1_000, |n| states(n, |_| r#"{"Type":"Pass","Next":"sO"}"#.into())),
    ("misspelt fields", 1_500, |n| chain(2, |_| list(n, |n| format!(r#""Nxet{n}":1"#)) + ",")),
    ("misspelt types", 1_000, |n| states(n, |_| r#"{"Type":"Pas","End":true}"#.into())),
    ("states that cannot be reached", 1_000, |n| states(n, |_| r#"{"Type":"Succeed"}"#.into())),
    ("expressions with an error", 1_000, |n| {
        pass(&format!(r#""Output":[{}]"#, list(n, |_| r#""{% $$ %}""#.into())))
    }),
    ("states that stand twice", 1_500, |n| states(n, |_| "0".into()).replace("\"s", "\"s1")),
    ("open brackets", 10_000, |n| format!(r#"{{"StartAt":{}"#, "[1,".repeat(n))),
    ("braces in a regex", 10_000, |n| expression(&format!("$match('a', /a{}/)", "{".repeat(n)))),
    ("slashes without an end", 10_000, |n| expression(&format!("[{}", list(n, |_| "/a".into())))),
    ("texts without an end", 10_000, |n| expression(&format!("[{}", list(n, |_| "'a".into())))),
];

fn read(text: &str) -> Option<Program> {
    let (definition, problems) = asl::read(text.as_bytes(), &Options::default());
    let lines = problems.iter().take(10).map(|it| it.line_column(text).0).sum::<u32>();
    std::hint::black_box((lines, asl::invalid_definition(&problems)));
    compile::compile(&definition?).ok()
}

#[test]
fn compile_and_validate() {
    accepted(ACCEPTED);
}

#[test]
fn compile_and_validate_expressions() {
    accepted(ACCEPTED_EXPRESSIONS);
}

fn accepted(shapes: &[Shape]) {
    let mut rows = Vec::new();
    for &(name, size, shape) in shapes.iter().step_by(step(2)) {
        println!("{name}");
        rows.push((
            name,
            growth(|times| {
                let text = shape(times * size);
                let problems = || asl::read(text.as_bytes(), &Options::default()).1;
                assert!(read(&text).is_some(), "{name}: {:?}", problems().first());
                move || drop(read(&text))
            }),
        ));
    }
    check(rows);
}

#[test]
fn diagnostics() {
    let mut rows = Vec::new();
    for &(name, size, shape) in REFUSED {
        println!("{name}");
        rows.push((
            name,
            growth(|times| {
                let text = shape(times * size);
                let (_, problems) = asl::read(text.as_bytes(), &Options::default());
                assert!(problems.iter().any(|it| it.severity == Severity::Error), "{name}");
                move || drop(read(&text))
            }),
        ));
    }
    check(rows);
}

// ---- executions ----

/// Maps in each other, each over the same items; the innermost runs `inner`.
fn nested(depth: usize, inner: &str) -> String {
    let mut workflow = inner.to_owned();
    for level in 0..depth {
        workflow = format!(
            r#"{{"StartAt":"m{level}","States":{{"m{level}":{{"Type":"Map","ItemsPath":"$.l",
            "ItemSelector":{{"l.$":"$.l"}},"ItemProcessor":{workflow},"End":true}}}}}}"#
        );
    }
    workflow
}

/// `{"l": […]}` with so many items.
fn items(count: usize) -> String {
    format!(r#"{{"l":[{}]}}"#, list(count, |n| n.to_string()))
}

fn driver(definition: &str) -> Driver<VirtualClock> {
    let program = read(definition).unwrap_or_else(|| panic!("refused: {definition}"));
    Driver::with(Arc::new(program), VirtualClock::at(0), &Handlers::new())
}

#[test]
fn executions() {
    let fail = r#"{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"Boom"}}}"#;
    let wait =
        r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":1,"Next":"E"},"E":{"Type":"Succeed"}}}"#;
    // The first that wakes fails; the others wait.
    let one_fails = r#"{"StartAt":"C","States":{
        "C":{"Type":"Choice","Choices":[{"Variable":"$","NumericEquals":0,"Next":"F"}],"Default":"W"},
        "F":{"Type":"Fail","Error":"Boom"},
        "W":{"Type":"Wait","Seconds":1,"End":true}}}"#;
    let flat = |inner: &str, more: &str| {
        format!(
            r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","ItemsPath":"$.l","ItemProcessor":{inner},{more}
            "End":true}}}}}}"#
        )
    };
    // Each iteration of the outer Map fails inside, and catches.
    let caught = format!(
        r#"{{"StartAt":"O","States":{{"O":{{"Type":"Map","ItemsPath":"$.l","ItemSelector":{{"l":[1,2,3]}},
        "ItemProcessor":{{"StartAt":"I","States":{{"I":{{"Type":"Map","ItemsPath":"$.l","ItemProcessor":{fail},
        "Catch":[{{"ErrorEquals":["States.ALL"],"Next":"E"}}],"End":true}},"E":{{"Type":"Succeed"}}}}}},
        "End":true}}}}}}"#
    );
    // (name, items, definition); three Maps in each other have the third power of items.
    type Items = fn(usize) -> usize;
    let (flat_items, few_items): (Items, Items) = (|times| 2_000 * times, |times| 250 * times);
    let cube_items: Items = |times| match times {
        1 => 19,
        4 => 30,
        _ => 48,
    };
    let rows: [(&str, Items, String); 7] = [
        ("join", flat_items, flat(wait, "")),
        ("fail at once", flat_items, flat(fail, "")),
        ("one fails, the others are stopped", flat_items, flat(one_fails, "")),
        ("fail and be tolerated", flat_items, flat(fail, r#""ToleratedFailurePercentage":100,"#)),
        ("fail and be caught, beside many", few_items, caught),
        ("three Maps in each other that fail", cube_items, nested(3, fail)),
        ("three Maps in each other that succeed", cube_items, nested(3, wait)),
    ];
    let mut measured = Vec::new();
    for (name, count, definition) in rows {
        println!("{name}");
        measured.push((
            name,
            growth(|times| {
                let (mut driver, input) = (driver(&definition), items(count(times)));
                move || {
                    driver.run(input.as_bytes()).expect("an input");
                }
            }),
        ));
    }
    check(measured);
}

// ---- YAML ----

/// Texts in YAML, accepted or not.
#[cfg(feature = "yaml")]
const YAML: &[Shape] = &[
    ("states", 1_000, |n| {
        let state = |n| format!("  s{n}:\n    Type: Pass\n    Next: s{}\n", n + 1);
        format!("StartAt: s0\nStates:\n{}  s{n}: {{Type: Succeed}}\n", (0..n).map(state).collect::<String>())
    }),
    ("members in one line", 2_000, |n| format!("A: {{{}}}", list(n, |n| format!("k{n}: {n}")))),
    ("lines of one text", 5_000, |n| format!("A: |\n{}", "  line\n".repeat(n))),
    ("aliases", 2_000, |n| format!("A: &a {{x: 1}}\nB: [{}]", list(n, |_| " *a".into()))),
    ("anchors", 2_000, |n| format!("A: [{}]", list(n, |n| format!(" &a{n} 1")))),
    ("merges", 1_000, |n| format!("A: &a {{x: 1}}\nB:\n{}", "  - {<<: *a}\n".repeat(n))),
    ("names that stand twice", 2_000, |n| "a: 1\n".repeat(n)),
    ("comments", 5_000, |n| format!("{}A: 1", "# no\n".repeat(n))),
];

#[cfg(feature = "yaml")]
#[test]
fn yaml() {
    let mut rows = Vec::new();
    for &(name, size, shape) in YAML {
        println!("{name}");
        rows.push((
            name,
            growth(|times| {
                let text = shape(times * size);
                move || drop(asl::read_yaml(text.as_bytes(), &Options::default()))
            }),
        ));
    }
    check(rows);
}

// ---- metrics ----

/// An engine with so many state machines, each of which ran once.
#[cfg(feature = "runtime")]
fn machines(count: usize) -> expressway::runtime::Engine {
    use expressway::observe::Setup;
    let engine = expressway::runtime::Engine::builder().shards(1).observe(Setup::default().metrics()).build();
    let engine = engine.expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for n in 0..count {
        let definition = r#"{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}"#;
        let machine = engine.create_state_machine(&format!("m{n}"), definition).expect("a machine");
        runtime.block_on(engine.run(&machine, "{}")).expect("it runs");
    }
    engine
}

#[cfg(feature = "runtime")]
#[test]
fn metrics() {
    let text = |engine: &expressway::runtime::Engine| engine.observed().prometheus();
    let growth = growth(|times| {
        let engine = machines(500 * times);
        move || drop(text(&engine))
    });
    check(vec![("machines", growth)]);
    let (small, large) = (machines(500), machines(2_000));
    // The busiest in full, the others in one row, with their number.
    let (small, large) = (text(&small), text(&large));
    assert!(large.len() < small.len() + 100_000 && large.len() < 2_000_000, "{} bytes", large.len());
    let rows = |text: &str| text.matches("aws_states_executions_started_total{").count();
    assert_eq!((rows(&small), rows(&large)), (201, 201));
    for row in [
        "aws_states_executions_started_total{state_machine_arn=\"others\"} 1800",
        "aws_states_execution_time_seconds_count{state_machine_arn=\"others\"} 1800",
        "expressway_metrics_summed{what=\"machines\"} 1800",
    ] {
        assert!(large.lines().any(|line| line == row), "{row} is missing");
    }
}

// ---- the service ----

/// More tags than a resource may have.
#[cfg(feature = "service")]
#[test]
fn tags() {
    use expressway::service::{Service, Tag};
    let service = Service::builder().engine(|engine| engine.shards(1)).build().expect("a service");
    let arn = service.create_activity("a", None, Vec::new()).expect("an activity").arn;
    let growth = growth(|times| {
        let tags: Vec<Tag> =
            (0..300 * times).map(|n| Tag { key: n.to_string(), value: String::new() }).collect();
        let (service, arn) = (service.clone(), arn.clone());
        move || drop(service.tag_resource(&arn, &tags).expect_err("too many tags"))
    });
    check(vec![("tags", growth)]);
}
