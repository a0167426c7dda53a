//! The project itself: its structure, its dependencies, its commands.

mod circles;
mod console;
mod dependencies;
mod tidy;
