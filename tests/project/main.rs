//! The project itself: its structure, its dependencies, its commands.

mod console;
mod dependencies;
mod tidy;
