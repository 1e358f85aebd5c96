//! Which board this is.

/// The board's name for people, such as `Raspberry Pi 4 Model B Rev 1.5`; `None` where there is no device tree
/// (<https://www.kernel.org/doc/html/latest/devicetree/usage-model.html>).
#[must_use]
pub fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/device-tree/model").ok()?;
    Some(text.trim_end_matches('\0').to_owned()).filter(|model| !model.is_empty())
}
