use std::os::unix::fs::MetadataExt as _;

use super::*;

/// The appliance's folders, in a temporary one.
struct Appliance(PathBuf, Places);

impl Appliance {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("perch-provision-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let places = Places {
            card: base.join("card"),
            state: base.join("state"),
            run: base.join("run"),
            kept: base.join("kept"),
            blank: base.join("blank.toml"),
            defaults: base.join("appliance.toml"),
        };
        fs::create_dir_all(&places.card).unwrap();
        fs::write(&places.blank, "# new\n").unwrap();
        fs::write(&places.defaults, "[http]\nlisten = '[::]:80'\n").unwrap();
        Self(base, places)
    }

    /// Starts with `card` as the card's file, and gives what was in force.
    fn start(&self, card: Option<&str>) -> (Config, String) {
        if let Some(text) = card {
            fs::write(self.1.card.join(FILE), text).unwrap();
        }
        let _ = fs::remove_dir_all(&self.1.run);
        run(&self.1).unwrap();
        (Config::load(&self.1.run.join(FILE)).unwrap(), self.text("run/notice"))
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CARD: &str = "# mine
[device]
hostname = 'garden'
[[device.wifi]]
ssid = 'home'
password = 'correct horse'
[camera]
framerate = 15
";

#[test]
fn settings_take_effect_and_their_secret_leaves_the_card() {
    let appliance = Appliance::new("effect");
    let (config, notice) = appliance.start(Some(CARD));
    assert_eq!((config.camera.first().framerate, config.http.listen.port(), &*notice), (15, 80, ""));
    assert_eq!(appliance.text("run/hostname"), "garden");
    assert!(appliance.text("run/device.toml").contains("password = \"correct horse\""));
    assert_eq!(fs::metadata(appliance.1.run.join("device.toml")).unwrap().mode() & 0o777, 0o600);
    assert!(!appliance.text("run/perch.toml").contains("horse"));
    let card = appliance.text("card/perch.toml");
    assert_eq!(card, CARD.replace("'correct horse'", "\"*************\""));

    // As often as it starts, also with the stars, and after an edit beside them.
    let edited = card.replace("= 15", "= 20");
    for (card, framerate) in [(None, 15), (Some(&*edited), 20)] {
        let (config, notice) = appliance.start(card);
        assert_eq!((config.camera.first().framerate, &*notice), (framerate, ""));
        assert!(appliance.text("run/device.toml").contains("password = \"correct horse\""));
    }
}

#[test]
fn wrong_settings_change_nothing_and_the_notice_says_what_is_wrong() {
    let appliance = Appliance::new("wrong");
    appliance.start(Some(CARD));
    let (config, notice) = appliance.start(Some("[camera]\nframerat = 20\n"));
    assert_eq!((config.camera.first().framerate, appliance.text("run/hostname")), (15, "garden".into()));
    assert_eq!(notice, "perch.toml:2: unknown key `camera.framerat`: did you mean `framerate`?");
    assert_eq!(appliance.start(Some(CARD)).1, "");
}

#[test]
fn an_appliance_without_settings_has_its_defaults() {
    let appliance = Appliance::new("none");
    let (config, notice) = appliance.start(None);
    assert_eq!((config.http.listen.port(), &*notice), (80, ""));
    assert_eq!(appliance.text("run/hostname"), "perch");
}

#[test]
fn stars_that_stand_for_nothing_are_told() {
    let appliance = Appliance::new("stars");
    let (_, notice) = appliance.start(Some("[[device.wifi]]\nssid = 'home'\npassword = '***'\n"));
    assert!(notice.contains("home") && notice.contains("write it again"), "{notice}");
}

#[test]
fn a_cut_between_keeping_and_blanking_is_made_good_at_the_next_start() {
    let appliance = Appliance::new("cut");
    appliance.start(Some(CARD));
    // As if the card had not been reached: the settings are kept, the secret is still there.
    appliance.start(Some(CARD));
    assert!(!appliance.text("card/perch.toml").contains("horse"));
    // And before: something half written is not taken for what is kept.
    fs::write(appliance.1.state.join(".perch.toml.new"), "[device]\nhostna").unwrap();
    assert_eq!((appliance.start(None).1, appliance.text("run/hostname")), (String::new(), "garden".into()));
}

#[test]
fn a_cut_in_the_middle_of_a_secret_is_made_good_at_the_next_start() {
    let camera = "[camera]\nsource = 'rtsp://me:hidden@cam/1'\n";
    let setup = "[device]\nsetup_password = 'at the old mill'\n";
    for (text, whole, torn) in [
        (CARD, "correct horse", "********horse"),
        (CARD, "correct horse", "correct h****"),
        (camera, "hidden", "**dden"),
        (setup, "at the old mill", "****** old mill"),
    ] {
        let appliance = Appliance::new("torn");
        appliance.start(Some(text));
        let in_force = appliance.text("state/perch.toml");
        assert_eq!(appliance.start(Some(&text.replace(whole, torn))).1, "");
        assert_eq!(appliance.text("state/perch.toml"), in_force, "{torn}");
        assert!(!appliance.text("card/perch.toml").contains(&torn.replace('*', "")), "the rest of it");
    }
    // Another password, with a star in it, is no part of the one that was kept.
    let appliance = Appliance::new("torn");
    appliance.start(Some(CARD));
    appliance.start(Some(&CARD.replace("correct horse", "***aker horse")));
    assert!(appliance.text("run/device.toml").contains("password = \"***aker horse\""));
}

#[test]
fn every_form_of_a_secret_is_overwritten_and_the_file_stays_a_file_of_settings() {
    for secret in ["'correct horse'", "\"correct\\u0020horse\"", "'''correct horse'''", "\"\"\"\ncorrect horse\"\"\""] {
        let appliance = Appliance::new("forms");
        let text = format!("device.wifi = [{{ssid = 'a', password = {secret}}}]\n");
        assert_eq!(appliance.start(Some(&text)).1, "", "{text}");
        let card = appliance.text("card/perch.toml");
        assert!(!card.contains("horse") && card.len() == text.len(), "{card}");
        assert_eq!(appliance.start(None).1, "", "{card}");
    }
}

#[test]
fn a_factory_reset_forgets_everything_once() {
    let appliance = Appliance::new("reset");
    appliance.start(Some(CARD));
    fs::create_dir_all(appliance.1.kept.join("folder/inner")).unwrap();
    for file in ["auth.json", "folder/inner/file"] {
        fs::write(appliance.1.kept.join(file), "kept").unwrap();
    }
    fs::write(appliance.1.state.join(crate::network::KEPT), "{}").unwrap();
    fs::write(appliance.1.state.join(RESET), "").unwrap();
    // Somebody wrote to the card meanwhile.
    let (config, notice) = appliance.start(Some(&CARD.replace("garden", "shed")));
    assert_eq!((config.camera.first().framerate, &*notice), (30, ""));
    assert_eq!((appliance.text("run/hostname"), appliance.text("card/perch.toml")), ("perch".into(), "# new\n".into()));
    assert!(!appliance.text("run/device.toml").contains("wifi"));
    assert!(!appliance.1.state.join(crate::network::KEPT).exists());
    assert_eq!(fs::read_dir(&appliance.1.kept).unwrap().count(), 0);
    appliance.start(Some(CARD));
    assert_eq!(appliance.text("run/hostname"), "garden");
}

#[test]
fn a_factory_reset_that_was_cut_short_is_done_again() {
    let appliance = Appliance::new("reset-cut");
    appliance.start(Some(CARD));
    fs::write(appliance.1.state.join(RESET), "").unwrap();
    fs::rename(&appliance.1.blank, appliance.0.join("away")).unwrap();
    let (_, notice) = appliance.start(None);
    assert!(notice.contains("the factory reset is not done yet"), "{notice}");
    fs::rename(appliance.0.join("away"), &appliance.1.blank).unwrap();
    assert_eq!((appliance.start(None).1, appliance.text("run/hostname")), (String::new(), "perch".into()));
}

#[test]
fn the_access_points_password_leaves_the_card_too() {
    let appliance = Appliance::new("setup");
    let text = "[device]\nsetup_password = 'at the old mill'\n";
    for card in [Some(text), None] {
        assert_eq!(appliance.start(card).1, "");
        assert!(appliance.text("run/device.toml").contains("setup_password = \"at the old mill\""));
        assert_eq!(appliance.text("card/perch.toml"), text.replace("'at the old mill'", "\"***************\""));
    }
    let (_, notice) = Appliance::new("setup-stars").start(Some("[device]\nsetup_password = '********'\n"));
    assert!(notice.contains("setup_password") && notice.contains("write it again"), "{notice}");
}

#[test]
fn a_turn_servers_secret_leaves_the_card_too() {
    let appliance = Appliance::new("turn");
    let text = "[[webrtc.ice_servers]]\nurls = ['turn:a:1?transport=udp']\nusername = 'me'\ncredential = 'hidden'\n";
    for card in [Some(text), None] {
        assert_eq!(appliance.start(card).0.webrtc.ice_servers[0].credential, "hidden");
        assert!(!appliance.text("card/perch.toml").contains("hidden"));
    }
}

#[test]
fn a_network_cameras_password_leaves_the_card_too() {
    let appliance = Appliance::new("camera");
    let text = "[[camera]]\nname = 'a'\nsource = 'rtsp://me:hidden@cam/1'\n[[camera]]\nname = 'b'\nsource = 'test'\n";
    let source = |config: &Config| String::from(config.camera.first().source.clone());
    for card in [Some(text), None] {
        let (config, notice) = appliance.start(card);
        assert_eq!((source(&config), &*notice), ("rtsp://me:hidden@cam/1".into(), ""));
        assert_eq!(appliance.text("card/perch.toml"), text.replace("hidden", "******"));
    }
    // The same for one camera alone, whose stars stand for another's password.
    let (_, notice) = appliance.start(Some("[camera]\nsource = 'rtsp://me:***@other/1'\n"));
    assert!(notice.contains("rtsp://me:***@other/1") && notice.contains("write it again"), "{notice}");
}
