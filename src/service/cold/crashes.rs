//! Tests of rows on a disk that fails: each write, sync and change of length fails in some run, the power fails between
//! any two of them, and what was not synced is lost by sectors. The rows found afterwards are those of the last
//! acknowledged transaction, or of the one in progress, with all their index entries.
//!
//! `COLD_CRASHES` is the number of runs, `COLD_SEED` the first seed; a failure prints its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::super::state_error::StateError;
use super::rows::{Entry, Row, Rows, status_number};
use crate::runtime::Status;

const SECTOR_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// An operation fails, and part of it may have been done.
    Fails,
    /// The disk is full.
    Full,
    /// This operation and all that follow fail.
    Power,
}

/// A file in memory. Clones are the same file.
#[derive(Clone, Debug)]
struct File(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    random: u64,
    cache: Vec<u8>,
    disk: Vec<u8>,
    /// Writes by sector, and lengths, that are not synced.
    pending: Vec<Pending>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
}

#[derive(Debug)]
enum Pending {
    Sector(usize, Vec<u8>),
    Length(usize),
}

impl Content {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Counts an operation. Returns the error, and whether part of the operation is done, if it fails.
    fn operate(&mut self) -> Result<(), (io::Error, bool)> {
        self.operations += 1;
        let off = || io::Error::other("the power is off");
        if self.is_off {
            return Err((off(), false));
        }
        let due = self.fault.take_if(|(at, _)| *at <= self.operations);
        let Some((_, fault)) = due else { return Ok(()) };
        let is_partial = self.below(2) == 0;
        let error = match fault {
            Fault::Fails => io::Error::other("the disk failed"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Power => {
                self.is_off = true;
                off()
            }
        };
        Err((error, is_partial))
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        if self.cache.len() < at + data.len() {
            self.cache.resize(at + data.len(), 0);
        }
        self.cache[at..at + data.len()].copy_from_slice(data);
        let (mut from, end) = (at, at + data.len());
        while from < end {
            let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
            self.pending.push(Pending::Sector(from, self.cache[from..to].to_vec()));
            from = to;
        }
    }

    fn sync(&mut self) {
        self.disk.clone_from(&self.cache);
        self.pending.clear();
    }

    /// Loses or keeps each write that was not synced, at random.
    fn lose(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if self.below(2) == 0 {
                continue;
            }
            match pending {
                Pending::Length(bytes) => self.disk.resize(bytes, 0),
                Pending::Sector(at, mut bytes) => {
                    if self.below(8) == 0 {
                        bytes.truncate(bytes.len() / 2);
                    }
                    if self.disk.len() < at + bytes.len() {
                        self.disk.resize(at + bytes.len(), 0);
                    }
                    self.disk[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        self.cache.clone_from(&self.disk);
    }
}

impl File {
    fn new(seed: u64) -> File {
        let (cache, disk, pending) = Default::default();
        let (operations, fault, is_off) = (0, None, false);
        File(Arc::new(Mutex::new(Content { random: seed, cache, disk, pending, operations, fault, is_off })))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn below(&self, bound: u64) -> u64 {
        self.lock().below(bound)
    }

    fn fail_after(&self, operations: u64, fault: Fault) {
        let mut content = self.lock();
        content.fault = Some((content.operations + operations, fault));
    }

    /// Ends the process, with or without a power failure. Returns the file as the next process finds it.
    fn end(&self, is_power_lost: bool) -> File {
        let mut content = self.lock();
        let random = content.below(u64::MAX);
        if is_power_lost || content.is_off {
            content.lose();
        }
        let next = File::new(random);
        {
            let mut it = next.lock();
            it.cache.clone_from(&content.cache);
            it.disk.clone_from(&content.disk);
            it.pending = std::mem::take(&mut content.pending);
        }
        content.is_off = true;
        drop(content);
        next
    }
}

impl StorageBackend for File {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let (content, at) = (self.lock(), offset as usize);
        let found = content.cache.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut content = self.lock();
        content.operate().map_err(|(error, _)| error)?;
        content.cache.resize(len as usize, 0);
        content.pending.push(Pending::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut content = self.lock();
        content.operate().map_err(|(error, _)| error)?;
        content.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut content = self.lock();
        match content.operate() {
            Ok(()) => content.write(offset as usize, data),
            Err((error, is_partial)) => {
                if is_partial {
                    content.write(offset as usize, &data[..data.len() / 2]);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The expected version of each row.
type Versions = BTreeMap<u64, u64>;

fn row(id: u64, version: u64) -> Row {
    let statuses = [Status::Running, Status::Succeeded, Status::Running, Status::Failed];
    let status = statuses[(version % 4) as usize];
    let is_open = status == Status::Running;
    let entry = Entry {
        arn: format!("arn:{id}").into(),
        machine: format!("machine:{}", id % 3).into(),
        revision: "revision".into(),
        fingerprint: 7,
        due_ms: if is_open && id.is_multiple_of(2) { 1_000 * id + version } else { u64::MAX },
        tokens: if is_open { vec![u128::from(1_000_000 * id + version)] } else { Vec::new() },
        status: status_number(status),
        rank: (10_000 * version + id, id),
        unsuccessful: None,
    };
    let bytes = vec![version as u8; (id * 977 + version * 131) as usize % 3_000];
    Row { id, turn: version, entry, bytes, undelivered: undelivered(version) }
}

/// Of each third version.
fn undelivered(version: u64) -> Option<(u32, u32)> {
    version.is_multiple_of(3).then_some((version as u32, version as u32 + 2))
}

/// The difference between the rows and these versions, if any.
fn differs(rows: &Rows, versions: &Versions) -> Result<Option<String>, StateError> {
    let all: Vec<Row> = versions.iter().map(|(id, version)| row(*id, *version)).collect();
    let mut found = BTreeSet::new();
    rows.all(|row| found.extend([row.id]))?;
    if !found.iter().eq(versions.keys()) {
        return Ok(Some(format!("{found:?}")));
    }
    for wanted in &all {
        let (id, turn) = (wanted.id, rows.turn(wanted.id)?);
        let same = |it: Option<Row>| it.is_some_and(|it| it.id == id && it.bytes == wanted.bytes);
        let tokens: Result<Vec<Option<Row>>, StateError> =
            wanted.entry.tokens.iter().map(|token| rows.of_token(*token)).collect();
        let tokens = tokens?;
        let is_same = turn == Some(wanted.turn)
            && same(rows.row(id)?)
            && same(rows.of_arn(&wanted.entry.arn)?)
            && tokens.into_iter().all(same);
        if !is_same {
            return Ok(Some(format!("{id} has turn {turn:?} and is to have {}", wanted.turn)));
        }
    }
    // The lists have these rows, and no others.
    let mut listed = Vec::new();
    for machine in 0..3 {
        for status in 0..5 {
            let name = format!("machine:{machine}");
            let look = |row: Row| {
                listed.push((row.entry.status, row.id));
                true
            };
            rows.listed(&name, status, None, look)?;
        }
    }
    listed.sort_by_key(|(_, id)| *id);
    let wanted: Vec<(u8, u64)> = all.iter().map(|row| (row.entry.status, row.id)).collect();
    let mut due: Vec<u64> = rows.due((0, 0), u64::MAX, 10_000)?.iter().map(|(_, id)| *id).collect();
    due.sort_unstable();
    let timed: Vec<u64> = all.iter().filter(|it| it.entry.due_ms != u64::MAX).map(|row| row.id).collect();
    let mut ended: Vec<u64> = rows.ended((0, 0), u64::MAX, 10_000)?.iter().map(|(_, id)| *id).collect();
    ended.sort_unstable();
    let over: Vec<u64> = all.iter().filter(|it| it.entry.stopped_ms().is_some()).map(|row| row.id).collect();
    let open = (all.len() - over.len()) as u64;
    let counts = (rows.count()?, rows.meta()?[2]);
    let programs = rows.programs()?.len();
    let untold =
        versions.iter().filter_map(|(id, version)| undelivered(*version).map(|it| (*id, it.0, it.1)));
    let is_whole = listed == wanted
        && due == timed
        && ended == over
        && counts == (all.len() as u64, open)
        && programs == usize::from(open > 0)
        && rows.undelivered()?.into_iter().eq(untold);
    Ok((!is_whole).then(|| format!("{listed:?} {due:?} {ended:?} {counts:?} {programs}")))
}

/// Runs some transactions, until one fails. Returns the states that may be found afterwards.
fn work(file: &File, rows: &Rows, mut acknowledged: Versions) -> [Versions; 2] {
    for _ in 0..1 + file.below(6) {
        let mut next = acknowledged.clone();
        let written: Vec<Arc<Row>> = (0..file.below(8))
            .map(|_| {
                let id = 1 + file.below(30);
                let version = next.get(&id).map_or(1, |version| version + 1);
                next.insert(id, version);
                Arc::new(row(id, version))
            })
            .collect();
        let forgotten: Vec<u64> = (0..file.below(4)).map(|_| 1 + file.below(30)).collect();
        next.retain(|id, _| !forgotten.contains(id));
        // The process ends at the first failure.
        if rows.write(&written, (&forgotten, &[]), 1).is_err() {
            return [acknowledged, next];
        }
        acknowledged = next;
    }
    [acknowledged.clone(), acknowledged]
}

fn scenario(seed: u64) -> u64 {
    let (mut file, mut may_be, mut crashes) = (File::new(seed), [Versions::new(), Versions::new()], 0);
    for _ in 0..2 + file.below(4) {
        match file.below(8) {
            0..4 => file.fail_after(1 + file.below(120), Fault::Power),
            4 => file.fail_after(1 + file.below(120), Fault::Fails),
            5 => file.fail_after(1 + file.below(120), Fault::Full),
            _ => {}
        }
        // Opening may fail as well.
        if let Ok(rows) = Rows::on(file.clone()) {
            let differences = may_be
                .each_ref()
                .map(|versions| differs(&rows, versions).unwrap_or_else(|error| Some(error.to_string())));
            let found = differences.iter().position(Option::is_none);
            let found = found.unwrap_or_else(|| panic!("COLD_SEED={seed}: {may_be:?}: {differences:?}"));
            may_be = work(&file, &rows, may_be[found].clone());
            // As when a process is killed: nothing is closed first.
            let next = file.end(file.below(3) > 0);
            drop(rows);
            file = next;
        } else {
            file = file.end(file.below(3) > 0);
        }
        crashes += 1;
    }
    crashes
}

#[test]
fn rows_are_those_of_the_last_transaction_whatever_fails() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let wanted = number("COLD_CRASHES", if cfg!(debug_assertions) { 300 } else { 20_000 });
    let (mut crashes, mut seed) = (0, number("COLD_SEED", 0));
    while crashes < wanted {
        crashes += scenario(seed);
        seed += 1;
    }
    println!("{crashes} crashes, up to seed {}", seed - 1);
}

/// A process that is killed while it makes the file leaves one that is no database.
#[test]
fn a_file_that_was_only_begun_is_begun_anew() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("expressway-begun-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (path, begun) = (folder.join("rows.redb"), folder.join("rows.begun"));
    std::fs::write(&begun, vec![0; 1 << 20])?;
    let rows = Rows::open(&path, true)?;
    assert!(path.exists() && !begun.exists());
    assert!(Rows::open(&path, true).is_err(), "it is in use");
    drop(rows);
    // Nothing has its name before it is complete.
    std::fs::remove_file(&path)?;
    std::fs::create_dir(&begun)?;
    assert!(Rows::open(&path, true).is_err());
    assert!(!path.exists());
    Ok(std::fs::remove_dir_all(&folder)?)
}
