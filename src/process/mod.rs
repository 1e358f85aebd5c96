//! What happens to pictures between camera and encoder: other pixel layouts, JPEG, decoding, what the owner wants done
//! to them ([`stages`]), and the pictures that perch draws itself.
//!
//! Nothing here waits, owns a thread or knows where a picture came from.

pub mod canvas;
pub mod colorspace;
mod colorspace_pixels;
pub mod convert;
pub mod h264_decode;
pub mod jpeg;
pub mod orientation;
pub mod overlay;
pub mod privacy_mask;
mod rgb;
pub mod scale;
pub mod slate;
pub mod stabilizer;
pub mod stages;
pub mod text;
