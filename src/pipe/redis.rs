//! Redis Streams: a consumer group as a source, a stream as a sink. Redis 6.2 or later, and compatible servers.
//!
//! Processes that name the same group share its entries. An entry is acknowledged (`XACK`) after its output is
//! published. The entries of a process that has ended are claimed by another once they have been idle for long enough;
//! while an execution takes long, the idle time of its entry is reset; the idle time of one that is given back is set
//! so that it can be claimed after its delay.
//!
//! Entries are claimed by `XPENDING` and `XCLAIM`, not by `XAUTOCLAIM`, which does the same without the number of
//! deliveries.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::address::without_credentials;
use super::connection::Connection;
use super::event::{
    Backlog, Batch, Disposition, Later, Outputs, PipeError, Provenance, Receipts, Room, Sink, Source,
};
use crate::os;

/// A Redis server. Connections are made when they are needed, and anew after they broke.
#[derive(Clone, Debug)]
pub struct Redis {
    client: Client,
    /// Its URL without credentials.
    address: Arc<str>,
    /// Shared by all commands except those that wait for entries.
    link: Arc<Link>,
}

/// A consumer group of a stream, and how its entries become events.
#[derive(Clone, Debug)]
pub struct RedisGroup {
    /// The stream's key. A missing stream is created empty.
    pub stream: String,
    /// The group's name. Processes that use the same one share its entries. A missing group is created, and begins with
    /// the oldest entry.
    pub group: String,
    /// The consumer's name, which only one process may use at a time; by default, a unique name.
    pub consumer: Option<String>,
    /// The field that has the event's body. An entry without it is an event whose body is the object of all its fields.
    pub body: String,
    /// The field with the ordering key.
    pub key: Option<String>,
    /// How long an entry may stay unacknowledged before it is given to another consumer. Also the longest delay of an
    /// event that is given back.
    pub idle: Duration,
}

impl RedisGroup {
    /// A group whose events are in the field `body`, and are claimed by another consumer after 30 s.
    pub fn new(stream: impl Into<String>, group: impl Into<String>) -> RedisGroup {
        RedisGroup {
            stream: stream.into(),
            group: group.into(),
            consumer: None,
            body: "body".to_owned(),
            key: None,
            idle: Duration::from_secs(30),
        }
    }
}

/// How long a command may take before its connection counts as broken.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the server is asked to wait for entries. Events that were given back are claimed with at most this delay.
const BLOCK_MAX: Duration = Duration::from_millis(250);
/// The longest interval between two searches for entries of others that were idle for too long.
const CLAIM_EVERY_MAX: Duration = Duration::from_secs(5);
/// Consumers created here are deleted when they hold no entries and were inactive for so long.
const CONSUMER_IDLE_MS: u64 = 3_600_000;
const CONSUMER_PREFIX: &str = "expressway-";

/// Atomically, so that none is deleted that just got an entry.
const FORGET_CONSUMERS: &str = "\
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if consumer[4] == 0 and consumer[6] > tonumber(ARGV[2]) and string.sub(consumer[2], 1, #ARGV[3]) == ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer[2])
  end
end";

fn away(error: impl std::fmt::Display) -> PipeError {
    PipeError::Away(format!("Redis: {}", os::without_number(&error.to_string())))
}

fn refused(error: impl std::fmt::Display) -> PipeError {
    PipeError::Refused(format!("Redis: {}", os::without_number(&error.to_string())))
}

// ---- connections ----

/// A connection that is made anew after it broke.
#[derive(Debug)]
struct Link {
    client: Client,
    answer_max: Duration,
    open: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    state: Connection,
}

impl Link {
    fn new(client: &Client, answer_max: Duration) -> Link {
        let (open, state) = (tokio::sync::Mutex::default(), Connection::default());
        Link { client: client.clone(), answer_max, open, state }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, PipeError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_MAX))
            .set_response_timeout(Some(self.answer_max));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = connection.map_err(|error| match error.kind() {
            redis::ErrorKind::AuthenticationFailed | redis::ErrorKind::InvalidClientConfig => refused(error),
            _ => away(error),
        })?;
        self.state.connected();
        Ok(open.insert(connection).clone())
    }

    /// Sends commands and waits for all answers, some of which may be errors.
    async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, PipeError> {
        let mut connection = self.connection().await?;
        let answers = connection.req_packed_commands(commands, 0, commands.len()).await;
        match answers {
            Ok(answers) => Ok(answers),
            Err(error) => {
                *self.open.lock().await = None;
                let error = away(error);
                self.state.lost(error.to_string());
                Err(error)
            }
        }
    }

    /// Sends one command.
    async fn command(&self, command: Cmd) -> Result<Value, PipeError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let answer = self.ask(&commands).await?.pop().unwrap_or_default();
        well(&answer).map(|()| answer)
    }
}

/// The server's errors when the stream or the group was removed: for commands, and for blocked reads.
const GONE: [&str; 2] = ["NOGROUP", "UNBLOCKED"];

/// Whether the server executed the command.
fn well(answer: &Value) -> Result<(), PipeError> {
    let Value::ServerError(error) = answer else { return Ok(()) };
    Err(match error.code() {
        // These are temporary; `NOGROUP` and `UNBLOCKED` are since the group is created again.
        "BUSY" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "MISCONF" | "NOGROUP" | "NOREPLICAS" | "OOM"
        | "READONLY" | "TRYAGAIN" | "UNBLOCKED" => away(error),
        _ => refused(error),
    })
}

impl Redis {
    /// A server by its URL: `redis://[user:password@]host:port/database`, `rediss://…` for TLS, `unix:///path`.
    ///
    /// # Errors
    /// When the URL is invalid, the server is unreachable, or it refuses the credentials.
    pub async fn connect(url: &str) -> Result<Redis, PipeError> {
        let client = Client::open(url).map_err(|_| {
            let forms =
                "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… with TLS, or unix:///PATH";
            refused(format!("that is not the URL of a server: {forms}"))
        })?;
        let link = Arc::new(Link::new(&client, ANSWER_MAX));
        // A server that wants a password accepts connections without one. A user may be forbidden this command alone.
        match link.command(redis::cmd("PING")).await {
            Err(PipeError::Refused(why)) if why.contains("NoPerm") => {}
            answer => drop(answer?),
        }
        Ok(Redis { client, address: without_credentials(url).into(), link })
    }

    /// The entries of a group.
    ///
    /// # Errors
    /// When the server is unreachable, or refuses.
    pub async fn source(&self, group: RedisGroup) -> Result<RedisSource, PipeError> {
        let name = group.consumer.clone();
        let shared = Arc::new(Shared {
            link: Arc::clone(&self.link),
            address: Arc::clone(&self.address),
            name: format!("{}/{}", group.stream, group.group),
            consumer: name.map_or_else(consumer_name, Ok)?,
            due: Mutex::default(),
            group,
        });
        shared.make_group().await?;
        // Where scripts are not allowed, the consumers stay.
        let _ = shared.link.command(shared.forget_consumers()).await;
        let blocking = Link::new(&self.client, ANSWER_MAX + BLOCK_MAX);
        let claim_at = Instant::now();
        Ok(RedisSource { shared, blocking, kept: Vec::new(), claim_at, bytes_of_one: 0, failed: false })
    }

    /// A sink that adds to a stream, whose entries have the output in the field `body`.
    pub fn sink(&self, stream: impl Into<String>) -> RedisSink {
        let (link, address) = (Arc::clone(&self.link), Arc::clone(&self.address));
        RedisSink {
            link,
            address,
            stream: stream.into(),
            body: "body".to_owned(),
            entries_max: None,
            with_ids: false,
        }
    }
}

fn consumer_name() -> Result<String, PipeError> {
    let random = getrandom::u64()
        .map_err(|error| PipeError::Refused(format!("no randomness from the operating system: {error}")))?;
    Ok(format!("{CONSUMER_PREFIX}{}-{random:016x}", std::process::id()))
}

// ---- receiving ----

/// Entries of a consumer group.
pub struct RedisSource {
    shared: Arc<Shared>,
    /// A connection of its own, blocked while the server waits for entries.
    blocking: Link,
    /// Entries that were received and not handed over yet.
    kept: Vec<Entry>,
    /// When to look for entries of others next.
    claim_at: Instant,
    /// The approximate size of an event.
    bytes_of_one: usize,
    /// Whether the last call failed.
    failed: bool,
}

/// What a source and the receipts of its events share.
struct Shared {
    link: Arc<Link>,
    address: Arc<str>,
    group: RedisGroup,
    name: String,
    consumer: String,
    /// When events that were given back can be claimed.
    due: Mutex<BinaryHeap<Reverse<Instant>>>,
}

struct Entry {
    id: String,
    deliveries: u32,
    body: Vec<u8>,
    key: Option<String>,
}

impl std::fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSource").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// A command on the group, such as `XACK stream group`.
    fn on_group(&self, name: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(&self.group.stream).arg(&self.group.group);
        command
    }

    /// Claims entries that were idle for so long; the answer has their content, or only their ids.
    fn claim(&self, idle: Duration) -> Cmd {
        let mut command = self.on_group("XCLAIM");
        command.arg(&self.consumer).arg(millis(idle));
        command
    }

    /// Creates the group, and the stream, if they are missing. That is logged: the stream's name may be a mistake.
    async fn make_group(&self) -> Result<(), PipeError> {
        let RedisGroup { stream, group, .. } = &self.group;
        let (mut exists, mut create) = (redis::cmd("EXISTS"), redis::cmd("XGROUP"));
        exists.arg(stream);
        create.arg("CREATE").arg(stream).arg(group).arg("0").arg("MKSTREAM");
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(exists).add_command(create);
        let answers = self.link.ask(&commands).await?;
        // Where the first is not permitted, the stream counts as existing.
        let is_new = matches!(answers.first(), Some(Value::Int(0)));
        match answers.into_iter().next_back().unwrap_or_default() {
            Value::ServerError(error) if error.code() == "BUSYGROUP" => return Ok(()),
            answer => well(&answer)?,
        }
        let address = &*self.address;
        if is_new {
            tracing::warn!(
                address,
                "the stream {stream} did not exist: it was created, with the group {group}"
            );
        } else {
            let news = "did not exist: it was created, and begins with the oldest entry";
            tracing::info!(address, "the group {group} of the stream {stream} {news}");
        }
        Ok(())
    }

    fn forget_consumers(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(FORGET_CONSUMERS).arg(1).arg(&self.group.stream).arg(&self.group.group);
        command.arg(CONSUMER_IDLE_MS).arg(CONSUMER_PREFIX);
        command
    }

    /// When the next event that was given back can be claimed.
    fn next_due(&self) -> Option<Instant> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).peek().map(|due| due.0)
    }

    fn forget_due(&self, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        while due.peek().is_some_and(|next| next.0 <= now) {
            due.pop();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl RedisSource {
    async fn fill(&mut self, room: Room) -> Result<Batch, PipeError> {
        let wanted = self.wanted(room);
        while self.kept.is_empty() {
            let now = Instant::now();
            if now >= self.next_claim() {
                self.shared.forget_due(now);
                let claimed = self.claim(wanted).await?;
                self.claim_at = if claimed < wanted {
                    now + (self.shared.group.idle / 4).min(CLAIM_EVERY_MAX)
                } else {
                    now
                };
                continue;
            }
            let wait = self.next_claim().saturating_duration_since(now).min(BLOCK_MAX);
            self.read(wanted, wait).await?;
            if self.kept.is_empty() && self.failed {
                // It works again, although nothing comes.
                return Ok(self.hand_over());
            }
        }
        let until = Instant::now() + room.linger;
        while self.kept.len() < wanted {
            let left = until.saturating_duration_since(Instant::now());
            // Entries received so far are handed over; a persistent error comes again.
            if left.is_zero() || self.read(wanted - self.kept.len(), left.min(BLOCK_MAX)).await.is_err() {
                break;
            }
        }
        Ok(self.hand_over())
    }

    fn next_claim(&self) -> Instant {
        self.shared.next_due().map_or(self.claim_at, |due| due.min(self.claim_at))
    }

    /// The number of entries for which there is room: the server takes a number, not bytes.
    fn wanted(&self, room: Room) -> usize {
        room.events.min(room.bytes / self.bytes_of_one.max(1)).max(1)
    }

    /// New entries.
    async fn read(&mut self, count: usize, wait: Duration) -> Result<(), PipeError> {
        let RedisGroup { stream, group, .. } = &self.shared.group;
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(group).arg(&self.shared.consumer).arg("COUNT").arg(count);
        // 0 means for ever.
        command.arg("BLOCK").arg(millis(wait).max(1)).arg("STREAMS").arg(stream).arg(">");
        let answer = self.blocking.command(command).await?;
        for (_, entries) in pairs(answer) {
            for entry in items(entries) {
                self.keep(entry, 1);
            }
        }
        Ok(())
    }

    /// Claims entries that were idle for too long; how many were found.
    async fn claim(&mut self, count: usize) -> Result<usize, PipeError> {
        let shared = Arc::clone(&self.shared);
        let idle = shared.group.idle;
        let mut command = shared.on_group("XPENDING");
        command.arg("IDLE").arg(millis(idle)).arg("-").arg("+").arg(count);
        let mut found = Vec::new();
        for pending in items(shared.link.command(command).await?) {
            // Id, consumer, idle time, deliveries.
            if let [Value::BulkString(id), _, _, Value::Int(deliveries)] = items(pending).as_slice() {
                let deliveries = u32::try_from(*deliveries).unwrap_or(u32::MAX);
                found.push((String::from_utf8_lossy(id).into_owned(), deliveries));
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        let mut command = shared.claim(idle);
        for (id, _) in &found {
            command.arg(id);
        }
        for entry in items(shared.link.command(command).await?) {
            self.keep(entry, 0);
            // Another consumer may have claimed some of them first.
            if let Some(entry) = self.kept.last_mut().filter(|entry| entry.deliveries == 0) {
                let before =
                    found.iter().find(|(id, _)| *id == entry.id).map_or(0, |(_, deliveries)| *deliveries);
                entry.deliveries = before.saturating_add(1);
            }
        }
        Ok(found.len())
    }

    /// An entry: its id, and its fields with their values.
    fn keep(&mut self, entry: Value, deliveries: u32) {
        let mut parts = items(entry).into_iter();
        // One that was removed from its stream is skipped.
        let (Some(Value::BulkString(id)), Some(fields)) = (parts.next(), parts.next()) else { return };
        let id = String::from_utf8_lossy(&id).into_owned();
        let RedisGroup { body: body_field, key: key_field, .. } = &self.shared.group;
        let (mut body, mut key, mut others) = (None, None, serde_json::Map::new());
        for (name, value) in pairs(fields) {
            let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else { continue };
            if key_field.as_ref().is_some_and(|field| field.as_bytes() == name) {
                key = Some(String::from_utf8_lossy(&value).into_owned());
            }
            if body_field.as_bytes() == name {
                body = Some(value);
            } else {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                others.insert(text(&name), text(&value).into());
            }
        }
        let body = body.unwrap_or_else(|| serde_json::Value::Object(others).to_string().into_bytes());
        self.kept.push(Entry { id, deliveries, body, key });
    }

    fn hand_over(&mut self) -> Batch {
        let entries = std::mem::take(&mut self.kept);
        let mut receipts = Vec::with_capacity(entries.len());
        let mut bodies = Vec::with_capacity(entries.len());
        for Entry { id, deliveries, body, key } in entries {
            receipts.push((id, deliveries));
            bodies.push((body, key));
        }
        let mut batch = Batch::new(Box::new(RedisReceipts { shared: Arc::clone(&self.shared), receipts }));
        for (body, key) in &bodies {
            // A batch is far below 4 GiB: `room.bytes` is, and an entry has 512 MiB at most.
            let _: bool = batch.push(body, key.as_deref());
        }
        if !batch.is_empty() {
            self.bytes_of_one = batch.bytes() / batch.len();
        }
        batch
    }
}

impl Source for RedisSource {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            let filled = self.fill(room).await;
            self.failed = filled.is_err();
            let gone = |why: &str| GONE.iter().any(|code| why.contains(code));
            if matches!(&filled, Err(PipeError::Away(why)) if gone(why)) {
                // The server lost the group, or it was removed.
                self.shared.make_group().await.map_err(mendable)?;
            }
            filled.map(Some).map_err(mendable)
        })
    }

    fn address(&self) -> String {
        format!("{} {}", self.shared.address, self.shared.name)
    }

    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        Some(Arc::clone(&self.shared) as Arc<dyn Backlog>)
    }
}

impl Backlog for Shared {
    /// Entries that were not delivered to the group yet: its `lag`, which Redis has since version 7.
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>> {
        Box::pin(async move {
            let mut command = redis::cmd("XINFO");
            command.arg("GROUPS").arg(&self.group.stream);
            let groups = items(self.link.command(command).await?);
            let field = |group: &[Value], name: &str| {
                let is_name = |key: &Value| matches!(key, Value::BulkString(key) if key == name.as_bytes());
                group.chunks_exact(2).find(|pair| is_name(&pair[0])).map(|pair| pair[1].clone())
            };
            let ours = groups.into_iter().map(items).find(|group| {
                let name = field(group, "name");
                matches!(name, Some(Value::BulkString(name)) if name == self.group.group.as_bytes())
            });
            Ok(match ours.and_then(|group| field(&group, "lag")) {
                Some(Value::Int(lag)) => u64::try_from(lag).ok(),
                _ => None,
            })
        })
    }
}

/// The items of an answer; empty if it is not an array.
fn items(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The pairs of an answer: `[[a, b], [c, d]]` and `[a, b, c, d]` in one version of the protocol, a map in the other.
fn pairs(answer: Value) -> Vec<(Value, Value)> {
    let flat: Vec<Value> = match answer {
        Value::Map(pairs) => return pairs,
        Value::Array(rows) if matches!(rows.first(), Some(Value::Array(_))) => {
            rows.into_iter().flat_map(items).collect()
        }
        other => items(other),
    };
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

struct RedisReceipts {
    shared: Arc<Shared>,
    /// Ids and deliveries.
    receipts: Vec<(String, u32)>,
}

impl Receipts for RedisReceipts {
    fn provenance(&self, n: usize) -> Provenance {
        let (id, deliveries) = self.receipts.get(n).cloned().unwrap_or_default();
        Provenance { source: self.shared.name.clone(), id, key: None, deliveries }
    }

    fn deliveries(&self, n: usize) -> u32 {
        self.receipts.get(n).map_or(1, |(_, deliveries)| *deliveries)
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let shared = &self.shared;
            let mut done = shared.on_group("XACK");
            let mut commands = Pipeline::new();
            let (mut acknowledges, mut due) = (false, Vec::new());
            for (event, disposition) in dispositions {
                let Some((id, _)) = self.receipts.get(*event as usize) else { continue };
                match disposition {
                    Disposition::Done => {
                        acknowledges = true;
                        done.arg(id);
                    }
                    Disposition::Retry(delay) => {
                        let delay = (*delay).min(shared.group.idle);
                        let mut command = shared.claim(Duration::ZERO);
                        command.arg(id).arg("IDLE").arg(millis(shared.group.idle - delay)).arg("JUSTID");
                        commands.add_command(command);
                        // One millisecond more, because times are truncated to whole ones.
                        due.push(Instant::now() + delay + Duration::from_millis(1));
                    }
                }
            }
            if acknowledges {
                commands.add_command(done);
            }
            for answer in shared.link.ask(&commands).await? {
                well(&answer)?;
            }
            shared.due.lock().unwrap_or_else(PoisonError::into_inner).extend(due.into_iter().map(Reverse));
            Ok(())
        })
    }

    fn extend<'a>(&'a self, events: &'a [u32]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut command = self.shared.claim(Duration::ZERO);
            for event in events {
                if let Some((id, _)) = self.receipts.get(*event as usize) {
                    command.arg(id);
                }
            }
            command.arg("JUSTID");
            self.shared.link.command(command).await.map(drop)
        })
    }

    fn visibility_timeout(&self) -> Option<Duration> {
        Some(self.shared.group.idle)
    }
}

// ---- publishing ----

/// A stream that outputs are added to. They are as safe as the server's persistence makes them.
#[derive(Clone, Debug)]
pub struct RedisSink {
    link: Arc<Link>,
    address: Arc<str>,
    stream: String,
    body: String,
    entries_max: Option<u64>,
    with_ids: bool,
}

impl RedisSink {
    /// The field that has the output.
    #[must_use]
    pub fn body(mut self, field: impl Into<String>) -> RedisSink {
        self.body = field.into();
        self
    }

    /// Lets the server remove the oldest entries when there are about so many (`MAXLEN ~`), read or not.
    #[must_use]
    pub fn entries_max(mut self, entries: u64) -> RedisSink {
        self.entries_max = Some(entries);
        self
    }

    /// Adds a field `id` with the event's id, by which a reader can recognize outputs that were published twice.
    #[must_use]
    pub fn with_ids(mut self) -> RedisSink {
        self.with_ids = true;
        self
    }
}

impl Sink for RedisSink {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut commands = Pipeline::with_capacity(outputs.len());
            for output in outputs.iter() {
                let mut command = redis::cmd("XADD");
                command.arg(&self.stream);
                if let Some(entries) = self.entries_max {
                    command.arg("MAXLEN").arg("~").arg(entries);
                }
                command.arg("*").arg(&self.body).arg(output.body);
                if self.with_ids {
                    command.arg("id").arg(output.event_id());
                }
                commands.add_command(command);
            }
            let answers = self.link.ask(&commands).await.map_err(mendable)?;
            answers.iter().try_for_each(well).map_err(mendable)
        })
    }

    fn address(&self) -> String {
        format!("{} {}", self.address, self.stream)
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.link.state.clone())
    }

    /// Whether the server answers, and the key can be added to.
    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        Box::pin(async move {
            let mut command = redis::cmd("TYPE");
            command.arg(&self.stream);
            let answer = match self.link.command(command.clone()).await {
                // The connection broke, perhaps long ago. Another is made at once.
                Err(PipeError::Away(_)) => self.link.command(command).await,
                answer => answer,
            };
            match answer? {
                Value::SimpleString(kind) if !["none", "stream"].contains(&&*kind) => {
                    Err(away(format!("the key {} is a {kind}, not a stream", self.stream)))
                }
                _ => Ok(()),
            }
        })
    }
}

/// Nothing that the server refuses is about an output, or was so when the source was made: someone can put it right, and
/// the pipeline waits for that.
fn mendable(error: PipeError) -> PipeError {
    match error {
        PipeError::Refused(why) => PipeError::Away(why),
        other => other,
    }
}
