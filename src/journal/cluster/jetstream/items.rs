//! Records of the service, in a stream that keeps the last message of each subject.
//!
//! One owner changes them at a time: each message is published with the number of the stream's last one. After a
//! message of another node, such as the fence with which a new owner begins, the server refuses all others.
//!
//! A change of several records is first published as one message (`redo`). Once that is stored, the change takes
//! effect: the records follow one by one, and a new owner publishes those that are missing. A record is removed by an
//! empty message, which is purged together with all before it.
//!
//! Where other nodes follow the changes, a message has the number of the last one, and what the last ones have changed
//! (`changes`). It is published after the change has taken effect. A new owner, and one whose
//! last publication is in doubt, first announces that all records may have changed: one may have changed without being
//! announced.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::super::engine::{Changes, Item, Trouble};
use super::client::{Behind, Client, Which};
use super::{HEADERS_BYTES, Names, foreign};
use crate::limits::NATS_CHANGES_KEPT;

/// Records of a page.
const PAGE: usize = 64;

/// Kind, ARN and number of a record.
type Key = (i32, String, u64);
/// The new bytes of records; `None` for those that are removed.
type Change = BTreeMap<Key, Option<Vec<u8>>>;

pub(super) struct Items {
    stream: String,
    /// The first part of subjects.
    subject: String,
    /// The number of the stream's last message, if this session published it.
    last: Option<u64>,
    /// The epoch under which it did.
    epoch: u64,
    /// What other nodes were told of changes, where they follow them.
    told: Option<Told>,
    /// Between the beginning of a change and its end.
    is_changing: bool,
    /// The keys of existing records, once they were read.
    there: Option<BTreeSet<Key>>,
    /// Changes that are not committed.
    pending: Change,
}

/// The number of the last change, and what the last ones have changed.
#[derive(Debug, Default)]
struct Told {
    version: u64,
    of: Vec<(i32, String)>,
}

fn key(item: Item<'_>) -> Key {
    (item.kind, item.arn.to_owned(), item.number)
}

impl Items {
    pub(super) fn new(names: &Names) -> Items {
        Items {
            stream: names.items.clone(),
            subject: names.at("items"),
            last: None,
            epoch: 0,
            told: None,
            is_changing: false,
            there: None,
            pending: Change::new(),
        }
    }

    fn subject(&self, (kind, arn, number): &Key) -> String {
        format!("{}.{kind}.{}.{number}", self.subject, URL_SAFE_NO_PAD.encode(arn))
    }

    /// The record of a subject; `None` for other subjects.
    fn key(&self, subject: &str) -> Option<Key> {
        let mut parts = subject.strip_prefix(&*self.subject)?.strip_prefix('.')?.split('.');
        let kind = parts.next()?.parse().ok()?;
        let arn = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        Some((kind, arn, parts.next()?.parse().ok()?))
    }

    /// Publishes a fence: the server then refuses messages of other nodes that have not read it.
    pub(super) fn fence(&mut self, client: &mut Client, epoch: u64) -> Result<(), Trouble> {
        if self.last.is_some() && self.epoch == epoch {
            return Ok(());
        }
        (self.there, self.told) = (None, None);
        let subject = format!("{}.fence", self.subject);
        self.last = client.publish(&subject, Behind::Anything, b"")?;
        self.epoch = epoch;
        Ok(())
    }

    /// Begins a change after a fence. It completes one that was not finished.
    pub(super) fn begin(&mut self, client: &mut Client, is_followed: bool) -> Result<(), Trouble> {
        let begun = self.try_begin(client, is_followed);
        self.is_changing = begun.is_ok();
        self.known_if(begun)
    }

    /// After an error, it is unknown what was published: the next change begins with a fence.
    fn known_if(&mut self, done: Result<(), Trouble>) -> Result<(), Trouble> {
        if done.is_err() {
            (self.last, self.told) = (None, None);
        }
        done
    }

    fn try_begin(&mut self, client: &mut Client, is_followed: bool) -> Result<(), Trouble> {
        if self.there.is_none() {
            self.read(client)?;
            let redo = client.get(&self.stream, Which::LastOf(&self.redo()))?;
            if let Some(redo) = redo.filter(|redo| !redo.bytes.is_empty()) {
                let change = decoded(&redo.bytes).ok_or_else(|| {
                    Trouble::said("a change of records that was not finished cannot be read")
                })?;
                self.apply(client, &change)?;
                self.publish(client, &self.redo(), b"")?;
            }
        }
        if is_followed && self.told.is_none() {
            let version = self.version(client)? + 1;
            self.tell(client, Told { version, of: Vec::new() })?;
        }
        Ok(())
    }

    /// Reads the keys of existing records. During a change they are known.
    pub(super) fn read(&mut self, client: &mut Client) -> Result<(), Trouble> {
        if self.is_changing && self.there.is_some() {
            return Ok(());
        }
        let filter = format!("{}.>", self.subject);
        let subjects = client.subjects(&self.stream, &filter)?;
        self.there = Some(subjects.iter().filter_map(|subject| self.key(subject)).collect());
        Ok(())
    }

    fn changes_subject(&self) -> String {
        format!("{}.changes", self.subject)
    }

    fn read_told(&self, client: &mut Client) -> Result<Told, Trouble> {
        let stored = client.get(&self.stream, Which::LastOf(&self.changes_subject()))?;
        let Some(stored) = stored else { return Ok(Told::default()) };
        let (version, of) = serde_json::from_slice(&stored.bytes).map_err(|_| foreign())?;
        Ok(Told { version, of })
    }

    /// The number of the last change.
    pub(super) fn version(&self, client: &mut Client) -> Result<u64, Trouble> {
        Ok(self.read_told(client)?.version)
    }

    /// The last change, and what was changed after a version; `None` if that is not known.
    pub(super) fn changes(&self, client: &mut Client, after: u64) -> Result<Changes, Trouble> {
        let Told { version, mut of } = self.read_told(client)?;
        let Some(count) = version.checked_sub(after) else { return Ok((after, Some(Vec::new()))) };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let known = of.len().checked_sub(count).map(|from| of.split_off(from));
        Ok((version, known))
    }

    fn tell(&mut self, client: &mut Client, told: Told) -> Result<(), Trouble> {
        let bytes = json!([told.version, told.of]).to_string().into_bytes();
        self.publish(client, &self.changes_subject(), &bytes)?;
        self.told = Some(told);
        Ok(())
    }

    /// Tells other nodes what was changed, if they follow it.
    fn tell_of(&mut self, client: &mut Client, changed: Vec<(i32, String)>) -> Result<(), Trouble> {
        let Some(Told { mut version, mut of }) = self.told.take() else { return Ok(()) };
        if changed.is_empty() {
            self.told = Some(Told { version, of });
            return Ok(());
        }
        version += changed.len() as u64;
        of.extend(changed);
        of.drain(..of.len().saturating_sub(NATS_CHANGES_KEPT));
        self.tell(client, Told { version, of })
    }

    fn redo(&self) -> String {
        format!("{}.redo", self.subject)
    }

    pub(super) fn change(&mut self, item: Item<'_>, bytes: Option<Vec<u8>>) {
        self.pending.insert(key(item), bytes);
    }

    pub(super) fn roll_back(&mut self) {
        self.pending.clear();
        self.is_changing = false;
    }

    /// Publishes the pending changes: those of each ARN as a whole, if they fit into a message.
    pub(super) fn commit(&mut self, client: &mut Client) -> Result<(), Trouble> {
        self.is_changing = false;
        let committed = self.try_commit(client);
        self.known_if(committed)
    }

    fn try_commit(&mut self, client: &mut Client) -> Result<(), Trouble> {
        let mut of_arns: BTreeMap<String, Change> = BTreeMap::new();
        let changed = self.pending.keys().map(|(kind, arn, _)| (*kind, arn.clone())).collect();
        for (key, bytes) in std::mem::take(&mut self.pending) {
            of_arns.entry(key.1.clone()).or_default().insert(key, bytes);
        }
        let bytes_max = client.server()?.max_payload.saturating_sub(HEADERS_BYTES);
        let mut has_redo = false;
        for change in of_arns.values() {
            if change.len() > 1 || change.values().any(Option::is_none) {
                let redo = encoded(change);
                if redo.len() <= bytes_max {
                    self.publish(client, &self.redo(), &redo)?;
                    has_redo = true;
                }
            }
            self.apply(client, change)?;
        }
        if has_redo {
            self.publish(client, &self.redo(), b"")?;
        }
        self.tell_of(client, changed)
    }

    /// Publishes a change. Revisions are written before the machines that refer to them, and removed after them.
    fn apply(&mut self, client: &mut Client, change: &Change) -> Result<(), Trouble> {
        let puts = change.iter().rev().filter_map(|(key, bytes)| Some((key, bytes.as_deref()?)));
        for (key, bytes) in puts {
            self.publish(client, &self.subject(key), bytes)?;
            if let Some(there) = &mut self.there {
                there.insert(key.clone());
            }
        }
        for (key, _) in change.iter().filter(|(_, bytes)| bytes.is_none()) {
            let subject = self.subject(key);
            let seq = self.publish(client, &subject, b"")?;
            // Even when it arrives late, this purges nothing newer.
            client.purge(&self.stream, Some(&subject), seq + 1)?;
            if let Some(there) = &mut self.there {
                there.remove(key);
            }
        }
        Ok(())
    }

    fn publish(&mut self, client: &mut Client, subject: &str, bytes: &[u8]) -> Result<u64, Trouble> {
        // Unless this succeeds, the number of the last message is unknown.
        let last = self.last.take().ok_or_else(|| Trouble::said("the records are not this node's"))?;
        let published = client.publish(subject, Behind::Last(last), bytes)?;
        let seq = published.ok_or_else(|| Trouble::said("another node has changed the records meanwhile"))?;
        self.last = Some(seq);
        Ok(seq)
    }

    pub(super) fn get(&self, client: &mut Client, item: Item<'_>) -> Result<Option<Vec<u8>>, Trouble> {
        if let Some(pending) = self.pending.get(&key(item)) {
            return Ok(pending.clone());
        }
        let found = client.get(&self.stream, Which::LastOf(&self.subject(&key(item))))?;
        Ok(found.map(|found| found.bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The keys of a kind whose ARNs come after one, in order, with pending changes applied.
    fn keys(&self, kind: i32, after: &str) -> BTreeSet<Key> {
        let from = Bound::Excluded((kind, after.to_owned(), u64::MAX));
        let (from, to) = (from, Bound::Excluded((kind + 1, String::new(), 0)));
        let there = self.there.iter().flat_map(|there| there.range((from.clone(), to.clone())));
        let mut keys: BTreeSet<Key> = there.cloned().collect();
        for (key, bytes) in self.pending.range((from, to)) {
            match bytes {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        keys
    }

    pub(super) fn numbers(&self, kind: i32, arn: &str) -> Vec<u64> {
        self.keys(kind, "").into_iter().filter(|key| key.1 == arn).map(|key| key.2).collect()
    }

    pub(super) fn arns(&self, kind: i32, after: &str) -> Vec<String> {
        let mut arns: Vec<String> = self.keys(kind, after).into_iter().map(|key| key.1).collect();
        arns.dedup();
        arns
    }

    pub(super) fn page(
        &self,
        client: &mut Client,
        kind: i32,
        after: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        let mut page = Vec::new();
        for (kind, arn, number) in self.keys(kind, after).into_iter().take(PAGE) {
            if let Some(bytes) = self.get(client, Item { kind, arn: &arn, number })? {
                page.push((arn, bytes));
            }
        }
        Ok(page)
    }
}

fn encoded(change: &Change) -> Vec<u8> {
    let record = |((kind, arn, number), bytes): (&Key, &Option<Vec<u8>>)| {
        let bytes = bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        json!([kind, arn, number, bytes])
    };
    Value::Array(change.iter().map(record).collect()).to_string().into_bytes()
}

fn decoded(bytes: &[u8]) -> Option<Change> {
    let records: Vec<(i32, String, u64, Option<String>)> = serde_json::from_slice(bytes).ok()?;
    let record = |(kind, arn, number, bytes): (i32, String, u64, Option<String>)| {
        let bytes = match bytes {
            Some(bytes) => Some(STANDARD.decode(bytes).ok()?),
            None => None,
        };
        Some(((kind, arn, number), bytes))
    };
    records.into_iter().map(record).collect()
}
