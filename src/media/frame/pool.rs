//! Memory for pictures that is used again instead of being allocated for each.

use std::sync::{Arc, Mutex, PoisonError};

use super::FrameMemory;

/// Buffers that are used again and again, for sources and stages that make pictures in memory.
///
/// Keeps at most `spare` unused buffers; the number in use is bounded by whoever holds the frames.
#[derive(Clone)]
pub struct FramePool(Arc<PoolShared>);

struct PoolShared {
    spare: Mutex<Vec<Vec<u8>>>,
    most_spare: usize,
}

/// A buffer from a [`FramePool`]; dropping it gives it back.
pub struct PoolBuffer {
    bytes: Vec<u8>,
    pool: Arc<PoolShared>,
}

impl FramePool {
    /// A pool that keeps at most `most_spare` unused buffers.
    #[must_use]
    pub fn new(most_spare: usize) -> Self {
        Self(Arc::new(PoolShared { spare: Mutex::new(Vec::with_capacity(most_spare)), most_spare }))
    }

    /// A buffer of exactly `length` bytes. What it holds is left over from its last use.
    #[must_use]
    pub fn take(&self, length: usize) -> PoolBuffer {
        let mut bytes = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(length, 0);
        PoolBuffer { bytes, pool: Arc::clone(&self.0) }
    }
}

impl std::ops::Deref for PoolBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for PoolBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl FrameMemory for PoolBuffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.bytes)
    }
}

impl Drop for PoolBuffer {
    fn drop(&mut self) {
        let mut spare = self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.pool.most_spare {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Frame, PixelFormat};
    use super::*;
    use crate::base::clock::Timestamp;

    #[test]
    fn a_dropped_frame_gives_its_buffer_back_to_the_pool() {
        let pool = FramePool::new(2);
        let mut buffer = pool.take(24);
        buffer[0] = 7;
        let address = buffer.as_ptr();
        drop(Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), Box::new(buffer)).unwrap());
        let again = pool.take(24);
        assert_eq!((again.as_ptr(), again[0]), (address, 7));
    }
}
