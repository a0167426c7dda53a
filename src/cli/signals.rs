//! SIGTERM and SIGINT, which ask a server to end.

use expressway::os;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{Level, Stop, log, say_at};

/// Waits for SIGTERM and SIGINT on a dedicated thread. The first one is reported; a second one ends the process at
/// once, with what `lost` says is lost by that.
pub(super) fn listen_for_signals(
    lost: impl FnOnce() -> Option<String> + Send + 'static,
) -> Result<oneshot::Receiver<()>, Stop> {
    let failed = |error| Stop::failed(format!("cannot wait for signals: {}", os::words(&error)));
    let (told, first) = oneshot::channel();
    let (started, starting) = std::sync::mpsc::sync_channel(1);
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let signals = runtime.and_then(|runtime| {
            let signals = runtime.block_on(async { Signals::new() })?;
            Ok((runtime, signals))
        });
        let (runtime, mut signals) = match signals {
            Ok(signals) => signals,
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(()));
        runtime.block_on(signals.next());
        // Sending fails if the process already ends for another reason.
        let _ = told.send(());
        runtime.block_on(signals.next());
        end_at_once(lost);
    };
    std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(failed)?;
    starting.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended"))).map_err(failed)?;
    Ok(first)
}

/// Counting and writing may take so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends the process. Neither the count of what is lost nor writing it must block this: the reader of standard error may
/// have stopped reading.
fn end_at_once(lost: impl FnOnce() -> Option<String> + Send + 'static) -> ! {
    let (done, said) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let lost = lost().map_or_else(String::new, |lost| format!("; {lost}"));
        say_at(Level::Error, &format!("expressway: ended at once{lost}"));
        log::flush();
        let _ = done.send(());
    });
    let _ = said.recv_timeout(LAST_WORDS);
    std::process::exit(2)
}

/// SIGTERM and SIGINT.
struct Signals([Signal; 2]);

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]))
    }

    async fn next(&mut self) {
        poll_fn(|context| {
            let some = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if some { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
