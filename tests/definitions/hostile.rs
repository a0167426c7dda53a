//! Hostile and random texts: no panic, no hang, no stack overflow.

use expressway::asl::{self, Options};
use expressway::json::explain::explain;
use expressway::json::source;
use proptest::prelude::*;

use crate::required::some_of;

fn read(text: &[u8]) -> bool {
    let (definition, problems) = asl::read(text, &Options::default());
    for problem in &problems {
        // Places are within the text, for any text.
        let shown = String::from_utf8_lossy(text);
        let (line, column) = problem.line_column(&shown);
        assert!(line >= 1 && column >= 1);
        assert!(!problem.message.is_empty());
    }
    assert_eq!(definition.is_none(), problems.iter().any(|it| it.severity == asl::Severity::Error));
    asl::read_state(text, "S", &Options::default());
    definition.is_some()
}

#[test]
fn deep_nesting_is_refused() {
    for unit in ["[", "{\"a\":", "{\"States\":{\"A\":", "[{\"Not\":"] {
        assert!(!read(unit.repeat(1_000_000 / unit.len()).as_bytes()));
    }
    let nested = format!("{}1{}", "[".repeat(999), "]".repeat(999));
    assert!(source::read(nested.as_bytes(), usize::MAX).is_ok());
    let nested = format!("{}1{}", "[".repeat(1_001), "]".repeat(1_001));
    assert!(source::read(nested.as_bytes(), usize::MAX).is_err());
    let why = explain(nested.as_bytes()).unwrap();
    assert!(why.message.starts_with("Document nesting depth (1001) exceeds the maximum allowed (1000"));
}

/// Maps in Maps, rules in rules: as deep as the text may be, which is deeper than states may be.
#[test]
fn deep_workflows_and_rules() {
    let mut machine = r#"{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}"#.to_owned();
    for level in 0..150 {
        machine = format!(
            r#"{{"StartAt":"M{level}","States":{{"M{level}":{{"Type":"Map","End":true,"ItemProcessor":{machine}}}}}}}"#
        );
        assert_eq!(read(machine.as_bytes()), level + 2 <= 100, "{level}");
    }
    let rule = format!(r#"{}{{"Variable":"$","IsNull":true}}{}"#, r#"{"Not":"#.repeat(900), "}".repeat(900));
    let text = format!(
        r#"{{"StartAt":"A","States":{{"A":{{"Type":"Choice","Choices":[{{"Not":{rule},"Next":"B"}}]}},"B":{{"Type":"Succeed"}}}}}}"#
    );
    assert!(read(text.as_bytes()));
}

/// As many containers, names and problems as a definition has room for. Anything quadratic would take minutes.
#[test]
fn wide_machines() {
    let mut parallels = String::new();
    let mut wrong = String::new();
    for n in 0..6_000 {
        let next = n + 1;
        parallels.push_str(&format!(
            r#""S{n}":{{"Type":"Parallel","Assign":{{"a":1}},"Branches":[{{"StartAt":"T{n}","States":{{"T{n}":{{"Type":"Succeed","Assign":{{"b":1}}}}}}}}],"Next":"S{next}"}},"#
        ));
        wrong.push_str(&format!(
            r#""S{n}":{{"Type":"Pass","Nxet":"S{next}","Next":"T{next}","Assign":{{"a-":1}}}},"#
        ));
    }
    for states in [parallels, wrong] {
        let text = format!(r#"{{"StartAt":"S0","States":{{{states}"S6000":{{"Type":"Succeed"}}}}}}"#);
        let (_, problems) = asl::read(text.as_bytes(), &Options::default());
        assert_eq!(problems.len(), 1_000);
    }
}

#[test]
fn what_is_not_text() {
    for text in [&b"\xff"[..], b"{\"a\": \"\xc3\x28\"}", b"", b" ", b"null", b"\0", b"\xef\xbb\xbf{}"] {
        assert!(!read(text));
    }
    let large = format!("{{\"Comment\": \"{}\"}}", "x".repeat(1_048_576));
    assert!(!read(large.as_bytes()));
}

/// A machine with something of everything, to be broken.
const MACHINE: &str = include_str!("everything.json");

#[test]
fn the_machine_with_everything_is_accepted() {
    let options = Options { machine_type: asl::MachineType::Standard, ..Options::default() };
    let (definition, problems) = asl::read(MACHINE.as_bytes(), &options);
    assert_eq!(problems, []);
    assert_eq!(definition.unwrap().workflow.states.len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: some_of(512, 4) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broken_machines(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, ".{0,12}"), 1..6),
    ) {
        let mut text = MACHINE.as_bytes().to_vec();
        for (at, cut, insert) in edits {
            let start = at.index(text.len().max(1)).min(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, insert.into_bytes());
        }
        read(&text);
    }

    /// Valid JSON with values of other types in the places of the right ones.
    #[test]
    fn misplaced_values(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let tree: serde_json::Value = serde_json::from_str(MACHINE).unwrap();
        let mut pointers = Vec::new();
        collect(&tree, String::new(), &mut pointers);
        let value = tree.pointer(&pointers[from.index(pointers.len())]).unwrap().clone();
        let mut changed = tree.clone();
        *changed.pointer_mut(&pointers[to.index(pointers.len())]).unwrap() = value;
        read(changed.to_string().as_bytes());
    }

    #[test]
    fn what_is_read_and_what_is_explained_agree(text in r#"[\[\]{}",:0-9a-e\\ntfru. \n+-]{0,40}"#) {
        let read = source::read(text.as_bytes(), usize::MAX);
        let why = explain(text.as_bytes());
        prop_assert_eq!(read.is_ok(), why.is_none(), "{:?}: {:?} {:?}", text, read, why);
        if !serde_differs(&text) {
            prop_assert_eq!(read.is_ok(), serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}

/// serde_json refuses numbers beyond the doubles, and halves of surrogate pairs; both are JSON.
fn serde_differs(text: &str) -> bool {
    text.contains(['e', 'E']) || text.contains("\\u")
}

fn collect(value: &serde_json::Value, at: String, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{at}/{index}"), out));
        }
        serde_json::Value::Object(members) => {
            for (key, item) in members {
                collect(item, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        _ => {}
    }
    out.push(at);
}
