//! Definitions in YAML: the resulting tree, and the places of errors.

use expressway::asl::{self, Options};
use expressway::json::yaml::{self, YamlError};

fn json(text: &str) -> Result<String, String> {
    yaml::read(text).map(|source| yaml::to_json(&source.root)).map_err(|YamlError { message, .. }| message)
}

#[test]
fn yaml_becomes_json() {
    let cases = [
        ("", "null"),
        (
            "a: [1, 1.50, -2e3, 0x1F, 0o17, +7, .5, 007, 1_000]",
            r#"{"a":[1,1.50,-2e3,31,15,7,0.5,7,"1_000"]}"#,
        ),
        (
            "[true, False, yes, on, ~, null, '', \"\\u00e9\", 2026-11-22, .nan, -x]",
            r#"[true,false,"yes","on",null,null,"","é","2026-11-22",".nan","-x"]"#,
        ),
        (
            "- a\n- b: 1\n  c:\n- |\n  x\n  y\n- >-\n  x\n  y",
            "[\"a\",{\"b\":1,\"c\":null},\"x\\ny\\n\",\"x y\"]",
        ),
        ("true: 1\n2: b\n~: c", r#"{"true":1,"2":"b","~":"c"}"#),
        ("a: &x {k: 1}\nb: *x\nc: [*x, *x]", r#"{"a":{"k":1},"b":{"k":1},"c":[{"k":1},{"k":1}]}"#),
        ("base: &b {k: 1, l: 2}\nmade:\n  <<: *b\n  k: 3", r#"{"base":{"k":1,"l":2},"made":{"k":3,"l":2}}"#),
        ("made: {<<: [{k: 1}, {k: 2, m: 3}], '<<': 4}", r#"{"made":{"<<":4,"k":1,"m":3}}"#),
        ("a: !!str 1\nb: !!int 2\nc: ! 3", r#"{"a":"1","b":2,"c":"3"}"#),
        ("a: 1\nb: 2\na: 3", r#"{"a":3,"b":2}"#),
        ("{\"json\": [\"is\", \"YAML\", {\"too\": null}]}", r#"{"json":["is","YAML",{"too":null}]}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_json_is_refused_by_name() {
    assert_eq!(json("a: !!timestamp b"), Err("The tag '!!timestamp' is not supported".to_owned()));
    assert_eq!(
        json("a: !Ref b"),
        Err("The tag '!Ref' is not supported: it has a meaning in templates only".to_owned())
    );
    assert_eq!(json("? [a]\n: b"), Err("A key must be a scalar".to_owned()));
    assert_eq!(json("a: 1\n---\nb: 2"), Err("There is more than one document".to_owned()));
    assert_eq!(json("<<: 1"), Err("Only mappings can be merged".to_owned()));
    assert!(json("a: [1").is_err() && json("a: *nobody").is_err() && json("a: \"").is_err());
    assert!(json(&"[".repeat(100_000)).is_err());
    // Each line stands for nine of the one before.
    let mut laughs = "a0: &a0 [lol, lol]\n".to_owned();
    for n in 1..30 {
        let before = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", [before.as_str(); 9].join(", ")));
    }
    assert_eq!(json(&laughs), Err("The text stands for too much data, or is nested too deeply".to_owned()));
}

#[test]
fn problems_are_told_at_their_line() {
    let text = "StartAt: Hello # the first\nStates:\n  Hello:\n    Type: Pass\n    Nxet: World\n  World:\n    Type: Succeed\n";
    let (definition, problems) = asl::read_yaml(text.as_bytes(), &Options::default());
    assert!(definition.is_none());
    let told: Vec<String> = problems
        .iter()
        .map(|problem| {
            let (line, column) = problem.line_column(text);
            format!("{line}:{column} {problem}")
        })
        .collect();
    assert_eq!(
        told,
        [
            "5:5 SCHEMA_VALIDATION_FAILED: Field 'Nxet' is not supported at /States/Hello",
            "4:5 SCHEMA_VALIDATION_FAILED: This object should have only one of the following fields: [Next, End] at /States/Hello",
            "6:3 MISSING_TRANSITION_TARGET: State \"World\" is not reachable. at /States/World",
        ]
    );
    let (_, problems) = asl::read_yaml(b"StartAt: [", &Options::default());
    assert_eq!(problems[0].code.name(), "INVALID_JSON_DESCRIPTION");
    let (_, problems) = asl::read_yaml(b"- a", &Options::default());
    assert_eq!(problems[0].message, "Definition must be a valid JSON object");
    let right = text.replace("Nxet", "Next");
    let (definition, problems) = asl::read_yaml(right.as_bytes(), &Options::default());
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(definition.map(|it| it.workflow.states.len()), Some(2));
}
