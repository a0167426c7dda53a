//! A connection to PostgreSQL with its own runtime, for threads that block. Every wait is bounded: connecting,
//! querying, and the server's work have time limits, and a connection that exceeds them is dropped.

use crate::os;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::super::engine::Trouble;
use super::Address;
use crate::limits::{POSTGRES_ANSWER_MS, POSTGRES_CONNECT_MS};

/// The error of the database, or of the client.
fn trouble(error: &tokio_postgres::Error) -> Trouble {
    match error.as_db_error() {
        Some(said) => {
            let text = format!("{} ({})", said.message(), said.code().code());
            Trouble { code: Some(said.code().code().to_owned()), text }
        }
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            Trouble::said(os::without_number(&text))
        }
    }
}

pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection, opened when it is needed. It belongs to one thread, which runs nothing asynchronous.
pub(super) struct Session {
    address: Arc<Address>,
    runtime: Runtime,
    open: Option<Open>,
    is_in_transaction: bool,
}

struct Open {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Session {
    pub(super) fn new(address: &Arc<Address>) -> Result<Session, Trouble> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::said(format!("a runtime for the connection: {error}")))?;
        Ok(Session { address: Arc::clone(address), runtime, open: None, is_in_transaction: false })
    }

    /// The result of a statement. After an error it is unknown whether it was done, unless the database answered.
    pub(super) fn query(&mut self, sql: &'static str, with: Parameters<'_>) -> Result<Vec<Row>, Trouble> {
        self.connect()?;
        let Some(open) = &mut self.open else { return Err(Trouble::said("there is no connection")) };
        let asking = async {
            if !open.statements.contains_key(sql) {
                let statement = open.client.prepare(sql).await?;
                open.statements.insert(sql, statement);
            }
            open.client.query(&open.statements[sql], with).await
        };
        let asked = within(&self.runtime, POSTGRES_ANSWER_MS, asking);
        self.keep(asked)
    }

    /// Runs several statements without parameters.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        self.connect()?;
        let Some(open) = &mut self.open else { return Err(Trouble::said("there is no connection")) };
        let asked = within(&self.runtime, POSTGRES_ANSWER_MS, open.client.batch_execute(sql));
        self.keep(asked)
    }

    /// Begins a transaction, which ends with the connection.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        self.batch("BEGIN")?;
        self.is_in_transaction = true;
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        let committed = self.batch("COMMIT");
        self.is_in_transaction = false;
        committed
    }

    pub(super) fn roll_back(&mut self) {
        if self.batch("ROLLBACK").is_err() {
            // It is rolled back with the connection.
            self.open = None;
        }
        self.is_in_transaction = false;
    }

    fn keep<T>(&mut self, asked: Result<T, Trouble>) -> Result<T, Trouble> {
        let is_closed = self.open.as_ref().is_none_or(|open| open.client.is_closed());
        if is_closed || asked.as_ref().is_err_and(|trouble| trouble.code.is_none()) {
            self.open = None;
        }
        asked
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        if self.open.as_ref().is_some_and(|open| !open.client.is_closed()) {
            return Ok(());
        }
        self.open = None;
        if self.is_in_transaction {
            return Err(Trouble::said("the connection was lost in a transaction"));
        }
        let Address { config, tls } = &*self.address;
        let connecting = async {
            let (client, connection) = config.connect(tls.clone()).await?;
            // It is polled during each query, which also returns its error.
            tokio::spawn(connection);
            client
                .batch_execute(&format!(
                    "SET statement_timeout = {answer}; SET lock_timeout = {answer}; \
                     SET idle_in_transaction_session_timeout = {answer}; SET client_min_messages = warning; \
                     SELECT set_config('synchronous_commit', 'on', false) \
                     WHERE current_setting('synchronous_commit') IN ('off', 'local')",
                    answer = POSTGRES_ANSWER_MS * 4 / 5
                ))
                .await?;
            Ok(client)
        };
        let client = within(&self.runtime, POSTGRES_CONNECT_MS, connecting)?;
        self.open = Some(Open { client, statements: HashMap::new() });
        Ok(())
    }
}

/// Waits for a future, with a time limit.
fn within<T>(
    runtime: &Runtime,
    ms: u64,
    what: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Trouble> {
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(ms), what).await });
    match done {
        Ok(done) => done.map_err(|error| trouble(&error)),
        Err(_) => Err(Trouble::said(format!("the database did not answer within {ms} ms"))),
    }
}
