//! Video4Linux2 behind safe types: devices, their formats and controls, and queues of buffers.
//!
//! Nothing here decides which format is best or what a lost camera means; [`capture`](crate::capture) and
//! [`encode`](crate::encode) do. Nearly all of perch's `unsafe` is here. The names of requests and structures are the
//! kernel's (<https://docs.kernel.org/userspace-api/media/v4l/v4l2.html>).
//!
//! | file | what it is |
//! |---|---|
//! | `node` | an open device node, and its errors in words |
//! | `discovery` | which devices there are |
//! | `formats` | formats, sizes and rates |
//! | `buffer` | one buffer, in the single- and the multi-planar form |
//! | `device`, `queue` | a camera, and its buffers as leases |
//! | `m2m`, `m2m_queues` | an encoder, and its two queues |
//! | `controls`, `events` | what can be set, and what a device says by itself |

mod buffer;
mod controls;
mod device;
mod discovery;
mod events;
mod formats;
mod ioctl;
mod m2m;
mod m2m_queues;
mod node;
mod queue;

pub use controls::{Control, ControlError, ControlId, ControlKind, Controls, MenuItem};
pub use device::{Device, NegotiatedFormat};
pub use discovery::{DeviceInfo, EncoderInfo, encoders, list, nodes};
pub use events::Event;
pub use formats::{FormatInfo, Rate, SizeInfo};
pub use m2m::{InputMemory, M2mDevice};
pub use m2m_queues::{Coded, InputPlace, M2mQueues};
pub use node::DeviceError;
pub use queue::{CaptureQueue, Dequeued, Lease, QueueError};
