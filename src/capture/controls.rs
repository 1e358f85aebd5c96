//! What the owner may set about the picture of a libcamera camera, and what each setting asks of it.
//!
//! What a camera allows is known only once it is open, so values are checked twice: here for what can never be
//! right, and against the camera's own ranges by [`Range::check`], which names the key, the value and the range.
//! How libcamera is told belongs to `capture::libcamera`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::tuning::Value;

/// The `[camera.controls]` section. What is not set is the camera's own affair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Controls {
    /// Exposure time in microseconds; automatic when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposure_us: Option<i32>,
    /// Analogue gain, 1 being none; automatic when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<f64>,
    /// White balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awb: Option<Awb>,
    /// Brightness, usually -1 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
    /// Contrast, 1 being unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f64>,
    /// Saturation, 1 being unchanged and 0 grey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<f64>,
    /// Sharpness, 1 being the camera's normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<f64>,
    /// Noise reduction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_reduction: Option<NoiseReduction>,
    /// Autofocus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autofocus: Option<Autofocus>,
    /// Where the lens stands, in dioptres: 0 is infinity, 2 is half a metre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lens_position: Option<f64>,
    /// The part of the sensor that is shown, in the sensor's pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
}

/// White balance: the light that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Awb {
    Auto,
    Incandescent,
    Tungsten,
    Fluorescent,
    Indoor,
    Daylight,
    Cloudy,
    /// As the camera is, for ever.
    Off,
}

/// How hard noise is fought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum NoiseReduction {
    Off,
    Fast,
    HighQuality,
    Minimal,
}

/// When the lens moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autofocus {
    /// Never, but to `lens_position`.
    Manual,
    /// Once, at the start.
    Once,
    /// Whenever the picture is out of focus.
    Continuous,
}

/// A part of the sensor, written `X,Y,WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Crop {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl FromStr for Crop {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("`{text}` is no part of a sensor: write X,Y,WIDTHxHEIGHT, as in `0,0,2304x1296`");
        let parse = || {
            let (x, rest) = text.split_once(',')?;
            let (y, size) = rest.split_once(',')?;
            let (width, height) = size.split_once('x')?;
            let edge = |text: &str| text.trim().parse::<i32>().ok().filter(|edge| *edge >= 0);
            let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| (1..=65_535).contains(side));
            Some(Self { x: edge(x)?, y: edge(y)?, width: side(width)?, height: side(height)? })
        };
        parse().ok_or_else(error)
    }
}

impl TryFrom<String> for Crop {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Crop> for String {
    fn from(crop: Crop) -> Self {
        crop.to_string()
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}x{}", self.x, self.y, self.width, self.height)
    }
}

/// A way in which the sensor can be read, written `WIDTHxHEIGHT:BITS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SensorMode {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bits per pixel.
    pub bit_depth: u32,
}

impl FromStr for SensorMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (size, bits) = text.split_once(':')?;
            let (width, height) = size.split_once('x')?;
            let within = |text: &str, most| text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
            Some(Self { width: within(width, 65_535)?, height: within(height, 65_535)?, bit_depth: within(bits, 24)? })
        };
        parse().ok_or_else(|| {
            format!(
                "`{text}` is no sensor mode: write WIDTHxHEIGHT:BITS, as in `2304x1296:10`; `perch probe` lists them"
            )
        })
    }
}

impl TryFrom<String> for SensorMode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SensorMode> for String {
    fn from(mode: SensorMode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for SensorMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}:{}", self.width, self.height, self.bit_depth)
    }
}

/// What one key asks of the camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    /// A number within the control's range.
    Number(f64),
    /// One of the control's choices, by libcamera's number for it, and the owner's word.
    Choice(i32, &'static str),
    /// A part of the sensor.
    Area(Crop),
}

impl Controls {
    /// Checks what no camera could do: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value can never be right.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        for (key, value) in self.numbers() {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err((key, "is no finite number".to_owned()));
            }
        }
        if let Some(exposure_us) = self.exposure_us.filter(|value| *value < 1) {
            return Err(("exposure_us", format!("{exposure_us} is out of range: 1 or more microseconds")));
        }
        if let Some(gain) = self.gain.filter(|value| *value <= 0.0) {
            return Err(("gain", format!("{gain} is out of range: more than 0")));
        }
        let moves = self.autofocus.is_some_and(|autofocus| autofocus != Autofocus::Manual);
        if self.lens_position.is_some() && moves {
            return Err(("lens_position", "the lens has no fixed position while `autofocus` moves it".to_owned()));
        }
        Ok(())
    }

    fn numbers(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("gain", self.gain),
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
            ("sharpness", self.sharpness),
            ("lens_position", self.lens_position),
        ]
    }

    /// The same with `key` set to `value`, or not set. [`validate`](Self::validate) tells whether the whole can be.
    ///
    /// # Errors
    /// When there is no such key, or it takes no such value: says which.
    pub fn with(&self, key: &str, value: Option<&Value>) -> Result<Self, String> {
        let mut set = self.set();
        match value {
            Some(value) => drop(set.insert(key.to_owned(), serde_json::json!(value))),
            None => drop(set.remove(key)),
        }
        serde_json::from_value(set.into()).map_err(|error| format!("control `{key}`: {error}"))
    }

    /// The value of `key`, if it is set.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value> {
        Value::deserialize(self.set().get(key)?).ok()
    }

    /// The keys that are set.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.set().into_iter().map(|(key, _)| key).collect()
    }

    fn set(&self) -> Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(set)) => set,
            _ => Map::new(),
        }
    }

    /// What is set, by key.
    #[must_use]
    pub fn wishes(&self) -> Vec<(&'static str, Wish)> {
        let mut wishes = Vec::new();
        let exposure = self.exposure_us.map(f64::from);
        let numbers = std::iter::once(("exposure_us", exposure)).chain(self.numbers());
        wishes.extend(numbers.filter_map(|(key, value)| Some((key, Wish::Number(value?)))));
        wishes.extend(self.awb.and_then(Awb::choice).map(|choice| ("awb", choice)));
        wishes.extend(self.noise_reduction.map(|value| ("noise_reduction", value.choice())));
        wishes.extend(self.autofocus.map(|value| ("autofocus", value.choice())));
        wishes.extend(self.crop.map(|value| ("crop", Wish::Area(value))));
        wishes
    }
}

// The numbers are libcamera's: `AwbMode`, `NoiseReductionMode` and `AfMode` of control_ids_core.yaml and
// control_ids_draft.yaml. They are part of its interface and do not change.

impl Awb {
    /// The mode, or none where it is off.
    const fn choice(self) -> Option<Wish> {
        Some(match self {
            Self::Auto => Wish::Choice(0, "auto"),
            Self::Incandescent => Wish::Choice(1, "incandescent"),
            Self::Tungsten => Wish::Choice(2, "tungsten"),
            Self::Fluorescent => Wish::Choice(3, "fluorescent"),
            Self::Indoor => Wish::Choice(4, "indoor"),
            Self::Daylight => Wish::Choice(5, "daylight"),
            Self::Cloudy => Wish::Choice(6, "cloudy"),
            Self::Off => return None,
        })
    }
}

impl NoiseReduction {
    const fn choice(self) -> Wish {
        match self {
            Self::Off => Wish::Choice(0, "off"),
            Self::Fast => Wish::Choice(1, "fast"),
            Self::HighQuality => Wish::Choice(2, "high_quality"),
            Self::Minimal => Wish::Choice(3, "minimal"),
        }
    }
}

impl Autofocus {
    const fn choice(self) -> Wish {
        match self {
            Self::Manual => Wish::Choice(0, "manual"),
            Self::Once => Wish::Choice(1, "once"),
            Self::Continuous => Wish::Choice(2, "continuous"),
        }
    }
}

/// The words that `key` can have, each with libcamera's number for it; none where it is no choice.
#[must_use]
pub fn words(key: &str) -> Vec<(i32, &'static str)> {
    let choices = match key {
        "awb" => {
            [Awb::Auto, Awb::Incandescent, Awb::Tungsten, Awb::Fluorescent, Awb::Indoor, Awb::Daylight, Awb::Cloudy]
                .map(Awb::choice)
                .into()
        }
        "noise_reduction" => {
            [NoiseReduction::Off, NoiseReduction::Minimal, NoiseReduction::Fast, NoiseReduction::HighQuality]
                .map(|mode| Some(mode.choice()))
                .into()
        }
        "autofocus" => {
            [Autofocus::Manual, Autofocus::Once, Autofocus::Continuous].map(|mode| Some(mode.choice())).into()
        }
        _ => Vec::new(),
    };
    let word = |choice| match choice {
        Some(Wish::Choice(number, word)) => Some((number, word)),
        _ => None,
    };
    choices.into_iter().filter_map(word).collect()
}

/// What a camera allows for one control.
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// From least to most.
    Numbers(f64, f64),
    /// These of libcamera's numbers.
    Choices(Vec<i32>),
    /// Within this part of the sensor.
    Within(Crop),
    /// It has no such control.
    Missing,
}

impl Range {
    /// Whether the camera called `camera` can do what `key` asks.
    ///
    /// # Errors
    /// When not: names the key, the value, and what would be right.
    pub fn check(&self, camera: &str, key: &str, wish: &Wish) -> Result<(), String> {
        let key = format!("camera.controls.{key}");
        match (self, wish) {
            (Self::Numbers(least, most), Wish::Number(value)) if !(*least..=*most).contains(value) => {
                Err(format!("`{key}`: {value} is out of range: {camera} takes {least} to {most}"))
            }
            (Self::Choices(choices), Wish::Choice(number, word)) if !choices.contains(number) => {
                Err(format!("`{key}`: {camera} does not know `{word}`"))
            }
            (Self::Within(most), Wish::Area(crop)) if !most.holds(*crop) => {
                Err(format!("`{key}`: {crop} is out of range: {camera} has {most}"))
            }
            (Self::Missing, _) => Err(format!("`{key}`: {camera} has no such control")),
            (Self::Numbers(..), Wish::Number(_))
            | (Self::Choices(_), Wish::Choice(..))
            | (Self::Within(_), Wish::Area(_)) => Ok(()),
            _ => Err(format!("`{key}`: {camera} has a control of that name for something else")),
        }
    }
}

impl Crop {
    /// Whether `inner` lies in this.
    pub(super) fn holds(self, inner: Self) -> bool {
        let end = |start: i32, length: u32| i64::from(start) + i64::from(length);
        inner.x >= self.x
            && inner.y >= self.y
            && end(inner.x, inner.width) <= end(self.x, self.width)
            && end(inner.y, inner.height) <= end(self.y, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_asks_nothing() {
        assert_eq!(Controls::default().wishes(), []);
    }

    #[test]
    fn every_key_asks_for_itself() {
        let text = "exposure_us = 10000\ngain = 2\nawb = \"cloudy\"\nbrightness = 0.1\ncontrast = 1.1\nsaturation = 0\n\
            sharpness = 2.0\nnoise_reduction = \"high_quality\"\nautofocus = \"manual\"\nlens_position = 2\n\
            crop = \"8,16,640x480\"";
        let controls: Controls = toml::from_str(text).unwrap();
        assert_eq!(controls.validate(), Ok(()));
        let wishes = controls.wishes();
        assert_eq!(wishes.len(), text.lines().count());
        assert!(wishes.contains(&("awb", Wish::Choice(6, "cloudy"))));
        assert!(wishes.contains(&("exposure_us", Wish::Number(10_000.0))));
        assert!(wishes.contains(&("crop", Wish::Area(Crop { x: 8, y: 16, width: 640, height: 480 }))));
    }

    #[test]
    fn what_no_camera_could_do_is_refused_by_key() {
        let bad = |text: &str| toml::from_str::<Controls>(text).unwrap().validate().unwrap_err().0;
        assert_eq!(bad("exposure_us = 0"), "exposure_us");
        assert_eq!(bad("gain = 0"), "gain");
        assert_eq!(bad("contrast = nan"), "contrast");
        assert_eq!(bad("lens_position = 1\nautofocus = \"continuous\""), "lens_position");
    }

    #[test]
    fn one_key_is_changed_and_the_others_stay() {
        let controls = Controls { gain: Some(2.0), ..Controls::default() };
        let with = |key: &str, value: Value| controls.with(key, Some(&value));
        let more = with("awb", Value::Text("cloudy".into())).unwrap();
        assert_eq!(more, Controls { awb: Some(Awb::Cloudy), ..controls.clone() });
        assert_eq!(
            (more.value("awb"), more.keys()),
            (Some(Value::Text("cloudy".into())), vec!["awb".into(), "gain".into()])
        );
        assert_eq!(with("gain", Value::Integer(3)).unwrap().gain, Some(3.0));
        assert_eq!(controls.with("gain", None), Ok(Controls::default()));
        let refused = |key: &str, value: Value| with(key, value).unwrap_err();
        assert!(refused("awb", Value::Text("moonlight".into())).contains("control `awb`: unknown variant `moonlight`"));
        assert!(refused("hue", Value::Integer(1)).contains("unknown field `hue`"));
        assert!(refused("exposure_us", Value::Number(0.5)).contains("control `exposure_us`"));
    }

    #[test]
    fn the_words_of_a_choice_are_those_that_it_takes() {
        for key in ["awb", "noise_reduction", "autofocus"] {
            for (number, word) in words(key) {
                let controls = Controls::default().with(key, Some(&Value::Text(word.into()))).unwrap();
                assert!(controls.wishes().contains(&(key, Wish::Choice(number, word))), "{key} {word}");
            }
        }
        assert_eq!((words("awb").len(), words("gain").len()), (7, 0));
    }

    #[test]
    fn an_error_names_key_value_and_range() {
        let gain = Range::Numbers(1.0, 16.0).check("imx708", "gain", &Wish::Number(99.0)).unwrap_err();
        assert_eq!(gain, "`camera.controls.gain`: 99 is out of range: imx708 takes 1 to 16");
        let awb = Range::Choices(vec![0, 5]).check("imx708", "awb", &Wish::Choice(6, "cloudy")).unwrap_err();
        assert_eq!(awb, "`camera.controls.awb`: imx708 does not know `cloudy`");
        let most = Crop { x: 0, y: 0, width: 4608, height: 2592 };
        let crop = Crop { x: 4000, y: 0, width: 640, height: 480 };
        let crop = Range::Within(most).check("imx708", "crop", &Wish::Area(crop)).unwrap_err();
        assert_eq!(crop, "`camera.controls.crop`: 4000,0,640x480 is out of range: imx708 has 0,0,4608x2592");
        let missing = Range::Missing.check("imx219", "autofocus", &Wish::Choice(2, "continuous")).unwrap_err();
        assert!(missing.contains("no such control"), "{missing}");
    }

    #[test]
    fn what_the_camera_allows_is_allowed() {
        for (range, wish) in [
            (Range::Numbers(1.0, 16.0), Wish::Number(16.0)),
            (Range::Choices(vec![0, 5]), Wish::Choice(5, "daylight")),
            (
                Range::Within(Crop { x: 0, y: 0, width: 64, height: 64 }),
                Wish::Area(Crop { x: 0, y: 32, width: 64, height: 32 }),
            ),
        ] {
            assert_eq!(range.check("camera", "key", &wish), Ok(()));
        }
    }

    #[test]
    fn areas_and_modes_are_written_as_they_are_read() {
        assert_eq!("0,8,640x480".parse::<Crop>().unwrap().to_string(), "0,8,640x480");
        assert_eq!("2304x1296:10".parse::<SensorMode>().unwrap().to_string(), "2304x1296:10");
        for bad in ["", "1,2", "-1,0,2x2", "0,0,0x2", "0,0,2x2x2", "a,b,cxd", "0,0,99999999x1"] {
            assert!(bad.parse::<Crop>().is_err(), "{bad}");
        }
        for bad in ["", "2304x1296", "2304x1296:0", "2304x1296:99", "x:10"] {
            assert!(bad.parse::<SensorMode>().is_err(), "{bad}");
        }
    }
}
