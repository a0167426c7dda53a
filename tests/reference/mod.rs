//! A naive interpreter of Amazon States Language: slow, obvious, and written independently of the engine. It supports
//! the subset that the simulation generates, and computes not only how an execution ends but when.
//!
//! A workflow is a function of its input and the moment it begins; branches and iterations are such functions too, so
//! there is no interleaving to think about: the earliest failure counts. What others did after it is struck from the history.

use serde_json::{Map, Value as Json, json};

/// How something ends, and when.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at_ms: u64,
    pub(crate) result: Result<Json, Failure>,
    /// The last event of its chain.
    last: Option<usize>,
    /// Whether it is a workflow that failed in a Task state.
    in_task: bool,
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

/// The result of a task, by resource, state, retries and input, and its delay; `None`: it never ends.
pub(crate) type Behaviour<'b> = &'b dyn Fn(&str, &str, u64, &Json) -> Option<(u64, Result<Json, Failure>)>;

pub(crate) struct Interpreter<'b> {
    behaviour: Behaviour<'b>,
    /// Two things at the same moment decided something: either may come first.
    pub(crate) ambiguous: bool,
    /// Two things at the same moment decided which events there are, or what they hang on.
    pub(crate) is_unsure: bool,
    events: Vec<Noted>,
    chains: Vec<Chain>,
}

/// An event of the history, and the one that it hangs on.
#[derive(Clone, Debug)]
struct Noted {
    at_ms: u64,
    kind: String,
    name: String,
    previous: Option<usize>,
    chain: usize,
}

/// The machine itself, a branch, or an iteration.
#[derive(Clone, Debug)]
struct Chain {
    parent: Option<usize>,
    began_ms: u64,
    ended_ms: u64,
}

const NEVER: u64 = u64::MAX / 2;

/// An event as it can be compared: when, its type, the name in it, and the same of the event that it hangs on. Ids are
/// left out, because those of branches that run at the same time depend on whose turn it is.
pub(crate) type Shown = (u64, String, String, Option<(u64, String, String)>);

impl<'b> Interpreter<'b> {
    pub(crate) fn new(behaviour: Behaviour<'b>) -> Interpreter<'b> {
        Interpreter { behaviour, ambiguous: false, is_unsure: false, events: Vec::new(), chains: Vec::new() }
    }

    /// Runs a machine from its start; afterwards its [events](Interpreter::history) are known.
    pub(crate) fn machine(&mut self, machine: &Json, input: Json, at_ms: u64) -> End {
        let chain = self.chain(None, at_ms);
        self.note(chain, at_ms, "ExecutionStarted", "", None);
        self.workflow(machine, input, at_ms, chain, None)
    }

    /// The events of a machine with this end, or still running at its timeout.
    pub(crate) fn history(&mut self, end: &End, deadline_ms: u64) -> Vec<Shown> {
        if end.at_ms > deadline_ms {
            self.cut(0, deadline_ms);
            self.note(0, deadline_ms, "ExecutionTimedOut", "", None);
        } else {
            let kind = if end.result.is_ok() { "ExecutionSucceeded" } else { "ExecutionFailed" };
            self.note(0, end.at_ms, kind, "", end.last);
        }
        let show = |event: &Noted| (event.at_ms, event.kind.clone(), event.name.clone());
        let shown = self.events.iter().filter(|event| event.at_ms < NEVER).map(|event| {
            let (at_ms, kind, name) = show(event);
            (at_ms, kind, name, event.previous.map(|previous| show(&self.events[previous])))
        });
        shown.collect()
    }

    fn note(&mut self, chain: usize, at_ms: u64, kind: &str, name: &str, previous: Option<usize>) -> usize {
        self.events.push(Noted { at_ms, kind: kind.to_owned(), name: name.to_owned(), previous, chain });
        self.events.len() - 1
    }

    fn chain(&mut self, parent: Option<usize>, began_ms: u64) -> usize {
        self.chains.push(Chain { parent, began_ms, ended_ms: NEVER });
        self.chains.len() - 1
    }

    fn is_within(&self, chain: usize, outer: usize) -> bool {
        chain == outer || self.chains[chain].parent.is_some_and(|parent| self.is_within(parent, outer))
    }

    /// What comes later in a chain, and in those within it, does not happen.
    fn cut(&mut self, chain: usize, at_ms: u64) {
        for n in 0..self.events.len() {
            if self.events[n].at_ms < at_ms || !self.is_within(self.events[n].chain, chain) {
                continue;
            }
            self.is_unsure |= self.events[n].at_ms == at_ms;
            self.events[n].at_ms = NEVER;
        }
    }

    /// Notes that a chain is stopped in the state that it is in, and what runs within it before.
    fn abort(&mut self, chain: usize, at_ms: u64, iteration: Option<&str>, last: Option<usize>) {
        let is_entry = |event: &Noted| {
            event.chain == chain && event.kind.ends_with("StateEntered") && event.at_ms < NEVER
        };
        let Some(entered) = self.events.iter().rev().find(|event| is_entry(event)).cloned() else {
            // All its work was cut already: it begins at that moment, or nested joins end together. Which comes first
            // is undefined, and such a history is not compared.
            self.is_unsure = true;
            self.chains[chain].ended_ms = at_ms;
            return;
        };
        let kind = entered.kind.trim_end_matches("StateEntered");
        let inner = (kind == "Map").then_some(&*entered.name);
        for nested in 0..self.chains.len() {
            let Chain { parent, began_ms, ended_ms } = self.chains[nested];
            if parent == Some(chain) && began_ms <= at_ms && ended_ms > at_ms {
                self.abort(nested, at_ms, inner, last);
            }
        }
        if let Some(name) = iteration {
            self.note(chain, at_ms, "MapIterationAborted", name, last);
        }
        self.note(chain, at_ms, &format!("{kind}StateAborted"), "", last);
        self.chains[chain].ended_ms = at_ms;
    }

    /// Runs a workflow from its start.
    fn workflow(
        &mut self,
        workflow: &Json,
        input: Json,
        at_ms: u64,
        chain: usize,
        last: Option<usize>,
    ) -> End {
        let (mut name, mut data, mut at_ms, mut last) = (text(&workflow["StartAt"]), input, at_ms, last);
        loop {
            let state = &workflow["States"][&name];
            let kind = text(&state["Type"]);
            last = Some(self.note(chain, at_ms, &format!("{kind}StateEntered"), &name, last));
            let (end, next) = self.state(&name, state, &data, (at_ms, chain, last));
            (at_ms, last) = (end.at_ms, end.last);
            if end.result.is_ok() {
                last = Some(self.note(chain, at_ms, &format!("{kind}StateExited"), &name, last));
            }
            match (end.result, next) {
                (Ok(output), Some(next)) => (data, name) = (output, next),
                (result, _) => {
                    self.chains[chain].ended_ms = at_ms;
                    let in_task = result.is_err() && kind == "Task";
                    return End { at_ms, result, last, in_task };
                }
            }
        }
    }

    /// Runs a state with its retries and catchers; where it leads.
    fn state(&mut self, name: &str, state: &Json, input: &Json, from: From) -> (End, Option<String>) {
        let ((mut at_ms, chain, mut last), mut retries, mut attempts) = (from, 0, vec![0; 8]);
        let done = |at_ms, result, last| End { at_ms, result, last, in_task: false };
        let failure = loop {
            let (end, next) = self.once(name, state, input, retries, (at_ms, chain, last));
            (at_ms, last) = (end.at_ms, end.last);
            let failure = match end.result {
                Ok(output) => return (done(at_ms, Ok(output), last), next),
                Err(failure) => failure,
            };
            if failure.fatal {
                return (done(at_ms, Err(failure), last), None);
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
        if let kind @ ("Map" | "Parallel") = &*text(&state["Type"]) {
            last = Some(self.note(chain, at_ms, &format!("{kind}StateFailed"), "", last));
        }
        let catchers = state["Catch"].as_array().cloned().unwrap_or_default();
        if let Some(catcher) = catchers.iter().find(|catcher| matches(catcher, &failure)) {
            let output = json!({"Error": failure.error, "Cause": failure.cause});
            return (done(at_ms, Ok(put(catcher, input, output)), last), Some(text(&catcher["Next"])));
        }
        (done(at_ms, Err(failure), last), None)
    }

    fn once(
        &mut self,
        name: &str,
        state: &Json,
        input: &Json,
        retries: u64,
        from: From,
    ) -> (End, Option<String>) {
        let (at_ms, _, last) = from;
        let next = state["Next"].as_str().map(str::to_owned);
        let ended = |at_ms, result| End { at_ms, result, last, in_task: false };
        let done = |result| (ended(at_ms, result), next.clone());
        let end = match &*text(&state["Type"]) {
            "Succeed" => return done(Ok(input.clone())),
            "Fail" => return done(Err(Failure::new(&text(&state["Error"]), text(&state["Cause"])))),
            "Choice" => return (ended(at_ms, Ok(input.clone())), Some(choose(state, input))),
            "Wait" => {
                let at_ms = at_ms + state["Seconds"].as_u64().unwrap_or(0) * 1_000;
                return (ended(at_ms, Ok(input.clone())), next);
            }
            "Pass" => {
                let effective = parameters(state, input);
                let result = effective.map(|effective| match state.get("Result") {
                    Some(result) => result.clone(),
                    None => effective,
                });
                ended(at_ms, result)
            }
            "Task" => self.task(name, state, input, retries, from),
            "Parallel" => self.parallel(state, input, from),
            "Map" => self.map(name, state, input, from),
            other => panic!("the reference does not know {other}"),
        };
        (End { result: end.result.map(|result| put(state, input, result)), ..end }, next)
    }

    fn task(&mut self, name: &str, state: &Json, input: &Json, retries: u64, from: From) -> End {
        let (at_ms, chain, mut last) = from;
        // No heartbeats are sent.
        let limits = ["TimeoutSeconds", "HeartbeatSeconds"].iter().filter_map(|field| state[*field].as_u64());
        let timeout_ms = limits.min().map_or(NEVER, |seconds| at_ms + seconds * 1_000);
        let resource = text(&state["Resource"]);
        let kind = match &resource {
            resource if resource.contains(":lambda:") => "LambdaFunction",
            resource if resource.contains(":activity:") => "Activity",
            _ => "Task",
        };
        for event in ["Scheduled", "Started"] {
            last = Some(self.note(chain, at_ms, &format!("{kind}{event}"), "", last));
        }
        if resource.ends_with(".waitForTaskToken") {
            last = Some(self.note(chain, at_ms, "TaskSubmitted", "", last));
        }
        let (done_ms, result) = match (self.behaviour)(&resource, name, retries, input) {
            Some((after_ms, result)) => (at_ms + after_ms, result),
            None => (NEVER, Ok(Json::Null)),
        };
        self.ambiguous |= done_ms == timeout_ms && done_ms != NEVER;
        let (at_ms, result, event) = match done_ms < timeout_ms {
            true if result.is_ok() => (done_ms, result, "Succeeded"),
            true => (done_ms, result, "Failed"),
            false => (timeout_ms, Err(Failure::new("States.Timeout", "")), "TimedOut"),
        };
        last = Some(self.note(chain, at_ms, &format!("{kind}{event}"), "", last));
        End { at_ms, result, last, in_task: false }
    }

    fn parallel(&mut self, state: &Json, input: &Json, (at_ms, chain, last): From) -> End {
        let started = Some(self.note(chain, at_ms, "ParallelStateStarted", "", last));
        let branches = state["Branches"].as_array().cloned().unwrap_or_default();
        let mut ends = Vec::new();
        for branch in &branches {
            let child = self.chain(Some(chain), at_ms);
            ends.push((child, self.workflow(branch, input.clone(), at_ms, child, started)));
        }
        self.join(ends, None, (at_ms, chain, started))
    }

    fn map(&mut self, name: &str, state: &Json, input: &Json, (at_ms, chain, last): From) -> End {
        let items = input["l"].as_array().cloned().unwrap_or_default();
        let started = Some(self.note(chain, at_ms, "MapStateStarted", "", last));
        let lanes = match state["MaxConcurrency"].as_u64().unwrap_or(0) {
            0 => 40,
            lanes => lanes as usize,
        };
        // Of those that run, when each ends, and with which event: the next begins when the first of them does.
        let (mut ends, mut free) = (Vec::new(), vec![(at_ms, started); lanes]);
        let mut stopped_ms = NEVER;
        for item in items {
            free.sort_unstable_by_key(|(at_ms, _)| *at_ms);
            let (begins_ms, before) = free[0];
            if begins_ms > stopped_ms {
                break;
            }
            self.is_unsure |= begins_ms == stopped_ms
                || free.iter().skip(1).any(|(at_ms, last)| *at_ms == begins_ms && self.differ(*last, before));
            let child = self.chain(Some(chain), begins_ms);
            let begun = self.note(child, begins_ms, "MapIterationStarted", name, before);
            let mut end = self.workflow(&state["ItemProcessor"], item, begins_ms, child, Some(begun));
            free[0] = (end.at_ms, end.last);
            match end.result {
                Ok(_) => {
                    end.last = Some(self.note(child, end.at_ms, "MapIterationSucceeded", name, end.last))
                }
                Err(_) => stopped_ms = stopped_ms.min(end.at_ms),
            }
            ends.push((child, end));
        }
        self.join(ends, Some(name), (at_ms, chain, started))
    }

    /// Whether events are distinguished in comparisons.
    fn differ(&self, one: Option<usize>, other: Option<usize>) -> bool {
        let show = |event: Option<usize>| {
            event.map(|n| (self.events[n].at_ms, &self.events[n].kind, &self.events[n].name))
        };
        show(one) != show(other)
    }

    /// All results, when the last is there; or the first failure.
    fn join(&mut self, ends: Vec<(usize, End)>, map: Option<&str>, (at_ms, chain, started): From) -> End {
        let failed = ends.iter().filter(|(_, end)| end.result.is_err()).min_by_key(|(_, end)| end.at_ms);
        let Some((failed, first)) = failed.cloned() else {
            let last_ms = ends.iter().map(|(_, end)| end.at_ms).max().unwrap_or(at_ms);
            let mut latest = ends.iter().filter(|(_, end)| end.at_ms == last_ms).map(|(_, end)| end.last);
            let last = latest.next().unwrap_or(started);
            self.is_unsure |= latest.any(|other| self.differ(other, last));
            let kind = if map.is_some() { "Map" } else { "Parallel" };
            self.note(chain, last_ms, &format!("{kind}StateSucceeded"), "", last);
            let results = ends.into_iter().filter_map(|(_, end)| end.result.ok()).collect();
            return End { at_ms: last_ms, result: Ok(Json::Array(results)), last, in_task: false };
        };
        let at_ms = first.at_ms;
        let others = ends.iter().filter(|(_, end)| end.at_ms == at_ms && end.result.is_err());
        self.ambiguous |= others.count() > 1;
        let others: Vec<usize> =
            ends.iter().filter(|(child, _)| *child != failed).map(|(child, _)| *child).collect();
        let is_fatal = first.result.as_ref().is_err_and(|failure| failure.fatal);
        for &child in &others {
            let Chain { began_ms, ended_ms, .. } = self.chains[child];
            let runs = ended_ms > at_ms && began_ms < at_ms;
            self.cut(child, at_ms);
            if runs && !is_fatal && !self.is_unsure {
                self.abort(child, at_ms, map, first.last);
            }
        }
        if !is_fatal {
            if let Some(name) = map {
                self.note(chain, at_ms, "MapIterationFailed", name, first.last);
            }
            if first.in_task {
                self.note(chain, at_ms, "TaskStateAborted", "", first.last);
            }
        }
        End { in_task: false, ..first }
    }
}

/// When something begins, in which chain, and after which event.
type From = (u64, usize, Option<usize>);

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
