//! Reading as far as the allowance of a poll goes.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::fault::{self, Fault};
use crate::runtime::errand::Allowance;
use crate::task::data;

/// Work of unpacking a byte and looking for the end of an item.
const BYTE_WORK: u64 = 4;
/// Work of reading a byte of packed data, which may unpack to nothing: a block without content has five, a member twenty.
const PACKED_BYTE_WORK: u64 = 16;

/// If nothing can be read yet, its error is `WouldBlock`, and the task is woken: the reader continues where it was.
pub(super) type Bytes = Box<dyn BufRead>;

/// Bytes that are read as far as the allowance of a poll goes: then the task is woken to go on.
pub(super) struct Paced {
    pub(super) bytes: Box<dyn BufRead>,
    pub(super) waker: Rc<RefCell<Waker>>,
    pub(super) allowance: Rc<Allowance>,
}

/// The same for data that is packed: however little there is in it, reading it ends with the poll's allowance.
pub(super) struct Packets<R> {
    bytes: R,
    waker: Rc<RefCell<Waker>>,
    allowance: Rc<Allowance>,
}

impl<R: Read> Packets<R> {
    pub(super) fn of(bytes: R, waker: &Rc<RefCell<Waker>>, allowance: &Rc<Allowance>) -> Packets<R> {
        Packets { bytes, waker: Rc::clone(waker), allowance: Rc::clone(allowance) }
    }
}

impl<R: Read> Read for Packets<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.allowance.is_spent() {
            self.waker.borrow().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = self.bytes.read(buffer)?;
        self.allowance.charge(PACKED_BYTE_WORK * read as u64);
        Ok(read)
    }
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Paced {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.allowance.is_spent() {
            self.waker.borrow().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.allowance.charge(BYTE_WORK * bytes as u64);
        self.bytes.consume(bytes);
    }
}

pub(super) fn unreadable(error: &io::Error) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, data::cause("The data cannot be read", error))
}

/// Ready when it was read; pending when the task will be woken to read again.
pub(super) fn polled<T>(read: io::Result<T>) -> Poll<Result<T, Fault>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        read => Poll::Ready(read.map_err(|error| unreadable(&error))),
    }
}
