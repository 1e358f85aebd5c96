//! Offers come from anybody who can reach the port: none may panic, whatever it says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|offer: &str| {
    let _ = perch::webrtc::sdp::inspect_offer(offer);
});
