//! Expressway beside other implementations of the same language: their answers on random expressions (`tests/`), their
//! speed on the same ones (`benches/`).
//!
//! A separate package, because its dependencies enable features of `serde_json` that would slow down the hand-written
//! baselines of `../../benches`.
