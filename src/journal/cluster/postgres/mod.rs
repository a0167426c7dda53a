//! A cluster in PostgreSQL: a row for each block, and the owner's row, which each append locks.
//!
//! 1. **An owner is a number.** A node that takes the cluster increments the number in the owner's row (the epoch).
//!    Every append is a transaction that locks that row, and appends only if the number is unchanged.
//! 2. **One block at a time**, each after the one before: the key of a block is its number, and the transaction checks
//!    that the block before exists. So a block exists once, and lost blocks are detected.

mod items;
mod rows;
mod session;
mod spread;
mod tls;

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio_postgres::config::Host;

use super::engine::{Changes, Engine, Item, Known, Looked, Node, Owner, Sealed, Trouble};
use crate::limits::POSTGRES_TRIM_BLOCKS;
use session::Session;
use tls::Tls;

/// The address of a database, and how to connect.
#[derive(Clone, Debug)]
pub(super) struct Address {
    config: tokio_postgres::Config,
    tls: Tls,
}

impl Address {
    /// Whether a text is a URL of PostgreSQL.
    pub(super) fn is_url(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    pub(super) fn of(url: &str, cluster: &str) -> Result<Address, Trouble> {
        let (mut config, tls) = Tls::of(url).map_err(Trouble::said)?;
        config.application_name(format!("expressway {cluster}"));
        Ok(Address { config, tls })
    }

    /// The address of this machine on the route to the first host.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        let port = self.config.get_ports().first().copied().unwrap_or(5_432);
        match self.config.get_hosts().first()? {
            Host::Tcp(host) => super::engine::way_to((host.as_str(), port).to_socket_addrs().ok()?.next()?),
            #[cfg(unix)]
            Host::Unix(_) => None,
        }
    }

    /// A session for the cluster of this name.
    pub(super) fn session(self: &Arc<Address>, cluster: &str) -> Result<Postgres, Trouble> {
        Ok(Postgres { session: Session::new(self)?, name: cluster.to_owned(), id: None, partition: 0 })
    }
}

/// A session for one cluster.
pub(super) struct Postgres {
    session: Session,
    name: String,
    /// The cluster's number in the database.
    id: Option<i32>,
    partition: u16,
}

impl Postgres {
    /// The session, and the cluster's number.
    fn known(&mut self) -> Result<(&mut Session, i32), Trouble> {
        let id = match self.id {
            Some(id) => id,
            None => {
                let found = rows::find(&mut self.session, &self.name)?;
                found.ok_or_else(|| Trouble::said("there is no cluster of this name in the database"))?.0
            }
        };
        self.id = Some(id);
        Ok((&mut self.session, id))
    }

    /// The session, and the partition.
    fn part(&mut self) -> Result<(&mut Session, rows::Part), Trouble> {
        let partition = self.partition.into();
        self.known().map(|(session, id)| (session, (id, partition)))
    }
}

impl Engine for Postgres {
    fn find(&mut self) -> Result<Option<Known>, Trouble> {
        if !rows::are_there(&mut self.session)? {
            return Ok(None);
        }
        Ok(rows::find(&mut self.session, &self.name)?.map(|(_, known)| known))
    }

    fn find_or_make(&mut self, new: Known) -> Result<Known, Trouble> {
        rows::make(&mut self.session)?;
        Ok(rows::find_or_make(&mut self.session, &self.name, &new)?.1)
    }

    fn unfit(&mut self) -> Result<Option<String>, Trouble> {
        let why = "PostgreSQL runs with fsync = off: what it acknowledges is not durable; set fsync = on";
        Ok((!rows::is_durable(&mut self.session)?).then(|| why.to_owned()))
    }

    fn block_bytes_max(&mut self) -> Result<usize, Trouble> {
        Ok(usize::MAX)
    }

    fn tell(&mut self, node: &str, address: &str, lease_ms: i64) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        rows::tell(session, id, (node, address), lease_ms)
    }

    fn forget_nodes(&mut self, node: &str) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        rows::forget_nodes(session, id, node)
    }

    fn nodes(&mut self) -> Result<Vec<Node>, Trouble> {
        let (session, id) = self.known()?;
        rows::nodes(session, id)
    }

    fn claim(&mut self, node: &str) -> Result<Option<u64>, Trouble> {
        let (session, part) = self.part()?;
        rows::claim(session, part, node)
    }

    fn release(&mut self, node: &str, epoch: u64) -> Result<(), Trouble> {
        let (session, part) = self.part()?;
        rows::release(session, part, node, epoch)
    }

    fn owner(&mut self) -> Result<Owner, Trouble> {
        let (session, part) = self.part()?;
        rows::owner(session, part)
    }

    fn append(&mut self, lsn: u64, epoch: u64, bytes: &[u8]) -> Result<bool, Trouble> {
        let (session, part) = self.part()?;
        rows::append(session, part, (lsn, epoch), bytes)
    }

    fn block(&mut self, lsn: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let (session, part) = self.part()?;
        rows::block(session, part, lsn)
    }

    fn last(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let (session, part) = self.part()?;
        rows::last(session, part)
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
        let (session, part) = self.part()?;
        rows::page(session, part, from)
    }

    fn remove(&mut self, before: u64) -> Result<bool, Trouble> {
        let (session, part) = self.part()?;
        rows::remove(session, part, before, POSTGRES_TRIM_BLOCKS)
    }

    fn kept_bytes(&mut self) -> Result<u64, Trouble> {
        let (session, part) = self.part()?;
        rows::kept_bytes(session, part)
    }

    fn bytes(&mut self) -> Result<u64, Trouble> {
        rows::bytes(&mut self.session)
    }

    fn at(&mut self, partition: u16) {
        self.partition = partition;
    }

    fn look(&mut self) -> Result<Looked, Trouble> {
        let (session, id) = self.known()?;
        spread::look(session, id)
    }

    fn append_all(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble> {
        let (session, id) = self.known()?;
        spread::append_all(session, id, blocks)
    }

    fn leave(&mut self, node: &str) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        spread::leave(session, id, node)
    }

    fn release_all(&mut self, node: &str) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        spread::release_all(session, id, node)
    }

    fn changes(&mut self, after: u64) -> Result<Changes, Trouble> {
        let (session, id) = self.known()?;
        spread::changes(session, id, after)
    }

    #[cfg(feature = "service")]
    fn begin_copy(&mut self) -> Result<bool, Trouble> {
        let (session, id) = self.known()?;
        rows::begin_copy(session, id)
    }

    #[cfg(feature = "service")]
    fn end_copy(&mut self) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        rows::end_copy(session, id)
    }

    fn begin(&mut self, epoch: u64) -> Result<bool, Trouble> {
        let (session, id) = self.known()?;
        items::begin(session, id, epoch)
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        self.session.commit()
    }

    fn roll_back(&mut self) {
        self.session.roll_back();
    }

    fn put_item(&mut self, item: Item<'_>, bytes: &[u8]) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        items::put(session, id, item, bytes)
    }

    fn remove_item(&mut self, item: Item<'_>) -> Result<(), Trouble> {
        let (session, id) = self.known()?;
        items::remove(session, id, item)
    }

    fn item(&mut self, item: Item<'_>) -> Result<Option<Vec<u8>>, Trouble> {
        let (session, id) = self.known()?;
        items::get(session, id, item)
    }

    fn numbers(&mut self, kind: i32, arn: &str) -> Result<Vec<u64>, Trouble> {
        let (session, id) = self.known()?;
        items::numbers(session, id, kind, arn)
    }

    fn arns(&mut self, kind: i32) -> Result<Vec<String>, Trouble> {
        let (session, id) = self.known()?;
        items::arns(session, id, kind)
    }

    fn items(&mut self, kind: i32, after: &str) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        let (session, id) = self.known()?;
        items::page(session, id, kind, after)
    }
}
