//! `ItemBatcher`: several items in the input of one child (developer guide, "ItemBatcher").

use crate::limits;

/// Groups items: `{"BatchInput": …, "Items": […]}`.
#[derive(Debug)]
pub(crate) struct Batcher {
    before: Vec<u8>,
    items_max: u64,
    bytes_max: usize,
    batch: Vec<u8>,
    items: u32,
}

impl Batcher {
    /// `BatchInput` as JSON text, and how many items and bytes a batch may have; 0 is no limit.
    pub(crate) fn new(batch_input: Option<&[u8]>, items_max: u64, bytes_max: u64) -> Batcher {
        let before = match batch_input {
            Some(input) => [b"{\"BatchInput\":", input, b",\"Items\":["].concat(),
            None => b"{\"Items\":[".to_vec(),
        };
        let items_max = if items_max == 0 { u64::from(u32::MAX) } else { items_max };
        let most = limits::PAYLOAD_BYTES_MAX as usize;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(most).min(most);
        let bytes_max = if bytes_max == 0 { most } else { bytes_max };
        Batcher { before, items_max, bytes_max, batch: Vec::new(), items: 0 }
    }

    /// Adds an item, JSON text. Returns the batch before, as JSON text, if the item does not fit into it.
    pub(crate) fn add(&mut self, item: &[u8]) -> Option<Vec<u8>> {
        let is_full =
            u64::from(self.items) >= self.items_max || self.batch.len() + 1 + item.len() + 2 > self.bytes_max;
        let batch = if self.items > 0 && is_full { self.finish() } else { None };
        self.push(item);
        batch
    }

    /// Adds an item, regardless of limits.
    pub(crate) fn push(&mut self, item: &[u8]) {
        match self.items {
            0 => self.batch.extend_from_slice(&self.before),
            _ => self.batch.push(b','),
        }
        self.batch.extend_from_slice(item);
        self.items += 1;
    }

    /// The last batch, if there are items in it.
    pub(crate) fn finish(&mut self) -> Option<Vec<u8>> {
        let items = std::mem::take(&mut self.items);
        if items == 0 {
            return None;
        }
        self.batch.extend_from_slice(b"]}");
        Some(std::mem::take(&mut self.batch))
    }
}
