//! NAL units of any bytes lie within them, in order and without overlap.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut end_of_last = stream.as_ptr() as usize;
    for unit in perch::media::annex_b::nal_units(stream) {
        let start = unit.as_ptr() as usize;
        assert!(start >= end_of_last, "units overlap");
        end_of_last = start + unit.len();
    }
    assert!(end_of_last <= stream.as_ptr() as usize + stream.len(), "a unit reaches past the end");
});
