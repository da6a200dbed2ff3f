//! Bilinear resizing with the numerics of torchvision on `uint8` tensors.
//!
//! A triangle filter whose support grows with the reduction (antialiasing), its weights rounded to 16 bits, two
//! passes, horizontal first, rounded to 8 bits after each. torchvision rounds this way on CPUs with AVX2, AVX-512
//! or NEON; its result on a GPU differs by one level on up to a fifth of the bytes.
//!
//! `fast_image_resize` computes the same integers with SIMD, when it is asked for one axis at a time: in a single
//! call it would go vertical first. It allows 21 bits of precision at most where torchvision allows 22, which shows
//! only past a 128-fold reduction; `direct` serves those and frames that are not RGB, and is the oracle of the tests.

mod direct;

use std::ops::Range;

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::U8x3;

use crate::{Error, Result};

/// Edges longer than this are refused: decoders refuse them as well, and they would not fit in memory.
pub(crate) const MAX_EDGE: usize = 16_384;

/// Pixels in one resized image; 64 Mi pixels are 192 MiB of RGB.
const MAX_PIXELS: usize = 64 << 20;

/// From this reduction on the direct form is used. At 100 to 1 the largest weight is still above 1/128, the point
/// where the two precisions part.
const DIRECT_FROM_REDUCTION: usize = 100;

/// Resizes images; keeps its buffers from one image to the next.
#[derive(Debug, Default)]
pub struct Resizer {
    simd: fir::Resizer,
    /// The result of the horizontal pass, `(H, new W, C)`.
    horizontal: Vec<u8>,
    /// The result of the vertical pass, `(new H, columns kept, C)`.
    vertical: Vec<u8>,
}

/// A resized image, or the columns of it that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resized<'a> {
    pub(crate) data: &'a [u8],
    /// Pixels from one row to the next.
    pub(crate) stride: usize,
    /// The column of the resized image that the first pixel of `data` belongs to.
    pub(crate) first_column: usize,
}

impl Resizer {
    /// A resizer with the best instruction set of this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resizes `image` of shape `from` = `[H, W, C]` to `(to[0], to[1], C)`.
    ///
    /// Equal to `torchvision.transforms.v2.functional.resize(…, antialias=True)` on `uint8`, bit for bit.
    ///
    /// # Errors
    /// [`Error::Shape`] when `image` does not have the shape `from`, or a size is zero or absurdly large.
    pub fn resize(&mut self, image: &[u8], from: [usize; 3], to: [usize; 2]) -> Result<Vec<u8>> {
        Ok(self.resize_columns(image, from, to, 0..to[1])?.data.to_vec())
    }

    /// As [`Resizer::resize`], but the vertical pass leaves out columns outside `columns`, which a centre crop
    /// would throw away. Rows cannot be left out: the precision of the weights depends on all of them.
    pub(crate) fn resize_columns<'a>(
        &'a mut self,
        image: &'a [u8],
        from: [usize; 3],
        to: [usize; 2],
        columns: Range<usize>,
    ) -> Result<Resized<'a>> {
        let [height, width, channels] = from;
        let [new_height, new_width] = to;
        check_sizes(image, from, to)?;

        let rows = if new_width == width {
            image
        } else {
            self.horizontal.resize(height * new_width * channels, 0);
            horizontal_pass(&mut self.simd, image, from, new_width, &mut self.horizontal)?;
            &self.horizontal
        };
        if new_height == height {
            return Ok(Resized { data: rows, stride: new_width, first_column: 0 });
        }
        let (first_column, stride) = (columns.start, columns.len());
        self.vertical.resize(new_height * stride * channels, 0);
        vertical_pass(
            &mut self.simd,
            rows,
            [height, new_width, channels],
            new_height,
            columns,
            &mut self.vertical,
        )?;
        Ok(Resized { data: &self.vertical, stride, first_column })
    }
}

fn check_sizes(image: &[u8], [height, width, channels]: [usize; 3], to: [usize; 2]) -> Result<()> {
    let in_range = |edge: usize| (1..=MAX_EDGE).contains(&edge);
    if !in_range(height) || !in_range(width) || image.len() != height * width * channels {
        return Err(Error::Shape {
            what: "resize",
            expected: format!("an image of {height}×{width}×{channels} bytes, edges from 1 to {MAX_EDGE}"),
            found: format!("{} bytes", image.len()),
        });
    }
    // Only one pass widens the image at a time, so the image between the passes has to be small enough as well.
    let pixels = [to[0], height].map(|rows| rows.saturating_mul(to[1]));
    if to.contains(&0) || pixels.iter().any(|&n| n > MAX_PIXELS) {
        return Err(Error::Shape {
            what: "resize",
            expected: format!("a result of 1 to {MAX_PIXELS} pixels"),
            found: format!("{height}×{width} to {}×{}", to[0], to[1]),
        });
    }
    Ok(())
}

fn horizontal_pass(
    simd: &mut fir::Resizer,
    image: &[u8],
    [height, width, channels]: [usize; 3],
    new_width: usize,
    out: &mut [u8],
) -> Result<()> {
    if channels != 3 || width >= DIRECT_FROM_REDUCTION * new_width {
        direct::horizontal(image, [height, width, channels], new_width, out);
        return Ok(());
    }
    one_axis(simd, image, [height, width], [height, new_width], 0..width, out)
}

fn vertical_pass(
    simd: &mut fir::Resizer,
    image: &[u8],
    [height, width, channels]: [usize; 3],
    new_height: usize,
    columns: Range<usize>,
    out: &mut [u8],
) -> Result<()> {
    if channels != 3 || height >= DIRECT_FROM_REDUCTION * new_height {
        direct::vertical(image, [height, width, channels], new_height, columns, out);
        return Ok(());
    }
    one_axis(simd, image, [height, width], [new_height, columns.len()], columns, out)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        (0..len as u64).map(|i| (crate::random::hash(seed, i) >> 56) as u8).collect()
    }

    fn direct_resize(image: &[u8], [h, w, c]: [usize; 3], [new_h, new_w]: [usize; 2]) -> Vec<u8> {
        let mut wide = image.to_vec();
        if new_w != w {
            wide = vec![0; h * new_w * c];
            direct::horizontal(image, [h, w, c], new_w, &mut wide);
        }
        if new_h == h {
            return wide;
        }
        let mut out = vec![0; new_h * new_w * c];
        direct::vertical(&wide, [h, new_w, c], new_h, 0..new_w, &mut out);
        out
    }

    proptest! {
        #[test]
        fn simd_passes_equal_the_direct_form(
            h in 1usize..90, w in 1usize..90, new_h in 1usize..90, new_w in 1usize..90,
            c in prop::sample::select(vec![1usize, 3, 4]), seed: u64,
        ) {
            let image = noise(h * w * c, seed);
            let fast = Resizer::new().resize(&image, [h, w, c], [new_h, new_w]).unwrap();
            prop_assert_eq!(fast, direct_resize(&image, [h, w, c], [new_h, new_w]));
        }

        #[test]
        fn columns_equal_those_of_the_whole_image(
            h in 1usize..40, w in 1usize..40, new_h in 1usize..40, new_w in 1usize..40, cut in 0.0f64..1.0, seed: u64,
        ) {
            let image = noise(h * w * 3, seed);
            let whole = Resizer::new().resize(&image, [h, w, 3], [new_h, new_w]).unwrap();
            let first = (cut * new_w as f64) as usize;
            let mut resizer = Resizer::new();
            let part = resizer.resize_columns(&image, [h, w, 3], [new_h, new_w], first..new_w).unwrap();
            for y in 0..new_h {
                let kept = (y * part.stride + first - part.first_column) * 3;
                let len = (new_w - first) * 3;
                prop_assert_eq!(&part.data[kept..kept + len], &whole[(y * new_w + first) * 3..][..len]);
            }
        }
    }

    #[test]
    fn reductions_around_the_switch_to_the_direct_form_agree() {
        for (from, to) in [(99, 1), (100, 1), (101, 1), (199, 2), (200, 2), (2_300, 19)] {
            let image = noise(from * 3, 7);
            let fast = Resizer::new().resize(&image, [1, from, 3], [1, to]).unwrap();
            assert_eq!(fast, direct_resize(&image, [1, from, 3], [1, to]), "{from} to {to}");
        }
    }

    #[test]
    fn equal_sizes_change_nothing() {
        let image = noise(5 * 7 * 3, 1);
        assert_eq!(Resizer::new().resize(&image, [5, 7, 3], [5, 7]).unwrap(), image);
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let mut resizer = Resizer::new();
        for to in [[0, 4], [4, 0], [usize::MAX, 4], [4, usize::MAX], [1 << 20, 1 << 20]] {
            assert!(resizer.resize(&[0; 12], [2, 2, 3], to).is_err(), "{to:?}");
        }
        assert!(resizer.resize(&[0; 11], [2, 2, 3], [4, 4]).is_err());
    }
}
