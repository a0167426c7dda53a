//! The rows, in an embedded database: each execution's bytes by its number in the journal, and its indexes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::disk;
use super::super::state_error::{StateError, database};
use crate::limits;
use crate::random;
use crate::runtime::{RecoveredExecution, Status};

/// By the execution's number in the journal: the length of its [`Entry`], the entry, and the execution.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
/// The last turns of the same: small, because they are read with the journal.
const TURNS: TableDefinition<'_, u64, u64> = TableDefinition::new("turns");
/// By the [hash](hash) of its ARN.
const ARNS: TableDefinition<'_, u128, u64> = TableDefinition::new("arns");
const TOKENS: TableDefinition<'_, u128, u64> = TableDefinition::new("tokens");
/// By when its first timer is due, and its number.
const DUE: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("due");
/// By the hash of its machine's ARN, its [status](status_number), and its rank there.
const LISTS: TableDefinition<'_, (u128, u8, u64, u64), u64> = TableDefinition::new("lists");
/// Of those that are over: by when they ended, and their numbers.
const ENDED: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("ended");
/// By the revision that they run, and its program's fingerprint: how many are open.
const PROGRAMS: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("programs");
/// By the execution's number: how many changes of its status were delivered, and how many there are, if more are to be.
const UNDELIVERED: TableDefinition<'_, u64, (u32, u32)> = TableDefinition::new("undelivered");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const LAST_ID: &str = "last id";
const LAST_NUMBER: &str = "last number";
const OPEN: &str = "open";
const NOW: &str = "now";
/// Random, drawn when the file is created: the journal notes it before it drops executions that are here.
const IDENTITY: &str = "identity";

/// The index data of a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) arn: Box<str>,
    /// The list it is in: that of its machine, or of its Map Run.
    pub(super) machine: Box<str>,
    pub(super) revision: Box<str>,
    pub(super) fingerprint: u64,
    pub(super) due_ms: u64,
    pub(super) tokens: Vec<u128>,
    pub(super) status: u8,
    /// Its place in lists.
    pub(super) rank: (u64, u64),
    /// Of a Map Run's child that did not succeed: when it was started, and whether it can be redriven for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unsuccessful: Option<(u64, bool)>,
}

impl Entry {
    /// When it ended, if it is over.
    pub(super) fn stopped_ms(&self) -> Option<u64> {
        (self.status != status_number(Status::Running)).then_some(self.rank.0)
    }
}

/// An execution that is not in memory.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) turn: u64,
    pub(super) entry: Entry,
    pub(super) bytes: Vec<u8>,
    /// How many changes of its status were delivered, and how many there are, if more are to be.
    pub(super) undelivered: Option<(u32, u32)>,
}

impl Row {
    /// What is in it.
    pub(super) fn execution(&self) -> Result<RecoveredExecution, StateError> {
        let broken = || StateError::Broken {
            arn: self.entry.arn.to_string(),
            why: "this release does not read its row".to_owned(),
        };
        RecoveredExecution::from_row(&self.bytes).ok_or_else(broken)
    }
}

/// The numbers of statuses in lists.
pub(super) fn status_number(status: Status) -> u8 {
    match status {
        Status::Running => 0,
        Status::Succeeded => 1,
        Status::Failed => 2,
        Status::TimedOut => 3,
        Status::Aborted => 4,
    }
}

/// The key of a text in indexes.
pub(super) fn hash(text: &str) -> u128 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// Rows for reading, and for writing if they are this process's own.
pub(super) enum Rows {
    Own(Box<Database>),
    /// Of a read-only folder.
    Shown(Box<ReadOnlyDatabase>),
}

fn unopened(error: DatabaseError) -> StateError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            StateError::Database("it is in use by another process".to_owned())
        }
        error => database(error),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(limits::COLD_CACHE_BYTES);
    builder
}

impl Rows {
    /// Opens the file; with `is_own`, it is created if missing.
    pub(super) fn open(path: &Path, is_own: bool) -> Result<Rows, StateError> {
        if !is_own {
            let shown = builder().open_read_only(path).map_err(unopened)?;
            return Ok(Rows::Shown(Box::new(shown)));
        }
        let file = disk::file(path, Rows::on)?;
        Rows::on(FileBackend::new(file).map_err(unopened)?)
    }

    /// Opens the database in a file.
    pub(super) fn on(backend: impl StorageBackend) -> Result<Rows, StateError> {
        let own = builder().create_with_backend(backend).map_err(unopened)?;
        let rows = Rows::Own(Box::new(own));
        rows.change(|write| {
            // So that the tables can be read even if nothing was ever written.
            write.open_table(ROWS).map_err(database)?;
            write.open_table(TURNS).map_err(database)?;
            write.open_table(ARNS).map_err(database)?;
            write.open_table(TOKENS).map_err(database)?;
            write.open_table(DUE).map_err(database)?;
            write.open_table(LISTS).map_err(database)?;
            write.open_table(ENDED).map_err(database)?;
            write.open_table(PROGRAMS).map_err(database)?;
            write.open_table(UNDELIVERED).map_err(database)?;
            let mut meta = write.open_table(META).map_err(database)?;
            if meta.get(IDENTITY).map_err(database)?.is_none() {
                meta.insert(IDENTITY, random::next()).map_err(database)?;
            }
            Ok(())
        })?;
        Ok(rows)
    }

    fn read(&self) -> Result<ReadTransaction, StateError> {
        match self {
            Rows::Own(own) => own.begin_read().map_err(database),
            Rows::Shown(shown) => shown.begin_read().map_err(database),
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let Rows::Own(own) = self else {
            return Err(StateError::Database("it is only looked at".to_owned()));
        };
        let mut write = own.begin_write().map_err(database)?;
        // After a crash it is opened at once, without a full scan.
        write.set_quick_repair(true);
        change(&write)?;
        write.commit().map_err(database)
    }

    /// The number of the last execution that ever had a row, the last number in lists, how many rows are open, the
    /// latest time, and the file's identity.
    pub(super) fn meta(&self) -> Result<[u64; 5], StateError> {
        let read = self.read()?;
        let meta = read.open_table(META).map_err(database)?;
        let mut found = [0; 5];
        for (name, value) in [LAST_ID, LAST_NUMBER, OPEN, NOW, IDENTITY].into_iter().zip(&mut found) {
            *value = meta.get(name).map_err(database)?.map_or(0, |it| it.value());
        }
        Ok(found)
    }

    /// How many there are.
    pub(super) fn count(&self) -> Result<u64, StateError> {
        use redb::ReadableTableMetadata;
        self.read()?.open_table(ROWS).map_err(database)?.len().map_err(database)
    }

    pub(super) fn row(&self, id: u64) -> Result<Option<Row>, StateError> {
        row(&self.read()?.open_table(ROWS).map_err(database)?, id)
    }

    /// The last turn in the row of an execution.
    pub(super) fn turn(&self, id: u64) -> Result<Option<u64>, StateError> {
        let turns = self.read()?.open_table(TURNS).map_err(database)?;
        Ok(turns.get(id).map_err(database)?.map(|turn| turn.value()))
    }

    /// The row of this ARN.
    pub(super) fn of_arn(&self, arn: &str) -> Result<Option<Row>, StateError> {
        let read = self.read()?;
        let Some(id) = read.open_table(ARNS).map_err(database)?.get(hash(arn)).map_err(database)? else {
            return Ok(None);
        };
        Ok(row(&read.open_table(ROWS).map_err(database)?, id.value())?.filter(|row| *row.entry.arn == *arn))
    }

    /// The row that waits for this token.
    pub(super) fn of_token(&self, token: u128) -> Result<Option<Row>, StateError> {
        let read = self.read()?;
        let found = read.open_table(TOKENS).map_err(database)?.get(token).map_err(database)?;
        match found {
            Some(id) => row(&read.open_table(ROWS).map_err(database)?, id.value()),
            None => Ok(None),
        }
    }

    /// The first rows that are due in these milliseconds: when, and their numbers.
    pub(super) fn due(
        &self,
        from: (u64, u64),
        to_ms: u64,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StateError> {
        let read = self.read()?;
        let due = read.open_table(DUE).map_err(database)?;
        let range = due.range(from..=(to_ms, u64::MAX)).map_err(database)?;
        range.take(max).map(|entry| Ok(entry.map_err(database)?.0.value())).collect()
    }

    /// The first rows of executions that ended up to then: when, and their numbers.
    pub(super) fn ended(
        &self,
        from: (u64, u64),
        to_ms: u64,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StateError> {
        if from.0 > to_ms {
            return Ok(Vec::new());
        }
        let read = self.read()?;
        let ended = read.open_table(ENDED).map_err(database)?;
        let range = ended.range(from..=(to_ms, u64::MAX)).map_err(database)?;
        range.take(max).map(|entry| Ok(entry.map_err(database)?.0.value())).collect()
    }

    /// The first rows of a machine with this status after `after`, until `wanted` returns false.
    pub(super) fn listed(
        &self,
        machine: &str,
        status: u8,
        after: Option<(u64, u64)>,
        mut wanted: impl FnMut(Row) -> bool,
    ) -> Result<(), StateError> {
        let read = self.read()?;
        let (lists, rows) =
            (read.open_table(LISTS).map_err(database)?, read.open_table(ROWS).map_err(database)?);
        let list = hash(machine);
        let (time, number) = after.unwrap_or((u64::MAX, u64::MAX));
        let range = (list, status, 0, 0)..(list, status, time, number);
        for entry in lists.range(range).map_err(database)?.rev() {
            let id = entry.map_err(database)?.1.value();
            if let Some(row) = row(&rows, id)?
                && !wanted(row)
            {
                break;
            }
        }
        Ok(())
    }

    /// The entries of a machine's rows with this status, with the executions' numbers in the journal.
    pub(super) fn entries(
        &self,
        machine: &str,
        status: u8,
        mut visit: impl FnMut(u64, Entry),
    ) -> Result<(), StateError> {
        let read = self.read()?;
        let (lists, rows) =
            (read.open_table(LISTS).map_err(database)?, read.open_table(ROWS).map_err(database)?);
        let list = hash(machine);
        for listed in
            lists.range((list, status, 0, 0)..=(list, status, u64::MAX, u64::MAX)).map_err(database)?
        {
            let id = listed.map_err(database)?.1.value();
            if let Some(stored) = rows.get(id).map_err(database)? {
                visit(id, entry_of(id, stored.value())?.0);
            }
        }
        Ok(())
    }

    /// The numbers in lists of a machine's rows with this status, as long as more are wanted.
    pub(super) fn numbers(
        &self,
        machine: &str,
        status: u8,
        mut wanted: impl FnMut(u64) -> bool,
    ) -> Result<(), StateError> {
        let read = self.read()?;
        let lists = read.open_table(LISTS).map_err(database)?;
        let list = hash(machine);
        for entry in
            lists.range((list, status, 0, 0)..=(list, status, u64::MAX, u64::MAX)).map_err(database)?
        {
            if !wanted(entry.map_err(database)?.0.value().3) {
                break;
            }
        }
        Ok(())
    }

    /// All rows, in the order in which they were started.
    pub(super) fn all(&self, mut visit: impl FnMut(Row)) -> Result<(), StateError> {
        let read = self.read()?;
        for entry in read.open_table(ROWS).map_err(database)?.iter().map_err(database)? {
            let (id, stored) = entry.map_err(database)?;
            visit(parse(id.value(), stored.value())?);
        }
        Ok(())
    }

    /// The programs of rows: revisions, and their fingerprints.
    pub(super) fn programs(&self) -> Result<Vec<(String, u64)>, StateError> {
        let read = self.read()?;
        let programs = read.open_table(PROGRAMS).map_err(database)?;
        let mut found = Vec::new();
        for entry in programs.iter().map_err(database)? {
            let key = entry.map_err(database)?.0;
            let (revision, fingerprint) = key.value();
            found.push((revision.to_owned(), fingerprint));
        }
        Ok(found)
    }

    /// Rows of which changes of status are to be delivered: their numbers, how many were, and how many there are.
    pub(super) fn undelivered(&self) -> Result<Vec<(u64, u32, u32)>, StateError> {
        let read = self.read()?;
        let undelivered = read.open_table(UNDELIVERED).map_err(database)?;
        let all = undelivered.iter().map_err(database)?.map(|entry| {
            let (id, counts) = entry.map_err(database)?;
            let (delivered, changes) = counts.value();
            Ok((id.value(), delivered, changes))
        });
        all.collect()
    }

    /// How many changes of an execution's status were delivered; `None` if it has no row.
    pub(super) fn delivered(&self, id: u64) -> Result<Option<u32>, StateError> {
        let read = self.read()?;
        if let Some(counts) = read.open_table(UNDELIVERED).map_err(database)?.get(id).map_err(database)? {
            return Ok(Some(counts.value().0));
        }
        let Some(row) = row(&read.open_table(ROWS).map_err(database)?, id)? else { return Ok(None) };
        Ok(Some(2 * row.execution()?.redrives.0 + 1 + u32::from(row.entry.stopped_ms().is_some())))
    }

    /// Writes rows, removes forgotten ones, and notes how many changes of status were delivered, durably.
    pub(super) fn write(
        &self,
        written: &[Arc<Row>],
        (forgotten, delivered): (&[u64], &[(u64, u32)]),
        now_ms: u64,
    ) -> Result<(), StateError> {
        self.change(|write| {
            let mut tables = Tables {
                rows: write.open_table(ROWS).map_err(database)?,
                turns: write.open_table(TURNS).map_err(database)?,
                arns: write.open_table(ARNS).map_err(database)?,
                tokens: write.open_table(TOKENS).map_err(database)?,
                due: write.open_table(DUE).map_err(database)?,
                lists: write.open_table(LISTS).map_err(database)?,
                ended: write.open_table(ENDED).map_err(database)?,
                programs: write.open_table(PROGRAMS).map_err(database)?,
                undelivered: write.open_table(UNDELIVERED).map_err(database)?,
                open: 0,
            };
            // Executions that never had a row need not be looked for.
            let known = write.open_table(META).map_err(database)?;
            let known_id = known.get(LAST_ID).map_err(database)?.map_or(0, |it| it.value());
            drop(known);
            for row in written.iter().filter(|row| row.id <= known_id) {
                tables.remove(row.id)?;
            }
            tables.insert(written)?;
            let last_id = written.iter().map(|row| row.id).max().unwrap_or(0);
            let last_number = written.iter().map(|row| row.entry.rank.1).max().unwrap_or(0);
            for id in forgotten {
                tables.remove(*id)?;
            }
            for (id, count) in delivered {
                tables.deliver(*id, *count)?;
            }
            let open = tables.open;
            drop(tables);
            let mut meta = write.open_table(META).map_err(database)?;
            let mut set = |name: &str, value: &dyn Fn(u64) -> u64| {
                let before = meta.get(name).map_err(database)?.map_or(0, |it| it.value());
                meta.insert(name, value(before)).map_err(database)?;
                Ok::<(), StateError>(())
            };
            set(LAST_ID, &|before| before.max(last_id))?;
            set(LAST_NUMBER, &|before| before.max(last_number))?;
            set(OPEN, &|before| before.saturating_add_signed(open))?;
            set(NOW, &|before| before.max(now_ms))
        })
    }
}

/// The tables of a transaction.
struct Tables<'w> {
    rows: redb::Table<'w, u64, &'static [u8]>,
    turns: redb::Table<'w, u64, u64>,
    arns: redb::Table<'w, u128, u64>,
    tokens: redb::Table<'w, u128, u64>,
    due: redb::Table<'w, (u64, u64), ()>,
    lists: redb::Table<'w, (u128, u8, u64, u64), u64>,
    ended: redb::Table<'w, (u64, u64), ()>,
    programs: redb::Table<'w, (&'static str, u64), u64>,
    undelivered: redb::Table<'w, u64, (u32, u32)>,
    /// How many more are open than before.
    open: i64,
}

impl Tables<'_> {
    /// Adds rows: to one table after the other, in the order of its keys, so that neighbours are in the processor's
    /// caches.
    fn insert(&mut self, rows: &[Arc<Row>]) -> Result<(), StateError> {
        let mut rows: Vec<&Row> = rows.iter().map(|row| &**row).collect();
        rows.sort_by_key(|row| row.id);
        // Of several rows of one execution, the last counts.
        rows.dedup_by(|later, kept| {
            let is_same = later.id == kept.id;
            if is_same {
                *kept = *later;
            }
            is_same
        });
        let mut head = Vec::new();
        for Row { id, entry, bytes, .. } in &rows {
            head.clear();
            serde_json::to_writer(&mut head, entry)
                .map_err(|error| StateError::Broken { arn: entry.arn.to_string(), why: error.to_string() })?;
            let mut stored = self.rows.insert_reserve(*id, 4 + head.len() + bytes.len()).map_err(database)?;
            let (length, rest) = stored.as_mut().split_at_mut(4);
            let (first, second) = rest.split_at_mut(head.len());
            length.copy_from_slice(&(head.len() as u32).to_le_bytes());
            first.copy_from_slice(&head);
            second.copy_from_slice(bytes);
        }
        for Row { id, turn, entry, undelivered, .. } in &rows {
            self.turns.insert(*id, *turn).map_err(database)?;
            if let Some(counts) = undelivered {
                self.undelivered.insert(*id, *counts).map_err(database)?;
            }
            self.count(entry, 1)?;
        }
        // Of two executions with the same name, the later one has it.
        let mut arns: Vec<(u128, u64)> = rows.iter().map(|row| (hash(&row.entry.arn), row.id)).collect();
        arns.sort_unstable();
        for (arn, id) in arns {
            self.arns.insert(arn, id).map_err(database)?;
        }
        for Row { id, entry, .. } in &rows {
            for token in &entry.tokens {
                self.tokens.insert(*token, *id).map_err(database)?;
            }
        }
        let dues = rows.iter().filter(|row| row.entry.due_ms != u64::MAX);
        for due in sorted(dues.map(|row| (row.entry.due_ms, row.id))) {
            self.due.insert(due, ()).map_err(database)?;
        }
        let mut known: HashMap<&str, u128> = HashMap::new();
        let lists = rows.iter().map(|row| {
            let list = *known.entry(&row.entry.machine).or_insert_with(|| hash(&row.entry.machine));
            (list_key(list, &row.entry), row.id)
        });
        for (key, id) in sorted(lists) {
            self.lists.insert(key, id).map_err(database)?;
        }
        for ended in sorted(rows.iter().filter_map(|row| Some((row.entry.stopped_ms()?, row.id)))) {
            self.ended.insert(ended, ()).map_err(database)?;
        }
        Ok(())
    }

    /// Removes a row, if it exists.
    fn remove(&mut self, id: u64) -> Result<(), StateError> {
        let Some(row) = row(&self.rows, id)? else { return Ok(()) };
        let entry = row.entry;
        self.rows.remove(id).map_err(database)?;
        self.turns.remove(id).map_err(database)?;
        self.undelivered.remove(id).map_err(database)?;
        // Another execution may have its name by now.
        let is_its_own = |found: Option<redb::AccessGuard<'_, u64>>| found.is_some_and(|it| it.value() == id);
        if is_its_own(self.arns.get(hash(&entry.arn)).map_err(database)?) {
            self.arns.remove(hash(&entry.arn)).map_err(database)?;
        }
        for token in &entry.tokens {
            self.tokens.remove(*token).map_err(database)?;
        }
        self.due.remove((entry.due_ms, id)).map_err(database)?;
        self.lists.remove(list_key(hash(&entry.machine), &entry)).map_err(database)?;
        if let Some(stopped_ms) = entry.stopped_ms() {
            self.ended.remove((stopped_ms, id)).map_err(database)?;
        }
        self.count(&entry, -1)
    }

    /// So many changes of a row's status were delivered.
    fn deliver(&mut self, id: u64, count: u32) -> Result<(), StateError> {
        let known = self.undelivered.get(id).map_err(database)?.map(|counts| counts.value());
        match known {
            Some((_, changes)) if count >= changes => drop(self.undelivered.remove(id).map_err(database)?),
            Some((before, changes)) if count > before => {
                self.undelivered.insert(id, (count, changes)).map_err(database)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, entry: &Entry, more: i64) -> Result<(), StateError> {
        if entry.stopped_ms().is_some() {
            return Ok(());
        }
        self.open += more;
        let key = (&*entry.revision, entry.fingerprint);
        let count = self.programs.get(key).map_err(database)?.map_or(0, |it| it.value());
        match count.saturating_add_signed(more) {
            0 => drop(self.programs.remove(key).map_err(database)?),
            count => drop(self.programs.insert(key, count).map_err(database)?),
        }
        Ok(())
    }
}

/// The key of an execution in a list that has this [hash](hash).
fn list_key(list: u128, entry: &Entry) -> (u128, u8, u64, u64) {
    (list, entry.status, entry.rank.0, entry.rank.1)
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

fn row(rows: &impl ReadableTable<u64, &'static [u8]>, id: u64) -> Result<Option<Row>, StateError> {
    rows.get(id).map_err(database)?.map(|stored| parse(id, stored.value())).transpose()
}

fn parse(id: u64, stored: &[u8]) -> Result<Row, StateError> {
    let (entry, bytes) = entry_of(id, stored)?;
    // The turn is known when a row is written.
    Ok(Row { id, turn: 0, entry, bytes: bytes.to_vec(), undelivered: None })
}

/// The entry of a row, and the execution behind it.
fn entry_of(id: u64, stored: &[u8]) -> Result<(Entry, &[u8]), StateError> {
    let broken = |why: &str| StateError::Broken { arn: format!("execution {id}"), why: why.to_owned() };
    let (head_bytes, rest) = stored.split_first_chunk().ok_or_else(|| broken("its row is short"))?;
    let (head, bytes) = rest
        .split_at_checked(u32::from_le_bytes(*head_bytes) as usize)
        .ok_or_else(|| broken("its row is short"))?;
    let entry = serde_json::from_slice(head).map_err(|error| broken(&error.to_string()))?;
    Ok((entry, bytes))
}
