//! Frames to `pixel_values`: resize, crop and normalise, one frame at a time.

use std::borrow::Cow;

use crate::crop::{Overlap, resized_size};
use crate::normalize::{Levels, level_tables};
use crate::processor::{ProcessorOptions, Size};
use crate::resize::{Resized, Resizer};
use crate::{Error, FramesView, PixelValues, Result};

/// The frames of one video that go into the output, in order.
pub(super) struct Selection<'a> {
    pub(super) frames: FramesView<'a>,
    pub(super) indices: Vec<usize>,
}

impl<'a> Selection<'a> {
    pub(super) fn all(frames: FramesView<'a>) -> Self {
        Self { frames, indices: (0..frames.num_frames()).collect() }
    }
}

/// Processes `videos` into new memory.
pub(super) fn run(options: &ProcessorOptions, videos: &[Selection<'_>]) -> Result<PixelValues> {
    let shape = output_shape(options, videos)?;
    let len = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let mut data = Vec::new();
    // A batch that does not fit in memory is an error of the input, not a reason to abort.
    let Some(len) = len.filter(|&len| data.try_reserve_exact(len).is_ok()) else {
        return Err(Error::Shape {
            what: "pixel_values",
            expected: "a batch that fits in memory".to_owned(),
            found: format!("{shape:?} values"),
        });
    };
    data.resize(len, 0.0);
    run_into(options, videos, &mut data)?;
    Ok(PixelValues { data, shape })
}

/// Processes `videos` into the memory of the caller and returns the shape.
pub(super) fn run_into(
    options: &ProcessorOptions,
    videos: &[Selection<'_>],
    out: &mut [f32],
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
    let tables = level_tables(options, channels)?;
    let mut resizer = Resizer::new();
    let frames = videos.iter().flat_map(|video| video.indices.iter().map(|&index| (video.frames, index)));
    for ((frames, index), out) in frames.zip(out.chunks_exact_mut(frame_len)) {
        let pixels = converted(options, frames, index)?;
        let from = [frames.height(), frames.width(), channels];
        let resized_to = resized_size(options, from[0], from[1]);
        let [rows, columns] = overlaps(resized_to, [height, width]);
        let kept = columns.source..columns.source + columns.len;
        let resized = resizer.resize_columns(&pixels, from, resized_to, kept)?;
        write_planes(resized, &tables, rows, columns, [height, width], out);
    }
    Ok(shape)
}

/// The shape `[B, T, C, H, W]` that `videos` give under `options`.
pub(super) fn output_shape(options: &ProcessorOptions, videos: &[Selection<'_>]) -> Result<[usize; 5]> {
    options.validate()?;
    let mut shapes = videos.iter().map(|video| {
        let frames = video.frames;
        let [height, width] = match options.crop_size {
            Size::Exact { height, width } if options.do_center_crop => [height, width],
            _ => resized_size(options, frames.height(), frames.width()),
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
    Ok([videos.len(), num_frames, channels, height, width])
}

fn overlaps(resized: [usize; 2], output: [usize; 2]) -> [Overlap; 2] {
    [Overlap::centre(resized[0], output[0]), Overlap::centre(resized[1], output[1])]
}

/// The pixels of one frame, as RGB where the options ask for it.
fn converted<'a>(options: &ProcessorOptions, frames: FramesView<'a>, index: usize) -> Result<Cow<'a, [u8]>> {
    let pixels = frames.frame(index);
    match frames.num_channels() {
        1 if options.do_convert_rgb => Ok(pixels.iter().flat_map(|&level| [level; 3]).collect()),
        4 if options.do_convert_rgb => {
            if let Some(alpha) = pixels.iter().skip(3).step_by(4).find(|&&alpha| alpha != 255) {
                return Err(super::options::invalid(
                    "do_convert_rgb",
                    "an opaque fourth channel (255 everywhere)",
                    format!("{alpha} in frame {index}"),
                ));
            }
            Ok(pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
        }
        _ => Ok(Cow::Borrowed(pixels)),
    }
}

/// Looks every sample up and moves channels to the front: `(H, W, C)` bytes to `(C, H, W)` values.
fn write_planes(
    image: Resized<'_>,
    tables: &[Levels],
    rows: Overlap,
    columns: Overlap,
    [height, width]: [usize; 2],
    out: &mut [f32],
) {
    let channels = tables.len();
    let padded = rows.len < height || columns.len < width;
    let first = columns.source - image.first_column;
    for ((channel, table), plane) in tables.iter().enumerate().zip(out.chunks_exact_mut(height * width)) {
        if padded {
            // Padding is a level of 0 that goes through rescale and normalise like any other.
            plane.fill(table[0]);
        }
        for y in 0..rows.len {
            let source = &image.data[((rows.source + y) * image.stride + first) * channels..];
            let target = &mut plane[(rows.target + y) * width + columns.target..][..columns.len];
            for (value, pixel) in target.iter_mut().zip(source.chunks_exact(channels)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}
