//! A picture's packets, gathered to leave in one system call.
//!
//! The crate hands packets over one at a time. Most of a picture's have the same size, and only the last is shorter: just what
//! Linux sends in one call (UDP_SEGMENT, udp(7)), and what a browser on the same machine then reads at one go instead of waking
//! for each packet. What does not continue the picture, resent packets before all, is not gathered: nothing would say when
//! its last has come. What decides is pure; `sockets` sends.

use std::net::SocketAddr;

/// Bytes of an RTP header without extensions (RFC 3550, section 5.1).
const RTP_HEADER: usize = 12;
const RTP_VERSION: u8 = 2;
/// So that the first packets of a large picture do not wait for its last.
const MOST_PACKETS: usize = 16;

/// Packets of one picture that have not been sent.
#[derive(Debug)]
pub(super) struct Burst {
    ssrc: u32,
    newest: Option<u16>,
    destination: Option<SocketAddr>,
    bytes: Vec<u8>,
    /// Bytes of each packet but the last, which may be shorter.
    segment: usize,
}

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is none of those that are gathered.
    Alone,
    /// It was taken.
    Gathered,
    /// It was taken, and what there is must leave now.
    Complete,
    /// It was not taken: what there is must leave first.
    InTheWay,
}

impl Burst {
    /// Gathers the packets of the stream `ssrc`.
    pub(super) fn new(ssrc: u32) -> Self {
        Self { ssrc, newest: None, destination: None, bytes: Vec::new(), segment: 0 }
    }

    pub(super) fn offer(&mut self, packet: &[u8], destination: SocketAddr) -> Step {
        let Some((sequence, is_last)) = self.read(packet) else { return Step::Alone };
        if self.newest.is_some_and(|newest| newest.wrapping_add(1) != sequence) {
            self.newest = self.newest.filter(|newest| sequence.wrapping_sub(*newest) >= 0x8000).or(Some(sequence));
            return Step::Alone;
        }
        if self.bytes.is_empty() {
            self.segment = packet.len();
            self.destination = Some(destination);
        } else if self.destination != Some(destination) || packet.len() > self.segment {
            return Step::InTheWay;
        }
        self.newest = Some(sequence);
        self.bytes.extend_from_slice(packet);
        let is_complete = is_last || packet.len() < self.segment || self.bytes.len() >= MOST_PACKETS * self.segment;
        if is_complete { Step::Complete } else { Step::Gathered }
    }

    /// The packets one after the other, the bytes of each but the last, and where they go.
    pub(super) fn gathered(&self) -> Option<(&[u8], usize, SocketAddr)> {
        let destination = self.destination.filter(|_| !self.bytes.is_empty())?;
        Some((&self.bytes, self.segment, destination))
    }

    /// Takes the newest packet back, of `length` bytes: it will be offered again.
    pub(super) fn take_back(&mut self, length: usize) {
        self.bytes.truncate(self.bytes.len().saturating_sub(length));
        self.newest = self.newest.map(|newest| newest.wrapping_sub(1));
    }

    /// What was gathered has left.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Sequence number and marker (a picture's last packet: RFC 6184, section 5.1) of a packet of the stream.
    fn read(&self, packet: &[u8]) -> Option<(u16, bool)> {
        let header: &[u8; RTP_HEADER] = packet.first_chunk()?;
        let [first, second, high, low, _, _, _, _, ssrc @ ..] = header;
        let is_ours = first >> 6 == RTP_VERSION && u32::from_be_bytes(*ssrc) == self.ssrc;
        is_ours.then(|| (u16::from_be_bytes([*high, *low]), second & 0x80 != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 0x0102_0304;

    fn packet(sequence: u16, is_last: bool, length: usize) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        let mut packet = vec![0x90, if is_last { 0x80 | 102 } else { 102 }, high, low, 0, 0, 0, 0, 1, 2, 3, 4];
        packet.resize(length, sequence as u8);
        packet
    }

    fn viewer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_picture_is_complete_with_its_marked_packet() {
        let mut burst = Burst::new(SSRC);
        assert!(burst.gathered().is_none());
        for (sequence, step) in [(65_534, Step::Gathered), (65_535, Step::Gathered), (0, Step::Complete)] {
            assert_eq!(burst.offer(&packet(sequence, sequence == 0, 100), viewer(1)), step);
        }
        let all = [packet(65_534, false, 100), packet(65_535, false, 100), packet(0, true, 100)].concat();
        assert_eq!(burst.gathered(), Some((&all[..], 100, viewer(1))));
        burst.clear();
        assert!(burst.gathered().is_none());
    }

    #[test]
    fn only_the_last_packet_may_be_shorter_and_none_longer() {
        let mut burst = Burst::new(SSRC);
        assert_eq!(burst.offer(&packet(1, false, 50), viewer(1)), Step::Gathered);
        assert_eq!(burst.offer(&packet(2, false, 100), viewer(1)), Step::InTheWay);
        burst.clear();
        assert_eq!(burst.offer(&packet(2, false, 100), viewer(1)), Step::Gathered);
        assert_eq!(burst.offer(&packet(3, false, 40), viewer(1)), Step::Complete);
    }

    #[test]
    fn what_does_not_continue_the_stream_goes_alone() {
        let mut burst = Burst::new(SSRC);
        assert_eq!(burst.offer(&packet(7, false, 100), viewer(1)), Step::Gathered);
        assert_eq!(burst.offer(&packet(5, false, 100), viewer(1)), Step::Alone, "resent");
        assert_eq!(burst.offer(&[0, 1, 0, 0], viewer(1)), Step::Alone, "a check");
        let mut other = packet(8, false, 100);
        other[11] = 9;
        assert_eq!(burst.offer(&other, viewer(1)), Step::Alone, "another stream");
        assert_eq!(burst.offer(&packet(8, false, 100), viewer(1)), Step::Gathered, "the next");
        assert_eq!(burst.offer(&packet(11, false, 100), viewer(1)), Step::Alone, "behind a gap");
        assert_eq!(burst.offer(&packet(12, true, 100), viewer(1)), Step::Complete);
    }

    #[test]
    fn another_way_to_the_viewer_begins_another_burst() {
        let mut burst = Burst::new(SSRC);
        assert_eq!(burst.offer(&packet(1, false, 100), viewer(1)), Step::Gathered);
        assert_eq!(burst.offer(&packet(2, false, 100), viewer(2)), Step::InTheWay);
    }

    #[test]
    fn a_packet_that_is_taken_back_is_the_next_one() {
        let mut burst = Burst::new(SSRC);
        burst.offer(&packet(1, false, 100), viewer(1));
        for _ in 0..2 {
            assert_eq!(burst.offer(&packet(2, true, 60), viewer(1)), Step::Complete);
            assert_eq!(burst.gathered().map(|(bytes, ..)| bytes.len()), Some(160));
            burst.take_back(60);
        }
        assert_eq!(burst.gathered().map(|(bytes, ..)| bytes.len()), Some(100));
    }

    #[test]
    fn a_large_picture_leaves_in_parts() {
        let mut burst = Burst::new(SSRC);
        let complete = (0..40).filter(|sequence| {
            let step = burst.offer(&packet(*sequence, false, 1200), viewer(1));
            if step == Step::Complete {
                burst.clear();
            }
            step == Step::Complete
        });
        assert_eq!(complete.collect::<Vec<_>>(), [15, 31]);
    }
}
