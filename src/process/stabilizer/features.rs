//! Places that can be recognised in the next picture: corners, by the smaller eigenvalue of the gradients around them
//! (Shi and Tomasi 1994, "Good features to track").
//!
//! The picture is divided into cells, each of which offers its best corner: points are spread over the whole picture,
//! and finding them takes no sorting.

use super::pyramid::Level;

/// Cells that the longer side is divided into.
const CELLS: usize = 16;
/// No corner lies closer to the edge.
const MARGIN: usize = 5;
/// The column that the first strength of a row belongs to.
const FIRST: usize = 2;
/// Gradients (of two pixels, squared, mean of nine) that a sensor's noise makes in darkness stay below this.
const LEAST: f32 = 16.0;
/// And a corner is at least so strong compared with the best.
const LEAST_SHARE: f32 = 0.01;

/// Finds corners. Keeps its memory from one picture to the next.
#[derive(Default)]
pub(super) struct Detector {
    /// Products of the gradients of the last three rows.
    products: [[Vec<f32>; 3]; 3],
    sums: [Vec<f32>; 3],
    strengths: Vec<f32>,
    cells: Vec<(f32, usize, usize)>,
}

impl Detector {
    /// Appends the corners in `level` to `found`, in pixels of that level.
    pub(super) fn find(&mut self, level: &Level, found: &mut Vec<[f32; 2]>) {
        let (width, height) = (level.width, level.height);
        if width.min(height) <= 2 * MARGIN {
            return;
        }
        let side = width.max(height).div_ceil(CELLS).max(6);
        let columns = width.div_ceil(side);
        self.cells.clear();
        self.cells.resize(columns * height.div_ceil(side), (0.0, 0, 0));
        self.strengths.resize(width, 0.0);
        for products in self.products.iter_mut().flatten().chain(&mut self.sums) {
            products.resize(width - 2, 0.0);
        }
        for y in MARGIN - 1..=height - MARGIN {
            let row = |y: usize| &level.pixels[y * width..(y + 1) * width];
            products([row(y - 1), row(y), row(y + 1)], &mut self.products[y % 3]);
            // Three rows of products are there: the row in their middle can be judged.
            let y = y - 1;
            if y < MARGIN {
                continue;
            }
            add_rows(&self.products, &mut self.sums);
            strengths(&self.sums, &mut self.strengths);
            let cells = &mut self.cells[y / side * columns..][..columns];
            for (index, (cell, strengths)) in cells.iter_mut().zip(self.strengths.chunks(side)).enumerate() {
                for (x, strength) in (index * side + FIRST..).zip(strengths) {
                    if *strength > cell.0 && (MARGIN..width - MARGIN).contains(&x) {
                        *cell = (*strength, x, y);
                    }
                }
            }
        }
        let best = self.cells.iter().fold(0.0, |best: f32, cell| best.max(cell.0));
        let corners = self.cells.iter().filter(|cell| cell.0 > LEAST.max(best * LEAST_SHARE));
        found.extend(corners.map(|(_, x, y)| [*x as f32, *y as f32]));
    }
}

/// The gradients' products of the middle one of three rows: xx, xy, yy. The first is column 1's.
fn products([above, row, below]: [&[u8]; 3], products: &mut [Vec<f32>; 3]) {
    let [xx, xy, yy] = products;
    let count = row.len() - 2;
    let across = row[..count].iter().zip(&row[2..]);
    let along = above[1..].iter().zip(&below[1..]);
    let products = xx.iter_mut().zip(xy.iter_mut()).zip(yy.iter_mut());
    for (((left, right), (above, below)), ((xx, xy), yy)) in across.zip(along).zip(products) {
        let (x, y) = (f32::from(*right) - f32::from(*left), f32::from(*below) - f32::from(*above));
        (*xx, *xy, *yy) = (x * x, x * y, y * y);
    }
}

/// The sums of three rows.
fn add_rows(products: &[[Vec<f32>; 3]; 3], sums: &mut [Vec<f32>; 3]) {
    for (kind, sums) in sums.iter_mut().enumerate() {
        let rows = products[0][kind].iter().zip(&products[1][kind]).zip(&products[2][kind]);
        for (sum, ((one, two), three)) in sums.iter_mut().zip(rows) {
            *sum = one + two + three;
        }
    }
}

/// The smaller eigenvalue of the mean of nine pixels' products. The first is column [`FIRST`]'s.
fn strengths(sums: &[Vec<f32>; 3], strengths: &mut [f32]) {
    let columns = sums[0].windows(3).zip(sums[1].windows(3)).zip(sums[2].windows(3));
    for (strength, ((xx, xy), yy)) in strengths.iter_mut().zip(columns) {
        let (xx, xy, yy) = (xx[0] + xx[1] + xx[2], xy[0] + xy[1] + xy[2], yy[0] + yy[1] + yy[2]);
        let half = (xx - yy) * 0.5;
        *strength = ((xx + yy) * 0.5 - (half * half + xy * xy).sqrt()) * (1.0 / 9.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corners_of(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> Vec<[f32; 2]> {
        let pixels = (0..width * height).map(|index| pixel(index % width, index / width)).collect();
        let mut found = Vec::new();
        Detector::default().find(&Level { width, height, pixels }, &mut found);
        found
    }

    #[test]
    fn the_corners_of_a_square_are_found_and_its_edges_are_not() {
        let found = corners_of(60, 50, |x, y| if (20..40).contains(&x) && (15..30).contains(&y) { 200 } else { 50 });
        assert!(!found.is_empty());
        for [x, y] in &found {
            let is_near = |value: f32, edges: [f32; 2]| edges.iter().any(|edge| (value - edge).abs() <= 2.5);
            assert!(is_near(*x, [19.5, 39.5]) && is_near(*y, [14.5, 29.5]), "{found:?}");
        }
        for corner in [[19.5, 14.5], [39.5, 14.5], [19.5, 29.5], [39.5, 29.5_f32]] {
            let is_near = |point: &[f32; 2]| (point[0] - corner[0]).hypot(point[1] - corner[1]) < 4.0;
            assert!(found.iter().any(is_near), "{found:?}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is_to_be_seen() {
        assert!(corners_of(60, 50, |_, _| 90).is_empty());
        assert!(corners_of(60, 50, |x, _| u8::try_from(x).unwrap() * 4).is_empty());
        // A sensor's noise.
        assert!(corners_of(60, 50, |x, y| 20 + u8::try_from((x * 7 + y * 13) % 3).unwrap()).is_empty());
        for side in 0..12 {
            let _ = corners_of(side, 12, |x, y| u8::from(x * y % 2 == 0) * 200);
        }
    }
}
