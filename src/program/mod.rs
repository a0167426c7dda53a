//! A definition as immutable tables with typed `u32` indices, which the engine executes.
//!
//! Paths are parsed, keys prepared, error names classified, equality rules of a Choice gathered into one hash table.
//! A program is `Send + Sync` and has no interior mutability; it knows neither the definition's text nor any execution.
//! [`Program::dump`] prints it.
//!
//! Users of the library hold a [`Program`]. Its tables are public for tools, and change with any release.

mod choice;
mod dump;
mod ids;
mod verify;

pub use choice::{Choice, ChoiceStep, Comparison, Operand, Operator, Order, Pattern, Rule, Test, TestId};
pub use ids::{
    AssignId, ChoiceId, FailId, MapId, ParallelId, PathId, RecoveryId, ReferenceId, StateId, TaskId,
    TemplateId, WaitId, WorkflowId,
};

use std::sync::Arc;

use crate::index::{Id, Table};
use crate::models::Operation;
use crate::query::Slot;
use crate::query::intrinsic::Call;
use crate::query::path::{Path, ReferencePath};
use crate::query::template::Template;

/// A compiled state machine.
#[derive(Debug, Default)]
pub struct Program {
    /// `TimeoutSeconds` of the machine.
    pub timeout_seconds: Option<u64>,
    /// All states, those of branches and processors included.
    pub states: Table<StateId, State>,
    /// Their names.
    pub names: Table<StateId, Box<str>>,
    /// The workflows; the machine itself is the first.
    pub workflows: Table<WorkflowId, Workflow>,
    /// Paths of all fields.
    pub paths: Table<PathId, Path>,
    /// Reference paths of `ResultPath`.
    pub references: Table<ReferenceId, ReferencePath>,
    /// Payload templates, and the JSONata values of all fields.
    pub templates: Table<TemplateId, Template>,
    /// `Assign` objects.
    pub assigns: Table<AssignId, Assign>,
    /// Retry and Catch.
    pub recovery: Table<RecoveryId, Recovery>,
    /// Choice states.
    pub choices: Table<ChoiceId, Choice>,
    /// Wait states.
    pub waits: Table<WaitId, Wait>,
    /// Fail states.
    pub fails: Table<FailId, Fail>,
    /// Task states.
    pub tasks: Table<TaskId, Task>,
    /// Parallel states.
    pub parallels: Table<ParallelId, Parallel>,
    /// Map states.
    pub maps: Table<MapId, Map>,
    /// Bytes of the automata of its regular expressions, at most.
    pub regex_bytes: usize,
}

impl Program {
    /// Where an execution begins.
    pub fn start(&self) -> StateId {
        self.workflows[WorkflowId::from_index(0)].start
    }

    /// The task that a state of this kind waits for: its own, or its Map Run.
    pub(crate) fn task_of(&self, kind: StateKind) -> Option<TaskId> {
        match kind {
            StateKind::Task(task) => Some(task),
            StateKind::Map(map) => self.maps[map].distributed.as_ref().map(|distributed| distributed.task),
            _ => None,
        }
    }

    /// Roughly its bytes: its tables with their content, and the automata of its regular expressions, which its
    /// expressions share.
    pub fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|(_, name)| size_of::<Box<str>>() + name.len()).sum();
        let paths: usize = self.paths.iter().map(|(_, path)| path.bytes()).sum();
        let templates: usize = self.templates.iter().map(|(_, template)| template.bytes()).sum();
        let choices: usize = (self.choices.iter())
            .map(|(_, choice)| {
                choice.rules.len() * size_of::<Rule>()
                    + choice.tests.len() * size_of::<Test>()
                    + choice.steps.len() * size_of::<ChoiceStep>()
            })
            .sum();
        let rows = self.states.len() * size_of::<State>()
            + self.tasks.len() * size_of::<Task>()
            + self.recovery.len() * size_of::<Recovery>()
            + self.maps.len() * size_of::<Map>();
        let children = self.maps.iter().filter_map(|(_, map)| map.distributed.as_ref());
        let children: usize = children.map(|distributed| distributed.child.bytes()).sum();
        children + names + paths + templates + choices + rows + self.regex_bytes
    }

    /// The state's name.
    pub fn name(&self, state: StateId) -> &str {
        &self.names[state]
    }

    /// The data resources of distributed Maps, including those of child executions.
    pub fn data_resources(&self) -> Vec<DataResource<'_>> {
        let mut found = Vec::new();
        for (id, state) in self.states.iter() {
            let StateKind::Map(map) = state.kind else { continue };
            let Some(distributed) = &self.maps[map].distributed else { continue };
            let reader = distributed.reader.as_ref().map(|it| ("ItemReader", &*it.resource));
            let writer =
                distributed.writer.as_ref().and_then(|it| Some(("ResultWriter", &**it.resource.as_ref()?)));
            let state = self.name(id);
            found.extend([reader, writer].into_iter().flatten().map(|(field, resource)| DataResource {
                state,
                field,
                resource,
            }));
            found.extend(distributed.child.data_resources());
        }
        found
    }
}

/// States that refer to each other.
#[derive(Debug)]
pub struct Workflow {
    /// `StartAt`
    pub start: StateId,
    /// The number of variables its states see: those of the enclosing workflows first.
    pub slots: u32,
}

/// A state: its transition, its data flow, and its own table row. It is in one cache line, so that a transition in a
/// large machine waits for memory once.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct State {
    /// Its kind, with the row of its own fields.
    pub kind: StateKind,
    /// Whether its fields are JSONata.
    pub jsonata: bool,
    /// Whether none of the shared fields below is set: data passes through unchanged.
    pub plain: bool,
    /// Its successor; of a Choice, its `Default`.
    pub next: Next,
    /// `InputPath`
    pub input: Filter,
    /// `OutputPath`
    pub output: Filter,
    /// `ResultPath`
    pub result_path: ResultPath,
    /// `Parameters`; `Arguments` in JSONata.
    pub parameters: Option<TemplateId>,
    /// `ResultSelector`; `Output` in JSONata.
    pub result: Option<TemplateId>,
    /// `Assign`
    pub assign: Option<AssignId>,
    /// `Retry` and `Catch`
    pub recovery: Option<RecoveryId>,
}

const _: () = assert!(size_of::<State>() == 64);

/// The kinds of state (specification, "State types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Pass, with its `Result`.
    Pass(Option<TemplateId>),
    /// Choice
    Choice(ChoiceId),
    /// Task
    Task(TaskId),
    /// Wait
    Wait(WaitId),
    /// Succeed
    Succeed,
    /// Fail
    Fail(FailId),
    /// Parallel
    Parallel(ParallelId),
    /// Map
    Map(MapId),
}

/// The successor of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To another state of the same workflow.
    State(StateId),
    /// Out of the workflow.
    End,
    /// Nowhere: a Choice without `Default`.
    Nowhere,
}

/// `InputPath` and `OutputPath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `$`: everything.
    Everything,
    /// `null`: an empty object.
    Nothing,
    /// What the path selects.
    Path(PathId),
}

/// `ResultPath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultPath {
    /// `$`: the result replaces the input.
    Replace,
    /// `null`: the result is dropped.
    Discard,
    /// The result is put into the input.
    Insert(ReferenceId),
}

/// An `Assign` object: its template makes an object, whose members go to the slots in order.
#[derive(Debug)]
pub struct Assign {
    /// Makes the object.
    pub template: TemplateId,
    /// The slots, by the position of the member.
    pub slots: Box<[Slot]>,
    /// How many variables the workflow sees.
    pub slots_seen: u32,
}

/// `Retry` and `Catch` of a state.
#[derive(Debug)]
pub struct Recovery {
    /// `Retry`, in order.
    pub retry: Box<[Retrier]>,
    /// `Catch`, in order.
    pub catch: Box<[Catcher]>,
}

/// A retrier, with defaults filled in.
#[derive(Debug)]
pub struct Retrier {
    /// `ErrorEquals`
    pub errors: Box<[ErrorClass]>,
    /// `IntervalSeconds`
    pub interval_seconds: u64,
    /// `MaxAttempts`
    pub attempts_max: u64,
    /// `BackoffRate`
    pub backoff_rate: f64,
    /// `MaxDelaySeconds`
    pub delay_seconds_max: Option<u64>,
    /// `JitterStrategy` is `FULL`.
    pub full_jitter: bool,
}

/// A catcher.
#[derive(Debug)]
pub struct Catcher {
    /// `ErrorEquals`
    pub errors: Box<[ErrorClass]>,
    /// `Next`
    pub next: StateId,
    /// `ResultPath`
    pub result_path: ResultPath,
    /// `Output` (JSONata)
    pub output: Option<TemplateId>,
    /// `Assign`
    pub assign: Option<AssignId>,
}

/// The meaning of one element of `ErrorEquals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// `States.ALL`
    All,
    /// `States.TaskFailed`: any task failure except a timeout.
    TaskFailed,
    /// `States.Timeout`: a heartbeat timeout as well.
    Timeout,
    /// Exactly this name.
    Named(Box<str>),
}

/// A number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seconds {
    /// As written.
    Literal(u64),
    /// What the path selects.
    Path(PathId),
    /// The value of the expression.
    Expression(TemplateId),
}

/// The end of a Wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// `Seconds`, `SecondsPath`
    Seconds(Seconds),
    /// `Timestamp`, in milliseconds since 1970.
    Timestamp(i64),
    /// `TimestampPath`
    TimestampPath(PathId),
    /// `Timestamp` in JSONata.
    TimestampExpression(TemplateId),
}

/// A Fail state.
#[derive(Debug)]
pub struct Fail {
    /// `Error`, `ErrorPath`
    pub error: Text,
    /// `Cause`, `CausePath`
    pub cause: Text,
}

/// `Error` or `Cause` of a Fail state.
#[derive(Debug)]
pub enum Text {
    /// Not given.
    Absent,
    /// As written.
    Literal(Box<str>),
    /// What the path selects.
    Path(PathId),
    /// What the intrinsic function returns.
    Call(Call),
    /// The value of the expression.
    Expression(TemplateId),
}

/// A Task state.
#[derive(Debug)]
pub struct Task {
    /// What it calls.
    pub resource: Resource,
    /// `TimeoutSeconds`
    pub timeout: Option<Seconds>,
    /// `HeartbeatSeconds`
    pub heartbeat: Option<Seconds>,
    /// `Credentials`: an object with `RoleArn`.
    pub credentials: Option<TemplateId>,
    /// The operation whose parameters these are, checked before the task begins.
    pub(crate) parameters: Option<Box<Operation>>,
}

/// What a Task calls, and its name in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The ARN as written.
    pub arn: Box<str>,
    /// What it names.
    pub kind: ResourceKind,
    /// Waits for `SendTaskSuccess`.
    pub waits_for_token: bool,
    /// Has a task token: it waits for one, or for a job (`.sync`), which on AWS may also be completed with the token.
    pub has_token: bool,
}

/// The kind of a resource ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// A Lambda function.
    Function,
    /// An activity.
    Activity,
    /// A service action: `resourceType` and `resource` of the task's events.
    Service {
        /// Such as `lambda`, `aws-sdk:dynamodb`.
        service: Box<str>,
        /// Such as `invoke`, with its pattern.
        action: Box<str>,
    },
    /// The Map Run of a distributed Map.
    MapRun,
    /// Any other ARN; its events are those of a Lambda function.
    Other,
}

/// A Parallel state.
#[derive(Debug)]
pub struct Parallel {
    /// `Branches`
    pub branches: Box<[WorkflowId]>,
}

/// A Map state.
#[derive(Debug)]
pub struct Map {
    /// `ItemProcessor`; of a distributed Map, which has a separate program for it, the machine's own workflow.
    pub processor: WorkflowId,
    /// The source of its items.
    pub items: Items,
    /// `ItemSelector`
    pub selector: Option<TemplateId>,
    /// `MaxConcurrency`; 0 asks for no limit.
    pub max_concurrency: Seconds,
    /// `ToleratedFailureCount`
    pub tolerated_count: Option<Seconds>,
    /// `ToleratedFailurePercentage`
    pub tolerated_percentage: Option<Percentage>,
    /// The distributed part, if it has one.
    pub distributed: Option<Box<Distributed>>,
}

/// A distributed Map: each item, or batch of items, is the input of a separate execution, all of them in one Map Run.
#[derive(Debug)]
pub struct Distributed {
    /// The program of a child execution.
    pub child: Arc<Program>,
    /// Whether child executions are Express ones.
    pub is_express: bool,
    /// `Label`, or one derived from the definition.
    pub label: Box<str>,
    /// The Map Run, as a task.
    pub task: TaskId,
    /// `ItemReader`
    pub reader: Option<ItemReader>,
    /// `ItemBatcher`
    pub batcher: Option<ItemBatcher>,
    /// `ResultWriter`
    pub writer: Option<ResultWriter>,
}

/// `ItemReader` of a distributed Map.
#[derive(Debug)]
pub struct ItemReader {
    /// `Resource`
    pub resource: Box<str>,
    /// `Parameters`, `Arguments`
    pub arguments: Option<TemplateId>,
    /// `InputType`, and its settings.
    pub format: Format,
    /// `ItemsPointer`
    pub pointer: Option<Box<str>>,
    /// What is read.
    pub dataset: Dataset,
    /// `MaxItems`
    pub items_max: Option<Seconds>,
}

/// The format of an `ItemReader`'s data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The objects of a bucket, by their names; no data is read.
    List,
    /// One JSON text.
    Json,
    /// A JSON text on each line.
    JsonLines,
    /// Rows of fields.
    Csv {
        /// The separator of fields.
        delimiter: u8,
        /// The names of the fields; by default, those of the first row.
        headers: Option<Box<[Box<str>]>>,
    },
    /// Columns.
    Parquet,
    /// The format given in a manifest of S3 Inventory.
    Manifest,
}

/// The data of an `ItemReader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// The object that its arguments name.
    One,
    /// The objects of a list: its `Transformation` is `LOAD_AND_FLATTEN`.
    Flattened,
    /// The files of a manifest of S3 Inventory.
    Inventory,
    /// The files of a manifest of Athena.
    Athena,
}

/// A data source or destination of a distributed Map.
#[derive(Clone, Copy, Debug)]
pub struct DataResource<'p> {
    /// The name of the Map state.
    pub state: &'p str,
    /// `ItemReader` or `ResultWriter`
    pub field: &'static str,
    /// `Resource`
    pub resource: &'p str,
}

/// `ItemBatcher` of a distributed Map.
#[derive(Debug)]
pub struct ItemBatcher {
    /// `BatchInput`
    pub batch_input: Option<TemplateId>,
    /// `MaxItemsPerBatch`
    pub items_max: Option<Seconds>,
    /// `MaxInputBytesPerBatch`
    pub input_bytes_max: Option<Seconds>,
}

/// `ResultWriter` of a distributed Map.
#[derive(Debug)]
pub struct ResultWriter {
    /// `Resource`; without it, results are only transformed.
    pub resource: Option<Box<str>>,
    /// `Parameters`, `Arguments`
    pub arguments: Option<TemplateId>,
    /// `OutputType` is `JSONL`.
    pub lines: bool,
    /// `Transformation`
    pub transformation: Transformation,
}

/// The form of a `ResultWriter`'s results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transformation {
    /// Each execution's description, including its output.
    None,
    /// The outputs.
    Compact,
    /// The outputs, with arrays replaced by their elements.
    Flatten,
}

/// The source of a Map's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// The state's input.
    Input,
    /// `ItemsPath`
    Path(PathId),
    /// `Items`
    Template(TemplateId),
    /// From an `ItemReader`, or in batches, or with a `ResultWriter`: an inline Map with one of them is valid, and fails
    /// when it is entered, as on AWS.
    NotInline,
}

/// `ToleratedFailurePercentage`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Percentage {
    /// As written.
    Literal(f64),
    /// What the path selects.
    Path(PathId),
    /// The value of the expression.
    Expression(TemplateId),
}
