//! Ports for servers that a test starts, ends and starts again.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that systems give to whoever asks for any: neither a connection nor another listener gets one of these
/// while its server is away.
const FIRST: u16 = 20_000;
const COUNT: u32 = 8_000;

/// A port that no other test uses until this is dropped: each is locked by a file.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _locked: File,
}

impl Port {
    pub(crate) fn free() -> Port {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join("expressway-ports");
        std::fs::create_dir_all(&folder).expect("a folder");
        // Processes that test at the same time begin at different ports.
        let first = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let n = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = FIRST + u16::try_from(n).expect("a port");
            if let Ok(file) = File::create(folder.join(number.to_string()))
                && file.try_lock().is_ok()
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Port { number, _locked: file };
            }
        }
        panic!("all ports from {FIRST} on are in use");
    }
}
