//! What the owner may set about the appliance itself: its name, its place, the Wi-Fi it joins.
//!
//! perch only checks these settings when it serves; `provision` puts them into effect, on the appliance's image alone.

use serde::{Deserialize, Serialize};

/// The `[device]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// The name in the network, without `.local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The time zone, as in `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The country whose rules Wi-Fi keeps, two capital letters (ISO 3166-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The password of the access point that is there while there is no network; perch makes one when not set.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setup_password: String,
    /// The Wi-Fi networks to join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wifi: Vec<Wifi>,
}

/// One of `[[device.wifi]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wifi {
    /// The network's name.
    pub ssid: String,
    /// Its password; empty for an open network. Stars stand for one that was taken off the card.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
}

/// Most networks that may be named.
pub const MOST_NETWORKS: usize = 16;

impl Wifi {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// What is wrong: a name must have 1 to 32 bytes (IEEE 802.11), a password 8 to 63 characters (WPA).
    pub fn validate(&self) -> Result<(), String> {
        if self.ssid.is_empty() || self.ssid.len() > 32 {
            return Err("an `ssid` must have 1 to 32 bytes".into());
        }
        if self.password.is_empty() {
            return Ok(());
        }
        check_password(&self.password).map_err(|what| format!("the password of {:?} {what}", self.ssid))
    }

    /// Checks what somebody typed just now: nothing is kept that stars could stand for.
    ///
    /// # Errors
    /// What is wrong, as for [`validate`](Self::validate).
    pub fn validate_typed(&self) -> Result<(), String> {
        if is_blanked(&self.password) {
            return Err(format!("the password of {:?} is only stars", self.ssid));
        }
        self.validate()
    }
}

/// Stars pass: they stand for a password that was right.
fn check_password(password: &str) -> Result<(), &'static str> {
    if is_blanked(password) {
        return Ok(());
    }
    if !(8..=63).contains(&password.len()) {
        return Err("must have 8 to 63 characters");
    }
    if password.chars().any(char::is_control) {
        return Err("has characters that cannot be typed");
    }
    Ok(())
}

impl DeviceConfig {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a name is none (RFC 1123, section 2.1), a country or time zone cannot be one, or Wi-Fi could not be joined.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.hostname.as_deref().is_some_and(|name| !is_host_label(name)) {
            return Err(("hostname", "must be 1 to 63 letters, digits and hyphens, and no hyphen at an end".into()));
        }
        if self.time_zone.as_deref().is_some_and(|zone| !is_zone(zone)) {
            return Err(("time_zone", "must be a name like \"Europe/Berlin\"".into()));
        }
        if self.country.as_deref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()))
        {
            return Err(("country", "must be two capital letters, as in \"DE\"".into()));
        }
        if self.wifi.len() > MOST_NETWORKS {
            return Err(("wifi", format!("at most {MOST_NETWORKS} networks")));
        }
        if !self.setup_password.is_empty() {
            check_password(&self.setup_password).map_err(|what| ("setup_password", what.to_owned()))?;
        }
        self.wifi.iter().try_for_each(Wifi::validate).map_err(|what| ("wifi", what))
    }
}

/// Whether a secret is only the stars that stand for one.
#[must_use]
pub fn is_blanked(secret: &str) -> bool {
    !secret.is_empty() && secret.bytes().all(|byte| byte == b'*')
}

fn is_host_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Of the form of a name in the time zone database; nothing that would lead elsewhere as a path.
fn is_zone(zone: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    zone.len() <= 64 && zone.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let device = |text: &str| toml::from_str::<DeviceConfig>(text).unwrap().validate();
        for (text, key) in [
            ("hostname = 'a.b'", "hostname"),
            ("hostname = '-a'", "hostname"),
            ("time_zone = '../../etc/shadow'", "time_zone"),
            ("country = 'de'", "country"),
            ("wifi = [{ssid = ''}]", "wifi"),
            ("wifi = [{ssid = 'a', password = '1234567'}]", "wifi"),
            ("wifi = [{ssid = 'a', password = \"1234567\\n\"}]", "wifi"),
            ("setup_password = '1234567'", "setup_password"),
        ] {
            assert_eq!(device(text).map_err(|(key, _)| key), Err(key), "{text}");
        }
        assert_eq!(
            device("hostname = 'p-1'\ntime_zone = 'Etc/GMT+1'\nwifi = [{ssid = 'a', password = '***'}]"),
            Ok(())
        );
    }
}
