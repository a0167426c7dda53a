//! Expressway beside other implementations of the same language: their answers on random expressions (`tests/`), their
//! speed on the same ones (`benches/`).
//!
//! A package of its own, because what it depends on switches on features of `serde_json` that would slow down the
//! hand-written baselines of `../../benches`.
