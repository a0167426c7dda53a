//! The 37 actions and the shapes of their requests, as in AWS's service model for `2016-11-23`; a test compares the
//! two.

use super::shape::{
    Member, Pattern, Shape, any_text, fraction, list, number, one_of, optional, required, text,
};

/// The largest value of the model's `integer`.
const INT_MAX: i64 = i32::MAX as i64;
const UNBOUNDED: usize = usize::MAX;

macro_rules! actions {
    ($($name:ident: $request:ident,)*) => {
        /// An action of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Action { $($name,)* }

        impl Action {
            /// The action of this name.
            pub(super) fn of(name: &str) -> Option<Action> {
                match name {
                    $(stringify!($name) => Some(Action::$name),)*
                    _ => None,
                }
            }

            /// The members of its request.
            pub(super) const fn request(self) -> &'static [Member] {
                match self { $(Action::$name => $request,)* }
            }
        }
    };
}

actions! {
    CreateActivity: CREATE_ACTIVITY,
    CreateStateMachine: CREATE_STATE_MACHINE,
    CreateStateMachineAlias: CREATE_STATE_MACHINE_ALIAS,
    DeleteActivity: DELETE_ACTIVITY,
    DeleteStateMachine: DELETE_STATE_MACHINE,
    DeleteStateMachineAlias: DELETE_STATE_MACHINE_ALIAS,
    DeleteStateMachineVersion: DELETE_STATE_MACHINE_VERSION,
    DescribeActivity: DESCRIBE_ACTIVITY,
    DescribeExecution: DESCRIBE_EXECUTION,
    DescribeMapRun: DESCRIBE_MAP_RUN,
    DescribeStateMachine: DESCRIBE_STATE_MACHINE,
    DescribeStateMachineAlias: DESCRIBE_STATE_MACHINE_ALIAS,
    DescribeStateMachineForExecution: DESCRIBE_STATE_MACHINE_FOR_EXECUTION,
    GetActivityTask: GET_ACTIVITY_TASK,
    GetExecutionHistory: GET_EXECUTION_HISTORY,
    ListActivities: LIST_ACTIVITIES,
    ListExecutions: LIST_EXECUTIONS,
    ListMapRuns: LIST_MAP_RUNS,
    ListStateMachineAliases: LIST_STATE_MACHINE_ALIASES,
    ListStateMachineVersions: LIST_STATE_MACHINE_VERSIONS,
    ListStateMachines: LIST_STATE_MACHINES,
    ListTagsForResource: LIST_TAGS_FOR_RESOURCE,
    PublishStateMachineVersion: PUBLISH_STATE_MACHINE_VERSION,
    RedriveExecution: REDRIVE_EXECUTION,
    SendTaskFailure: SEND_TASK_FAILURE,
    SendTaskHeartbeat: SEND_TASK_HEARTBEAT,
    SendTaskSuccess: SEND_TASK_SUCCESS,
    StartExecution: START_EXECUTION,
    StartSyncExecution: START_SYNC_EXECUTION,
    StopExecution: STOP_EXECUTION,
    TagResource: TAG_RESOURCE,
    TestState: TEST_STATE,
    UntagResource: UNTAG_RESOURCE,
    UpdateMapRun: UPDATE_MAP_RUN,
    UpdateStateMachine: UPDATE_STATE_MACHINE,
    UpdateStateMachineAlias: UPDATE_STATE_MACHINE_ALIAS,
    ValidateStateMachineDefinition: VALIDATE_STATE_MACHINE_DEFINITION,
}

const TAG: &[Member] = &[optional("key", text(1, 128)), optional("value", text(0, 256))];

const ENCRYPTION_CONFIGURATION: &[Member] = &[
    optional("kmsKeyId", text(1, 2_048)),
    optional("kmsDataKeyReusePeriodSeconds", number(60, 900)),
    required("type", one_of(&["AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY"])),
];

const CREATE_ACTIVITY: &[Member] = &[
    required("name", text(1, 80)),
    optional("tags", list(&Shape::Object("Tag", TAG), 0, UNBOUNDED)),
    optional("encryptionConfiguration", Shape::Object("EncryptionConfiguration", ENCRYPTION_CONFIGURATION)),
];

const CLOUD_WATCH_LOGS_LOG_GROUP: &[Member] = &[optional("logGroupArn", text(1, 256))];

const LOG_DESTINATION: &[Member] = &[optional(
    "cloudWatchLogsLogGroup",
    Shape::Object("CloudWatchLogsLogGroup", CLOUD_WATCH_LOGS_LOG_GROUP),
)];

const LOGGING_CONFIGURATION: &[Member] = &[
    optional("level", one_of(&["ALL", "ERROR", "FATAL", "OFF"])),
    optional("includeExecutionData", Shape::Flag),
    optional("destinations", list(&Shape::Object("LogDestination", LOG_DESTINATION), 0, UNBOUNDED)),
];

const TRACING_CONFIGURATION: &[Member] = &[optional("enabled", Shape::Flag)];

const CREATE_STATE_MACHINE: &[Member] = &[
    required("name", text(1, 80)),
    required("definition", text(1, 1_048_576).secret()),
    required("roleArn", text(1, 256)),
    optional("type", one_of(&["STANDARD", "EXPRESS"])),
    optional("loggingConfiguration", Shape::Object("LoggingConfiguration", LOGGING_CONFIGURATION)),
    optional("tags", list(&Shape::Object("Tag", TAG), 0, UNBOUNDED)),
    optional("tracingConfiguration", Shape::Object("TracingConfiguration", TRACING_CONFIGURATION)),
    optional("publish", Shape::Flag),
    optional("versionDescription", text(0, 256).secret()),
    optional("encryptionConfiguration", Shape::Object("EncryptionConfiguration", ENCRYPTION_CONFIGURATION)),
];

const ROUTING_CONFIGURATION_LIST_ITEM: &[Member] =
    &[required("stateMachineVersionArn", text(1, 256)), required("weight", number(0, 100))];

const CREATE_STATE_MACHINE_ALIAS: &[Member] = &[
    optional("description", text(0, 256).secret()),
    required("name", text(1, 80).matching(Pattern::AliasName)),
    required(
        "routingConfiguration",
        list(&Shape::Object("RoutingConfigurationListItem", ROUTING_CONFIGURATION_LIST_ITEM), 1, 2),
    ),
];

const DELETE_ACTIVITY: &[Member] = &[required("activityArn", text(1, 256))];

const DELETE_STATE_MACHINE: &[Member] = &[required("stateMachineArn", text(1, 256))];

const DELETE_STATE_MACHINE_ALIAS: &[Member] = &[required("stateMachineAliasArn", text(1, 256))];

const DELETE_STATE_MACHINE_VERSION: &[Member] = &[required("stateMachineVersionArn", text(1, 2_000))];

const DESCRIBE_ACTIVITY: &[Member] = &[required("activityArn", text(1, 256))];

const DESCRIBE_EXECUTION: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("includedData", one_of(&["ALL_DATA", "METADATA_ONLY"])),
];

const DESCRIBE_MAP_RUN: &[Member] = &[required("mapRunArn", text(1, 2_000))];

const DESCRIBE_STATE_MACHINE: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("includedData", one_of(&["ALL_DATA", "METADATA_ONLY"])),
];

const DESCRIBE_STATE_MACHINE_ALIAS: &[Member] = &[required("stateMachineAliasArn", text(1, 256))];

const DESCRIBE_STATE_MACHINE_FOR_EXECUTION: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("includedData", one_of(&["ALL_DATA", "METADATA_ONLY"])),
];

const GET_ACTIVITY_TASK: &[Member] =
    &[required("activityArn", text(1, 256)), optional("workerName", text(1, 80))];

const GET_EXECUTION_HISTORY: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("maxResults", number(0, 1_000)),
    optional("reverseOrder", Shape::Flag),
    optional("nextToken", text(1, 1_024)),
    optional("includeExecutionData", Shape::Flag),
];

const LIST_ACTIVITIES: &[Member] =
    &[optional("maxResults", number(0, 1_000)), optional("nextToken", text(1, 1_024))];

const LIST_EXECUTIONS: &[Member] = &[
    optional("stateMachineArn", text(1, 256)),
    optional(
        "statusFilter",
        one_of(&["SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING"]),
    ),
    optional("maxResults", number(0, 1_000)),
    optional("nextToken", text(1, 3_096)),
    optional("mapRunArn", text(1, 2_000)),
    optional("redriveFilter", one_of(&["REDRIVEN", "NOT_REDRIVEN"])),
];

const LIST_MAP_RUNS: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("maxResults", number(0, 1_000)),
    optional("nextToken", text(1, 1_024)),
];

const LIST_STATE_MACHINE_ALIASES: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("nextToken", text(1, 1_024)),
    optional("maxResults", number(0, 1_000)),
];

const LIST_STATE_MACHINE_VERSIONS: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("nextToken", text(1, 1_024)),
    optional("maxResults", number(0, 1_000)),
];

const LIST_STATE_MACHINES: &[Member] =
    &[optional("maxResults", number(0, 1_000)), optional("nextToken", text(1, 1_024))];

const LIST_TAGS_FOR_RESOURCE: &[Member] = &[required("resourceArn", text(1, 256))];

const PUBLISH_STATE_MACHINE_VERSION: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("revisionId", any_text()),
    optional("description", text(0, 256).secret()),
];

const REDRIVE_EXECUTION: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("clientToken", text(1, 64).matching(Pattern::Visible)),
];

const SEND_TASK_FAILURE: &[Member] = &[
    required("taskToken", text(1, 2_048).secret()),
    optional("error", text(0, 256).secret()),
    optional("cause", text(0, 32_768).secret()),
];

const SEND_TASK_HEARTBEAT: &[Member] = &[required("taskToken", text(1, 2_048).secret())];

const SEND_TASK_SUCCESS: &[Member] =
    &[required("taskToken", text(1, 2_048).secret()), required("output", text(0, 262_144).secret())];

const START_EXECUTION: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("name", text(1, 80)),
    optional("input", text(0, 262_144).secret()),
    optional("traceHeader", text(0, 256).matching(Pattern::Ascii)),
];

const START_SYNC_EXECUTION: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("name", text(1, 80)),
    optional("input", text(0, 262_144).secret()),
    optional("traceHeader", text(0, 256).matching(Pattern::Ascii)),
    optional("includedData", one_of(&["ALL_DATA", "METADATA_ONLY"])),
];

const STOP_EXECUTION: &[Member] = &[
    required("executionArn", text(1, 256)),
    optional("error", text(0, 256).secret()),
    optional("cause", text(0, 32_768).secret()),
];

const TAG_RESOURCE: &[Member] = &[
    required("resourceArn", text(1, 256)),
    required("tags", list(&Shape::Object("Tag", TAG), 0, UNBOUNDED)),
];

const MOCK_ERROR_OUTPUT: &[Member] =
    &[optional("error", text(0, 256).secret()), optional("cause", text(0, 32_768).secret())];

const MOCK: &[Member] = &[
    optional("result", text(0, 262_144).secret()),
    optional("errorOutput", Shape::Object("MockErrorOutput", MOCK_ERROR_OUTPUT)),
    optional("fieldValidationMode", one_of(&["STRICT", "PRESENT", "NONE"])),
];

const TEST_STATE_CONFIGURATION: &[Member] = &[
    optional("retrierRetryCount", number(0, INT_MAX)),
    optional("errorCausedByState", text(1, 80).secret()),
    optional("mapIterationFailureCount", number(0, INT_MAX)),
    optional("mapItemReaderData", text(0, 262_144).secret()),
];

const TEST_STATE: &[Member] = &[
    required("definition", text(1, 1_048_576).secret()),
    optional("roleArn", text(1, 256)),
    optional("input", text(0, 262_144).secret()),
    optional("inspectionLevel", one_of(&["INFO", "DEBUG", "TRACE"])),
    optional("revealSecrets", Shape::Flag),
    optional("variables", text(0, 262_144).secret()),
    optional("stateName", text(1, 80).secret()),
    optional("mock", Shape::Object("MockInput", MOCK)),
    optional("context", text(0, 262_144).secret()),
    optional("stateConfiguration", Shape::Object("TestStateConfiguration", TEST_STATE_CONFIGURATION)),
];

const UNTAG_RESOURCE: &[Member] =
    &[required("resourceArn", text(1, 256)), required("tagKeys", list(&text(1, 128), 0, UNBOUNDED))];

const UPDATE_MAP_RUN: &[Member] = &[
    required("mapRunArn", text(1, 2_000)),
    optional("maxConcurrency", number(0, INT_MAX)),
    optional("toleratedFailurePercentage", fraction(0, 100)),
    optional("toleratedFailureCount", number(0, i64::MAX)),
];

const UPDATE_STATE_MACHINE: &[Member] = &[
    required("stateMachineArn", text(1, 256)),
    optional("definition", text(1, 1_048_576).secret()),
    optional("roleArn", text(1, 256)),
    optional("loggingConfiguration", Shape::Object("LoggingConfiguration", LOGGING_CONFIGURATION)),
    optional("tracingConfiguration", Shape::Object("TracingConfiguration", TRACING_CONFIGURATION)),
    optional("publish", Shape::Flag),
    optional("versionDescription", text(0, 256).secret()),
    optional("encryptionConfiguration", Shape::Object("EncryptionConfiguration", ENCRYPTION_CONFIGURATION)),
];

const UPDATE_STATE_MACHINE_ALIAS: &[Member] = &[
    required("stateMachineAliasArn", text(1, 256)),
    optional("description", text(0, 256).secret()),
    optional(
        "routingConfiguration",
        list(&Shape::Object("RoutingConfigurationListItem", ROUTING_CONFIGURATION_LIST_ITEM), 1, 2),
    ),
];

const VALIDATE_STATE_MACHINE_DEFINITION: &[Member] = &[
    required("definition", text(1, 1_048_576).secret()),
    optional("type", one_of(&["STANDARD", "EXPRESS"])),
    optional("severity", one_of(&["ERROR", "WARNING"])),
    optional("maxResults", number(0, 100)),
];
