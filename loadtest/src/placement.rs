//! Which processors run what: the threads that send on some of their own, everything else in this process on the rest.
//!
//! A thread that busy-waits has used up its share of a processor. Any thread that wakes up on the same one, such as a
//! shard of the engine under test, runs first, and the sender is late by a time slice, some milliseconds. Linux does
//! that even if another processor is idle. So only the sender may use its processor.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// Whether threads that send have processors of their own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In an open model each of them has one, and everything else in this process, targets included, has the rest, where
    /// something is left (Linux).
    #[default]
    Apart,
    /// The system decides.
    Free,
}

/// Processors by number: those of the threads that send, one for each, and those of everything else in this process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Processors {
    /// Of the threads that send.
    pub workers: Vec<usize>,
    /// Of everything else.
    pub others: Vec<usize>,
}

impl Processors {
    /// Divides those that the calling thread may use; none where nothing would be left for the others, or where the
    /// system has no such notion. The first ones are the others', as they have more of the system's own work.
    pub fn divide(workers: usize) -> Option<Processors> {
        let mut others = system::allowed()?;
        // A quota may allow less than all of them at a time.
        let most = std::thread::available_parallelism().map_or(1, usize::from).min(others.len());
        if workers >= most {
            return None;
        }
        let workers = others.split_off(others.len() - workers);
        Some(Processors { workers, others })
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Processors { workers, others } = self;
        let noun = if workers.len() == 1 { "processor" } else { "processors" };
        write!(f, "{noun} {}, all else on {}", Ranges(workers), Ranges(others))
    }
}

/// Ascending numbers, as `taskset` has them: `0-2,5`.
struct Ranges<'n>(&'n [usize]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.0.chunk_by(|one, next| one + 1 == *next);
        for (n, range) in ranges.enumerate() {
            let separator = if n > 0 { "," } else { "" };
            match range {
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                range => range.iter().try_for_each(|only| write!(f, "{separator}{only}"))?,
            }
        }
        Ok(())
    }
}

/// While this lives, the thread that made it, and threads made by it, keep to some processors.
#[derive(Debug)]
pub struct Confined {
    before: Vec<usize>,
    // It belongs to its thread.
    _thread: std::marker::PhantomData<*const ()>,
}

impl Confined {
    /// Confines the calling thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn to(processors: &[usize]) -> io::Result<Confined> {
        let before = system::allowed().unwrap_or_default();
        system::keep_to(processors)?;
        Ok(Confined { before, _thread: std::marker::PhantomData })
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // The former processors are allowed again, unless they were removed meanwhile.
        let _ = system::keep_to(&self.before);
    }
}

/// Keeps the calling thread to one processor from now on.
///
/// # Errors
/// When the system refuses.
pub fn pin(processor: usize) -> io::Result<()> {
    system::keep_to(&[processor])
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Option<Vec<usize>> {
        let set = sched_getaffinity(None).ok()?;
        Some((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
    }

    pub(super) fn keep_to(processors: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        processors.iter().for_each(|&processor| set.set(processor));
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) fn allowed() -> Option<Vec<usize>> {
        None
    }

    pub(super) fn keep_to(_: &[usize]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_is_left_without_a_processor() {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(Processors::divide(most), None);
        for workers in 1..most {
            let divided = Processors::divide(workers).expect("a rest");
            assert_eq!(divided.workers.len(), workers);
            assert!(!divided.others.is_empty());
            assert!(divided.workers.iter().all(|it| !divided.others.contains(it)), "{divided:?}");
        }
    }

    #[test]
    fn many_processors_are_told_in_few_words() {
        let processors = Processors { workers: vec![6, 7], others: vec![0, 1, 2, 4] };
        assert_eq!(processors.to_string(), "processors 6-7, all else on 0-2,4");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_was_confined_is_free_again_and_so_are_threads_made_then() {
        let before = system::allowed().expect("processors");
        let confined = Confined::to(&before[..1]).unwrap();
        let inherited = std::thread::spawn(system::allowed).join().unwrap();
        assert_eq!((system::allowed(), inherited), (Some(vec![before[0]]), Some(vec![before[0]])));
        drop(confined);
        assert_eq!(std::thread::spawn(system::allowed).join().unwrap(), Some(before));
    }
}
