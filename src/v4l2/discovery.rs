//! Which devices there are. A device is known by its driver and its name, never by its number: numbers change with
//! the order in which drivers load.

use std::fs;
use std::path::{Path, PathBuf};

use super::device::Device;
use super::formats::FormatInfo;
use super::m2m::M2mDevice;
use super::node::DeviceError;

/// Where device nodes are.
const DEV: &str = "/dev";

/// What `perch probe` shows of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device node.
    pub path: PathBuf,
    /// The driver's name.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// What it offers.
    pub formats: Vec<FormatInfo>,
}

/// The entries of `folder`, which is `/dev`, that are named like video devices, in order of their numbers.
#[must_use]
pub fn nodes(folder: &Path) -> Vec<PathBuf> {
    let mut nodes: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// All video devices: what they offer, or why they cannot be used.
#[must_use]
pub fn list() -> Vec<Result<DeviceInfo, DeviceError>> {
    let info = |path: PathBuf| {
        Device::open(&path).map(|device| DeviceInfo {
            formats: device.formats(),
            driver: device.driver().to_owned(),
            card: device.card().to_owned(),
            path,
        })
    };
    nodes(Path::new(DEV)).into_iter().map(info).collect()
}

/// A device that turns pictures into coded pictures, as [`encoders`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// The device node.
    pub path: PathBuf,
    /// The driver's name, such as `bcm2835-codec`.
    pub driver: String,
    /// The device's name.
    pub card: String,
    /// Formats that it takes.
    pub inputs: Vec<[u8; 4]>,
    /// Coded formats that it makes.
    pub coded: Vec<[u8; 4]>,
}

/// Stateful encoders that make `coded` from pictures, the Pi's own first, then in order of their numbers. Decoders and
/// scalers are of the same kind of device and are told apart by their formats.
#[must_use]
pub fn encoders(coded: [u8; 4]) -> Vec<EncoderInfo> {
    let info = |path: PathBuf| {
        let device = M2mDevice::open(&path).ok()?;
        let (inputs, outputs) = (device.input_formats(), device.coded_formats());
        let is_encoder = outputs.contains(&coded) && !inputs.is_empty() && !inputs.contains(&coded);
        is_encoder.then(|| EncoderInfo {
            driver: device.driver().to_owned(),
            card: device.card().to_owned(),
            inputs,
            coded: outputs,
            path,
        })
    };
    let mut found: Vec<_> = nodes(Path::new(DEV)).into_iter().filter_map(info).collect();
    found.sort_by_key(|encoder| !encoder.driver.starts_with("bcm2835-codec"));
    found
}
