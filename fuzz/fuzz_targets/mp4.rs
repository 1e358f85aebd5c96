//! A broken MP4 file is an error: no panic, no endless loop, no memory out of proportion.
#![no_main]

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use libfuzzer_sys::fuzz_target;

thread_local! {
    /// One file, again and again, without a name.
    static FILE: File = {
        let path = std::env::temp_dir().join(format!("perch-fuzz-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        std::fs::remove_file(path).expect("its name goes");
        file
    };
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with(|file| {
        let mut file = file.try_clone().expect("a descriptor");
        file.set_len(0).expect("an empty file");
        file.seek(SeekFrom::Start(0)).expect("its beginning");
        file.write_all(bytes).expect("room for it");
        // Samples may overlap, but each is named in a table of the file, or by a fragment's run of at most so many.
        let _ = perch::capture::file::count_mp4_pictures(file);
    });
    // The same from a web server, all at once and in pieces.
    for piece in [bytes.len(), 61] {
        let _ = perch::capture::file::count_mp4_pictures_as_they_arrive(bytes, piece);
    }
});
