//! The model of a definition: typed, complete for both query languages, checked, with places in the text.
//!
//! Paths, expressions and payload templates are still text here; `compile` turns them into programs. Defaults that AWS
//! documents are not filled in: an absent field is `None`.

use crate::json::source::{Node, Sourced, Span};
use crate::models::Call;

/// A state machine definition (specification, "Top-level fields").
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// `Comment`
    pub comment: Option<String>,
    /// `Version`
    pub version: Option<String>,
    /// `QueryLanguage` of the machine: the default of its states.
    pub query_language: QueryLanguage,
    /// `TimeoutSeconds`: how long an execution may take.
    pub timeout_seconds: Option<u64>,
    /// `StartAt` and `States`.
    pub workflow: Workflow,
    /// Whether tasks of services must have the parameters that AWS requires, including those known at run time.
    pub(crate) checks_parameters: bool,
}

impl Definition {
    /// The state of this name, at any depth: names are unique in the whole machine.
    pub fn state(&self, name: &str) -> Option<&State> {
        let mut workflows = vec![&self.workflow];
        while let Some(workflow) = workflows.pop() {
            for state in &workflow.states {
                if state.name.value == name {
                    return Some(state);
                }
                match &state.kind {
                    StateKind::Parallel(parallel) => workflows.extend(&parallel.branches),
                    StateKind::Map(map) => workflows.push(&map.processor),
                    _ => {}
                }
            }
        }
        None
    }
}

/// The language of paths and expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueryLanguage {
    /// Paths, payload templates and intrinsic functions.
    #[default]
    JsonPath,
    /// `{% … %}` expressions.
    Jsonata,
}

/// States that refer to each other: the machine itself, a branch of a Parallel, or a Map's processor.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// `StartAt`: the name of one of `states`.
    pub start_at: Sourced<String>,
    /// `States`, in the order of the text.
    pub states: Vec<State>,
    /// `Comment` of a branch or item processor.
    pub comment: Option<String>,
    /// The object's place.
    pub span: Span,
}

/// A state: what every kind may have, and its own fields in [`kind`](State::kind).
///
/// A field that the kind or the query language does not allow is absent: the reader refused it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name: a key of `States`, unique in the whole machine.
    pub name: Sourced<String>,
    /// The state object's place.
    pub span: Span,
    /// AWS's form of the place: `/States/Each/ItemProcessor/States/Charge`.
    pub location: String,
    /// Its own `QueryLanguage`, else the machine's.
    pub query_language: QueryLanguage,
    /// `Comment`
    pub comment: Option<String>,
    /// `Next` or `End`.
    pub next: Transition,
    /// `InputPath` (JSONPath)
    pub input_path: PathField,
    /// `OutputPath` (JSONPath)
    pub output_path: PathField,
    /// `Parameters` (JSONPath), a payload template. A Map's is its [`item_selector`](Map::item_selector).
    pub parameters: Option<Node>,
    /// `ResultSelector` (JSONPath), a payload template.
    pub result_selector: Option<Node>,
    /// `ResultPath` (JSONPath), a reference path.
    pub result_path: PathField,
    /// `Arguments` (JSONata)
    pub arguments: Option<Node>,
    /// `Output` (JSONata). Of a Choice: taken with `Default` only.
    pub output: Option<Node>,
    /// `Assign`: an object, a payload template in JSONPath. Of a Choice: taken with `Default` only.
    pub assign: Option<Node>,
    /// `Retry`, in order.
    pub retry: Vec<Retrier>,
    /// `Catch`, in order.
    pub catch: Vec<Catcher>,
    /// What kind of state it is.
    pub kind: StateKind,
}

/// The transition of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// `Next`: the name of a state of the same workflow.
    Next(Sourced<String>),
    /// `"End": true`, and Succeed and Fail states.
    End,
    /// A Choice: its rules and `Default` decide.
    Choice,
}

/// A path field whose `null` has a special meaning.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PathField {
    /// Not given: `$`.
    #[default]
    Absent,
    /// `null`: an empty object, or for `ResultPath`: drop the result.
    Null,
    /// A path, with its `$`.
    Path(Sourced<String>),
}

/// A field that is a plain value, or is computed at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting<T> {
    /// The value itself.
    Literal(Sourced<T>),
    /// The path of the `…Path` twin (JSONPath). `ErrorPath` and `CausePath` may hold an intrinsic call instead.
    Path(Sourced<String>),
    /// The text between `{%` and `%}`, trimmed (JSONata).
    Expression(Sourced<String>),
}

/// The kinds of state, each with the fields only it has.
#[derive(Clone, Debug, PartialEq)]
pub enum StateKind {
    /// Does work.
    Task(Task),
    /// Passes its input on, or data of its own.
    Pass(Pass),
    /// Goes one of several ways.
    Choice(Choice),
    /// Waits.
    Wait(Wait),
    /// Ends with success.
    Succeed,
    /// Ends with a failure.
    Fail(Fail),
    /// Runs several branches at once.
    Parallel(Parallel),
    /// Runs the same for many items.
    Map(Box<Map>),
}

impl StateKind {
    /// The value of `Type`.
    pub const fn name(&self) -> &'static str {
        match self {
            StateKind::Task(_) => "Task",
            StateKind::Pass(_) => "Pass",
            StateKind::Choice(_) => "Choice",
            StateKind::Wait(_) => "Wait",
            StateKind::Succeed => "Succeed",
            StateKind::Fail(_) => "Fail",
            StateKind::Parallel(_) => "Parallel",
            StateKind::Map(_) => "Map",
        }
    }
}

/// A Task state.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// `Resource`
    pub resource: Resource,
    /// `TimeoutSeconds`, `TimeoutSecondsPath`
    pub timeout: Option<Setting<u64>>,
    /// `HeartbeatSeconds`, `HeartbeatSecondsPath`
    pub heartbeat: Option<Setting<u64>>,
    /// `Credentials`: an object with `RoleArn` or (JSONPath) `RoleArn.$`.
    pub credentials: Option<Node>,
}

/// What a Task calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The ARN as written.
    pub arn: Sourced<String>,
    /// What the ARN names.
    pub kind: ResourceKind,
    /// How the task is waited for.
    pub pattern: Pattern,
}

/// What a resource ARN names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// A Lambda function by its own ARN.
    Function,
    /// An activity.
    Activity,
    /// A service: `arn:aws:states:::<service>:<action>`, `http:invoke` included.
    Service {
        /// The service, such as `lambda`.
        service: String,
        /// The action without its pattern, such as `invoke`.
        action: String,
    },
    /// An API action: `arn:aws:states:::aws-sdk:<service>:<action>`.
    Sdk {
        /// The service, such as `dynamodb`.
        service: String,
        /// The action without its pattern, such as `getItem`.
        action: String,
    },
    /// Any other ARN, for handlers that the embedder registers.
    Other,
}

impl ResourceKind {
    /// Service and action of an integration, and whether it is an SDK integration.
    pub(crate) fn call(&self) -> Option<Call<'_>> {
        match self {
            ResourceKind::Service { service, action } => Some(Call { service, action, is_sdk: false }),
            ResourceKind::Sdk { service, action } => Some(Call { service, action, is_sdk: true }),
            ResourceKind::Function | ResourceKind::Activity | ResourceKind::Other => None,
        }
    }
}

/// How a task is waited for (developer guide, "Service integration patterns").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// For the response.
    #[default]
    RequestResponse,
    /// For the job to end: `.sync`.
    Sync,
    /// For the job to end, with its output as JSON: `.sync:2`.
    Sync2,
    /// For `SendTaskSuccess`: `.waitForTaskToken`.
    WaitForTaskToken,
}

/// A Pass state.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// `Result` (JSONPath): data, not evaluated.
    pub result: Option<Node>,
}

/// A Choice state.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// `Choices`: the first that is true wins.
    pub rules: Vec<ChoiceRule>,
    /// `Default`: where to go when none is true.
    pub default: Option<Sourced<String>>,
}

/// One of the `Choices`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceRule {
    /// When it applies.
    pub test: Test,
    /// `Next`
    pub next: Sourced<String>,
    /// `Comment`
    pub comment: Option<String>,
    /// `Assign`: instead of the state's.
    pub assign: Option<Node>,
    /// `Output` (JSONata): instead of the state's.
    pub output: Option<Node>,
    /// The rule's place.
    pub span: Span,
}

/// The condition of a choice rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Whether all hold.
    And(Vec<Test>),
    /// Whether any holds.
    Or(Vec<Test>),
    /// Whether it does not hold.
    Not(Box<Test>),
    /// A comparison (JSONPath).
    Comparison(Comparison),
    /// `Condition`: `true`, `false`, or an expression (JSONata); never a [`Setting::Path`].
    Condition(Setting<bool>),
}

/// One comparison of a choice rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// `Variable`: a path.
    pub variable: Sourced<String>,
    /// The operator.
    pub operator: Operator,
    /// The right-hand side.
    pub operand: Sourced<Operand>,
}

/// The right-hand side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A string; of a `Timestamp…` operator an RFC 3339 timestamp, of `StringMatches` a pattern.
    String(String),
    /// A number, as it was written.
    Number(String),
    /// A boolean; also of the `Is…` operators.
    Bool(bool),
    /// A path, of the operators whose name ends in `Path`.
    Path(String),
}

macro_rules! operators {
    ($($name:ident $class:ident $order:ident $path:literal),* $(,)?) => {
        /// The comparison operators of Choice rules (specification, "Data-test expression").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // The names are AWS's and say it all.
        pub enum Operator { $($name),* }

        impl Operator {
            /// All of them.
            pub const ALL: &[Operator] = &[$(Operator::$name),*];

            /// The field's name.
            pub const fn name(self) -> &'static str {
                match self { $(Operator::$name => stringify!($name)),* }
            }

            /// The operator with this field name.
            pub fn named(name: &str) -> Option<Operator> {
                match name { $(stringify!($name) => Some(Operator::$name),)* _ => None }
            }

            /// The class of its operands.
            pub const fn class(self) -> OperatorClass {
                match self { $(Operator::$name => OperatorClass::$class),* }
            }

            /// How it compares; `Equal` for operators without an order.
            pub const fn order(self) -> OperatorOrder {
                match self { $(Operator::$name => OperatorOrder::$order),* }
            }

            /// Whether the operand is a path.
            pub const fn has_path_operand(self) -> bool {
                match self { $(Operator::$name => $path),* }
            }
        }
    };
}

operators! {
    StringEquals String Equal false, StringEqualsPath String Equal true,
    StringLessThan String Less false, StringLessThanPath String Less true,
    StringGreaterThan String Greater false, StringGreaterThanPath String Greater true,
    StringLessThanEquals String LessEqual false, StringLessThanEqualsPath String LessEqual true,
    StringGreaterThanEquals String GreaterEqual false, StringGreaterThanEqualsPath String GreaterEqual true,
    StringMatches Matches Equal false,
    NumericEquals Numeric Equal false, NumericEqualsPath Numeric Equal true,
    NumericLessThan Numeric Less false, NumericLessThanPath Numeric Less true,
    NumericGreaterThan Numeric Greater false, NumericGreaterThanPath Numeric Greater true,
    NumericLessThanEquals Numeric LessEqual false, NumericLessThanEqualsPath Numeric LessEqual true,
    NumericGreaterThanEquals Numeric GreaterEqual false, NumericGreaterThanEqualsPath Numeric GreaterEqual true,
    BooleanEquals Boolean Equal false, BooleanEqualsPath Boolean Equal true,
    TimestampEquals Timestamp Equal false, TimestampEqualsPath Timestamp Equal true,
    TimestampLessThan Timestamp Less false, TimestampLessThanPath Timestamp Less true,
    TimestampGreaterThan Timestamp Greater false, TimestampGreaterThanPath Timestamp Greater true,
    TimestampLessThanEquals Timestamp LessEqual false, TimestampLessThanEqualsPath Timestamp LessEqual true,
    TimestampGreaterThanEquals Timestamp GreaterEqual false, TimestampGreaterThanEqualsPath Timestamp GreaterEqual true,
    IsNull Is Equal false, IsPresent Is Equal false, IsNumeric Is Equal false, IsString Is Equal false,
    IsBoolean Is Equal false, IsTimestamp Is Equal false,
}

/// The class of an [`Operator`]'s operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperatorClass {
    /// Strings.
    String,
    /// A string and a pattern with `*`.
    Matches,
    /// Numbers.
    Numeric,
    /// Booleans.
    Boolean,
    /// Timestamps.
    Timestamp,
    /// The type of anything.
    Is,
}

/// How an [`Operator`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperatorOrder {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

/// A Wait state.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// `Seconds`, `SecondsPath`
    Seconds(Setting<u64>),
    /// `Timestamp`, `TimestampPath`: RFC 3339.
    Timestamp(Setting<String>),
}

/// A Fail state.
#[derive(Clone, Debug, PartialEq)]
pub struct Fail {
    /// `Error`, `ErrorPath`
    pub error: Option<Setting<String>>,
    /// `Cause`, `CausePath`
    pub cause: Option<Setting<String>>,
}

/// A Parallel state.
#[derive(Clone, Debug, PartialEq)]
pub struct Parallel {
    /// `Branches`
    pub branches: Vec<Workflow>,
}

/// A Map state, inline or distributed.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// `ItemProcessor` or `Iterator`.
    pub processor: Workflow,
    /// `ProcessorConfig.Mode` and `ExecutionType`.
    pub mode: MapMode,
    /// `Items` (JSONata): an array (whose strings may be expressions), an object, or one expression.
    pub items: Option<Node>,
    /// `ItemsPath` (JSONPath)
    pub items_path: Option<Sourced<String>>,
    /// `ItemSelector`, or the deprecated `Parameters`.
    pub item_selector: Option<Node>,
    /// `MaxConcurrency`, `MaxConcurrencyPath`; 0 asks for no limit.
    pub max_concurrency: Option<Setting<u64>>,
    /// `ToleratedFailureCount`, `ToleratedFailureCountPath`
    pub tolerated_failure_count: Option<Setting<u64>>,
    /// `ToleratedFailurePercentage`, `ToleratedFailurePercentagePath`: 0 to 100.
    pub tolerated_failure_percentage: Option<Setting<f64>>,
    /// `Label`
    pub label: Option<Sourced<String>>,
    /// `ItemReader`
    pub item_reader: Option<ItemReader>,
    /// `ItemBatcher`
    pub item_batcher: Option<ItemBatcher>,
    /// `ResultWriter`
    pub result_writer: Option<ResultWriter>,
}

/// Where a Map's iterations run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MapMode {
    /// In the same execution.
    #[default]
    Inline,
    /// As Standard child executions.
    DistributedStandard,
    /// As Express child executions.
    DistributedExpress,
}

/// `ItemReader` of a distributed Map.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemReader {
    /// `Resource`
    pub resource: Sourced<String>,
    /// `Parameters` (JSONPath) or `Arguments` (JSONata)
    pub arguments: Option<Node>,
    /// `ReaderConfig`, checked.
    pub config: Option<Node>,
    /// `ReaderConfig.MaxItems`, `MaxItemsPath`
    pub max_items: Option<Setting<u64>>,
}

/// `ItemBatcher` of a distributed Map.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemBatcher {
    /// `BatchInput`
    pub batch_input: Option<Node>,
    /// `MaxItemsPerBatch`, `MaxItemsPerBatchPath`
    pub items_max: Option<Setting<u64>>,
    /// `MaxInputBytesPerBatch`, `MaxInputBytesPerBatchPath`
    pub input_bytes_max: Option<Setting<u64>>,
}

/// `ResultWriter` of a distributed Map.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultWriter {
    /// `Resource`
    pub resource: Option<Sourced<String>>,
    /// `Parameters` (JSONPath) or `Arguments` (JSONata)
    pub arguments: Option<Node>,
    /// `WriterConfig`, checked.
    pub config: Option<Node>,
}

/// One of `Retry` (specification, "Retrying after error"). Absent fields are `None`; AWS's defaults are
/// `IntervalSeconds` 1, `MaxAttempts` 3, `BackoffRate` 2.0, `JitterStrategy` `NONE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrier {
    /// `ErrorEquals`
    pub error_equals: Vec<Sourced<String>>,
    /// `IntervalSeconds`
    pub interval_seconds: Option<u64>,
    /// `MaxAttempts`
    pub attempts_max: Option<u64>,
    /// `BackoffRate`, at least 1.
    pub backoff_rate: Option<f64>,
    /// `MaxDelaySeconds`
    pub delay_seconds_max: Option<u64>,
    /// `JitterStrategy`: whether it is `FULL`.
    pub full_jitter: bool,
    /// The retrier's place.
    pub span: Span,
}

/// One of `Catch` (specification, "Fallback states").
#[derive(Clone, Debug, PartialEq)]
pub struct Catcher {
    /// `ErrorEquals`
    pub error_equals: Vec<Sourced<String>>,
    /// `Next`
    pub next: Sourced<String>,
    /// `ResultPath` (JSONPath)
    pub result_path: PathField,
    /// `Output` (JSONata)
    pub output: Option<Node>,
    /// `Assign`
    pub assign: Option<Node>,
    /// The catcher's place.
    pub span: Span,
}

/// The text between `{%` and `%}`, trimmed, if `text` is a JSONata expression: it must begin and end with the marks
/// exactly (recorded on AWS: with a blank around them it stays a plain string).
pub fn jsonata_expression(text: &str) -> Option<&str> {
    text.strip_prefix("{%")?.strip_suffix("%}").map(str::trim)
}

/// A payload template's key without its suffix, if its value is to be evaluated: `name.$` gives `name`.
pub fn template_key(key: &str) -> Option<&str> {
    key.strip_suffix(".$")
}
