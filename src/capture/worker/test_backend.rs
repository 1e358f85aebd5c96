//! The test picture in a worker, so that workers can be tried, killed and hung where there is no camera. It has a
//! control of each kind that a camera has; `brightness` and `colour` show in the picture.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::memory::OwnBuffer;
use super::message::{CameraInfo, Layout};
use super::serve::{Captured, LendingCamera, Waker, WorkerBackend};
use crate::base::clock::Timestamp;
use crate::capture::test_pattern::TestPattern;
use crate::capture::tuning::{Change, Control, ControlError, ControlKind, MenuItem, Value};
use crate::capture::{CameraSource as _, CaptureError, Config};
use crate::media::frame::{PixelFormat, packed_planes, packed_size};

/// As many as a camera has.
const BUFFERS: usize = 4;
/// When every buffer is lent, only a message changes that.
const LONG: Duration = Duration::from_secs(60);

/// The test picture as the only camera.
pub struct TestBackend;

impl WorkerBackend for TestBackend {
    fn list(&mut self) -> Result<Vec<CameraInfo>, CaptureError> {
        Ok(vec![CameraInfo {
            id: "test".into(),
            model: "the test picture".into(),
            formats: vec!["I420: any size".into()],
        }])
    }

    fn open(self: Box<Self>, config: &Config, _waker: Waker) -> Result<Box<dyn LendingCamera>, CaptureError> {
        config.validate().map_err(|(key, reason)| CaptureError::Unusable(format!("camera.{key}: {reason}")))?;
        let pattern = TestPattern::new(config.resolution, config.framerate);
        let buffers = (0..BUFFERS)
            .map(|_| OwnBuffer::new(pattern.buffer_size()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CaptureError::Unusable(format!("no memory for pictures: {error}")))?;
        let size = (config.resolution.width, config.resolution.height);
        Ok(Box::new(TestCamera {
            pattern,
            size,
            free: (0..BUFFERS).collect(),
            buffers,
            due_in: Duration::ZERO,
            knobs: Knobs::new(),
        }))
    }
}

struct TestCamera {
    pattern: TestPattern,
    size: (usize, usize),
    buffers: Vec<OwnBuffer>,
    free: Vec<usize>,
    due_in: Duration,
    knobs: Knobs,
}

impl LendingCamera for TestCamera {
    fn layout(&self) -> Layout {
        let (planes, count) = packed_planes(PixelFormat::I420, self.size, 0);
        Layout::new(self.pattern.describe(), PixelFormat::I420, self.size, &planes[..count])
    }

    fn buffers(&self) -> Vec<(BorrowedFd<'_>, usize)> {
        self.buffers.iter().map(|buffer| (buffer.as_fd(), buffer.length())).collect()
    }

    fn take(&mut self) -> Result<Option<Captured>, CaptureError> {
        if self.free.is_empty() {
            self.due_in = LONG;
            return Ok(None);
        }
        self.due_in = self.pattern.next_due();
        if !self.due_in.is_zero() {
            return Ok(None);
        }
        Ok(self.free.pop().map(|index| {
            let buffer = &mut self.buffers[index];
            let captured_at: Timestamp = self.pattern.draw_into(buffer.bytes_mut());
            self.knobs.apply(buffer.bytes_mut(), self.size);
            Captured { index, captured_at_ns: captured_at.as_nanos(), bytes_used: buffer.length() }
        }))
    }

    fn release(&mut self, index: usize) -> Result<(), CaptureError> {
        self.free.push(index);
        Ok(())
    }

    fn ask_again_in(&self) -> Duration {
        self.due_in
    }

    fn controls(&self) -> Vec<Control> {
        self.knobs.0.clone()
    }

    fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        self.knobs.change(changes)
    }
}

/// The controls and their values.
struct Knobs(Vec<Control>);

impl Knobs {
    fn new() -> Self {
        let knob = |key: &str, name: &str, kind, value: Value| Control {
            key: key.to_owned(),
            name: name.to_owned(),
            kind,
            value: Some(value.clone()),
            default: Some(value),
            is_read_only: false,
            is_inactive: false,
            is_changeable: true,
        };
        let word = |word: &str| Value::Text(word.to_owned());
        let item = |(value, name): (&str, &str)| MenuItem { value: word(value), name: name.to_owned() };
        let items = [("auto", "Auto"), ("daylight", "Daylight"), ("cloudy", "Cloudy")].map(item).into();
        let whole = |minimum, maximum, step| ControlKind::Integer { minimum, maximum, step };
        Self(vec![
            knob("brightness", "Brightness", ControlKind::Number { minimum: -1.0, maximum: 1.0 }, Value::Number(0.0)),
            knob("sharpness", "Sharpness", whole(0, 16, 2), Value::Integer(2)),
            knob("colour", "Colour", ControlKind::Boolean, Value::Boolean(true)),
            knob("awb", "White Balance", ControlKind::Menu { items }, word("auto")),
            Control { value: None, default: None, ..knob("focus", "Focus Once", ControlKind::Button, word("")) },
            Control {
                is_read_only: true,
                is_changeable: false,
                ..knob("lens", "Lens Number", whole(0, 9, 1), Value::Integer(7))
            },
        ])
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        let mut changed = self.0.clone();
        for Change { key, value } in changes {
            let knob = changed.iter_mut().find(|knob| knob.key == *key);
            let knob = knob.ok_or_else(|| ControlError::Refused(format!("control `{key}`: there is none")))?;
            if knob.kind != ControlKind::Button {
                knob.value = value.clone().or_else(|| knob.default.clone());
            }
        }
        self.0 = changed;
        Ok(())
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|knob| knob.key == key)?.value.as_ref()
    }

    /// Changes an I420 picture of `size` as the controls say. What the test picture keeps behind it, to draw only what
    /// moves the next time, is wiped then.
    #[expect(clippy::cast_possible_truncation, reason = "brightness is -1 to 1")]
    fn apply(&self, buffer: &mut [u8], size: (usize, usize)) {
        let (picture, note) = buffer.split_at_mut(packed_size(PixelFormat::I420, size).min(buffer.len()));
        let (luma, chroma) = picture.split_at_mut((size.0 * size.1).min(picture.len()));
        if let Some(Value::Number(brightness)) = self.value("brightness")
            && *brightness != 0.0
        {
            let more = (brightness * 127.0) as i8;
            luma.iter_mut().for_each(|byte| *byte = byte.saturating_add_signed(more));
            note.fill(0);
        }
        if self.value("colour") == Some(&Value::Boolean(false)) {
            chroma.fill(128);
            note.fill(0);
        }
    }
}
