//! Resizing with the numerics of torchvision, of Pillow or of OpenCV, chosen by name.
//!
//! torchvision and Pillow share their filters: a window whose support grows with the reduction (antialiasing), its
//! weights rounded to integers, one pass an axis, rounded to 8 bits after each. They part in the precision of the
//! weights, 16 bits against 22, and in the order of the passes, see [`Numerics`]. torchvision rounds this way on
//! CPUs with AVX2, AVX-512 or NEON; its result on a GPU differs by one level on up to a fifth of the bytes.
//!
//! For the bilinear filter of torchvision on RGB, `fast_image_resize` computes the same integers with SIMD, when it
//! is asked for one axis at a time: in a single call it would go vertical first. It allows 21 bits of precision at
//! most where torchvision allows 22, which shows only past a 128-fold reduction; `integer` serves those and
//! everything else, and is the oracle of the tests.

mod alpha;
mod filter;
mod float;
mod integer;
mod opencv;

use std::borrow::Cow;
use std::ops::Range;

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::U8x3;

use crate::processor::{Numerics, Resample};
use crate::{Error, Result};
use integer::{Precision, Taps};

/// Edges longer than this are refused: decoders refuse them as well, and they would not fit in memory.
pub(crate) const MAX_EDGE: usize = 16_384;

/// Pixels in one resized image; 64 Mi pixels are 192 MiB of RGB.
const MAX_PIXELS: usize = 64 << 20;

/// From this reduction on the direct form is used. At 100 to 1 the largest weight is still above 1/128, the point
/// where the two precisions part.
const DIRECT_FROM_REDUCTION: usize = 100;

/// Resizes images; keeps its buffers from one image to the next.
#[derive(Debug)]
pub struct Resizer {
    numerics: Numerics,
    filter: Resample,
    simd: fir::Resizer,
    /// The image between two passes.
    between: Vec<u8>,
    /// The resized image, or the columns of it that were asked for.
    resized: Vec<u8>,
}

/// A resized image, or the columns of it that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resized<'a, S> {
    pub(crate) data: &'a [S],
    /// Pixels from one row to the next.
    pub(crate) stride: usize,
    /// The column of the resized image that the first pixel of `data` belongs to.
    pub(crate) first_column: usize,
}

impl Default for Resizer {
    fn default() -> Self {
        Self {
            numerics: Numerics::Torchvision,
            filter: Resample::Bilinear,
            simd: fir::Resizer::new(),
            between: Vec::new(),
            resized: Vec::new(),
        }
    }
}

impl Resizer {
    /// A bilinear resizer with the numerics of torchvision.
    pub fn new() -> Self {
        Self::default()
    }

    /// A resizer with the numerics and the filter given.
    ///
    /// # Errors
    /// [`Error::Option`] when the library that `numerics` names does not have the filter.
    pub fn with(numerics: Numerics, filter: Resample) -> Result<Self> {
        numerics.check(filter)?;
        Ok(Self { numerics, filter, ..Self::default() })
    }

    /// Resizes `image` of shape `from` = `[H, W, C]` to `(to[0], to[1], C)`, where C is 1, 3 or 4.
    ///
    /// Bit for bit what the library does on bytes: `torchvision.transforms.v2.functional.resize` with
    /// antialiasing, `PIL.Image.Image.resize` or `cv2.resize` with `INTER_LINEAR`. As in Pillow a fourth channel
    /// is taken for alpha with Pillow's numerics: colours are multiplied by it before and divided by it after.
    ///
    /// # Errors
    /// [`Error::Shape`] when `image` does not have the shape `from`, or a size is zero or absurdly large.
    pub fn resize(&mut self, image: &[u8], from: [usize; 3], to: [usize; 2]) -> Result<Vec<u8>> {
        Ok(self.resize_columns(image, from, to, 0..to[1])?.data.to_vec())
    }

    /// Resizes `float32` values as torchvision does; the other libraries are never given any.
    ///
    /// # Errors
    /// As [`Resizer::resize`]; [`Error::Option`] when the numerics are not those of torchvision.
    pub fn resize_values(&self, image: &[f32], from: [usize; 3], to: [usize; 2]) -> Result<Vec<f32>> {
        check_sizes(image.len(), from, to)?;
        if self.numerics != Numerics::Torchvision {
            return Err(Error::Option {
                name: "numerics",
                expected: "torchvision, which resizes values that are not bytes".to_owned(),
                found: self.numerics.to_string(),
            });
        }
        Ok(float::resize(image, from, to, self.filter))
    }

    /// As [`Resizer::resize`], but a vertical pass that comes last leaves out columns outside `columns`, which a
    /// centre crop would throw away. Rows cannot be left out: the precision of the weights depends on all of them.
    pub(crate) fn resize_columns<'a>(
        &'a mut self,
        image: &'a [u8],
        from: [usize; 3],
        to: [usize; 2],
        columns: Range<usize>,
    ) -> Result<Resized<'a, u8>> {
        let [height, width, channels] = from;
        check_sizes(image.len(), from, to)?;
        if to == [height, width] {
            return Ok(Resized { data: image, stride: width, first_column: 0 });
        }
        let mut kept = 0..to[1];
        match (self.numerics, self.filter) {
            (Numerics::OpencvLinear, _) => {
                self.resized.resize(to[0] * to[1] * channels, 0);
                opencv::resize(image, from, to, &mut self.resized);
            }
            (_, Resample::Nearest) => self.nearest(image, from, to),
            _ => {
                // Pillow takes a fourth channel for alpha.
                let premultiplied = self.numerics.is_pillow() && channels == 4;
                let image =
                    if premultiplied { Cow::Owned(alpha::multiply(image)) } else { Cow::Borrowed(image) };
                kept = self.passes(&image, from, to, columns)?;
                if premultiplied {
                    alpha::divide(&mut self.resized);
                }
            }
        }
        Ok(Resized { data: &self.resized, stride: kept.len(), first_column: kept.start })
    }

    /// Both passes, or the one that is needed, into `self.resized`; returns the columns that are there.
    fn passes(
        &mut self,
        image: &[u8],
        [height, width, channels]: [usize; 3],
        [new_height, new_width]: [usize; 2],
        columns: Range<usize>,
    ) -> Result<Range<usize>> {
        let all = 0..new_width;
        let mut between = std::mem::take(&mut self.between);
        let mut resized = std::mem::take(&mut self.resized);
        let kept = if new_height == height {
            self.horizontal(image, [height, width, channels], new_width, &mut resized)?;
            all
        } else if new_width == width {
            self.vertical(image, [height, width, channels], new_height, columns.clone(), &mut resized)?;
            columns
        } else if self.vertical_first([height, width], [new_height, new_width]) {
            self.vertical(image, [height, width, channels], new_height, 0..width, &mut between)?;
            self.horizontal(&between, [new_height, width, channels], new_width, &mut resized)?;
            all
        } else {
            self.horizontal(image, [height, width, channels], new_width, &mut between)?;
            let wide = [height, new_width, channels];
            self.vertical(&between, wide, new_height, columns.clone(), &mut resized)?;
            columns
        };
        (self.between, self.resized) = (between, resized);
        Ok(kept)
    }

    /// Whether the height goes first: with Pillow 13 where rows shrink by more than twice what columns do, as in
    /// upright films, with Pillow 12.2 and 12.3 only in strips more than a hundred times as high as they are wide.
    fn vertical_first(&self, [height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> bool {
        // Edges were checked to be far below half the range.
        let [fewer_rows, fewer_columns] =
            [(height, new_height), (width, new_width)].map(|(from, to)| from as i64 - to as i64);
        match self.numerics {
            Numerics::Pillow => fewer_rows > 0 && fewer_rows > 2 * fewer_columns,
            Numerics::Pillow12 => fewer_rows > 0 && height > 100 * width,
            Numerics::Torchvision | Numerics::OpencvLinear => false,
        }
    }

    fn horizontal(
        &mut self,
        image: &[u8],
        [height, width, channels]: [usize; 3],
        new_width: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.resize(height * new_width * channels, 0);
        if self.has_simd(width, new_width, channels) {
            return one_axis(&mut self.simd, image, [height, width], [height, new_width], 0..width, out);
        }
        self.taps(width, new_width).horizontal(image, width, channels, out);
        Ok(())
    }

    fn vertical(
        &mut self,
        image: &[u8],
        [height, width, channels]: [usize; 3],
        new_height: usize,
        columns: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.resize(new_height * columns.len() * channels, 0);
        if self.has_simd(height, new_height, channels) {
            let to = [new_height, columns.len()];
            return one_axis(&mut self.simd, image, [height, width], to, columns, out);
        }
        self.taps(height, new_height).vertical(image, width * channels, channels, columns, out);
        Ok(())
    }

    /// Whether `fast_image_resize` computes the same integers.
    fn has_simd(&self, edge: usize, new_edge: usize, channels: usize) -> bool {
        let same_weights = (self.numerics, self.filter) == (Numerics::Torchvision, Resample::Bilinear);
        same_weights && channels == 3 && edge < DIRECT_FROM_REDUCTION * new_edge
    }

    fn taps(&self, edge: usize, new_edge: usize) -> Taps {
        let pillow = self.numerics.is_pillow();
        let precision = if pillow { Precision::Most } else { Precision::SixteenBits };
        Taps::new(edge, new_edge, self.filter, precision)
    }

    fn nearest(&mut self, image: &[u8], [height, width, channels]: [usize; 3], to: [usize; 2]) {
        let indices =
            if self.numerics.is_pillow() { filter::nearest_pillow } else { filter::nearest_torchvision };
        let columns = indices(width, to[1]);
        self.resized.clear();
        for y in indices(height, to[0]) {
            let row = &image[y * width * channels..][..width * channels];
            columns.iter().for_each(|&x| self.resized.extend_from_slice(&row[x * channels..][..channels]));
        }
    }
}

fn check_sizes(len: usize, [height, width, channels]: [usize; 3], to: [usize; 2]) -> Result<()> {
    let in_range = |edge: usize| (1..=MAX_EDGE).contains(&edge);
    let known = matches!(channels, 1 | 3 | 4);
    if !known || !in_range(height) || !in_range(width) || len != height * width * channels {
        return Err(Error::Shape {
            what: "resize",
            expected: format!(
                "{height}×{width}×{channels} samples, edges from 1 to {MAX_EDGE}, 1, 3 or 4 channels"
            ),
            found: format!("{len} samples"),
        });
    }
    // Only one pass changes the image at a time, so the image between the passes has to be small enough as well.
    let pixels = [(to[0], to[1]), (height, to[1]), (to[0], width)].map(|(h, w)| h.saturating_mul(w));
    if to.contains(&0) || pixels.iter().any(|&n| n > MAX_PIXELS) {
        return Err(Error::Shape {
            what: "resize",
            expected: format!("a result of 1 to {MAX_PIXELS} pixels"),
            found: format!("{height}×{width} to {}×{}", to[0], to[1]),
        });
    }
    Ok(())
}

/// One call of the SIMD resizer on RGB, in which one edge of `to` is the one of the columns given.
///
/// It is compiled for RGB alone: other frames are rare, and every pixel type costs seconds of build time.
fn one_axis(
    simd: &mut fir::Resizer,
    image: &[u8],
    [height, width]: [usize; 2],
    to: [usize; 2],
    columns: Range<usize>,
    out: &mut [u8],
) -> Result<()> {
    let refused = |reason: String| Error::Shape {
        what: "resize",
        expected: format!("{height}×{width}×3 to {}×{}", to[0], to[1]),
        found: reason,
    };
    // Sizes were checked to be below `MAX_PIXELS`, so that they fit in 32 bits.
    let source = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, image)
        .map_err(|e| refused(e.to_string()))?;
    let mut target = TypedImage::<U8x3>::from_buffer(to[1] as u32, to[0] as u32, out)
        .map_err(|e| refused(e.to_string()))?;
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
        .crop(columns.start as f64, 0.0, columns.len() as f64, height as f64)
        .use_alpha(false);
    simd.resize_typed(&source, &mut target, &options).map_err(|e| refused(e.to_string()))
}

#[cfg(test)]
mod tests;
