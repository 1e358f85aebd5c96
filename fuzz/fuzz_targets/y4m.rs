//! A broken YUV4MPEG2 file is an error: no panic, no endless loop, no memory out of proportion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perch::capture::file::Y4mReader;

fuzz_target!(|file: &[u8]| {
    let Ok(mut reader) = Y4mReader::new(file) else { return };
    // Every frame takes at least the bytes of its header.
    for _ in 0..=file.len() {
        if !matches!(reader.read_frame(), Ok(Some(_))) {
            return;
        }
    }
    panic!("more frames than bytes");
});
