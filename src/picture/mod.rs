//! Pictures of definitions: what is drawn ([`Graph`]), where it stands ([`Scene`]), and the same as text for others to show.
//! How it is drawn in a browser is decided above.

pub mod dot;
mod layout;
mod lettering;
pub mod mermaid;
mod model;
mod path;
mod scene;
mod sketch;
pub mod svg;
mod words;

pub use layout::{Layout, Segment};
pub use model::{Edge, Graph, Node, Way, Workflow};
pub use path::Path;
pub use scene::{Branch, Drawn, Label, Scene, measure};
