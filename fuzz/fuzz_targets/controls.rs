//! No request to change controls may panic, and what is accepted is within the camera's range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perch::capture::tuning::{Control, changes};

const CONTROLS: &str = r#"[
  {"key":"brightness","name":"","type":"integer","minimum":-10,"maximum":10,"step":2,"value":0,"default":0,"read_only":false,"inactive":false,"changeable":true},
  {"key":"gain","name":"","type":"number","minimum":1.0,"maximum":16.0,"value":null,"default":null,"read_only":false,"inactive":false,"changeable":true},
  {"key":"auto","name":"","type":"menu","items":[{"value":0,"name":"off"},{"value":3,"name":"on"}],"value":0,"default":0,"read_only":false,"inactive":false,"changeable":true},
  {"key":"flip","name":"","type":"boolean","value":false,"default":false,"read_only":false,"inactive":false,"changeable":true},
  {"key":"focus","name":"","type":"button","value":null,"default":null,"read_only":false,"inactive":false,"changeable":true},
  {"key":"crop","name":"","type":"area","within":"0,0,640x480","value":null,"default":null,"read_only":false,"inactive":false,"changeable":true},
  {"key":"fixed","name":"","type":"other","value":null,"default":null,"read_only":true,"inactive":false,"changeable":false}
]"#;

fuzz_target!(|patch: &[u8]| {
    let controls: Vec<Control> = serde_json::from_str(CONTROLS).expect("controls");
    let Ok(patch) = serde_json::from_slice(patch) else { return };
    let Ok(changes) = changes("fuzzed", &controls, &patch) else { return };
    assert_eq!(changes.len(), patch.len());
    for change in changes {
        let control = controls.iter().find(|control| control.key == change.key).expect("a control of the camera");
        assert!(!control.is_read_only);
        if let Some(value) = change.value {
            assert_eq!(control.accept(&value), Ok(value), "what was accepted is acceptable");
        }
    }
});
