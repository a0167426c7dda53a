//! Assertions about a finished program: ids are in their tables, and states, rules and workflows are connected as the
//! engine assumes.

use super::{
    Assign, AssignId, Choice, ChoiceId, ChoiceStep, Comparison, Distributed, Filter, Items, Map, Next,
    Operand, PathId, Percentage, Program, ResultPath, Seconds, State, StateId, StateKind, Task, TemplateId,
    Test, TestId, Text, Wait, WorkflowId,
};
use crate::index::{Id, Table};

impl Program {
    /// Checks the guarantees of compiling.
    ///
    /// # Panics
    /// When one does not hold: that is a bug.
    pub fn verify(&self) {
        assert_eq!(self.states.len(), self.names.len(), "each state has a name");
        assert!(!self.workflows.is_empty(), "the machine itself is a workflow");
        // The workflow that each state belongs to, and how often each workflow is used.
        let mut owners: Vec<Option<WorkflowId>> = vec![None; self.states.len()];
        let mut uses = vec![0; self.workflows.len()];
        for (id, workflow) in self.workflows.iter() {
            let mut pending = vec![workflow.start];
            while let Some(state) = pending.pop() {
                lies_in(&self.states, state);
                match owners[state.index()].replace(id) {
                    Some(owner) => assert_eq!(owner, id, "{state:?} belongs to two workflows"),
                    None => self.follow(state, workflow.slots, &mut pending, &mut uses),
                }
            }
        }
        assert_eq!(uses[0], 0, "nothing runs the machine inside of itself");
        assert!(uses[1..].iter().all(|&uses| uses == 1), "each inner workflow is run by one state");
    }

    /// Checks a state, and adds its successors.
    fn follow(&self, id: StateId, slots: u32, pending: &mut Vec<StateId>, uses: &mut [u32]) {
        let state = &self.states[id];
        self.verify_flow(state, slots);
        match state.next {
            Next::State(next) => pending.push(next),
            Next::End => {}
            Next::Nowhere => {
                assert!(matches!(state.kind, StateKind::Choice(_)), "{id:?} leads nowhere");
            }
        }
        if let Some(recovery) = state.recovery {
            lies_in(&self.recovery, recovery);
            for catcher in &self.recovery[recovery].catch {
                pending.push(catcher.next);
                self.verify_result_path(catcher.result_path);
                self.verify_template(catcher.output);
                self.verify_assign(catcher.assign, slots);
            }
        }
        let mut run = |workflow: WorkflowId| {
            lies_in(&self.workflows, workflow);
            uses[workflow.index()] += 1;
            assert!(self.workflows[workflow].slots >= slots, "{workflow:?} sees what {id:?} sees");
        };
        match state.kind {
            StateKind::Choice(choice) => self.verify_choice(choice, slots, pending),
            StateKind::Task(task) => {
                lies_in(&self.tasks, task);
                self.verify_task(&self.tasks[task]);
            }
            StateKind::Wait(wait) => {
                lies_in(&self.waits, wait);
                match self.waits[wait] {
                    Wait::Seconds(seconds) => self.verify_seconds(Some(seconds)),
                    Wait::Timestamp(_) => {}
                    Wait::TimestampPath(path) => lies_in(&self.paths, path),
                    Wait::TimestampExpression(template) => lies_in(&self.templates, template),
                }
            }
            StateKind::Fail(fail) => {
                lies_in(&self.fails, fail);
                self.verify_text(&self.fails[fail].error);
                self.verify_text(&self.fails[fail].cause);
            }
            StateKind::Parallel(parallel) => {
                lies_in(&self.parallels, parallel);
                assert!(!self.parallels[parallel].branches.is_empty(), "{id:?} has branches");
                self.parallels[parallel].branches.iter().copied().for_each(&mut run);
            }
            StateKind::Map(map) => {
                lies_in(&self.maps, map);
                if self.maps[map].distributed.is_none() {
                    run(self.maps[map].processor);
                }
                self.verify_map(&self.maps[map]);
            }
            StateKind::Pass(result) => self.verify_template(result),
            StateKind::Succeed => {}
        }
    }

    /// The fields that all kinds share.
    fn verify_flow(&self, state: &State, slots: u32) {
        for filter in [state.input, state.output] {
            if let Filter::Path(path) = filter {
                lies_in(&self.paths, path);
            }
        }
        self.verify_result_path(state.result_path);
        self.verify_template(state.parameters);
        self.verify_template(state.result);
        self.verify_assign(state.assign, slots);
    }

    fn verify_result_path(&self, result_path: ResultPath) {
        if let ResultPath::Insert(path) = result_path {
            lies_in(&self.references, path);
        }
    }

    fn verify_template(&self, template: Option<TemplateId>) {
        if let Some(template) = template {
            lies_in(&self.templates, template);
        }
    }

    fn verify_assign(&self, assign: Option<AssignId>, slots: u32) {
        let Some(assign) = assign else { return };
        lies_in(&self.assigns, assign);
        let Assign { template, slots: assigned, slots_seen } = &self.assigns[assign];
        lies_in(&self.templates, *template);
        assert_eq!(*slots_seen, slots, "{assign:?} sees what its workflow sees");
        assert!(assigned.iter().all(|slot| slot.0 < slots), "{assign:?} assigns variables of its workflow");
    }

    fn verify_choice(&self, id: ChoiceId, slots: u32, pending: &mut Vec<StateId>) {
        lies_in(&self.choices, id);
        let Choice { steps, rules, tests } = &self.choices[id];
        for rule in rules {
            pending.push(rule.next);
            lies_in(tests, rule.test);
            self.verify_template(rule.output);
            self.verify_assign(rule.assign, slots);
        }
        let is_rule = |rule: u32| assert!((rule as usize) < rules.len(), "{id:?} has no rule {rule}");
        for step in steps {
            match step {
                ChoiceStep::Rule(rule) => is_rule(*rule),
                ChoiceStep::Compare { comparison, rule } => {
                    self.verify_comparison(comparison);
                    is_rule(*rule);
                }
                ChoiceStep::Equals { variable, rules } => {
                    lies_in(&self.paths, *variable);
                    rules.values().copied().for_each(is_rule);
                }
            }
        }
        for (test, row) in tests.iter() {
            // A test comes after those it consists of, so that visiting them terminates.
            let is_inner = |inner: TestId| assert!(inner < test, "{test:?} of {id:?} is made of {inner:?}");
            match row {
                Test::And(inner) | Test::Or(inner) => inner.iter().copied().for_each(is_inner),
                Test::Not(inner) => is_inner(*inner),
                Test::Comparison(comparison) => self.verify_comparison(comparison),
                Test::Constant(_) => {}
                Test::Condition(template) => lies_in(&self.templates, *template),
            }
        }
    }

    fn verify_comparison(&self, comparison: &Comparison) {
        lies_in(&self.paths, comparison.variable);
        if let Operand::Path(path) = comparison.operand {
            lies_in(&self.paths, path);
        }
    }

    fn verify_task(&self, task: &Task) {
        self.verify_seconds(task.timeout);
        self.verify_seconds(task.heartbeat);
        self.verify_template(task.credentials);
    }

    fn verify_map(&self, map: &Map) {
        match map.items {
            Items::Input | Items::NotInline => {}
            Items::Path(path) => lies_in(&self.paths, path),
            Items::Template(template) => lies_in(&self.templates, template),
        }
        self.verify_template(map.selector);
        self.verify_seconds(Some(map.max_concurrency));
        self.verify_seconds(map.tolerated_count);
        match map.tolerated_percentage {
            Some(Percentage::Path(path)) => lies_in(&self.paths, path),
            Some(Percentage::Expression(template)) => lies_in(&self.templates, template),
            Some(Percentage::Literal(_)) | None => {}
        }
        if let Some(distributed) = &map.distributed {
            self.verify_distributed(distributed);
        }
    }

    fn verify_distributed(&self, distributed: &Distributed) {
        lies_in(&self.tasks, distributed.task);
        if let Some(reader) = &distributed.reader {
            self.verify_template(reader.arguments);
            self.verify_seconds(reader.items_max);
        }
        if let Some(batcher) = &distributed.batcher {
            self.verify_template(batcher.batch_input);
            self.verify_seconds(batcher.items_max);
            self.verify_seconds(batcher.input_bytes_max);
        }
        if let Some(writer) = &distributed.writer {
            self.verify_template(writer.arguments);
        }
    }

    fn verify_seconds(&self, seconds: Option<Seconds>) {
        match seconds {
            Some(Seconds::Path(path)) => lies_in(&self.paths, path),
            Some(Seconds::Expression(template)) => lies_in(&self.templates, template),
            Some(Seconds::Literal(_)) | None => {}
        }
    }

    fn verify_text(&self, text: &Text) {
        match text {
            Text::Path(path) => lies_in::<PathId, _>(&self.paths, *path),
            Text::Expression(template) => lies_in(&self.templates, *template),
            Text::Absent | Text::Literal(_) | Text::Call(_) => {}
        }
    }
}

fn lies_in<I: Id + std::fmt::Debug, T>(table: &Table<I, T>, id: I) {
    assert!(id.index() < table.len(), "{id:?} is not in its table of {} rows", table.len());
}
