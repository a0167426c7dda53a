//! Reads the blocks of a cluster that are in use. Each is checked, and must follow the one before.

use super::super::block::{Block, BlockKind, Header, NoBlock};
use super::super::{JournalError, Lsn, Report};
use super::node::Cluster;
use crate::limits::JOURNAL_PARTITIONS;

impl Cluster {
    /// Reads all blocks that are in use, in order, and writes nothing; the journal may be in use.
    ///
    /// # Errors
    /// When the cluster does not exist, the database does not answer, or a block is damaged.
    pub fn scan(&self, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Report, JournalError> {
        if !self.find()?.is_spread() {
            return self.read_all(visit);
        }
        let mut all = Report::default();
        for partition in 0..JOURNAL_PARTITIONS {
            let report = self.scan_partition(partition, visit)?;
            all.blocks += report.blocks;
            all.records += report.records;
            all.bytes += report.bytes;
            all.first = if partition == 0 { report.first } else { all.first.min(report.first) };
            all.last = all.last.max(report.last);
            all.epoch = all.epoch.max(report.epoch);
            all.journal = report.journal;
        }
        Ok(all)
    }

    /// Reads the blocks of one partition.
    ///
    /// # Errors
    /// See [`scan`](Cluster::scan).
    pub(crate) fn scan_partition(
        &self,
        partition: u16,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<Report, JournalError> {
        self.at(partition).read_all(visit)
    }

    pub(super) fn read_all(&self, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Report, JournalError> {
        let mut report = Report::default();
        self.read_on(&mut report, visit)?;
        Ok(report)
    }

    /// Reads the blocks after those of a report, or all for an empty one, and adds them to the report.
    pub(super) fn read_on(
        &self,
        report: &mut Report,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<(), JournalError> {
        let known = self.known()?;
        let Some(last) = self.ask(|session| session.last())? else { return Ok(()) };
        let last = self.header(&last)?;
        let is_first = report.last == Lsn(0);
        let from = if is_first { last.trimmed.max(Lsn(1)) } else { report.last.next() };
        if from < last.trimmed {
            // What was visited lacks what the owner has removed meanwhile: it has to be read anew.
            return Err(JournalError::Held(self.describe()));
        }
        let mut before = (!is_first).then_some((report.last_crc, report.epoch));
        self.read_range(from, last.lsn, &mut |block, bytes| {
            let header = block.header;
            if before.is_none() {
                report.first = header.lsn;
            }
            let follows = before.is_none_or(|(crc, epoch)| crc == header.previous && epoch <= header.epoch);
            if header.journal != known.journal || !follows {
                return Err(self.damaged(header.lsn, "it does not follow from the block before"));
            }
            before = Some((header.crc, header.epoch));
            report.blocks += 1;
            report.records += u64::from(header.records);
            report.bytes += bytes;
            visit(block);
            Ok(())
        })?;
        report.journal = Some(known.journal);
        (report.last, report.last_crc) = (last.lsn, last.crc);
        (report.trimmed, report.epoch) = (last.trimmed, last.epoch);
        report.is_sealed = last.kind == BlockKind::Seal;
        Ok(())
    }

    /// Visits the blocks of a range, which must exist.
    pub(super) fn read_range(
        &self,
        from: Lsn,
        to: Lsn,
        visit: &mut dyn FnMut(&Block<'_>, u64) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut next = from;
        while next <= to {
            // Reads can be repeated.
            let page = self.ask(move |session| session.page(next.0).or_else(|_| session.page(next.0)))?;
            if page.is_empty() {
                return Err(self.damaged(next, "it is missing"));
            }
            for (lsn, bytes) in page {
                if Lsn(lsn) > to {
                    return Ok(());
                }
                if Lsn(lsn) != next {
                    return Err(self.damaged(next, "it is missing"));
                }
                let block = Block::decode(&bytes).map_err(|why| self.refuse(next, why))?;
                if block.header.lsn != next {
                    return Err(self.damaged(next, "it is another block than its row says"));
                }
                visit(&block, bytes.len() as u64)?;
                next = next.next();
            }
        }
        Ok(())
    }

    /// A block's header.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Header, JournalError> {
        match Block::decode(bytes) {
            Ok(block) => Ok(block.header),
            Err(why) => Err(self.refuse(Header::decode(bytes).map_or(Lsn(0), |header| header.lsn), why)),
        }
    }

    fn refuse(&self, lsn: Lsn, why: NoBlock) -> JournalError {
        let file = format!("{}, block {lsn}", self.describe());
        match why {
            NoBlock::Version { version, .. } => JournalError::Newer { file, offset: 0, version },
            NoBlock::Malformed(what) => self.damaged(lsn, what),
            NoBlock::Torn => self.damaged(lsn, "it is not as it was written"),
        }
    }

    pub(super) fn damaged(&self, lsn: Lsn, what: &str) -> JournalError {
        let file = format!("{}, block {lsn}", self.describe());
        JournalError::Damaged { file, offset: 0, what: what.to_owned() }
    }
}
