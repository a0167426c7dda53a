//! Memory budgets of this process and their users. What does not fit is refused before it is allocated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// How many bytes this process takes by default: half of what the machine, or its control group, has.
pub fn default_bytes() -> usize {
    let available = available_bytes().unwrap_or(8 << 30);
    usize::try_from(available / 2).unwrap_or(usize::MAX)
}

/// The memory of the machine, or less if a control group has less.
fn available_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        number(line.trim().strip_suffix("kB")?).map(|kib| kib << 10)
    });
    // Version 2 of control groups: the limits of enclosing groups apply as well. Version 1 has it in one place.
    let own = read("/proc/self/cgroup");
    let own = own.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("0::"));
    let groups = own.into_iter().flat_map(|path| {
        let path = path.trim_end_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(move |end| format!("/sys/fs/cgroup{}/memory.max", &path[..end]))
    });
    let limits = groups.chain(["/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned()]);
    limits.filter_map(|path| number(&read(&path)?)).chain(machine).min()
}

/// The budget of one kind of use.
#[derive(Debug)]
pub struct Share {
    bytes_max: usize,
    /// Bytes that only `take_reserved` gets.
    reserve: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl Share {
    /// A share of so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Share> {
        Share::with_reserve(bytes_max, 0)
    }

    /// The same, of which `reserve` bytes are kept for `take_reserved`.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "results are sent by the server"))]
    pub(crate) fn with_reserve(bytes_max: usize, reserve: usize) -> Arc<Share> {
        let (used, refused) = Default::default();
        Arc::new(Share { bytes_max, reserve: reserve.min(bytes_max), used, refused })
    }

    /// Takes bytes, until the charge is dropped. `None`, which is counted, if not so many are left.
    pub fn take(self: &Arc<Share>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge { share: Some(Arc::clone(self)), bytes: 0 };
        charge.grow(bytes).then_some(charge)
    }

    /// Takes bytes, of the reserve too. What does not fit is not counted as refused.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "results are sent by the server"))]
    pub(crate) fn take_reserved(self: &Arc<Share>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge { share: Some(Arc::clone(self)), bytes: 0 };
        charge.grow_to(self.bytes_max, bytes).then_some(charge)
    }

    /// Takes bytes even beyond the budget.
    pub fn take_anyway(self: &Arc<Share>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Relaxed);
        Charge { share: Some(Arc::clone(self)), bytes }
    }

    /// Takes more for a charge that is still empty, or is of this share; whether so many were left.
    pub fn extend(self: &Arc<Share>, charge: &mut Charge, bytes: usize) -> bool {
        charge.share.get_or_insert_with(|| Arc::clone(self));
        charge.grow(bytes)
    }

    /// The bytes of the budget.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes taken.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// How often a request was refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// Bytes that are taken as long as it lives.
#[derive(Debug, Default)]
pub struct Charge {
    share: Option<Arc<Share>>,
    bytes: usize,
}

impl Charge {
    /// Takes more; whether so many were left. An empty charge, of no share, is unlimited.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Some(share) = &self.share else { return true };
        let taken = self.grow_to(share.bytes_max - share.reserve, bytes);
        if let (false, Some(share)) = (taken, &self.share) {
            share.refused.fetch_add(1, Relaxed);
        }
        taken
    }

    /// Takes more, as long as its share has given at most so many.
    fn grow_to(&mut self, bytes_max: usize, bytes: usize) -> bool {
        let Some(share) = &self.share else { return true };
        let fits = |used: usize| used.checked_add(bytes).filter(|&used| used <= bytes_max);
        let taken = share.used.fetch_update(Relaxed, Relaxed, fits).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// The bytes that it has.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the server shares them out again"))]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(share) = &self.share {
            share.used.fetch_sub(bytes, Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// The charge of something that is replaced as a whole: copies of it have none until they are charged themselves.
#[cfg(feature = "service")]
#[derive(Debug, Default)]
pub(crate) struct OwnCharge(std::sync::OnceLock<Charge>);

#[cfg(feature = "service")]
impl OwnCharge {
    /// Keeps the charge as long as it lives.
    pub(crate) fn keep(&self, charge: Charge) {
        // One that has a charge has it for what it is.
        let _ = self.0.set(charge);
    }
}

#[cfg(feature = "service")]
impl Clone for OwnCharge {
    fn clone(&self) -> OwnCharge {
        OwnCharge::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_gives_no_more_than_it_has_and_gets_it_back() {
        let share = Share::new(100);
        let mut first = share.take(60).expect("room");
        assert!(share.take(41).is_none() && share.take(usize::MAX).is_none());
        assert!(first.grow(40) && !first.grow(1));
        assert_eq!((share.used(), share.refused()), (100, 3));
        first.shrink(50);
        let over = share.take_anyway(1_000);
        assert!(share.take(1).is_none());
        drop((first, over));
        assert_eq!(share.used(), 0);
    }

    #[test]
    fn the_reserve_is_for_what_has_to_be_sent() {
        let share = Share::with_reserve(100, 25);
        let first = share.take(75).expect("room");
        assert!(share.take(1).is_none());
        let second = share.take_reserved(25).expect("the reserve");
        assert!(share.take_reserved(1).is_none());
        assert_eq!((share.used(), share.refused(), second.bytes()), (100, 1, 25));
        drop((first, second));
        assert_eq!(share.used(), 0);
    }
}
