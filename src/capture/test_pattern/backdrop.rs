//! The parts of the test picture that never move.
//!
//! Drawn once per size, at leisure; [`scene`](super::scene) moves things over it. No noise, no fine texture: an
//! encoder gets the backdrop for free after the first keyframe.

use super::layout::{Layout, even};
use crate::media::frame::{PixelFormat, packed_size};
use crate::process::canvas::{Canvas, Colour, Rect};
use crate::process::text::Face;

/// Grey of labels.
pub(super) const LABEL_LUMA: u8 = 176;

/// The whole backdrop, as an unpadded I420 picture.
pub(super) fn draw(layout: &Layout, title: &str, format: &str) -> Vec<u8> {
    let mut bytes = vec![0; packed_size(PixelFormat::I420, layout.size)];
    let mut canvas = Canvas::new(&mut bytes, layout.size);
    draw_stage(&mut canvas, layout);
    draw_bars(&mut canvas, layout.bars);
    canvas.fill(layout.strip, Colour { y: 16, u: 128, v: 128 });
    draw_dial(&mut canvas, layout);
    let [label, _, _, last] = layout.lines;
    for (line, text) in [(label, title), (last, format)] {
        if let Some(line) = line {
            Face::new(line.letter, text).draw(&mut canvas, (line.x, line.y), text, LABEL_LUMA);
        }
    }
    bytes
}

/// Night blue that warms towards the horizon, with a faint grid.
fn draw_stage(canvas: &mut Canvas<'_>, layout: &Layout) {
    let (width, height) = layout.size;
    for y in (0..height).step_by(2) {
        let down = y as f32 / height as f32;
        let glow = down * down;
        let colour = Colour::from_rgb([0.05 + 0.13 * glow, 0.07 + 0.07 * glow, 0.17 + 0.13 * glow]);
        canvas.fill(Rect { x: 0, y, width, height: 2 }, colour);
    }
    let step = even(height / 12).max(16);
    let thickness = even(height / 480).max(2);
    for y in (layout.stage.y..layout.stage.y + layout.stage.height).step_by(step) {
        lift(canvas, Rect { x: 0, y, width, height: thickness });
    }
    for x in (step / 2..width).step_by(step) {
        lift(canvas, Rect { x: even(x), y: layout.stage.y, width: thickness, height: layout.stage.height });
    }
}

/// Makes `rect` a little brighter.
fn lift(canvas: &mut Canvas<'_>, rect: Rect) {
    for row in canvas.planes[0].rows(rect) {
        row.iter_mut().for_each(|pixel| *pixel = pixel.saturating_add(7));
    }
}

/// Bars of 75 % intensity over a wedge from black to white.
fn draw_bars(canvas: &mut Canvas<'_>, area: Rect) {
    const BARS: usize = 8;
    let wedge = even(area.height / 4);
    for index in 0..BARS {
        let lit = |bit: usize| if (BARS - 1 - index) >> bit & 1 == 1 { 0.75 } else { 0.0 };
        let (start, end) = (even(index * area.width / BARS), even((index + 1) * area.width / BARS));
        let colour = Colour::from_rgb([lit(1), lit(2), lit(0)]);
        canvas.fill(Rect { x: start, y: area.y, width: end - start, height: area.height - wedge }, colour);
    }
    for x in (0..area.width).step_by(2) {
        let grey = Colour::from_rgb([x as f32 / area.width as f32; 3]);
        canvas.fill(Rect { x, y: area.y + area.height - wedge, width: 2, height: wedge }, grey);
    }
}

/// A dark disc with a rim and sixty marks.
fn draw_dial(canvas: &mut Canvas<'_>, layout: &Layout) {
    let ((x, y), radius) = (layout.dial, layout.dial_radius);
    let thin = (radius / 90.0).max(0.5);
    // A line of no length is a disc.
    canvas.line((x, y), (x, y), radius, Colour::from_rgb([0.35, 0.42, 0.55]));
    canvas.line((x, y), (x, y), radius - 2.0 * thin - 0.5, Colour::from_rgb([0.03, 0.04, 0.09]));
    for mark in 0..60 {
        let is_hour = mark % 5 == 0;
        if !is_hour && radius < 60.0 {
            continue;
        }
        let (sin, cos) = (mark as f32 / 60.0 * std::f32::consts::TAU).sin_cos();
        let at = |share: f32| (x + sin * radius * share, y - cos * radius * share);
        let (from, thickness, grey) = if is_hour { (0.80, 2.0 * thin, 0.75) } else { (0.86, thin, 0.4) };
        canvas.line(at(from), at(0.90), thickness, Colour::from_rgb([grey, grey, grey]));
    }
}
