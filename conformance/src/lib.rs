//! Every op and every layer compared with transformers.
//!
//! `cargo test -p conformance` runs the suites on every backend of this machine and prints one table: op or layer,
//! backend, precision, largest error, bound. The bounds come from [`kernels::tolerance`], and one excess fails the run.
//! What transformers computes lies in `fixtures/`, so neither Python nor a network is needed.
//! The published sizes large and huge take minutes and gigabytes, and run only where the environment variable
//! `VIDEOMAE_CONFORMANCE_ALL` is set.
//!
//! The models are watched from outside: a [`tap::Tap`] wraps the backend and keeps what every op leaves behind. The
//! same place lets [`suites::faults`] spoil ops on purpose, to prove that each mistake is noticed.

pub mod case;
pub mod fixtures;
pub mod hash;
pub mod report;
pub mod suites;
pub mod tap;
