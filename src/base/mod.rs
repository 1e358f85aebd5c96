//! What every other module may stand on: time, backoff, metrics, the shutdown signal.
//!
//! Nothing here knows of cameras, pictures or networks, and nothing here imports another module of
//! perch.

pub mod allocator;
pub mod backoff;
pub mod bucket;
pub mod clock;
pub mod durable;
pub mod logging;
pub mod metrics;
pub mod one_or_more;
pub mod poll;
pub mod priority;
pub mod pulse;
pub mod shutdown;
