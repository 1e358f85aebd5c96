//! The body of an answer that goes on: chunks written straight to `tiny_http`'s connection.
//!
//! `tiny_http`'s own chunked writer holds bytes back until 8 KiB are together, so the end of each picture
//! would wait for the next one. Here a chunk is on its way when `send` returns. A reader that does not
//! read is the front's to end: it drops the connection, and `send` fails.

use std::io::{self, Write};
use std::time::Duration;

use hyper::header::HeaderMap;

use crate::base::shutdown::Shutdown;

/// Writes one streamed body, a piece at a time.
pub struct Parts<'a> {
    writer: &'a mut dyn Write,
    stop: &'a Shutdown,
}

impl<'a> Parts<'a> {
    /// Writes the head of the answer; pieces follow.
    ///
    /// # Errors
    /// When the reader has gone.
    pub(super) fn begin(writer: &'a mut dyn Write, headers: &HeaderMap, stop: &'a Shutdown) -> io::Result<Self> {
        let mut head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n".to_vec();
        for (name, value) in headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        writer.write_all(&head)?;
        writer.flush()?;
        Ok(Self { writer, stop })
    }

    /// Sends one piece.
    ///
    /// # Errors
    /// When the reader has gone.
    pub(super) fn send(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length == 0 {
            return Ok(()); // An empty chunk would end the body.
        }
        write!(self.writer, "{length:x}\r\n")?;
        for piece in pieces {
            self.writer.write_all(piece)?;
        }
        self.writer.write_all(b"\r\n")?;
        self.writer.flush()
    }

    /// Ends the body in order, so that the connection stays usable.
    pub(super) fn finish(self) -> io::Result<()> {
        self.writer.write_all(b"0\r\n\r\n")?;
        self.writer.flush()
    }

    /// Whether the server is stopping.
    pub(super) fn stopping(&self) -> bool {
        self.stop.is_requested()
    }

    /// Waits; returns whether the server is stopping.
    pub(super) fn pause(&self, time: Duration) -> bool {
        self.stop.wait_timeout(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_chunk_per_send_and_an_empty_one_at_the_end() {
        let (mut out, stop) = (Vec::new(), Shutdown::new());
        let mut parts = Parts::begin(&mut out, &HeaderMap::new(), &stop).unwrap();
        parts.send(&[b"ab", b"cde"]).unwrap();
        parts.send(&[]).unwrap();
        parts.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"), "{text}");
    }
}
