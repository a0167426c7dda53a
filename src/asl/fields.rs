//! Which field is allowed where: one table for all objects of a definition, in both query languages.
//!
//! The reader uses only this table; a field that AWS adds is a row here.

use std::sync::LazyLock;

use super::model::QueryLanguage;

/// The objects of a definition, each with fields of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Task,
    Parallel,
    Map,
    Pass,
    Wait,
    Choice,
    Succeed,
    Fail,
    /// The machine itself.
    Machine,
    /// An element of `Branches`.
    Branch,
    /// `ItemProcessor` or `Iterator`.
    Processor,
    ProcessorConfig,
    ItemReader,
    ReaderConfig,
    ItemBatcher,
    ResultWriter,
    WriterConfig,
    Retrier,
    Catcher,
    /// An element of `Choices`.
    Rule,
    /// A rule inside `And`, `Or` or `Not`.
    NestedRule,
    Credentials,
}

/// How many kinds of objects there are.
const OWNERS: usize = Owner::Credentials as usize + 1;

impl Owner {
    /// The values of `Type`, in the order in which AWS lists them.
    pub(super) const STATES: [(&'static str, Owner); 8] = [
        ("Task", Owner::Task),
        ("Wait", Owner::Wait),
        ("Pass", Owner::Pass),
        ("Succeed", Owner::Succeed),
        ("Fail", Owner::Fail),
        ("Choice", Owner::Choice),
        ("Parallel", Owner::Parallel),
        ("Map", Owner::Map),
    ];

    /// The kind of state with this `Type`.
    pub(super) fn state(kind: &str) -> Option<Owner> {
        Owner::STATES.iter().find(|(name, _)| *name == kind).map(|&(_, owner)| owner)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether it is a rule of a Choice state, whose fields are also the comparison operators.
    pub(super) const fn is_rule(self) -> bool {
        matches!(self, Owner::Rule | Owner::NestedRule)
    }
}

/// The type of a field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expect {
    /// Any JSON, unchecked.
    Data,
    /// A string, never evaluated.
    Text,
    /// A string; in JSONata possibly an expression. With the twin field that would hold a path.
    DynamicText(&'static str),
    /// `true` or `false`.
    Bool,
    /// `true` or `false`, or a JSONata expression.
    Condition,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An integer in this range; never evaluated.
    Integer(u64, u64),
    /// An integer in this range; in JSONata possibly an expression.
    DynamicInteger(u64, u64),
    /// A number; in JSONata possibly an expression.
    DynamicNumber,
    /// A number from 0 to 100; in JSONata possibly an expression.
    Percentage,
    /// A number not below this; never evaluated.
    NumberFrom(f64),
    /// An RFC 3339 timestamp; in JSONata possibly an expression.
    Timestamp,
    /// A path, or `null`.
    PathOrNull,
    /// A reference path into the state's own data, or `null`.
    ResultPath,
    /// A path to one node.
    ReferencePath,
    /// A path.
    Path,
    /// A path, or an intrinsic call that gives a string.
    PathOrIntrinsic,
    /// A payload template (JSONPath) or data with expressions in it (JSONata).
    Template,
    /// The same, and an object whose keys are variable names.
    Assign,
    /// An array, an object, or (JSONata) one expression.
    Items,
    /// A non-empty array of error names.
    ErrorNames,
    /// An array of strings.
    Texts,
    /// The resource of a Task.
    Resource,
    /// A JSON pointer.
    JsonPointer,
    /// One of these resources, in any partition.
    ResourceAction(&'static [&'static str], &'static str),
    /// A name of at most 40 characters.
    Label,
    /// Objects by state name.
    States,
    /// An object.
    Object(Owner),
    /// An array of objects.
    Objects(Owner),
    /// A non-empty array of objects.
    SomeObjects(Owner),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    on: u32,
    required: u32,
    /// The only language in which the field exists.
    pub(super) only: Option<QueryLanguage>,
    pub(super) expect: Expect,
}

impl Field {
    /// Whether the object must have it.
    pub(super) fn is_required(&self, owner: Owner, language: QueryLanguage) -> bool {
        self.required & owner.bit() != 0 && self.only.is_none_or(|only| only == language)
    }
}

/// The field `name` of `owner`.
pub(super) fn field(owner: Owner, name: &str) -> Option<&'static Field> {
    fields(owner).find(|field| field.name == name)
}

/// The fields an object of this kind may have.
pub(super) fn fields(owner: Owner) -> impl Iterator<Item = &'static Field> {
    /// The rows of each kind, so that not all rows are read for each object.
    static OF_OWNER: LazyLock<[Vec<&'static Field>; OWNERS]> = LazyLock::new(|| {
        std::array::from_fn(|owner| FIELDS.iter().filter(|field| field.on & (1 << owner) != 0).collect())
    });
    OF_OWNER[owner as usize].iter().copied()
}

const fn bits<const N: usize>(owners: [Owner; N]) -> u32 {
    let mut bits = 0;
    let mut i = 0;
    while i < N {
        bits |= owners[i].bit();
        i += 1;
    }
    bits
}

use Expect::{
    Assign, Bool, Condition, Data, DynamicInteger, DynamicText, ErrorNames, Integer, Items, JsonPointer,
    Label, NumberFrom, Object, Objects, OneOf, Path, PathOrIntrinsic, PathOrNull, Percentage, ReferencePath,
    Resource, ResourceAction, ResultPath, SomeObjects, States, Template, Text, Texts, Timestamp,
};

/// AWS's largest number of seconds anywhere (developer guide, "Task state").
const SECONDS_MAX: u64 = 99_999_999;
const ANY: u64 = i64::MAX as u64;

const TASK: u32 = bits([Owner::Task]);
const MAP: u32 = bits([Owner::Map]);
const CHOICE: u32 = bits([Owner::Choice]);
const FAIL: u32 = bits([Owner::Fail]);
const PASS: u32 = bits([Owner::Pass]);
const WAIT: u32 = bits([Owner::Wait]);
const PARALLEL: u32 = bits([Owner::Parallel]);
const RETRIER: u32 = bits([Owner::Retrier]);
const CATCHER: u32 = bits([Owner::Catcher]);
const RULE: u32 = bits([Owner::Rule]);
const RULES: u32 = RULE | bits([Owner::NestedRule]);
const READER: u32 = bits([Owner::ItemReader]);
const WRITER: u32 = bits([Owner::ResultWriter]);
const READER_CONFIG: u32 = bits([Owner::ReaderConfig]);
const BATCHER: u32 = bits([Owner::ItemBatcher]);
const PROCESSOR_CONFIG: u32 = bits([Owner::ProcessorConfig]);
const WRITER_CONFIG: u32 = bits([Owner::WriterConfig]);
const PROCESSOR: u32 = bits([Owner::Processor]);
const MACHINE: u32 = bits([Owner::Machine]);
const WORKFLOWS: u32 = MACHINE | PROCESSOR | bits([Owner::Branch]);
const WORKERS: u32 = TASK | PARALLEL | MAP;
const STEPS: u32 = WORKERS | PASS | WAIT;
const ALL_STATES: u32 = STEPS | CHOICE | FAIL | bits([Owner::Succeed]);
const WITH_DATA: u32 = ALL_STATES & !FAIL;

const fn both(name: &'static str, on: u32, expect: Expect) -> Field {
    Field { name, on, required: 0, only: None, expect }
}

const fn need(name: &'static str, on: u32, expect: Expect) -> Field {
    Field { name, on, required: on, only: None, expect }
}

/// JSONPath only.
const fn path(name: &'static str, on: u32, expect: Expect) -> Field {
    Field { name, on, required: 0, only: Some(QueryLanguage::JsonPath), expect }
}

/// JSONata only.
const fn jsonata(name: &'static str, on: u32, expect: Expect) -> Field {
    Field { name, on, required: 0, only: Some(QueryLanguage::Jsonata), expect }
}

/// Required fields are in the order in which AWS reports missing ones.
const FIELDS: &[Field] = &[
    // The machine and what is nested in it (specification, "Top-level fields").
    need("States", WORKFLOWS, States),
    need("StartAt", WORKFLOWS, Text),
    both("Comment", WORKFLOWS, Text),
    both("Version", MACHINE, OneOf(&["1.0"])),
    both("TimeoutSeconds", MACHINE, Integer(0, SECONDS_MAX)),
    both("QueryLanguage", MACHINE | ALL_STATES, OneOf(&["JSONPath", "JSONata"])),
    both("ProcessorConfig", PROCESSOR, Object(Owner::ProcessorConfig)),
    both("Mode", PROCESSOR_CONFIG, OneOf(&["INLINE", "DISTRIBUTED"])),
    both("ExecutionType", PROCESSOR_CONFIG, OneOf(&["STANDARD", "EXPRESS"])),
    // Fields of many kinds of states (specification, "States").
    need("Type", ALL_STATES, Text),
    both("Comment", ALL_STATES, Text),
    both("Next", STEPS, Text),
    both("End", STEPS, Bool),
    path("InputPath", WITH_DATA, PathOrNull),
    path("OutputPath", WITH_DATA, PathOrNull),
    path("Parameters", STEPS & !WAIT, Template),
    path("ResultSelector", WORKERS, Template),
    path("ResultPath", STEPS & !WAIT, ResultPath),
    jsonata("Arguments", TASK | PARALLEL, Template),
    jsonata("Output", WITH_DATA, Template),
    both("Assign", WITH_DATA & !bits([Owner::Succeed]), Assign),
    both("Retry", WORKERS, Objects(Owner::Retrier)),
    both("Catch", WORKERS, Objects(Owner::Catcher)),
    // Task
    need("Resource", TASK, Resource),
    both("TimeoutSeconds", TASK, DynamicInteger(1, SECONDS_MAX)),
    path("TimeoutSecondsPath", TASK, ReferencePath),
    both("HeartbeatSeconds", TASK, DynamicInteger(1, SECONDS_MAX)),
    path("HeartbeatSecondsPath", TASK, ReferencePath),
    both("Credentials", TASK, Object(Owner::Credentials)),
    both("RoleArn", bits([Owner::Credentials]), DynamicText("RoleArn.$")),
    path("RoleArn.$", bits([Owner::Credentials]), PathOrIntrinsic),
    // Pass
    path("Result", PASS, Data),
    // Choice
    need("Choices", CHOICE, SomeObjects(Owner::Rule)),
    both("Default", CHOICE, Text),
    need("Next", RULE, Text),
    both("Comment", RULES, Text),
    both("Assign", RULE, Assign),
    jsonata("Output", RULE, Template),
    jsonata("Condition", RULE, Condition),
    path("Variable", RULES, Path),
    path("And", RULES, SomeObjects(Owner::NestedRule)),
    path("Or", RULES, SomeObjects(Owner::NestedRule)),
    path("Not", RULES, Object(Owner::NestedRule)),
    // Wait
    both("Seconds", WAIT, DynamicInteger(0, SECONDS_MAX)),
    path("SecondsPath", WAIT, ReferencePath),
    both("Timestamp", WAIT, Timestamp),
    path("TimestampPath", WAIT, ReferencePath),
    // Fail
    both("Error", FAIL, DynamicText("ErrorPath")),
    path("ErrorPath", FAIL, PathOrIntrinsic),
    both("Cause", FAIL, DynamicText("CausePath")),
    path("CausePath", FAIL, PathOrIntrinsic),
    // Parallel
    need("Branches", PARALLEL, SomeObjects(Owner::Branch)),
    // Map
    both("ItemProcessor", MAP, Object(Owner::Processor)),
    both("Iterator", MAP, Object(Owner::Processor)),
    path("ItemsPath", MAP, ReferencePath),
    jsonata("Items", MAP, Items),
    both("ItemSelector", MAP, Template),
    both("MaxConcurrency", MAP, DynamicInteger(0, ANY)),
    path("MaxConcurrencyPath", MAP, ReferencePath),
    both("ToleratedFailureCount", MAP, DynamicInteger(0, ANY)),
    path("ToleratedFailureCountPath", MAP, ReferencePath),
    both("ToleratedFailurePercentage", MAP, Percentage),
    path("ToleratedFailurePercentagePath", MAP, ReferencePath),
    both("Label", MAP, Label),
    both("ItemReader", MAP, Object(Owner::ItemReader)),
    both("ItemBatcher", MAP, Object(Owner::ItemBatcher)),
    both("ResultWriter", MAP, Object(Owner::ResultWriter)),
    need("Resource", READER, ResourceAction(&["s3:getObject", "s3:listObjectsV2"], "file:read")),
    path("Parameters", READER | WRITER, Template),
    jsonata("Arguments", READER | WRITER, Template),
    both("ReaderConfig", READER, Object(Owner::ReaderConfig)),
    both("InputType", READER_CONFIG, OneOf(&["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"])),
    both("ManifestType", READER_CONFIG, OneOf(&["ATHENA_DATA", "S3_INVENTORY"])),
    both("Transformation", READER_CONFIG, OneOf(&["NONE", "LOAD_AND_FLATTEN"])),
    both("CSVHeaderLocation", READER_CONFIG, OneOf(&["FIRST_ROW", "GIVEN"])),
    both("CSVHeaders", READER_CONFIG, Texts),
    both("CSVDelimiter", READER_CONFIG, OneOf(&["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"])),
    both("MaxItems", READER_CONFIG, DynamicInteger(0, 100_000_000)),
    path("MaxItemsPath", READER_CONFIG, ReferencePath),
    both("ItemsPointer", READER_CONFIG, JsonPointer),
    both("BatchInput", BATCHER, Template),
    both("MaxItemsPerBatch", BATCHER, DynamicInteger(1, ANY)),
    path("MaxItemsPerBatchPath", BATCHER, ReferencePath),
    both("MaxInputBytesPerBatch", BATCHER, DynamicInteger(1, 262_144)),
    path("MaxInputBytesPerBatchPath", BATCHER, ReferencePath),
    both("Resource", WRITER, ResourceAction(&["s3:putObject"], "file:write")),
    both("WriterConfig", WRITER, Object(Owner::WriterConfig)),
    both("OutputType", WRITER_CONFIG, OneOf(&["JSON", "JSONL"])),
    both("Transformation", WRITER_CONFIG, OneOf(&["NONE", "COMPACT", "FLATTEN"])),
    // Retry and Catch (specification, "Errors")
    need("ErrorEquals", RETRIER | CATCHER, ErrorNames),
    both("Comment", RETRIER | CATCHER, Text),
    both("IntervalSeconds", RETRIER, Integer(0, SECONDS_MAX)),
    both("MaxAttempts", RETRIER, Integer(0, SECONDS_MAX)),
    both("BackoffRate", RETRIER, NumberFrom(1.0)),
    both("MaxDelaySeconds", RETRIER, Integer(1, 31_622_400)),
    both("JitterStrategy", RETRIER, OneOf(&["NONE", "FULL"])),
    need("Next", CATCHER, Text),
    path("ResultPath", CATCHER, ResultPath),
    jsonata("Output", CATCHER, Template),
    both("Assign", CATCHER, Assign),
];

/// Fields of which an object may have only one, in the order in which AWS lists them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choose {
    on: u32,
    /// The least number.
    pub(super) at_least: usize,
    /// The greatest number.
    pub(super) at_most: usize,
    pub(super) names: &'static [&'static str],
}

/// The choices in an object of this kind.
pub(super) fn choices(owner: Owner) -> impl Iterator<Item = &'static Choose> {
    CHOICES.iter().filter(move |choose| choose.on & owner.bit() != 0)
}

const fn one(on: u32, names: &'static [&'static str]) -> Choose {
    Choose { on, at_least: 1, at_most: 1, names }
}

const fn at_most_one(on: u32, names: &'static [&'static str]) -> Choose {
    Choose { on, at_least: 0, at_most: 1, names }
}

const CHOICES: &[Choose] = &[
    one(STEPS, &["Next", "End"]),
    one(WAIT, &["SecondsPath", "Seconds", "TimestampPath", "Timestamp"]),
    one(MAP, &["ItemProcessor", "Iterator"]),
    at_most_one(MAP, &["ItemSelector", "Parameters"]),
    at_most_one(TASK, &["TimeoutSeconds", "TimeoutSecondsPath"]),
    at_most_one(TASK, &["HeartbeatSeconds", "HeartbeatSecondsPath"]),
    at_most_one(FAIL, &["Error", "ErrorPath"]),
    at_most_one(FAIL, &["Cause", "CausePath"]),
    at_most_one(MAP, &["MaxConcurrency", "MaxConcurrencyPath"]),
    at_most_one(MAP, &["ToleratedFailureCount", "ToleratedFailureCountPath"]),
    at_most_one(MAP, &["ToleratedFailurePercentage", "ToleratedFailurePercentagePath"]),
    at_most_one(READER_CONFIG, &["MaxItems", "MaxItemsPath"]),
    at_most_one(BATCHER, &["MaxItemsPerBatch", "MaxItemsPerBatchPath"]),
    at_most_one(BATCHER, &["MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"]),
    at_most_one(bits([Owner::Credentials]), &["RoleArn", "RoleArn.$"]),
    Choose {
        on: BATCHER,
        at_least: 1,
        at_most: 2,
        names: &[
            "MaxItemsPerBatch",
            "MaxItemsPerBatchPath",
            "MaxInputBytesPerBatch",
            "MaxInputBytesPerBatchPath",
        ],
    },
];
