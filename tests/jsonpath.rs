//! JSONPath against what Jayway 2.0.0 answered, which is what AWS runs.

mod corpus;

use corpus::{Report, Roots, lines, suite};
use expressway::json::{Arena, equal, read};
use expressway::query::path::{Path, PathFaultKind};
use serde_json::Value as Json;

const KNOWN: &str = include_str!("known/jsonpath.txt");

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

/// Compares everything Jayway said about a selector and a document.
fn answer(selector: &str, document: &Json, jayway: &Json) -> Result<(), String> {
    let path = match Path::parse(selector, &mut corpus::NoNames) {
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
    match (path.eval(&mut arena, &scope), jayway.get("result")) {
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
            fault.message(&path, &mut arena, &scope)
        )),
        (Err(fault), None) => {
            let not_found = jayway["error"] == "PATH_NOT_FOUND";
            if (fault.kind() == PathFaultKind::NotFound) != not_found {
                return Err(format!("{selector} on {document}: {:?}, not {}", fault.kind(), jayway["error"]));
            }
            let message = fault.message(&path, &mut arena, &scope);
            let comparable = not_found || jayway["error"] == "INVALID_PATH";
            match comparable && jayway["message"] != Json::from(message.as_str()) {
                true => Err(format!("{selector} on {document}: {message}, not {}", jayway["message"])),
                false => Ok(()),
            }
        }
    }
}

fn same_form(path: &Path, jayway: &Json) -> Result<(), String> {
    let form = path.to_string();
    let root = 1 + path.variable().map_or(usize::from(path.is_context()), str::len);
    let form = format!("${}", &form[root..]);
    if jayway["normalized"] != Json::from(form.as_str()) {
        return Err(format!("{}: reads as {form}, not {}", path.source(), jayway["normalized"]));
    }
    match jayway["definite"] == Json::from(path.is_definite()) {
        true => Ok(()),
        false => Err(format!("{}: definite should be {}", path.source(), jayway["definite"])),
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
        let outcome = match Path::parse(text, &mut corpus::NoNames) {
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
    if *root == Json::from(ours.as_str()) {
        Ok(())
    } else {
        Err(format!("{}: root {ours}, not {root}", path.source()))
    }
}
