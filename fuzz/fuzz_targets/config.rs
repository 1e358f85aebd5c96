//! No settings file may panic, and what `perch config show` prints reads back as the same settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perch::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(text, "perch.toml") {
        Ok(config) => {
            let shown = config.to_toml_masked().expect("settings from TOML have a form in TOML");
            let again = Config::parse(&shown, "shown").expect("what is shown can be read");
            assert_eq!(again.to_toml_masked(), Ok(shown));
        }
        Err(error) => assert!(error.to_string().starts_with("perch.toml"), "{error}"),
    }
});
