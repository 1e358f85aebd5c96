//! Words in the picture: when it was taken, by which camera, and whatever the owner wants to say.
//!
//! The text is set once a second at most and then only laid over each picture. The letters are [`text`](super::text)'s;
//! time zones are the system's. The time is that of the capture, so that a picture that is late does not lie.

use std::time::SystemTime;

use jiff::Zoned;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Raster, Rect, mix};
use super::text::Face;
use crate::media::frame::{PixelFormat, packed_size};

/// Longest text, in letters.
const MOST_LETTERS: usize = 200;
/// Stands for the camera's name in a text.
const CAMERA: &str = "{camera}";
/// Smallest letters that can be read, in pixels.
const LEAST_SIZE: usize = 8;
const BRIGHT: u8 = 235;
const DARK: u8 = 16;

/// Where in the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Position {
    #[default]
    TopLeft,
    Top,
    TopRight,
    BottomLeft,
    Bottom,
    BottomRight,
}

/// The `[camera.overlay]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The text, with `%` directions as of `strftime` for the time and `{camera}` for the camera's name. Empty: none.
    pub text: String,
    /// An IANA time zone such as `Europe/Berlin`; the machine's own when empty.
    pub time_zone: String,
    /// Where in the picture.
    pub position: Position,
    /// Height of the letters in percent of the picture's, 2 to 20. Letters shrink where a line would not fit.
    pub size_percent: u32,
    /// Whether letters have a dark edge, so that they can be read on anything.
    pub outline: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            text: String::new(),
            time_zone: String::new(),
            position: Position::default(),
            size_percent: 5,
            outline: true,
        }
    }
}

impl Settings {
    /// Checks what types cannot: `(key, what is wrong)`.
    ///
    /// # Errors
    /// When a value is out of range, or no text or time zone that can be shown.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let letters = self.text.chars().count();
        if letters > MOST_LETTERS {
            return Err(("text", format!("it has {letters} letters: {MOST_LETTERS} is the most")));
        }
        if !(2..=20).contains(&self.size_percent) {
            return Err(("size_percent", format!("{} is out of range: 2 to 20 percent", self.size_percent)));
        }
        let zone = self.zone().map_err(|problem| ("time_zone", problem))?;
        let now = Zoned::now().with_time_zone(zone);
        strtime::format(&self.text, &now)
            .map(|_| ())
            .map_err(|error| ("text", format!("`{}` cannot be shown: {error}; write %% for a percent sign", self.text)))
    }

    fn zone(&self) -> Result<TimeZone, String> {
        if self.time_zone.is_empty() {
            return Ok(TimeZone::system());
        }
        TimeZone::get(&self.time_zone).map_err(|_| {
            format!("this machine knows no time zone `{}`: write one as in `Europe/Berlin`", self.time_zone)
        })
    }
}

/// A text on pictures of one size.
pub struct Overlay {
    size: (usize, usize),
    settings: Settings,
    format: String,
    zone: TimeZone,
    shown: String,
    caption: Caption,
}

impl Overlay {
    /// The text of `settings` for pictures of `size` by the camera called `camera`.
    #[must_use]
    pub fn new(settings: &Settings, camera: &str, size: (usize, usize)) -> Self {
        Self {
            size,
            format: settings.text.replace(CAMERA, &camera.replace('%', "%%")),
            zone: settings.zone().unwrap_or(TimeZone::UTC),
            settings: settings.clone(),
            shown: String::new(),
            caption: Caption::default(),
        }
    }

    /// The size of the pictures.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Writes on a picture that was taken `at`, an unpadded I420 one of this size.
    ///
    /// # Panics
    /// When `picture` is smaller.
    pub fn apply(&mut self, picture: &mut [u8], at: SystemTime) {
        let time = Zoned::try_from(at).unwrap_or_default().with_time_zone(self.zone.clone());
        // What cannot be shown was refused with the settings.
        let text = strtime::format(&self.format, &time).unwrap_or_default();
        if text != self.shown {
            self.caption = Caption::new(&text, &self.settings, self.size);
            self.shown = text;
        }
        self.caption.lay(&mut Canvas::new(picture, self.size));
    }
}

/// A text that was set: how much each pixel takes of it.
#[derive(Default)]
struct Caption {
    place: Rect,
    letters: Vec<u8>,
    /// Letters with their dark edges.
    edges: Option<Vec<u8>>,
    /// Of each block of two by two pixels: its chroma becomes grey.
    grey: Vec<u8>,
}

impl Caption {
    fn new(text: &str, settings: &Settings, (width, height): (usize, usize)) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let wanted = (height * settings.size_percent as usize / 100).max(LEAST_SIZE);
        let fits = |size: &usize| longest * super::text::advance(*size) + 2 * margin(*size) <= width;
        let size = (LEAST_SIZE..=wanted).rev().find(fits).unwrap_or(LEAST_SIZE);
        let (margin, pitch, edge) = (margin(size), size * 5 / 4, (size / 12).max(1));
        // Around the letters there is room for their edges.
        let block = |side: usize| (side + 2 * edge).next_multiple_of(2);
        let (own_width, own_height) = (block(longest * super::text::advance(size)), block(lines.len() * pitch));
        let face = Face::new(size, text);
        let mut strip = vec![0; packed_size(PixelFormat::I420, (own_width, own_height))];
        let mut canvas = Canvas::new(&mut strip, (own_width, own_height));
        let (across, down) = alignment(settings.position);
        for (index, line) in lines.iter().enumerate() {
            let room = own_width - 2 * edge - face.width_of(line);
            face.draw(&mut canvas, (edge + across.part_of(room), edge + index * pitch), line, 255);
        }
        strip.truncate(own_width * own_height);
        let edges = settings.outline.then(|| spread(&strip, own_width, edge));
        let start = |align: Align, whole: usize, own: usize| {
            let room = whole.saturating_sub(own + 2 * margin);
            (margin.min(whole.saturating_sub(own)) + align.part_of(room)) & !1
        };
        let place = Rect {
            x: start(across, width, own_width),
            y: start(down, height, own_height),
            width: own_width,
            height: own_height,
        };
        let grey = halved(edges.as_ref().unwrap_or(&strip), own_width);
        Self { place, letters: strip, edges, grey }
    }

    fn lay(&self, canvas: &mut Canvas<'_>) {
        let [luma, u, v] = &mut canvas.planes;
        if let Some(edges) = &self.edges {
            blend(luma, self.place, edges, DARK);
        }
        blend(luma, self.place, &self.letters, BRIGHT);
        let Rect { x, y, width, height } = self.place;
        let half = Rect { x: x / 2, y: y / 2, width: width / 2, height: height / 2 };
        blend(u, half, &self.grey, 128);
        blend(v, half, &self.grey, 128);
    }
}

#[derive(Clone, Copy)]
enum Align {
    Start,
    Middle,
    End,
}

impl Align {
    const fn part_of(self, room: usize) -> usize {
        match self {
            Self::Start => 0,
            Self::Middle => room / 2,
            Self::End => room,
        }
    }
}

/// Across and down.
const fn alignment(position: Position) -> (Align, Align) {
    use Position::{Bottom, BottomLeft, BottomRight, Top, TopLeft, TopRight};
    let across = match position {
        TopLeft | BottomLeft => Align::Start,
        Top | Bottom => Align::Middle,
        TopRight | BottomRight => Align::End,
    };
    let down = match position {
        TopLeft | Top | TopRight => Align::Start,
        BottomLeft | Bottom | BottomRight => Align::End,
    };
    (across, down)
}

const fn margin(size: usize) -> usize {
    size / 2
}

fn blend(plane: &mut Raster<'_>, place: Rect, mask: &[u8], value: u8) {
    for (row, mask) in plane.rows(place).zip(mask.chunks_exact(place.width.max(1))) {
        for (pixel, alpha) in row.iter_mut().zip(mask) {
            *pixel = mix(*pixel, value, *alpha);
        }
    }
}

/// Each pixel as the largest within `radius` of it.
fn spread(mask: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let largest = |line: &dyn Fn(usize) -> u8, length: usize, at: usize| {
        (at.saturating_sub(radius)..(at + radius + 1).min(length)).map(line).max().unwrap_or(0)
    };
    let across: Vec<u8> = mask
        .chunks_exact(width.max(1))
        .flat_map(|row| (0..width).map(move |x| largest(&|at| row[at], width, x)))
        .collect();
    let height = mask.len() / width.max(1);
    (0..mask.len()).map(|at| largest(&|y| across[y * width + at % width], height, at / width)).collect()
}

/// The largest of each two by two pixels; both sides are even.
fn halved(mask: &[u8], width: usize) -> Vec<u8> {
    mask.chunks_exact((width * 2).max(1))
        .flat_map(|rows| {
            (0..width / 2).map(move |x| {
                let at = |dx: usize, row: usize| rows[row * width + 2 * x + dx];
                at(0, 0).max(at(1, 0)).max(at(0, 1)).max(at(1, 1))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// 2001-09-09 01:46:40 UTC.
    const BILLIONTH: Duration = Duration::from_secs(1_000_000_000);

    fn settings(text: &str) -> Settings {
        Settings { text: text.into(), time_zone: "UTC".into(), size_percent: 10, ..Settings::default() }
    }

    fn written(settings: &Settings, size: (usize, usize)) -> Vec<u8> {
        let mut picture = vec![100; packed_size(PixelFormat::I420, size)];
        Overlay::new(settings, "front", size).apply(&mut picture, UNIX_EPOCH + BILLIONTH);
        picture
    }

    /// The part of a picture in which something was written: left, top, right, bottom.
    fn extent(picture: &[u8], (width, height): (usize, usize)) -> [usize; 4] {
        let changed = || (0..width * height).filter(|at| picture[*at] != 100).map(|at| (at % width, at / width));
        let xs = || changed().map(|(x, _)| x);
        let ys = || changed().map(|(_, y)| y);
        [xs().min().unwrap(), ys().min().unwrap(), xs().max().unwrap(), ys().max().unwrap()]
    }

    #[test]
    fn time_name_and_words_are_written() {
        let size = (640, 480);
        let shown = written(&settings("{camera} %Y-%m-%d %H:%M:%S 100%%"), size);
        assert_eq!(shown, written(&settings("front 2001-09-09 01:46:40 100%%"), size));
        let berlin = Settings { time_zone: "Europe/Berlin".into(), ..settings("%H:%M %Z") };
        assert_eq!(written(&berlin, size), written(&settings("03:46 CEST"), size));
    }

    #[test]
    fn a_percent_sign_in_the_camera_s_name_is_no_direction() {
        let size = (640, 480);
        let mut picture = vec![100; packed_size(PixelFormat::I420, size)];
        Overlay::new(&settings("{camera}"), "50%Y", size).apply(&mut picture, UNIX_EPOCH + BILLIONTH);
        assert_eq!(picture, written(&settings("50%%Y"), size));
    }

    #[test]
    fn a_new_second_is_written_over_nothing_of_the_last() {
        let size = (320, 240);
        let mut overlay = Overlay::new(&settings("%S"), "front", size);
        let mut at = |seconds| {
            let mut picture = vec![100; packed_size(PixelFormat::I420, size)];
            overlay.apply(&mut picture, UNIX_EPOCH + BILLIONTH + Duration::from_secs(seconds));
            picture
        };
        let (first, next, again) = (at(0), at(1), at(60));
        assert_ne!(first, next);
        assert_eq!(first, again);
    }

    #[test]
    fn each_position_is_where_it_says() {
        use Position::{Bottom, BottomLeft, BottomRight, Top, TopLeft, TopRight};
        let size = (640, 480);
        for (position, left, top) in [
            (TopLeft, true, true),
            (TopRight, false, true),
            (BottomLeft, true, false),
            (BottomRight, false, false),
            (Top, false, true),
            (Bottom, false, false),
        ] {
            let [x, y, right, bottom] = extent(&written(&Settings { position, ..settings("here") }, size), size);
            assert_eq!((x < 100, y < 100), (left, top), "{position:?}");
            assert_eq!(bottom > 400, !top, "{position:?}");
            let is_centred = matches!(position, Top | Bottom);
            assert_eq!(right > 540, !left && !is_centred, "{position:?}");
            if is_centred {
                assert!((x + right).abs_diff(640) < 20, "{x} {right}");
            }
        }
    }

    #[test]
    fn the_outline_is_dark_around_bright_letters_and_can_be_left_out() {
        let size = (640, 480);
        let count = |picture: &[u8], value: u8| picture[..640 * 480].iter().filter(|luma| **luma == value).count();
        let with = written(&settings("Mm"), size);
        assert!(count(&with, BRIGHT) > 100 && count(&with, DARK) > 100);
        let without = written(&Settings { outline: false, ..settings("Mm") }, size);
        assert!(count(&without, BRIGHT) > 100 && count(&without, DARK) == 0);
        assert!(with[640 * 480..].contains(&128), "letters have no colour of what is behind them");
    }

    #[test]
    fn long_lines_shrink_until_they_fit_and_every_size_of_picture_does() {
        let size = (640, 480);
        let long = settings("a rather long sentence about a garden and a gate");
        let [left, _, right, _] = extent(&written(&long, size), size);
        assert!(left < 30 && right < 640 && right > 500, "{left} {right}");
        let lines = settings("one\ntwo\nthree and more\n\nfive");
        for size in [(16, 16), (32, 32), (33, 35), (4096, 32), (320, 240)] {
            for position in [Position::TopLeft, Position::BottomRight, Position::Top] {
                let _ = written(&Settings { position, ..lines.clone() }, size);
                let _ = written(&Settings { position, ..long.clone() }, size);
            }
        }
    }

    #[test]
    fn what_cannot_be_shown_is_refused_in_words() {
        let problem = |settings: Settings| settings.validate().unwrap_err();
        assert!(problem(settings("100%")).1.contains("write %% for a percent sign"));
        assert!(problem(settings(&"x".repeat(201))).1.contains("201 letters"));
        let (key, words) = problem(Settings { time_zone: "Mars/Olympus".into(), ..Settings::default() });
        assert!(key == "time_zone" && words.contains("`Mars/Olympus`"), "{words}");
        assert_eq!(problem(Settings { size_percent: 21, ..Settings::default() }).0, "size_percent");
        assert_eq!(Settings::default().validate(), Ok(()));
    }
}
