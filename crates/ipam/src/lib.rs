//! Decides which addresses a Service gets, or says why not.

mod pool;
mod request;

pub use pool::{Assignment, BuggyAddresses, Count, Pool};
pub use request::{Families, Family, Request};
