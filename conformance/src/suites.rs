//! The suites: each turns a case and a backend into rows of the report.

pub mod checkpoints;
pub mod faults;
pub mod gradients;
pub mod models;
pub mod published;
