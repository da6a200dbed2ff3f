//! YUV 4:2:0 to RGB, bit for bit as FFmpeg's `swscale` does it.
//!
//! Each pair of chroma samples serves its 2×2 block of pixels, without interpolation; in an interlaced picture the two
//! fields are two pictures of half the height in this respect. All arithmetic is on integers:
//!
//! ```text
//! Y' = ((8·y − offset) · c_y) >> 16        U8 = 8·u − 1024        V8 = 8·v − 1024
//! R = clip(Y' + (V8·c_rv >> 16))
//! G = clip(Y' + (U8·c_gu >> 16) + (V8·c_gv >> 16))
//! B = clip(Y' + (U8·c_bu >> 16))
//! ```
//!
//! With 8 bits and an even number of rows this is FFmpeg's result to the last bit. Deeper pictures, and those with an
//! odd number of rows, go another way there: chroma is interpolated, with whatever filter the calling program chose, so
//! that FFmpeg's own tools disagree, and samples are rounded to 8 bits before they are looked up in tables. Here the
//! filter is the bilinear one (of PyAV and torchcodec), on the numbers above with their fraction: every byte is within
//! 4 levels of theirs. Like them it finds chroma for each pair of pixels in a row, and for each pixel when their number is
//! odd.
//!
//! The usual formula in floating point differs from this on half of all bytes, by up to 3. Every factor and every
//! product's upper half fits in 16 bits, so that the compiler can use the multiply-high instructions.

use super::yuv::{Colour, Matrix, Siting, YuvFrame};

/// A sample of a plane.
pub(crate) trait Sample: Copy {
    /// The sample in eighths of one of 256 levels: 11 bits, as many as the arithmetic has room for.
    fn eighths(self, bit_depth: u32) -> i16;
}

impl Sample for u8 {
    fn eighths(self, _bit_depth: u32) -> i16 {
        i16::from(self) * 8
    }
}

impl Sample for u16 {
    fn eighths(self, bit_depth: u32) -> i16 {
        // Levels beyond the depth, which no decoder should give, would not fit.
        let highest = ((1u32 << bit_depth) - 1) as Self;
        ((u32::from(self.min(highest)) << 11) >> bit_depth) as i16
    }
}

/// Fixed-point factors for one matrix and range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Coefficients {
    offset: i16,
    y: i16,
    rv: i16,
    gu: i16,
    gv: i16,
    bu: i16,
}

impl Coefficients {
    fn new(colour: Colour) -> Self {
        // Factors of V in red, U in blue, U in green, V in green for limited range, in units of 2^-16 (H.264 table
        // E-5 scaled by 255/224; the integers are those that all FFmpeg-based tools share).
        let [rv, bu, gu, gv]: [i64; 4] = match colour.matrix {
            Matrix::Bt601 => [104_597, 132_201, 25_675, 53_279],
            Matrix::Bt709 => [117_489, 138_438, 13_975, 34_925],
            Matrix::Fcc => [104_448, 132_798, 24_759, 53_109],
            Matrix::Smpte240m => [117_579, 136_230, 16_907, 35_559],
            Matrix::Bt2020 => [110_013, 140_363, 12_277, 42_626],
        };
        // From 2^-16 to units of 2^-13: samples carry a factor of 8, and the product is shifted by 16.
        let fixed = |factor: i64| ((factor * 8192 + 32_768) >> 16) as i16;
        let (offset, y) = if colour.full_range { (0, 65_536) } else { (16 * 8, 65_536 * 255 / 219) };
        // Chroma covers 224 steps in limited range and 255 in full range.
        let scale = |factor: i64| if colour.full_range { factor * 224 / 255 } else { factor };
        Self {
            offset,
            y: fixed(y),
            rv: fixed(scale(rv)),
            gu: fixed(-scale(gu)),
            gv: fixed(-scale(gv)),
            bu: fixed(scale(bu)),
        }
    }
}

/// Converts a picture into `rgb`, `(height, width, 3)`. Where chroma lies matters only for pictures whose chroma is
/// interpolated.
pub(crate) fn yuv_to_rgb<S: Sample>(frame: &YuvFrame<S>, bit_depth: u32, siting: Siting, rgb: &mut [u8]) {
    assert_eq!(rgb.len(), frame.width * frame.height * 3, "the target holds the picture");
    let factors = Coefficients::new(frame.colour);
    let interpolate = bit_depth > 8 || frame.height % 2 == 1;
    let columns = match interpolate {
        true if frame.width % 2 == 1 => {
            let place = |column| Between::of(column, frame.width, siting.x);
            Columns::Each((0..frame.width).map(place).collect())
        }
        true if siting.x == 0 => Columns::LeftOfPairs,
        _ => Columns::Pairs,
    };
    let mut chroma = ChromaRow { columns, ..ChromaRow::default() };
    let mut luma_eighths = Vec::with_capacity(frame.width);
    let luma_rows = frame.y.chunks_exact(frame.width).zip(rgb.chunks_exact_mut(3 * frame.width));
    let mut filled = None;
    for (row, (luma, target)) in luma_rows.enumerate() {
        let rows = if interpolate {
            Between::of(row, frame.height, siting.y)
        } else {
            Between::nearest(row, frame.height, frame.interlaced)
        };
        if filled.replace(rows) != Some(rows) {
            chroma.fill(frame, bit_depth, rows, &factors);
        }
        luma_eighths.clear();
        luma_eighths.extend(luma.iter().map(|luma| luma.eighths(bit_depth)));
        match chroma.columns {
            Columns::Each(_) => convert_row::<1>(&luma_eighths, &chroma, &factors, target),
            _ => convert_row::<2>(&luma_eighths, &chroma, &factors, target),
        }
    }
}

/// The chroma samples on both sides of a pixel, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between {
    first: usize,
    second: usize,
    /// The weight of the second, in units of 2^-12.
    weight: i32,
}

impl Between {
    const WHOLE: i32 = 1 << 12;

    /// One row of chroma serves two rows of pixels; in an interlaced picture, two of its own field.
    fn nearest(row: usize, height: usize, interlaced: bool) -> Self {
        // Cropping by the container may leave the last chroma row of a field to the other field's last row of pixels.
        let last = height.div_ceil(2).saturating_sub(1);
        let row = if interlaced { row / 4 * 2 + row % 2 } else { row / 2 };
        Self { first: row.min(last), second: row.min(last), weight: 0 }
    }

    /// Of the pixel `index` among `pixels`, to whose number chroma is stretched: of an odd number of pixels, the last
    /// chroma sample serves as much as the others. `siting` as in [`Siting`].
    fn of(index: usize, pixels: usize, siting: u8) -> Self {
        let samples = pixels.div_ceil(2);
        let middle = (index as f64 + 0.5) * samples as f64 / pixels as f64;
        let position = middle - 0.25 - f64::from(siting) / 4.0;
        let position = position.clamp(0.0, (samples - 1) as f64);
        let first = position as usize;
        let weight = ((position - first as f64) * f64::from(Self::WHOLE)).round() as i32;
        Self { first, second: (first + 1).min(samples - 1), weight }
    }

    fn mix(self, first: i16, second: i16) -> i16 {
        let sum = i32::from(first) * (Self::WHOLE - self.weight) + i32::from(second) * self.weight;
        (sum / Self::WHOLE) as i16
    }
}

/// How the chroma samples of a row become those of pixels.
#[derive(Default)]
enum Columns {
    /// One serves two pixels, as it is.
    #[default]
    Pairs,
    /// One serves two pixels, but lies in the left column, a quarter of the distance between samples from the middle of
    /// the two.
    LeftOfPairs,
    /// Every pixel has its own, between these two.
    Each(Vec<Between>),
}

impl Columns {
    /// Puts what serves the pixels in place of the samples in `row`.
    fn interpolate(&self, row: &mut Vec<i16>) {
        match self {
            Self::Pairs => {}
            Self::LeftOfPairs => {
                for column in 1..row.len() {
                    row[column - 1] = (3 * row[column - 1] + row[column]) >> 2;
                }
            }
            Self::Each(places) => {
                *row = places.iter().map(|place| place.mix(row[place.first], row[place.second])).collect();
            }
        }
    }
}

/// What a row of chroma samples adds to red, green and blue.
#[derive(Default)]
struct ChromaRow {
    columns: Columns,
    u: Vec<i16>,
    v: Vec<i16>,
    r: Vec<i16>,
    g: Vec<i16>,
    b: Vec<i16>,
}

impl ChromaRow {
    fn fill<S: Sample>(
        &mut self,
        frame: &YuvFrame<S>,
        bit_depth: u32,
        rows: Between,
        factors: &Coefficients,
    ) {
        let width = frame.width.div_ceil(2);
        // Centred on the level of grey, in eighths.
        let centred = |plane: &[S], target: &mut Vec<i16>| {
            let row = |index: usize| plane[index * width..][..width].iter().map(|s| s.eighths(bit_depth));
            target.clear();
            if rows.weight == 0 {
                target.extend(row(rows.first).map(|sample| sample - 1024));
            } else {
                let pairs = row(rows.first).zip(row(rows.second));
                target.extend(pairs.map(|(first, second)| rows.mix(first, second) - 1024));
            }
            self.columns.interpolate(target);
        };
        centred(&frame.u, &mut self.u);
        centred(&frame.v, &mut self.v);
        self.r.clear();
        self.r.extend(self.v.iter().map(|&v| high(v, factors.rv)));
        self.b.clear();
        self.b.extend(self.u.iter().map(|&u| high(u, factors.bu)));
        self.g.clear();
        self.g.extend(self.u.iter().zip(&self.v).map(|(&u, &v)| high(u, factors.gu) + high(v, factors.gv)));
    }
}

/// Converts a row of pixels, of which each chroma sample serves as many.
fn convert_row<const SERVED: usize>(y: &[i16], chroma: &ChromaRow, factors: &Coefficients, row: &mut [u8]) {
    let terms = chroma.r.iter().zip(&chroma.g).zip(&chroma.b);
    for ((luma, pixels), ((&r, &g), &b)) in y.chunks(SERVED).zip(row.chunks_mut(3 * SERVED)).zip(terms) {
        for (&y, pixel) in luma.iter().zip(pixels.chunks_exact_mut(3)) {
            let y = high(y - factors.offset, factors.y);
            pixel[0] = clip(y + r);
            pixel[1] = clip(y + g);
            pixel[2] = clip(y + b);
        }
    }
}

/// The upper half of a product.
fn high(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

fn clip(value: i16) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of the module comment, one pixel at a time, in wide integers.
    fn naive(frame: &YuvFrame) -> Vec<u8> {
        let k = Coefficients::new(frame.colour);
        let wide = |value: i16| i64::from(value);
        let half_width = frame.width.div_ceil(2);
        let mut rgb = Vec::new();
        for row in 0..frame.height {
            for column in 0..frame.width {
                let y = i64::from(frame.y[row * frame.width + column]);
                let chroma = (row / 2) * half_width + column / 2;
                let u = i64::from(frame.u[chroma]) * 8 - 1024;
                let v = i64::from(frame.v[chroma]) * 8 - 1024;
                let y = ((y * 8 - wide(k.offset)) * wide(k.y)) >> 16;
                let r = y + ((v * wide(k.rv)) >> 16);
                let g = y + ((u * wide(k.gu)) >> 16) + ((v * wide(k.gv)) >> 16);
                let b = y + ((u * wide(k.bu)) >> 16);
                rgb.extend([r, g, b].map(|value| value.clamp(0, 255) as u8));
            }
        }
        rgb
    }

    #[test]
    fn factors_of_untagged_video_are_those_of_bt601() {
        let found = Coefficients::new(Colour::default());
        assert_eq!(found, Coefficients { offset: 128, y: 9539, rv: 13075, gu: -3209, gv: -6660, bu: 16525 });
    }

    #[test]
    fn every_byte_of_every_matrix_and_range_follows_the_formula_at_awkward_sizes() {
        let matrices = [Matrix::Bt601, Matrix::Bt709, Matrix::Fcc, Matrix::Smpte240m, Matrix::Bt2020];
        for (width, height) in [(1usize, 2usize), (2, 2), (3, 6), (16, 2), (17, 4), (64, 48), (340, 6)] {
            for (case, matrix) in matrices.into_iter().enumerate() {
                for full_range in [false, true] {
                    let chroma = width.div_ceil(2) * height.div_ceil(2);
                    // Steps prime to 256, so that all values occur in all combinations of extremes.
                    let bytes = |count: usize, step: usize| {
                        (0..count).map(|i| ((i + case) * step % 256) as u8).collect::<Vec<_>>()
                    };
                    let frame = YuvFrame {
                        width,
                        height,
                        y: bytes(width * height, 97),
                        u: bytes(chroma, 59),
                        v: bytes(chroma, 131),
                        colour: Colour { matrix, full_range },
                        interlaced: false,
                    };
                    let mut rgb = vec![0; width * height * 3];
                    yuv_to_rgb(&frame, 8, Siting::CENTRE, &mut rgb);
                    assert_eq!(rgb, naive(&frame), "{width}×{height} {matrix:?} full range {full_range}");
                }
            }
        }
    }

    #[test]
    fn an_interlaced_picture_is_converted_field_by_field() {
        let (width, height) = (6, 8);
        let bytes =
            |count: usize, step: usize| (0..count).map(|i| (i * step % 256) as u8).collect::<Vec<_>>();
        let (y, u, v) = (bytes(width * height, 97), bytes(12, 59), bytes(12, 131));
        let frame = YuvFrame { width, height, y, u, v, colour: Colour::default(), interlaced: true };
        let mut rgb = vec![0; width * height * 3];
        yuv_to_rgb(&frame, 8, Siting::CENTRE, &mut rgb);
        for field in 0..2 {
            let rows = |plane: &[u8], stride: usize| {
                plane.chunks(stride).skip(field).step_by(2).flatten().copied().collect::<Vec<_>>()
            };
            let (y, u, v) = (rows(&frame.y, width), rows(&frame.u, 3), rows(&frame.v, 3));
            let half = YuvFrame { height: height / 2, y, u, v, ..frame.clone() };
            assert_eq!(rows(&rgb, width * 3), naive(&half), "field {field}");
        }
    }
}
