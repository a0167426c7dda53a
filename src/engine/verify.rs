//! Assertions about an execution at the end of each turn, in debug builds.

use super::execution::{Execution, NO_FRAME, Phase};
use super::turn::Turn;
use crate::index::Id;
use crate::program::{Program, StateKind};

/// Executions with more frames are not checked: turn by turn that would be quadratic.
const FRAMES_MAX: usize = 500;

impl Execution {
    /// Checks that frames, joins, the queue and the free lists agree.
    ///
    /// # Panics
    /// When they do not: that is a bug.
    pub(super) fn verify(&self, program: &Program, turn: Turn) {
        if self.outcome.is_some() {
            assert!(!self.ready.iter().any(|place| self.is_queued(place)), "nothing is to run after the end");
            return;
        }
        // One that was cut is inside a state, and can only end.
        if matches!(turn, Turn::Cut(_)) || self.frames.len() > FRAMES_MAX {
            return;
        }
        assert_ne!(turn, Turn::Done, "what is done has an outcome");
        self.verify_frames(program);
        self.verify_joins();
        self.verify_queue(turn);
    }

    fn verify_frames(&self, program: &Program) {
        let free = self.frames.iter().filter(|frame| frame.phase == Phase::Free).count();
        assert_eq!(free, self.frames_free.len(), "each free frame is given out once");
        for &frame in &self.frames_free {
            assert_eq!(self.frames[frame as usize].phase, Phase::Free, "frame {frame} is free");
        }
        let tops = self.in_use().filter(|(_, frame)| frame.parent.is_none()).count();
        assert_eq!(tops, 1, "one frame is the machine's own");
        for (n, frame) in self.in_use() {
            let state = frame.state.expect("a frame is in a state");
            assert!(state.index() < program.states.len(), "frame {n} is in {state:?}");
            let kind = program.states[state].kind;
            let fits = match frame.phase {
                Phase::Waiting => matches!(kind, StateKind::Wait(_)),
                Phase::Task => program.task_of(kind).is_some(),
                Phase::Joining(_) => matches!(kind, StateKind::Parallel(_) | StateKind::Map(_)),
                Phase::Delayed => program.states[state].recovery.is_some(),
                Phase::Enter | Phase::Again | Phase::Free => true,
            };
            assert!(fits, "frame {n} is {:?} in {kind:?}", frame.phase);
            if let Phase::Joining(join) = frame.phase {
                assert_eq!(self.joins[join as usize].frame, n as u32, "frame {n} waits for its own join");
            }
        }
    }

    fn verify_joins(&self) {
        let waiting = self.in_use().filter(|(_, frame)| matches!(frame.phase, Phase::Joining(_))).count();
        assert_eq!(waiting + self.joins_free.len(), self.joins.len(), "each join has a frame or is free");
        let mut children = 0;
        for (n, frame) in self.in_use() {
            let Phase::Joining(id) = frame.phase else { continue };
            let join = &self.joins[id as usize];
            assert!(!self.joins_free.contains(&id), "frame {n} waits for join {id}, which is free");
            assert!(join.started <= join.total && join.running <= join.started, "{join:?}");
            assert_eq!(join.results.len(), join.total as usize, "a result for each child");
            let mut running = 0;
            let mut younger = NO_FRAME;
            for (child, frame) in self.children(id) {
                assert_eq!((frame.parent, frame.younger), (Some(id), younger), "frame {child} of join {id}");
                assert!(frame.index < join.started, "frame {child} is one that began");
                younger = child;
                running += 1;
            }
            assert_eq!(running, join.running, "join {id} counts its children");
            // In a test of one state, its result may be mocked.
            let is_test = !self.context.is_undefined();
            assert!(running > 0 || is_test, "join {id} of {:?} waits for nothing", frame.state);
            children += running;
        }
        assert_eq!(
            children as usize + 1,
            self.in_use().count(),
            "each frame but the machine's own is in a join"
        );
    }

    fn verify_queue(&self, turn: Turn) {
        let counts = self.ready.iter().filter(|place| self.is_queued(place)).count();
        assert_eq!(counts + self.void, self.ready.len(), "places that do not count are counted");
        let queued = self.in_use().filter(|(_, frame)| frame.queued != 0).count();
        assert_eq!(queued, counts, "a frame has one place in the queue");
        for (n, frame) in self.in_use() {
            // A frame that was reused for the next iteration while it ran continues at once, and leaves a stale queue
            // entry behind.
            let is_to_run = matches!(frame.phase, Phase::Enter | Phase::Again);
            assert!(!is_to_run || frame.queued != 0, "frame {n} is {:?}", frame.phase);
        }
        assert_eq!(turn == Turn::Parked, counts == 0, "it parks when nothing is to run");
    }

    fn in_use(&self) -> impl Iterator<Item = (usize, &super::execution::Frame)> {
        self.frames.iter().enumerate().filter(|(_, frame)| frame.phase != Phase::Free)
    }
}
