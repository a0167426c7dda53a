//! What the reader of a Map Run may do: the work of one poll, and the memory of what it reads.

use std::rc::Rc;
use std::sync::Arc;

use crate::fault::Fault;
#[cfg(feature = "parquet")]
use crate::runtime::background::BackgroundQueue;
use crate::runtime::errand::Allowance;

/// Called with the bytes that are held now, or about to be. An error if there is no memory for them.
pub(super) type Hold = Arc<dyn Fn(usize) -> Result<(), Fault> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Bounds {
    /// The work of one poll.
    pub(super) allowance: Rc<Allowance>,
    /// The memory of what is read.
    pub(super) hold: Hold,
    /// Where work is done that cannot be suspended.
    #[cfg(feature = "parquet")]
    pub(super) background: BackgroundQueue,
}

impl Bounds {
    /// The same for what is read while so many bytes are held beside.
    pub(super) fn beside(&self, held_bytes: usize) -> Bounds {
        let hold = Arc::clone(&self.hold);
        Bounds { hold: Arc::new(move |bytes| hold(held_bytes.saturating_add(bytes))), ..self.clone() }
    }
}

#[cfg(all(test, feature = "map-data"))]
impl Bounds {
    /// Without an engine: nothing is done by other threads.
    pub(super) fn of(allowance: &Rc<Allowance>, hold: Hold) -> Bounds {
        #[cfg(feature = "parquet")]
        let background =
            Arc::<crate::runtime::background::BackgroundThreads>::default().queue_of(&Arc::default());
        Bounds {
            allowance: Rc::clone(allowance),
            hold,
            #[cfg(feature = "parquet")]
            background,
        }
    }
}
