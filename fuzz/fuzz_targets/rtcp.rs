//! A viewer's RTCP goes through perch's own links of the chain: none may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packets: &[u8]| perch::webrtc::read_rtcp(packets));
