//! The three models on small configurations: forward, inputs, sessions, gradients.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod forward;
mod gradients;
mod inputs;
mod precision;
mod session;
mod support;
