//! The three models on small configurations: forward, inputs, sessions, gradients.

mod forward;
mod gradients;
mod inputs;
mod session;
mod support;
