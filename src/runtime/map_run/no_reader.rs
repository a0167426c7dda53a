//! The replacement without the feature `map-data`: no data is read.

use std::task::{Context, Poll};

use super::holding::Bounds;
use crate::fault::{self, Fault};
use crate::json::{Arena, Value};
use crate::program::Format;
use crate::task::data::Source;

/// Reads nothing.
pub(super) struct Items;

impl Items {
    pub(super) fn new(_: Box<dyn Source>, _: &Format, _: Option<&str>, _: Bounds) -> Result<Items, Fault> {
        let cause = "This program was built without the feature map-data, which reads items";
        Err(Fault::new(fault::ITEM_READER_FAILED, cause))
    }

    pub(super) fn at_most(self, _: u64) -> Items {
        self
    }

    pub(super) fn version(&self) -> Option<String> {
        None
    }

    pub(super) fn poll_whole(&mut self, _: &mut Context<'_>) -> Poll<Result<(&Arena, Value), Fault>> {
        unreachable!("there is never one")
    }

    pub(super) fn poll_next(&mut self, _: &mut Context<'_>, _: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        unreachable!("there is never one")
    }
}
