//! Changes of drafts as patches of their text: their results, and that they touch nothing else.

use expressway::asl::{self, MachineType};
use expressway::draft::{Draft, Edit, Patch, edit};
use serde_json::json;

use super::required::some_of;

fn draft(text: &str) -> Draft<'_> {
    Draft { text, yaml: !text.trim_start().starts_with('{'), machine_type: MachineType::Standard }
}

fn patched(text: &str, patches: &[Patch]) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let (mut out, mut at) = (Vec::new(), 0);
    for patch in patches {
        out.extend_from_slice(&units[at..patch.from as usize]);
        out.extend(patch.insert.encode_utf16());
        at = patch.to as usize;
    }
    out.extend_from_slice(&units[at..]);
    String::from_utf16(&out).expect("UTF-16")
}

fn changed(text: &str, change: serde_json::Value) -> String {
    let change = Edit::read(&change).expect("a change");
    match edit(draft(text), &change) {
        Ok(patches) => patched(text, &patches),
        Err(why) => format!("refused: {why}"),
    }
}

const JSON: &str = r#"{
  "StartAt" : "A",   "Comment": "😀 odd   spacing stays",
  "States": {
    "A": { "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
      "Catch": [ {"ErrorEquals": ["X"], "Next": "C"} ], "Next": "B" },
    "B": {"Type": "Choice",
      "Choices": [{"Variable": "$.a", "IsNull": true, "Next": "A"}], "Default": "C"},

    "C": { "Type": "Pass", "End": true }
  }
}
"#;
const LINE: &str = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","End":true}}}"#;
/// What needs no arguments.
const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
const YAML: &str = "# Orders\nStartAt: A\nStates:\n  # the first\n  A:\n    Type: Pass # nothing yet\n    Result: \
                    ${Substituted}\n    Next: B\n\n  B:\n    Type: Task\n    Resource: arn:aws:states:::lambda:invoke\n    \
                    Retry:\n      - ErrorEquals: [X] # only these\n        MaxAttempts: 2\n    End: true\n# the end\n";

#[test]
fn a_state_is_renamed_wherever_it_is_named() {
    let rename = |to: &str| json!({"op": "rename", "state": "A", "to": to});
    assert_eq!(changed(LINE, rename("Ä")), LINE.replace("\"A\"", "\"Ä\""));
    assert_eq!(changed(JSON, rename("The first")), JSON.replace("\"A\"", "\"The first\""));
    assert_eq!(
        changed(YAML, rename("First")),
        YAML.replace("StartAt: A", "StartAt: First").replace("  A:", "  First:")
    );
    let quoted = YAML.replace("StartAt: A", "StartAt: \"1: a\"").replace("  A:", "  \"1: a\":");
    assert_eq!(changed(YAML, rename("1: a")), quoted);
    assert_eq!(changed(JSON, rename("B")), "refused: There is a state \"B\" already");
    assert_eq!(changed(JSON, rename(" ")), "refused: A state needs a name");
}

#[test]
fn a_state_is_put_on_an_edge() {
    let insert = |from: &str, to: Option<&str>, kind: &str| json!({"op": "insert", "from": from, "to": to, "kind": kind, "name": "New"});
    assert_eq!(
        changed(LINE, insert("A", Some("B"), "Pass")),
        LINE.replace(r#""Next":"B"}"#, r#""Next":"New"}, "New": { "Type": "Pass", "Next": "B" }"#)
    );
    assert_eq!(
        changed(JSON, insert("B", Some("C"), "Wait")),
        JSON.replace(
            r#""Default": "C"}"#,
            "\"Default\": \"New\"},\n    \"New\": { \"Type\": \"Wait\", \"Seconds\": 1, \"Next\": \"C\" }"
        )
    );
    assert_eq!(
        changed(YAML, insert("B", None, "Pass")),
        YAML.replace("    End: true\n", "    Next: New\n  New: { \"Type\": \"Pass\", \"End\": true }\n")
    );
    let of_catch =
        json!({"op": "insert", "from": "A", "to": "C", "catch": true, "kind": "Pass", "name": "New"});
    assert!(changed(JSON, of_catch).contains(r#""ErrorEquals": ["X"], "Next": "New"}"#));
    assert_eq!(changed(JSON, insert("A", Some("C"), "Pass")), "refused: No such edge leaves \"A\"");
    assert_eq!(
        changed(JSON, insert("A", Some("B"), "Other")),
        "refused: A state of the type \"Other\" cannot stand on an edge"
    );
}

#[test]
fn a_state_is_taken_away_and_what_led_to_it_leads_on() {
    let delete = |state: &str| json!({"op": "delete", "state": state});
    assert_eq!(changed(LINE, delete("B")), r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}"#);
    assert_eq!(
        changed(YAML, delete("A")),
        "# Orders\nStartAt: B\nStates:\n  # the first\n\n  B:\n    Type: Task\n    Resource: \
         arn:aws:states:::lambda:invoke\n    Retry:\n      - ErrorEquals: [X] # only these\n        MaxAttempts: 2\n    \
         End: true\n# the end\n"
    );
    assert!(
        changed(JSON, delete("A")).contains("\"StartAt\" : \"B\",   \"Comment\": \"😀 odd   spacing stays\"")
    );
    assert_eq!(
        changed(JSON, delete("C")),
        "refused: A rule or catcher of \"A\" leads to it: change that first"
    );
}

#[test]
fn catchers_and_retriers_are_added() {
    let retry = json!({"op": "retry", "state": "B"});
    let item =
        r#"{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 3, "BackoffRate": 2 }"#;
    assert_eq!(
        changed(LINE, retry.clone()),
        LINE.replace("\"End\":true}}", &format!("\"End\":true, \"Retry\": [{item}]}}}}"))
    );
    assert_eq!(
        changed(YAML, retry),
        YAML.replace("        MaxAttempts: 2\n", &format!("        MaxAttempts: 2\n      - {item}\n"))
    );
    let catch = json!({"op": "catch", "state": "A", "to": "C"});
    let item = r#"{ "ErrorEquals": ["States.ALL"], "Next": "C" }"#;
    assert_eq!(
        changed(JSON, catch),
        JSON.replace("\"Next\": \"C\"} ]", &format!("\"Next\": \"C\"}}, {item} ]"))
    );
    assert_eq!(
        changed(YAML, json!({"op": "catch", "state": "A", "to": "B"})),
        "refused: A state of the type Pass has no Catch"
    );
}

#[test]
fn fields_are_written_and_taken_away_and_the_rest_stays() {
    let set = |state: &str, path: serde_json::Value, value: serde_json::Value| json!({"op": "set", "state": state, "path": path, "value": value});
    assert_eq!(
        changed(LINE, set("A", json!(["Next"]), json!("C"))),
        LINE.replace(r#""Next":"B""#, r#""Next":"C""#)
    );
    assert_eq!(
        changed(JSON, set("B", json!(["Choices", 0, "Next"]), json!("C"))),
        JSON.replace(r#""IsNull": true, "Next": "A""#, r#""IsNull": true, "Next": "C""#)
    );
    assert_eq!(
        changed(JSON, set("C", json!(["Result"]), json!({"a": [1, null]}))),
        JSON.replace(r#""End": true }"#, r#""End": true, "Result": { "a": [1, null] } }"#)
    );
    assert_eq!(
        changed(YAML, set("B", json!(["Retry", 0, "MaxAttempts"]), json!(5))),
        YAML.replace("MaxAttempts: 2", "MaxAttempts: 5")
    );
    assert_eq!(
        changed(YAML, set("A", json!(["Comment"]), json!("why"))),
        YAML.replace("    Next: B\n", "    Next: B\n    Comment: why\n")
    );
    let remove = |state: &str, path: serde_json::Value| json!({"op": "set", "state": state, "path": path, "remove": true});
    assert_eq!(
        changed(YAML, remove("B", json!(["Retry"]))),
        YAML.replace("    Retry:\n      - ErrorEquals: [X] # only these\n        MaxAttempts: 2\n", "")
    );
    assert_eq!(
        changed(JSON, remove("A", json!(["Catch"]))),
        JSON.replace(",\n      \"Catch\": [ {\"ErrorEquals\": [\"X\"], \"Next\": \"C\"} ]", "")
    );
    assert_eq!(changed(JSON, remove("C", json!(["Nothing"]))), "refused: There is no such field");
    let lead = |to: &str| json!({"op": "lead", "state": "C", "to": to});
    assert_eq!(changed(JSON, lead("A")), JSON.replace(r#""Pass", "End": true"#, r#""Pass", "Next": "A""#));
    assert!(changed(JSON, lead("Z")).starts_with("refused: "));
}

#[test]
fn rules_change_places() {
    let two = r#"{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[ {"Variable": "$.a", "IsNull": true, "Next": "B"},
        {"Variable":"$.b","IsNull":true,"Next":"B"} ],"Default":"B"},"B":{"Type":"Succeed"}}}"#;
    let raise = |item: usize| json!({"op": "raise", "state": "A", "field": "Choices", "item": item});
    assert_eq!(
        changed(two, raise(1)),
        two.replace("$.a", "#")
            .replace("$.b", "$.a")
            .replace('#', "$.b")
            .replace(r#"{"Variable": "$.b", "IsNull": true, "Next": "B"}"#, "one")
            .replace(
                r#"{"Variable":"$.a","IsNull":true,"Next":"B"}"#,
                r#"{"Variable": "$.a", "IsNull": true, "Next": "B"}"#
            )
            .replace("one", r#"{"Variable":"$.b","IsNull":true,"Next":"B"}"#)
    );
    let yaml = "StartAt: A\nStates:\n  A:\n    Type: Choice\n    Choices:\n      - Variable: $.a # first\n        IsNull: true\n        Next: B\n      - {Variable: $.b, IsNull: true, Next: B}\n    Default: B\n  B:\n    Type: Succeed\n";
    assert_eq!(
        changed(yaml, raise(1)),
        "StartAt: A\nStates:\n  A:\n    Type: Choice\n    Choices:\n      - {Variable: $.b, IsNull: true, Next: B}\n      - Variable: $.a # first\n        IsNull: true\n        Next: B\n    Default: B\n  B:\n    Type: Succeed\n"
    );
    for item in [0, 2] {
        assert_eq!(changed(two, raise(item)), "refused: There is no such item");
    }
}

#[test]
fn a_state_is_put_into_a_map_or_a_parallel() {
    let wrap = |state: &str, kind: &str| json!({"op": "wrap", "state": state, "kind": kind, "name": "All"});
    assert_eq!(
        changed(LINE, wrap("A", "Map")),
        LINE.replace(r#""StartAt":"A""#, r#""StartAt":"All""#).replace(
            r#""A":{"Type":"Pass","Next":"B"}"#,
            r#""All": { "Type": "Map", "ItemProcessor": { "StartAt": "A", "States": { "A":{"Type":"Pass","End":true} } }, "Next": "B" }"#
        )
    );
    let parallel = changed(LINE, wrap("B", "Parallel"));
    assert!(
        parallel.contains(r#""Branches": [{ "StartAt": "B", "States": { "B":{"Type":"Task","#),
        "{parallel}"
    );
    assert!(parallel.contains(r#""Next":"All""#), "{parallel}");
    let runs = parallel.replace("arn:aws:states:::lambda:invoke", FUNCTION);
    let (definition, problems) = asl::read(runs.as_bytes(), &asl::Options::default());
    assert!(definition.is_some(), "{runs}: {problems:?}");
    assert!(changed(JSON, wrap("A", "Map")).contains("leads to states that would not be beside it"));
    assert!(changed(JSON, wrap("B", "Map")).contains("leads to states that would not be beside it"));
    assert!(changed(YAML, wrap("A", "Map")).contains("comments"));
    let plain = YAML.replace(" # nothing yet", "");
    let wrapped = changed(&plain, wrap("A", "Map"));
    assert!(wrapped.contains("  All: { \"Type\": \"Map\", \"ItemProcessor\""), "{wrapped}");
}

#[test]
fn what_was_copied_is_put_on_an_edge() {
    let value = json!({"Type": "Wait", "Seconds": 7, "Next": "elsewhere"});
    let insert =
        json!({"op": "insert", "from": "A", "to": "B", "kind": "Wait", "name": "New", "value": value});
    assert_eq!(
        changed(LINE, insert),
        LINE.replace(
            r#""Next":"B"}"#,
            r#""Next":"New"}, "New": { "Type": "Wait", "Seconds": 7, "Next": "B" }"#
        )
    );
}

#[test]
fn a_choice_or_an_end_is_put_on_an_edge() {
    let insert = |to: Option<&str>, kind: &str, from: &str| {
        changed(LINE, json!({"op": "insert", "from": from, "to": to, "kind": kind, "name": "New"}))
    };
    let rule = r#"{ "Variable": "$.value", "IsPresent": true, "Next": "B" }"#;
    let choice = format!(r#""New": {{ "Type": "Choice", "Choices": [{rule}], "Default": "B" }}"#);
    assert!(insert(Some("B"), "Choice", "A").contains(&choice));
    assert!(insert(None, "Choice", "B").contains("cannot be the last state"));
    assert!(
        insert(Some("B"), "Fail", "A")
            .contains(r#""New": { "Type": "Fail", "Error": "Failed", "Cause": "Say why" }"#)
    );
    assert!(insert(None, "Succeed", "B").contains(r#""New": { "Type": "Succeed" }"#));
    let jsonata = LINE.replacen('{', r#"{"QueryLanguage":"JSONata","#, 1);
    let insert = json!({"op": "insert", "from": "A", "to": "B", "kind": "Choice", "name": "New"});
    assert!(changed(&jsonata, insert).contains(r#""Condition": "{% true %}""#));
}

#[test]
fn resources_are_found_by_words() {
    let found = |words: &str| {
        let told = expressway::draft::resources(words);
        let found = told["resources"].as_array().expect("resources").iter();
        let found: Vec<String> = found.map(|it| it.as_str().expect("a text").to_owned()).collect();
        (found, told["more"].as_u64().expect("a number"))
    };
    assert_eq!(found("sqs sendmessage wait").0, ["arn:aws:states:::sqs:sendMessage.waitForTaskToken"]);
    assert!(
        found("states:startExecution")
            .0
            .contains(&"arn:aws:states:::states:startExecution.sync:2".to_owned())
    );
    assert!(found("S3 getobject").0.contains(&"arn:aws:states:::aws-sdk:s3:getObject".to_owned()));
    assert_eq!(found("no such action"), (Vec::new(), 0));
    let (all, more) = found("");
    assert!(all.len() == 100 && more > 5_000, "{more}");
}

#[test]
fn versions_are_compared_by_what_they_do() {
    let compared = |before: &str, after: &str| {
        let told = expressway::draft::compare(draft(before), draft(after)).expect("both are read");
        let states = told["states"].as_array().expect("states").iter();
        let states: Vec<String> =
            states.map(|it| format!("{} {}", it["name"], it["change"]).replace('"', "")).collect();
        (states.join(", "), told["machine"] == json!(true))
    };
    let spaced = LINE
        .replace(',', " ,\n  ")
        .replace(':', " : ")
        .replace("arn : aws : states :  :  : lambda : invoke", "arn:aws:states:::lambda:invoke");
    assert_eq!(compared(LINE, &spaced), (String::new(), false), "spacing is nothing");
    let yaml = "StartAt: A\nStates:\n  A: {Type: Pass, Next: B}\n  B: {Type: Task, Resource: 'arn:aws:states:::lambda:invoke', End: true}\n";
    assert_eq!(compared(LINE, yaml), (String::new(), false));
    let other = r#"{"StartAt":"A","Comment":"new","States":{"A":{"Type":"Pass","Next":"D"},"D":{"Type":"Map","End":true,
        "ItemProcessor":{"StartAt":"B","States":{"B":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","End":true}}}}}}"#;
    assert_eq!(compared(LINE, other), ("A rerouted, B changed, D added".to_owned(), true));
    assert_eq!(compared(other, LINE), ("A rerouted, B changed, D removed".to_owned(), true));
}

#[test]
fn a_form_knows_the_fields_of_a_state_in_its_language() {
    let form = expressway::draft::form(draft(YAML), "B").expect("a form");
    let names = |form: &serde_json::Value| -> Vec<String> {
        form["fields"]
            .as_array()
            .expect("fields")
            .iter()
            .map(|it| it["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!((&form["type"], &form["language"]), (&json!("Task"), &json!("JSONPath")));
    assert!(
        names(&form).contains(&"Parameters".to_owned()) && !names(&form).contains(&"Arguments".to_owned())
    );
    assert_eq!(form["values"]["End"], "true");
    let jsonata = LINE.replacen('{', r#"{"QueryLanguage":"JSONata","#, 1);
    let form = expressway::draft::form(draft(&jsonata), "B").expect("a form");
    assert!(
        names(&form).contains(&"Arguments".to_owned()) && !names(&form).contains(&"Parameters".to_owned())
    );
    assert!(expressway::draft::form(draft(LINE), "Z").is_err());
    let words = expressway::draft::words();
    assert!(words["functions"].as_array().is_some_and(|it| it.len() > 40));
    assert!(words["intrinsics"].as_array().is_some_and(|it| it.contains(&json!("States.ArrayPartition"))));
    for (form, begins) in [("svg", "<svg "), ("mermaid", "flowchart TD")] {
        let runs = LINE.replace("arn:aws:states:::lambda:invoke", FUNCTION);
        let text = expressway::draft::export(draft(&runs), form).unwrap_or_else(|why| why);
        assert!(text.starts_with(begins), "{form}: {text}");
    }
}

/// Many changes after each other, at random, on texts of all kinds. `edit` itself refuses what does not read as it was
/// meant, and here nothing may be refused for how the text is written.
#[test]
fn changes_at_random_read_as_they_were_meant() {
    let orders = include_str!("../../examples/orders.asl.json");
    let mut made = 0;
    for (n, first) in [JSON, LINE, YAML, orders, JSON, LINE, YAML, orders].into_iter().enumerate() {
        let mut text = first.to_owned();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(n as u64 + 1);
        for step in 0..some_of(500, 4) {
            let mut next = |below: usize| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) as usize % below
            };
            let (definition, _) = if draft(&text).yaml {
                asl::read_yaml(text.as_bytes(), &asl::Options::default())
            } else {
                asl::read(text.as_bytes(), &asl::Options::default())
            };
            let Some(definition) = definition else {
                // A change may leave a state that nothing leads to, which is for its author to mend.
                text = first.to_owned();
                continue;
            };
            let states = &definition.workflow.states;
            let state = &states[next(states.len())];
            let other = &states[next(states.len())].name.value;
            let name = &state.name.value;
            let to = match &state.next {
                asl::model::Transition::Next(to) => Some(&*to.value),
                _ => None,
            };
            // An end leaves what followed without a way to it, and a Choice is never the last state.
            let kinds = ["Pass", "Task", "Wait", "Map", "Parallel", "Choice"];
            let kind = kinds[next(if to.is_some() { 6 } else { 5 })];
            let around = ["Map", "Parallel"][next(2)];
            let change = match next(11) {
                6 => {
                    json!({"op": "set", "state": name, "path": ["Comment"], "value": format!("step {step} \"é\"")})
                }
                7 => json!({"op": "set", "state": name, "path": ["Comment"], "remove": true}),
                8 => json!({"op": "wrap", "state": name, "kind": around, "name": format!("All {step}")}),
                9 => json!({"op": "lead", "state": name, "to": other}),
                10 => json!({"op": "raise", "state": name, "field": "Catch", "item": 1}),
                0 | 1 => {
                    json!({"op": "insert", "from": name, "to": to, "kind": kind, "name": format!("New: {step}")})
                }
                2 => json!({"op": "rename", "state": name, "to": format!("the \"{step}\" é")}),
                3 => json!({"op": "catch", "state": name, "to": other}),
                4 => json!({"op": "retry", "state": name}),
                _ => json!({"op": "delete", "state": name}),
            };
            let change = Edit::read(&change).expect("a change");
            match edit(draft(&text), &change) {
                Ok(patches) => {
                    text = patched(&text, &patches);
                    made += 1;
                }
                Err(why) => {
                    let is_told = why.contains("comments in the state");
                    assert!(is_told || !why.contains("by hand"), "{change:?}: {why}\n{text}");
                }
            }
        }
    }
    println!("{made} changes");
    assert!(made > some_of(500, 4), "{made}");
}
