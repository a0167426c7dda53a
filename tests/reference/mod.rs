//! A naive interpreter of Amazon States Language: slow, obvious, and written without a look at the engine. It knows the
//! subset that the simulation makes, and computes not only how an execution ends but when.
//!
//! A workflow is a function of its input and the moment it begins; branches and iterations are such functions too, so
//! there is no interleaving to think about: the earliest failure counts.

use serde_json::{Map, Value as Json, json};

/// How something ends, and when.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at_ms: u64,
    pub(crate) result: Result<Json, Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) cause: String,
    /// Nothing catches it.
    pub(crate) fatal: bool,
}

impl Failure {
    pub(crate) fn new(error: &str, cause: impl Into<String>) -> Failure {
        Failure { error: error.into(), cause: cause.into(), fatal: error == "States.Runtime" }
    }
}

/// What a task comes to, by resource, state, retries and input, and after how long; `None`: nothing is ever heard of it.
pub(crate) type Behaviour<'b> = &'b dyn Fn(&str, &str, u64, &Json) -> Option<(u64, Result<Json, Failure>)>;

pub(crate) struct Interpreter<'b> {
    pub(crate) behaviour: Behaviour<'b>,
    /// Two things at the same moment decided something: either may come first.
    pub(crate) ambiguous: bool,
}

const NEVER: u64 = u64::MAX / 2;

impl Interpreter<'_> {
    /// Runs a workflow from its start.
    pub(crate) fn workflow(&mut self, workflow: &Json, input: Json, at_ms: u64) -> End {
        let (mut name, mut data, mut at_ms) = (text(&workflow["StartAt"]), input, at_ms);
        loop {
            let state = &workflow["States"][&name];
            let (end, next) = self.state(&name, state, &data, at_ms);
            at_ms = end.at_ms;
            match (end.result, next) {
                (Ok(output), Some(next)) => (data, name) = (output, next),
                (result, _) => return End { at_ms, result },
            }
        }
    }

    /// Runs a state with its retries and catchers; where it leads.
    fn state(&mut self, name: &str, state: &Json, input: &Json, at_ms: u64) -> (End, Option<String>) {
        let (mut at_ms, mut retries, mut attempts) = (at_ms, 0, vec![0; 8]);
        let failure = loop {
            let (end, next) = self.once(name, state, input, at_ms, retries);
            at_ms = end.at_ms;
            let failure = match end.result {
                Ok(output) => return (End { at_ms, result: Ok(output) }, next),
                Err(failure) => failure,
            };
            if failure.fatal {
                break failure;
            }
            let retriers = state["Retry"].as_array().cloned().unwrap_or_default();
            let Some(n) = retriers.iter().position(|retrier| matches(retrier, &failure)) else {
                break failure;
            };
            if attempts[n] >= retriers[n]["MaxAttempts"].as_u64().unwrap_or(3) {
                break failure;
            }
            let interval = retriers[n]["IntervalSeconds"].as_f64().unwrap_or(1.0);
            let rate = retriers[n]["BackoffRate"].as_f64().unwrap_or(2.0);
            at_ms += (interval * rate.powi(attempts[n] as i32) * 1_000.0).round() as u64;
            attempts[n] += 1;
            retries += 1;
        };
        if !failure.fatal {
            let catchers = state["Catch"].as_array().cloned().unwrap_or_default();
            if let Some(catcher) = catchers.iter().find(|catcher| matches(catcher, &failure)) {
                let output = json!({"Error": failure.error, "Cause": failure.cause});
                let result = Ok(put(catcher, input, output));
                return (End { at_ms, result }, Some(text(&catcher["Next"])));
            }
        }
        (End { at_ms, result: Err(failure) }, None)
    }

    fn once(
        &mut self,
        name: &str,
        state: &Json,
        input: &Json,
        at_ms: u64,
        retries: u64,
    ) -> (End, Option<String>) {
        let next = state["Next"].as_str().map(str::to_owned);
        let done = |result| (End { at_ms, result }, next.clone());
        let end = match &*text(&state["Type"]) {
            "Succeed" => return done(Ok(input.clone())),
            "Fail" => return done(Err(Failure::new(&text(&state["Error"]), text(&state["Cause"])))),
            "Choice" => return (End { at_ms, result: Ok(input.clone()) }, Some(choose(state, input))),
            "Wait" => {
                let at_ms = at_ms + state["Seconds"].as_u64().unwrap_or(0) * 1_000;
                return (End { at_ms, result: Ok(input.clone()) }, next);
            }
            "Pass" => {
                let effective = parameters(state, input);
                let result = effective.map(|effective| match state.get("Result") {
                    Some(result) => result.clone(),
                    None => effective,
                });
                End { at_ms, result }
            }
            "Task" => self.task(name, state, input, at_ms, retries),
            "Parallel" => {
                let branches = state["Branches"].as_array().cloned().unwrap_or_default();
                let ends =
                    branches.iter().map(|branch| self.workflow(branch, input.clone(), at_ms)).collect();
                self.join(ends, at_ms)
            }
            "Map" => self.map(state, input, at_ms),
            other => panic!("the reference does not know {other}"),
        };
        (End { result: end.result.map(|result| put(state, input, result)), ..end }, next)
    }

    fn task(&mut self, name: &str, state: &Json, input: &Json, at_ms: u64, retries: u64) -> End {
        // Nobody sends heartbeats.
        let limits = ["TimeoutSeconds", "HeartbeatSeconds"].iter().filter_map(|field| state[*field].as_u64());
        let timeout_ms = limits.min().map_or(NEVER, |seconds| at_ms + seconds * 1_000);
        let (done_ms, result) = match (self.behaviour)(&text(&state["Resource"]), name, retries, input) {
            Some((after_ms, result)) => (at_ms + after_ms, result),
            None => (NEVER, Ok(Json::Null)),
        };
        self.ambiguous |= done_ms == timeout_ms && done_ms != NEVER;
        if done_ms < timeout_ms {
            End { at_ms: done_ms, result }
        } else {
            End { at_ms: timeout_ms, result: Err(Failure::new("States.Timeout", "")) }
        }
    }

    fn map(&mut self, state: &Json, input: &Json, at_ms: u64) -> End {
        let items = input["l"].as_array().cloned().unwrap_or_default();
        let lanes = match state["MaxConcurrency"].as_u64().unwrap_or(0) {
            0 => 40,
            lanes => lanes as usize,
        };
        // Of those that run, when each ends: the next begins when the first of them does.
        let (mut ends, mut free) = (Vec::new(), vec![at_ms; lanes]);
        let mut stopped_ms = NEVER;
        for item in items {
            free.sort_unstable();
            if free[0] > stopped_ms {
                break;
            }
            let end = self.workflow(&state["ItemProcessor"], item, free[0]);
            free[0] = end.at_ms;
            if end.result.is_err() {
                stopped_ms = stopped_ms.min(end.at_ms);
            }
            ends.push(end);
        }
        self.join(ends, at_ms)
    }

    /// All results, when the last is there; or the first failure.
    fn join(&mut self, ends: Vec<End>, at_ms: u64) -> End {
        let failed = ends.iter().filter(|end| end.result.is_err()).min_by_key(|end| end.at_ms);
        let last_ms = ends.iter().map(|end| end.at_ms).max().unwrap_or(at_ms);
        let Some(first) = failed else {
            let results = ends.into_iter().filter_map(|end| end.result.ok()).collect();
            return End { at_ms: last_ms, result: Ok(Json::Array(results)) };
        };
        let others = ends.iter().filter(|end| end.at_ms == first.at_ms && end.result.is_err());
        self.ambiguous |= others.count() > 1;
        first.clone()
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn matches(row: &Json, failure: &Failure) -> bool {
    row["ErrorEquals"].as_array().into_iter().flatten().any(|name| match name.as_str() {
        Some("States.ALL") => true,
        Some("States.TaskFailed") => failure.error != "States.Timeout",
        name => name == Some(&failure.error),
    })
}

/// `ResultPath`: absent, `null`, or one name.
fn put(state: &Json, input: &Json, result: Json) -> Json {
    match state.get("ResultPath") {
        None => result,
        Some(Json::Null) => input.clone(),
        Some(path) => {
            let mut output: Map<String, Json> = input.as_object().cloned().unwrap_or_default();
            output.insert(text(path).trim_start_matches("$.").to_owned(), result);
            output.into()
        }
    }
}

/// `Parameters` whose members are literal, or paths of one name.
fn parameters(state: &Json, input: &Json) -> Result<Json, Failure> {
    let Some(Json::Object(parameters)) = state.get("Parameters") else { return Ok(input.clone()) };
    let mut made = Map::new();
    for (name, value) in parameters {
        match name.strip_suffix(".$") {
            None => made.insert(name.clone(), value.clone()),
            Some(name) => match input.get(text(value).trim_start_matches("$.")) {
                Some(found) => made.insert(name.to_owned(), found.clone()),
                None => return Err(Failure::new("States.Runtime", "")),
            },
        };
    }
    Ok(made.into())
}

fn choose(state: &Json, input: &Json) -> String {
    let rules = state["Choices"].as_array().into_iter().flatten();
    let found = rules.into_iter().find(|rule| {
        let value = input.get(text(&rule["Variable"]).trim_start_matches("$."));
        match (rule.get("NumericGreaterThan"), rule.get("IsPresent")) {
            (Some(than), _) => value.and_then(Json::as_f64) > than.as_f64(),
            (_, Some(present)) => Some(value.is_some()) == present.as_bool(),
            _ => false,
        }
    });
    text(&found.unwrap_or(state)[if found.is_some() { "Next" } else { "Default" }])
}
