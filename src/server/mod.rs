//! The AWS wire API: requests of AWS JSON 1.0 and their replies.

pub mod api;
