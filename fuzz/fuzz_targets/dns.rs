//! DNS and mDNS: questions of whoever is in the access point, and answers of whoever is in the network.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use perch::network::dns::{MOST_BYTES, addresses, captive_answer};

fuzz_target!(|packet: &[u8]| {
    if let Some(answer) = captive_answer(packet, Ipv4Addr::new(10, 83, 0, 1)) {
        // What is sent back is not much more than what came: nobody is flooded by way of this.
        assert!(answer.len() <= packet.len() + 16 && answer[2] & 0x80 != 0);
        // Answers are no questions: two of these do not talk to each other for ever.
        assert_eq!(captive_answer(&answer, Ipv4Addr::LOCALHOST), None);
    }
    assert!(addresses(&packet[..packet.len().min(MOST_BYTES)], "perch").len() <= 32);
});
