//! `graph`: a picture of a definition, as text for other tools or as an SVG.

mod dot;
mod mermaid;
mod svg;

use clap::ValueEnum;
use expressway::picture::Graph;

use super::{OneDefinition, Stop, Went, definition, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    definition: OneDefinition,
    /// What to draw it as
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A picture that needs nothing else
    Svg,
    /// A Mermaid flowchart
    Mermaid,
    /// A Graphviz graph
    Dot,
}

pub(super) fn draw(arguments: &Arguments) -> Result<Went, Stop> {
    let read = definition::load(&arguments.definition)?;
    let graph = Graph::of(&read.definition);
    let picture = match arguments.format {
        Format::Mermaid => mermaid::write(&graph),
        Format::Dot => dot::write(&graph),
        Format::Svg => svg::write(&graph),
    };
    print(picture.as_bytes())?;
    Ok(Went::Well)
}
