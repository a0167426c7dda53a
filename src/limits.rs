//! Every limit of the engine, each with its unit in its name. Reaching one is a tested path that refuses.

/// Payload: input, output and result of every state and of the execution, as UTF-8 JSON (AWS quota, hard).
pub const PAYLOAD_BYTES_MAX: u32 = 262_144;
/// Bytes of a payload in a log line; longer ones are truncated (documentation: 248 KiB).
pub const LOG_PAYLOAD_BYTES_MAX: usize = 253_952;
/// Definition text (API model: 1 to 1,048,576).
pub const DEFINITION_BYTES_MAX: usize = 1_048_576;
/// Bytes one arena may hold. Offsets are 32 bits wide; this stays well below.
pub const ARENA_BYTES_MAX: usize = 1 << 30;
/// Bytes as JSON of a container that is built from others. (One that is parsed may be as large as its arena.)
pub const VALUE_BYTES_MAX: usize = 256 << 20;
/// Nesting of arrays and objects in any JSON text or value (the depth AWS's own parser accepts).
pub const JSON_DEPTH_MAX: u16 = 1_000;
/// Nesting of workflows: Map processors and Parallel branches (AWS has a limit, `TOO_DEEPLY_NESTED`; its value is not
/// published).
pub const WORKFLOW_DEPTH_MAX: usize = 100;
/// Errors, and warnings, that are reported for one definition.
pub const DIAGNOSTICS_MAX: usize = 1_000;
/// Problems of one definition that are reported with a suggestion.
pub const SUGGESTIONS_MAX: usize = 100;
/// State names (documentation: 80 Unicode characters).
pub const STATE_NAME_CHARS_MAX: usize = 80;
/// Variable names.
pub const VARIABLE_NAME_CHARS_MAX: usize = 80;
/// Intrinsic functions nested in one field.
pub const INTRINSIC_DEPTH_MAX: usize = 10;
/// Elements `States.ArrayRange` may return.
pub const ARRAY_RANGE_ITEMS_MAX: usize = 1_000;
/// Characters `States.Base64Encode`, `States.Base64Decode` and `States.Hash` accept.
pub const INTRINSIC_TEXT_CHARS_MAX: usize = 10_000;
/// Execution time of an Express workflow.
pub const EXPRESS_SECONDS_MAX: u64 = 300;
/// Execution time of a Standard workflow (AWS quota: one year).
pub const STANDARD_SECONDS_MAX: u64 = 365 * 24 * 60 * 60;
/// Iterations of an inline Map that run at the same time.
pub const MAP_CONCURRENCY_MAX: u32 = 40;
/// Child executions of a Map Run that run at the same time (AWS quota).
pub const MAP_RUN_CONCURRENCY_MAX: u64 = 10_000;
/// Bytes of a file of a Map Run's results, from which on the next one is begun (AWS's files have 5 GB at most).
pub const MAP_RUN_RESULT_FILE_BYTES: u64 = 5_000_000_000 - (4 << 20);
/// How often a Map Run is redriven (AWS quota).
pub const MAP_RUN_REDRIVES_MAX: u32 = 1_000;
/// Items that an `ItemReader` reads at most (`MaxItems`).
pub const MAP_RUN_ITEMS_MAX: i64 = 100_000_000;
/// Bytes of one variable, and of all variables one `Assign` sets.
pub const ASSIGN_BYTES_MAX: u32 = 262_144;
/// Bytes of all variables of one execution.
pub const VARIABLES_BYTES_MAX: u64 = 10 * 1_048_576;
/// JSONata evaluation depth (AWS: about 100).
pub const JSONATA_DEPTH_MAX: usize = 100;
/// Elements of a sequence JSONata may build (AWS: `[1..873782]` passes, one more fails).
pub const JSONATA_SEQUENCE_ITEMS_MAX: usize = 873_782;
/// Characters of a string JSONata may build (AWS: 2^22 passes, 2^23 fails).
pub const JSONATA_STRING_CHARS_MAX: usize = 4_194_304;
/// Bytes of the values of one execution: its input and output, all variables, and intermediate values.
pub const EXECUTION_BYTES_MAX: usize = 256 * 1_048_576;
/// Bytes of JSON text up to which a parked execution is packed; a larger one keeps its arena, because unpacking it for
/// every event would cost more than the memory saves.
pub const PACK_BYTES_MAX: u32 = 4_096;
/// Frames, and joins, up to which a parked execution is packed.
pub const PACK_FRAMES_MAX: usize = 8;
/// An arena smaller than this is not compacted.
pub const COMPACT_BYTES_MIN: usize = 128 * 1_024;
/// Bytes of an arena from which on growth is done between two states, piece by piece.
pub const GROWTH_BYTES_MIN: usize = 1 << 20;
/// The greatest result of JSONata for `TimeoutSeconds` and other counts (recorded).
pub const EXPRESSION_SECONDS_MAX: i64 = 99_999_999;
/// Milliseconds a Wait may last: 2^31 - 1 seconds (recorded: 24,855 days pass, 24,856 do not).
pub const WAIT_SECONDS_MAX: u64 = 2_147_483_647;
/// Iterations and branches of one execution that exist at the same time.
pub const FRAMES_MAX: usize = 100_000;
/// State machines with separate metrics, the busiest ones; the metrics of the others are summed up.
pub const METRICS_MACHINES_MAX: usize = 200;
/// States with separate metrics.
pub const METRICS_STATES_MAX: usize = 400;
/// Resources of tasks with separate metrics, of each kind.
pub const METRICS_RESOURCES_MAX: usize = 200;
/// Stale entries in an execution's queue of frames before it is cleaned up.
pub const QUEUE_VOID_MIN: usize = 64;

const _: () = assert!(EXECUTION_BYTES_MAX <= ARENA_BYTES_MAX);
const _: () = assert!(COMPACT_BYTES_MIN < EXECUTION_BYTES_MAX / 4);
const _: () = assert!((PAYLOAD_BYTES_MAX as usize) < EXECUTION_BYTES_MAX);
/// Steps of one JSONPath.
pub const PATH_STEPS_MAX: usize = 500;
/// Steps one evaluation of a JSONPath may take, with large lookups and comparisons counting for several (about 20 ms).
pub const PATH_WORK_MAX: u32 = 2_000_000;
/// Bytes as JSON of the result of one intrinsic function: four payloads, so that only what exceeds any state's limit is
/// refused early.
pub const INTRINSIC_RESULT_BYTES_MAX: u32 = 1_048_576;
/// Bytes as JSON of an argument whose elements are compared as text.
pub const INTRINSIC_ARGUMENT_BYTES_MAX: u32 = 4 * INTRINSIC_RESULT_BYTES_MAX;
/// Comparisons `States.ArrayUnique` makes between elements whose hashes collide.
pub const ARRAY_UNIQUE_COMPARISONS_MAX: usize = 1_000_000;
/// Bytes of a JSONata expression (a definition is at most this long).
pub const JSONATA_SOURCE_BYTES_MAX: usize = DEFINITION_BYTES_MAX;
/// Nesting of a JSONata expression's syntax.
pub const JSONATA_SYNTAX_DEPTH_MAX: u32 = 500;
/// Arguments of one JSONata call.
pub const JSONATA_ARGUMENTS_MAX: usize = 126;
/// JSONata evaluation depth outside of Step Functions.
pub const JSONATA_LANGUAGE_DEPTH_MAX: u32 = 600;
/// Native recursion of the JSONata evaluator, for any reason; fits a thread's stack of 2 MiB in an optimised build, and
/// of [`STACK_BYTES`] in any.
pub const JSONATA_NESTING_MAX: u32 = 800;
/// Bytes of the stack of a thread that runs executions. Unoptimised frames are several times as large.
pub const STACK_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 4 << 20 };
/// Elements of the JSONata range operator.
pub const JSONATA_RANGE_ITEMS_MAX: usize = 10_000_000;
/// Elements of a JSONata sequence outside of Step Functions.
pub const JSONATA_LANGUAGE_SEQUENCE_ITEMS_MAX: usize = JSONATA_RANGE_ITEMS_MAX;
/// Work of one JSONata evaluation, in units of fuel: corresponds to AWS's second.
pub const JSONATA_WORK_MAX: u64 = 1_000_000_000;
/// Time of one JSONata evaluation with a clock: twice AWS's second, because others may use the machine.
pub const JSONATA_NANOSECONDS_MAX: u64 = 2_000_000_000;
/// Bytes one JSONata evaluation may add to the arena.
pub const JSONATA_BYTES_MAX: usize = 64 << 20;
/// Bytes an evaluation makes before a garbage collection is worthwhile.
pub const JSONATA_GARBAGE_BYTES_MIN: usize = 1 << 20;
/// Bytes of the picture of a number or a date.
pub const JSONATA_PICTURE_BYTES_MAX: usize = 1 << 10;
/// Bytes of a text that is parsed as a number or a date.
pub const JSONATA_NUMBER_BYTES_MAX: usize = 16 << 10;
/// Bytes of a compiled regular expression.
pub const JSONATA_REGEX_BYTES_MAX: usize = 1 << 20;
/// Bytes of all compiled regular expressions of a state machine; equal ones count once.
pub const PROGRAM_REGEX_BYTES_MAX: usize = 16 << 20;
/// Bytes of a regular expression's cache while matching, in each direction.
pub const REGEX_CACHE_BYTES_MAX: usize = 512 << 10;
/// Bytes of the caches of all regular expressions that a thread keeps for the next search.
pub const REGEX_CACHES_BYTES_MAX: usize = 4 << 20;
/// Nesting of a regular expression.
pub const JSONATA_REGEX_DEPTH_MAX: u32 = 50;
/// Elements `$range` may return (AWS: 360,146 are refused by the memory bound).
pub const JSONATA_RANGE_FUNCTION_ITEMS_MAX: usize = 360_145;
/// Characters of the name of a state machine, execution or activity (API model: 1 to 80).
pub const NAME_CHARS_MAX: usize = 80;
/// State machines, and activities, of one service (AWS quota).
pub const STATE_MACHINES_MAX: usize = 100_000;
/// Versions of one state machine (AWS quota).
pub const VERSIONS_MAX: usize = 1_000;
/// Aliases of one state machine (AWS quota).
pub const ALIASES_MAX: usize = 100;
/// Tags of one state machine or activity (AWS quota).
pub const TAGS_MAX: usize = 50;
/// Standard executions that are open, of one service (AWS quota).
pub const OPEN_EXECUTIONS_MAX: usize = 1_000_000;
/// Events of a Standard execution's history (AWS quota).
pub const HISTORY_EVENTS_MAX: u64 = 25_000;
/// Bytes of a request's body (AWS quota: 1 MB).
pub const REQUEST_BYTES_MAX: usize = 1_048_576;
/// Seconds of computation of a test of a state.
pub const TEST_STATE_SECONDS_MAX: u64 = 10;
/// Bytes of the values of a test of a state.
pub const TEST_STATE_BYTES_MAX: usize = EXECUTION_BYTES_MAX / 2;
/// A test's values may take such a part of the memory of executions, which they share with the values of other tests,
/// but always [`TEST_STATE_BYTES_MIN`].
pub const TEST_STATE_PARTS: usize = 32;
/// See [`TEST_STATE_PARTS`].
pub const TEST_STATE_BYTES_MIN: usize = 8 << 20;
/// Bytes of the inputs of a Map's iterations that a test of it shows; further ones are not shown.
pub const TEST_STATE_SELECTED_BYTES_MAX: usize = 4 << 20;
/// Workers that may wait for tasks of one activity (AWS quota).
pub const ACTIVITY_POLLERS_MAX: usize = 1_000;
/// The memory of a state machine as a multiple of its definition's text, roughly: the text, its tables, and remains of
/// compiling.
pub const DEFINITION_BYTES_FACTOR: usize = 3;
/// The minimal bytes of a state machine.
pub const STATE_MACHINE_BYTES: usize = 16 << 10;
/// The first and the longest delay before a failed write to the store is retried.
pub const STORE_RETRY_MS_MIN: u64 = 100;
/// See [`STORE_RETRY_MS_MIN`].
pub const STORE_RETRY_MS_MAX: u64 = 30_000;
/// Bytes, roughly, of a definition in YAML after its aliases are copied.
pub const YAML_BYTES_MAX: usize = 64 << 20;
/// Work of one turn of a shard before tokio, the handlers and other shards run (units of [fuel](crate::fuel), about a
/// nanosecond each).
pub const TURN_WORK_MAX: u64 = 1_000_000;
/// Work that a task may do each time it is polled: items of a Map Run are read and made into inputs on their shard.
pub const TASK_POLL_WORK_MAX: u64 = 500_000;
/// Work of each state machine in a round, before others that wait on the same shard have their turn.
pub const MACHINE_SHARE_WORK: u64 = 250_000;
/// The debt, in shares, of a machine that did too much at once; more is forgiven.
pub const MACHINE_DEBT_SHARES_MAX: i64 = 16;
/// Bytes of address space for the stack of an execution that may be suspended inside of an expression.
pub const FIBER_STACK_BYTES: usize = STACK_BYTES;
/// A handler that blocks its shard for so many milliseconds is counted and logged as a warning.
pub const HANDLER_BLOCKS_MS: u64 = 100;
/// Executions that wait to begin, of all machines, among which a turn of a shard looks for those that are to be aborted;
/// one that is behind them ends at its machine's turn.
pub const ABORTED_LOOKED_AT_MAX: usize = 2_048;
/// Executions of one shard that may be suspended inside of an expression; others wait before they begin one.
pub const FIBERS_MAX: u32 = 256;
/// The same, of one state machine.
pub const FIBERS_PER_MACHINE_MAX: u32 = 8;
/// Stacks that a shard keeps for later.
pub const FIBERS_KEPT_MAX: usize = 32;
/// Bytes that an execution suspended inside of an expression is billed beside its values: the usual size of the touched
/// part of its stack.
pub const FIBER_BILL_BYTES: usize = 64 << 10;
/// Parts of all templates, and tests of all Choice states, of a program whose states all take microseconds.
pub const LIGHT_PARTS_MAX: usize = 4_096;
/// Bytes of an execution of such a program; above this, moving values takes longer than that.
pub const LIGHT_BYTES_MAX: usize = 1 << 20;
/// The least size of an execution that is refused more memory in favour of others.
pub const REFUSED_BYTES_MIN: u32 = 1 << 20;
/// Starts of a machine that go directly to a shard, after one took too long on its caller's thread.
pub const STARTS_ELSEWHERE: u32 = 32;
/// Milliseconds between two checks whether the wall clock was set.
pub const CLOCK_LOOK_MS: u64 = 100;
/// Milliseconds by which clocks may differ without having been set.
pub const CLOCK_SLACK_MS: u64 = 10;
/// Attempts to read two clocks at one moment, between which a busy machine may pause a thread.
pub const CLOCK_READS_MAX: usize = 8;
/// Bytes of state up to which a parked durable execution is kept as its last record; a larger one keeps its arena.
pub const DURABLE_PARKED_BYTES_MAX: usize = 8_192;
/// Parked durable executions that stay in memory, of all shards; the states and histories of further ones are in a
/// file.
pub const DURABLE_RESIDENT_MAX: usize = 10_000;
/// Milliseconds that a durable execution is parked at least before its state is written to that file.
pub const DURABLE_SPILL_AFTER_MS: u64 = 1_000;
/// Durable executions leave memory completely only when their wake-up is due later than in so many milliseconds; they
/// come back half of that before.
pub const DURABLE_COLD_MS_MIN: u64 = 300_000;
/// Executions whose rows are still to be written: beyond that, executions stay in memory.
pub const DURABLE_COLD_PENDING_MAX: usize = 16_384;
/// Rows that are written in one transaction, and the interval at which due ones are searched.
pub const DURABLE_COLD_BATCH: usize = 4_096;
/// Bytes that executions which are over take in memory, about, of those whose rows are written in one transaction.
pub const DURABLE_COLD_BATCH_BYTES: usize = 32 << 20;
/// See [`DURABLE_COLD_BATCH`].
pub const DURABLE_COLD_LOOK_MS: u64 = 1_000;
/// Free bytes of the disk that the store of executions that are not in memory leaves to others.
pub const DURABLE_COLD_FREE_BYTES_MIN: u64 = 256 << 20;
/// Bytes of this store's page cache.
pub const COLD_CACHE_BYTES: usize = 32 << 20;
/// Executions that are not in memory in a survey.
pub const COLD_SURVEYED_MAX: usize = 1_000;
/// Bytes of a history or a state in that file.
pub const DURABLE_SPILL_BYTES_MAX: usize = 16 << 20;
/// Durable executions that keep their arenas while tasks wait for their records; further ones, and those with larger
/// arenas, are kept as their records, and restored from those.
pub const DURABLE_SEATED_MAX: usize = 4_096;
/// See [`DURABLE_SEATED_MAX`].
pub const DURABLE_SEATED_BYTES_MAX: usize = 64 << 10;
/// Milliseconds that relaxed durability may lose, by default; and the maximum.
pub const DURABLE_RELAXED_MS: u64 = 100;
/// See [`DURABLE_RELAXED_MS`].
pub const DURABLE_RELAXED_MS_MAX: u64 = 60_000;
/// Records that a shard appends before it wakes the journal's thread; that is also done at the end of each turn of the
/// shard.
pub const DURABLE_QUIET_RECORDS_MAX: usize = 16;
/// Bytes of one turn's history and the state after it.
pub const DURABLE_TURN_BYTES_MAX: usize = 512 << 20;
/// Records of one block of the journal: the unit of a sync.
pub const JOURNAL_BLOCK_RECORDS_MAX: usize = 1_024;
/// Bytes of one block of the journal. (Larger blocks were measured to add latency and no throughput.) A larger single
/// record gets a separate block.
pub const JOURNAL_BLOCK_BYTES_MAX: usize = 1 << 20;
/// Bytes of one record of the journal; at most a quarter of a segment.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 16 << 20;
/// Default bytes of a segment of the journal.
pub const JOURNAL_SEGMENT_BYTES: u64 = 128 << 20;
/// Bytes that must be appended before a journal of durable executions is compacted; and the interval of the check.
pub const DURABLE_COMPACT_BYTES_MIN: u64 = 128 << 20;
/// The same of a journal that a process finds when it starts. The next start reads what is left.
pub const DURABLE_COMPACT_START_BYTES_MIN: u64 = 8 << 20;
/// Executions that are over and are taken into memory by a start. When the journal has more of them, they become rows.
pub const DURABLE_RECOVERED_OVER_MAX: usize = 1_000;
/// See [`DURABLE_COMPACT_BYTES_MIN`].
pub const DURABLE_COMPACT_LOOK_MS: u64 = 1_000;
/// Bytes of a segment of the journal of durable executions: the state of one may take a quarter of it.
pub const DURABLE_SEGMENT_BYTES: u64 = 32 << 20;
/// Bytes of the smallest, and of the largest, segment of the journal.
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// See [`JOURNAL_SEGMENT_BYTES_MIN`].
pub const JOURNAL_SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Bytes of blocks that wait for the journal's disk; beyond that, records are refused.
pub const JOURNAL_QUEUE_BYTES_MAX: u64 = 64 << 20;
/// Partitions of executions; fixed, because it is part of the format on disk.
pub const JOURNAL_PARTITIONS: u16 = 64;
/// Milliseconds for which a standby node waits for an owner of the cluster, for each request.
pub const STANDBY_OWNER_WAIT_MS: u64 = 10_000;
/// Requests at a time on one connection from a standby to the owner, which accepts more.
pub const STANDBY_STREAMS_MAX: usize = 128;
/// Milliseconds for which a standby that becomes the owner keeps its HTTP/1.1 connections, so that a response can announce
/// that the connection closes.
pub const STANDBY_LINGER_MS: u64 = 10_000;
/// When a client that is refused because the journal's database is away should retry, in milliseconds.
pub const AWAY_RETRY_MS: u64 = 1_000;
/// Milliseconds in which PostgreSQL must answer, or the connection is replaced by a new one: for queries, and for
/// connecting.
pub const POSTGRES_ANSWER_MS: u64 = 10_000;
/// See [`POSTGRES_ANSWER_MS`].
pub const POSTGRES_CONNECT_MS: u64 = 5_000;
/// Milliseconds between attempts to append a block; the delay doubles.
pub const CLUSTER_RETRY_MS_MIN: u64 = 20;
/// See [`CLUSTER_RETRY_MS_MIN`].
pub const CLUSTER_RETRY_MS_MAX: u64 = 500;
/// Milliseconds for which a closing journal waits for a database that does not answer.
pub const CLUSTER_CLOSE_MS: u64 = 5_000;
/// Milliseconds for which a process that must end waits until it could say why.
pub const LAST_WORDS_MS: u64 = 1_000;
/// Milliseconds after which an owner that has not renewed its lease may be replaced.
pub const CLUSTER_LEASE_MS: u64 = 3_000;
/// Changes of the service's records that a cluster remembers for nodes that follow them.
pub const CLUSTER_CHANGES_KEPT: i64 = 10_000;
/// How often a node looks which nodes there are and which partitions they own, in milliseconds.
pub const CLUSTER_LOOK_MS: u64 = 100;
/// Milliseconds that a request to NATS may take before the connection is replaced, and that connecting may take.
pub const NATS_ANSWER_MS: u64 = 10_000;
/// See [`NATS_ANSWER_MS`].
pub const NATS_CONNECT_MS: u64 = 5_000;
/// The least `max_payload` of a NATS server, so that a definition fits into a record.
pub const NATS_PAYLOAD_BYTES_MIN: usize = 4 << 20;
/// Blocks that are read from NATS at once.
pub const NATS_READ_BLOCKS: u64 = 16;
/// Bytes after which fewer blocks are read from NATS at once.
pub const NATS_READ_BYTES: usize = 4 << 20;
/// Attempts to replace a message of NATS that other nodes replace at the same time.
pub const NATS_ATTEMPTS_MAX: usize = 64;
/// Changes of the service's records that a cluster in NATS remembers for nodes that follow them: all are one message.
pub const NATS_CHANGES_KEPT: usize = 64;
/// Blocks that are read from PostgreSQL at once.
pub const POSTGRES_READ_BLOCKS: i64 = 16;
/// Blocks that are deleted in one transaction.
pub const POSTGRES_TRIM_BLOCKS: i64 = 256;
/// Bytes of a Lambda function's payload, and of its result, when a local process answers it.
pub const LAMBDA_PAYLOAD_BYTES_MAX: usize = 6_291_556;
/// Seconds that one invocation of such a function may take.
pub const LAMBDA_SECONDS_MAX: u64 = 900;
/// Bytes that are kept of a line in such a function's output.
pub const LAMBDA_LINE_BYTES_MAX: usize = 8 << 10;
/// Invocations of such a function that may wait for a process, and the bytes of their payloads.
pub const LAMBDA_WAITING_MAX: usize = 10_000;
/// See [`LAMBDA_WAITING_MAX`].
pub const LAMBDA_WAITING_BYTES_MAX: usize = 64 << 20;
/// Connections that one process may have to its runtime API.
pub const LAMBDA_CONNECTIONS_MAX: usize = 16;
