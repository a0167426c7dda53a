//! Lambda functions that processes of this machine answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::required::not_run;
use crate::serving::{Folder, Serving, expressway};

/// Whether a program can be run, by its version.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|it| it.status.success());
    if !there {
        not_run(&format!("`{program} {}` does not work", arguments.join(" ")));
    }
    there
}

fn has_python() -> bool {
    is_there("python3", &["--version"])
}

/// A folder with functions of these names and texts.
fn functions(test: &str, files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(&format!("functions-{test}"));
    for (name, text) in files {
        let file = folder.0.join("functions").join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        if file.ends_with("bootstrap") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("an executable");
        }
    }
    folder
}

fn arn(function: &str) -> String {
    format!("arn:aws:lambda:eu-west-1:123456789012:function:{function}")
}

/// A machine of one task, which outputs the error of its failure.
fn machine(resource: &str, more: &Json) -> Json {
    let mut task = json!({"Type": "Task", "Resource": resource, "End": true,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]});
    task.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    json!({"StartAt": "Call", "States": {"Call": task, "Caught": {"Type": "Pass", "End": true}}})
}

/// Outputs of a machine for inputs, and its messages.
fn run(folder: &Folder, machine: &Json, inputs: &[Json], options: &[&str]) -> (Vec<Json>, String) {
    let definition = folder.file("machine.asl.json", machine.to_string());
    let lines: Vec<String> = inputs.iter().map(Json::to_string).collect();
    let input = folder.file("input.ndjson", lines.join("\n"));
    let mut command = expressway();
    command.args(["run", &definition, "--input", &input]).args(options);
    if folder.0.join("functions").exists() {
        command.arg("--lambda-dir").arg(folder.0.join("functions"));
    }
    let output = command.output().expect("the command");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    let outputs = out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    (outputs, err)
}

/// The one output of a function for an input.
fn call(folder: &Folder, function: &str, input: Json, options: &[&str]) -> (Json, String) {
    let (outputs, err) = run(folder, &machine(&arn(function), &json!({})), &[input], options);
    assert_eq!(outputs.len(), 1, "{function}: {err}");
    (outputs[0].clone(), err)
}

/// Speaks the runtime API by itself, as clients of any language do.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import http.client, os
server = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None):
    server.request(method, "/2018-06-01/runtime/" + path, body)
    reply = server.getresponse()
    return reply, reply.read()
while True:
    reply, event = ask("GET", "invocation/next")
    id = reply.headers["Lambda-Runtime-Aws-Request-Id"]
    again, _ = ask("GET", "invocation/next")
    unknown, _ = ask("POST", "invocation/another/response", b"1")
    known, _ = ask("POST", "invocation/%s/response" % id,
        b'{"event":%s,"arn":"%s","statuses":[%d,%d]}' % (
            event, reply.headers["Lambda-Runtime-Invoked-Function-Arn"].encode(), again.status, unknown.status))
"#;

#[test]
fn functions_answer_and_fail_as_on_lambda() {
    if !has_python() {
        return;
    }
    let folder = functions(
        "outcomes",
        &[
            (
                "twice.py",
                "import _shared\ndef handler(event, context):\n    return {'twice': _shared.twice(event['n'])}\n",
            ),
            ("_shared.py", "def twice(n):\n    return 2 * n\n"),
            (
                "named.py",
                "def lambda_handler(event, context):\n    print('a line\\x1b[2J')\n    return [context.function_name, context.invoked_function_arn, context.get_remaining_time_in_millis() > 0]\n",
            ),
            (
                "raises.py",
                "class Refused(Exception):\n    pass\ndef handler(event, context):\n    raise Refused('no money')\n",
            ),
            ("exits.py", "import sys\ndef handler(event, context):\n    sys.exit(3)\n"),
            ("dies.py", "import os\ndef handler(event, context):\n    os.kill(os.getpid(), 9)\n"),
            ("unimportable.py", "import there_is_no_such_module\n"),
            ("handlerless.py", "x = 1\n"),
            ("unwritable.py", "def handler(event, context):\n    return {1, 2}\n"),
            ("slow.py", "import time\ndef handler(event, context):\n    time.sleep(600)\n"),
            ("large.py", "def handler(event, context):\n    return 'x' * 7_000_000\n"),
            ("too_much.py", "def handler(event, context):\n    return 'x' * 300_000\n"),
            ("own/bootstrap", BOOTSTRAP),
            ("folder/app.py", "def handler(event, context):\n    return 'folder'\n"),
            ("README.md", "No function.\n"),
        ],
    );
    let short = ["--lambda-timeout", "1"];
    // A function, an input, options, and the expected result: an output, or an error and words of its cause.
    let (twice, own) = (json!({"twice": 42}), arn("own"));
    for (function, input, options, wanted) in [
        ("twice", json!({"n": 21}), &[][..], Ok(twice)),
        ("folder", json!({}), &[], Ok(json!("folder"))),
        ("named:prod", json!({}), &[], Ok(json!(["named", arn("named:prod"), true]))),
        ("own", json!([1]), &[], Ok(json!({"event": [1], "arn": own, "statuses": [403, 400]}))),
        (
            "raises",
            json!({}),
            &[],
            Err(("Refused", vec![r#""errorMessage": "no money""#, "stackTrace", "raises.py", "requestId"])),
        ),
        (
            "exits",
            json!({}),
            &[],
            Err(("Runtime.ExitError", vec!["Error: Runtime exited with error: exit status 3"])),
        ),
        ("dies", json!({}), &[], Err(("Runtime.ExitError", vec!["signal: killed"]))),
        ("unimportable", json!({}), &[], Err(("Runtime.ImportModuleError", vec!["there_is_no_such_module"]))),
        (
            "handlerless",
            json!({}),
            &[],
            Err(("Runtime.HandlerNotFound", vec!["Handler 'handler' missing on module 'handlerless'"])),
        ),
        ("unwritable", json!({}), &[], Err(("Runtime.MarshalError", vec!["not JSON serializable"]))),
        (
            "slow",
            json!({}),
            &short,
            Err(("Sandbox.Timedout", vec!["Error: Task timed out after 1.00 seconds"])),
        ),
        (
            "large",
            json!({}),
            &[],
            Err(("Function.ResponseSizeTooLarge", vec!["Response payload size exceeded"])),
        ),
        ("too_much", json!({}), &[], Err(("States.DataLimitExceeded", vec!["size exceeding the maximum"]))),
        (
            "absent",
            json!({}),
            &[],
            Err((
                "Lambda.ResourceNotFoundException",
                vec![
                    "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:absent:$LATEST (Service: AWSLambda; Status Code: 404",
                ],
            )),
        ),
    ] {
        let (output, err) = call(&folder, function, input, options);
        match wanted {
            Ok(wanted) => assert_eq!(output, wanted, "{function}: {err}"),
            Err((error, words)) => {
                assert_eq!(output["Error"], error, "{function}: {output} {err}");
                let cause = output["Cause"].as_str().expect("a cause");
                for word in words {
                    assert!(cause.contains(word), "{function}: {cause} has no {word}");
                }
            }
        }
        if function.starts_with("named") {
            assert!(
                err.contains("named: a line [2J\n"),
                "what it writes has its name, and moves no cursor: {err}"
            );
        }
    }
}

#[test]
fn integrations_of_lambda_reach_them() {
    if !has_python() {
        return;
    }
    let folder = functions(
        "integrations",
        &[
            (
                "twice.py",
                "def handler(event, context):\n    print('twice', event)\n    return 2 * event['n']\n",
            ),
            ("fails.py", "def handler(event, context):\n    raise ValueError('no')\n"),
        ],
    );
    let invoke = |resource: &str, arguments: Json| {
        let machine = machine(resource, &json!({"Parameters": arguments}));
        let (outputs, err) = run(&folder, &machine, &[json!({})], &[]);
        outputs.first().cloned().unwrap_or_else(|| panic!("{resource}: {err}"))
    };
    let (own, sdk) = ("arn:aws:states:::lambda:invoke", "arn:aws:states:::aws-sdk:lambda:invoke");
    let output = invoke(own, json!({"FunctionName": "twice", "Payload": {"n": 21}}));
    assert_eq!((&output["Payload"], &output["StatusCode"]), (&json!(42), &json!(200)), "{output}");
    assert_eq!(output["ExecutedVersion"], "$LATEST");
    assert_eq!(output["SdkHttpMetadata"]["HttpHeaders"]["X-Amz-Executed-Version"], "$LATEST");
    let output = invoke(own, json!({"FunctionName": arn("fails"), "Payload": {}}));
    assert_eq!(output["Error"], "ValueError", "{output}");
    let output = invoke(own, json!({"FunctionName": "fails", "Payload": "no JSON"}));
    assert_eq!(output["Error"], "Lambda.InvalidRequestContentException", "{output}");
    let output =
        invoke(own, json!({"FunctionName": "twice", "Payload": {"n": 1}, "InvocationType": "Event"}));
    assert_eq!(output["StatusCode"], 202, "{output}");
    let output = invoke(own, json!({"FunctionName": "twice", "InvocationType": "DryRun"}));
    assert_eq!(output["StatusCode"], 204, "{output}");
    let output = invoke(sdk, json!({"FunctionName": "twice:live", "Payload": "{\"n\": 21}"}));
    assert_eq!(output, json!({"ExecutedVersion": "$LATEST", "Payload": "42", "StatusCode": 200}));
    let output = invoke(sdk, json!({"FunctionName": "fails", "Payload": {}}));
    assert_eq!((&output["FunctionError"], &output["StatusCode"]), (&json!("Unhandled"), &json!(200)));
    let output = invoke(sdk, json!({"FunctionName": "absent"}));
    assert_eq!(output["Error"], "Lambda.ResourceNotFoundException", "{output}");
    let cause = output["Cause"].as_str().expect("a cause");
    assert!(cause.contains("(Service: Lambda, Status Code: 404, Request ID: "), "{cause}");
}

#[test]
fn functions_in_javascript() {
    if !is_there("node", &["--version"]) {
        return;
    }
    let folder = functions(
        "javascript",
        &[
            (
                "later.mjs",
                "export const handler = async (event, context) => ({ got: event, name: context.functionName });\n",
            ),
            (
                "called/index.js",
                "exports.handler = (event, context, done) => setImmediate(() => done(null, 'called'));\n",
            ),
            (
                "throws.mjs",
                "class Refused extends Error { name = 'Refused' }\nexport async function handler() { throw new Refused('no money'); }\n",
            ),
            ("broken.mjs", "import './there-is-no-such-file.mjs';\n"),
        ],
    );
    assert_eq!(call(&folder, "later", json!({"ü": 1}), &[]).0, json!({"got": {"ü": 1}, "name": "later"}));
    assert_eq!(call(&folder, "called", json!({}), &[]).0, json!("called"));
    let (output, err) = call(&folder, "throws", json!({}), &[]);
    assert_eq!(output["Error"], "Refused", "{output} {err}");
    let (output, err) = call(&folder, "broken", json!({}), &[]);
    assert_eq!(output["Error"], "Runtime.ImportModuleError", "{output} {err}");
}

#[test]
fn a_public_runtime_client_works_as_it_is() {
    // `.ci/run` installs it beside moto.
    let moto = std::env::var("MOTO_SERVER").map(|moto| Path::new(&moto).with_file_name("python3")).ok();
    let python =
        moto.filter(|it| it.exists()).map_or_else(|| "python3".to_owned(), |it| it.display().to_string());
    if !is_there(&python, &["-c", "import awslambdaric"]) {
        return;
    }
    let folder = Folder::new("functions-client");
    folder.file("tax.py", "def handler(event, context):\n    return {'tax': event['total'] / 5, 'id': len(context.aws_request_id)}\n");
    let command = format!("tax=cd {} && {python} -m awslambdaric tax.handler", folder.0.display());
    let (outputs, err) = run(
        &folder,
        &machine(&arn("tax"), &json!({})),
        &[json!({"total": 10}), json!({})],
        &["--lambda", &command],
    );
    assert_eq!(outputs[0], json!({"tax": 2.0, "id": 36}), "{err}");
    assert_eq!(outputs[1]["Error"], "KeyError", "{err}");
}

#[test]
fn a_function_has_so_many_processes_and_others_wait() {
    if !has_python() {
        return;
    }
    let folder =
        functions("pool", &[("pid.py", "import os\ndef handler(event, context):\n    return os.getpid()\n")]);
    let inputs: Vec<Json> = (0..200).map(|n| json!(n)).collect();
    let (outputs, err) =
        run(&folder, &machine(&arn("pid"), &json!({})), &inputs, &["--lambda-concurrency", "2"]);
    assert_eq!(outputs.len(), 200, "{err}");
    assert!(outputs.iter().all(Json::is_u64), "{outputs:?}");
    let processes: std::collections::BTreeSet<u64> = outputs.iter().filter_map(Json::as_u64).collect();
    assert!((1..=2).contains(&processes.len()), "{processes:?}");
}

/// `holds` keeps a pipe open, also in a separate process; the pipe's reader gets its end when both are gone.
const HOLDS: &str = "import os, subprocess, time
def handler(event, context):
    pipe = os.open(event['pipe'], os.O_WRONLY)
    subprocess.Popen(['sleep', '600'], pass_fds=[pipe])
    os.write(pipe, b'held')
    time.sleep(600)
";

fn pipe(folder: &Folder) -> String {
    let pipe = folder.0.join("pipe").display().to_string();
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    pipe
}

#[test]
fn a_function_that_nobody_waits_for_is_killed_with_all_it_started() {
    if !has_python() {
        return;
    }
    let waits = "def handler(event, context):\n    with open(event['pipe'], 'rb', 0) as pipe:\n        assert pipe.read(4) == b'held'\n    raise SystemExit(1)\n";
    // Opens the pipe whether it has a writer or not, and reads until it has none.
    let reads = "import os\ndef handler(event, context):\n    pipe = os.open(event['pipe'], os.O_RDONLY | os.O_NONBLOCK)\n    os.set_blocking(pipe, True)\n    return os.read(pipe, 9).decode()\n";
    let folder = functions("killed", &[("holds.py", HOLDS), ("waits.py", waits), ("reads.py", reads)]);
    let pipe = pipe(&folder);
    let branch = |name: &str, resource: &str| {
        let task = json!({"Type": "Task", "Resource": arn(resource), "End": true});
        json!({"StartAt": name, "States": {name: task}})
    };
    // One branch fails once the other holds the pipe; then that one is no longer wanted.
    let machine = json!({"StartAt": "Both", "States": {
        "Both": {"Type": "Parallel", "Next": "Read", "Branches": [branch("Hold", "holds"), branch("Wait", "waits")],
            "Catch": [{"ErrorEquals": ["Runtime.ExitError"], "Next": "Read", "ResultPath": null}]},
        "Read": {"Type": "Task", "Resource": arn("reads"), "End": true}}});
    let (outputs, err) = run(&folder, &machine, &[json!({"pipe": pipe})], &[]);
    assert_eq!(outputs, [json!("")], "{err}");
    let machine = machine_with_timeout();
    let (outputs, err) = run(&folder, &machine, &[json!({"pipe": pipe})], &[]);
    assert_eq!(outputs[0]["Error"], "States.Timeout", "{err}");
}

#[cfg(feature = "cli-pipe")]
#[test]
fn pipelines_call_them() {
    if !has_python() {
        return;
    }
    let folder = functions("pipe", &[("twice.py", "def handler(event, context):\n    return 2 * event\n")]);
    folder.file("machine.asl.json", machine(&arn("twice"), &json!({})).to_string());
    let sqs = json!({"Parameters": {"QueueUrl": "q", "MessageBody": "m"}});
    folder.file("sqs.asl.json", machine("arn:aws:states:::sqs:sendMessage", &sqs).to_string());
    folder.file("in.ndjson", "1\n2\n3\n");
    let pipe = |definition: &str| {
        let config = format!(
            "definition = \"{definition}\"\nsource = {{ type = \"file\", path = \"in.ndjson\" }}\n\
             sink = {{ type = \"stdout\" }}\n"
        );
        let config = folder.file("pipe.toml", config);
        let dir = folder.0.join("functions");
        let mut command = expressway();
        command.args(["pipe", &config, "--quiet", "--lambda-dir"]).arg(dir).output().expect("a pipeline")
    };
    let done = pipe("machine.asl.json");
    let mut lines: Vec<String> = String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["2", "4", "6"], "{}", String::from_utf8_lossy(&done.stderr));
    let refused = pipe("sqs.asl.json");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("only Lambda functions of this machine are called here"), "{said}");
}

/// Opening a pipe for writing waits for a reader, and there is none.
fn machine_with_timeout() -> Json {
    machine(&arn("holds"), &json!({"TimeoutSeconds": 1}))
}

#[test]
fn processes_end_with_a_server_that_is_killed() {
    if !has_python() {
        return;
    }
    let folder = functions("orphans", &[("holds.py", HOLDS)]);
    let pipe = pipe(&folder);
    folder.file("hold.asl.json", machine(&arn("holds"), &json!({})).to_string());
    let (definitions, dir) =
        (folder.0.display().to_string(), folder.0.join("functions").display().to_string());
    let serving = Serving::start(&["--definitions", &definitions, "--lambda-dir", &dir]);
    assert!(serving.start.contains("the Lambda function holds is answered by python3"), "{}", serving.start);
    let input = json!({"pipe": pipe}).to_string();
    let start =
        json!({"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:hold", "input": input});
    assert_eq!(serving.ask("StartExecution", &start.to_string()).0, 200);
    let mut held = fs::File::open(&pipe).expect("the function opens the pipe");
    let mut text = [0; 4];
    std::io::Read::read_exact(&mut held, &mut text).expect("the function has begun");
    // `kill -9`: the server can do nothing any more.
    serving.kill();
    // If a process still held it, this would wait for ten minutes.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(std::io::Read::read_to_end(&mut held, &mut Vec::new())));
    let rest = told.recv_timeout(std::time::Duration::from_secs(60)).expect("nobody holds the pipe");
    assert_eq!(rest.expect("its end"), 0);
}

#[test]
fn what_is_no_function_is_refused() {
    let folder = functions("refused", &[("empty/README.md", "")]);
    folder.file("m.asl.json", machine(&arn("x"), &json!({})).to_string());
    let (definition, empty) =
        (folder.0.join("m.asl.json").display().to_string(), folder.0.join("functions").display().to_string());
    for (options, words) in [
        (vec!["--lambda", "x"], "a function is NAME=COMMAND"),
        (vec!["--lambda", "x="], "the function x has an empty command"),
        (vec!["--lambda", "x y=true"], "'x y' is no name of a function"),
        (vec!["--lambda", "x=true", "--lambda", "x=false"], "there are two functions x"),
        (vec!["--lambda-dir", "/there/is/none"], "--lambda-dir /there/is/none: there is no folder /there/is"),
        (vec!["--lambda-dir", &empty], "is no function: it has none of an executable bootstrap"),
        (
            vec!["--services", "--endpoint", "Lambda=http://localhost:1", "--lambda", "x=true"],
            "does not go with --lambda",
        ),
        (vec!["--virtual-time", "--lambda", "x=true"], "--virtual-time does not go with --lambda"),
    ] {
        let output =
            expressway().args(["run", &definition, "--input", "{}"]).args(&options).output().expect("it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{options:?}: {said}");
    }
}
