//! Inputs of executions.

use serde::Serialize;

use super::start::StartError;

/// Anything an execution can be started with: JSON text (`&str`, `&[u8]`, `String`, `Vec<u8>`), or a value that is
/// serialized as [`Json`].
pub trait Input {
    /// JSON text, borrowed where possible: an execution that runs on its caller's thread needs no copy.
    type Text: AsRef<[u8]> + Into<Vec<u8>>;

    /// The input as JSON text.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    fn into_text(self) -> Result<Self::Text, StartError>;
}

impl Input for Vec<u8> {
    type Text = Vec<u8>;

    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self)
    }
}

impl<'a> Input for &'a [u8] {
    type Text = &'a [u8];

    fn into_text(self) -> Result<&'a [u8], StartError> {
        Ok(self)
    }
}

impl<'a, const N: usize> Input for &'a [u8; N] {
    type Text = &'a [u8];

    fn into_text(self) -> Result<&'a [u8], StartError> {
        Ok(self)
    }
}

impl<'a> Input for &'a String {
    type Text = &'a [u8];

    fn into_text(self) -> Result<&'a [u8], StartError> {
        Ok(self.as_bytes())
    }
}

impl<'a> Input for &'a Vec<u8> {
    type Text = &'a [u8];

    fn into_text(self) -> Result<&'a [u8], StartError> {
        Ok(self)
    }
}

impl<'a> Input for &'a str {
    type Text = &'a [u8];

    fn into_text(self) -> Result<&'a [u8], StartError> {
        Ok(self.as_bytes())
    }
}

impl Input for String {
    type Text = Vec<u8>;

    fn into_text(self) -> Result<Vec<u8>, StartError> {
        Ok(self.into_bytes())
    }
}

/// A serializable value, as an input.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> Input for Json<T> {
    type Text = Vec<u8>;

    fn into_text(self) -> Result<Vec<u8>, StartError> {
        serde_json::to_vec(&self.0).map_err(|error| StartError::NotSerializable(error.to_string()))
    }
}
