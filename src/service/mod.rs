//! The actions of AWS's API as methods.
#[allow(dead_code)]
mod error;
pub mod test_state;
pub mod validate;
pub use error::{Error, Exception};
