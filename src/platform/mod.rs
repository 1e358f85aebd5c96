//! The machine perch runs on: which board it is, its pins, where state may be kept, and what its init wants to hear.

pub mod board;
pub mod config;
pub mod device;
pub mod gpio;
pub mod panel;
pub mod state_dir;
pub mod system;
pub mod systemd;
pub mod wifi;
pub mod wishes;
