//! What can be set on a device: its controls, with ranges, menus and flags.
//!
//! A value is checked against what the driver says before the driver is asked, so that the message can say what is
//! allowed. See [User Controls](https://docs.kernel.org/userspace-api/media/v4l/control.html).

use std::io;
use std::path::{Path, PathBuf};

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::device::Device;
use super::ioctl::{ioctl, zeroed};
use super::node::{Node, explain, text};

/// The most controls and menu entries that are read: some drivers never end their lists.
const MOST_ENTRIES: usize = 512;

/// A control's number, `V4L2_CID_…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlId(pub u32);

/// How a control's value is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A number from `minimum` to `maximum`.
    Integer,
    /// 0 or 1.
    Boolean,
    /// One of these.
    Menu(Vec<MenuItem>),
    /// Writing anything makes something happen.
    Button,
    /// Bits.
    Bitmask,
    /// Something that perch does not set (text, arrays, structures).
    Other,
}

/// An entry of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MenuItem {
    /// The control's value.
    pub value: i64,
    /// The driver's words for it, or its number.
    pub name: String,
}

/// One control as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its number.
    pub id: ControlId,
    /// The driver's name for it, such as `Brightness`.
    pub name: String,
    /// How its value is meant.
    pub kind: ControlKind,
    /// Lowest value.
    pub minimum: i64,
    /// Highest value.
    pub maximum: i64,
    /// Distance between values, from `minimum` on.
    pub step: u64,
    /// The value that the driver begins with.
    pub default: i64,
    /// Cannot be set.
    pub is_read_only: bool,
    /// Has no effect now, for instance because an automatic mode is on; may be set all the same.
    pub is_inactive: bool,
    /// Cannot be set now, for instance while the device streams.
    pub is_grabbed: bool,
}

impl Control {
    /// The value that the driver takes and that is nearest to `wish`.
    #[must_use]
    pub fn nearest(&self, wish: i64) -> i64 {
        let step = i64::try_from(self.step.max(1)).unwrap_or(i64::MAX);
        let wish = wish.clamp(self.minimum, self.maximum);
        let steps = wish.saturating_sub(self.minimum).saturating_add(step / 2) / step;
        let value = self.minimum.saturating_add(steps.saturating_mul(step));
        if value > self.maximum { value - step } else { value }
    }

    /// Why `value` cannot be set, if it cannot.
    fn objection(&self, value: i64) -> Option<String> {
        if self.is_read_only {
            return Some("it is read-only".into());
        }
        if self.is_grabbed {
            return Some("it cannot be changed now (the device is in use): stop the stream first".into());
        }
        match &self.kind {
            ControlKind::Other => Some("its values are of a kind that perch does not set".into()),
            ControlKind::Button => None,
            ControlKind::Menu(items) if !items.iter().any(|item| item.value == value) => {
                let choices: Vec<_> = items.iter().map(|item| format!("{} ({})", item.value, item.name)).collect();
                Some(format!("{value} is not one of {}", choices.join(", ")))
            }
            _ if !(self.minimum..=self.maximum).contains(&value) => {
                Some(format!("{value} is out of range: {} to {}", self.minimum, self.maximum))
            }
            ControlKind::Integer if self.nearest(value) != value => {
                Some(format!("{value} is not a multiple of {} from {} on", self.step, self.minimum))
            }
            _ => None,
        }
    }
}

/// Why a control was not read or set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: control `{control}`: {problem}", path.display())]
pub struct ControlError {
    path: PathBuf,
    control: String,
    problem: String,
    /// The device has no such control.
    pub is_absent: bool,
}

/// The controls of an open device.
pub struct Controls<'a>(&'a Node);

impl Device {
    /// What can be set on the camera.
    #[must_use]
    pub const fn controls(&self) -> Controls<'_> {
        Controls(self.node())
    }
}

impl<'a> Controls<'a> {
    pub(super) const fn new(node: &'a Node) -> Self {
        Self(node)
    }

    /// All controls, in the driver's order, without the headings between them.
    #[must_use]
    pub fn list(&self) -> Vec<Control> {
        let mut controls = Vec::new();
        let mut last = 0;
        for _ in 0..MOST_ENTRIES {
            let Ok(raw) = query(self.0, last | V4L2_CTRL_FLAG_NEXT_CTRL) else { break };
            if raw.id <= last {
                break;
            }
            last = raw.id;
            if raw.type_ != v4l2_ctrl_type_V4L2_CTRL_TYPE_CTRL_CLASS && raw.flags & V4L2_CTRL_FLAG_DISABLED == 0 {
                controls.push(self.describe(&raw));
            }
        }
        controls
    }

    /// One control; `None` if the device has no such.
    #[must_use]
    pub fn find(&self, id: ControlId) -> Option<Control> {
        let raw = query(self.0, id.0).ok()?;
        (raw.flags & V4L2_CTRL_FLAG_DISABLED == 0).then(|| self.describe(&raw))
    }

    /// The control that the driver calls `name`; `None` if the device has no such.
    #[must_use]
    pub fn find_named(&self, name: &str) -> Option<Control> {
        self.list().into_iter().find(|control| control.name == name)
    }

    /// The value that a control has now.
    ///
    /// # Errors
    /// When the device has no such control, or does not tell.
    pub fn get(&self, id: ControlId) -> Result<i64, ControlError> {
        let mut control = v4l2_control { id: id.0, value: 0 };
        // SAFETY: the structure that VIDIOC_G_CTRL reads and fills.
        unsafe { ioctl(self.0.fd(), vidioc::VIDIOC_G_CTRL, &mut control) }.map_err(|error| self.refused(id, &error))?;
        Ok(control.value.into())
    }

    /// Sets a control, after checking that the driver can take the value.
    ///
    /// # Errors
    /// When there is no such control, the value is out of its range, it is read-only, or the driver refuses. The
    /// message names the device and the control and says what is allowed.
    pub fn set(&self, id: ControlId, value: i64) -> Result<(), ControlError> {
        let Some(control) = self.find(id) else { return Err(self.absent(id)) };
        if let Some(problem) = control.objection(value) {
            return Err(self.error(control.name, problem));
        }
        let Ok(narrow) = i32::try_from(value) else {
            return Err(self.error(control.name, format!("{value} is larger than a control's value can be")));
        };
        let mut raw = v4l2_control { id: id.0, value: narrow };
        // SAFETY: the structure that VIDIOC_S_CTRL reads and fills.
        unsafe { ioctl(self.0.fd(), vidioc::VIDIOC_S_CTRL, &mut raw) }.map_err(|error| self.refused(id, &error))
    }

    fn describe(&self, raw: &v4l2_query_ext_ctrl) -> Control {
        // The kernel's names are bytes, whatever sign C gives them.
        let name = raw.name.map(|character| character as u8);
        #[expect(non_upper_case_globals, reason = "the kernel's names")]
        let kind = match raw.type_ {
            v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER => ControlKind::Integer,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN => ControlKind::Boolean,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON => ControlKind::Button,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK => ControlKind::Bitmask,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU | v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => {
                ControlKind::Menu(self.menu(raw))
            }
            _ => ControlKind::Other,
        };
        Control {
            id: ControlId(raw.id),
            name: text(&name),
            kind,
            minimum: raw.minimum,
            maximum: raw.maximum,
            step: raw.step,
            default: raw.default_value,
            is_read_only: raw.flags & V4L2_CTRL_FLAG_READ_ONLY != 0,
            is_inactive: raw.flags & V4L2_CTRL_FLAG_INACTIVE != 0,
            is_grabbed: raw.flags & V4L2_CTRL_FLAG_GRABBED != 0,
        }
    }

    fn menu(&self, raw: &v4l2_query_ext_ctrl) -> Vec<MenuItem> {
        let item = |index: i64| {
            // SAFETY: a plain C structure of numbers and a union of such.
            let mut entry: v4l2_querymenu = unsafe { zeroed() };
            entry.id = raw.id;
            entry.index = u32::try_from(index).ok()?;
            // SAFETY: the structure that VIDIOC_QUERYMENU fills. Entries that are left out are refused.
            unsafe { ioctl(self.0.fd(), vidioc::VIDIOC_QUERYMENU, &mut entry) }.ok()?;
            let name = if raw.type_ == v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU {
                // SAFETY: both members are plain numbers; a menu of integers fills `value`.
                unsafe { entry.__bindgen_anon_1.value }.to_string()
            } else {
                // SAFETY: as above; a menu of names fills `name`. The structure is packed, so the array is copied.
                text(&unsafe { entry.__bindgen_anon_1.name })
            };
            Some(MenuItem { value: index, name })
        };
        (raw.minimum.max(0)..=raw.maximum).take(MOST_ENTRIES).filter_map(item).collect()
    }

    fn error(&self, control: String, problem: String) -> ControlError {
        ControlError { path: self.0.path().to_owned(), control, problem, is_absent: false }
    }

    fn absent(&self, id: ControlId) -> ControlError {
        let problem = "the device has no such control".to_owned();
        ControlError { is_absent: true, ..self.error(format!("{:#010x}", id.0), problem) }
    }

    fn refused(&self, id: ControlId, error: &io::Error) -> ControlError {
        match self.find(id) {
            None => self.absent(id),
            // The camera's own refusal, not a question of rights.
            Some(control) if control.is_inactive && error.raw_os_error() == Some(libc::EACCES) => {
                self.error(control.name, "it is inactive: an automatic mode is on".to_owned())
            }
            Some(control) => self.error(control.name, explain(error)),
        }
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

fn query(node: &Node, id: u32) -> io::Result<v4l2_query_ext_ctrl> {
    // SAFETY: a plain C structure of numbers and arrays.
    let mut raw: v4l2_query_ext_ctrl = unsafe { zeroed() };
    raw.id = id;
    // SAFETY: the structure that VIDIOC_QUERY_EXT_CTRL reads and fills.
    unsafe { ioctl(node.fd(), vidioc::VIDIOC_QUERY_EXT_CTRL, &mut raw) }?;
    Ok(raw)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A number control as a driver would describe it.
    pub(crate) fn integer(id: ControlId, (minimum, maximum): (i64, i64), step: u64) -> Control {
        Control {
            id,
            name: "Brightness".into(),
            kind: ControlKind::Integer,
            minimum,
            maximum,
            step,
            default: minimum,
            is_read_only: false,
            is_inactive: false,
            is_grabbed: false,
        }
    }

    #[test]
    fn the_nearest_value_is_in_range_and_on_a_step() {
        let bitrate = integer(ControlId(1), (25_000, 25_000_000), 25_000);
        assert_eq!(bitrate.nearest(1_234_567), 1_225_000);
        assert_eq!(bitrate.nearest(1_240_000), 1_250_000);
        assert_eq!((bitrate.nearest(0), bitrate.nearest(i64::MAX)), (25_000, 25_000_000));
        let odd = integer(ControlId(1), (0, 10), 4);
        assert_eq!((odd.nearest(10), odd.nearest(5)), (8, 4), "10 is no multiple of 4");
        assert_eq!(integer(ControlId(1), (-5, 5), 0).nearest(3), 3, "a step of 0 is one of 1");
        // Drivers may say anything; arithmetic must not overflow over it.
        let _ = integer(ControlId(1), (i64::MIN, i64::MAX), u64::MAX).nearest(i64::MAX);
    }

    #[test]
    fn an_objection_says_what_is_allowed() {
        let brightness = integer(ControlId(1), (-64, 64), 8);
        assert_eq!(brightness.objection(64), None);
        assert_eq!(brightness.objection(99).unwrap(), "99 is out of range: -64 to 64");
        assert_eq!(brightness.objection(3).unwrap(), "3 is not a multiple of 8 from -64 on");
        let fixed = Control { is_read_only: true, ..brightness.clone() };
        assert_eq!(fixed.objection(0).unwrap(), "it is read-only");
        let busy = Control { is_grabbed: true, ..brightness.clone() };
        assert!(busy.objection(0).unwrap().contains("stop the stream"));
        let off = Control { is_inactive: true, ..brightness };
        assert_eq!(off.objection(0), None, "an inactive control keeps the value for later");
    }

    #[test]
    fn an_objection_to_a_menu_lists_its_entries() {
        let items = [(0, "Disabled"), (2, "60 Hz")].map(|(value, name)| MenuItem { value, name: name.into() });
        let menu = Control { kind: ControlKind::Menu(items.into()), ..integer(ControlId(1), (0, 2), 1) };
        assert_eq!(menu.objection(2), None);
        assert_eq!(menu.objection(1).unwrap(), "1 is not one of 0 (Disabled), 2 (60 Hz)");
    }

    #[test]
    fn a_button_takes_anything_and_other_kinds_nothing() {
        let button = Control { kind: ControlKind::Button, ..integer(ControlId(1), (0, 0), 0) };
        assert_eq!(button.objection(1), None);
        assert!(Control { kind: ControlKind::Other, ..button }.objection(0).is_some());
    }
}
