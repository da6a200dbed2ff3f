//! How a coded picture is turned for display.

use mp4_atom::Matrix;

/// A turn by a multiple of 90 degrees, possibly mirrored.
///
/// The coded picture is transposed first (if at all) and mirrored after: phones store upright clips as a sideways
/// picture and `transpose` with one mirroring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Left and right are exchanged.
    pub mirror_x: bool,
    /// Top and bottom are exchanged.
    pub mirror_y: bool,
}

impl Orientation {
    /// Shown as coded.
    pub const UPRIGHT: Self = Self { transpose: false, mirror_x: false, mirror_y: false };

    /// Degrees clockwise, 0, 90, 180 or 270; mirrored orientations count as the turn without the mirroring.
    pub fn degrees(self) -> u32 {
        match (self.transpose, self.mirror_x, self.mirror_y) {
            (false, true, true) => 180,
            (false, ..) => 0,
            (true, true, _) => 90,
            (true, false, _) => 270,
        }
    }

    /// Width and height as shown.
    pub fn turned(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Turns `source`, `(height, width, 3)`, into `target`, which has the same length.
    pub(crate) fn apply(self, source: &[u8], (width, height): (usize, usize), target: &mut [u8]) {
        let (out_width, out_height) = self.turned((width, height));
        let rows = target.chunks_exact_mut(out_width * 3);
        for (y, row) in rows.enumerate() {
            let from_y = if self.mirror_y { out_height - 1 - y } else { y };
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let from_x = if self.mirror_x { out_width - 1 - x } else { x };
                let at = if self.transpose { from_x * width + from_y } else { from_y * width + from_x };
                pixel.copy_from_slice(&source[at * 3..at * 3 + 3]);
            }
        }
    }

    /// The orientation of a track whose matrix is `track`, in a movie whose matrix is `movie`.
    ///
    /// A point `(x, y)` is shown at `(a·x + c·y, b·x + d·y)` by the track and then turned by the movie. `None` when
    /// that is no multiple of 90 degrees within one degree, which is FFmpeg's tolerance. A matrix of zeros, which
    /// careless writers leave, means upright.
    pub(crate) fn from_matrices(track: &Matrix, movie: &Matrix) -> Option<Self> {
        let [ta, tb, tc, td] = [track.a, track.b, track.c, track.d].map(f64::from);
        let [ma, mb, mc, md] = [movie.a, movie.b, movie.c, movie.d].map(f64::from);
        let (a, b) = (ta * ma + tb * mc, ta * mb + tb * md);
        let (c, d) = (tc * ma + td * mc, tc * mb + td * md);
        // tan(1 degree)
        const TOLERANCE: f64 = 0.017_455;
        let aligned = |along: f64, across: f64| across.abs() <= TOLERANCE * along.abs();
        if aligned(a, b) && aligned(d, c) {
            Some(Self { transpose: false, mirror_x: a < 0.0, mirror_y: d < 0.0 })
        } else if aligned(b, a) && aligned(c, d) {
            Some(Self { transpose: true, mirror_x: c < 0.0, mirror_y: b < 0.0 })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One in the 16.16 fixed point of display matrices.
    const ONE: i32 = 1 << 16;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Matrix {
        Matrix { a, b, c, d, ..Matrix::default() }
    }

    /// The four corners of a 3×2 picture, numbered in reading order, after being turned.
    fn turned(orientation: Orientation) -> Vec<u8> {
        let source: Vec<u8> = (0..6).flat_map(|value| [value; 3]).collect();
        let mut target = vec![0; source.len()];
        orientation.apply(&source, (3, 2), &mut target);
        target.chunks(3).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn each_matrix_turns_the_picture_as_its_angle_says() {
        let upright = matrix(ONE, 0, 0, ONE);
        // 0 1 2
        // 3 4 5
        for (track, degrees, expected) in [
            (matrix(ONE, 0, 0, ONE), 0, [0, 1, 2, 3, 4, 5]),
            (matrix(0, ONE, -ONE, 0), 90, [3, 0, 4, 1, 5, 2]),
            (matrix(-ONE, 0, 0, -ONE), 180, [5, 4, 3, 2, 1, 0]),
            (matrix(0, -ONE, ONE, 0), 270, [2, 5, 1, 4, 0, 3]),
            (matrix(-ONE, 0, 0, ONE), 0, [2, 1, 0, 5, 4, 3]),
            (matrix(ONE, 0, 0, -ONE), 0, [3, 4, 5, 0, 1, 2]),
            (matrix(0, ONE, ONE, 0), 270, [0, 3, 1, 4, 2, 5]),
            (matrix(0, -ONE, -ONE, 0), 90, [5, 2, 4, 1, 3, 0]),
            (matrix(0, 0, 0, 0), 0, [0, 1, 2, 3, 4, 5]),
        ] {
            let found = Orientation::from_matrices(&track, &upright).unwrap();
            assert_eq!((found.degrees(), turned(found)), (degrees, expected.to_vec()), "{track:?}");
            let by_movie = Orientation::from_matrices(&upright, &track).unwrap();
            assert_eq!(by_movie, found, "the movie's matrix turns the picture as the track's does");
        }
    }

    #[test]
    fn a_slanted_matrix_has_no_orientation() {
        let half = ONE / 2;
        assert_eq!(
            Orientation::from_matrices(&matrix(half, half, -half, half), &matrix(ONE, 0, 0, ONE)),
            None
        );
    }
}
