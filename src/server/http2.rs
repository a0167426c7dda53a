//! HTTP/2 of a connection: its streams are polled in the turns of their connection. They would be tasks of the thread otherwise,
//! hundreds for each connection.

use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use super::connection_turns::Account;
use super::streams::Streams;

/// Gives streams to their connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionExecutor(Weak<Account>);

impl ConnectionExecutor {
    pub(super) fn of(account: &Rc<Account>) -> ConnectionExecutor {
        ConnectionExecutor(Rc::downgrade(account))
    }
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for ConnectionExecutor {
    fn execute(&self, future: F) {
        // A stream whose connection has ended is dropped.
        if let Some(account) = self.0.upgrade() {
            let (of, mut future) = (self.0.clone(), Box::pin(future));
            let streams = account.streams_or_new();
            streams.begin(Box::pin(poll_fn(move |context| match of.upgrade() {
                Some(account) if !account.has_time_after(0) => {
                    account.streams().into_iter().for_each(Streams::leave);
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => future.as_mut().poll(context).map(drop),
            })));
            // A request is answered before the next is looked at, as long as the turn goes: what a connection has not
            // answered is not counted as memory.
            if let Some(waker) = account.waker()
                && !account.is_over()
            {
                streams.poll(&mut Context::from_waker(waker));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use hyper::rt::Executor as _;

    use super::super::connection_turns::{Busy, Turns};
    use super::*;

    /// What a connection has not answered is not counted as memory.
    #[test]
    fn a_stream_is_polled_when_its_request_is_accepted() {
        let (turns, account) = (Turns::new(Busy::default()), Account::new());
        let (executor, polled) = (ConnectionExecutor::of(&account), Rc::new(Cell::new(0)));
        let turn = |context: &mut Context<'_>| {
            account.polled_by(context.waker());
            for accepted in 0..3 {
                assert_eq!(polled.get(), accepted);
                let polled = Rc::clone(&polled);
                executor.execute(async move { polled.set(polled.get() + 1) });
            }
            Poll::Ready(())
        };
        let turn = turns.take(&account, &Context::from_waker(Waker::noop()), turn);
        assert_eq!((turn, polled.get()), (Poll::Ready(()), 3));
    }
}
