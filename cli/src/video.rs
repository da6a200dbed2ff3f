//! `videomae video`.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use videomae_preprocess::{
    VideoInfo, open_video_with, read_frames,
    sample::{Times, union},
};

use crate::{
    arguments::{Decoding, Sampling},
    clip,
    sheet::{self, Label},
};

/// Shows what a file holds, how it is read and which frames a sampling mode takes.
#[derive(Args)]
pub(crate) struct Video {
    /// A video, or a folder of pictures
    #[arg(value_name = "VIDEO")]
    file: PathBuf,

    #[command(flatten)]
    sampling: Sampling,

    #[command(flatten)]
    decoding: Decoding,

    /// Write the frames taken as one PNG picture, in rows of four, each once and with its number and time
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
    /// None where the file does not tell.
    time: Option<f64>,
}

pub(crate) fn run(options: &Video) -> Result<()> {
    let mut reader = open_video_with(&options.file, options.decoding.options())?;
    let starts = clip::starts(&*reader);
    let time = |frame: usize| starts.as_ref().map(|starts| starts[frame]);
    let total = reader.info().num_frames;
    let sampler = options.sampling.sampler(NUM_FRAMES.min(total));
    let end = reader.info().duration.unwrap_or(f64::INFINITY);
    let times = starts.as_deref().map(|starts| Times { starts, end });
    let clips = sampler.clips(total, times, 0).with_context(|| options.file.display().to_string())?;
    if let Some(path) = &options.sheet {
        let indices = union(&clips);
        let frames = read_frames(&mut *reader, &indices)?;
        let labels: Vec<_> = indices.into_iter().map(|frame| Label { frame, time: time(frame) }).collect();
        sheet::write(path, &frames, &labels)?;
    }
    let taken = |clip: Vec<usize>| clip.iter().map(|&frame| Taken { frame, time: time(frame) }).collect();
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
            let frames: Vec<String> = clip.iter().copied().map(Taken::to_text).collect();
            let _ = writeln!(text, "  {:9}  {}", format!("clip {}", number + 1), frames.join(", "));
        }
        text
    }
}

impl Taken {
    fn to_text(self) -> String {
        let time = self.time.map_or(String::new(), |time| format!(" ({time:.2} s)"));
        format!("{}{time}", self.frame)
    }
}
