//! `graph`: a picture of a definition, as text for other tools or as an SVG.

use std::path::PathBuf;

use clap::ValueEnum;
use expressway::picture::{Graph, dot, mermaid, svg};

use super::{OneDefinition, Stop, Went, definition, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    definition: OneDefinition,
    /// What to draw it as
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Write the picture to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
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
    match &arguments.output {
        Some(file) => std::fs::write(file, picture)
            .map_err(|error| Stop::failed(format!("cannot write {}: {error}", file.display())))?,
        None => print(picture.as_bytes())?,
    }
    Ok(Went::Well)
}
