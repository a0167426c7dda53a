//! The memory and processor time of threads and processes.

use std::fs;

/// Nanoseconds that the threads of a name ran.
pub(crate) struct Cpu(f64);

impl Cpu {
    pub(crate) fn of(name: &str) -> Cpu {
        let threads = fs::read_dir("/proc/self/task").expect("threads");
        let mut nanoseconds = 0.0;
        for thread in threads.flatten().map(|entry| entry.path()) {
            let called = fs::read_to_string(thread.join("comm")).unwrap_or_default();
            if called.trim() == name {
                let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
                nanoseconds += text.split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
            }
        }
        Cpu(nanoseconds)
    }

    pub(crate) fn since(&self, before: &Cpu) -> f64 {
        self.0 - before.0
    }
}

/// Bytes of memory a process holds.
pub(crate) fn resident_bytes(process: u32) -> usize {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("a status");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim()
        .split(' ')
        .next()
        .and_then(|it| it.parse::<usize>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
