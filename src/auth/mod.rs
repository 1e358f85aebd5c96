//! The lock on the door: who may watch, who may change things, and how they prove it.
//!
//! ```text
//!  claim, password ──► session (a cookie's secret) ─┐
//!  perch auth token add ──► token (a bearer secret) ─┴─► Caller with a Scope ──► http::guard decides
//! ```
//!
//! Each rule is a file of its own and pure, with time as an argument: [`password`] (what is good enough, how it is
//! hashed), [`attempts`] (how often may be tried), [`claim`] (when a camera without an owner may get one),
//! [`session`], [`token`]. [`store`] keeps the [`state`] on disk; [`door`] puts them together and is the only one that
//! looks at a clock. HTTP (cookies, pages, which route needs what) is `http`'s; [`commands`] is `perch auth`.
//!
//! No secret is kept: passwords as argon2id, sessions and tokens as SHA-256 of 256 random bits. Nothing here logs one.

pub mod attempts;
pub mod caller;
pub mod claim;
pub mod commands;
pub mod door;
pub mod password;
mod secret;
pub mod session;
pub mod state;
pub mod store;
mod terminal;
pub mod token;

pub use caller::{Caller, Role, Scope, Who};
pub use door::{Door, Refused, Standing};
