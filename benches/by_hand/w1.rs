//! W1: the input is the output, once it is known to be JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Result, Value};

use super::write;

pub(crate) fn tree(input: &[u8]) -> Result<Vec<u8>> {
    write(&serde_json::from_slice::<Value>(input)?, input.len())
}

#[derive(Deserialize, Serialize)]
struct Owned {
    x: i64,
}

pub(crate) fn owned(input: &[u8]) -> Result<Vec<u8>> {
    write(&serde_json::from_slice::<Owned>(input)?, input.len())
}

pub(crate) fn borrowed(input: &[u8]) -> Result<Vec<u8>> {
    let valid: &RawValue = serde_json::from_slice(input)?;
    Ok(valid.get().into())
}
