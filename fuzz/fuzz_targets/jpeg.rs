//! A stream of JPEG pictures gives the same ones however it arrives, and none that was not in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perch::capture::cut_jpeg_pictures;

fuzz_target!(|stream: &[u8]| {
    // The first byte says how long the pieces are.
    let Some((&length, stream)) = stream.split_first() else { return };
    let whole = cut_jpeg_pictures(std::iter::once(stream));
    let pieces = cut_jpeg_pictures(stream.chunks(usize::from(length) + 1));
    assert_eq!(whole, pieces, "in pieces of {}", usize::from(length) + 1);
    assert!(whole.1 <= stream.len(), "more bytes than there were");
});
