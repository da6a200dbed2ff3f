//! `videomae video`.

use std::{
    fmt::Write as _,
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use videomae_preprocess::{
    Frames, VideoInfo, VideoReader, open_video_with, read_frames,
    resize::Resizer,
    sample::{Times, union},
};

use crate::arguments::{Decoding, Sampling};

/// Shows what a file holds, how it is read and which frames a sampling mode takes.
#[derive(Args)]
pub(crate) struct Video {
    /// A video
    #[arg(value_name = "VIDEO")]
    file: PathBuf,

    #[command(flatten)]
    sampling: Sampling,

    #[command(flatten)]
    decoding: Decoding,

    /// Write the frames taken as one PNG picture, in rows of four, each frame once
    #[arg(long, value_name = "PNG")]
    sheet: Option<PathBuf>,

    /// Print a JSON object: the same, with times in seconds
    #[arg(long)]
    json: bool,
}

/// Frames of a clip when nobody says otherwise: those of every published VideoMAE.
const NUM_FRAMES: usize = 16;

#[derive(Serialize)]
struct Report {
    video: String,
    container: String,
    codec: String,
    decoder: String,
    num_frames: usize,
    frame_rate: Option<f64>,
    duration: Option<f64>,
    width: usize,
    height: usize,
    /// Degrees clockwise by which the decoder's pictures are turned.
    rotation: u32,
    /// Matrix and range; none for RGB.
    colour: Option<String>,
    sampling: String,
    clips: Vec<Vec<Taken>>,
}

#[derive(Clone, Copy, Serialize)]
struct Taken {
    frame: usize,
    time: f64,
}

pub(crate) fn run(options: &Video) -> Result<()> {
    let mut reader = open_video_with(&options.file, options.decoding.options())?;
    let starts = reader.times();
    let total = reader.info().num_frames;
    let sampler = options.sampling.sampler(NUM_FRAMES.min(total));
    let times = Times { starts: &starts, end: reader.info().duration.unwrap_or(f64::INFINITY) };
    let clips = sampler.clips(total, Some(times), 0).with_context(|| options.file.display().to_string())?;
    if let Some(sheet) = &options.sheet {
        write_sheet(sheet, &mut *reader, &union(&clips))?;
    }
    let taken = |clip: Vec<usize>| clip.iter().map(|&frame| Taken { frame, time: starts[frame] }).collect();
    let clips = clips.into_iter().map(taken).collect();
    let report = Report::new(reader.info(), sampler.mode.to_string(), clips);
    match options.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", report.to_text()),
    }
    Ok(())
}

impl Report {
    fn new(info: &VideoInfo, sampling: String, clips: Vec<Vec<Taken>>) -> Self {
        let range = |full| if full { "full range" } else { "limited range" };
        Self {
            video: info.path.display().to_string(),
            container: info.container.clone(),
            codec: info.codec.clone(),
            decoder: info.decoder.clone(),
            num_frames: info.num_frames,
            frame_rate: info.frame_rate,
            duration: info.duration,
            width: info.width,
            height: info.height,
            rotation: info.orientation.degrees(),
            colour: info.colour.map(|colour| {
                format!("{}, {}", format!("{:?}", colour.matrix).to_lowercase(), range(colour.full_range))
            }),
            sampling,
            clips,
        }
    }

    fn to_text(&self) -> String {
        let known = |number: Option<f64>, unit: &str| {
            number.map_or("unknown".to_owned(), |number| format!("{number:.2} {unit}"))
        };
        let mut text = format!("{}\n", self.video);
        for (name, value) in [
            ("container", self.container.clone()),
            ("codec", self.codec.clone()),
            ("decoder", self.decoder.clone()),
            ("frames", self.num_frames.to_string()),
            ("rate", known(self.frame_rate, "fps")),
            ("duration", known(self.duration, "s")),
            ("size", format!("{}×{}", self.width, self.height)),
            ("rotation", format!("{}°", self.rotation)),
            ("colour", self.colour.clone().unwrap_or("rgb".to_owned())),
            ("sampling", self.sampling.clone()),
        ] {
            let _ = writeln!(text, "  {name:9}  {value}");
        }
        for (number, clip) in self.clips.iter().enumerate() {
            let frames: Vec<String> =
                clip.iter().map(|taken| format!("{} ({:.2} s)", taken.frame, taken.time)).collect();
            let _ = writeln!(text, "  {:9}  {}", format!("clip {}", number + 1), frames.join(", "));
        }
        text
    }
}

/// Frames in a row.
const COLUMNS: usize = 4;

/// The longer side of a frame in the sheet, in pixels: four of them fit on any screen.
const SIDE: usize = 256;

/// Black between frames, in pixels.
const GAP: usize = 4;

/// Writes frames in rows, small, in the order in which they are shown.
fn write_sheet(path: &Path, reader: &mut dyn VideoReader, indices: &[usize]) -> Result<()> {
    let frames = read_frames(reader, indices)?;
    let (width, height, pixels) = sheet(&frames)?;
    let named = || format!("{}: the sheet cannot be written", path.display());
    // To a temporary name first: a picture that is there is whole.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let file = std::fs::File::create(&temporary).with_context(named)?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(named)?;
    writer.write_image_data(&pixels).with_context(named)?;
    writer.finish().with_context(named)?;
    std::fs::rename(&temporary, path).with_context(named)
}

/// Width, height and RGB of the sheet.
fn sheet(frames: &Frames) -> Result<(usize, usize, Vec<u8>)> {
    let longer = frames.width().max(frames.height());
    let scaled = |side: usize| (side * SIDE.min(longer) / longer).max(1);
    let (width, height) = (scaled(frames.width()), scaled(frames.height()));
    let columns = COLUMNS.min(frames.num_frames());
    let rows = frames.num_frames().div_ceil(columns);
    let (sheet_width, sheet_height) = (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP);
    let mut pixels = vec![0; sheet_width * sheet_height * 3];
    let mut resizer = Resizer::new();
    for index in 0..frames.num_frames() {
        let from = [frames.height(), frames.width(), 3];
        let small = resizer.resize(frames.frame(index), from, [height, width])?;
        let (left, top) = (index % columns * (width + GAP), index / columns * (height + GAP));
        for (row, source) in small.chunks_exact(width * 3).enumerate() {
            let start = ((top + row) * sheet_width + left) * 3;
            pixels[start..start + width * 3].copy_from_slice(source);
        }
    }
    Ok((sheet_width, sheet_height, pixels))
}
