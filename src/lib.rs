//! perch: a camera you browse to.
//!
//! Pictures flow one way, and two signals run backwards: *give me a keyframe* and *this is the bitrate to aim at*.
//!
//! ```text
//!  sensor / webcam / file
//!        │  Frame (leased memory)                       one set of threads per camera
//!   ┌────▼────┐   newest wins   ┌──────────┐ AccessUnit ┌───────────┐
//!   │ capture ├──► LatestSlot ──►  encode   ├───────────► Broadcast  ├──► one WebRTC session per viewer
//!   └────▲────┘                 └────▲─────┘            └───────────┘
//!        │ lease dropped = requeue   │ keyframe requests, target bitrate
//!        └───────────────────────────┴────────────────── Demand ◄────── readers
//! ```
//!
//! | threads | what they do |
//! |---|---|
//! | `capture-NAME` | keeps a source open, shows the slate while there is none |
//! | `encode-NAME` | converts and encodes each frame once |
//! | `jpeg-NAME` | makes single pictures for `/snapshot.jpg` and `/stream.mjpg` |
//! | `http-N` | answer requests; they may block |
//! | `gpio` | serves the light, the button and the motion sensor, if there are any |
//! | `perch-media` | the runtime of the sessions and their sockets; nothing blocks here |
//! | `perch-front` | the runtime of HTTP's connections and TLS; nothing blocks here |
//!
//! Modules import one way: `http → {webrtc, auth}`, `webrtc → camera → {encode, process, capture} → {media, v4l2} → base`. Only `app`
//! sees all settings.
#![deny(missing_docs)]

pub mod app;
pub mod auth;
pub mod base;
pub mod camera;
pub mod capture;
pub mod cli;
pub mod config;
pub mod encode;
pub mod http;
pub mod media;
pub mod network;
pub mod platform;
pub mod probe;
pub mod process;
pub mod provision;
pub mod support;
pub mod v4l2;
pub mod webrtc;
