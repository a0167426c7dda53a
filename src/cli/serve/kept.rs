//! What `serve` stores, and where.

use expressway::runtime::DurabilityMode;
use expressway::service::{Builder, Service};

use super::{Arguments, Stop};

/// What remains of executions after a crash.
pub(super) fn durability(arguments: &Arguments) -> String {
    match (arguments.is_kept(), arguments.memory.durability) {
        (false, _) => {
            "STANDARD executions are in memory, not durable: without --state, they end with the process".to_owned()
        }
        (true, DurabilityMode::Memory) => {
            "STANDARD executions are in memory, not durable (--durability memory): they end with the process, and those \
             that the folder has do not go on"
                .to_owned()
        }
        (true, DurabilityMode::Relaxed(loss)) => {
            let ms = loss.as_millis();
            format!("STANDARD executions are durable, but for the last {ms} ms before a crash (--durability relaxed)")
        }
        (true, _) => "STANDARD executions are durable".to_owned(),
    }
}

/// What is stored of the API's resources, and where.
pub(super) fn kept(arguments: &Arguments) -> Result<Builder, Stop> {
    let builder = Service::builder().durability(arguments.memory.durability);
    match &arguments.memory.state {
        Some(folder) if folder.is_file() => {
            let file = folder.display();
            let text = format!("--state {file}: that is a file; name a folder, which is made if need be");
            Err(Stop::failed(text))
        }
        Some(folder) => Ok(builder.state(folder)),
        None => Ok(builder),
    }
}
