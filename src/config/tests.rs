use super::*;

/// The message for `text` as perch.toml.
fn refusal(text: &str) -> String {
    Config::parse(text, "perch.toml").expect_err(text).to_string()
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(Config::parse("", "perch.toml"), Ok(Config::default()));
    assert_eq!(Config::parse("\u{feff}[camera]\r\n", "perch.toml"), Ok(Config::default()));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_valid_one() {
    assert_eq!(
        refusal("# mine\n\n[camera]\nframerate = 25\nsorce = \"test\"\n"),
        "perch.toml:5: unknown key `camera.sorce`: did you mean `source`?"
    );
    assert_eq!(refusal("[camera]\nLOOP = true"), "perch.toml:2: unknown key `camera.LOOP`: did you mean `loop`?");
    assert_eq!(refusal("camera.sorce = 1"), "perch.toml:1: unknown key `camera.sorce`: did you mean `source`?");
    assert_eq!(refusal("\n[camra]"), "perch.toml:2: unknown key or section `camra`: did you mean `camera`?");
}

#[test]
fn optional_keys_and_keys_within_lists_are_suggested_too() {
    assert_eq!(
        refusal("[webrtc]\nudp_port = \"1-2\""),
        "perch.toml:2: unknown key `webrtc.udp_port`: did you mean `udp_ports`?"
    );
    assert_eq!(refusal("[web]\ndatadir = \"x\""), "perch.toml:2: unknown key `web.datadir`: did you mean `data_dir`?");
    assert_eq!(
        refusal("[[webrtc.ice_servers]]\nurls = []\n[[webrtc.ice_servers]]\nurls = []\ncredentials = \"s\""),
        "perch.toml:5: unknown key `webrtc.ice_servers.credentials`: did you mean `credential`?"
    );
}

#[test]
fn a_key_under_the_wrong_header_is_sent_to_the_right_one() {
    assert_eq!(
        refusal("listen = \"0.0.0.0:80\""),
        "perch.toml:1: unknown key or section `listen`: did you mean `http.listen`?"
    );
    assert_eq!(
        refusal("[encoder]\nframerate = 30"),
        "perch.toml:2: unknown key `encoder.framerate`: did you mean `camera.framerate`?"
    );
    // Although `max_mjpeg_viewers` of this section is much like it.
    assert_eq!(
        refusal("[http]\nmax_viewers = 30"),
        "perch.toml:2: unknown key `http.max_viewers`: did you mean `webrtc.max_viewers`?"
    );
}

#[test]
fn a_key_like_no_other_is_refused_with_all_that_exist() {
    assert_eq!(
        refusal("[http]\nzzz = 1"),
        "perch.toml:2: unknown key `http.zzz`: `http` has `listen`, `mode`, `max_mjpeg_viewers`, `allowed_origins`, `auth`, `claim_window_s`, `allowed_hosts`, `mounts`, `tls`"
    );
}

#[test]
fn values_of_the_wrong_type_or_form_are_refused_by_key_and_line() {
    for (text, begins, names) in [
        ("[camera]\n\nframerate = \"fast\"", "perch.toml:3: `camera.framerate`: ", "u32"),
        ("[camera]\nframerate = -1", "perch.toml:2: `camera.framerate`: ", "-1"),
        ("[camera]\nresolution = \"720p\"", "perch.toml:2: `camera.resolution`: ", "WIDTHxHEIGHT"),
        ("[camera]\nsource = \"webcam\"", "perch.toml:2: `camera.source`: ", "/dev/video0"),
        ("[http]\nlisten = \"8000\"", "perch.toml:2: `http.listen`: ", "address"),
        ("[http]\nclaim_window_s = 3601", "perch.toml:2: `http.claim_window_s`: ", "0 to 3600"),
        ("[http]\nallowed_hosts = [\"cam:80\"]", "perch.toml:2: `http.allowed_hosts`: ", "without port"),
        ("[log]\nlevel = \"loud\"", "perch.toml:2: `log.level`: ", "debug"),
        ("[webrtc]\nmode = \"singel\"", "perch.toml:2: `webrtc.mode`: ", "did you mean `single`?"),
        ("[[webrtc.ice_servers]]\nurls = 3", "perch.toml:2: `webrtc.ice_servers.urls`: ", "sequence"),
        ("[[webrtc.ice_servers]]\nusername = \"me\"", "perch.toml:1: `webrtc.ice_servers`: ", "urls"),
        ("\ncamera = []", "perch.toml:2: `camera` is a section", "[camera]"),
    ] {
        let message = refusal(text);
        assert!(message.starts_with(begins) && message.contains(names), "{text:?} gave: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn values_out_of_range_are_refused_by_key_and_line() {
    assert_eq!(
        refusal("[camera]\nsource = \"test\"\nframerate = 0"),
        "perch.toml:3: `camera.framerate`: 0 is out of range: 1 to 120 frames per second"
    );
    // The value at fault is a default here: the section's line is the nearest place.
    assert_eq!(
        refusal("\n[encoder]\nbitrate_bps = 200000"),
        "perch.toml:2: `encoder.min_bitrate_bps`: 300000 is out of range: 50000 to bitrate_bps"
    );
}

#[test]
fn broken_toml_is_refused_by_line() {
    assert!(refusal("[camera]\nframerate = = 3").starts_with("perch.toml:2: "));
    assert!(refusal("[camera]\nloop = true\nloop = false").starts_with("perch.toml:3: "));
    assert!(refusal("[camera").starts_with("perch.toml:1: "));
}

#[test]
fn hostile_texts_are_refused_without_a_panic() {
    let dots = "a.".repeat(60);
    let deep = [
        "[".repeat(200_000),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}", "{a=".repeat(200_000)),
        format!("{}a = 1", "a.".repeat(200_000)),
        format!("[{}a]", "a.".repeat(200_000)),
        format!("[{dots}a]\n{dots}a = {}1{}", format!("{{{dots}a = ").repeat(60), "}".repeat(60)),
        format!("[camera]\nsource = {}1{}", format!("{{{dots}a = ").repeat(60), "}".repeat(60)),
        (0..3000).map(|n| format!("[{dots}b{n}]\n")).collect(),
    ];
    for text in deep {
        refusal(&text);
    }
    for text in ["\0", "é = 1", "[camera]\né = 1", "a = \"\\u{D800}\"", "[camera]\nloop = 1e999"] {
        refusal(text);
    }
}

#[test]
fn what_is_shown_can_be_read_again_and_holds_no_secret() {
    let text = "[[webrtc.ice_servers]]\nurls = [\"turn:t:1\"]\nusername = \"me\"\ncredential = \"hunter2\"\n\
                [web]\ndata_dir = \"/srv/page\"\n[camera]\nsource = \"file:a\\\"b\"";
    let config = Config::parse(text, "perch.toml").unwrap();
    assert_eq!(config.webrtc.ice_servers[0].credential, "hunter2");
    let shown = config.to_toml_masked().unwrap();
    assert!(!shown.contains("hunter2") && shown.contains("credential = \"***\""), "{shown}");
    let mut again = Config::parse(&shown, "shown").unwrap();
    again.webrtc.ice_servers[0].credential = "hunter2".into();
    assert_eq!(again, config);
}

#[test]
fn a_bad_control_is_found_in_its_own_section() {
    let text = "[camera]\nframerate = 30\n[camera.controls]\nawb = \"auto\"\ngain = 0.0\n";
    let error = Config::parse(text, "perch.toml").unwrap_err().to_string();
    assert_eq!(error, "perch.toml:5: `camera.controls.gain`: 0 is out of range: more than 0");
    let error = Config::parse(&text.replace("gain", "gian"), "perch.toml").unwrap_err().to_string();
    assert_eq!(error, "perch.toml:5: unknown key `camera.controls.gian`: did you mean `gain`?");
}

#[test]
fn every_serialized_key_is_known_and_so_are_the_optional_ones() {
    let keys = known_keys();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, values) in &defaults {
        let listed = ["ice_servers", "mounts", "controls", "overlay", "stabilizer", "tls"];
        for key in values.as_table().unwrap().keys().filter(|key| !listed.contains(&key.as_str())) {
            assert!(keys.contains(&format!("{section}.{key}")), "{section}.{key} is not in {keys:?}");
        }
    }
    for optional in [
        "webrtc.udp_ports",
        "web.data_dir",
        "webrtc.ice_servers.credential",
        "camera.controls.gain",
        "camera.overlay.text",
        "http.tls.listen",
    ] {
        assert!(keys.iter().any(|key| key == optional), "{optional} is not in {keys:?}");
    }
}

#[test]
fn files_that_cannot_be_settings_are_refused_by_name() {
    let dir = std::env::temp_dir().join(format!("perch-config-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        Config::load(&path).unwrap_err().to_string().replace(&format!("{}/", dir.display()), "")
    };
    assert!(refused("big", &vec![b'\n'; (1 << 20) + 1]).starts_with("big: is larger than 1 MiB"));
    assert_eq!(refused("latin1", b"# a\n# caf\xe9\n"), "latin1:2: is not UTF-8 text");
    assert!(Config::load(&dir.join("none")).unwrap_err().to_string().contains("none: cannot be read"));
    assert!(Config::load(&dir).unwrap_err().to_string().contains("cannot be read"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn cameras_may_be_several_each_with_its_own_name_and_source() {
    let text = "[[camera]]\nname = \"door\"\nsource = \"test\"\n[[camera]]\nname = \"garden\"\nsource = \"0\"\n\
                [camera.controls]\nbrightness = 0.5";
    let config = Config::parse(text, "perch.toml").unwrap();
    assert_eq!(config.camera.iter().map(|camera| &*camera.name).collect::<Vec<_>>(), ["door", "garden"]);
    assert_eq!(config.camera.first().controls, crate::capture::controls::Controls::default());
    assert_ne!(config.camera.iter().last().unwrap().controls, crate::capture::controls::Controls::default());
    assert_eq!(Config::parse(&config.to_toml_masked().unwrap(), "shown"), Ok(config));
}

#[test]
fn a_mistake_in_one_of_several_cameras_is_refused_by_its_own_line() {
    let two = |second: &str| format!("[[camera]]\nname = \"a\"\nsource = \"0\"\n[[camera]]\n{second}");
    for (second, message) in [
        ("nme = \"b\"", "perch.toml:5: unknown key `camera.nme`: did you mean `name`?"),
        (
            "name = \"b\"\nframerate = 0",
            "perch.toml:6: `camera.framerate`: 0 is out of range: 1 to 120 frames per second",
        ),
        (
            "name = \"a\"\nsource = \"1\"",
            "perch.toml:5: `camera.name`: `a` is another camera already: each needs its own",
        ),
        ("name = \"b/c\"", "perch.toml:5: `camera.name`: `b/c` is no name: 1 to 32 letters, digits, `-` or `_`"),
        ("name = \"b\"", "perch.toml:4: `camera.source`: `auto` is for one camera alone: name each one's device"),
        (
            "name = \"b\"\nsource = \"/dev/video0\"",
            "perch.toml:6: `camera.source`: `/dev/video0` is the camera `a` already",
        ),
        ("name = \"b\"\nsource = \"test\"\n[camera.controls]\ngain = \"x\"", "perch.toml:8: `camera.controls.gain`: "),
    ] {
        let refused = refusal(&two(second));
        assert!(refused.starts_with(message), "{second:?} gave: {refused}");
    }
    let nine: String = (0..9).map(|n| format!("[[camera]]\nname = \"c{n}\"\nsource = \"test\"\n")).collect();
    assert_eq!(refusal(&nine), "perch.toml:26: `camera.name`: there are 9 cameras; 8 is the most");
    assert!(refusal("[[http]]\nlisten = \"127.0.0.1:80\"").starts_with("perch.toml:1: `http` is a section"));
}
