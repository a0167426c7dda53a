//! Pictures of definitions: what is drawn ([`Graph`]) and where it stands ([`Scene`]). How it is written, as SVG or in a
//! browser, is decided above.

mod layout;
mod lettering;
mod model;
mod scene;
mod words;

pub use layout::{Layout, Segment};
pub use model::{Edge, Graph, Node, Way, Workflow};
pub use scene::{Branch, Drawn, Label, Scene, measure};
