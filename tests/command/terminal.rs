//! The command as someone at a terminal sees it: standard output and standard error are a pseudo-terminal.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A command on a terminal of its own.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    master: OwnedFd,
}

/// Begins `command` on a terminal of so many columns.
pub(crate) fn begin(mut command: Command, columns: u16) -> Terminal {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pseudo-terminal");
    let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a size");
    let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let side = || Stdio::from(File::options().read(true).write(true).open(&name).expect("the other side"));
    command.env_remove("NO_COLOR").stdin(Stdio::null()).stdout(side()).stderr(side());
    let child = command.spawn().expect("the binary");
    // The command's own copies go with it: only the child holds that side now.
    drop(command);
    Terminal { child, master }
}

impl Terminal {
    /// Everything that was written, with `\r\n` as the terminal makes it, and the exit code.
    pub(crate) fn finish(mut self) -> (String, Option<i32>) {
        let mut all = Vec::new();
        match File::from(self.master).read_to_end(&mut all) {
            Ok(_) => {}
            // What a terminal says when nobody holds its other side any more.
            Err(error) if error.raw_os_error() == Some(5) || error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => panic!("{error}"),
        }
        let status = self.child.wait().expect("an end");
        (String::from_utf8(all).expect("UTF-8"), status.code())
    }
}
