//! Whether the reader reads a text at once, or stops between pieces to ask whether to continue.

/// Bytes of a piece.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// Whether a reader stops between pieces.
pub(super) trait Pace {
    /// Whether it does.
    const STOPS: bool;

    /// Whether to continue, after so many bytes.
    fn goes_on(&mut self, bytes: usize) -> bool;
}

/// All at once.
pub(super) struct AtOnce;

impl Pace for AtOnce {
    const STOPS: bool = false;

    fn goes_on(&mut self, _: usize) -> bool {
        true
    }
}

/// Calls the function between pieces.
pub(super) struct InPieces<F>(pub(super) F);

impl<F: FnMut(usize) -> bool> Pace for InPieces<F> {
    const STOPS: bool = true;

    fn goes_on(&mut self, bytes: usize) -> bool {
        self.0(bytes)
    }
}
