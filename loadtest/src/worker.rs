//! A thread that sends starts when they are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use crate::arrivals::Pace;
use crate::lane::{self, Clock, Lane};
use crate::record::{Interval, Stamp};
use crate::usage::thread_cpu_ns;

/// Messages from the session to its workers.
#[derive(Debug, Default)]
pub struct Signals {
    /// Nothing more is to be sent, and nothing to be waited for.
    pub stop: AtomicBool,
    /// Nothing more is to be sent.
    pub finish: AtomicBool,
    /// Goes up when workers are to hand over what they have.
    pub epoch: AtomicU64,
}

/// What a worker hands over.
#[derive(Debug)]
pub struct Delivery {
    /// Whose it is.
    pub worker: usize,
    /// What happened, by target.
    pub intervals: Vec<Interval>,
    /// Nanoseconds in which it waited for something to be due.
    pub idle: u64,
    /// Nanoseconds in which it carried starts out itself, which are the target's.
    pub inside: u64,
    /// Nanoseconds of processor time that it took.
    pub cpu: u64,
    /// Nanoseconds since it handed over last.
    pub elapsed: u64,
    /// Starts under way.
    pub in_flight: usize,
    /// What held starts back on this side.
    pub congestion: Option<String>,
    /// It is the last one of this worker.
    pub last: bool,
}

/// One of a worker's lanes.
pub struct Way {
    /// How starts go there.
    pub lane: Box<dyn Lane>,
    /// What is recorded.
    pub interval: Interval,
    /// Starts under way at a time, at most.
    pub in_flight_max: usize,
    /// Whether the lane carries starts out on this thread.
    pub in_place: bool,
    /// Its share of the starts, and how far the shares given so far are behind.
    pub weight: f64,
    /// Starts it got.
    pub debt: f64,
}

/// When a worker's starts are due.
pub enum Model {
    /// At their times.
    Open(Pace),
    /// When another ended: so many in flight.
    Closed(usize),
}

/// Everything a worker needs.
pub struct Worker {
    /// How starts go out.
    pub ways: Vec<Way>,
    /// When they are due.
    pub model: Model,
    /// The time.
    pub clock: Clock,
    /// When the session began.
    pub begin: u64,
    /// When the measured part began.
    pub from: u64,
    /// When it ends, but for what is under way.
    pub end: u64,
    /// How long to wait for that.
    pub drain: u64,
    /// The worker's number, and the total: distinguishes inputs.
    pub number: u64,
    /// See above.
    pub workers: u64,
    /// The session's messages.
    pub signals: Arc<Signals>,
    /// Where deliveries go.
    pub deliveries: Sender<Delivery>,
    /// Where they come back from, cleared, to be written on again.
    pub cleared: Receiver<Vec<Interval>>,
}

/// Starts between two checks of everything else, and their longest duration.
const BURST_MAX: usize = 64;
const BURST_NS: u64 = 200_000;
/// A sleeping thread wakes up late by about so much; what is due sooner is waited for awake.
const SPIN_IN_PLACE_NS: u64 = 200_000;
const SPIN_NS: u64 = 60_000;
/// The longest wait without checking for messages.
const WAIT_NS_MAX: u64 = 5_000_000;
const SHARED_WAIT_NS_MAX: u64 = 500_000;

struct State {
    sent: u64,
    epoch: u64,
    idle: u64,
    inside: u64,
    delivered: u64,
    /// Processor time that this thread took till then.
    cpu: u64,
}

impl Worker {
    /// Sends until the end.
    pub fn work(mut self) {
        for way in &mut self.ways {
            way.lane.begin(&way.interval);
        }
        let (delivered, cpu) = (self.clock.now(), thread_cpu_ns());
        let mut state = State { sent: self.number, epoch: 0, idle: 0, inside: 0, delivered, cpu };
        let mut is_warm = false;
        let stopped = loop {
            if self.signals.stop.load(Ordering::Relaxed) {
                break true;
            }
            let now = self.clock.now();
            if !is_warm && now >= self.from {
                is_warm = true;
                self.give_up_before(self.from);
            }
            if now >= self.end || self.signals.finish.load(Ordering::Relaxed) {
                break false;
            }
            let next = self.burst(now, &mut state);
            self.rest(next.min(self.end), &mut state);
        };
        let now = self.clock.now();
        self.give_up_before(self.from.min(now));
        let dropped = self.give_up_before(self.end.min(now));
        self.ways[0].interval.dropped(self.from, dropped);
        if !stopped {
            self.drain(now, &mut state);
        }
        for way in &mut self.ways {
            way.lane.abandon(&mut way.interval);
        }
        self.deliver(&mut state, true);
    }

    /// Drops starts that were due before a time, and returns how many. The rest of a warm-up does not count as lost,
    /// and must not delay what is measured.
    fn give_up_before(&mut self, time: u64) -> u64 {
        match &mut self.model {
            Model::Open(pace) => pace.skip_until(time.saturating_sub(self.begin)),
            Model::Closed(_) => 0,
        }
    }

    /// Sends what is due; gives when something will be.
    fn burst(&mut self, now: u64, state: &mut State) -> u64 {
        let (mut now, until) = (now, now + BURST_NS);
        for _ in 0..BURST_MAX {
            let due = match &mut self.model {
                Model::Open(pace) => match pace.next().map(|due| due + self.begin) {
                    Some(due) if due <= now => {
                        pace.advance();
                        due
                    }
                    Some(due) => return due,
                    None => return u64::MAX,
                },
                Model::Closed(window) => {
                    let window = *window;
                    if self.ways.iter().any(|way| way.lane.in_flight() < window) {
                        now
                    } else {
                        return u64::MAX;
                    }
                }
            };
            now = self.send(due, now, state);
            if now > until {
                break;
            }
        }
        now
    }

    fn send(&mut self, due: u64, now: u64, state: &mut State) -> u64 {
        let n = state.sent;
        state.sent = n.wrapping_add(self.workers);
        let chosen = self.choose();
        let Way { lane, interval, in_flight_max, in_place, .. } = &mut self.ways[chosen];
        if lane.in_flight() >= *in_flight_max {
            interval.dropped(due, 1);
            return now;
        }
        let after = lane.send(n, Stamp { due, sent: now }, interval);
        if *in_place {
            state.inside += after - now;
        }
        after
    }

    /// Which lane the next start takes: the one that is furthest behind its share. In a closed model, of those with room.
    fn choose(&mut self) -> usize {
        if self.ways.len() == 1 {
            return 0;
        }
        let window = match self.model {
            Model::Closed(window) => window,
            Model::Open(_) => usize::MAX,
        };
        let mut best = 0;
        for n in 0..self.ways.len() {
            self.ways[n].debt += self.ways[n].weight;
            let has_room = self.ways[n].lane.in_flight() < window;
            let best_has_room = self.ways[best].lane.in_flight() < window;
            if has_room && (!best_has_room || self.ways[n].debt > self.ways[best].debt) {
                best = n;
            }
        }
        self.ways[best].debt -= 1.0;
        best
    }

    /// Does everything else, and waits until `next`.
    fn rest(&mut self, next: u64, state: &mut State) {
        let now = self.clock.now();
        for way in &mut self.ways {
            way.lane.turn(now, &mut way.interval);
        }
        self.look(state);
        let from = self.clock.now();
        if next <= from {
            return;
        }
        // Only one lane waits; the others must not be kept waiting by it.
        let longest = if self.ways.len() == 1 { WAIT_NS_MAX } else { SHARED_WAIT_NS_MAX };
        let most = (next - from).min(longest);
        let waited = self.ways.iter_mut().any(|way| way.lane.wait(most));
        if !waited {
            let in_place = self.ways.iter().all(|way| way.in_place);
            lane::wait(self.clock, from + most, if in_place { SPIN_IN_PLACE_NS } else { SPIN_NS });
        }
        state.idle += self.clock.now() - from;
    }

    /// Waits for what is under way.
    fn drain(&mut self, now: u64, state: &mut State) {
        let until = now + self.drain;
        loop {
            let now = self.clock.now();
            for way in &mut self.ways {
                way.lane.turn(now, &mut way.interval);
            }
            let in_flight: usize = self.ways.iter().map(|way| way.lane.in_flight()).sum();
            if in_flight == 0 || now >= until || self.signals.stop.load(Ordering::Relaxed) {
                return;
            }
            self.look(state);
            let waited = self.ways.iter_mut().any(|way| way.lane.wait(SHARED_WAIT_NS_MAX));
            if !waited {
                lane::wait(self.clock, now + 1_000_000, 0);
            }
            state.idle += self.clock.now() - now;
        }
    }

    fn look(&mut self, state: &mut State) {
        let epoch = self.signals.epoch.load(Ordering::Relaxed);
        if epoch != state.epoch {
            state.epoch = epoch;
            self.deliver(state, false);
        }
    }

    fn deliver(&mut self, state: &mut State, last: bool) {
        let (now, cpu) = (self.clock.now(), thread_cpu_ns());
        for way in &mut self.ways {
            way.lane.collect(&mut way.interval);
        }
        let intervals = match self.cleared.try_recv() {
            Ok(mut cleared) => {
                for (way, interval) in self.ways.iter_mut().zip(&mut cleared) {
                    std::mem::swap(&mut way.interval, interval);
                }
                cleared
            }
            Err(_) => self.ways.iter_mut().map(|way| way.interval.take()).collect(),
        };
        let delivery = Delivery {
            worker: self.number as usize,
            intervals,
            idle: std::mem::take(&mut state.idle),
            inside: std::mem::take(&mut state.inside),
            cpu: cpu - std::mem::replace(&mut state.cpu, cpu),
            elapsed: now - std::mem::replace(&mut state.delivered, now),
            in_flight: self.ways.iter().map(|way| way.lane.in_flight()).sum(),
            congestion: self.ways.iter().find_map(|way| way.lane.congestion()),
            last,
        };
        // The session may be gone, when it was interrupted.
        let _ = self.deliveries.send(delivery);
    }
}
