//! The blocks of a cluster whose work is spread over its nodes: those of a partition are the messages of a subject of its
//! own, all in one stream.
//!
//! 1. **A block is published behind the one before**, by the number of that one's message as the last of its subject. A
//!    session knows this number from its own last block, or reads the last block: it must be the one before, by its number
//!    and its checksum.
//! 2. **The blocks of a group are published at once**, and each is stored by itself: some may be refused, or in doubt.
//! 3. **A block is found by its number** from the first message of its subject at some place of the stream, as the numbers
//!    of blocks and messages grow together.

use super::super::super::block::Header;
use super::super::engine::{Sealed, Trouble};
use super::client::{Behind, Stored, Which};
use super::{Jetstream, foreign};

/// The last block of a partition, as a session knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    lsn: u64,
    crc: u32,
    seq: u64,
}

/// Up to where a session has read a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadTo {
    partition: u16,
    lsn: u64,
    seq: u64,
}

fn header(bytes: &[u8]) -> Result<Header, Trouble> {
    Header::decode(bytes).map_err(|_| foreign())
}

impl Jetstream {
    fn subject_of(&self, partition: u16) -> String {
        self.names.at(&format!("blocks.{partition}"))
    }

    /// Publishes blocks, each behind the one before. Returns whether all were stored.
    pub(super) fn publish_blocks(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble> {
        self.find_tails(blocks)?;
        let (mut messages, mut tails) = (Vec::with_capacity(blocks.len()), Vec::with_capacity(blocks.len()));
        for block in blocks {
            let its = header(&block.bytes)?;
            let behind = match self.tails.get(&block.partition) {
                None if block.lsn == 1 => 0,
                Some(tail) if tail.lsn + 1 == block.lsn && tail.crc == its.previous => tail.seq,
                _ => return Ok(false),
            };
            messages.push((
                self.subject_of(block.partition),
                Behind::LastOfSubject(behind),
                block.bytes.as_slice(),
            ));
            tails.push(Tail { lsn: block.lsn, crc: its.crc, seq: 0 });
        }
        for block in blocks {
            // Unless it is stored, the last one is unknown.
            self.tails.remove(&block.partition);
        }
        let mut are_stored = true;
        for ((block, tail), seq) in blocks.iter().zip(tails).zip(self.client.publish_all(&messages)?) {
            match seq {
                Some(seq) => drop(self.tails.insert(block.partition, Tail { seq, ..tail })),
                None => are_stored = false,
            }
        }
        Ok(are_stored)
    }

    /// Reads the last blocks of partitions of which this session has not published the one before.
    fn find_tails(&mut self, blocks: &[Sealed]) -> Result<(), Trouble> {
        let is_known =
            |block: &&Sealed| self.tails.get(&block.partition).is_some_and(|tail| tail.lsn + 1 == block.lsn);
        let unknown: Vec<u16> =
            blocks.iter().filter(|block| !is_known(block)).map(|block| block.partition).collect();
        let subjects: Vec<String> = unknown.iter().map(|partition| self.subject_of(*partition)).collect();
        let which: Vec<Which<'_>> = subjects.iter().map(|subject| Which::LastOf(subject)).collect();
        let found =
            if which.is_empty() { Vec::new() } else { self.client.get_all(&self.names.blocks, &which)? };
        for (partition, stored) in unknown.into_iter().zip(found) {
            self.tails.remove(&partition);
            if let Some(stored) = stored {
                let Header { lsn, crc, .. } = header(&stored.bytes)?;
                self.tails.insert(partition, Tail { lsn: lsn.0, crc, seq: stored.seq });
            }
        }
        Ok(())
    }

    /// The last block of this session's partition.
    pub(super) fn last_block(&mut self) -> Result<Option<Stored>, Trouble> {
        let subject = self.subject_of(self.partition);
        self.client.get(&self.names.blocks, Which::LastOf(&subject))
    }

    /// A block of this session's partition, if it exists.
    pub(super) fn find_block(&mut self, lsn: u64) -> Result<Option<Stored>, Trouble> {
        let Some(last) = self.last_block()? else { return Ok(None) };
        let last_lsn = header(&last.bytes)?.lsn.0;
        if last_lsn <= lsn {
            return Ok((last_lsn == lsn).then_some(last));
        }
        let subject = self.subject_of(self.partition);
        // Its message is one of these.
        let (mut from, mut to) = (1, last.seq);
        while from < to {
            let middle = from + (to - from) / 2;
            let found = self.client.get(&self.names.blocks, Which::Next(middle, &subject))?;
            let Some(found) = found else { return Ok(None) };
            match header(&found.bytes)?.lsn.0 {
                its if its == lsn => return Ok(Some(found)),
                its if its < lsn => from = found.seq + 1,
                _ => to = middle,
            }
        }
        Ok(None)
    }

    /// Some blocks of this session's partition, in order.
    pub(super) fn read_blocks(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
        let partition = self.partition;
        let seq = match self.read_to {
            Some(to) if to.partition == partition && to.lsn + 1 == from => to.seq + 1,
            _ => match self.find_block(from)? {
                Some(found) => found.seq,
                None => return Ok(Vec::new()),
            },
        };
        let subject = self.subject_of(partition);
        let mut found = self.client.read(&self.names.blocks, &subject, seq)?;
        if found.is_empty() {
            // The leader has all of them.
            found.extend(self.client.get(&self.names.blocks, Which::Next(seq, &subject))?);
        }
        let mut page = Vec::with_capacity(found.len());
        for Stored { seq, bytes, .. } in found {
            let lsn = header(&bytes)?.lsn.0;
            self.read_to = Some(ReadTo { partition, lsn, seq });
            page.push((lsn, bytes));
        }
        Ok(page)
    }

    /// Removes the blocks of this session's partition before a number.
    pub(super) fn remove_blocks(&mut self, before: u64) -> Result<(), Trouble> {
        let Some(first) = self.find_block(before)? else { return Ok(()) };
        let subject = self.subject_of(self.partition);
        self.client.purge(&self.names.blocks, Some(&subject), first.seq)
    }

    /// About how many bytes the blocks of this session's partition take: servers count messages by subject, and bytes only
    /// in all.
    pub(super) fn size_of_blocks(&mut self) -> Result<u64, Trouble> {
        let subject = self.subject_of(self.partition);
        let state = self.client.state(&self.names.blocks, &subject)?;
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
        let (bytes, messages) = (number(&state["bytes"]), number(&state["messages"]));
        let its = number(&state["subjects"][&subject]);
        let size = u128::from(bytes) * u128::from(its) / u128::from(messages.max(1));
        Ok(u64::try_from(size).unwrap_or(u64::MAX))
    }
}
