//! No request may panic on its way to a handler, be led away from this camera, or be another site's and let in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|request: &[u8]| perch::http::fuzzing::head(request));
