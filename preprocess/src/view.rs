//! Borrowed frames, as the processors take them.

use std::borrow::Cow;

use crate::{Error, Frames, Result};

/// Borrowed frames of one video: bytes or `f32` values, channels last `(T, H, W, C)` or first `(T, C, H, W)`,
/// row-major.
///
/// C is 3 (RGB), 1 (grey) or 4 (RGBA). The layout is stated by the constructor; [`ChannelOrder::infer`] guesses it
/// as the reference does. Values are taken as they come: with `do_rescale` on they are expected to be from 0 to 255.
#[derive(Clone, Copy, Debug)]
pub struct FramesView<'a> {
    samples: Samples<'a>,
    order: ChannelOrder,
    /// `[T, H, W, C]`, whatever the order in memory.
    shape: [usize; 4],
}

/// The samples of frames.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// Levels from 0 to 255.
    Bytes(&'a [u8]),
    /// Numbers.
    Values(&'a [f32]),
}

/// Where the channels of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// `(…, C, H, W)`
    First,
    /// `(…, H, W, C)`
    Last,
}

impl ChannelOrder {
    /// The order of an array of frames that has one of `num_channels` channels; where both would do, channels come
    /// first.
    ///
    /// `infer_channel_dimension_format` of transformers: with 1, 3 or 4 channels for the image processor of
    /// transformers 5, 1 or 3 for its video processor and for transformers 4.
    ///
    /// # Errors
    /// [`Error::Shape`] when neither order fits.
    pub fn infer(shape: [usize; 4], num_channels: &[usize]) -> Result<Self> {
        let [_, first, _, last] = shape;
        if num_channels.contains(&first) {
            return Ok(Self::First);
        }
        if num_channels.contains(&last) {
            return Ok(Self::Last);
        }
        Err(Error::Shape {
            what: "frames",
            expected: format!("one of {num_channels:?} channels in the second or in the last place"),
            found: format!("{shape:?}"),
        })
    }
}

impl<'a> FramesView<'a> {
    /// Wraps `samples`, which holds T · H · W · C of them for `shape` = `[T, H, W, C]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is another number of samples, a size is zero, or C is not 1, 3 or 4.
    pub fn new(samples: impl Into<Samples<'a>>, shape: [usize; 4]) -> Result<Self> {
        Self::with_order(samples, shape, ChannelOrder::Last)
    }

    /// Wraps `samples`, which holds T · C · H · W of them for `shape` = `[T, C, H, W]`.
    ///
    /// # Errors
    /// As [`FramesView::new`].
    pub fn channels_first(samples: impl Into<Samples<'a>>, shape: [usize; 4]) -> Result<Self> {
        Self::with_order(samples, shape, ChannelOrder::First)
    }

    /// Wraps `samples` whose shape has its channels where `order` says.
    ///
    /// # Errors
    /// As [`FramesView::new`].
    pub fn with_order(
        samples: impl Into<Samples<'a>>,
        shape: [usize; 4],
        order: ChannelOrder,
    ) -> Result<Self> {
        let samples = samples.into();
        let wrong = |expected: String, found: String| Error::Shape { what: "frames", expected, found };
        let expected = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if expected != Some(samples.len()) || samples.len() == 0 {
            let kind = samples.kind();
            return Err(wrong(
                format!("{shape:?} {kind}, at least one"),
                format!("{} {kind}", samples.len()),
            ));
        }
        let (shape, layout) = match order {
            ChannelOrder::Last => (shape, "last, (T, H, W, C)"),
            ChannelOrder::First => ([shape[0], shape[2], shape[3], shape[1]], "first, (T, C, H, W)"),
        };
        if !matches!(shape[3], 1 | 3 | 4) {
            return Err(wrong(
                format!("1, 3 or 4 channels {layout}"),
                format!("{} channels, {}×{}", shape[3], shape[1], shape[2]),
            ));
        }
        Ok(Self { samples, order, shape })
    }

    /// T.
    pub fn num_frames(&self) -> usize {
        self.shape[0]
    }

    /// H, in pixels.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// W, in pixels.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// C.
    pub fn num_channels(&self) -> usize {
        self.shape[3]
    }

    /// One frame, `(H, W, C)`.
    ///
    /// # Panics
    /// When `index` is not below [`FramesView::num_frames`].
    pub(crate) fn frame(&self, index: usize) -> Image<'a> {
        match self.samples {
            Samples::Bytes(bytes) => Image::Bytes(self.channels_last(bytes, index)),
            Samples::Values(values) => Image::Values(self.channels_last(values, index)),
        }
    }

    fn channels_last<S: Copy>(&self, samples: &'a [S], index: usize) -> Cow<'a, [S]> {
        let [_, height, width, channels] = self.shape;
        let plane = height * width;
        let frame = &samples[index * plane * channels..][..plane * channels];
        match self.order {
            ChannelOrder::Last => Cow::Borrowed(frame),
            ChannelOrder::First => {
                let pixel = |i: usize| (0..channels).map(move |channel| frame[channel * plane + i]);
                Cow::Owned((0..plane).flat_map(pixel).collect())
            }
        }
    }
}

/// One frame, `(H, W, C)`.
#[derive(Clone, Debug)]
pub(crate) enum Image<'a> {
    Bytes(Cow<'a, [u8]>),
    Values(Cow<'a, [f32]>),
}

impl Samples<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Values(values) => values.len(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Values(_) => "values",
        }
    }
}

impl<'a> From<&'a [u8]> for Samples<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Samples<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a [f32]> for Samples<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Samples<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl<'a> From<&'a Frames> for FramesView<'a> {
    fn from(frames: &'a Frames) -> Self {
        Self {
            samples: Samples::Bytes(frames.as_bytes()),
            order: ChannelOrder::Last,
            shape: [frames.num_frames(), frames.height(), frames.width(), 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_first_is_read_channels_last() {
        // Two frames of 1×2 pixels and three channels.
        let bytes: Vec<u8> = (0..12).collect();
        let view = FramesView::channels_first(&bytes, [2, 3, 1, 2]).unwrap();
        assert_eq!((view.num_frames(), view.height(), view.width(), view.num_channels()), (2, 1, 2, 3));
        let Image::Bytes(frame) = view.frame(1) else { panic!("bytes stay bytes") };
        assert_eq!(frame[..], [6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn the_order_is_inferred_as_in_the_reference() {
        let infer = |shape| ChannelOrder::infer(shape, &[1, 3]);
        assert_eq!(infer([8, 20, 30, 3]).unwrap(), ChannelOrder::Last);
        assert_eq!(infer([8, 3, 20, 30]).unwrap(), ChannelOrder::First);
        assert_eq!(infer([8, 3, 20, 1]).unwrap(), ChannelOrder::First);
        assert!(infer([8, 20, 30, 4]).is_err());
        assert_eq!(ChannelOrder::infer([8, 20, 30, 4], &[1, 3, 4]).unwrap(), ChannelOrder::Last);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let values = vec![0.0f32; 24];
        for (shape, message) in [
            ([1, 2, 4, 4], "frames: expected [1, 2, 4, 4] values, at least one, found 24 values"),
            ([0, 2, 4, 3], "frames: expected [0, 2, 4, 3] values, at least one, found 24 values"),
            ([usize::MAX, 2, 4, 3], "frames: expected [18446744073709551615, 2, 4, 3] values"),
            ([1, 3, 4, 2], "frames: expected 1, 3 or 4 channels last, (T, H, W, C), found 2 channels, 3×4"),
        ] {
            let error = FramesView::new(&values, shape).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error = FramesView::channels_first(&values, [1, 2, 3, 4]).unwrap_err().to_string();
        assert_eq!(error, "frames: expected 1, 3 or 4 channels first, (T, C, H, W), found 2 channels, 3×4");
    }
}
