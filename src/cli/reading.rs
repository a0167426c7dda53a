//! How definitions are read.

use clap::ValueEnum;
use expressway::asl::{MachineType, Options, Resources};

/// How definitions are read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Reading {
    /// The type of the state machine; without, it is EXPRESS unless the definition uses what only STANDARD has
    #[arg(long = "type", value_name = "TYPE", value_enum, ignore_case = true)]
    pub(super) machine_type: Option<Type>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Type {
    /// At most five minutes, no callbacks
    #[value(name = "EXPRESS")]
    Express,
    /// Up to a year, with callbacks
    #[value(name = "STANDARD")]
    Standard,
}

impl Type {
    pub(super) fn machine_type(self) -> MachineType {
        match self {
            Type::Express => MachineType::Express,
            Type::Standard => MachineType::Standard,
        }
    }
}

impl Reading {
    pub(super) fn options(self) -> Options {
        let machine_type = self.machine_type.map_or(MachineType::Express, Type::machine_type);
        Options { machine_type, resources: Resources::AwsAndOthers, express_maps: false }
    }

    /// Whether a type is given.
    pub(super) fn is_asked(self) -> bool {
        self.machine_type.is_some()
    }
}
