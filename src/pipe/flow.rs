//! The pipeline itself: receives, runs executions, publishes, settles.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dedup::Dedup;
use super::ends::{Cause, End, Trouble};
use super::event::{Batch, Disposition, Later, PipeError, Room, Sink, Source};
use super::failed::{self, FailedEvent};
use super::opening::{Opener, Opening};
use super::order::{KeyOf, Lane, Lanes, Order, Turn};
use super::process::Processor;
use super::settings::{AWAY_MAX, AWAY_MIN, Attempts, CLOSE_MAX, Settings};
use super::stats::{Report, Stats};
use super::trouble::Troubles;
use super::watch;
use crate::json::Arena;
use crate::runtime::{Engine, Machine};

/// A pipeline: events of a source, each an execution of a state machine, whose outputs go to a sink.
#[must_use = "a pipeline does nothing until `run` is called"]
pub struct Pipe {
    engine: Engine,
    machine: Machine,
    source: Opening<Box<dyn Source>>,
    sink: Option<Opening<Arc<dyn Sink>>>,
    dead: Option<Opening<Arc<dyn Sink>>>,
    order: Order,
    settings: Settings,
    troubles: Troubles,
    failures: Option<failed::Listener>,
    running: Option<Box<dyn FnOnce() + Send>>,
    stats: Arc<Stats>,
    stop: Sender<bool>,
}

/// Ends a pipeline: it receives no more, and finishes what is under way.
#[derive(Clone, Debug)]
pub struct Stop(Sender<bool>);

impl Stop {
    /// Asks for the end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Pipe {
    /// A pipeline that drops outputs unless it is given a [`sink`](Pipe::sink).
    pub fn new(engine: Engine, machine: Machine, source: impl Source + 'static) -> Pipe {
        Pipe::boxed(engine, machine, Box::new(source))
    }

    /// As [`new`](Pipe::new), for a source that is chosen at run time.
    pub fn boxed(engine: Engine, machine: Machine, source: Box<dyn Source>) -> Pipe {
        Pipe::of(engine, machine, Opening::Opened(source))
    }

    /// As [`new`](Pipe::new), for a source that is opened when the pipeline [runs](Pipe::run). While it is
    /// [away](PipeError::Away) or [absent](PipeError::Absent), that is [reported](Pipe::on_trouble) with this address, and
    /// it is opened again after growing delays; other errors end the pipeline. No event is received before the source and
    /// all sinks are open.
    pub fn opening(
        engine: Engine,
        machine: Machine,
        address: impl Into<String>,
        open: impl FnMut() -> Later<'static, Result<Box<dyn Source>, PipeError>> + Send + 'static,
    ) -> Pipe {
        Pipe::of(engine, machine, Opening::Closed { address: address.into(), open: Box::new(open) })
    }

    fn of(engine: Engine, machine: Machine, source: Opening<Box<dyn Source>>) -> Pipe {
        let (stats, order, settings): (Arc<Stats>, _, _) = Default::default();
        let troubles = Troubles { listener: None, stats: Arc::clone(&stats) };
        let stop = Sender::new(false);
        let (sink, dead, failures, running) = (None, None, None, None);
        Pipe {
            engine,
            machine,
            source,
            sink,
            dead,
            order,
            settings,
            troubles,
            failures,
            running,
            stats,
            stop,
        }
    }

    /// The sink of outputs.
    pub fn sink(self, sink: impl Sink + 'static) -> Pipe {
        self.shared_sink(Arc::new(sink))
    }

    /// As [`sink`](Pipe::sink), for a shared sink.
    pub fn shared_sink(mut self, sink: Arc<dyn Sink>) -> Pipe {
        self.sink = Some(Opening::Opened(sink));
        self
    }

    /// As [`sink`](Pipe::sink), for a sink that is [opened](Pipe::opening) when the pipeline runs. It is open when it also
    /// answers a [check](Sink::check).
    pub fn opening_sink(
        mut self,
        address: impl Into<String>,
        open: impl FnMut() -> Later<'static, Result<Arc<dyn Sink>, PipeError>> + Send + 'static,
    ) -> Pipe {
        self.sink = Some(Opening::Closed { address: address.into(), open: Box::new(open) });
        self
    }

    /// The sink of [dead letters](super::DeadLetter). Without one, events that fail permanently are counted and
    /// settled.
    pub fn dead_letters(self, sink: impl Sink + 'static) -> Pipe {
        self.shared_dead_letters(Arc::new(sink))
    }

    /// As [`dead_letters`](Pipe::dead_letters), for a shared sink.
    pub fn shared_dead_letters(mut self, sink: Arc<dyn Sink>) -> Pipe {
        self.dead = Some(Opening::Opened(sink));
        self
    }

    /// As [`dead_letters`](Pipe::dead_letters), for a sink that is [opened](Pipe::opening_sink) when the pipeline runs.
    pub fn opening_dead_letters(
        mut self,
        address: impl Into<String>,
        open: impl FnMut() -> Later<'static, Result<Arc<dyn Sink>, PipeError>> + Send + 'static,
    ) -> Pipe {
        self.dead = Some(Opening::Closed { address: address.into(), open: Box::new(open) });
        self
    }

    /// How long [opening](Pipe::opening) the source and the sinks may take; by default as long as it needs.
    pub fn open_within(mut self, within: Duration) -> Pipe {
        self.settings.open_within = Some(within);
        self
    }

    /// Sets a listener that is called once, when the source and the sinks are open.
    pub fn on_running(mut self, listener: impl FnOnce() + Send + 'static) -> Pipe {
        self.running = Some(Box::new(listener));
        self
    }

    /// Which order is kept; by default none.
    pub fn order(mut self, order: Order) -> Pipe {
        self.order = order;
        self
    }

    /// How often an event is tried.
    pub fn attempts(mut self, attempts: Attempts) -> Pipe {
        self.settings.attempts = Attempts { max: attempts.max.max(1), ..attempts };
        self
    }

    /// How many events, and how many bytes of them, may be under way; 10,000 and 64 MiB by default. A single event, or
    /// a batch that cannot be split, may exceed the bytes while nothing else is under way.
    pub fn in_flight(mut self, events: usize, bytes: usize) -> Pipe {
        self.settings.events_max = events.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        self.settings.bytes_max = bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        self
    }

    /// How many events are received at once, 512 by default, and how long the source may wait for that many once it has
    /// one; by default not at all.
    pub fn batch(mut self, events: usize, linger: Duration) -> Pipe {
        self.settings.batch = events.max(1);
        self.settings.linger = linger;
        self
    }

    /// Makes one execution of all events of a batch: its input is the array of them, and `{"batchItemFailures":
    /// [{"itemIdentifier": …}]}` in its output names those that failed, by their ids in the source. An empty list, or
    /// none, means that all succeeded; anything else that is not such a list, that all failed.
    pub fn as_array(mut self) -> Pipe {
        self.settings.as_array = true;
        self
    }

    /// Wraps each event with its provenance: `{"messageId", "eventSource", "key", "deliveries", "body"}`.
    pub fn with_envelope(mut self) -> Pipe {
        self.settings.envelope = true;
        self
    }

    /// Runs events with the same key once within `keep`; the others are settled and counted. A key is dropped when its
    /// event is given back. At most a million keys are kept.
    pub fn deduplicate(mut self, key: KeyOf, keep: Duration) -> Pipe {
        self.settings.unique = Some((key, keep));
        self
    }

    /// About how many bytes of its execution's history a dead letter has, 64 KiB by default; with `None`, it has
    /// neither history nor the state and the ARN. Only the last attempt at an event is watched for it, so pipelines of
    /// pure machines, and those with several attempts, pay only for failures; with a single attempt, each execution is
    /// watched.
    pub fn history(mut self, bytes: Option<usize>) -> Pipe {
        self.settings.history_bytes = bytes;
        self
    }

    /// How long running work may take once the pipeline is to end; 30 s by default. What takes longer is left to its
    /// source.
    pub fn grace(mut self, grace: Duration) -> Pipe {
        self.settings.grace = grace;
        self
    }

    /// Sets a listener to failures of the source, the sink or the dead-letter sink: called at once, again at growing
    /// intervals while a failure lasts, and when it is over. Lost connections are failures, also while no events flow.
    /// Events of `tracing` report the same; [`Stats::failing`] has the present ones.
    pub fn on_trouble(mut self, listener: impl Fn(&Trouble) + Send + Sync + 'static) -> Pipe {
        self.troubles.listener = Some(Box::new(listener));
        self
    }

    /// Sets a listener to events that fail permanently, called for each once it is a dead letter, or counted if there
    /// is no sink for these.
    pub fn on_failure(mut self, listener: impl Fn(&FailedEvent) + Send + Sync + 'static) -> Pipe {
        self.failures = Some(Box::new(listener));
        self
    }

    /// Its counters.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// A handle to stop it.
    pub fn stopper(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Runs until there are no more events, or it is [stopped](Pipe::stopper). Must be called within a tokio runtime;
    /// with one of several threads, batches are processed in parallel.
    ///
    /// # Errors
    /// When an end cannot be [opened](Pipe::opening), the source refuses before it has handed anything over, the sink is
    /// closed, or the pipeline was stopped while events of a source that cannot redeliver were under way.
    pub async fn run(self) -> Result<Report, PipeError> {
        let Pipe {
            engine,
            machine,
            source,
            sink,
            dead,
            order,
            settings,
            troubles,
            failures,
            running,
            stats,
            stop,
        } = self;
        let opener = Opener { troubles: &troubles, within: settings.open_within };
        let ends = async {
            tokio::try_join!(
                opener.source(source),
                opener.sink(End::Sink, sink),
                opener.sink(End::DeadLetters, dead)
            )
        };
        let mut stopped = stop.subscribe();
        let (source, sink, dead) = tokio::select! {
            opened = ends => opened?,
            // Nothing was received.
            _ = stopped.wait_for(|stop| *stop) => return Ok(stats.report()),
        };
        stats.running.store(true, Ordering::Release);
        if let Some(running) = running {
            running();
        }
        let dedup = settings.unique.as_ref().map(|(_, keep)| Mutex::new(Dedup::new(*keep)));
        let redelivers = source.redelivers();
        let in_place = !redelivers || matches!(order, Order::Key(_));
        let (events, bytes) = (settings.events_max, settings.bytes_max);
        let processor = Processor {
            engine,
            machine,
            sink,
            dead,
            settings,
            in_place,
            redelivers,
            dedup,
            troubles,
            failures,
            stats,
            stop,
            source: source.address(),
        };
        let processor = Arc::new(processor);
        let _watching = watch::begin(&processor, &*source);
        let flow = Flow {
            source,
            order,
            events: Arc::new(Semaphore::new(events)),
            bytes: Arc::new(Semaphore::new(bytes)),
            processor,
            lane: Lane::default(),
            lanes: Lanes::new(),
            arena: Arena::new(),
            tasks: JoinSet::new(),
        };
        flow.run().await
    }
}

/// A running pipeline.
struct Flow {
    source: Box<dyn Source>,
    order: Order,
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    processor: Arc<Processor>,
    lane: Lane,
    lanes: Lanes,
    arena: Arena,
    tasks: JoinSet<Result<(), PipeError>>,
}

/// Held as long as a piece of work is under way.
type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Flow {
    async fn run(mut self) -> Result<Report, PipeError> {
        let mut stopped = self.processor.stop.subscribe();
        let ended = self.receive().await;
        // Running work is finished, or left to its source.
        let grace = self.processor.settings.grace;
        self.processor.stats.running.store(false, Ordering::Release);
        if ended.is_err() || *stopped.borrow_and_update() {
            self.processor.stop.send_replace(true);
        }
        let finish = async {
            let mut ended = Ok(());
            while let Some(joined) = self.tasks.join_next().await {
                ended = ended.and(outcome(joined));
            }
            ended
        };
        let finished = tokio::select! {
            finished = finish => finished,
            // When it ends because there are no more events, there is no time limit.
            () = async { let _ = stopped.wait_for(|stop| *stop).await; sleep(grace).await } => {
                let Processor { stats, redelivers, source, .. } = &*self.processor;
                stats.left.store(stats.in_flight(), Ordering::Relaxed);
                let unfinished = format!("some events of the source {source} are not completed");
                if *redelivers { Ok(()) } else { Err(PipeError::Closed(unfinished)) }
            }
        };
        self.tasks.abort_all();
        // Closing is best effort; the source may be gone.
        let _ = timeout(CLOSE_MAX, self.source.close()).await;
        ended.and(finished).map(|()| self.processor.stats.report())
    }

    /// Accepts events until there are no more, or it is stopped. What the source has handed over is accepted in any
    /// case.
    async fn receive(&mut self) -> Result<(), PipeError> {
        let mut stopped = self.processor.stop.subscribe();
        let (mut wait, mut worked, mut last) = (AWAY_MIN, false, None::<Instant>);
        loop {
            while let Some(joined) = self.tasks.try_join_next() {
                outcome(joined)?;
            }
            let received = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                received = self.receive_once() => received,
            };
            match received {
                Ok(Some(batch)) => {
                    (worked, last) = (true, Some(Instant::now()));
                    self.processor.troubles.worked(End::Source);
                    if !batch.is_empty() {
                        wait = AWAY_MIN;
                        self.take_on(batch).await?;
                    }
                }
                Ok(None) => return Ok(()),
                // What worked before may work again: the stream was removed, or the permission to read it revoked.
                Err(PipeError::Refused(why)) if !worked || !self.processor.redelivers => {
                    let source = End::Source.at(&self.processor.source);
                    return Err(PipeError::Refused(format!("the {source}: {why}")));
                }
                Err(PipeError::Away(why) | PipeError::Absent(why) | PipeError::Refused(why)) => {
                    let Processor { troubles, source, .. } = &*self.processor;
                    troubles.failed(End::Source, Cause::Operation, || source.clone(), &why);
                    // A source that worked for a while begins anew; not one that only seems to work between failures.
                    if last.take().is_some_and(|at| at.elapsed() > AWAY_MAX) {
                        wait = AWAY_MIN;
                    }
                    if self.processor.pause(wait).await.is_err() {
                        return Ok(());
                    }
                    wait = (wait * 2).min(AWAY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives from the source, as soon as there is room.
    async fn receive_once(&mut self) -> Result<Option<Batch>, PipeError> {
        let first = acquire(&self.events, 1).await?;
        let Settings { batch, linger, .. } = self.processor.settings;
        let room = Room {
            events: (self.events.available_permits() + 1).min(batch),
            bytes: self.bytes.available_permits().max(1),
            linger,
        };
        drop(first);
        self.source.receive(room).await
    }

    async fn take_on(&mut self, batch: Batch) -> Result<(), PipeError> {
        let (events, bytes) = (batch.len(), batch.bytes());
        let stats = &self.processor.stats;
        let again = batch.redeliveries();
        stats.received.fetch_add((events - again) as u64, Ordering::Relaxed);
        stats.redelivered.fetch_add(again as u64, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let Settings { events_max, bytes_max, .. } = self.processor.settings;
        let permits: Permits = (
            acquire(&self.events, events.min(events_max)).await?,
            acquire(&self.bytes, bytes.clamp(1, bytes_max)).await?,
        );
        let (batch, permits) = (Arc::new(batch), Arc::new(permits));
        let fresh = self.fresh(&batch).await;
        match &self.order {
            Order::Any => self.spawn(&batch, fresh, Turn::default(), permits),
            Order::Outputs => {
                let turn = self.lane.join();
                self.spawn(&batch, fresh, turn, permits);
            }
            Order::Key(key) => {
                for (events, turn) in self.lanes.split(&batch, &fresh, key) {
                    self.spawn(&batch, events, turn, Arc::clone(&permits));
                }
            }
        }
        Ok(())
    }

    fn spawn(&mut self, batch: &Arc<Batch>, events: Vec<u32>, turn: Turn, permits: Arc<Permits>) {
        let (processor, batch) = (Arc::clone(&self.processor), Arc::clone(batch));
        // If the order of keys is kept, processing of a later event begins when the earlier one is settled.
        let first_of_all = matches!(self.order, Order::Key(_));
        processor.stats.in_flight.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.tasks.spawn(async move {
            let batch_result = processor.process(&batch, &events, turn, first_of_all).await;
            processor.stats.in_flight.fetch_sub(events.len() as u64, Ordering::Relaxed);
            drop(permits);
            batch_result
        });
    }

    /// The events that are not duplicates; duplicates are settled.
    async fn fresh(&mut self, batch: &Batch) -> Vec<u32> {
        let all = 0..batch.len() as u32;
        let (Some((key, _)), Some(dedup)) = (&self.processor.settings.unique, &self.processor.dedup) else {
            return all.collect();
        };
        let now = Instant::now();
        let (fresh, known): (Vec<u32>, Vec<u32>) =
            all.partition(|&event| match key.of(&mut self.arena, batch, event as usize) {
                Some(key) => dedup.lock().unwrap_or_else(PoisonError::into_inner).is_new(&key, now),
                None => true,
            });
        if !known.is_empty() {
            self.processor.stats.duplicates.fetch_add(known.len() as u64, Ordering::Relaxed);
            let dispositions: Vec<_> = known.into_iter().map(|event| (event, Disposition::Done)).collect();
            self.processor.settle(batch, &dispositions).await;
        }
        fresh
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, PipeError> {
    // Both are bounded by `in_flight`.
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    let closed = |_| PipeError::Closed("the pipeline is gone".to_owned());
    Arc::clone(semaphore).acquire_many_owned(permits).await.map_err(closed)
}

/// A task that panicked settled nothing: its events stay with the source, and the pipeline ends, because it is a bug.
fn outcome(joined: Result<Result<(), PipeError>, tokio::task::JoinError>) -> Result<(), PipeError> {
    joined.unwrap_or_else(|error| {
        if error.is_panic() {
            Err(PipeError::Closed("a worker of the pipeline panicked, which is a bug".to_owned()))
        } else {
            Ok(())
        }
    })
}
