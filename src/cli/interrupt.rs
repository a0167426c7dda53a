//! Ctrl-C: the first one asks for an orderly end, the second one ends the process at once.

use std::thread;

/// Calls `stop` at the first SIGINT, on a thread of its own. Where signals cannot be waited for, SIGINT does what it
/// always does: it ends the process.
pub(super) fn on_first(stop: impl FnOnce() + Send + 'static) {
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop();
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(i32::from(EXIT_CODE));
                }
            }
        });
    };
    // If the thread cannot be started, SIGINT ends the process as it does by default.
    let _ = thread::Builder::new().name("signals".into()).spawn(wait);
}

/// As a shell has it: 128 and the number of SIGINT.
pub(super) const EXIT_CODE: u8 = 130;
