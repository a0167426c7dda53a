//! A response's body: in pieces, so that the untaken rest is known, and is dropped if the client never takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::connection_timeouts::{Unsent, Watch};
use crate::memory::Charge;

/// Bytes of a piece. HTTP asks for the next one when there is room for it.
const PIECE_BYTES: usize = 16 << 10;

/// Bytes of the last piece over HTTP/2. HTTP keeps the body until there is room for some of a piece, and no timeout
/// covers what it holds then.
const TAIL_BYTES: usize = 1 << 10;

/// The rest of a body. It is freed when all of it was taken.
#[derive(Debug, Default)]
pub(super) struct Rest {
    left: Bytes,
    charge: Charge,
    /// Notified of the pace, when a client can keep a body waiting although it takes the output.
    unsent: Option<Unsent>,
    /// The following pieces, of a body of unknown length.
    #[cfg(feature = "console")]
    more: Option<tokio::sync::mpsc::Receiver<(Bytes, Charge)>>,
}

impl Rest {
    pub(super) fn new(body: impl Into<Bytes>) -> Rest {
        Rest { left: body.into(), ..Rest::default() }
    }

    /// Pieces as they come, each charged until it is taken.
    #[cfg(feature = "console")]
    pub(super) fn stream(more: tokio::sync::mpsc::Receiver<(Bytes, Charge)>) -> Rest {
        Rest { more: Some(more), ..Rest::default() }
    }

    /// Polls for the next piece when the present one is used up.
    #[cfg(feature = "console")]
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some(more) = &mut self.more else { return Poll::Ready(false) };
        let Some((bytes, charge)) = std::task::ready!(more.poll_recv(context)) else {
            self.more = None;
            return Poll::Ready(false);
        };
        (self.left, self.charge) = (bytes, charge);
        Poll::Ready(true)
    }

    #[cfg(not(feature = "console"))]
    fn poll_more(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(false)
    }

    /// Whether the whole rest is here.
    fn is_whole(&self) -> bool {
        #[cfg(feature = "console")]
        return self.more.is_none();
        #[cfg(not(feature = "console"))]
        true
    }

    /// Holds the charge until the bytes are taken.
    pub(super) fn charge(&mut self, charge: Charge) {
        self.charge = charge;
    }

    /// Enforces the client's time limit.
    pub(super) fn watched_by(&mut self, watch: &Rc<Watch>) {
        if !self.left.is_empty() {
            self.unsent = Some(Watch::unsent(watch));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() && !std::task::ready!(self.poll_more(context)) {
            return Poll::Ready(None);
        }
        let mut bytes = self.left.len().min(PIECE_BYTES);
        if let Some(unsent) = &self.unsent {
            if (TAIL_BYTES + 1..=PIECE_BYTES).contains(&self.left.len()) {
                bytes -= TAIL_BYTES;
            }
            unsent.took(bytes);
        }
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_whole() { SizeHint::with_exact(self.left.len() as u64) } else { SizeHint::default() }
    }
}
