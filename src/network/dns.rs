//! The little of DNS (RFC 1035) and mDNS (RFC 6762) that the appliance speaks itself: it answers everything with one address
//! while the access point is open, and asks whether somebody else has its name. Packets come from strangers: what is not
//! understood is dropped. Sockets are `captive`'s and `name`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// In questions of mDNS: answer me alone. In answers: this is all there is.
const TOP_BIT: u16 = 0x8000;
/// A client that keeps it for long would be led here when the access point is gone.
const TTL_S: u32 = 1;
/// Most records of a packet that are looked at.
const MOST_RECORDS: usize = 32;
/// Longest packet that is looked at: what an Ethernet frame holds, as RFC 6762 (section 17) wants it; DNS itself has 512 (RFC 1035,
/// section 4.2.1).
pub const MOST_BYTES: usize = 1500;
/// Most jumps within one name.
const MOST_JUMPS: usize = 16;

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

/// The answer to `question`: `address`, where an IPv4 address is asked for, and otherwise that there is nothing. `None` for what
/// is no question.
#[must_use]
pub fn captive_answer(question: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let flags = u16_at(question, 2)?;
    // A standard query (opcode 0) that is no answer, with one question.
    if flags & 0xf800 != 0 || u16_at(question, 4)? != 1 {
        return None;
    }
    let (_, end) = name_at(question, HEADER)?;
    let (kind, class) = (u16_at(question, end)?, u16_at(question, end + 2)?);
    let is_known = kind == TYPE_A && class == CLASS_IN;
    let mut answer = question.get(..end + 4)?.to_vec();
    // An answer, of who is in charge; recursion is available, and is wanted if it was.
    answer[2..4].copy_from_slice(&(0x8480 | flags & 0x0100).to_be_bytes());
    answer[4..HEADER].copy_from_slice(&[0, 1, 0, u8::from(is_known), 0, 0, 0, 0]);
    if is_known {
        // The name of the question, which stands behind the head.
        answer.extend_from_slice(&[0xc0, HEADER as u8]);
        answer.extend_from_slice(&TYPE_A.to_be_bytes());
        answer.extend_from_slice(&CLASS_IN.to_be_bytes());
        answer.extend_from_slice(&TTL_S.to_be_bytes());
        answer.extend_from_slice(&4_u16.to_be_bytes());
        answer.extend_from_slice(&address.octets());
    }
    Some(answer)
}

/// Asks by mDNS who has `host`, a label without `.local`; the answer is to come to the asker alone (RFC 6762, section 5.4).
#[must_use]
pub fn question(host: &str) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet[5] = 1;
    for label in [host, "local"] {
        let label = &label.as_bytes()[..label.len().min(63)];
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend_from_slice(label);
    }
    packet.push(0);
    packet.extend_from_slice(&TYPE_A.to_be_bytes());
    packet.extend_from_slice(&(CLASS_IN | TOP_BIT).to_be_bytes());
    packet
}

/// The addresses that `answer` gives for `host`.
#[must_use]
pub fn addresses(answer: &[u8], host: &str) -> Vec<IpAddr> {
    read_addresses(answer, host).unwrap_or_default()
}

fn read_addresses(answer: &[u8], host: &str) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    if u16_at(answer, 2)? & TOP_BIT == 0 {
        return Some(found);
    }
    let wanted = format!("{host}.local");
    let mut at = HEADER;
    for _ in 0..u16_at(answer, 4)?.min(4) {
        at = name_at(answer, at)?.1 + 4;
    }
    let records = [6, 8, 10].iter().try_fold(0, |sum, count| Some(sum + usize::from(u16_at(answer, *count)?)))?;
    for _ in 0..records.min(MOST_RECORDS) {
        let Some((name, end)) = name_at(answer, at) else { break };
        let (Some(kind), Some(class), Some(length)) =
            (u16_at(answer, end), u16_at(answer, end + 2), u16_at(answer, end + 8))
        else {
            break;
        };
        let Some(data) = answer.get(end + 10..end + 10 + usize::from(length)) else { break };
        at = end + 10 + usize::from(length);
        if class & !TOP_BIT != CLASS_IN || !name.eq_ignore_ascii_case(&wanted) {
            continue;
        }
        if let (TYPE_A, Ok(bytes)) = (kind, <[u8; 4]>::try_from(data)) {
            found.push(Ipv4Addr::from(bytes).into());
        } else if let (TYPE_AAAA, Ok(bytes)) = (kind, <[u8; 16]>::try_from(data)) {
            found.push(Ipv6Addr::from(bytes).into());
        }
    }
    Some(found)
}

/// The name at `at`, its labels joined by dots, and where what follows it begins.
fn name_at(packet: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut at, mut end) = (at, None);
    let (mut name, mut jumps) = (String::new(), 0);
    loop {
        let length = *packet.get(at)?;
        match length >> 6 {
            0 if length == 0 => return Some((name, end.unwrap_or(at + 1))),
            0 => {
                let label = packet.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(label));
                at += 1 + usize::from(length);
                if name.len() > 1024 {
                    return None;
                }
            }
            // The rest of it stands elsewhere, before this.
            3 => {
                end.get_or_insert(at + 2);
                let to = usize::from(u16_at(packet, at)? & 0x3fff);
                jumps += 1;
                if to >= at || jumps > MOST_JUMPS {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 83, 0, 1);

    /// A question for `name` of this kind.
    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&CLASS_IN.to_be_bytes());
        packet
    }

    /// An answer of mDNS with these records, each a name and an address.
    fn tell(records: &[(&str, IpAddr)]) -> Vec<u8> {
        let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0];
        for (name, address) in records {
            let (kind, data) = match address {
                IpAddr::V4(v4) => (TYPE_A, v4.octets().to_vec()),
                IpAddr::V6(v6) => (TYPE_AAAA, v6.octets().to_vec()),
            };
            packet.extend_from_slice(&ask(name, kind)[HEADER..]);
            packet.extend_from_slice(&[0, 0, 0, 120, 0, u8::try_from(data.len()).unwrap()]);
            packet.extend_from_slice(&data);
        }
        packet
    }

    #[test]
    fn every_name_has_the_one_address() {
        for name in ["connectivitycheck.example", "a", "x.y.z.example"] {
            let question = ask(name, TYPE_A);
            let answer = captive_answer(&question, HERE).unwrap();
            assert_eq!(&answer[..HEADER], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            assert_eq!(&answer[HEADER..question.len()], &question[HEADER..]);
            assert_eq!(&answer[question.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 83, 0, 1]);
        }
    }

    #[test]
    fn what_is_no_address_is_not_there() {
        for kind in [TYPE_AAAA, 16, 65, 255] {
            let question = ask("a.example", kind);
            let answer = captive_answer(&question, HERE).unwrap();
            assert_eq!((answer.len(), answer[3] & 0x0f, answer[7]), (question.len(), 0, 0), "no error, and nothing");
        }
        // Of what stands behind the question nothing is taken over.
        let mut extended = ask("a.example", TYPE_A);
        extended[11] = 1;
        extended.extend_from_slice(&[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(captive_answer(&extended, HERE), captive_answer(&ask("a.example", TYPE_A), HERE));
    }

    #[test]
    fn what_is_no_question_is_dropped() {
        let question = ask("a.example", TYPE_A);
        let with = |at: usize, byte: u8| {
            let mut packet = question.clone();
            packet[at] = byte;
            packet
        };
        for packet in
            [with(2, 0x80), with(2, 0x28), with(5, 0), with(5, 2), with(HEADER, 0x40), question[..20].to_vec(), vec![]]
        {
            assert_eq!(captive_answer(&packet, HERE), None, "{packet:?}");
        }
    }

    #[test]
    fn addresses_of_the_name_are_found_among_others() {
        let (one, two): (IpAddr, IpAddr) = ("192.168.1.7".parse().unwrap(), "fe80::7".parse().unwrap());
        let other = "192.168.1.9".parse().unwrap();
        let answer = tell(&[("other.local", other), ("Perch.local", one), ("perch.local", two)]);
        assert_eq!(addresses(&answer, "perch"), [one, two]);
        assert_eq!(addresses(&answer, "garden"), [] as [IpAddr; 0]);
        // A question with the same records behind it is no answer.
        let mut question = answer.clone();
        question[2] = 0;
        assert_eq!(addresses(&question, "perch"), [] as [IpAddr; 0]);
        for length in 0..answer.len() {
            let _ = addresses(&answer[..length], "perch");
        }
    }

    #[test]
    fn the_question_is_for_one_label_of_local() {
        let packet = question("perch");
        assert_eq!(name_at(&packet, HEADER), Some(("perch.local".into(), packet.len() - 4)));
        assert_eq!(&packet[packet.len() - 4..], [0, 1, 0x80, 1]);
    }

    #[test]
    fn a_name_that_leads_back_to_itself_ends() {
        let mut packet = ask("a.example", TYPE_A);
        packet[HEADER..HEADER + 2].copy_from_slice(&[0xc0, 12]);
        assert_eq!(name_at(&packet, HEADER), None);
        // Forward is not allowed either.
        packet[HEADER..HEADER + 2].copy_from_slice(&[0xc0, 20]);
        assert_eq!(name_at(&packet, HEADER), None);
    }
}
