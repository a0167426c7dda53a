//! Third-party clients, unmodified, against `expressway serve`: boto3, the AWS CLI, the JavaScript SDK. Those that are
//! not installed are named and left out. `.ci/run` installs them below the target folder.

use crate::required::{is_all, not_run};
use std::path::PathBuf;
use std::process::Command;

use crate::serving::{Folder, Serving, expressway, folder};

/// The target folder, where `.ci/run` puts what is needed: the test's own program is in `target/debug/deps`.
fn installed() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.ancestors().nth(3)?.to_owned())
}

/// A program from there, or of that name.
fn program(name: &str) -> PathBuf {
    let own = installed().map(|it| it.join("python/bin").join(name)).filter(|it| it.exists());
    own.unwrap_or_else(|| name.into())
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn absent(what: &str) {
    not_run(&format!("{what} is not installed, so its session was not tried (see .ci/run)"));
}

/// The output of `expressway env`, as a user would apply it.
fn with_environment(mut command: Command, port: u16) -> Command {
    let printed = expressway().args(["env", "--shell", "dotenv", "--port", &port.to_string()]).output();
    let printed = String::from_utf8(printed.expect("the command").stdout).expect("UTF-8");
    for (name, value) in printed.lines().filter_map(|line| line.split_once('=')) {
        command.env(name, value);
    }
    // The configuration of a real account must not be used here.
    let nowhere = folder("tests/clients/none");
    command.env("AWS_CONFIG_FILE", &nowhere).env("AWS_SHARED_CREDENTIALS_FILE", &nowhere);
    command.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
    command
}

fn passes(mut command: Command) {
    let output = command.output().expect("the client");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn boto3_asks_for_every_operation() {
    let python = program("python3");
    if !works(Command::new(&python).args(["-c", "import boto3"])) {
        return absent("boto3");
    }
    let serving = Serving::start(&[]);
    let mut command = with_environment(Command::new(&python), serving.port);
    command.arg(folder("tests/clients/boto3_session.py"));
    passes(command);
    let mut command = with_environment(Command::new(&python), serving.port);
    command.args(["-c", &snippet("python")]);
    passes(command);
}

/// The README's block of code in this language.
fn snippet(language: &str) -> String {
    let readme = std::fs::read_to_string(folder("README.md")).expect("the README");
    let (_, behind) = readme.split_once(&format!("```{language}\n")).expect("a block");
    let (block, _) = behind.split_once("```").expect("its end");
    block.to_owned()
}

#[test]
fn boto3_is_let_in_with_a_key_over_tls() {
    let python = program("python3");
    if !works(Command::new(&python).args(["-c", "import boto3"])) {
        return absent("boto3");
    }
    let keys = Folder::new("clients");
    let allow = r#""allow": [{"actions": ["states:List*"], "resources": ["*"]}]"#;
    let keys_file = keys.write(
        "keys.json",
        &format!(r#"{{"keys": [{{"accessKeyId": "AKIDLISTS", "secretAccessKey": "right", {allow}}}]}}"#),
    );
    let tls = folder("tests/data/tls");
    let (certificate, key) = (tls.join("localhost.pem"), tls.join("localhost.key"));
    let path = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let serving = Serving::start(&[
        "--auth",
        &path(&keys_file),
        "--tls-cert",
        &path(&certificate),
        "--tls-key",
        &path(&key),
    ]);
    let mut command = with_environment(Command::new(&python), serving.port);
    command.arg(folder("tests/clients/boto3_auth.py")).arg(serving.port.to_string()).arg(&certificate);
    passes(command);
}

#[test]
fn the_aws_cli_does_a_session() {
    let aws = program("aws");
    if !works(Command::new(&aws).arg("--version")) {
        return absent("the AWS CLI");
    }
    if !is_all() {
        return not_run("the AWS CLI takes half a minute for its session");
    }
    let serving = Serving::start(&[]);
    let mut command = with_environment(Command::new(program("python3")), serving.port);
    command.arg(folder("tests/clients/cli_session.py")).arg(&aws);
    passes(command);
    let shell = format!("set -e\n{}", snippet("bash").replace("aws stepfunctions", "\"$AWS\" stepfunctions"));
    let mut command = with_environment(Command::new("sh"), serving.port);
    command.args(["-c", &shell]).env("AWS", &aws);
    passes(command);
}

#[test]
fn the_javascript_sdk_does_a_session() {
    let Some(js) = installed().map(|it| it.join("js")).filter(|it| it.join("node_modules/@aws-sdk").exists())
    else {
        return absent("the JavaScript SDK");
    };
    if !works(Command::new("node").arg("--version")) {
        return absent("node");
    }
    let serving = Serving::start(&[]);
    let mut command = with_environment(Command::new("node"), serving.port);
    command.arg(folder("tests/clients/js_session.mjs")).arg(&js);
    passes(command);
    let mut command = with_environment(Command::new("node"), serving.port);
    command.args(["-e", &snippet("js")]).current_dir(&js);
    passes(command);
}

/// Nearly 2,000 requests and answers, with what botocore writes and reads of the same parameters.
#[test]
fn services_with_xml_are_spoken_to_as_botocore_does() {
    const SERVICES: [&str; 13] = [
        "autoscaling",
        "cloudformation",
        "cloudfront",
        "ec2",
        "elbv2",
        "iam",
        "rds",
        "route53",
        "s3",
        "s3control",
        "ses",
        "sns",
        "sts",
    ];
    let python = program("python3");
    if !works(Command::new(&python).args(["-c", "import boto3"])) {
        return absent("boto3");
    }
    let mut command = Command::new(&python);
    command.arg(folder("tests/clients/models.py")).arg(env!("CARGO_BIN_EXE_expressway"));
    command.arg(folder("src/models/services.table")).args(SERVICES);
    passes(command);
}

#[test]
fn moto_s_own_tests_find_what_they_look_for() {
    let python = program("python3");
    if !works(Command::new(&python).args(["-c", "import moto, pytest"])) {
        return absent("moto with pytest");
    }
    let suite = installed().map(|it| it.join("moto-5.2.1")).filter(|it| it.join("tests").exists());
    let Some(suite) = suite else { return absent("the source distribution of moto") };
    let mut command = Command::new(&python);
    command.arg(folder("tests/clients/moto_suite.py")).arg(env!("CARGO_BIN_EXE_expressway"));
    command.arg(suite).arg(folder("tests/known/moto.txt"));
    passes(command);
}

/// Nodes with the same certificate accept each other by it.
#[test]
#[cfg(all(feature = "cli-cluster", target_os = "linux"))]
fn nodes_of_a_cluster_call_each_other_over_tls() {
    let python = program("python3");
    if !works(Command::new(&python).args(["-c", "import boto3"])) {
        return absent("boto3");
    }
    use crate::engines::{Engine, Postgres};

    let Some(server) = Postgres::start() else { return };
    let (tls, url) = (folder("tests/data/tls"), server.url());
    let file = |name: &str| tls.join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (file("localhost.pem"), file("localhost.key"));
    let cluster: &[&str] = &["--journal", &url, "--cluster", "c", "--insecure"];
    let encrypted: &[&str] = &["--tls-cert", &certificate, "--tls-key", &key];
    let nodes = [(); 2].map(|()| Serving::start(&[cluster, encrypted].concat()));
    crate::spread::shared(&server, 2);
    let mut command = with_environment(Command::new(&python), nodes[0].port);
    command.arg(folder("tests/clients/boto3_nodes.py")).arg(&certificate);
    command.args(nodes.iter().map(|node| node.port.to_string()));
    passes(command);
}
