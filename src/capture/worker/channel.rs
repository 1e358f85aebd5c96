//! A socket between perch and its worker: whole packets, some with a descriptor beside them.
//!
//! What the packets say is `message`'s affair.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};

use super::message::MAX_BYTES;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// One packet.
#[derive(Debug)]
pub struct Packet {
    /// What it says.
    pub bytes: Vec<u8>,
    /// What came beside it.
    pub descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Both ends. Neither is inherited by programs that are started.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The end that `descriptor` is. Whether it is a socket shows with its first use.
    pub const fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// The descriptor, to give it to another program.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Sends one packet. Never waits: a packet that has no room, because the other side does not read, is an error.
    ///
    /// # Errors
    /// When the other side is gone or does not read.
    pub fn send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut beside, flags)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("a packet was cut")) }
    }

    /// Waits for one packet; `None` when the other side has closed. Poll first to wait with a limit.
    ///
    /// # Errors
    /// When the packet is longer than any message, or brings more than one descriptor.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        let mut bytes = [0; MAX_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                // The other side ended with our packets unread.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        let mut descriptor = None;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that is larger than any message"));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        Ok(Some(Packet { bytes: bytes[..received.bytes].to_vec(), descriptor }))
    }

    /// Ends the conversation both ways, for all who hold this end.
    pub fn close(&self) {
        // An end whose other side is gone is as good as closed.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn packets_keep_their_bounds_and_their_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let mut file = std::fs::File::from(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"shared").unwrap();
        one.send(b"first", None).unwrap();
        one.send(b"second", Some(file.as_fd())).unwrap();
        drop(file);
        let first = other.receive().unwrap().unwrap();
        assert_eq!((&first.bytes[..], first.descriptor.is_some()), (&b"first"[..], false));
        let second = other.receive().unwrap().unwrap();
        assert_eq!(second.bytes, b"second");
        let mut file = std::fs::File::from(second.descriptor.unwrap());
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "shared");
    }

    #[test]
    fn the_end_is_noticed_on_both_sides() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"last words", None).unwrap();
        one.close();
        assert_eq!(other.receive().unwrap().unwrap().bytes, b"last words");
        assert!(other.receive().unwrap().is_none());
        assert!(other.send(b"anybody?", None).is_err());
        drop(other);
        assert!(one.receive().unwrap().is_none());
    }

    #[test]
    fn packets_that_are_too_large_are_refused() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&vec![b' '; MAX_BYTES + 1], None).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_side_that_does_not_read_makes_nobody_wait() {
        let (one, _other) = Channel::pair().unwrap();
        let refused = (0..100_000).map(|_| one.send(&[0; 100], None)).find_map(Result::err).expect("a full socket");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }
}
