use super::*;
use std::fs;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 2));
const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8));
const WINDOW: Duration = Duration::from_secs(900);
const PASSWORD: &str = "a heron at dusk";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("perch-door-{:016x}", rand::random::<u64>())))
    }
    fn door(&self) -> Door {
        Door::new(Some(&self.0), WINDOW)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn claimed(door: &Door) -> String {
    door.claim(PASSWORD, HOME, "browser").unwrap_or_else(|error| panic!("{error}")).secret
}

fn refusal<T>(result: Result<T, Refused>) -> String {
    result.map(drop).expect_err("a refusal").to_string()
}

#[test]
fn a_claim_makes_the_first_comer_the_owner_and_nobody_after() {
    let folder = Folder::new();
    let door = folder.door();
    assert!(matches!(door.standing(), Standing::Unclaimed(Some(_))));
    assert!(refusal(door.log_in(Role::Owner, PASSWORD, HOME, "")).contains("no owner yet"));
    assert!(refusal(door.claim("short", HOME, "")).contains("too short"));
    assert!(refusal(door.claim(PASSWORD, FAR, "")).contains("own network"));
    let secret = claimed(&door);
    assert!(door.who(Some(&secret), None).unwrap().may(Scope::Admin));
    assert!(refusal(door.claim("another good one", HOME, "")).contains("owner already"));
    assert_eq!(door.standing(), Standing::Claimed);
}

#[test]
fn a_closed_window_opens_by_the_button_and_by_the_command_line() {
    let folder = Folder::new();
    let door = Door::new(Some(&folder.0), Duration::ZERO);
    assert!(refusal(door.claim(PASSWORD, HOME, "")).contains("is over"));
    folder.door().set_password(Role::Owner, PASSWORD).unwrap();
    assert_eq!(door.standing(), Standing::Claimed);
    assert!(door.log_in(Role::Owner, PASSWORD, HOME, "").is_ok());
}

#[test]
fn accounts_tokens_and_sessions_outlive_a_restart() {
    let folder = Folder::new();
    let door = folder.door();
    let secret = claimed(&door);
    let (token, _) = door.add_token("recorder", Scope::View).unwrap();
    drop(door);
    let door = folder.door();
    assert_eq!(door.standing(), Standing::Claimed);
    assert!(door.who(Some(&secret), None).is_some());
    assert_eq!(door.who(None, Some(&token)).unwrap().scope, Scope::View);
    assert!(door.log_in(Role::Owner, PASSWORD, HOME, "").is_ok());
}

#[test]
fn wrong_passwords_run_out_and_a_session_goes_on() {
    let folder = Folder::new();
    let door = folder.door();
    let secret = claimed(&door);
    for _ in 0..4 {
        assert!(refusal(door.log_in(Role::Owner, "wrong, quite wrong", FAR, "")).contains("is wrong"));
    }
    assert!(refusal(door.log_in(Role::Viewer, "wrong, quite wrong", FAR, "")).contains("is wrong"));
    assert!(refusal(door.log_in(Role::Owner, PASSWORD, FAR, "")).contains("try again in "));
    assert!(door.who(Some(&secret), None).is_some());
    assert!(door.log_in(Role::Owner, PASSWORD, HOME, "").is_ok(), "another address is not held back");
}

#[test]
fn what_is_taken_back_is_gone_at_once_in_the_running_process_too() {
    let folder = Folder::new();
    let running = folder.door();
    let secret = claimed(&running);
    let (token, id) = running.add_token("recorder", Scope::Control).unwrap();
    let who = running.who(None, Some(&token)).unwrap().who;
    assert!(folder.door().revoke_token(&id).unwrap());
    assert!(running.who(None, Some(&token)).is_none() && !running.knows(&who));
    folder.door().set_password(Role::Owner, "another good one").unwrap();
    assert!(running.who(Some(&secret), None).is_none());
    assert!(running.log_in(Role::Owner, "another good one", HOME, "").is_ok());
}

#[test]
fn a_reset_opens_the_window_of_the_running_process() {
    let folder = Folder::new();
    let running = folder.door();
    let secret = claimed(&running);
    folder.door().reset().unwrap();
    assert!(running.who(Some(&secret), None).is_none());
    assert!(matches!(running.standing(), Standing::Unclaimed(Some(_))));
}

#[test]
fn a_state_that_cannot_be_read_lets_nobody_in_until_it_is_mended() {
    let folder = Folder::new();
    let door = folder.door();
    let secret = claimed(&door);
    let file = door.path().unwrap();
    let copy = file.with_extension("json.copy");
    let good = fs::read(&file).unwrap();
    fs::write(&copy, "x").unwrap();
    fs::write(&file, "x").unwrap();
    assert_eq!(door.standing(), Standing::Broken);
    assert!(door.who(Some(&secret), None).is_none());
    assert!(refusal(door.claim(PASSWORD, HOME, "")).contains("cannot be read"));
    assert!(refusal(door.log_in(Role::Owner, PASSWORD, HOME, "")).contains("cannot be read"));
    fs::write(&file, good).unwrap();
    assert!(door.who(Some(&secret), None).is_some());
}

#[test]
fn a_change_that_cannot_be_saved_does_not_happen() {
    let folder = Folder::new();
    let door = folder.door();
    claimed(&door);
    fs::create_dir(folder.0.join(".auth.json.new")).unwrap();
    assert!(refusal(door.add_token("x", Scope::View)).contains("could not be saved"));
    assert!(door.tokens().is_empty());
}

#[test]
fn without_a_folder_the_door_locks_for_as_long_as_it_runs() {
    let door = Door::new(None, WINDOW);
    let secret = claimed(&door);
    assert!(door.who(Some(&secret), None).is_some() && door.who(Some("wrong"), None).is_none());
}
