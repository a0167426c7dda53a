//! How definitions are read.

/// How a definition is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The type of the machine.
    pub machine_type: MachineType,
    /// Which resources a Task may name.
    pub resources: Resources,
    /// Whether an Express machine may have distributed Maps, which AWS refuses.
    pub express_maps: bool,
}

/// The type of a state machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MachineType {
    /// At most five minutes, at least once, no callbacks.
    #[default]
    Express,
    /// Durable.
    Standard,
}

impl MachineType {
    /// As AWS writes it: `EXPRESS`, `STANDARD`.
    pub const fn name(self) -> &'static str {
        match self {
            MachineType::Express => "EXPRESS",
            MachineType::Standard => "STANDARD",
        }
    }
}

/// Which resources a Task may name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resources {
    /// Those AWS recognizes: functions, activities, service integrations.
    #[default]
    Aws,
    /// Those, and our own integrations: `nats:publish`, `nats:request`, `kafka:produce`.
    AwsAndOurs,
    /// Any text, for handlers with custom names; ARNs of `lambda` and `states` must still be ones that AWS recognizes,
    /// or our own integrations.
    AwsAndOthers,
    /// The same; custom handlers also do the work of AWS's services, with any parameters.
    Any,
}
