//! Cookies come from every page of a browser: what is read of them is one value, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &str| perch::http::fuzzing::cookies(lines));
