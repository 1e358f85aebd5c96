//! The one place where the kernel is asked.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use v4l::v4l_sys::{v4l2_event, v4l2_event_subscription};
use v4l::v4l2::vidioc;

/// `_IOC(direction, 'V', number, sizeof(T))`, for the requests that the v4l crate does not name.
const fn request<T>(direction: vidioc::_IOC_TYPE, number: vidioc::_IOC_TYPE) -> vidioc::_IOC_TYPE {
    (direction << 30) | ((size_of::<T>() as vidioc::_IOC_TYPE) << 16) | ((b'V' as vidioc::_IOC_TYPE) << 8) | number
}

/// `_IOR('V', 89, struct v4l2_event)`.
pub(super) const VIDIOC_DQEVENT: vidioc::_IOC_TYPE = request::<v4l2_event>(2, 89);
/// `_IOW('V', 90, struct v4l2_event_subscription)`.
pub(super) const VIDIOC_SUBSCRIBE_EVENT: vidioc::_IOC_TYPE = request::<v4l2_event_subscription>(1, 90);

/// Calls `request` with `argument`, again if a signal interrupts it.
///
/// # Safety
/// `T` must be the type that `request` is defined for, and every pointer inside it valid for the call.
pub(super) unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: `argument` is valid and of the request's type, as the caller promises; `fd` is open.
        match unsafe { v4l::v4l2::ioctl(fd.as_raw_fd(), request, (&raw mut *argument).cast()) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A V4L2 structure with all bytes zero, which is how its API asks for reserved fields.
///
/// # Safety
/// `T` must be a plain C structure for which all zeros is a valid value.
pub(super) const unsafe fn zeroed<T: Copy>() -> T {
    // SAFETY: promised by the caller.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v4l::v4l_sys::{v4l2_encoder_cmd, v4l2_exportbuffer};

    #[test]
    fn requests_are_made_as_the_kernels_macros_make_them() {
        assert_eq!(request::<v4l2_exportbuffer>(3, 16), vidioc::VIDIOC_EXPBUF);
        assert_eq!(request::<v4l2_encoder_cmd>(3, 77), vidioc::VIDIOC_ENCODER_CMD);
        assert_eq!(VIDIOC_SUBSCRIBE_EVENT, 0x4020_565a);
    }
}
