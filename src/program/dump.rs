//! Prints a program: its workflows with one line per state, then the tables that the states refer to.
//!
//! Rows are labelled by a letter and their index: `s0` is a state, `w0` a workflow, `t0` a template, `a0` an Assign,
//! `h0` the handlers of a state, `k0` a task. Rows with a single user (paths, waits, fails, maps, choices) are printed
//! with it.

use std::fmt::{self, Display, Formatter};

use super::{
    Assign, Choice, ChoiceStep, Dataset, Distributed, ErrorClass, Filter, Items, Map, Next, Percentage,
    Program, Recovery, ResultPath, Seconds, State, StateId, StateKind, TemplateId, Test, TestId, Text, Wait,
    WorkflowId,
};
use super::{Comparison, Operand, Operator, Order};
use crate::index::{Id, Table};
use crate::json::Number;

impl Program {
    /// The program as text for people.
    ///
    /// ```
    /// use expressway::{asl, compile};
    /// let text = br#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "OutputPath": "$.name", "End": true}}}"#;
    /// let (definition, _) = asl::read(text, &asl::Options::default());
    /// let program = compile::compile(&definition.unwrap()).unwrap();
    /// assert_eq!(program.dump(), "\
    /// workflow w0: starts at s0
    ///   s0 Hello: Pass; output $.name; end
    /// ");
    /// ```
    pub fn dump(&self) -> String {
        self.to_string()
    }

    /// A fingerprint of the states, their kinds, workflows and variables: a recorded execution refers to these by
    /// index.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xCBF2_9CE4_8422_2325;
        let mut add = |bytes: &[u8]| {
            // FNV-1a
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
        };
        for (id, state) in self.states.iter() {
            let kind = match state.kind {
                StateKind::Pass(_) => 0,
                StateKind::Choice(_) => 1,
                StateKind::Wait(_) => 2,
                StateKind::Task(_) => 3,
                StateKind::Parallel(_) => 4,
                StateKind::Map(map) if self.maps[map].distributed.is_some() => 8,
                StateKind::Map(_) => 5,
                StateKind::Succeed => 6,
                StateKind::Fail(_) => 7,
            };
            let name = self.name(id);
            add(&(name.len() as u64).to_le_bytes());
            add(name.as_bytes());
            add(&[kind]);
        }
        for (_, workflow) in self.workflows.iter() {
            add(&(workflow.start.index() as u64).to_le_bytes());
            add(&workflow.slots.to_le_bytes());
        }
        hash
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(seconds) = self.timeout_seconds {
            writeln!(f, "times out after {seconds} s")?;
        }
        let owners = self.owners();
        for (workflow, row) in self.workflows.iter() {
            write!(f, "workflow {}: starts at {}", w(workflow), s(row.start))?;
            if row.slots > 0 {
                write!(f, "; variables in slots 0 to {}", row.slots - 1)?;
            }
            writeln!(f)?;
            for (id, state) in self.states.iter().filter(|(id, _)| owners[id.index()] == workflow.index()) {
                self.state(f, id, state)?;
            }
        }
        self.tasks(f)?;
        section(f, "templates", &self.templates, |f, id, template| {
            writeln!(f, "  {} {}", t(id), template.dump())
        })?;
        section(f, "assigns", &self.assigns, |f, id, assign: &Assign| {
            let slots: Vec<String> = assign.slots.iter().map(|slot| slot.0.to_string()).collect();
            writeln!(f, "  a{} {}; into slots {}", id.index(), t(assign.template), slots.join(", "))
        })?;
        section(f, "handlers", &self.recovery, |f, id, recovery| self.recovery(f, id.index(), recovery))
    }
}

fn s(state: StateId) -> String {
    format!("s{}", state.index())
}

fn w(workflow: WorkflowId) -> String {
    format!("w{}", workflow.index())
}

fn t(template: TemplateId) -> String {
    format!("t{}", template.index())
}

/// A table under its name, if it has rows.
fn section<I: Id, T>(
    f: &mut Formatter<'_>,
    name: &str,
    table: &Table<I, T>,
    mut row: impl FnMut(&mut Formatter<'_>, I, &T) -> fmt::Result,
) -> fmt::Result {
    if !table.is_empty() {
        writeln!(f, "{name}")?;
    }
    table.iter().try_for_each(|(id, value)| row(f, id, value))
}

impl Program {
    /// The workflow of each state, found by following transitions: the reader refuses unreachable states.
    fn owners(&self) -> Vec<usize> {
        let mut owners = vec![usize::MAX; self.states.len()];
        for (workflow, row) in self.workflows.iter() {
            let mut pending = vec![row.start];
            while let Some(state) = pending.pop() {
                if std::mem::replace(&mut owners[state.index()], workflow.index()) == workflow.index() {
                    continue;
                }
                let row = &self.states[state];
                if let Next::State(next) = row.next {
                    pending.push(next);
                }
                if let StateKind::Choice(choice) = row.kind {
                    pending.extend(self.choices[choice].rules.iter().map(|rule| rule.next));
                }
                if let Some(recovery) = row.recovery {
                    pending.extend(self.recovery[recovery].catch.iter().map(|catcher| catcher.next));
                }
            }
        }
        owners
    }

    fn state(&self, f: &mut Formatter<'_>, id: StateId, state: &State) -> fmt::Result {
        write!(f, "  {} {}: ", s(id), self.name(id))?;
        let jsonata = if state.jsonata { "; jsonata" } else { "" };
        match state.kind {
            StateKind::Pass(None) => f.write_str("Pass")?,
            StateKind::Pass(Some(result)) => write!(f, "Pass {}", t(result))?,
            StateKind::Choice(_) => f.write_str("Choice")?,
            StateKind::Task(task) => write!(f, "Task k{}", task.index())?,
            StateKind::Wait(wait) => self.wait(f, self.waits[wait])?,
            StateKind::Succeed => f.write_str("Succeed")?,
            StateKind::Fail(fail) => {
                f.write_str("Fail")?;
                self.text(f, "error", &self.fails[fail].error)?;
                self.text(f, "cause", &self.fails[fail].cause)?;
            }
            StateKind::Parallel(parallel) => {
                let branches: Vec<String> =
                    self.parallels[parallel].branches.iter().map(|id| w(*id)).collect();
                write!(f, "Parallel {}", branches.join(", "))?;
            }
            StateKind::Map(map) => self.map(f, &self.maps[map])?,
        }
        f.write_str(jsonata)?;
        self.filter(f, "input", state.input)?;
        let (parameters, result) =
            if state.jsonata { ("arguments", "output") } else { ("parameters", "selector") };
        self.named(f, parameters, state.parameters)?;
        self.named(f, result, state.result)?;
        self.result_path(f, state.result_path)?;
        if let Some(assign) = state.assign {
            write!(f, "; assign a{}", assign.index())?;
        }
        self.filter(f, "output", state.output)?;
        if let Some(recovery) = state.recovery {
            write!(f, "; handlers h{}", recovery.index())?;
        }
        let choice = matches!(state.kind, StateKind::Choice(_));
        match state.next {
            Next::State(next) if choice => write!(f, "; else {}", s(next))?,
            Next::State(next) => write!(f, "; next {}", s(next))?,
            Next::End if matches!(state.kind, StateKind::Succeed | StateKind::Fail(_)) => {}
            Next::End => f.write_str("; end")?,
            Next::Nowhere if choice => f.write_str("; no default")?,
            Next::Nowhere => f.write_str("; next nowhere")?,
        }
        writeln!(f)?;
        match state.kind {
            StateKind::Choice(choice) => self.choice(f, &self.choices[choice]),
            _ => Ok(()),
        }
    }

    fn named(&self, f: &mut Formatter<'_>, name: &str, template: Option<TemplateId>) -> fmt::Result {
        template.map_or(Ok(()), |template| write!(f, "; {name} {}", t(template)))
    }

    fn filter(&self, f: &mut Formatter<'_>, name: &str, filter: Filter) -> fmt::Result {
        match filter {
            Filter::Everything => Ok(()),
            Filter::Nothing => write!(f, "; {name} nothing"),
            Filter::Path(path) => write!(f, "; {name} {}", self.paths[path].source()),
        }
    }

    fn result_path(&self, f: &mut Formatter<'_>, path: ResultPath) -> fmt::Result {
        match path {
            ResultPath::Replace => Ok(()),
            ResultPath::Discard => f.write_str("; drop result"),
            ResultPath::Insert(path) => write!(f, "; result into {}", self.references[path].source()),
        }
    }

    fn seconds(&self, f: &mut Formatter<'_>, seconds: Seconds) -> fmt::Result {
        match seconds {
            Seconds::Literal(seconds) => write!(f, "{seconds}"),
            Seconds::Path(path) => f.write_str(self.paths[path].source()),
            Seconds::Expression(template) => f.write_str(&self.templates[template].dump()),
        }
    }

    fn wait(&self, f: &mut Formatter<'_>, wait: Wait) -> fmt::Result {
        match wait {
            Wait::Seconds(seconds) => {
                f.write_str("Wait for ")?;
                self.seconds(f, seconds)?;
                f.write_str(" s")
            }
            Wait::Timestamp(millis) => write!(f, "Wait until {}", moment(i128::from(millis) * 1_000_000)),
            Wait::TimestampPath(path) => write!(f, "Wait until {}", self.paths[path].source()),
            Wait::TimestampExpression(template) => {
                write!(f, "Wait until {}", self.templates[template].dump())
            }
        }
    }

    fn text(&self, f: &mut Formatter<'_>, name: &str, text: &Text) -> fmt::Result {
        match text {
            Text::Absent => Ok(()),
            Text::Literal(text) => write!(f, "; {name} {text:?}"),
            Text::Path(path) => write!(f, "; {name} {}", self.paths[*path].source()),
            Text::Call(call) => write!(f, "; {name} {}", call.source()),
            Text::Expression(template) => write!(f, "; {name} {}", self.templates[*template].dump()),
        }
    }

    fn map(&self, f: &mut Formatter<'_>, map: &Map) -> fmt::Result {
        match &map.distributed {
            None => write!(f, "Map {}", w(map.processor))?,
            Some(distributed) => self.distributed(f, distributed)?,
        }
        match map.items {
            Items::Input => {}
            Items::NotInline => f.write_str("; not inline")?,
            Items::Path(path) => write!(f, "; items {}", self.paths[path].source())?,
            Items::Template(template) => write!(f, "; items {}", t(template))?,
        }
        self.named(f, "item", map.selector)?;
        if map.max_concurrency != Seconds::Literal(0) {
            f.write_str("; at once ")?;
            self.seconds(f, map.max_concurrency)?;
        }
        if let Some(count) = map.tolerated_count {
            f.write_str("; tolerates ")?;
            self.seconds(f, count)?;
        }
        match map.tolerated_percentage {
            None => Ok(()),
            Some(Percentage::Literal(percentage)) => write!(f, "; tolerates {percentage} %"),
            Some(Percentage::Path(path)) => write!(f, "; tolerates {} %", self.paths[path].source()),
            Some(Percentage::Expression(template)) => {
                write!(f, "; tolerates {} %", self.templates[template].dump())
            }
        }
    }

    fn distributed(&self, f: &mut Formatter<'_>, distributed: &Distributed) -> fmt::Result {
        let Distributed { child, is_express, label, task, reader, batcher, writer } = distributed;
        let kind = if *is_express { "Express" } else { "Standard" };
        write!(
            f,
            "distributed Map k{} `{label}` of {kind} executions {:016x}",
            task.index(),
            child.fingerprint()
        )?;
        if let Some(reader) = reader {
            write!(f, "; reads {} as {:?}", reader.resource, reader.format)?;
            self.named(f, "arguments", reader.arguments)?;
            if let Some(pointer) = &reader.pointer {
                write!(f, " at {pointer}")?;
            }
            if reader.dataset != Dataset::One {
                write!(f, "; {:?}", reader.dataset)?;
            }
            if let Some(most) = reader.items_max {
                f.write_str("; at most ")?;
                self.seconds(f, most)?;
            }
        }
        if let Some(batcher) = batcher {
            self.named(f, "batch input", batcher.batch_input)?;
            for (name, most) in [("items", batcher.items_max), ("bytes", batcher.input_bytes_max)] {
                if let Some(most) = most {
                    f.write_str("; a batch of ")?;
                    self.seconds(f, most)?;
                    write!(f, " {name}")?;
                }
            }
        }
        if let Some(writer) = writer {
            let resource = writer.resource.as_deref().unwrap_or("nowhere");
            let form = if writer.lines { "JSONL" } else { "JSON" };
            write!(f, "; writes {form} {:?} to {resource}", writer.transformation)?;
            self.named(f, "arguments", writer.arguments)?;
        }
        Ok(())
    }

    fn tasks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        section(f, "tasks", &self.tasks, |f, id, task| {
            write!(f, "  k{} {}", id.index(), task.resource.arn)?;
            for (name, seconds) in [("times out after", task.timeout), ("heartbeat every", task.heartbeat)] {
                if let Some(seconds) = seconds {
                    write!(f, "; {name} ")?;
                    self.seconds(f, seconds)?;
                    f.write_str(" s")?;
                }
            }
            self.named(f, "credentials", task.credentials)?;
            writeln!(f)
        })
    }

    fn recovery(&self, f: &mut Formatter<'_>, id: usize, recovery: &Recovery) -> fmt::Result {
        let mut name = format!("h{id}");
        for retrier in &recovery.retry {
            write!(f, "  {name} retry {}", errors(&retrier.errors))?;
            write!(f, "; {} times", retrier.attempts_max)?;
            write!(f, "; after {} s, then × {}", retrier.interval_seconds, retrier.backoff_rate)?;
            if let Some(seconds) = retrier.delay_seconds_max {
                write!(f, ", at most {seconds} s")?;
            }
            writeln!(f, "{}", if retrier.full_jitter { "; full jitter" } else { "" })?;
            name = " ".repeat(name.len());
        }
        for catcher in &recovery.catch {
            write!(f, "  {name} catch {}", errors(&catcher.errors))?;
            self.named(f, "output", catcher.output)?;
            self.result_path(f, catcher.result_path)?;
            if let Some(assign) = catcher.assign {
                write!(f, "; assign a{}", assign.index())?;
            }
            writeln!(f, "; next {}", s(catcher.next))?;
            name = " ".repeat(name.len());
        }
        Ok(())
    }

    fn choice(&self, f: &mut Formatter<'_>, choice: &Choice) -> fmt::Result {
        for step in &choice.steps {
            match step {
                ChoiceStep::Rule(rule) | ChoiceStep::Compare { rule, .. } => {
                    f.write_str("    when ")?;
                    self.test(f, choice, choice.rules[*rule as usize].test, false)?;
                    self.rule(f, choice, *rule)?;
                }
                ChoiceStep::Equals { variable, rules } => {
                    writeln!(f, "    look up {}", self.paths[*variable].source())?;
                    let mut rules: Vec<(&str, u32)> =
                        rules.iter().map(|(text, rule)| (&**text, *rule)).collect();
                    rules.sort_by_key(|&(_, rule)| rule);
                    for (text, rule) in rules {
                        write!(f, "      {text:?}")?;
                        self.rule(f, choice, rule)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn rule(&self, f: &mut Formatter<'_>, choice: &Choice, rule: u32) -> fmt::Result {
        let rule = &choice.rules[rule as usize];
        self.named(f, "output", rule.output)?;
        if let Some(assign) = rule.assign {
            write!(f, "; assign a{}", assign.index())?;
        }
        writeln!(f, "; next {}", s(rule.next))
    }

    /// The depth is bounded by the reader of definitions.
    fn test(&self, f: &mut Formatter<'_>, choice: &Choice, test: TestId, inner: bool) -> fmt::Result {
        match &choice.tests[test] {
            Test::And(tests) | Test::Or(tests) => {
                let word = if matches!(choice.tests[test], Test::And(_)) { " and " } else { " or " };
                let brackets = inner && tests.len() > 1;
                f.write_str(if brackets { "(" } else { "" })?;
                for (i, &test) in tests.iter().enumerate() {
                    f.write_str(if i > 0 { word } else { "" })?;
                    self.test(f, choice, test, true)?;
                }
                f.write_str(if brackets { ")" } else { "" })
            }
            Test::Not(test) => {
                f.write_str("not ")?;
                self.test(f, choice, *test, true)
            }
            Test::Constant(value) => write!(f, "{value}"),
            Test::Condition(template) => f.write_str(&self.templates[*template].dump()),
            Test::Comparison(comparison) => self.comparison(f, comparison),
        }
    }

    fn comparison(&self, f: &mut Formatter<'_>, comparison: &Comparison) -> fmt::Result {
        f.write_str(self.paths[comparison.variable].source())?;
        let is = match comparison.operator {
            Operator::IsPresent => "present",
            Operator::IsNull => "null",
            Operator::IsNumeric => "a number",
            Operator::IsString => "a string",
            Operator::IsBoolean => "a boolean",
            Operator::IsTimestamp => "a timestamp",
            Operator::StringMatches => return write!(f, " matches {}", Shown(&comparison.operand, self)),
            Operator::String(order) => return self.ordered(f, "text", order, &comparison.operand),
            Operator::Numeric(order) => return self.ordered(f, "number", order, &comparison.operand),
            Operator::Timestamp(order) => return self.ordered(f, "time", order, &comparison.operand),
            Operator::BooleanEquals => return self.ordered(f, "boolean", Order::Equal, &comparison.operand),
        };
        let not = if matches!(comparison.operand, Operand::Bool(false)) { "not " } else { "" };
        write!(f, " is {not}{is}")
    }

    fn ordered(&self, f: &mut Formatter<'_>, what: &str, order: Order, operand: &Operand) -> fmt::Result {
        let sign = match order {
            Order::Equal => "=",
            Order::Less => "<",
            Order::LessEqual => "<=",
            Order::Greater => ">",
            Order::GreaterEqual => ">=",
        };
        // The type of the comparison is not visible in a path.
        let what = if matches!(operand, Operand::Path(_)) { format!(" as {what}") } else { String::new() };
        write!(f, " {sign} {}{what}", Shown(operand, self))
    }
}

/// The right-hand side of a comparison.
struct Shown<'p>(&'p Operand, &'p Program);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Operand::String(text) => write!(f, "{text:?}"),
            Operand::Number(Number::Int(number)) => write!(f, "{number}"),
            Operand::Number(Number::Float(number)) => write!(f, "{number}"),
            Operand::Bool(value) => write!(f, "{value}"),
            Operand::Timestamp(nanoseconds) => f.write_str(&moment(*nanoseconds)),
            Operand::Pattern(pattern) => write!(f, "{:?}", pattern.to_string()),
            Operand::Path(path) => f.write_str(self.1.paths[*path].source()),
        }
    }
}

/// Nanoseconds since 1970 as a timestamp.
fn moment(nanoseconds: i128) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds)
        .map_or_else(|_| format!("{nanoseconds} ns"), |at| at.to_string())
}

fn errors(classes: &[ErrorClass]) -> String {
    let names: Vec<&str> = classes
        .iter()
        .map(|class| match class {
            ErrorClass::All => crate::fault::ALL,
            ErrorClass::TaskFailed => crate::fault::TASK_FAILED,
            ErrorClass::Timeout => crate::fault::TIMEOUT,
            ErrorClass::Named(name) => name,
        })
        .collect();
    names.join(", ")
}
