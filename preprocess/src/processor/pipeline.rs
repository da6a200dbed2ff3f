//! Frames to `pixel_values`: resize, crop and normalise, each frame on its own and several at a time.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::crop::{Overlap, resized_size, spatial_start};
use crate::normalize::{Formula, Levels};
use crate::processor::rgb::{Class, Conversion};
use crate::processor::{Numerics, ProcessorOptions, Size, options::invalid};
use crate::resize::{Resized, Resizer};
use crate::view::Image;
use crate::{Error, FramesView, PixelLevels, PixelValues, Result};

/// The frames of one video that go into the output, in order.
pub(super) struct Selection<'a> {
    pub(super) frames: FramesView<'a>,
    pub(super) indices: Vec<usize>,
    /// The views taken of them, all out of the same resized frames; at least one.
    pub(super) crops: Vec<Crop>,
}

/// Where the output is cut out of the resized frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crop {
    /// From the middle, if `do_center_crop` asks for it.
    Centre,
    /// At this place, of so many evenly spread along the longer edge.
    Along { view: usize, views: usize },
}

impl<'a> Selection<'a> {
    pub(super) fn all(frames: FramesView<'a>) -> Self {
        Self { frames, indices: (0..frames.num_frames()).collect(), crops: vec![Crop::Centre] }
    }
}

/// Processes `videos` into new memory.
pub(super) fn run(options: &ProcessorOptions, class: Class, videos: &[Selection<'_>]) -> Result<PixelValues> {
    let shape = output_shape(options, videos)?;
    let mut data = zeros(&shape)?;
    run_into(options, class, videos, &mut data)?;
    Ok(PixelValues { data, shape })
}

/// As [`run`], up to the levels; frames of numbers have none.
pub(super) fn levels(
    options: &ProcessorOptions,
    class: Class,
    videos: &[Selection<'_>],
) -> Result<PixelLevels> {
    let shape = output_shape(options, videos)?;
    let mut data = zeros(&shape)?;
    run_into(options, class, videos, &mut data)?;
    let table = Formula::of_channels(options, shape[2])?.iter().map(Formula::table).collect();
    Ok(PixelLevels { data, shape, table })
}

/// What the output is made of.
pub(super) trait Sample: Copy + Default + Send {
    /// Whether a number can become it, besides a level.
    const OF_NUMBERS: bool;

    /// What a level becomes.
    fn of_level(table: &Levels, level: u8) -> Self;

    /// What a number becomes.
    fn of_number(formula: &Formula, number: f32) -> Self;
}

impl Sample for f32 {
    const OF_NUMBERS: bool = true;

    fn of_level(table: &Levels, level: u8) -> Self {
        table[usize::from(level)]
    }

    fn of_number(formula: &Formula, number: f32) -> Self {
        formula.value(number)
    }
}

impl Sample for u8 {
    const OF_NUMBERS: bool = false;

    fn of_level(_: &Levels, level: u8) -> Self {
        level
    }

    fn of_number(_: &Formula, _: f32) -> Self {
        unreachable!("frames of numbers are refused first")
    }
}

/// Memory for a tensor. One that does not fit is an error of the input, not a reason to abort.
pub(super) fn zeros<D: Sample>(shape: &[usize; 5]) -> Result<Vec<D>> {
    let len = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let mut data = Vec::new();
    let Some(len) = len.filter(|&len| data.try_reserve_exact(len).is_ok()) else {
        return Err(Error::Shape {
            what: "pixel_values",
            expected: "a batch that fits in memory".to_owned(),
            found: format!("{shape:?} values"),
        });
    };
    data.resize(len, D::default());
    Ok(data)
}

/// Processes `videos` into the memory of the caller and returns the shape.
pub(super) fn run_into<D: Sample>(
    options: &ProcessorOptions,
    class: Class,
    videos: &[Selection<'_>],
    out: &mut [D],
) -> Result<[usize; 5]> {
    let shape = output_shape(options, videos)?;
    let [batch, num_frames, channels, height, width] = shape;
    let frame_len = channels * height * width;
    if out.len() != batch * num_frames * frame_len {
        return Err(Error::Shape {
            what: "pixel_values",
            expected: format!("{} values for {shape:?}", batch * num_frames * frame_len),
            found: format!("{} values", out.len()),
        });
    }
    let conversion = Conversion::of(options, class);
    let resizer = || Resizer::with(options.numerics, options.filter());
    // Refused here once, and not on every thread.
    resizer()?;
    let writer = Writer::new(Formula::of_channels(options, channels)?, [height, width]);
    let mut rest = out;
    for video in videos {
        let (out, behind) = rest.split_at_mut(video.crops.len() * num_frames * frame_len);
        rest = behind;
        let blends = conversion.blends(video.frames, &video.indices);
        let from = [video.frames.height(), video.frames.width(), channels];
        // The frames do not depend on each other, so that neither do their values on the number of threads.
        let results: Vec<Result<()>> = by_frame(out, num_frames, frame_len)
            .into_par_iter()
            .zip(&video.indices)
            .map_init(resizer, |resizer, (targets, &index)| {
                let frame = video.frames.frame(index);
                let frame = conversion.apply(frame, video.frames.num_channels(), blends)?;
                let resizer = resizer.as_mut().expect("a resizer with these options was made before");
                Steps { options, resizer, writer: &writer }.run(frame, from, &video.crops, targets)
            })
            .collect();
        results.into_iter().collect::<Result<()>>()?;
    }
    Ok(shape)
}

/// The parts of the views `(T, C, H, W)` that lie in `out` one after the other, by frame: one of each view.
fn by_frame<D>(out: &mut [D], num_frames: usize, frame_len: usize) -> Vec<Vec<&mut [D]>> {
    let mut frames: Vec<Vec<&mut [D]>> = std::iter::repeat_with(Vec::new).take(num_frames).collect();
    for (place, target) in out.chunks_exact_mut(frame_len).enumerate() {
        frames[place % num_frames].push(target);
    }
    frames
}

/// The shape `[B, T, C, H, W]` that `videos` give under `options`.
pub(super) fn output_shape(options: &ProcessorOptions, videos: &[Selection<'_>]) -> Result<[usize; 5]> {
    options.validate()?;
    let mut shapes = videos.iter().map(|video| {
        let frames = video.frames;
        let resized = resized_size(options, frames.height(), frames.width());
        let [height, width] = match (video.crops.first(), options.crop_size) {
            (Some(Crop::Along { .. }), _) => [resized[0].min(resized[1]); 2],
            (_, Size::Exact { height, width }) if options.do_center_crop => [height, width],
            _ => resized,
        };
        let channels = if options.do_convert_rgb { 3 } else { frames.num_channels() };
        [video.indices.len(), channels, height, width]
    });
    let mismatch =
        |expected: String, found: String| Error::Shape { what: "batch of videos", expected, found };
    let Some(first) = shapes.next() else {
        return Err(mismatch("at least one video".to_owned(), "none".to_owned()));
    };
    for (i, shape) in shapes.enumerate() {
        if shape != first {
            return Err(mismatch(
                format!("{first:?} (T, C, H, W) for every video, as for the first"),
                format!("{shape:?} for video {}", i + 1),
            ));
        }
    }
    let [num_frames, channels, height, width] = first;
    let views = videos.iter().map(|video| video.crops.len()).sum();
    Ok([views, num_frames, channels, height, width])
}

/// What happens to every frame.
struct Steps<'a> {
    options: &'a ProcessorOptions,
    resizer: &'a mut Resizer,
    writer: &'a Writer,
}

impl Steps<'_> {
    /// Takes one frame of shape `from` = `[H, W, C]` to the target of each crop, `(C, H, W)`.
    fn run<D: Sample>(
        &mut self,
        frame: Image<'_>,
        from: [usize; 3],
        crops: &[Crop],
        targets: Vec<&mut [D]>,
    ) -> Result<()> {
        let [height, width, _] = from;
        let to = resized_size(self.options, height, width);
        let overlaps: Vec<_> = crops.iter().map(|&crop| self.overlaps(to, crop)).collect::<Result<_>>()?;
        // From the first column that any view needs to the last.
        let columns = || overlaps.iter().map(|[_, columns]| columns);
        let first = columns().map(|columns| columns.source).min().unwrap_or(0);
        let end = columns().map(|columns| columns.source + columns.len).max().unwrap_or(to[1]);
        let views = overlaps.iter().zip(targets);
        match frame {
            Image::Bytes(bytes) => {
                let resized = self.resizer.resize_columns(&bytes, from, to, first..end)?;
                views.for_each(|(overlaps, out)| self.writer.levels(resized, overlaps, out));
            }
            Image::Values(values) if !D::OF_NUMBERS => {
                return Err(invalid("frames", "bytes, to be given as levels", values[0]));
            }
            Image::Values(values) if self.options.numerics == Numerics::OpencvLinear => {
                return Err(invalid("numerics", "frames of bytes for opencv-linear", values[0]));
            }
            Image::Values(values) if self.options.do_resize && self.options.numerics.is_pillow() => {
                let (bytes, rescales) = pillow_levels(&values)?;
                let resized = self.resizer.resize_columns(&bytes, from, to, first..end)?;
                if rescales {
                    let values: Vec<f32> = resized.data.iter().map(|&level| unit_value(level)).collect();
                    let Resized { stride, first_column, .. } = resized;
                    let resized = Resized { data: values.as_slice(), stride, first_column };
                    views.for_each(|(overlaps, out)| self.writer.values(resized, overlaps, out));
                } else {
                    views.for_each(|(overlaps, out)| self.writer.levels(resized, overlaps, out));
                }
            }
            Image::Values(values) => {
                let values = match to == [height, width] {
                    true => values,
                    false => Cow::Owned(self.resizer.resize_values(&values, from, to)?),
                };
                let resized = Resized { data: &values, stride: to[1], first_column: 0 };
                views.for_each(|(overlaps, out)| self.writer.values(resized, overlaps, out));
            }
        }
        Ok(())
    }

    /// Rows and columns of the output in a resized frame of `edges`.
    fn overlaps(&self, edges: [usize; 2], crop: Crop) -> Result<[Overlap; 2]> {
        let output = self.writer.size;
        let numerics = self.options.numerics;
        if numerics == Numerics::OpencvLinear && (edges[0] < output[0] || edges[1] < output[1]) {
            let expected = format!("at most the resized frame, {}×{}", edges[0], edges[1]);
            return Err(invalid("crop_size", expected, format!("{}×{}", output[0], output[1])));
        }
        Ok([0, 1].map(|axis| match crop {
            Crop::Centre => Overlap::centre(numerics, edges[axis], output[axis]),
            Crop::Along { view, views } => {
                Overlap::at(spatial_start(view, views, edges[axis], output[axis]), output[axis])
            }
        }))
    }
}

/// Values as the bytes that Pillow takes, and whether they were from 0 to 1, as transformers guesses it.
fn pillow_levels(values: &[f32]) -> Result<(Vec<u8>, bool)> {
    // NumPy's `allclose` to the truncated value, with its default tolerances.
    let whole = |&value: &f32| {
        let truncated = f64::from(value).trunc();
        (f64::from(value) - truncated).abs() <= 1e-8 + 1e-5 * truncated.abs()
    };
    let outside =
        |most: f32| values.iter().find(|&&value| !(0.0..=most).contains(&value)).map(f32::to_string);
    let wrong = |expected, found| Err(invalid("values of a frame", expected, found));
    if values.iter().all(whole) {
        return match outside(255.0) {
            Some(found) => wrong("whole numbers from 0 to 255, to be resized with Pillow", found),
            None => Ok((values.iter().map(|&value| value as u8).collect(), false)),
        };
    }
    match outside(1.0) {
        Some(found) => wrong("whole numbers, or values from 0 to 1, to be resized with Pillow", found),
        None => Ok((values.iter().map(|&value| (f64::from(value) * 255.0) as f32 as u8).collect(), true)),
    }
}

/// A level back in the range from 0 to 1.
fn unit_value(level: u8) -> f32 {
    (f64::from(level) * (1.0 / 255.0)) as f32
}

/// Crops, rescales, normalises, and moves channels to the front: `(H, W, C)` samples to `(C, H, W)` values.
struct Writer {
    formulas: Vec<Formula>,
    tables: Vec<Levels>,
    /// Height and width of the output.
    size: [usize; 2],
}

impl Writer {
    fn new(formulas: Vec<Formula>, size: [usize; 2]) -> Self {
        Self { tables: formulas.iter().map(Formula::table).collect(), formulas, size }
    }

    fn levels<D: Sample>(&self, image: Resized<'_, u8>, overlaps: &[Overlap; 2], out: &mut [D]) {
        for (channel, table) in self.tables.iter().enumerate() {
            self.plane(image, overlaps, channel, |level| D::of_level(table, level), out);
        }
    }

    fn values<D: Sample>(&self, image: Resized<'_, f32>, overlaps: &[Overlap; 2], out: &mut [D]) {
        for (channel, formula) in self.formulas.iter().enumerate() {
            self.plane(image, overlaps, channel, |value| D::of_number(formula, value), out);
        }
    }

    /// Writes one channel.
    fn plane<S: Copy + Default, D: Copy>(
        &self,
        image: Resized<'_, S>,
        [rows, columns]: &[Overlap; 2],
        channel: usize,
        value: impl Fn(S) -> D,
        out: &mut [D],
    ) {
        let channels = self.formulas.len();
        let [height, width] = self.size;
        let plane = &mut out[channel * height * width..][..height * width];
        if rows.len < height || columns.len < width {
            // Padding is a level of 0 that goes through rescale and normalise like any other.
            plane.fill(value(S::default()));
        }
        let first = columns.source - image.first_column;
        for y in 0..rows.len {
            let source = &image.data[((rows.source + y) * image.stride + first) * channels..];
            let target = &mut plane[(rows.target + y) * width + columns.target..][..columns.len];
            for (out, pixel) in target.iter_mut().zip(source.chunks_exact(channels)) {
                *out = value(pixel[channel]);
            }
        }
    }
}
