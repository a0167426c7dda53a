//! The machine of a run, which every report names.

use serde::{Deserialize, Serialize};

/// A machine, its system, and how the program was built.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The system's kernel.
    pub kernel: String,
    /// What it was built for.
    pub target: String,
    /// Profile and flags of the build.
    pub flags: String,
    /// The compiler.
    pub rustc: String,
    /// The commit it was built from.
    pub commit: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let cpu = read("/proc/cpuinfo");
        let cpu = ["model name", "Model", "Hardware"].map(|name| field(&cpu, name));
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
        let system = read("/proc/sys/kernel/ostype");
        let release = read("/proc/sys/kernel/osrelease");
        let named = |text: String| if text.trim().is_empty() { "unknown".to_owned() } else { text };
        Machine {
            cpu: named(cpu.into_iter().find(|name| !name.is_empty()).unwrap_or_default()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes * 1_024,
            kernel: named(format!("{} {}", system.trim(), release.trim()).trim().to_owned()),
            target: env!("LOADTEST_TARGET").to_owned(),
            flags: env!("LOADTEST_FLAGS").trim().to_owned(),
            rustc: env!("LOADTEST_RUSTC").to_owned(),
            commit: env!("LOADTEST_COMMIT").to_owned(),
        }
    }
}
