//! Sequences of calls recorded on AWS (`api.jsonl`), replayed. Known differences are in `tests/known/api.txt`, each
//! with its reason.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value as Json, json};

use super::client::{Client, Refused};
use crate::corpora::{Report, recorded};

/// Members that AWS has shown since a day; recordings from before lack them.
const SINCE: [(&str, &[&str]); 2] = [
    ("2023-11-20", &["redriveCount", "redriveStatus", "redriveStatusReason"]),
    ("2024-07-26", &["encryptionConfiguration"]),
];

#[test]
fn recorded_calls_are_answered_as_aws_answered() {
    let Some(cases) = recorded("api.jsonl") else { return };
    let mut report = Report::new("api.jsonl", include_str!("../known/api.txt"));
    for case in &cases {
        report.case(case["id"].as_str().expect("an id"), play(case, Client::new()));
    }
    report.finish();
}

#[test]
fn recorded_calls_are_answered_so_over_a_socket_too() {
    let Some(cases) = recorded("api.jsonl") else { return };
    let mut report = Report::new("api.jsonl over a socket", include_str!("../known/api.txt"));
    for case in &cases {
        report.case(case["id"].as_str().expect("an id"), play(case, Client::over_http(|builder| builder)));
    }
    report.finish();
}

/// The values of the recorder's tokens in this run.
struct Bindings {
    tokens: Regex,
    /// Names that the recorder only shortened in replies.
    shortened: Regex,
    bound: BTreeMap<String, String>,
    recorded: String,
    /// Executions that were started.
    starts: usize,
}

fn play(case: &Json, mut client: Client) -> Result<(), String> {
    let mut bindings = Bindings {
        tokens: Regex::new(
            r"<[^<>]+>|(?:Express|Sync)ExecArn_Part\d_\d+idx|ExecArnPart_\d+idx|\bactivity_arn\b",
        )
        .expect("a pattern"),
        shortened: Regex::new("/aws/vendedlogs/states/").expect("a pattern"),
        bound: BTreeMap::new(),
        recorded: case["source"]["validated"].as_str().unwrap_or_default().to_owned(),
        starts: 0,
    };
    let mut next_token = None;
    for (n, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        if step["error"]["client_side"] == true {
            continue;
        }
        let action = action(step["op"].as_str().expect("an operation"));
        let mut request = bindings.fill(&step["request"]);
        if request.get("nextToken") == Some(&json!("tok")) {
            request["nextToken"] = next_token.clone().unwrap_or_default();
        }
        let answer = client.call(&action, &request);
        client.settle();
        if let Ok(started) = &answer
            && action == "StartExecution"
        {
            bindings.started(started);
        }
        // Two things that were made after each other have different dates.
        client.time.advance(1_000);
        let compared = match (&answer, step.get("error"), step.get("response")) {
            (Ok(answer), None, None | Some(Json::Null)) => {
                next_token = answer.get("nextToken").cloned();
                Ok(())
            }
            (Ok(answer), None, Some(response)) => {
                next_token = answer.get("nextToken").cloned();
                bindings.compare(response, answer)
            }
            (Err(Refused { code, message }), Some(error), _) => {
                bindings.compare(&json!([error["code"], error["message"]]), &json!([code, message]))
            }
            (got, ..) => Err(format!("got {got:?}")),
        };
        compared.map_err(|why| format!("step {n}, {action}: {why}"))?;
    }
    Ok(())
}

/// `start_execution` is `StartExecution`.
fn action(snake: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    snake.split('_').map(capital).collect()
}

impl Bindings {
    /// Executions are numbered as they are started, whether or not the reply was recorded.
    fn started(&mut self, reply: &Json) {
        let token = format!("ExecArnPart_{}idx", self.starts);
        let name = reply["executionArn"].as_str().and_then(|arn| arn.rsplit(':').next());
        self.bound.insert(token, name.unwrap_or_default().to_owned());
        self.starts += 1;
    }

    /// A request with the values of its tokens.
    fn fill(&self, request: &Json) -> Json {
        match request {
            Json::String(text) => {
                let text = self.shortened.replace_all(text, "");
                let filled = self.tokens.replace_all(&text, |found: &regex::Captures<'_>| {
                    self.bound.get(&found[0]).cloned().unwrap_or_else(|| found[0].to_owned())
                });
                filled.into_owned().into()
            }
            Json::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Json::Object(members) => {
                members.iter().map(|(key, member)| (key.clone(), self.fill(member))).collect()
            }
            other => other.clone(),
        }
    }

    fn compare(&mut self, expected: &Json, got: &Json) -> Result<(), String> {
        let differs = || Err(format!("{got}, recorded {expected}"));
        match (expected, got) {
            // The recorder parsed what is a string of JSON.
            (Json::Object(_) | Json::Array(_), Json::String(text)) => match serde_json::from_str(text) {
                Ok(got) => self.compare(expected, &got),
                Err(_) => differs(),
            },
            (Json::Object(expected), Json::Object(got)) => {
                for (key, value) in got {
                    match expected.get(key) {
                        Some(expected) => {
                            self.compare(expected, value).map_err(|why| format!("{key}: {why}"))?
                        }
                        None if self.is_newer(key) => {}
                        None => return Err(format!("{key} was not recorded: {value}")),
                    }
                }
                match expected.keys().find(|key| !got.contains_key(*key)) {
                    Some(missing) => Err(format!("{missing} is missing")),
                    None => Ok(()),
                }
            }
            (Json::Array(expected), Json::Array(got)) if expected.len() == got.len() => {
                expected.iter().zip(got).try_for_each(|(expected, got)| self.compare(expected, got))
            }
            (Json::String(text), got) if self.tokens.find(text).is_some_and(|it| it.as_str() == text) => {
                match (self.bound.get(text), got) {
                    (Some(bound), Json::String(got)) if bound != got && !text.contains("date") => differs(),
                    (_, Json::String(got)) => {
                        self.bound.insert(text.clone(), got.clone());
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            (Json::String(text), Json::String(got)) => {
                if self.bind(text, got) {
                    Ok(())
                } else {
                    differs()
                }
            }
            (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => Ok(()),
            (a, b) if a == b => Ok(()),
            _ => differs(),
        }
    }

    /// Whether the text matches, tokens not bound yet standing for any text.
    fn bind(&mut self, expected: &str, got: &str) -> bool {
        let (mut pattern, mut names, mut at) = ("^(?s)".to_owned(), Vec::new(), 0);
        for token in self.tokens.find_iter(expected) {
            pattern += &regex::escape(&expected[at..token.start()]);
            match self.bound.get(token.as_str()) {
                Some(bound) => pattern += &regex::escape(bound),
                None => {
                    names.push(token.as_str().to_owned());
                    pattern += "(.+?)";
                }
            }
            at = token.end();
        }
        pattern += &(regex::escape(&expected[at..]) + "$");
        let pattern = Regex::new(&pattern).expect("a pattern");
        let Some(found) = pattern.captures(got) else { return false };
        for (n, name) in names.into_iter().enumerate() {
            self.bound.insert(name, found[n + 1].to_owned());
        }
        true
    }

    /// Whether AWS shows this member only since after the recording.
    fn is_newer(&self, member: &str) -> bool {
        SINCE.iter().any(|(day, members)| *self.recorded < **day && members.contains(&member))
    }
}
