//! What an engine exposes of its executions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::admission::Limit;
use super::engine::Engine;
use super::inbox::{Remote, Shared};
use crate::limits;
use crate::observe::prometheus::{self, Family, Kind};
use crate::observe::{
    Dropped, DurationCounts, Durations, Page, Query, Recorded, StateTally, TaskTally, VersionCounters,
};
use crate::program::ResourceKind;

/// What an engine records of its executions, as [set up](super::Builder::observe). Clones share the same engine, and
/// may outlive it.
#[derive(Clone)]
pub struct Observed {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl Engine {
    /// This engine's records of its executions.
    pub fn observed(&self) -> Observed {
        Observed { shared: Arc::clone(self.shared()) }
    }
}

impl Observed {
    /// The histories that are [kept](crate::observe::Setup::history), the newest first.
    pub fn histories(&self, query: &Query<'_>) -> Page {
        self.shared.observability.as_ref().map(|observability| observability.find(query)).unwrap_or_default()
    }

    /// The history of the execution of this ARN, if it is kept.
    pub fn history(&self, execution_arn: &str) -> Option<Arc<Recorded>> {
        self.shared.observability.as_ref()?.get(execution_arn)
    }

    /// What was dropped because there was no room for it, or because the sink failed.
    pub fn dropped(&self) -> Dropped {
        self.shared.observability.as_ref().map(|observability| observability.dropped()).unwrap_or_default()
    }

    /// Log lines that the sink has taken.
    pub fn lines_written(&self) -> u64 {
        self.shared.observability.as_ref().map_or(0, |observability| observability.lines_written())
    }

    /// Waits until everything recorded of ended executions was handed to the sinks; false when that takes longer.
    /// Blocks this thread.
    pub fn flush(&self, within: Duration) -> bool {
        self.shared.observability.as_ref().is_none_or(|observability| observability.flush(within))
    }

    /// All metrics in Prometheus's text format. Counts of machines, states and tasks are among them when they are
    /// [counted](crate::observe::Setup::metrics). Names that begin with `aws_states_` are those of CloudWatch's
    /// namespace `AWS/States`.
    ///
    /// Durations of executions are measured in microseconds for those that ended without having waited; of a batch,
    /// each of a start batch counts with the mean of those that ran in one go. All other durations are those of the
    /// engine's clock: in milliseconds, and no finer than that clock's resolution of a few milliseconds. Durations
    /// below one millisecond are counted in the class that ends there.
    pub fn prometheus(&self) -> String {
        prometheus::text(&self.families())
    }

    /// Publishes all metrics to the recorder of the `metrics` crate. Call it at intervals.
    ///
    /// Counters and gauges have the names that [`prometheus`](Observed::prometheus) shows; of durations there are only
    /// the counters `…_count` and `…_sum_us`, because the recorder would want each of them.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        use crate::observe::prometheus::Number;
        for Family { name, kind, rows, .. } in self.families() {
            for (labels, number) in rows {
                let labels: Vec<metrics::Label> =
                    labels.into_iter().map(|(name, value)| metrics::Label::new(name, value)).collect();
                match number {
                    Number::Whole(value) if kind == Kind::Gauge => {
                        metrics::gauge!(name.clone(), labels).set(value as f64)
                    }
                    Number::Whole(value) => metrics::counter!(name.clone(), labels).absolute(value),
                    Number::Durations(counts) => {
                        let all = counts.classes.iter().sum();
                        metrics::counter!(format!("{name}_count"), labels.clone()).absolute(all);
                        metrics::counter!(format!("{name}_sum_us"), labels).absolute(counts.sum_us);
                    }
                }
            }
        }
    }

    pub(crate) fn families(&self) -> Vec<Family> {
        let mut families = self.engine();
        if let Some(observability) =
            self.shared.observability.as_ref().filter(|observability| observability.counts)
        {
            let versions = observability.versions();
            let help = "State machines, states and resources whose numbers are added up in rows that say \"others\": the busiest \
                        stand by themselves. When one of them begins to, that sum falls.";
            let mut summed = Family::new("expressway_metrics_summed", Kind::Gauge, help);
            families.extend(machines(&versions, &mut summed));
            families.extend(states(&versions, &mut summed));
            families.extend(tasks(&versions, &mut summed));
            families.push(summed);
        }
        families
    }

    /// Metrics of the engine as a whole.
    fn engine(&self) -> Vec<Family> {
        let shared = &self.shared;
        let counts = shared.counts();
        let mut executions = Family::new(
            "expressway_executions_total",
            Kind::Counter,
            "Executions that are over, by how they ended.",
        );
        for (status, count) in [
            ("SUCCEEDED", counts.succeeded),
            ("FAILED", counts.failed),
            ("TIMED_OUT", counts.timed_out),
            ("ABORTED", counts.aborted),
        ] {
            executions.row(vec![("status", status.to_owned())], count);
        }
        let one = Family::one;
        let total = &shared.admission.total;
        let mut families = vec![
            executions,
            one(
                "expressway_executions_accepted_total",
                Kind::Counter,
                "Executions that were accepted.",
                counts.accepted,
            ),
            one(
                "expressway_executions_refused_total",
                Kind::Counter,
                "Executions that were refused.",
                counts.refused,
            ),
            one(
                "expressway_executions_live",
                Kind::Gauge,
                "Executions that are queued or running.",
                counts.running,
            ),
            one(
                "expressway_bytes",
                Kind::Gauge,
                "Billed memory of running executions, in bytes.",
                total.bytes() as u64,
            ),
            one(
                "expressway_bugs_total",
                Kind::Counter,
                "Executions that ended because of a bug in the engine.",
                counts.bugs,
            ),
        ];
        let shard = |name, kind, help, value: &dyn Fn(&Remote) -> u64| {
            let mut family = Family::new(name, kind, help);
            for (n, remote) in shared.remotes.iter().enumerate() {
                family.row(vec![("shard", n.to_string())], value(remote));
            }
            family
        };
        families.push(shard("expressway_queue_depth", Kind::Gauge, "Queued executions.", &|remote| {
            remote.queued.load(Relaxed) as u64
        }));
        families.push(shard(
            "expressway_steals_total",
            Kind::Counter,
            "Batches of starts taken from other shards.",
            &|remote| remote.gauges.steals.load(Relaxed),
        ));
        type Gauge = fn(&Remote) -> &AtomicU64;
        let gauges: [(&'static str, &'static str, Gauge); 6] = [
            ("expressway_shard_parked", "Executions that wait without using a thread.", |remote| {
                &remote.gauges.residents
            }),
            ("expressway_shard_tasks", "Pending futures of task handlers.", |remote| &remote.gauges.tasks),
            ("expressway_shard_timers", "Pending timers.", |remote| &remote.gauges.timers),
            ("expressway_arena_pool", "Arenas available for reuse.", |remote| &remote.gauges.buffers),
            ("expressway_timer_lag_ms", "Lateness of the last timer.", |remote| &remote.gauges.lag_ms),
            ("expressway_timer_lag_ms_max", "Greatest lateness of a timer.", |remote| {
                &remote.gauges.lag_ms_max
            }),
        ];
        for (name, help, gauge) in gauges {
            families.push(shard(name, Kind::Gauge, help, &|remote| gauge(remote).load(Relaxed)));
        }
        families.extend(self.blocked());
        families.extend(self.durable());
        families.extend(self.shown());
        families
    }

    /// Metrics of handlers that blocked their shards.
    fn blocked(&self) -> [Family; 2] {
        let help =
            "Calls of handlers that kept a shard from everything else for a tenth of a second or longer.";
        let mut blocked = Family::new("expressway_handler_blocked_total", Kind::Counter, help);
        for (resource, count) in self.shared.blocked.counts() {
            blocked.row(vec![("resource", resource.into())], count);
        }
        let help =
            "How long the turn lasts that a shard takes; more than a few mean that a handler blocks it.";
        let mut turns = Family::new("expressway_shard_turn_ms", Kind::Gauge, help);
        let now_ms = self.shared.time.steady_ms();
        for (n, remote) in self.shared.remotes.iter().enumerate() {
            let lasts_ms = match remote.turn_since_ms.load(Relaxed) {
                0 => 0,
                since_ms => now_ms.saturating_sub(since_ms),
            };
            turns.row(vec![("shard", n.to_string())], lasts_ms);
        }
        [blocked, turns]
    }

    /// Metrics of the journal, if there is one.
    fn durable(&self) -> Vec<Family> {
        let Some(durability) = &self.shared.durability else { return Vec::new() };
        let stats = durability.stats();
        let (spilled, spill_bytes) = durability.spilled();
        let held = self.shared.remotes.iter().map(|remote| remote.gauges.held.load(Relaxed)).sum();
        let counter = |name, help, value| Family::one(name, Kind::Counter, help, value);
        let gauge = |name, help, value| Family::one(name, Kind::Gauge, help, value);
        vec![
            counter("expressway_journal_blocks_total", "Blocks that were written and synced.", stats.blocks),
            counter("expressway_journal_records_total", "Records in these blocks.", stats.records),
            counter("expressway_journal_written_bytes_total", "Bytes of these blocks.", stats.bytes),
            counter(
                "expressway_journal_sync_us_total",
                "Microseconds that writing and syncing these blocks took.",
                stats.sync_us,
            ),
            gauge(
                "expressway_journal_sync_us_max",
                "Microseconds that the slowest of these blocks took.",
                stats.sync_us_max,
            ),
            gauge(
                "expressway_journal_waiting_bytes",
                "Bytes that were recorded and wait for the disk.",
                stats.waiting_bytes,
            ),
            gauge("expressway_journal_bytes", "Bytes of the journal where it is.", stats.kept_bytes),
            gauge("expressway_journal_epoch", "How many owners the journal has had.", durability.epoch),
            gauge(
                "expressway_journal_away",
                "1 while the journal's database does not answer, or refuses.",
                u64::from(stats.is_away),
            ),
            gauge(
                "expressway_durable_loss_ms_max",
                "Milliseconds of what was acknowledged that a crash may lose: 0 unless durability is relaxed.",
                durability.loss_ms_max(),
            ),
            gauge("expressway_durable_held", "Tasks and ends that wait until they are durable.", held),
            gauge(
                "expressway_durable_spilled",
                "States and histories of executions that wait, which are in a file instead of memory.",
                spilled,
            ),
            gauge("expressway_durable_spill_bytes", "Bytes of that file.", spill_bytes),
            gauge(
                "expressway_durable_recovered",
                "Executions of earlier processes that continue in this one.",
                durability.recovered.load(Relaxed),
            ),
            counter(
                "expressway_durable_returned",
                "Executions that came back into memory.",
                durability.returned.load(Relaxed),
            ),
            gauge(
                "expressway_durable_in_doubt",
                "Tasks that were repeated, because it is unknown whether the previous process completed them.",
                durability.in_doubt.load(Relaxed),
            ),
        ]
    }

    /// Metrics of what is recorded and what is dropped.
    fn shown(&self) -> Vec<Family> {
        let Some(observability) = &self.shared.observability else { return Vec::new() };
        let Dropped { log_lines, histories, spans } = observability.dropped();
        let help = "Records dropped because a queue was full or the sink failed.";
        let mut dropped = Family::new("expressway_dropped_total", Kind::Counter, help);
        for (what, count) in [("log_lines", log_lines), ("histories", histories), ("traces", spans)] {
            dropped.row(vec![("what", what.to_owned())], count);
        }
        let (kept, bytes) = observability.kept();
        let one = Family::one;
        vec![
            dropped,
            one(
                "expressway_log_lines_total",
                Kind::Counter,
                "Log lines written to the sink.",
                observability.lines_written(),
            ),
            one("expressway_histories", Kind::Gauge, "Histories kept.", kept as u64),
            one("expressway_history_bytes", Kind::Gauge, "Bytes of the histories kept.", bytes as u64),
        ]
    }
}

/// Numbers that can be added up.
trait Sum {
    /// How busy it is.
    fn weight(&self) -> u64;
    fn add(&mut self, other: Self);
}

/// The label for rows that are summed up.
const OTHERS: &str = "others";

/// The `rows_max` busiest of `sums`, in their order, and one row of `others` for the rest, whose number is added to
/// `summed`.
fn bounded<K: Copy + Ord, S: Sum>(
    sums: BTreeMap<K, S>,
    rows_max: usize,
    others: K,
    (summed, what): (&mut Family, &str),
) -> Vec<(K, S)> {
    let mut rows: Vec<(K, S)> = sums.into_iter().collect();
    if rows.len() <= rows_max {
        return rows;
    }
    summed.row(vec![("what", what.to_owned())], (rows.len() - rows_max) as u64);
    // Ties are broken by name, so that each scrape shows the same rows.
    rows.select_nth_unstable_by_key(rows_max, |(key, sum)| (std::cmp::Reverse(sum.weight()), *key));
    let rest = rows.split_off(rows_max).into_iter().map(|(_, sum)| sum);
    let rest = rest.reduce(|mut sum, other| {
        sum.add(other);
        sum
    });
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows.extend(rest.map(|sum| (others, sum)));
    rows
}

/// The sums of a machine's executions, of all its versions and all machines of the same ARN.
#[derive(Default)]
struct MachineSum {
    started: u64,
    ended: [u64; 4],
    took: DurationCounts,
    billed_ms: u64,
    memory_bytes: u64,
    billed_mb: u64,
    throttled: Vec<u64>,
}

impl Sum for MachineSum {
    fn weight(&self) -> u64 {
        self.started + self.throttled.iter().sum::<u64>()
    }

    fn add(&mut self, other: MachineSum) {
        self.started = self.started.wrapping_add(other.started);
        add_all(&mut self.ended, &other.ended);
        self.took.add(&other.took);
        self.billed_ms += other.billed_ms;
        self.memory_bytes += other.memory_bytes;
        self.billed_mb += other.billed_mb;
        add_all(&mut self.throttled, &other.throttled);
    }
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

fn machines(versions: &[Arc<VersionCounters>], summed: &mut Family) -> Vec<Family> {
    let mut sums: BTreeMap<&str, MachineSum> = BTreeMap::new();
    let mut seen = HashSet::new();
    for version in versions {
        let machine = &version.machine;
        if !seen.insert(Arc::as_ptr(machine)) {
            continue;
        }
        let sum = sums.entry(&machine.state_machine_arn).or_default();
        for stripe in &machine.stripes {
            let mut ended = 0;
            for (sum, count) in sum.ended.iter_mut().zip(&stripe.ended) {
                let count = count.load(Relaxed);
                *sum += count;
                ended += count;
            }
            let (billed_ms, billed_mb) = stripe.billed(ended);
            sum.billed_ms += billed_ms;
            sum.billed_mb += billed_mb;
            sum.started = sum.started.wrapping_add(stripe.started.load(Relaxed));
            sum.memory_bytes += stripe.memory_bytes.load(Relaxed);
            stripe.took.add_to(&mut sum.took);
        }
        sum.throttled.resize(machine.throttled.len(), 0);
        for (sum, count) in sum.throttled.iter_mut().zip(&machine.throttled) {
            *sum += count.load(Relaxed);
        }
    }
    let new = Family::new;
    let mut started = new("aws_states_executions_started_total", Kind::Counter, "ExecutionsStarted");
    let mut ended = [
        new("aws_states_executions_succeeded_total", Kind::Counter, "ExecutionsSucceeded"),
        new("aws_states_executions_failed_total", Kind::Counter, "ExecutionsFailed"),
        new("aws_states_executions_timed_out_total", Kind::Counter, "ExecutionsTimedOut"),
        new("aws_states_executions_aborted_total", Kind::Counter, "ExecutionsAborted"),
    ];
    let mut throttled = new("aws_states_execution_throttled_total", Kind::Counter, "ExecutionThrottled");
    let mut took = new("aws_states_execution_time_seconds", Kind::Histogram(1), "ExecutionTime");
    let help = "ExpressExecutionBilledDuration";
    let mut billed = new("aws_states_express_execution_billed_duration_ms_total", Kind::Counter, help);
    let help = "ExpressExecutionMemory, of each at its end";
    let mut memory = new("aws_states_express_execution_memory_bytes_total", Kind::Counter, help);
    let help = "ExpressExecutionBilledMemory, in steps of 64 MB";
    let mut billed_memory = new("aws_states_express_execution_billed_memory_mb_total", Kind::Counter, help);
    let sums = bounded(sums, limits::METRICS_MACHINES_MAX, OTHERS, (summed, "machines"));
    for (arn, sum) in sums {
        let labels = || vec![("state_machine_arn", arn.to_owned())];
        started.row(labels(), sum.started);
        for (family, count) in ended.iter_mut().zip(sum.ended) {
            family.row(labels(), count);
        }
        for (limit, &count) in Limit::ALL.iter().zip(&sum.throttled).filter(|(_, count)| **count > 0) {
            let mut labels = labels();
            labels.push(("reason", format!("{limit:?}")));
            throttled.row(labels, count);
        }
        took.durations(labels(), sum.took);
        billed.row(labels(), sum.billed_ms);
        memory.row(labels(), sum.memory_bytes);
        billed_memory.row(labels(), sum.billed_mb);
    }
    let mut families = vec![started];
    families.extend(ended);
    families.extend([throttled, took, billed, memory, billed_memory]);
    families
}

/// The sums of a state's visits.
#[derive(Default)]
struct StateSum {
    took: DurationCounts,
    retried: u64,
    caught: u64,
}

impl Sum for StateSum {
    fn weight(&self) -> u64 {
        self.took.classes.iter().sum::<u64>() + self.retried + self.caught
    }

    fn add(&mut self, other: StateSum) {
        self.took.add(&other.took);
        self.retried += other.retried;
        self.caught += other.caught;
    }
}

fn states(versions: &[Arc<VersionCounters>], summed: &mut Family) -> Vec<Family> {
    let mut sums: BTreeMap<(&str, &str), StateSum> = BTreeMap::new();
    for version in versions {
        for tallies in version.tallies() {
            for ((state, _), tally) in version.program.states.iter().zip(&tallies.states) {
                let StateTally { took, retried, caught } = tally;
                let name = (&*version.machine.state_machine_arn, version.program.name(state));
                let (retried, caught) = (retried.load(Relaxed), caught.load(Relaxed));
                let mut more = StateSum { retried, caught, ..StateSum::default() };
                took.add_to(&mut more.took);
                if more.weight() > 0 {
                    sums.entry(name).or_default().add(more);
                }
            }
        }
    }
    let help = "How long states took from their entry to their exit, of those that take time.";
    let mut took = Family::new("expressway_state_duration_seconds", Kind::Histogram(1_000), help);
    let mut retries = Family::new("expressway_state_retries_total", Kind::Counter, "Retries of states.");
    let help = "Failures of states that were caught.";
    let mut catches = Family::new("expressway_state_catches_total", Kind::Counter, help);
    let sums = bounded(sums, limits::METRICS_STATES_MAX, (OTHERS, OTHERS), (summed, "states"));
    for ((arn, state), StateSum { took: counts, retried, caught }) in sums {
        let labels = || vec![("state_machine_arn", arn.to_owned()), ("state", state.to_owned())];
        took.durations(labels(), counts);
        if retried > 0 {
            retries.row(labels(), retried);
        }
        if caught > 0 {
            catches.row(labels(), caught);
        }
    }
    vec![took, retries, catches]
}

type Count = fn(&TaskTally) -> &AtomicU64;
/// What is counted of a task, and AWS's name for it, behind the kind of the task.
const COUNTS: [(&str, &str, Count); 6] = [
    ("scheduled_total", "Scheduled", |tally| &tally.scheduled),
    ("started_total", "Started", |tally| &tally.started),
    ("succeeded_total", "Succeeded", |tally| &tally.succeeded),
    ("failed_total", "Failed", |tally| &tally.failed),
    ("timed_out_total", "TimedOut", |tally| &tally.timed_out),
    ("heartbeat_timed_out_total", "HeartbeatTimedOut", |tally| &tally.silent),
];
type Times = fn(&TaskTally) -> &Durations;
const TIMES: [(&str, &str, Times); 3] = [
    ("schedule_time_seconds", "ScheduleTime", |tally| &tally.waited),
    ("run_time_seconds", "RunTime", |tally| &tally.ran),
    ("time_seconds", "Time", |tally| &tally.took),
];
/// Names of the metrics of one kind of resource: the prefixes of our names and of AWS's, and the label for the
/// resource.
struct Names {
    label: &'static str,
    counts: (&'static str, &'static str),
    times: (&'static str, &'static str),
}

const KINDS: [Names; 3] = [
    Names {
        label: "lambda_function_arn",
        counts: ("aws_states_lambda_functions", "LambdaFunctions"),
        times: ("aws_states_lambda_function", "LambdaFunction"),
    },
    Names {
        label: "service_integration_resource_arn",
        counts: ("aws_states_service_integrations", "ServiceIntegrations"),
        times: ("aws_states_service_integration", "ServiceIntegration"),
    },
    Names {
        label: "activity_arn",
        counts: ("aws_states_activities", "Activities"),
        times: ("aws_states_activity", "Activity"),
    },
];

/// The sums of one resource's calls.
#[derive(Default)]
struct CallSum {
    counts: [u64; COUNTS.len()],
    times: [DurationCounts; TIMES.len()],
}

impl Sum for CallSum {
    fn weight(&self) -> u64 {
        self.counts[0]
    }

    fn add(&mut self, other: CallSum) {
        add_all(&mut self.counts, &other.counts);
        for (sum, more) in self.times.iter_mut().zip(&other.times) {
            sum.add(more);
        }
    }
}

/// Calls of tasks, by resource, as AWS counts them.
fn tasks(versions: &[Arc<VersionCounters>], summed: &mut Family) -> Vec<Family> {
    let mut sums: [BTreeMap<&str, CallSum>; 3] = Default::default();
    for version in versions {
        for tallies in version.tallies() {
            for ((_, task), tally) in version.program.tasks.iter().zip(&tallies.tasks) {
                let kind = match &task.resource.kind {
                    ResourceKind::Activity => 2,
                    ResourceKind::Service { .. } => 1,
                    _ => 0,
                };
                let sum = sums[kind].entry(&task.resource.arn).or_default();
                for (sum, (_, _, count)) in sum.counts.iter_mut().zip(COUNTS) {
                    *sum += count(tally).load(Relaxed);
                }
                for (sum, (_, _, times)) in sum.times.iter_mut().zip(TIMES) {
                    times(tally).add_to(sum);
                }
            }
        }
    }
    let mut families = Vec::new();
    for (Names { label, counts: (plural, plural_help), times: (singular, singular_help) }, sums) in
        KINDS.into_iter().zip(sums)
    {
        let sums = &bounded(sums, limits::METRICS_RESOURCES_MAX, OTHERS, (&mut *summed, label));
        // AWS counts the last only for activities.
        let counts = if label == "activity_arn" { &COUNTS[..] } else { &COUNTS[..COUNTS.len() - 1] };
        for (n, (name, help, _)) in counts.iter().enumerate() {
            let mut family =
                Family::new(format!("{plural}_{name}"), Kind::Counter, format!("{plural_help}{help}"));
            for (arn, sum) in sums {
                family.row(vec![(label, (*arn).to_owned())], sum.counts[n]);
            }
            families.push(family);
        }
        for (n, (name, help, _)) in TIMES.into_iter().enumerate() {
            let mut family = Family::new(
                format!("{singular}_{name}"),
                Kind::Histogram(1_000),
                format!("{singular_help}{help}"),
            );
            for (arn, sum) in sums {
                family.durations(vec![(label, (*arn).to_owned())], sum.times[n].clone());
            }
            families.push(family);
        }
    }
    families
}
