//! The command at a terminal: standard output and standard error are a pseudo-terminal.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A command on a separate terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    master: OwnedFd,
}

/// Begins `command` on a terminal of so many columns.
pub(crate) fn begin(command: Command, columns: u16) -> Terminal {
    begin_with(command, columns, false)
}

/// The same, with the terminal's keys as standard input.
#[allow(dead_code, reason = "needed by screens, which take all features")]
pub(crate) fn begin_with_keys(command: Command, columns: u16) -> Terminal {
    begin_with(command, columns, true)
}

fn begin_with(mut command: Command, columns: u16, has_keys: bool) -> Terminal {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pseudo-terminal");
    let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a size");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let side = || Stdio::from(File::options().read(true).write(true).open(&name).expect("the other side"));
    let keys = if has_keys { side() } else { Stdio::null() };
    command.env_remove("NO_COLOR").stdin(keys).stdout(side()).stderr(side());
    let child = command.spawn().expect("the binary");
    // The command's own copies go with it: only the child holds that side now.
    drop(command);
    Terminal { child, master }
}

impl Terminal {
    /// Reads until what was written satisfies `is_enough`, and presses `keys`. All that was written so far is in `written`.
    #[allow(dead_code, reason = "needed by screens, which take all features")]
    pub(crate) fn press(&self, written: &mut Vec<u8>, is_enough: impl Fn(&[u8]) -> bool, keys: &str) {
        let mut terminal = File::from(self.master.try_clone().expect("a second handle"));
        let mut some = [0; 4096];
        while !is_enough(written) {
            let read = terminal.read(&mut some).expect("the command goes on");
            written.extend_from_slice(&some[..read]);
        }
        terminal.write_all(keys.as_bytes()).expect("the command reads keys");
    }

    /// Everything that was written, with `\r\n` as the terminal makes it, and the exit code.
    pub(crate) fn finish(mut self) -> (String, Option<i32>) {
        let mut all = Vec::new();
        match File::from(self.master).read_to_end(&mut all) {
            Ok(_) => {}
            // A terminal's error when its other side is closed.
            Err(error) if error.raw_os_error() == Some(5) || error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => panic!("{error}"),
        }
        let status = self.child.wait().expect("an end");
        (String::from_utf8(all).expect("UTF-8"), status.code())
    }
}
