//! The complete projects in `examples`: the first command of each README, in a copy of the project.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::required::not_run;
use crate::serving::Folder;

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// A copy of a project, and what its README's command prints.
fn run(project: &str) -> Option<(Folder, String)> {
    if !Command::new("python3").arg("--version").output().is_ok_and(|it| it.status.success()) {
        not_run("there is no python3");
        return None;
    }
    let folder = Folder::new(&format!("example-{project}"));
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(project), &folder.0);
    let readme = fs::read_to_string(folder.0.join("README.md")).expect("a README");
    let command = readme.split("```sh\n").nth(1).and_then(|rest| rest.lines().next()).expect("a command");
    let binary = Path::new(env!("CARGO_BIN_EXE_expressway")).parent().expect("a folder");
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").expect("a path"))),
    );
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(&folder.0)
        .env("PATH", path.expect("folders"))
        .env_remove("AWS_ENDPOINT_URL")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{project}: {said}");
    Some((folder, String::from_utf8(output.stdout).expect("UTF-8")))
}

#[test]
fn orders_are_shipped_or_what_was_done_is_undone_in_order() {
    let Some((folder, printed)) = run("order-saga") else { return };
    let wanted = [
        r#"{"order":"o-1","status":"shipped","courier":"van to Bern"}"#,
        r#"{"order":"o-2","status":"cancelled","reason":"CardDeclined","undone":["reservation"]}"#,
        r#"{"order":"o-3","status":"cancelled","reason":"OutOfStock","undone":[]}"#,
        r#"{"order":"o-4","status":"cancelled","reason":"NoCourier","undone":["charge","reservation"]}"#,
        r#"{"order":"o-5","status":"shipped","courier":"van to Ulm"}"#,
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), wanted);
    let shop = Command::new("python3").arg("functions/_shop.py").current_dir(&folder.0).output().expect("it");
    let shop = String::from_utf8(shop.stdout).expect("UTF-8");
    // What cancelled orders took is back; the busy bank was asked again, and charged once.
    for row in ["('book', 8)", "('globe', 3)", "('pen', 85)", "('o-4', 0, 1)", "('o-5', 2000, 2)"] {
        assert!(shop.contains(row), "{row} in {shop}");
    }
    assert!(!shop.contains("('o-2', 'book'") && !shop.contains("('o-4', 'globe'"), "{shop}");
}

#[test]
fn who_follows_the_link_is_registered_and_who_does_not_is_not() {
    let Some((_, printed)) = run("user-registration") else { return };
    for line in [
        "ada has an e-mail: Welcome! Please follow https://shop.example/welcome?token=…",
        "the staff looks at ada@example.com, confirmed from the link",
        r#"ada: {"email":"ada@example.com","status":"active","by":"Ruth"}"#,
        r#"bob: {"email":"bob@example.com","status":"removed"}"#,
        "accounts: ada@example.com",
    ] {
        assert!(printed.lines().any(|it| it == line), "{line} in {printed}");
    }
}

#[test]
fn a_report_is_put_together_from_three_places() {
    let Some((_, printed)) = run("report") else { return };
    for line in [
        r#"{"month": "2026-10", "orders": 5}"#,
        r#"  {"order":1,"customer":"Ada","country":"GB","euros":112.5}"#,
        r#"  {"order":2,"customer":"Émilie","country":"FR","euros":19.9}"#,
        r#"  {"order":3,"customer":"Max","country":"CH","euros":266.16}"#,
        r#"  {"order":4,"customer":"Ada","country":"GB","euros":8.16}"#,
        r#"  {"Status":"FAILED","Error":"Customer.Unknown","Cause":"order 5 is of c-9, who is not there"}"#,
    ] {
        assert!(printed.lines().any(|it| it == line), "{line} in {printed}");
    }
}

#[test]
fn a_file_is_priced_line_by_line() {
    let Some((folder, printed)) = run("file-pipeline") else { return };
    let output: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let manifest = output["written"]["ResultWriterDetails"]["Path"].as_str().expect("a path");
    let written = folder.0.join("data").join(manifest);
    let lines = |name: &str| {
        let text = fs::read_to_string(written.with_file_name(name)).expect("a file");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let priced = lines("SUCCEEDED_0.jsonl");
    assert_eq!(priced.len(), 10, "{priced:?}");
    assert_eq!(priced[3], r#"{"meter":"m-004","month":"2026-10","kWh":430,"cents":9030}"#);
    let cause = r#"{"Status":"FAILED","Error":"Reading.Backwards","Cause":"m-005 went from 51 to 49"}"#;
    assert_eq!(lines("FAILED_0.jsonl"), [cause]);
}
