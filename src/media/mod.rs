//! The two things that flow through perch, [`Frame`](frame::Frame) (raw) and
//! [`AccessUnit`](access_unit::AccessUnit) (encoded), and the H.264 byte stream's syntax.
//!
//! No capture, encoding or network code belongs here.

pub mod access_unit;
pub mod annex_b;
pub mod copies;
pub mod dma_buf;
pub mod frame;
pub mod range;
