//! The events that may happen at any time in a wild world.

use std::task::Poll;

use expressway::runtime::{Alias, Published, Status};

use super::reference::Failure;
use super::world::{Played, World, poll};

impl World {
    /// One of the things that may happen at any time.
    pub(crate) fn something(&mut self) {
        match self.chance.below(22) {
            0 if !self.executions.is_empty() => {
                let n = self.chance.below(self.executions.len() as u64) as usize;
                self.executions[n].handle.abort();
            }
            1 => self.redeploy(),
            2 => {
                let far_ms = self.chance.below(400_000);
                self.pass(far_ms);
            }
            3 => {
                // Time runs backwards, which shards must not follow.
                let now_ms = self.now_ms - self.chance.below(10_000);
                self.turn(now_ms);
            }
            4..=6 => {
                let near_ms = self.chance.below(2_000);
                self.pass(near_ms);
            }
            7 | 8 => self.settle(),
            9 | 10 => self.batch(),
            11 => self.run(),
            12 if !self.runs.is_empty() => {
                let n = self.chance.below(self.runs.len() as u64) as usize;
                drop(self.runs.remove(n));
                self.dropped += 1;
            }
            13 => self.shift_alias(),
            14 | 15 => self.answer_anything(),
            16 => self.beat(),
            17 if self.chance.one_in(6) => self.drain(),
            _ => self.turn(self.now_ms),
        }
        self.check();
    }

    /// Several at once, some of which may not be JSON; of a machine, or of an alias.
    fn batch(&mut self) {
        let mut inputs: Vec<String> = Vec::new();
        for _ in 0..self.chance.below(12) {
            let input = self.input().to_string();
            inputs.push(if self.chance.one_in(9) { "{".to_owned() } else { input });
        }
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let deployed = &self.machines[n];
        let batch = if self.chance.one_in(2) {
            self.engine.start_batch(&deployed.machine, &inputs)
        } else {
            self.engine.start_batch(&deployed.alias, &inputs)
        };
        assert!(batch.refused.is_some() || batch.counts().accepted == inputs.len() as u64);
        self.batches.push((Box::pin(batch), None));
    }

    /// One that is waited for, or not any more when its future is dropped.
    fn run(&mut self) {
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let (engine, machine) = (self.engine.clone(), self.machines[n].machine.clone());
        let input = self.input().to_string();
        let before = self.engine.counts().accepted;
        let mut run: super::world::Run = Box::pin(async move { engine.run(&machine, input).await });
        let polled = poll(run.as_mut());
        let accepted = self.engine.counts().accepted - before;
        assert_eq!(accepted, u64::from(!matches!(polled, Poll::Ready(Err(_)))));
        self.ran += accepted;
        if polled.is_pending() {
            self.runs.push(run);
        }
    }

    fn shift_alias(&mut self) {
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let deployed = &self.machines[n];
        let mut routes: Vec<(&Published, u32)> = Vec::new();
        for version in &deployed.published {
            routes.push((version, self.chance.below(3) as u32));
        }
        // Weights that are all 0 change nothing.
        let changed = deployed.alias.set(&routes).is_ok();
        assert_eq!(changed, routes.iter().any(|(_, weight)| *weight > 0));
        assert_eq!(Alias::new(&routes).is_ok(), changed);
    }

    /// An answer to a task that does not wait for one, or that is over.
    fn answer_anything(&mut self) {
        let silent = self.alarms.lock().unwrap().silent.clone();
        let spent = self.spent.len();
        if spent > 0 && self.chance.one_in(3) {
            let n = self.chance.below(spent as u64) as usize;
            assert!(self.engine.send_task_success(&self.spent[n], b"{}").is_err());
            assert!(self.engine.send_task_failure("no token", "", "").is_err());
        }
        if !silent.is_empty() {
            let n = self.chance.below(silent.len() as u64) as usize;
            let token = self.alarms.lock().unwrap().silent.remove(n);
            let result = if self.chance.one_in(2) {
                Ok(serde_json::json!({"n": 1, "l": [{"n": 2, "l": []}]}))
            } else {
                Err(Failure::new("E1", "late"))
            };
            self.answer((token, result));
        }
    }

    /// Heartbeats, any number of them.
    fn beat(&mut self) {
        let silent = self.alarms.lock().unwrap().silent.clone();
        for token in &silent {
            for _ in 0..self.chance.below(4) {
                // The task may be gone.
                let _ = self.engine.send_task_heartbeat(token);
            }
        }
    }

    /// The engine goes away: what runs is aborted, and the shards end.
    pub(crate) fn drop_engine(self) -> Played {
        let World { engine, mut simulation, executions, batches, runs, drains, now_ms, .. } = self;
        drop((engine, runs, drains));
        simulation.settle(now_ms);
        for shard in simulation.shards() {
            assert_eq!((shard.executions(), shard.timers(), shard.tasks()), (0, 0, 0));
        }
        let mut statuses = Vec::new();
        for mut execution in executions {
            let status = execution.handle.status();
            execution.look(status, &mut Vec::new());
            assert_ne!(status, Status::Running);
            statuses.extend(execution.status());
        }
        for (mut batch, end) in batches {
            let Poll::Ready(counts) = poll(batch.as_mut()) else { panic!("a batch is lost") };
            assert_eq!((counts.ended(), counts.running), (counts.accepted, 0));
            assert!(end.is_none_or(|end| end == counts));
        }
        Played { compared: 0, ambiguous: 0, histories: 0, statuses, log: Vec::new() }
    }
}
