//! A cluster in NATS JetStream: three streams.
//!
//! | stream | a message is |
//! |---|---|
//! | `expressway-NAME-state` | the cluster, its owner or those of its partitions, or a node |
//! | `expressway-NAME-blocks` | a block, with the same bytes as in a folder's segment, without padding |
//! | `expressway-NAME-items` | a state machine, a revision or an activity, for the service |
//!
//! In `-state` and `-items`, the last message of each subject counts. Where the work is spread over the nodes, `owners` has
//! the owners of all partitions, and `chains` their blocks; the following is about a cluster with one owner.
//!
//! 1. **A block's message number** is its block number plus a constant. Each block is published with the number of the
//!    message before as the expected last one of its subject, so the server accepts only the next block. From the new
//!    owner's first block (its epoch) on, the server refuses the blocks of the replaced owner. Blocks that the replaced
//!    owner appended before are read by the new owner.
//! 2. **Ownership**: a node replaces the owner's message only if it is still the one that was read, and only after the
//!    owner has released the cluster or its lease has expired. Nodes renew their leases by messages, whose age is that
//!    of the servers' timestamps.
//! 3. **Records of the service** are changed by one owner at a time, see `items`.
//! 4. **Reads** go to the stream's leader. A former leader that has not noticed the change may answer that a message
//!    does not exist, but it cannot append one, because an append needs a majority.

mod chains;
mod client;
mod items;
mod owners;
mod settings;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::engine::{Changes, Engine, Item, Known, Looked, Node, Owner, Sealed, Trouble};
use crate::limits::{NATS_PAYLOAD_BYTES_MIN, NATS_READ_BLOCKS};
use chains::{ReadTo, Tail};
pub(super) use client::Address;
use client::{Behind, Client, Stored, Which};
use items::Items;

/// Bytes of a message that are reserved for headers.
const HEADERS_BYTES: usize = 1_024;
/// A node is removed when it has not renewed its lease for so many milliseconds.
const FORGET_MS: i64 = 3_600_000;

impl Address {
    /// A session for the cluster of this name.
    pub(super) fn session(self: &Arc<Address>, cluster: &str) -> Result<Jetstream, Trouble> {
        let names = Names::of(cluster);
        Ok(Jetstream {
            client: Client::new(self),
            items: Items::new(&names),
            names,
            found: None,
            partition: 0,
            tails: HashMap::new(),
            read_to: None,
            clock: None,
            began_ms: None,
            own: None,
        })
    }
}

/// The names of a cluster's streams and subjects.
#[derive(Clone, Debug)]
struct Names {
    state: String,
    blocks: String,
    items: String,
    subject: String,
}

impl Names {
    fn of(cluster: &str) -> Names {
        // A stream's name, or a part of a subject, cannot contain a dot.
        let name = cluster.replace('.', "=");
        Names {
            state: format!("expressway-{name}-state"),
            blocks: format!("expressway-{name}-blocks"),
            items: format!("expressway-{name}-items"),
            subject: format!("expressway.{name}"),
        }
    }

    fn at(&self, what: &str) -> String {
        format!("{}.{what}", self.subject)
    }
}

/// A cluster, as read from its message.
struct Found {
    seq: u64,
    known: Known,
    /// The number of a block's message, minus the block's number.
    offset: i64,
}

/// A session for one cluster.
pub(super) struct Jetstream {
    client: Client,
    items: Items,
    names: Names,
    found: Option<Found>,
    partition: u16,
    /// The last blocks of partitions, which this session has published.
    tails: HashMap<u16, Tail>,
    read_to: Option<ReadTo>,
    clock: Option<Clock>,
    began_ms: Option<i64>,
    own: Option<Own>,
}

/// The last timestamp of a server, and two moments: it was taken after the first, and before the second.
#[derive(Clone, Copy)]
struct Clock {
    ms: i64,
    asked: Instant,
    read: Instant,
}

/// The node whose lease a session renews.
struct Own {
    node: String,
    /// The timestamp of the lease on which the node may rely.
    held_ms: Option<i64>,
}

/// The owner, as read from its message, and the message's number; 0 if there is no message.
struct Owned {
    seq: u64,
    epoch: u64,
    node: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

/// Parses a message.
fn told(stored: &Stored) -> Result<Value, Trouble> {
    serde_json::from_slice(&stored.bytes).map_err(|_| foreign())
}

fn foreign() -> Trouble {
    Trouble::said("a message in the cluster's streams was not written by Expressway")
}

fn lost_race() -> Trouble {
    Trouble::said("another process changed the cluster at the same time")
}

impl Jetstream {
    /// Creates a stream, unless it exists. One that another attempt has left, or another release, is changed.
    fn make(&mut self, stream: &str, subjects: &Value, of_each: i64) -> Result<(), Trouble> {
        let made = match self.client.info(stream)? {
            None => "CREATE",
            Some(info) if info["config"]["subjects"] == *subjects => return Ok(()),
            Some(_) => "UPDATE",
        };
        let config = json!({
            "name": stream,
            "subjects": subjects,
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msgs_per_subject": of_each,
            "max_consumers": -1,
            "num_replicas": self.client.settings().replicas,
            "deny_delete": true,
            "allow_direct": true,
        });
        self.client.api(&format!("STREAM.{made}.{stream}"), &config).map(drop)
    }

    fn read(&mut self, what: &str) -> Result<Option<Stored>, Trouble> {
        let subject = self.names.at(what);
        self.client.get(&self.names.state, Which::LastOf(&subject))
    }

    /// Reads the cluster's message.
    fn find_it(&mut self) -> Result<Option<&Found>, Trouble> {
        self.found = None;
        if self.client.info(&self.names.state)?.is_none() {
            return Ok(None);
        }
        let Some(stored) = self.read("cluster")? else { return Ok(None) };
        let told = told(&stored)?;
        let format = told["format"].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or(0);
        let journal = told["journal"].as_str().and_then(|it| u64::from_str_radix(it, 16).ok());
        let secret = told["secret"].as_str().and_then(unhex);
        let (Some(journal), Some(secret)) = (journal, secret) else { return Err(foreign()) };
        let known = Known { format, journal, secret };
        let found = Found { seq: stored.seq, known, offset: told["offset"].as_i64().unwrap_or(0) };
        Ok(Some(self.found.insert(found)))
    }

    /// The cluster, which must exist.
    fn cluster(&mut self) -> Result<&Found, Trouble> {
        if self.found.is_none() {
            self.find_it()?;
        }
        self.found.as_ref().ok_or_else(|| Trouble::said("there is no cluster of this name in NATS"))
    }

    /// Replaces the cluster's message, if it is still the one that was read.
    fn keep(&mut self, known: &Known, offset: i64) -> Result<(), Trouble> {
        let behind = self.found.as_ref().map_or(0, |found| found.seq);
        let told = json!({
            "format": known.format,
            "journal": format!("{:016x}", known.journal),
            "secret": hex(&known.secret),
            "offset": offset,
        });
        let subject = self.names.at("cluster");
        let kept =
            self.client.publish(&subject, Behind::LastOfSubject(behind), told.to_string().as_bytes())?;
        self.find_it()?;
        kept.map(drop).ok_or_else(lost_race)
    }

    /// The number of a block's message.
    fn seq(&mut self, lsn: u64) -> Result<u64, Trouble> {
        let found = self.cluster()?;
        let seq = i64::try_from(lsn).ok().and_then(|lsn| lsn.checked_add(found.offset));
        let seq = seq.and_then(|seq| u64::try_from(seq).ok());
        seq.ok_or_else(|| Trouble::said(format!("there is no block {lsn}")))
    }

    fn owned(&mut self) -> Result<Owned, Trouble> {
        let Some(stored) = self.read("owner")? else { return Ok(Owned { seq: 0, epoch: 0, node: None }) };
        let told = told(&stored)?;
        let epoch = told["epoch"].as_u64().ok_or_else(foreign)?;
        Ok(Owned { seq: stored.seq, epoch, node: told["node"].as_str().map(str::to_owned) })
    }

    /// Replaces the owner's message, if it is still the one that was read. Returns whether it was.
    fn own(&mut self, behind: u64, epoch: u64, node: Option<&str>) -> Result<bool, Trouble> {
        let told = json!({"epoch": epoch, "node": node}).to_string();
        let subject = self.names.at("owner");
        Ok(self.client.publish(&subject, Behind::LastOfSubject(behind), told.as_bytes())?.is_some())
    }

    fn is_spread(&mut self) -> Result<bool, Trouble> {
        Ok(self.cluster()?.known.is_spread())
    }

    /// The owner of the cluster, or of this session's partition: the epoch and the name.
    fn owns(&mut self) -> Result<(u64, Option<String>), Trouble> {
        if self.is_spread()? {
            return self.owner_of(self.partition);
        }
        let Owned { epoch, node, .. } = self.owned()?;
        Ok((epoch, node))
    }

    /// The epoch of the node that may change the service's records.
    fn records_epoch(&mut self) -> Result<u64, Trouble> {
        if self.is_spread()? { Ok(self.owner_of(0)?.0) } else { Ok(self.owned()?.epoch) }
    }

    /// Whether a node's lease is valid.
    fn lives(&mut self, node: &str) -> Result<bool, Trouble> {
        let told = self.read(&format!("node.{node}"))?;
        Ok(told.is_some_and(|stored| self.node(&stored).1 > 0))
    }

    /// The present time by the servers' clocks, in milliseconds, at least; by the local clock before the first timestamp.
    fn now_ms(&self) -> i64 {
        self.passed(|clock| clock.read)
    }

    /// The same, at most.
    fn now_ms_max(&self) -> i64 {
        self.passed(|clock| clock.asked)
    }

    fn passed(&self, since: impl Fn(&Clock) -> Instant) -> i64 {
        match &self.clock {
            Some(clock) => {
                let passed = since(clock).elapsed().as_millis();
                clock.ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
            }
            None => jiff::Timestamp::now().as_millisecond(),
        }
    }

    /// A node, as read from its message, and the remaining milliseconds of its lease.
    fn node(&self, stored: &Stored) -> (Node, i64) {
        // A foreign message has no lease.
        let told = told(stored).unwrap_or(Value::Null);
        let text = |name: &str| told[name].as_str().unwrap_or("").to_owned();
        let lease_ms = told["leaseMs"].as_i64().unwrap_or(0);
        let seen_ms = self.now_ms() - stored.ms;
        let mut left_ms = lease_ms - seen_ms;
        let lives = left_ms > 0;
        if let Some(own) = self.own.as_ref().filter(|own| Some(&*own.node) == told["node"].as_str()) {
            let is_held = own.held_ms == Some(stored.ms);
            left_ms = if is_held { lease_ms - (self.now_ms_max() - stored.ms) } else { left_ms.min(1) };
        }
        let node = Node {
            node: text("node"),
            address: text("address"),
            release: text("release"),
            began_ms: self.now_ms() - told["beganMs"].as_i64().unwrap_or(stored.ms),
            seen_ms,
            lives,
        };
        (node, left_ms)
    }

    /// The state of the stream of blocks.
    fn blocks(&mut self) -> Result<Value, Trouble> {
        let info = self.client.info(&self.names.blocks)?;
        info.ok_or_else(|| Trouble::said(format!("the stream {} is missing", self.names.blocks)))
    }

    fn size(&mut self) -> Result<u64, Trouble> {
        let info = self.blocks()?;
        Ok(info["state"]["bytes"].as_u64().unwrap_or(0))
    }
}

impl Jetstream {
    /// Why acknowledged blocks may be lost; `None` if they are durable.
    fn may_be_lost(&mut self) -> Result<Option<String>, Trouble> {
        let server = self.client.server()?;
        let settings = self.client.settings();
        if settings.accepts_loss {
            return Ok(None);
        }
        let version: Vec<u64> = server.version.split('.').take(2).map_while(|it| it.parse().ok()).collect();
        if version.as_slice() < [2, 10].as_slice() {
            return Ok(Some(format!(
                "NATS {} always acknowledges before it syncs: what it acknowledges is not durable; use 2.10 or newer with \
                 sync_interval: always",
                server.version
            )));
        }
        let info = self.blocks()?;
        let replicas = info["config"]["num_replicas"].as_u64().unwrap_or(1);
        if replicas < 3 {
            return Ok(Some(format!(
                "the stream {} has {replicas} replica: what one server acknowledges is lost with its disk; use three servers \
                 and replicas=3",
                self.names.blocks
            )));
        }
        let settings = self.client.settings();
        if settings.is_synced {
            return Ok(None);
        }
        let (synced, troubles) = settings.synced();
        let cluster = &info["cluster"];
        let peers = cluster["replicas"].as_array().into_iter().flatten().map(|peer| &peer["name"]);
        let servers = peers.chain([&cluster["leader"]]).filter_map(Value::as_str);
        let unknown: Vec<&str> = servers.filter(|name| !synced.iter().any(|it| it == name)).collect();
        Ok((!unknown.is_empty()).then(|| {
            format!(
                "by default, servers of NATS acknowledge before they sync, so what they acknowledge is not durable: set \
                 sync_interval: always in the section jetstream of each. It could not be seen of {} ({}); monitor=HOST:PORT,… \
                 in the URL says where servers tell it, and sync=always that it is so",
                unknown.join(", "),
                troubles.join("; ")
            )
        }))
    }
}

impl Engine for Jetstream {
    fn find(&mut self) -> Result<Option<Known>, Trouble> {
        Ok(self.find_it()?.map(|found| found.known.clone()))
    }

    fn find_or_make(&mut self, known: Known) -> Result<Known, Trouble> {
        if self.find_it()?.is_none() {
            let names = self.names.clone();
            let of_state = ["cluster", "owner", "owners", "node.*", "leaving.*"].map(|what| names.at(what));
            self.make(&names.state, &json!(of_state), 1)?;
            self.make(&names.blocks, &json!([names.at("blocks"), names.at("blocks.*")]), -1)?;
            self.make(&names.items, &json!([names.at("items.>")]), 1)?;
            // Another node may have created it first: its message counts.
            if let Err(trouble) = self.keep(&known, 0)
                && self.found.is_none()
            {
                return Err(trouble);
            }
        }
        Ok(self.cluster()?.known.clone())
    }

    fn unfit(&mut self) -> Result<Option<String>, Trouble> {
        let bytes_max = self.client.server()?.max_payload;
        if bytes_max < NATS_PAYLOAD_BYTES_MIN {
            return Ok(Some(format!(
                "the server's max_payload is {bytes_max} bytes, and a block may need {NATS_PAYLOAD_BYTES_MIN}: set \
                 max_payload: 8MB"
            )));
        }
        self.may_be_lost()
    }

    fn block_bytes_max(&mut self) -> Result<usize, Trouble> {
        Ok(self.client.server()?.max_payload.saturating_sub(HEADERS_BYTES))
    }

    fn tell(&mut self, node: &str, address: &str, lease_ms: i64) -> Result<(), Trouble> {
        let what = format!("node.{node}");
        if self.began_ms.is_none() {
            let before = self.read(&what)?.map(|stored| self.node(&stored).0.began_ms);
            self.began_ms = before.map(|ms| self.now_ms() - ms);
        }
        let told = json!({
            "node": node,
            "address": address,
            "release": env!("CARGO_PKG_VERSION"),
            "beganMs": self.began_ms,
            "leaseMs": lease_ms,
        });
        let (subject, asked) = (self.names.at(&what), Instant::now());
        self.client.publish(&subject, Behind::Anything, told.to_string().as_bytes())?;
        // The timestamp of this message is the present time of the servers.
        let Some(Stored { ms, .. }) = self.read(&what)? else { return Ok(()) };
        self.clock = Some(Clock { ms, asked, read: Instant::now() });
        self.began_ms.get_or_insert(ms);
        let held_ms = self.own.take().filter(|own| own.node == node).and_then(|own| own.held_ms);
        let own = self.own.insert(Own { node: node.to_owned(), held_ms });
        if own.held_ms.take().is_none_or(|held_ms| ms - held_ms >= lease_ms) && self.is_spread()? {
            self.refuse_claims()?;
        }
        self.own = Some(Own { node: node.to_owned(), held_ms: Some(ms) });
        Ok(())
    }

    fn forget_nodes(&mut self, node: &str) -> Result<(), Trouble> {
        let gone = self.nodes()?.into_iter().filter(|it| it.node == node || it.seen_ms > FORGET_MS);
        let state = self.names.state.clone();
        for gone in gone.collect::<Vec<_>>() {
            for what in ["node", "leaving"] {
                let subject = self.names.at(&format!("{what}.{}", gone.node));
                self.client.purge(&state, Some(&subject), u64::MAX >> 1)?;
            }
        }
        Ok(())
    }

    fn nodes(&mut self) -> Result<Vec<Node>, Trouble> {
        let (state, filter) = (self.names.state.clone(), self.names.at("node.*"));
        let subjects = self.client.subjects(&state, &filter)?;
        let which: Vec<Which<'_>> = subjects.iter().map(|subject| Which::LastOf(subject)).collect();
        let stored = self.client.get_all(&state, &which)?;
        let mut nodes: Vec<Node> = stored.iter().flatten().map(|stored| self.node(stored).0).collect();
        nodes.sort_by(|a, b| (b.began_ms, &a.node).cmp(&(a.began_ms, &b.node)));
        Ok(nodes)
    }

    fn claim(&mut self, node: &str) -> Result<Option<u64>, Trouble> {
        if self.is_spread()? {
            return self.claim_partition(node);
        }
        let owned = self.owned()?;
        if let Some(other) = owned.node.as_deref().filter(|it| *it != node)
            && self.lives(other)?
        {
            return Ok(None);
        }
        let epoch = owned.epoch + 1;
        Ok(self.own(owned.seq, epoch, Some(node))?.then_some(epoch))
    }

    fn release(&mut self, node: &str, epoch: u64) -> Result<(), Trouble> {
        if self.is_spread()? {
            return self.release_partition(node, epoch);
        }
        let owned = self.owned()?;
        if owned.epoch == epoch && owned.node.as_deref() == Some(node) {
            self.own(owned.seq, epoch, None)?;
        }
        Ok(())
    }

    fn owner(&mut self) -> Result<Owner, Trouble> {
        let (epoch, node) = self.owns()?;
        let told = match &node {
            Some(node) => self.read(&format!("node.{node}"))?,
            None => None,
        };
        let (address, left_ms) = match told {
            Some(stored) => {
                let (node, left_ms) = self.node(&stored);
                (node.address, left_ms)
            }
            None => (String::new(), -1),
        };
        Ok(Owner { epoch, node, address, left_ms })
    }

    fn append(&mut self, lsn: u64, _epoch: u64, bytes: &[u8]) -> Result<bool, Trouble> {
        let seq = self.seq(lsn)?;
        // The first block is published as the first message of its subject, also after a purge.
        let before = if lsn == 1 { Some(0) } else { seq.checked_sub(1) };
        let before = before.ok_or_else(|| Trouble::said("there is no such block"))?;
        let subject = self.names.at("blocks");
        match self.client.publish(&subject, Behind::LastOfSubject(before), bytes)? {
            None => Ok(false),
            Some(there) if there == seq => Ok(true),
            Some(there) => Err(Trouble::said(format!("block {lsn} is message {there} instead of {seq}"))),
        }
    }

    fn block(&mut self, lsn: u64) -> Result<Option<Vec<u8>>, Trouble> {
        if self.is_spread()? {
            return Ok(self.find_block(lsn)?.map(|stored| stored.bytes));
        }
        let seq = self.seq(lsn)?;
        let stored = self.client.get(&self.names.blocks, Which::Seq(seq))?;
        Ok(stored.map(|stored| stored.bytes))
    }

    fn last(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        if self.is_spread()? {
            return Ok(self.last_block()?.map(|stored| stored.bytes));
        }
        // Another process may have copied a state into it meanwhile.
        if self.find_it()?.is_none() {
            return Ok(None);
        }
        let subject = self.names.at("blocks");
        let stored = self.client.get(&self.names.blocks, Which::LastOf(&subject))?;
        Ok(stored.map(|stored| stored.bytes))
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
        if self.is_spread()? {
            return self.read_blocks(from);
        }
        let seq = self.seq(from)?;
        let which: Vec<Which<'_>> = (seq..seq + NATS_READ_BLOCKS).map(Which::Seq).collect();
        let stored = self.client.get_all(&self.names.blocks, &which)?;
        let there = stored.into_iter().map_while(|stored| stored);
        Ok(there.map(|stored| (from + (stored.seq - seq), stored.bytes)).collect())
    }

    fn remove(&mut self, before: u64) -> Result<bool, Trouble> {
        if self.is_spread()? {
            return self.remove_blocks(before).map(|()| false);
        }
        let seq = self.seq(before)?;
        self.client.purge(&self.names.blocks, None, seq)?;
        Ok(false)
    }

    fn kept_bytes(&mut self) -> Result<u64, Trouble> {
        if self.is_spread()? { self.size_of_blocks() } else { self.size() }
    }

    fn bytes(&mut self) -> Result<u64, Trouble> {
        self.size()
    }

    fn at(&mut self, partition: u16) {
        self.partition = partition;
    }

    fn look(&mut self) -> Result<Looked, Trouble> {
        self.look_at_all()
    }

    fn append_all(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble> {
        self.publish_blocks(blocks)
    }

    fn leave(&mut self, node: &str) -> Result<(), Trouble> {
        let subject = self.names.at(&format!("leaving.{node}"));
        self.client.publish(&subject, Behind::Anything, b"").map(drop)
    }

    fn release_all(&mut self, node: &str) -> Result<(), Trouble> {
        self.release_partitions(node)
    }

    fn changes(&mut self, after: u64) -> Result<Changes, Trouble> {
        self.items.changes(&mut self.client, after)
    }

    #[cfg(feature = "service")]
    fn begin_copy(&mut self) -> Result<bool, Trouble> {
        self.find_it()?;
        let known = self.cluster()?.known.clone();
        let has_blocks = self.blocks()?["state"]["messages"].as_u64() != Some(0);
        if has_blocks && !known.is_copying() {
            return Ok(false);
        }
        let known = Known { format: -known.format.abs(), ..known };
        self.keep(&known, 0)?;
        if has_blocks {
            self.client.api(&format!("STREAM.PURGE.{}", self.names.blocks), &json!({}))?;
        }
        let state = self.blocks()?;
        let last = state["state"]["last_seq"].as_i64().ok_or_else(foreign)?;
        // The numbers of messages go on.
        self.keep(&known, last)?;
        Ok(true)
    }

    #[cfg(feature = "service")]
    fn end_copy(&mut self) -> Result<(), Trouble> {
        self.find_it()?;
        let Found { known, offset, .. } = self.cluster()?;
        let (known, offset) = (Known { format: known.format.abs(), ..known.clone() }, *offset);
        self.keep(&known, offset)
    }

    fn begin(&mut self, epoch: u64) -> Result<bool, Trouble> {
        if self.records_epoch()? != epoch {
            return Ok(false);
        }
        let is_followed = self.is_spread()?;
        self.items.fence(&mut self.client, epoch)?;
        // Checked again: a node that takes the cluster from now on publishes its fence after this one.
        let is_owner = self.records_epoch()? == epoch;
        if is_owner {
            self.items.begin(&mut self.client, is_followed)?;
        }
        Ok(is_owner)
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.items.commit(&mut self.client)
    }

    fn roll_back(&mut self) {
        self.items.roll_back();
    }

    fn put_item(&mut self, item: Item<'_>, bytes: &[u8]) -> Result<(), Trouble> {
        self.items.change(item, Some(bytes.to_vec()));
        Ok(())
    }

    fn remove_item(&mut self, item: Item<'_>) -> Result<(), Trouble> {
        self.items.change(item, None);
        Ok(())
    }

    fn item(&mut self, item: Item<'_>) -> Result<Option<Vec<u8>>, Trouble> {
        self.items.get(&mut self.client, item)
    }

    fn numbers(&mut self, kind: i32, arn: &str) -> Result<Vec<u64>, Trouble> {
        self.items.read(&mut self.client)?;
        Ok(self.items.numbers(kind, arn))
    }

    fn arns(&mut self, kind: i32) -> Result<Vec<String>, Trouble> {
        self.items.read(&mut self.client)?;
        Ok(self.items.arns(kind, ""))
    }

    fn items(&mut self, kind: i32, after: &str) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        if after.is_empty() {
            self.items.read(&mut self.client)?;
        }
        self.items.page(&mut self.client, kind, after)
    }
}
