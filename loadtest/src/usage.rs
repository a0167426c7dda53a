//! The processor time and memory of this process.

/// What a process took.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Usage {
    /// Processor time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// What of it the threads that send took to look at the clock until something was due.
    #[serde(default)]
    pub waiting_seconds: f64,
    /// The greatest resident memory, in bytes; 0 if unknown.
    pub resident_bytes_max: u64,
}

impl Usage {
    /// What this process took so far.
    pub fn now() -> Usage {
        Usage { cpu_seconds: cpu_seconds(), waiting_seconds: 0.0, resident_bytes_max: resident_bytes_max() }
    }

    /// What it took since `before`; of memory, the most it ever had.
    #[must_use]
    pub fn since(&self, before: &Usage) -> Usage {
        let cpu_seconds = self.cpu_seconds - before.cpu_seconds;
        Usage { cpu_seconds, ..*self }
    }

    /// Processor time that brought something forward, in seconds.
    pub fn work_seconds(&self) -> f64 {
        (self.cpu_seconds - self.waiting_seconds).max(0.0)
    }
}

#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    0.0
}

/// Processor time of the calling thread, in nanoseconds; 0 if unknown.
#[cfg(unix)]
pub fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// The same.
#[cfg(not(unix))]
pub fn thread_cpu_ns() -> u64 {
    0
}

fn resident_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kibibytes = line.trim().trim_end_matches("kB").trim().parse::<u64>();
    kibibytes.map_or(0, |kibibytes| kibibytes * 1_024)
}
