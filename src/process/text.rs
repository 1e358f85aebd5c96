//! Words on a picture.
//!
//! The glyphs are the public-domain 8×8 bitmaps of the `font8x8` crate, drawn at any size: the bitmap is read as
//! a smooth surface whose contour at half height is the letter's outline, which rounds the corners and keeps
//! diagonals whole. All letters are equally wide, see [`advance`]. ASCII, Latin-1 and `…` can be
//! written; anything else becomes `?`. Laying out more than one line is [`wrap`]'s work, choosing colours the
//! caller's.

use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};

use super::canvas::{Canvas, Rect, mix};

/// Letters of one size, ready to be drawn.
#[derive(Clone, Debug)]
pub struct Face {
    size: usize,
    glyphs: Vec<(char, Vec<u8>)>,
}

impl Face {
    /// The letters that occur in `alphabet`, `size` pixels high.
    #[must_use]
    pub fn new(size: usize, alphabet: &str) -> Self {
        let mut glyphs: Vec<(char, Vec<u8>)> = Vec::new();
        for letter in alphabet.chars().filter(|letter| *letter != ' ') {
            if !glyphs.iter().any(|(known, _)| *known == letter) {
                glyphs.push((letter, coverage(bitmap(letter), advance(size), size)));
            }
        }
        Self { size, glyphs }
    }

    /// Width of `text` in pixels.
    #[must_use]
    pub fn width_of(&self, text: &str) -> usize {
        text.chars().count() * advance(self.size)
    }

    /// Writes `text` in the grey `luma`, its top left corner at `x`, `y`. Letters that are not in the alphabet
    /// leave a gap; what reaches past the picture is cut off.
    pub fn draw(&self, canvas: &mut Canvas<'_>, (x, y): (usize, usize), text: &str, luma: u8) {
        for (index, letter) in text.chars().enumerate() {
            let Some((_, mask)) = self.glyphs.iter().find(|(known, _)| *known == letter) else { continue };
            let width = advance(self.size);
            let cell = Rect { x: x + index * width, y, width, height: self.size };
            for (row, mask) in canvas.planes[0].rows(cell).zip(mask.chunks_exact(width.max(1))) {
                for (pixel, alpha) in row.iter_mut().zip(mask) {
                    *pixel = mix(*pixel, luma, *alpha);
                }
            }
        }
    }
}

/// Width of the letters that are `size` pixels high: slimmer than the square bitmaps, unless every pixel counts.
#[must_use]
pub const fn advance(size: usize) -> usize {
    if size < 16 { size } else { size * 3 / 4 }
}

/// Breaks `text` between words into at most `most_lines` lines of at most `columns` letters. Words that are longer
/// than a line are split; what does not fit ends in `…`.
#[must_use]
pub fn wrap(text: &str, columns: usize, most_lines: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if columns == 0 || most_lines == 0 {
        return lines;
    }
    let mut room = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (index, piece) in letters.chunks(columns).enumerate() {
            let is_full = lines.len() == most_lines;
            match lines.last_mut() {
                Some(line) if index == 0 && room > piece.len() => {
                    line.push(' ');
                    line.extend(piece);
                    room -= piece.len() + 1;
                }
                Some(line) if is_full => {
                    if room == 0 {
                        line.pop();
                    }
                    line.push('…');
                    return lines;
                }
                _ => {
                    lines.push(piece.iter().collect());
                    room = columns - piece.len();
                }
            }
        }
    }
    lines
}

fn bitmap(letter: char) -> [u8; 8] {
    let code = letter as usize;
    match letter {
        '…' => [0, 0, 0, 0, 0, 0b1101_1011, 0b1101_1011, 0],
        ' '..='~' => BASIC_LEGACY[code],
        '\u{a0}'..='\u{ff}' => LATIN_LEGACY[code - 0xa0],
        _ => BASIC_LEGACY['?' as usize],
    }
}

/// How much of each pixel of a `width`×`height` cell the letter covers, 0 to 255.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floors of small numbers; clamped alpha")]
fn coverage(bitmap: [u8; 8], width: usize, height: usize) -> Vec<u8> {
    let dot = |column: i32, row: i32| {
        let inside = (0..8).contains(&column) && (0..8).contains(&row);
        f32::from(u8::from(inside && bitmap[row as usize] >> column & 1 == 1))
    };
    let (across, along) = (width as f32 / 8.0, height as f32 / 8.0);
    let sharpness = across.min(along).max(1.0);
    // Dots that touch at their corners only meet at half height: a contour a little lower joins them.
    let contour = 0.5 - 0.08 * (1.0 - 1.0 / sharpness);
    let mut mask = Vec::with_capacity(width * height);
    for y in 0..height {
        let v = (y as f32 + 0.5) / along - 0.5;
        let (row, down) = (v.floor() as i32, v - v.floor());
        for x in 0..width {
            let u = (x as f32 + 0.5) / across - 0.5;
            let (column, right) = (u.floor() as i32, u - u.floor());
            let upper = dot(column, row) * (1.0 - right) + dot(column + 1, row) * right;
            let lower = dot(column, row + 1) * (1.0 - right) + dot(column + 1, row + 1) * right;
            let surface = upper * (1.0 - down) + lower * down;
            mask.push((((surface - contour) * sharpness + 0.5).clamp(0.0, 1.0) * 255.0) as u8);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, size: usize) -> Vec<u8> {
        let mut bytes = vec![16; 64 * 64 * 3 / 2];
        Face::new(size, text).draw(&mut Canvas::new(&mut bytes, (64, 64)), (0, 0), text, 235);
        bytes
    }

    #[test]
    fn at_its_own_size_a_letter_is_its_bitmap() {
        let bytes = written("A", 8);
        for (row, bits) in BASIC_LEGACY['A' as usize].iter().enumerate() {
            for column in 0..8 {
                let expected = if bits >> column & 1 == 1 { 235 } else { 16 };
                assert_eq!(bytes[row * 64 + column], expected, "row {row} column {column}");
            }
        }
    }

    #[test]
    fn letters_differ_at_every_size_and_chroma_is_left_alone() {
        for size in [8, 9, 13, 32, 60] {
            assert_ne!(written("3", size), written("8", size));
            assert!(written("W", size)[64 * 64..].iter().all(|chroma| *chroma == 16));
        }
    }

    #[test]
    fn what_cannot_be_written_becomes_a_question_mark() {
        assert_eq!(written("🦉", 16), written("?", 16));
        assert_eq!(written("\u{7}", 16), written("?", 16));
        assert_ne!(written("ü", 16), written("?", 16));
    }

    #[test]
    fn text_past_the_edge_is_cut_off() {
        assert_eq!(written("ABCDE", 42), written("ABC", 42));
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("the camera does not answer", 10, 9), ["the camera", "does not", "answer"]);
        assert_eq!(wrap("/dev/video0 gone", 6, 9), ["/dev/v", "ideo0", "gone"]);
        assert_eq!(wrap("  ", 10, 3), Vec::<String>::new());
        assert_eq!(wrap("word", 0, 3), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(wrap("the camera does not answer", 10, 2), ["the camera", "does not…"]);
        assert_eq!(wrap("the camera does not answer", 10, 1), ["the camer…"]);
        assert_eq!(wrap("abcdefgh", 4, 1), ["abc…"]);
    }
}
