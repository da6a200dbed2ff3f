//! The suites: each turns a case and a backend into rows of the report.

pub mod accuracy;
pub mod checkpoints;
pub mod constants;
pub mod faults;
pub mod gradients;
pub mod models;
pub mod ops;
pub mod processors;
pub mod published;
