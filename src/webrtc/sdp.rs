//! The look at an offer before any work is done for it.
//!
//! Offers come from anybody who can reach the port, so what cannot lead to a picture is refused here, with words,
//! before a socket or a task exists for it. Making the answer is the `webrtc` crate's work.

use std::borrow::Cow;
use std::net::IpAddr;

/// Longest line, in bytes.
const LONGEST_LINE: usize = 8 * 1024;
/// Most media sections.
const MOST_SECTIONS: usize = 16;
/// Most candidates: more than a machine has, and each one makes perch send checks.
pub(super) const MOST_CANDIDATES: usize = 64;
/// Lower ports are the system's services' (RFC 6335, section 6).
const FIRST_USER_PORT: u16 = 1024;

/// What is wrong with an offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is not SDP (RFC 8866) as WebRTC writes it.
    #[error("the offer is malformed: {0}")]
    Malformed(String),
    /// It is SDP, but no picture can come of it.
    #[error("the offer cannot be used: {0}")]
    Unusable(String),
}

/// What matters of an offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferSummary {
    /// The offerer insists on being the DTLS server (`a=setup:passive`, RFC 8842), so that perch must be the client.
    pub offerer_is_dtls_server: bool,
    /// Candidates in the offer.
    pub candidates: usize,
}

#[derive(Default)]
struct Section<'a> {
    media: &'a str,
    is_rejected: bool,
    mid: &'a str,
    direction: &'a str,
    /// `a=` lines that the session level may hold for all sections.
    transport: Transport<'a>,
    /// Sections that share one transport (RFC 9143); only at session level.
    bundle: Vec<&'a str>,
    h264_payloads: Vec<&'a str>,
    packetization_mode_1: Vec<&'a str>,
}

#[derive(Clone, Copy, Default)]
struct Transport<'a> {
    ufrag: Option<&'a str>,
    password: Option<&'a str>,
    fingerprint: Option<&'a str>,
    setup: Option<&'a str>,
}

fn malformed<T>(reason: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError::Malformed(reason.into()))
}

fn unusable<T>(reason: impl Into<String>) -> Result<T, SdpError> {
    Err(SdpError::Unusable(reason.into()))
}

/// Reads an offer and says whether it can lead to a picture.
///
/// # Errors
/// When it cannot.
pub fn inspect_offer(sdp: &str) -> Result<OfferSummary, SdpError> {
    let mut session = Section { direction: "sendrecv", ..Section::default() };
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut candidates = 0;
    if !sdp.starts_with("v=0") {
        return malformed("it does not begin with `v=0`");
    }
    for (index, line) in sdp.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let number = index + 1;
        if line.is_empty() {
            continue;
        }
        if line.len() > LONGEST_LINE {
            return malformed(format!("line {number} is longer than {LONGEST_LINE} bytes"));
        }
        if line.bytes().any(|byte| byte < 0x20 && byte != b'\t') || line.contains('\u{7f}') {
            return malformed(format!("line {number} holds a control character"));
        }
        let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return malformed(format!("line {number} is not of the form `x=…`"));
        };
        match kind {
            "m" => {
                if sections.len() == MOST_SECTIONS {
                    return malformed(format!("more than {MOST_SECTIONS} media sections"));
                }
                sections.push(media_section(value, number)?);
            }
            "a" => {
                if value.starts_with("candidate:") {
                    candidates += 1;
                    check_candidate(value, number)?;
                }
                attribute(sections.last_mut().unwrap_or(&mut session), value);
            }
            "v" | "o" | "s" | "t" if !sections.is_empty() => {
                return malformed(format!("line {number}: `{kind}=` belongs before the first media section"));
            }
            _ => {}
        }
    }
    for needed in ["\no=", "\ns=", "\nt="] {
        if !sdp.contains(needed) {
            return malformed(format!("the line `{}` is missing", needed.trim_start()));
        }
    }
    if candidates > MOST_CANDIDATES {
        return malformed(format!("more than {MOST_CANDIDATES} candidates"));
    }
    let setup = check_sections(&session, &sections)?;
    Ok(OfferSummary { offerer_is_dtls_server: setup == "passive", candidates })
}

/// `m=video 9 UDP/TLS/RTP/SAVPF 96 97`
fn media_section(value: &str, number: usize) -> Result<Section<'_>, SdpError> {
    let mut words = value.split(' ');
    let (Some(media), Some(port), Some(protocol), Some(_format)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return malformed(format!("line {number}: `m={value}` is incomplete"));
    };
    // RFC 8834 and RFC 8841: media over DTLS-SRTP, data channels over DTLS.
    if !matches!(protocol, "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "UDP/DTLS/SCTP" | "DTLS/SCTP" | "TCP/DTLS/SCTP") {
        return unusable(format!("`{protocol}` is not encrypted as WebRTC is"));
    }
    let Ok(port) = port.split('/').next().unwrap_or_default().parse::<u16>() else {
        return malformed(format!("line {number}: `{port}` is not a port"));
    };
    Ok(Section { media, is_rejected: port == 0, direction: "", ..Section::default() })
}

fn attribute<'a>(section: &mut Section<'a>, value: &'a str) {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    match name {
        "ice-ufrag" => section.transport.ufrag = Some(value),
        "ice-pwd" => section.transport.password = Some(value),
        "fingerprint" => section.transport.fingerprint = Some(value),
        "setup" => section.transport.setup = Some(value),
        "mid" => section.mid = value,
        "group" if value.starts_with("BUNDLE") => section.bundle = value.split(' ').skip(1).collect(),
        "sendrecv" | "sendonly" | "recvonly" | "inactive" => section.direction = name,
        // A bundled section may have port 0 (RFC 8843, section 6).
        "bundle-only" => section.is_rejected = false,
        "rtpmap" => {
            if let Some((payload, codec)) = value.split_once(' ')
                && codec.eq_ignore_ascii_case("H264/90000")
            {
                section.h264_payloads.push(payload);
            }
        }
        "fmtp" => {
            if let Some((payload, parameters)) = value.split_once(' ')
                && parameters.split(';').any(|parameter| parameter.trim() == "packetization-mode=1")
            {
                section.packetization_mode_1.push(payload);
            }
        }
        _ => {}
    }
}

/// `a=candidate:1 1 udp 2122 192.0.2.1 50000 typ host` (RFC 8839, section 5.1)
fn check_candidate(value: &str, number: usize) -> Result<(), SdpError> {
    let words: Vec<&str> = value.split(' ').collect();
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok() || text.ends_with(".local");
    match words[..] {
        [_, component, _, priority, address, port, "typ", _, ..]
            if component.parse::<u8>().is_ok()
                && priority.parse::<u32>().is_ok()
                && port.parse::<u16>().is_ok()
                && is_address(address) =>
        {
            Ok(())
        }
        _ => malformed(format!("line {number}: `a={value}` is not a candidate")),
    }
}

/// Checks a line such as `candidate:1 1 udp 2122 192.0.2.1 50000 typ host`, as trickled by a client.
///
/// # Errors
/// When it is not a candidate with an address or a `.local` name.
pub fn check_candidate_line(line: &str) -> Result<(), SdpError> {
    if line.len() > LONGEST_LINE || line.bytes().any(|byte| byte < 0x20) || !line.starts_with("candidate:") {
        return malformed("it is not a candidate");
    }
    check_candidate(line, 1)
}

/// Whether checks may be sent to a candidate (`candidate:…`): over UDP, for the one component that there is, to a port that no
/// service of the system has, and to an address of one machine. What cannot be used is no fault: browsers offer TCP too.
#[must_use]
pub fn is_usable_candidate(candidate: &str) -> bool {
    let words: Vec<&str> = candidate.split(' ').collect();
    let [_, "1", protocol, _, address, port, "typ", kind, ..] = words[..] else { return false };
    let is_one_machine = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        Ok(IpAddr::V6(v6)) => !(v6.is_unspecified() || v6.is_multicast()),
        Err(_) => address.ends_with(".local"),
    };
    protocol.eq_ignore_ascii_case("udp")
        && is_one_machine
        && port.parse::<u16>().is_ok_and(|port| port >= FIRST_USER_PORT)
        && matches!(kind, "host" | "srflx" | "prflx" | "relay")
}

/// The offer without the candidates that are not usable.
#[must_use]
pub fn without_unusable_candidates(offer: &str) -> Cow<'_, str> {
    let is_bad = |line: &str| {
        let candidate = line.trim_end().strip_prefix("a=").filter(|value| value.starts_with("candidate:"));
        candidate.is_some_and(|candidate| !is_usable_candidate(candidate))
    };
    if !offer.lines().any(is_bad) {
        return Cow::Borrowed(offer);
    }
    Cow::Owned(offer.split_inclusive('\n').filter(|line| !is_bad(line)).collect())
}

/// Checks that a video section can be sent H.264; returns its `setup`.
fn check_sections<'a>(session: &Section<'a>, sections: &[Section<'a>]) -> Result<&'a str, SdpError> {
    if sections.is_empty() {
        return malformed("it has no media section");
    }
    check_mids(session, sections)?;
    let mut videos = sections.iter().filter(|section| section.media == "video").peekable();
    if videos.peek().is_none() {
        return unusable("it asks for no video");
    }
    let mut reason = "the video section is rejected (port 0)";
    for video in videos {
        if video.is_rejected {
            continue;
        }
        let direction = if video.direction.is_empty() { session.direction } else { video.direction };
        if !matches!(direction, "recvonly" | "sendrecv") {
            reason = "the video section does not want to receive";
            continue;
        }
        if !video.h264_payloads.iter().any(|payload| video.packetization_mode_1.contains(payload)) {
            reason = "it has no H.264 with packetization-mode=1, which is what perch sends";
            continue;
        }
        return check_transport(session.transport, video.transport);
    }
    unusable(reason)
}

fn check_mids(session: &Section<'_>, sections: &[Section<'_>]) -> Result<(), SdpError> {
    for (index, section) in sections.iter().enumerate() {
        if !section.mid.is_empty() && sections[..index].iter().any(|other| other.mid == section.mid) {
            return malformed(format!("two sections have the mid `{}`", section.mid));
        }
    }
    match session.bundle.iter().find(|mid| !sections.iter().any(|section| section.mid == **mid)) {
        Some(mid) => malformed(format!("`a=group:BUNDLE` names `{mid}`, which no section has")),
        None => Ok(()),
    }
}

fn check_transport<'a>(session: Transport<'a>, section: Transport<'a>) -> Result<&'a str, SdpError> {
    let is_ice = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    // RFC 8839, section 5.4: 4 to 256 and 22 to 256 characters.
    match (section.ufrag.or(session.ufrag), section.password.or(session.password)) {
        (None, _) => return unusable("it has no `a=ice-ufrag`"),
        (_, None) => return unusable("it has no `a=ice-pwd`"),
        (Some(ufrag), _) if !(4..=256).contains(&ufrag.len()) || !is_ice(ufrag) => {
            return malformed("`a=ice-ufrag` must be 4 to 256 letters, digits, `+` or `/`");
        }
        (_, Some(password)) if !(22..=256).contains(&password.len()) || !is_ice(password) => {
            return malformed("`a=ice-pwd` must be 22 to 256 letters, digits, `+` or `/`");
        }
        _ => {}
    }
    check_fingerprint(section.fingerprint.or(session.fingerprint))?;
    match section.setup.or(session.setup) {
        None => unusable("it has no `a=setup`"),
        Some(setup @ ("actpass" | "active" | "passive")) => Ok(setup),
        Some(setup) => malformed(format!("`a=setup:{setup}` is not actpass, active or passive")),
    }
}

/// `sha-256 AB:CD:…` (RFC 8122, section 5)
fn check_fingerprint(fingerprint: Option<&str>) -> Result<(), SdpError> {
    let Some(fingerprint) = fingerprint else {
        return unusable("it has no `a=fingerprint`");
    };
    let (algorithm, digest) = fingerprint.split_once(' ').unwrap_or((fingerprint, ""));
    let length = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return unusable("the fingerprint must be sha-256, sha-384 or sha-512"),
    };
    let bytes: Vec<&str> = digest.split(':').collect();
    if bytes.len() != length || !bytes.iter().all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok()) {
        return malformed(format!("the {algorithm} fingerprint is not {length} pairs of hex digits"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> String {
        let fingerprint = ["AB"; 32].join(":");
        format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
             a=rtpmap:96 H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
             a=candidate:1 1 udp 2122260223 0f1e.local 50000 typ host\r\n"
        )
    }

    #[test]
    fn a_browsers_offer_is_accepted() {
        assert_eq!(inspect_offer(&offer()), Ok(OfferSummary { offerer_is_dtls_server: false, candidates: 1 }));
    }

    #[test]
    fn what_the_session_level_says_counts_for_its_sections() {
        let fingerprint = ["AB"; 32].join(":");
        let line = format!("a=fingerprint:sha-256 {fingerprint}\r\n");
        let moved = offer().replace(&line, "").replace("a=group", &format!("{line}a=group"));
        assert!(inspect_offer(&moved).is_ok());
    }

    #[test]
    fn each_fault_is_named() {
        let cases: &[(&str, &str, &str)] = &[
            ("v=0", "v=1", "`v=0`"),
            ("a=recvonly", "a=sendonly", "does not want to receive"),
            ("a=ice-ufrag:abcd\r\n", "", "ice-ufrag"),
            ("a=ice-ufrag:abcd", "a=ice-ufrag:a b!", "ice-ufrag"),
            ("a=ice-pwd:0123456789012345678901\r\n", "", "ice-pwd"),
            ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:short", "ice-pwd"),
            ("sha-256", "md5", "sha-256"),
            ("AB:AB\r\n", "AB\r\n", "32 pairs"),
            ("a=setup:actpass\r\n", "", "a=setup"),
            ("a=setup:actpass", "a=setup:holdconn", "holdconn"),
            ("H264/90000", "VP8/90000", "H.264"),
            ("H264/90000", "H264/8000", "H.264"),
            ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "not encrypted"),
            ("BUNDLE 0", "BUNDLE 0 1", "BUNDLE"),
            ("a=setup:actpass\r\n", "a=setup:actpass\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", "two sections"),
            ("packetization-mode=1", "packetization-mode=0", "packetization-mode=1"),
            ("m=video 9", "m=video 0", "port 0"),
            ("m=video 9", "m=video x", "not a port"),
            ("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video", "incomplete"),
            ("m=video", "m=audio", "no video"),
            ("c=IN", "\u{0}c=IN", "control character"),
            ("c=IN IP4 0.0.0.0", "nonsense", "form"),
            ("a=mid:0", "v=0", "before the first media"),
            ("0f1e.local 50000", "evil.example 50000", "not a candidate"),
            ("0f1e.local 50000", "10.0.0.1 99999", "not a candidate"),
        ];
        for (from, to, word) in cases {
            let broken = offer().replacen(from, to, 1);
            assert_ne!(broken, offer(), "{from} is in the offer");
            let error = inspect_offer(&broken).expect_err(to).to_string();
            assert!(error.contains(word), "{to:?}: {error}");
        }
    }

    #[test]
    fn only_candidates_that_a_viewer_can_have_are_used() {
        for good in [
            "candidate:1 1 udp 1 10.0.0.1 50000 typ host",
            "candidate:1 1 UDP 1 2001:db8::1 1024 typ srflx raddr 0.0.0.0 rport 0",
            "candidate:1 1 udp 1 0f1e.local 50000 typ host generation 0",
        ] {
            assert!(is_usable_candidate(good), "{good}");
        }
        for bad in [
            "candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active",
            "candidate:1 1 udp 1 10.0.0.1 53 typ host",
            "candidate:1 1 udp 1 10.0.0.1 0 typ host",
            "candidate:1 2 udp 1 10.0.0.1 50000 typ host",
            "candidate:1 1 udp 1 255.255.255.255 50000 typ host",
            "candidate:1 1 udp 1 239.1.1.1 50000 typ host",
            "candidate:1 1 udp 1 0.0.0.0 50000 typ host",
            "candidate:1 1 udp 1 ff02::1 50000 typ host",
            "candidate:1 1 udp 1 :: 50000 typ host",
            "candidate:1 1 udp 1 10.0.0.1 50000 typ magic",
            "candidate:1 1 udp 1 evil.example 50000 typ host",
            "candidate:1",
        ] {
            assert!(!is_usable_candidate(bad), "{bad}");
            let with_bad = offer() + "a=" + bad + "\r\na=end-of-candidates\r\n";
            assert_eq!(without_unusable_candidates(&with_bad), offer() + "a=end-of-candidates\r\n");
        }
        assert!(matches!(without_unusable_candidates(&offer()), Cow::Borrowed(_)));
    }

    #[test]
    fn floods_are_refused() {
        let candidate = "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n";
        assert!(inspect_offer(&(offer() + &candidate.repeat(65))).is_err());
        assert!(inspect_offer(&(offer() + &"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(17))).is_err());
        assert!(inspect_offer(&(offer() + "a=" + &"x".repeat(9000))).is_err());
    }
}
