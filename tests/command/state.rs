//! `serve --state`: what is kept, and what happens when that does not work.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::required;
use crate::serving::{Folder, Serving};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn arn(machine: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:stateMachine:{machine}")
}

fn definition(state: &Json) -> String {
    json!({"StartAt": "S", "States": {"S": state}}).to_string()
}

fn pass() -> String {
    definition(&json!({"Type": "Pass", "End": true}))
}

fn create(serving: &Serving, name: &str, definition: &str) -> (u16, String) {
    let request = json!({"name": name, "type": "EXPRESS", "definition": definition, "roleArn": ROLE});
    serving.ask("CreateStateMachine", &request.to_string())
}

/// A server with its state in a separate folder.
struct Kept {
    folder: Folder,
}

impl Kept {
    fn new(test: &str) -> Kept {
        Kept { folder: Folder::new(test) }
    }

    fn state(&self) -> PathBuf {
        self.folder.0.join("state")
    }

    fn start(&self, arguments: &[&str]) -> Serving {
        let state = self.state();
        Serving::start(&[&["--state", state.to_str().expect("UTF-8")], arguments].concat())
    }
}

fn wait_for(serving: &mut Serving, words: &str) {
    while !serving.line().contains(words) {}
}

#[test]
fn what_does_not_compile_any_more_is_kept_and_says_why_it_does_not_start() {
    let kept = Kept::new("state-compile");
    let glue = definition(
        &json!({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:codecatalyst:verifySession", "Parameters": {}, "End": true}),
    );
    let mocks = json!({"StateMachines": {"jobs": {"TestCases": {"Happy": {"S": "Started"}}}},
        "MockedResponses": {"Started": {"0": {"Return": {}}}}});
    let mocks = kept.folder.write("mocks.json", &mocks.to_string());
    let serving = kept.start(&["--mock-config", mocks.to_str().expect("UTF-8")]);
    assert_eq!(create(&serving, "jobs", &glue).0, 200);
    assert_eq!(create(&serving, "other", &pass()).0, 200);
    let publish = json!({"stateMachineArn": arn("jobs")}).to_string();
    assert_eq!(serving.ask("PublishStateMachineVersion", &publish).0, 200);
    assert_eq!(serving.stop().0, Some(0));

    let check = |serving: &Serving| {
        assert!(serving.start.contains("a stored state machine cannot be run"), "{}", serving.start);
        let (_, listed) = serving.ask("ListStateMachines", "{}");
        assert!(listed.contains(&arn("jobs")) && listed.contains(&arn("other")), "{listed}");
        for machine in [arn("jobs"), format!("{}:1", arn("jobs"))] {
            let (status, body) =
                serving.ask("DescribeStateMachine", &json!({"stateMachineArn": machine}).to_string());
            let described: Json = serde_json::from_str(&body).expect("JSON");
            assert_eq!((status, described["definition"].as_str()), (200, Some(&*glue)), "{body}");
            for operation in ["StartExecution", "StartSyncExecution"] {
                let (status, body) = serving.ask(operation, &json!({"stateMachineArn": machine}).to_string());
                assert!(status == 400 && body.contains("codecatalyst:verifySession"), "{operation}: {body}");
            }
        }
        let other = json!({"stateMachineArn": arn("other")}).to_string();
        assert_eq!(serving.ask("StartSyncExecution", &other).0, 200);
    };
    let serving = kept.start(&[]);
    check(&serving);
    // Tags change what is stored of it; it stays what it was.
    let tags = json!({"resourceArn": arn("jobs"), "tags": [{"key": "k", "value": "v"}]}).to_string();
    assert_eq!(serving.ask("TagResource", &tags).0, 200);
    assert_eq!(serving.stop().0, Some(0));
    let serving = kept.start(&[]);
    check(&serving);
    let update = json!({"stateMachineArn": arn("jobs"), "definition": pass()}).to_string();
    assert_eq!(serving.ask("UpdateStateMachine", &update).0, 200);
    let start = json!({"stateMachineArn": arn("jobs")}).to_string();
    assert_eq!(serving.ask("StartSyncExecution", &start).0, 200);
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let kept = Kept::new("state-mode");
    let mode = |path: PathBuf| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    let file = kept.state().join("expressway.redb");
    drop(kept.start(&[]));
    assert_eq!((mode(kept.state()), mode(file.clone())), (0o700, 0o600));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its owner may");
    drop(kept.start(&[]));
    assert_eq!(mode(file), 0o600, "one of an earlier version");
}

#[cfg(unix)]
#[test]
fn what_is_written_to_a_file_that_was_deleted_is_not_acknowledged() {
    let kept = Kept::new("state-deleted");
    let mut serving = kept.start(&[]);
    assert_eq!(create(&serving, "before", &pass()).0, 200);
    assert_eq!(serving.get("/ready"), "ready\n");
    // The journal beside it stays: without that the server ends. A folder in its place prevents a new file.
    let file = kept.state().join("expressway.redb");
    fs::remove_file(&file).expect("the file");
    fs::create_dir(&file).expect("a folder");
    let (status, body) = create(&serving, "meanwhile", &pass());
    assert!(status == 500 && body.contains("expressway.redb"), "{body}");
    wait_for(&mut serving, "the state cannot be stored");
    let ready = serving.get("/ready");
    assert!(ready.starts_with("not ready: ") && ready.contains("expressway.redb"), "{ready}");
    // Existing machines still run.
    let start = json!({"stateMachineArn": arn("before")}).to_string();
    assert_eq!(serving.ask("StartSyncExecution", &start).0, 200);
    assert!(!serving.ask("ListStateMachines", "{}").1.contains("meanwhile"));
    let delete = json!({"stateMachineArn": arn("before")}).to_string();
    assert_eq!(serving.ask("DeleteStateMachine", &delete).0, 500);

    fs::remove_dir(&file).expect("the folder");
    wait_for(&mut serving, "the state can be stored again");
    assert_eq!(serving.get("/ready"), "ready\n");
    assert_eq!(create(&serving, "after", &pass()).0, 200);
    assert_eq!(serving.stop().0, Some(0));
    let (_, listed) = kept.start(&[]).ask("ListStateMachines", "{}");
    let machines = ["before", "meanwhile", "after"].map(|machine| listed.contains(&arn(machine)));
    assert_eq!(machines, [true, false, true], "{listed}");
}

/// A file with a size limit simulates a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_when_there_is_room_again_it_goes_on() {
    if !Command::new("prlimit").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return required::not_run("prlimit is not installed");
    }
    let kept = Kept::new("state-full");
    let state = kept.state();
    // The signal for such a file would end the server.
    let mut serving = Serving::start_by(
        &["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""],
        &["--state", state.to_str().expect("UTF-8")],
    );
    let room = |serving: &Serving, bytes: &str| {
        let (process, limit) = (serving.process().to_string(), format!("--fsize={bytes}:"));
        let set = Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(set.expect("prlimit").success());
    };
    assert_eq!(create(&serving, "before", &pass()).0, 200);
    // Nothing can be written behind the header.
    room(&serving, "4096");
    for _ in 0..2 {
        let (status, body) = create(&serving, "refused", &pass());
        assert!(status == 500 && body.contains("Nothing was changed"), "{status} {body}");
    }
    wait_for(&mut serving, "the state cannot be stored");
    assert!(serving.get("/ready").starts_with("not ready: "));
    let start = json!({"stateMachineArn": arn("before")}).to_string();
    assert_eq!(serving.ask("StartSyncExecution", &start).0, 200, "what is there runs");
    room(&serving, "unlimited");
    wait_for(&mut serving, "the state can be stored again");
    assert_eq!(serving.get("/ready"), "ready\n");
    assert_eq!(create(&serving, "after", &pass()).0, 200);
    assert_eq!(serving.stop().0, Some(0));
    let (_, listed) = kept.start(&[]).ask("ListStateMachines", "{}");
    let machines = ["before", "refused", "after"].map(|machine| listed.contains(&arn(machine)));
    assert_eq!(machines, [true, false, true], "{listed}");
}
