//! Without the feature `map-data` no data is read.

use std::io::Read;

use crate::fault::{self, Fault};
use crate::program::Format;

/// Reads nothing.
pub(super) struct Items;

impl Items {
    pub(super) fn new(_: Box<dyn Read + Send>, _: &Format, _: Option<&str>, _: u64) -> Result<Items, Fault> {
        let cause = "This program was built without the feature map-data, which reads items";
        Err(Fault::new(fault::ITEM_READER_FAILED, cause))
    }

    pub(super) fn next(&mut self, _: &mut Vec<u8>) -> Result<bool, Fault> {
        unreachable!("there is never one")
    }
}
