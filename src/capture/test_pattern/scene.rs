//! The moving picture, drawn at the price of what moves.
//!
//! Buffers go round: one that comes back from its viewer still holds an older picture, and a few bytes behind the
//! pixels say which. Wiping that picture's moving parts away with pieces of the backdrop and drawing the new ones
//! touches about an eighth of the picture; of the words it is only those letters that change. Everything is a function of
//! the frame number and the time of day, in whole steps of two pixels, so that an encoder's motion search finds exact
//! matches.

use std::f32::consts::TAU;

use super::backdrop;
use super::layout::{Layout, even, even_up};
use super::words::{Words, count, time_of_day};
use crate::media::frame::{PixelFormat, packed_size};
use crate::process::canvas::{Canvas, Colour, Rect, Sprite, line_rect};

const RED: [f32; 3] = [1.0, 0.30, 0.20];
const AMBER: [f32; 3] = [1.0, 0.66, 0.16];
const TEAL: [f32; 3] = [0.10, 0.72, 0.78];
const WHITE: [f32; 3] = [1.0, 1.0, 1.0];

/// Rectangles along the second hand that are wiped for it: one round all of it would be a fifth of the dial.
const HAND_PIECES: usize = 8;
/// Rectangles that hold all that moves, ribbons aside.
const MOVING: usize = HAND_PIECES + 4;

/// What the moving parts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) number: u64,
    pub(super) unix_ms: u64,
}

/// All that is needed to draw the picture of any moment.
pub(super) struct Scene {
    layout: Layout,
    framerate: u64,
    backdrop: Vec<u8>,
    ribbon: Ribbon,
    orbs: [Orb; 2],
    scanner: Sprite,
    bead: Sprite,
    clock: Option<Words>,
    counter: Option<Words>,
}

/// A strip of colours that repeats itself and slides sideways.
struct Ribbon {
    period: usize,
    step: u64,
    /// One period wider than the picture: any part of it is a copy away.
    planes: [Vec<u8>; 3],
}

/// A ball that bounces between the edges of the stage.
struct Orb {
    sprite: Sprite,
    start: (u64, u64),
    step: (u64, u64),
}

impl Scene {
    /// The scene for an even size, for pictures that come `framerate` times a second.
    pub(super) fn new(size: (usize, usize), framerate: u64) -> Self {
        let layout = Layout::new(size);
        let format = format!("{}×{}  {framerate} fps", size.0, size.1);
        let [_, clock, counter, _] = layout.lines;
        let (width, stage) = (size.0, layout.stage);
        let diameter = |share: usize| even_up(stage.height.min(width) / share).max(4);
        let orb = |share, colour, start, speed: (usize, usize)| {
            let sprite = Sprite::new((diameter(share), diameter(share)), Colour::from_rgb(colour), marble);
            Orb { sprite, start, step: (step(speed.0, framerate), step(speed.1, framerate)) }
        };
        Self {
            framerate,
            backdrop: backdrop::draw(&layout, "perch test picture", &format),
            ribbon: Ribbon::new(width, layout.ribbons[0].height, framerate),
            orbs: [
                orb(4, AMBER, (0, 0), (width / 7, stage.height / 6)),
                orb(6, TEAL, (even(width / 2) as u64, even(stage.height / 2) as u64), (width / 5, stage.height / 4)),
            ],
            scanner: Sprite::new((even_up(width / 24), layout.bars.height), Colour::from_rgb(WHITE), |x, _| {
                (1.0 - x.abs()).powi(2)
            }),
            bead: {
                let side = even_up(layout.dial_radius as usize / 6).max(4);
                Sprite::new((side, side), Colour::from_rgb(TEAL), marble)
            },
            clock: clock.map(|line| Words::new(line, "0123456789:.", 235)),
            counter: counter.map(|line| Words::new(line, "UTC frame0123456789", backdrop::LABEL_LUMA)),
            layout,
        }
    }

    /// Bytes of a buffer: the picture and the note about it.
    pub(super) const fn buffer_size(&self) -> usize {
        packed_size(PixelFormat::I420, self.layout.size) + Note::SIZE
    }

    /// Draws the picture of `moment`, except for the timestamp strip, into a buffer of
    /// [`buffer_size`](Self::buffer_size) bytes that is either zeroed or was drawn by this scene before.
    pub(super) fn draw(&self, buffer: &mut [u8], moment: Moment) {
        let (pixels, note) = buffer.split_at_mut(self.backdrop.len());
        let previous = Note::read(note);
        if previous.is_none() {
            pixels.copy_from_slice(&self.backdrop);
        }
        let mut canvas = Canvas::new(pixels, self.layout.size);
        let wiped = previous.map(|previous| self.moving(previous));
        for rect in wiped.iter().flatten() {
            canvas.restore(*rect, &self.backdrop);
        }
        let now = self.moving(moment);
        let is_crossed = |line: Rect| wiped.iter().flatten().chain(&now).any(|rect| rect.meets(line));
        let change = |words: &Option<Words>, text: fn(Moment) -> String| {
            let words = words.as_ref()?;
            let before = previous.filter(|_| !is_crossed(words.rect(0)));
            Some(words.change(before.map(text), text(moment)))
        };
        let changes = [change(&self.clock, |at| time_of_day(at.unix_ms)), change(&self.counter, |at| count(at.number))];
        let words = [&self.clock, &self.counter].into_iter().zip(&changes);
        let words = words.filter_map(|(words, change)| words.as_ref().zip(change.as_ref()));
        for (words, change) in words.clone() {
            canvas.restore(words.rect(change.column), &self.backdrop);
        }
        self.draw_moving(&mut canvas, moment);
        for (words, change) in words {
            words.draw(&mut canvas, change);
        }
        Note::write(note, moment);
    }

    /// What [`draw_moving`](Self::draw_moving) touches, ribbons aside: they cover themselves.
    fn moving(&self, moment: Moment) -> [Rect; MOVING] {
        let (from, to) = self.hand(moment);
        let point = |piece: usize| {
            let along = piece as f32 / HAND_PIECES as f32;
            (from.0 + (to.0 - from.0) * along, from.1 + (to.1 - from.1) * along)
        };
        let [one, other] = &self.orbs;
        let whole = [
            one.sprite.rect_at(one.place(moment.number, self.layout.stage)),
            other.sprite.rect_at(other.place(moment.number, self.layout.stage)),
            self.bead.rect_at(self.bead_place(moment.number)),
            self.scanner.rect_at(self.scanner_place(moment.number)),
        ];
        std::array::from_fn(|index| match index.checked_sub(whole.len()) {
            None => whole[index],
            Some(piece) => line_rect(point(piece), point(piece + 1), self.hand_radius()),
        })
    }

    fn draw_moving(&self, canvas: &mut Canvas<'_>, moment: Moment) {
        let [upper, lower] = self.layout.ribbons;
        let shift = self.ribbon.shift(moment.number);
        self.ribbon.draw(canvas, upper, self.ribbon.period - shift);
        self.ribbon.draw(canvas, lower, shift);
        for orb in &self.orbs {
            canvas.stamp(&orb.sprite, orb.place(moment.number, self.layout.stage));
        }
        let (from, to) = self.hand(moment);
        canvas.line(from, to, self.hand_radius(), Colour::from_rgb(RED));
        canvas.stamp(&self.bead, self.bead_place(moment.number));
        canvas.stamp(&self.scanner, self.scanner_place(moment.number));
    }

    /// The second hand's ends.
    fn hand(&self, moment: Moment) -> ((f32, f32), (f32, f32)) {
        let (sin, cos) = ((moment.unix_ms % 60_000) as f32 / 60_000.0 * TAU).sin_cos();
        let ((x, y), radius) = (self.layout.dial, self.layout.dial_radius);
        let at = |share: f32| (x + sin * radius * share, y - cos * radius * share);
        (at(-0.18), at(0.78))
    }

    fn hand_radius(&self) -> f32 {
        (self.layout.dial_radius / 50.0).max(0.6)
    }

    /// The bead runs round the dial's rim once in four seconds.
    fn bead_place(&self, number: u64) -> (usize, usize) {
        let lap = 4 * self.framerate;
        let (sin, cos) = ((number % lap) as f32 / lap as f32 * TAU).sin_cos();
        let ((x, y), radius) = (self.layout.dial, self.layout.dial_radius);
        let Rect { width, height, .. } = self.bead.rect_at((0, 0));
        let corner = |centre: f32, side: usize| even((centre - side as f32 / 2.0).max(0.0) as usize);
        (corner(x + sin * radius, width), corner(y - cos * radius, height))
    }

    fn scanner_place(&self, number: u64) -> (usize, usize) {
        let width = self.scanner.rect_at((0, 0)).width;
        let step = step(self.layout.size.0 / 4, self.framerate);
        (bounce(number.wrapping_mul(step), self.layout.size.0.saturating_sub(width)), self.layout.bars.y)
    }
}

impl Ribbon {
    fn new(width: usize, height: usize, framerate: u64) -> Self {
        let period = even_up(width / 2);
        let columns = period + width;
        let waves: Vec<_> = (0..columns)
            .map(|x| {
                let along = x as f32 / period as f32 * TAU;
                [0.0, TAU / 3.0, TAU * 2.0 / 3.0].map(|shift| 0.38 + 0.3 * (along + shift).sin())
            })
            .collect();
        let colour = |x: usize, y: usize| {
            let across = (y as f32 + 1.0) / height.max(1) as f32;
            let strength = 0.25 + 0.75 * (across * TAU / 2.0).sin();
            Colour::from_rgb(waves[x].map(|wave| strength * wave))
        };
        let plane = |step: usize, pick: fn(Colour) -> u8| {
            let rows = (0..height).step_by(step);
            rows.flat_map(|y| (0..columns).step_by(step).map(move |x| (x, y)))
                .map(|(x, y)| pick(colour(x, y)))
                .collect()
        };
        let planes = [plane(1, |colour| colour.y), plane(2, |colour| colour.u), plane(2, |colour| colour.v)];
        Self { period, step: step(width / 12, framerate), planes }
    }

    fn shift(&self, number: u64) -> usize {
        (number.wrapping_mul(self.step) % self.period as u64) as usize
    }

    /// Draws what begins `shift` columns, at most a period, into the ribbon.
    fn draw(&self, canvas: &mut Canvas<'_>, rect: Rect, shift: usize) {
        let columns = self.period + rect.width;
        let halved = Rect { x: 0, y: rect.y / 2, width: rect.width / 2, height: rect.height / 2 };
        let places = [(rect, columns, shift), (halved, columns / 2, shift / 2), (halved, columns / 2, shift / 2)];
        for ((plane, source), (rect, columns, shift)) in canvas.planes.iter_mut().zip(&self.planes).zip(places) {
            for (row, source) in plane.rows(rect).zip(source.chunks_exact(columns)) {
                row.copy_from_slice(&source[shift..shift + row.len()]);
            }
        }
    }
}

impl Orb {
    fn place(&self, number: u64, stage: Rect) -> (usize, usize) {
        let own = self.sprite.rect_at((0, 0));
        let along = |start: u64, step: u64, room: usize| bounce(start.wrapping_add(number.wrapping_mul(step)), room);
        let x = along(self.start.0, self.step.0, stage.width.saturating_sub(own.width));
        let y = along(self.start.1, self.step.1, stage.height.saturating_sub(own.height));
        (stage.x + x, stage.y + y)
    }
}

/// What a buffer holds, kept behind its pixels.
struct Note;

impl Note {
    const SIZE: usize = 17;

    fn read(bytes: &[u8]) -> Option<Moment> {
        let (first, rest) = bytes.split_first()?;
        let (number, unix_ms) = rest.split_at_checked(8)?;
        let (number, unix_ms) = (number.try_into().ok()?, unix_ms.try_into().ok()?);
        (*first == 1).then_some(Moment { number: u64::from_le_bytes(number), unix_ms: u64::from_le_bytes(unix_ms) })
    }

    fn write(bytes: &mut [u8], moment: Moment) {
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&moment.number.to_le_bytes());
        bytes[9..17].copy_from_slice(&moment.unix_ms.to_le_bytes());
    }
}

/// Pixels per frame for a speed in pixels per second: even, and never nothing.
const fn step(per_second: usize, framerate: u64) -> u64 {
    let step = (per_second as u64 / framerate) & !1;
    if step < 2 { 2 } else { step }
}

/// Runs from 0 to `room` and back; even when both are.
const fn bounce(distance: u64, room: usize) -> usize {
    if room == 0 {
        return 0;
    }
    let at = (distance % (2 * room as u64)) as usize;
    if at <= room { at } else { 2 * room - at }
}

/// A shaded ball.
fn marble(x: f32, y: f32) -> f32 {
    let edge = ((1.0 - x.hypot(y)) * 8.0).clamp(0.0, 1.0);
    let shine = (1.0 - (x + 0.35).hypot(y + 0.35) / 1.6).clamp(0.0, 1.0);
    edge * (0.25 + 0.75 * shine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(usize, usize); 10] = [
        (32, 32),
        (34, 32),
        (32, 34),
        (176, 144),
        (320, 240),
        (480, 854),
        (640, 480),
        (1280, 720),
        (1366, 768),
        (1920, 1080),
    ];

    fn moment(number: u64) -> Moment {
        Moment { number, unix_ms: 1_760_000_000_000 + number * 433 }
    }

    fn drawn(scene: &Scene, moment: Moment) -> Vec<u8> {
        let mut buffer = vec![0; scene.buffer_size()];
        scene.draw(&mut buffer, moment);
        buffer
    }

    #[test]
    fn repainting_an_old_buffer_gives_the_same_picture_as_painting_a_new_one() {
        for size in SIZES {
            let scene = Scene::new(size, 30);
            let mut buffer = vec![0; scene.buffer_size()];
            for number in [0, 1, 4, 33, 34, 90, 151, 152, 1000, 999_999, u64::MAX] {
                let moment = Moment { number, unix_ms: 1_760_000_000_000 + number % 100_000 * 433 };
                scene.draw(&mut buffer, moment);
                assert!(buffer == drawn(&scene, moment), "{size:?} frame {number}");
            }
        }
    }

    #[test]
    fn words_are_whole_in_every_picture_of_some_seconds() {
        for size in [(640, 480), (1280, 720), (176, 144)] {
            let scene = Scene::new(size, 30);
            let mut buffers = [vec![0; scene.buffer_size()], vec![0; scene.buffer_size()]];
            for number in 900..1400 {
                let moment = Moment { number, unix_ms: 1_760_000_000_000 + number * 33 };
                let buffer = &mut buffers[number as usize % 2];
                scene.draw(buffer, moment);
                assert!(*buffer == drawn(&scene, moment), "{size:?} frame {number}");
            }
        }
    }

    #[test]
    fn the_largest_and_the_oddest_shapes_can_be_drawn() {
        for size in [(4096, 4096), (4096, 32), (32, 4096)] {
            let scene = Scene::new(size, 120);
            assert_eq!(drawn(&scene, moment(7)).len(), size.0 * size.1 * 3 / 2 + Note::SIZE);
        }
    }

    #[test]
    fn every_pair_of_neighbours_differs_in_every_third_of_the_picture() {
        let (width, height) = (1280, 720);
        let scene = Scene::new((width, height), 30);
        for number in 0..60 {
            let (one, other) = (drawn(&scene, moment(number)), drawn(&scene, moment(number + 1)));
            for column in 0..3 {
                let part = column * width / 3..(column + 1) * width / 3;
                let differs = |y: usize| one[y * width..][part.clone()] != other[y * width..][part.clone()];
                assert!((0..height).filter(|y| differs(*y)).count() > 20, "frame {number}, third {column}");
            }
        }
    }

    #[test]
    fn the_words_are_in_the_picture() {
        let scene = Scene::new((1280, 720), 30);
        let line = scene.clock.as_ref().unwrap().rect(0);
        let clock = |unix_ms| {
            let picture = drawn(&scene, Moment { number: 0, unix_ms });
            let rows = picture.chunks_exact(1280).skip(line.y).take(line.height);
            rows.map(|row| row[line.x..line.x + line.width].to_vec()).collect::<Vec<_>>()
        };
        assert_ne!(clock(1_760_000_000_000), clock(1_760_000_000_001));
        assert!(clock(0).iter().flatten().filter(|luma| **luma == 235).count() > 1000);
    }

    #[test]
    fn all_samples_are_limited_range() {
        let scene = Scene::new((640, 480), 30);
        let picture = drawn(&scene, moment(12));
        let (luma, chroma) = picture[..640 * 480 * 3 / 2].split_at(640 * 480);
        assert!(luma.iter().all(|sample| (16..=235).contains(sample)));
        assert!(chroma.iter().all(|sample| (16..=240).contains(sample)));
    }
}
