//! The project itself: its structure, its dependencies, its commands.

mod dependencies;
mod tidy;
