//! The connection of a source or sink: its client reports when it is lost and made again.

use std::sync::Arc;

use tokio::sync::watch;

/// The connection of a source or sink, whose client reports when it is lost and made again, also while no events flow.
/// Clones are the same connection.
#[derive(Clone, Debug, Default)]
pub struct Connection(Arc<watch::Sender<ConnectionState>>);

#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionState {
    /// How often it was lost: a watcher that is late sees that it was, even if it is connected again.
    pub(super) losses: u64,
    pub(super) why: String,
    pub(super) is_lost: bool,
}

impl Connection {
    /// Reports that it is lost, with the client's words.
    pub fn lost(&self, why: impl Into<String>) {
        let why = why.into();
        self.0.send_modify(|state| {
            *state = ConnectionState { losses: state.losses + 1, why, is_lost: true };
        });
    }

    /// Reports that it is there.
    pub fn connected(&self) {
        self.0.send_if_modified(|state| std::mem::take(&mut state.is_lost));
    }

    /// Waits until it is lost, if it is not, and returns why.
    pub async fn until_lost(&self) -> String {
        let mut state = self.0.subscribe();
        // The sender is `self`.
        let lost = state.wait_for(|state| state.is_lost).await;
        lost.map_or_else(|_| unreachable!("the sender is dropped"), |state| state.why.clone())
    }

    /// Waits until it is there again, if it is lost.
    pub async fn until_connected(&self) {
        let _ = self.0.subscribe().wait_for(|state| !state.is_lost).await;
    }

    pub(super) fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.0.subscribe()
    }
}
