//! A response's body: in pieces, so that the untaken rest is known, and is dropped if the client never takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::connection_timeouts::Unsent;
use crate::memory::Charge;

/// Bytes of a piece. HTTP asks for the next one when there is room for it.
const PIECE_BYTES: usize = 16 << 10;

/// What a response takes. It is given back when the last piece is written, not when HTTP has asked for it: with HTTP/2
/// a client can leave a piece waiting.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) unsent: Unsent,
    pub(super) _charge: Charge,
}

/// A piece of a body.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    hold: Option<Rc<Hold>>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        if let Some(hold) = &self.hold {
            hold.unsent.took(bytes);
        }
    }
}

/// The rest of a body. It is freed when all of it was taken.
#[derive(Debug, Default)]
pub(super) struct Rest {
    left: Bytes,
    hold: Option<Rc<Hold>>,
    /// The charge of a piece of a body of unknown length.
    #[cfg(feature = "console")]
    charge: Charge,
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

    /// Holds what the response takes until its bytes are taken.
    pub(super) fn held(&mut self, hold: Hold) {
        self.hold = Some(Rc::new(hold));
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }
}

impl Body for Rest {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if self.left.is_empty() && !std::task::ready!(self.poll_more(context)) {
            return Poll::Ready(None);
        }
        let bytes = self.left.len().min(PIECE_BYTES);
        let piece = Piece { bytes: self.left.split_to(bytes), hold: self.hold.clone() };
        if self.is_end_stream() {
            self.hold = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_whole() { SizeHint::with_exact(self.left.len() as u64) } else { SizeHint::default() }
    }
}
