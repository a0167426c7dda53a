//! Ends processes when this one ends without cleaning up, such as by `kill -9`.
//!
//! A shell in its own process group reads lines from a pipe, each with the living groups; when the pipe's other end is
//! closed, it kills those of the last line. Nothing else holds that end: descriptors are closed on exec.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `read` leaves the variable empty at the end of the pipe, so the last whole line is kept in another.
const SCRIPT: &str = "trap '' INT TERM HUP; live=; while read -r line; do live=$line; done; \
                      for group in $live; do kill -s KILL -- \"-$group\"; done 2>/dev/null";

/// The watchdog, and the groups it knows of.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
    pipe: Option<ChildStdin>,
    live: RefCell<BTreeSet<u32>>,
}

impl Watchdog {
    pub(super) fn start() -> io::Result<Watchdog> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Watchdog { child, pipe, live: RefCell::default() })
    }

    /// Adds a group.
    pub(super) fn add(&self, group: u32) {
        self.live.borrow_mut().insert(group);
        self.tell();
    }

    /// Removes a group, whose number may be reused.
    pub(super) fn remove(&self, group: u32) {
        self.live.borrow_mut().remove(&group);
        self.tell();
    }

    fn tell(&self) {
        let live = self.live.borrow();
        let groups: Vec<String> = live.iter().map(u32::to_string).collect();
        if let Some(mut pipe) = self.pipe.as_ref() {
            // This fails if the watchdog was killed.
            let _ = pipe.write_all(format!("{}\n", groups.join(" ")).as_bytes());
        }
    }
}

/// When the pipe is closed the shell kills the remaining groups, and ends.
impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}
