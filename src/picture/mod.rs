//! Pictures of definitions: the elements ([`Graph`]), their layout ([`Scene`]), and text formats for other tools.
//! Rendering in a browser is implemented above.

pub mod dot;
mod incomplete;
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
