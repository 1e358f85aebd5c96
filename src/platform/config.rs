//! What the owner may set about the pins of a Raspberry Pi.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Highest GPIO number of the 40-pin header.
const HIGHEST: u8 = 27;

/// The `[gpio]` section. Numbers are those of the chip (BCM), not of the header's pins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpioConfig {
    /// A light that says what perch does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_led: Option<u8>,
    /// A button between this pin and ground.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<u8>,
    /// A motion sensor whose output is high while something moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pir: Option<u8>,
    /// A switch for infrared lights, high is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ir_led: Option<u8>,
    /// A switch for the camera's infrared filter, high is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ir_cut: Option<u8>,
    /// Whether infrared is used: lights on and filter removed.
    pub infrared: bool,
    /// A program that is run, without a shell and without arguments, when the button is held for ten seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factory_reset: Option<PathBuf>,
}

impl GpioConfig {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a pin does not exist or is used twice, or the program's path is not absolute.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let mut used: Vec<(u8, &str)> = Vec::new();
        for (key, pin) in self.pins() {
            if pin > HIGHEST {
                return Err((key, format!("{pin} is out of range: 0 to {HIGHEST} (numbers of the chip, BCM)")));
            }
            if let Some((_, other)) = used.iter().find(|(taken, _)| *taken == pin) {
                return Err((key, format!("{pin} is `gpio.{other}` already")));
            }
            used.push((pin, key));
        }
        match &self.factory_reset {
            Some(program) if !program.is_absolute() => Err(("factory_reset", "must be an absolute path".into())),
            _ => Ok(()),
        }
    }

    /// Whether any pin is used.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.pins().next().is_some()
    }

    fn pins(&self) -> impl Iterator<Item = (&'static str, u8)> {
        let all = [
            ("status_led", self.status_led),
            ("button", self.button),
            ("pir", self.pir),
            ("ir_led", self.ir_led),
            ("ir_cut", self.ir_cut),
        ];
        all.into_iter().filter_map(|(key, pin)| Some((key, pin?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_that_do_not_exist_or_are_used_twice_are_refused() {
        let config = GpioConfig { status_led: Some(17), button: Some(17), ..GpioConfig::default() };
        assert_eq!(config.validate(), Err(("button", "17 is `gpio.status_led` already".into())));
        let config = GpioConfig { pir: Some(28), ..GpioConfig::default() };
        assert_eq!(config.validate().unwrap_err().0, "pir");
        let config = GpioConfig { factory_reset: Some("reset.sh".into()), ..GpioConfig::default() };
        assert_eq!(config.validate().unwrap_err().0, "factory_reset");
        let config = GpioConfig { status_led: Some(17), button: Some(27), ..GpioConfig::default() };
        assert_eq!((config.validate(), config.is_used(), GpioConfig::default().is_used()), (Ok(()), true, false));
    }
}
