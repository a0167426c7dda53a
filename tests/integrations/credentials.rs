//! Credentials from providers: roles, web identities, processes, IAM Identity Center.

use std::fs;
use std::path::PathBuf;

use expressway::task::aws::Integrations;
use serde_json::{Value, json};

use crate::server::{Asked, Says, Server, answer};
use crate::{failure, output, run_machine};

const LAMBDA: &str = "arn:aws:states:::lambda:invoke";

/// A home with shared files, taken away at its end.
struct Home(PathBuf);

impl Home {
    fn new(name: &str, config: &str) -> Home {
        let home = std::env::temp_dir().join(format!("expressway-home-{name}-{}", std::process::id()));
        fs::create_dir_all(home.join(".aws/sso/cache")).expect("a folder");
        let home = Home(home);
        home.write(".aws/config", config);
        home
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn integrations(&self, services: &Server, more: &[(&str, &str)]) -> Integrations {
        let mut pairs = vec![
            ("HOME".to_owned(), self.0.to_str().expect("UTF-8").to_owned()),
            ("AWS_ENDPOINT_URL".to_owned(), services.url()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
        ];
        pairs.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Integrations::from_variables(pairs).expect("settings")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What STS gives, whose key is named after the role; until then.
fn role(asked: &Asked, until: &str) -> Says {
    let form = asked.text();
    let field = |name: &str| {
        let mut fields = form.split('&').filter_map(|pair| pair.split_once('='));
        fields.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    };
    let action = field("Action");
    let name = field("RoleArn").rsplit("%2F").next().unwrap_or("").to_uppercase();
    if name == "REFUSED" {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>";
        return answer(403, &[], body);
    }
    let body = format!(
        "<{action}Response><{action}Result><Credentials><AccessKeyId>{name}</AccessKeyId><SecretAccessKey>s\
         </SecretAccessKey><SessionToken>of {name}</SessionToken><Expiration>{until}</Expiration></Credentials>\
         </{action}Result></{action}Response>"
    );
    answer(200, &[("Content-Type", "text/xml")], body)
}

/// All services in one place.
fn services(until: &'static str) -> Server {
    Server::start(move |asked| match asked.target.as_str() {
        "/" => role(asked, until),
        target if target.starts_with("/federation/credentials") => {
            let keys = json!({"roleCredentials": {"accessKeyId": "SSO", "secretAccessKey": "s",
                "sessionToken": "t", "expiration": 32_503_680_000_000_u64}});
            if asked.headers.get("x-amz-sso_bearer_token").is_some_and(|token| token == "bearer") {
                answer(200, &[], keys.to_string())
            } else {
                answer(401, &[], "{}")
            }
        }
        _ => answer(200, &[], "1"),
    })
}

/// A machine that calls a function so often.
fn calls(count: usize) -> Value {
    let states = (0..count).map(|n| {
        let mut state = json!({"Type": "Task", "Resource": LAMBDA, "Parameters": {"FunctionName": "f"}});
        match n + 1 {
            next if next < count => state["Next"] = format!("S{next}").into(),
            _ => state["End"] = true.into(),
        }
        (format!("S{n}"), state)
    });
    json!({"StartAt": "S0", "States": states.collect::<serde_json::Map<_, _>>()})
}

const FUTURE: &str = "2999-01-01T00:00:00Z";

const CONFIG: &str = "\
[profile base]
aws_access_key_id = BASE
aws_secret_access_key = s
[profile one]
role_arn = arn:aws:iam::123456789012:role/one
source_profile = base
external_id = an id
role_session_name = me
duration_seconds = 900
[profile two]
role_arn = arn:aws:iam::123456789012:role/two
source_profile = one
[profile itself]
role_arn = arn:aws:iam::123456789012:role/own
source_profile = itself
aws_access_key_id = OWN
aws_secret_access_key = s
[profile environment]
role_arn = arn:aws:iam::123456789012:role/env
credential_source = Environment
[profile process]
credential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"PROCESS\", \"SecretAccessKey\": \"s\"}'
[profile by-process]
role_arn = arn:aws:iam::123456789012:role/three
source_profile = process
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = reader
[sso-session corp]
sso_start_url = https://corp.example
sso_region = eu-west-1
[profile old-sso]
sso_start_url = https://old.example
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = reader
[profile circle]
role_arn = arn:aws:iam::123456789012:role/circle
source_profile = circle2
[profile circle2]
role_arn = arn:aws:iam::123456789012:role/circle
source_profile = circle
[profile alone]
role_arn = arn:aws:iam::123456789012:role/alone
[profile code]
role_arn = arn:aws:iam::123456789012:role/code
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile refused]
role_arn = arn:aws:iam::123456789012:role/refused
source_profile = base
[profile broken]
credential_process = echo no; echo why >&2; exit 3
[profile empty]
credential_process = echo '{}'
[profile nobody]
role_arn = arn:aws:iam::123456789012:role/nobody
source_profile = none
";

/// The key that signed a request.
fn key(asked: &Asked) -> &str {
    let field = asked.headers.get("authorization").map_or("", String::as_str);
    field.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next()).unwrap_or("")
}

#[test]
fn profiles_take_on_roles_run_processes_and_sign_on() {
    let home = Home::new("profiles", CONFIG);
    let session = json!({"accessToken": "bearer", "expiresAt": FUTURE}).to_string();
    // SHA-1 of `corp` and of `https://old.example`.
    for name in ["ee0bfd2552fbd840c02cc48b6e823320543c450f", "5498d4a87eede6727bfad0c1c8b4a09a823738cc"] {
        home.write(&format!(".aws/sso/cache/{name}.json"), &session);
    }
    for (profile, expected, asked_by) in [
        ("base", "BASE", vec![]),
        ("one", "ONE", vec!["BASE"]),
        ("two", "TWO", vec!["BASE", "ONE"]),
        ("itself", "OWN", vec!["OWN"]),
        ("process", "PROCESS", vec![]),
        ("by-process", "THREE", vec!["PROCESS"]),
        ("sso", "SSO", vec![""]),
        ("old-sso", "SSO", vec![""]),
    ] {
        let services = services(FUTURE);
        let integrations = home.integrations(&services, &[("AWS_PROFILE", profile)]);
        output(&run_machine(integrations, &calls(2), &json!({})));
        let asked: Vec<Asked> = services.asked.try_iter().collect();
        let keys: Vec<&str> = asked.iter().map(key).collect();
        assert_eq!(keys, [&asked_by[..], &[expected, expected]].concat(), "{profile}");
        if profile == "one" {
            let form = "Action=AssumeRole&DurationSeconds=900&ExternalId=an%20id&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012\
                        %3Arole%2Fone&RoleSessionName=me&Version=2011-06-15";
            assert_eq!(asked[0].text(), form);
            assert_eq!(asked[1].headers["x-amz-security-token"], "of ONE");
        }
    }
}

#[test]
fn the_environment_names_roles_and_web_identities() {
    let home = Home::new("environment", CONFIG);
    let services = services(FUTURE);
    let integrations = home.integrations(
        &services,
        &[("AWS_PROFILE", "base"), ("AWS_ACCESS_KEY_ID", "KEY"), ("AWS_SECRET_ACCESS_KEY", "s")],
    );
    output(&run_machine(integrations, &calls(1), &json!({})));
    assert_eq!(key(&services.asked.recv().expect("a call")), "KEY", "variables come first");

    let token = home.write("token", "the token\n");
    let integrations = home.integrations(
        &services,
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web"),
            ("AWS_ROLE_SESSION_NAME", "pod"),
        ],
    );
    output(&run_machine(integrations, &calls(1), &json!({})));
    let asked = services.asked.recv().expect("a request");
    assert!(!asked.headers.contains_key("authorization"), "it is the token that counts");
    let form = asked.text();
    assert!(
        form.contains("Action=AssumeRoleWithWebIdentity") && form.contains("WebIdentityToken=the%20token")
    );
    assert!(form.contains("RoleSessionName=pod"), "{form}");
    assert_eq!(key(&services.asked.recv().expect("a call")), "WEB");
}

#[test]
fn what_gives_no_credentials_says_why() {
    let home = Home::new("refused", CONFIG);
    let services = services(FUTURE);
    for (profile, expected) in [
        ("circle", "the profile 'circle' refers to itself (source_profile)"),
        ("alone", "the profile 'alone' has a role_arn, but no source_profile or credential_source"),
        ("code", "the profile 'code' needs an MFA code (mfa_serial), which is not supported"),
        ("nobody", "the profile 'none', which 'nobody' refers to, has no credentials"),
        ("environment", "credential_source is Environment, which has no credentials"),
        (
            "refused",
            "STS does not give the role arn:aws:iam::123456789012:role/refused: AccessDenied: not you",
        ),
        ("broken", "the credential_process failed with exit status: 3: why"),
        ("empty", "the credential_process's response has no AccessKeyId or SecretAccessKey"),
        ("absent", "AWS_PROFILE names the profile 'absent', which is neither in AWS's config file nor in"),
        ("old-sso", "there is no session: log in with `aws sso login`"),
    ] {
        let integrations = home.integrations(&services, &[("AWS_PROFILE", profile)]);
        let (_, cause) = failure(&run_machine(integrations, &calls(1), &json!({})));
        assert!(cause.contains(&format!("Unable to load credentials: {expected}")), "{profile}: {cause}");
    }
}

#[test]
fn credentials_are_renewed_ahead_of_their_end() {
    let home = Home::new("renewed", CONFIG);
    // Over already: each request takes the role on anew.
    let past = services("2001-01-01T00:00:00Z");
    let integrations = home.integrations(&past, &[("AWS_PROFILE", "one")]);
    output(&run_machine(integrations, &calls(3), &json!({})));
    let roles = past.asked.try_iter().filter(|asked| asked.target == "/").count();
    assert_eq!(roles, 3);
}

#[test]
fn a_session_of_single_sign_on_is_used_while_it_is_good() {
    let home = Home::new("sso", CONFIG);
    let services = services(FUTURE);
    // SHA-1 of `corp`.
    let file = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    for (token, until, expected) in [
        ("bearer", "2001-01-01T00:00:00Z", "the session is over: log in with `aws sso login`"),
        ("other", FUTURE, "IAM Identity Center says 401 Unauthorized: log in with `aws sso login`"),
    ] {
        home.write(file, &json!({"accessToken": token, "expiresAt": until}).to_string());
        let integrations = home.integrations(&services, &[("AWS_PROFILE", "sso")]);
        let (_, cause) = failure(&run_machine(integrations, &calls(1), &json!({})));
        assert!(cause.contains(expected), "{cause}");
    }
}

const FUNCTION: &str = "arn:aws:states:::lambda:invoke";

/// The requests to STS, and the keys with which functions were called.
fn asked(services: &Server) -> (Vec<String>, Vec<String>) {
    let (roles, calls): (Vec<_>, Vec<_>) = services.asked.try_iter().partition(|asked| asked.target == "/");
    let key = |asked: &Asked| {
        let signed = asked.headers.get("authorization").map(String::as_str).unwrap_or_default();
        let token = asked.headers.get("x-amz-security-token").map(String::as_str).unwrap_or_default();
        let key = signed.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        format!("{} {token}", key.unwrap_or("unsigned"))
    };
    (roles.iter().map(|asked| asked.text().to_owned()).collect(), calls.iter().map(key).collect())
}

fn with_role(role: Value) -> Value {
    json!({"Type": "Task", "Resource": FUNCTION, "Parameters": {"FunctionName": "f"}, "Credentials": role, "ResultPath": null})
}

#[test]
fn tasks_are_done_in_the_name_of_their_roles() {
    let home = Home::new("task-roles", CONFIG);
    let services = services(FUTURE);
    let integrations = home.integrations(&services, &[("AWS_PROFILE", "base")]);
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let mut first = with_role(json!({"RoleArn": role("one")}));
    first["Next"] = "Second".into();
    let mut second =
        with_role(json!({"RoleArn.$": "States.Format('arn:aws:iam::123456789012:role/{}', $.name)"}));
    second["Next"] = "Own".into();
    let own = json!({"Type": "Task", "Resource": FUNCTION, "Parameters": {"FunctionName": "f"}, "ResultPath": null, "Next": "All"});
    let mut each = with_role(json!({"RoleArn": "{% $role %}"}));
    each["QueryLanguage"] = "JSONata".into();
    each["Arguments"] = each["Parameters"].take();
    let each = each.as_object_mut().expect("an object");
    each.retain(|name, _| !["Parameters", "ResultPath"].contains(&name.as_str()));
    let mut each = json!(each);
    each["End"] = true.into();
    let branch = json!({"StartAt": "Each", "States": {"Each": each}});
    let all = json!({"Type": "Map", "QueryLanguage": "JSONata", "Items": [1, 2, 3, 4], "End": true,
        "ItemProcessor": branch});
    let before = json!({"Type": "Pass", "Assign": {"role": role("three")}, "Next": "First"});
    let machine = json!({"StartAt": "Before", "States": {"Before": before, "First": first, "Second": second, "Own": own, "All": all}});
    output(&run_machine(integrations, &machine, &json!({"name": "two"})));
    let (roles, calls) = asked(&services);
    // Concurrent tasks request a role once.
    assert_eq!(roles.len(), 3, "{roles:?}");
    for (asked, name) in roles.iter().zip(["one", "two", "three"]) {
        assert!(asked.contains(&format!("role%2F{name}&")), "{asked}");
        assert!(asked.contains("ExternalId=arn%3Aaws%3Astates%3A"), "{asked}");
        assert!(asked.contains("%3AstateMachine%3A"), "{asked}");
    }
    let expected = ["ONE of ONE", "TWO of TWO", "BASE "].into_iter().chain(["THREE of THREE"; 4]);
    assert_eq!(calls, expected.collect::<Vec<_>>());
}

#[test]
fn a_role_that_is_not_given_fails_the_task() {
    let home = Home::new("task-role-refused", CONFIG);
    let services = services(FUTURE);
    let refused = "arn:aws:iam::123456789012:role/refused";
    let machine = |role: Value| {
        let mut task = with_role(role);
        task["End"] = true.into();
        json!({"StartAt": "T", "States": {"T": task}})
    };
    let integrations = |more: &[(&str, &str)]| home.integrations(&services, more);
    let base = [("AWS_PROFILE", "base")];
    let (error, cause) =
        failure(&run_machine(integrations(&base), &machine(json!({"RoleArn": refused})), &json!({})));
    assert_eq!(error, "States.TaskFailed");
    let words = "The principal states.amazonaws.com is not authorized to assume the provided role. (role: ";
    assert_eq!(cause, format!("{words}{refused})"));
    assert_eq!(asked(&services).1, Vec::<String>::new(), "the function is not called");
    // The error can be caught.
    let mut caught = machine(json!({"RoleArn": refused}));
    caught["States"]["T"]["Catch"] = json!([{"ErrorEquals": ["States.TaskFailed"], "Next": "P"}]);
    caught["States"]["P"] = json!({"Type": "Pass", "Result": "caught", "End": true});
    assert_eq!(output(&run_machine(integrations(&base), &caught, &json!({}))), json!("caught"));

    let dynamic = machine(json!({"RoleArn.$": "$.role"}));
    let (error, cause) = failure(&run_machine(integrations(&base), &dynamic, &json!({"role": 7})));
    assert_eq!(error, "States.Runtime");
    assert!(cause.contains("'RoleArn'"), "{cause}");
}

/// A server at an endpoint of the user gets unsigned requests.
#[test]
fn without_credentials_no_role_is_taken_on_for_a_server_of_ones_own() {
    let services = services(FUTURE);
    let integrations = Integrations::new().endpoint("Lambda", &services.url()).expect("a URL");
    let mut task = with_role(json!({"RoleArn": "arn:aws:iam::123456789012:role/one"}));
    task["End"] = true.into();
    output(&run_machine(integrations, &json!({"StartAt": "T", "States": {"T": task}}), &json!({})));
    assert_eq!(asked(&services), (Vec::new(), vec!["unsigned ".to_owned()]));
}

/// EC2's metadata service, version 2: each question has the token that it gave.
#[test]
fn machines_hand_out_credentials_for_a_token() {
    let home = Home::new("machine", "");
    for (role_name, keys, expected) in [
        (
            "the-role",
            r#"{"Code": "Success", "AccessKeyId": "MACHINE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}"#,
            Ok("MACHINE"),
        ),
        (
            "the-role",
            r#"{"Code": "AssumeRoleUnauthorizedAccess", "Message": "no trust"}"#,
            Err("response has no AccessKeyId or SecretAccessKey"),
        ),
        ("the-role", "", Err("gives no JSON")),
    ] {
        let machine = Server::start(move |asked| {
            let has_token = asked.headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == "tok");
            let ttl = asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds").map(String::as_str);
            match (asked.method.as_str(), asked.target.as_str()) {
                ("PUT", "/latest/api/token") if ttl == Some("21600") => answer(200, &[], "tok"),
                ("GET", _) if !has_token => answer(401, &[], ""),
                ("GET", "/latest/meta-data/iam/security-credentials/") => {
                    answer(200, &[], format!("{role_name}\n"))
                }
                ("GET", "/latest/meta-data/iam/security-credentials/the-role") => answer(200, &[], keys),
                _ => answer(404, &[], ""),
            }
        });
        let services = services(FUTURE);
        let variables = [
            ("HOME", home.0.to_str().expect("UTF-8").to_owned()),
            ("AWS_ENDPOINT_URL", services.url()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let integrations = Integrations::from_variables(variables).expect("settings");
        let outcome = run_machine(integrations, &calls(2), &json!({}));
        match expected {
            Ok(key) => {
                output(&outcome);
                let asked: Vec<Asked> = services.asked.try_iter().collect();
                assert_eq!(asked.iter().map(self::key).collect::<Vec<_>>(), [key, key]);
                assert_eq!(machine.asked.try_iter().count(), 3, "a token, the role, its keys: once");
            }
            Err(why) => {
                let (_, cause) = failure(&outcome);
                let begin = "Unable to load credentials: the machine's credentials endpoint";
                assert!(cause.contains(begin) && cause.contains(why), "{cause}");
            }
        }
    }
}

/// Old ones serve while new ones cannot be had, and one request at a time asks for those.
#[test]
fn credentials_that_end_soon_are_renewed_ahead_and_serve_until_then() {
    let home = Home::new("soon", CONFIG);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(200);
    let (soon, turns) = (soon.to_string(), std::sync::atomic::AtomicUsize::new(0));
    let services = Server::start(move |asked| match asked.target.as_str() {
        "/" => match turns.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => role(asked, &soon),
            1 => answer(503, &[], "<x/>"),
            _ => role(asked, FUTURE),
        },
        _ => answer(200, &[], "1"),
    });
    let integrations = home.integrations(&services, &[("AWS_PROFILE", "one")]);
    output(&run_machine(integrations, &calls(5), &json!({})));
    let asked: Vec<Asked> = services.asked.try_iter().collect();
    let shown: Vec<&str> =
        asked.iter().map(|asked| if asked.target == "/" { "STS" } else { key(asked) }).collect();
    // Got, refused, got anew, kept.
    assert_eq!(shown, ["STS", "ONE", "STS", "ONE", "STS", "ONE", "ONE", "ONE"]);
}

/// Roles, for real: who the caller is, as moto's STS knows it by the keys it gave.
#[test]
fn roles_are_taken_on_from_moto() {
    let Some(moto) = crate::moto::moto() else { return };
    let home = Home::new("moto", CONFIG);
    let token = home.write("token", "a.b.c");
    let who = |more: &[(&str, &str)], task_role: Option<&str>| {
        let mut variables = vec![
            ("HOME", home.0.to_str().expect("UTF-8")),
            ("AWS_ENDPOINT_URL", moto.url()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        variables.extend(more);
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let integrations = Integrations::from_variables(variables).expect("settings");
        let mut task = json!({"Type": "Task", "End": true, "Parameters": {},
            "Resource": "arn:aws:states:::aws-sdk:sts:getCallerIdentity"});
        if let Some(role) = task_role {
            task["Credentials"] = json!({ "RoleArn": role });
        }
        let machine = json!({"StartAt": "Who", "States": {"Who": task}});
        output(&run_machine(integrations, &machine, &json!({})))["Arn"].as_str().expect("an ARN").to_owned()
    };
    let keys = [("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing")];
    let role = "arn:aws:iam::123456789012:role/task";
    let of = |name: &str, session: &str| format!("arn:aws:sts::123456789012:assumed-role/{name}/{session}");
    for (what, variables, task_role, expected) in [
        ("a role of a profile", vec![("AWS_PROFILE", "one")], None, of("one", "me")),
        ("a role of a role", vec![("AWS_PROFILE", "two")], None, of("two", "expressway")),
        ("a role by a process", vec![("AWS_PROFILE", "by-process")], None, of("three", "expressway")),
        (
            "a web identity",
            vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
                ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web"),
                ("AWS_ROLE_SESSION_NAME", "pod"),
            ],
            None,
            of("web", "pod"),
        ),
        ("a task's role", keys.to_vec(), Some(role), of("task", "expressway")),
        ("a task's role by a role", vec![("AWS_PROFILE", "one")], Some(role), of("task", "expressway")),
    ] {
        let found = who(&variables, task_role);
        let session = found.rsplit('/').next().expect("a session");
        // A task's session is named otherwise; the role is what counts.
        let expected = if task_role.is_some() { of("task", session) } else { expected };
        assert_eq!(found, expected, "{what}");
    }
}
