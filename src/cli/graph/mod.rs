//! `graph`: a picture of a definition.
use super::*;
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    definition: OneDefinition,
}
pub(super) fn draw(arguments: &Arguments) -> Result<Went, Stop> {
    definition::load(&arguments.definition.file, arguments.definition.reading.options())?;
    Ok(Went::Well)
}
