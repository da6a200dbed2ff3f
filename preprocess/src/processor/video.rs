//! `VideoMAEVideoProcessor`: whole videos to `pixel_values`, sampling frames on the way.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::options::invalid;
use super::pipeline::{self, Crop, Selection};
use super::rgb::Class;
use super::{ProcessorOptions, config, files};
use crate::{Frames, FramesView, PixelValues, Result, sample};

/// Samples, resizes, crops and normalises the frames of videos.
///
/// Equal, bit for bit, to the class of the same name in transformers 5.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoMAEVideoProcessor {
    options: ProcessorOptions,
    sampling: SamplingOptions,
    unused: Map<String, Value>,
}

/// Which frames the video processor takes, and whether it tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingOptions {
    /// Whether to sample at all; otherwise all frames are taken.
    pub do_sample_frames: bool,
    /// The number of frames to take, evenly over the video. Excludes `fps`.
    pub num_frames: Option<usize>,
    /// The number of frames to take a second; needs the frame rate of the video. Excludes `num_frames`.
    pub fps: Option<f64>,
    /// Whether to return a [`VideoMetadata`] for each video.
    pub return_metadata: bool,
}

/// What is known of a video besides its frames.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoMetadata {
    /// Frames in the video.
    pub total_num_frames: usize,
    /// Frames a second, where known.
    pub fps: Option<f64>,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The frames that were taken.
    pub frames_indices: Vec<usize>,
}

/// The frames of a video with its frame rate.
#[derive(Clone, Copy, Debug)]
pub struct VideoInput<'a> {
    /// All frames of the video.
    pub frames: FramesView<'a>,
    /// Frames a second, where known; [`SamplingOptions::fps`] needs it.
    pub fps: Option<f64>,
}

/// What [`VideoMAEVideoProcessor::preprocess`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoFeatures {
    /// The batch, `(B, T, C, H, W)`.
    pub pixel_values: PixelValues,
    /// One entry per video, where [`SamplingOptions::return_metadata`] asks for it.
    pub video_metadata: Option<Vec<VideoMetadata>>,
}

impl Default for VideoMAEVideoProcessor {
    /// The class defaults: those of the image processor, RGB conversion on, no sampling.
    fn default() -> Self {
        Self::new(class_defaults(), SamplingOptions::default())
    }
}

impl VideoMAEVideoProcessor {
    /// A processor with these options; they are checked when they are used.
    pub fn new(options: ProcessorOptions, sampling: SamplingOptions) -> Self {
        Self { options, sampling, unused: Map::new() }
    }

    /// Reads a `video_preprocessor_config.json`, or the directory it is in.
    ///
    /// In a directory, a `video_processor` entry inside `processor_config.json` goes first, then
    /// `video_preprocessor_config.json`, then `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`Error::InFile`](crate::Error::InFile) when the file is not valid, [`Error::Io`](crate::Error::Io) when it
    /// cannot be read, [`Error::NoConfiguration`](crate::Error::NoConfiguration) when there is none.
    pub fn from_pretrained(path: impl AsRef<Path>) -> Result<Self> {
        files::load(path.as_ref(), &files::VIDEO, Self::from_json)
    }

    /// Reads the text of such a file; what it leaves out has the class default.
    ///
    /// # Errors
    /// [`Error::Json`](crate::Error::Json) when `json` is no JSON object, [`Error::Option`](crate::Error::Option)
    /// when an entry has the wrong type or cannot be honoured.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        let mut entries = config::Entries::parse(json.as_ref())?;
        let options = entries.options(class_defaults())?;
        let sampling = entries.sampling()?;
        sampling.validate()?;
        entries.check_common()?;
        Ok(Self { options, sampling, unused: entries.unused() })
    }

    /// The options of the steps on every frame.
    pub fn options(&self) -> &ProcessorOptions {
        &self.options
    }

    /// The options of sampling.
    pub fn sampling(&self) -> &SamplingOptions {
        &self.sampling
    }

    /// The same processor with changed options, for one call or for good.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ProcessorOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// The same processor with changed sampling, for one call or for good.
    #[must_use]
    pub fn with_sampling(mut self, change: impl FnOnce(&mut SamplingOptions)) -> Self {
        change(&mut self.sampling);
        self
    }

    /// The same processor with the options of a JSON object in place of its own, under the names of the files: what
    /// keyword arguments of a call are to the reference. `null` leaves an option as it is.
    ///
    /// # Errors
    /// As [`VideoMAEVideoProcessor::from_json`], and [`Error::Option`](crate::Error::Option) for a name that no option has.
    pub fn with_json(&self, overrides: impl AsRef<[u8]>) -> Result<Self> {
        let changed = Self::from_json(config::overridden(&self.to_json(), overrides.as_ref())?)?;
        config::check_known(&self.unused, &changed.unused)?;
        Ok(changed)
    }

    /// The entries of the file that this class does not know. They change nothing, here as in the reference, and
    /// are written back by [`VideoMAEVideoProcessor::save_pretrained`].
    pub fn unused_entries(&self) -> impl Iterator<Item = &str> {
        self.unused.keys().map(String::as_str)
    }

    /// Processes videos to `pixel_values` `(B, T, C, H, W)`.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) when an option is invalid, [`Error::Sampling`](crate::Error::Sampling)
    /// when a video has too few frames, [`Error::Shape`](crate::Error::Shape) when there is no video or the results
    /// differ in shape.
    pub fn preprocess<'a, V: Into<VideoInput<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
    ) -> Result<VideoFeatures> {
        let (selections, metadata) = self.select(videos)?;
        let pixel_values = pipeline::run(&self.options, Class::Video, &selections)?;
        Ok(VideoFeatures { pixel_values, video_metadata: self.sampling.return_metadata.then_some(metadata) })
    }

    /// As [`VideoMAEVideoProcessor::preprocess`], into the memory of the caller; returns `[B, T, C, H, W]`.
    ///
    /// # Errors
    /// As [`VideoMAEVideoProcessor::preprocess`], and [`Error::Shape`](crate::Error::Shape) when `out` has another
    /// length than the result.
    pub fn preprocess_into<'a, V: Into<VideoInput<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
        out: &mut [f32],
    ) -> Result<[usize; 5]> {
        pipeline::run_into(&self.options, Class::Video, &self.select(videos)?.0, out)
    }

    /// The text of a `video_preprocessor_config.json` that transformers 5 reads.
    pub fn to_json(&self) -> String {
        let mut entries = self.unused.clone();
        let sampling = &self.sampling;
        entries.insert("do_convert_rgb".to_owned(), self.options.do_convert_rgb.into());
        entries.insert("do_sample_frames".to_owned(), sampling.do_sample_frames.into());
        entries.insert("return_metadata".to_owned(), sampling.return_metadata.into());
        if let Some(num_frames) = sampling.num_frames {
            entries.insert("num_frames".to_owned(), num_frames.into());
        }
        if let Some(fps) = sampling.fps {
            entries.insert("fps".to_owned(), fps.into());
        }
        config::write(&self.options, entries, "video_processor_type", "VideoMAEVideoProcessor")
    }

    /// Writes `video_preprocessor_config.json` into `directory`, which is made if need be; returns its path.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when that fails, [`Error::Option`](crate::Error::Option) when an option is
    /// invalid or another file in the directory would go before the one written.
    pub fn save_pretrained(&self, directory: impl AsRef<Path>) -> Result<PathBuf> {
        self.options.validate()?;
        self.sampling.validate()?;
        files::save(directory.as_ref(), &files::VIDEO, &self.to_json())
    }

    fn select<'a, V: Into<VideoInput<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
    ) -> Result<(Vec<Selection<'a>>, Vec<VideoMetadata>)> {
        self.sampling.validate()?;
        let mut selections = Vec::new();
        let mut metadata = Vec::new();
        for video in videos {
            let VideoInput { frames, fps } = video.into();
            let indices = self.sampling.indices(frames.num_frames(), fps)?;
            metadata.push(VideoMetadata {
                total_num_frames: frames.num_frames(),
                fps,
                width: frames.width(),
                height: frames.height(),
                frames_indices: indices.clone(),
            });
            selections.push(Selection { frames, indices, crops: vec![Crop::Centre] });
        }
        Ok((selections, metadata))
    }
}

impl SamplingOptions {
    /// Refuses what cannot be honoured.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) when both `num_frames` and `fps` are given, or one is not positive.
    pub fn validate(&self) -> Result<()> {
        match (self.num_frames, self.fps) {
            (Some(0), _) => Err(invalid("num_frames", "at least 1", 0)),
            (_, Some(fps)) if !(fps.is_finite() && fps > 0.0) => {
                Err(invalid("fps", "a positive number", fps))
            }
            (Some(num_frames), Some(fps)) if self.do_sample_frames => Err(invalid(
                "num_frames",
                "either num_frames or fps",
                format!("num_frames {num_frames} and fps {fps}"),
            )),
            _ => Ok(()),
        }
    }

    /// The frames to take from a video of `total_num_frames` frames at `video_fps` a second.
    ///
    /// # Errors
    /// As [`SamplingOptions::validate`]; [`Error::Option`](crate::Error::Option) when `fps` is asked for and
    /// `video_fps` is not known; [`Error::Sampling`](crate::Error::Sampling) when there are too few frames.
    pub fn indices(&self, total_num_frames: usize, video_fps: Option<f64>) -> Result<Vec<usize>> {
        self.validate()?;
        if !self.do_sample_frames {
            return Ok((0..total_num_frames).collect());
        }
        match (self.num_frames, self.fps, video_fps) {
            (Some(num_frames), ..) => sample::uniform(num_frames, total_num_frames),
            (None, Some(fps), Some(video_fps)) => sample::at_fps(fps, total_num_frames, video_fps),
            (None, Some(fps), None) => {
                Err(invalid("fps", "a video of known frame rate", format!("fps {fps} and no frame rate")))
            }
            (None, None, _) => Ok((0..total_num_frames).collect()),
        }
    }
}

impl<'a> From<FramesView<'a>> for VideoInput<'a> {
    fn from(frames: FramesView<'a>) -> Self {
        Self { frames, fps: None }
    }
}

impl<'a> From<&'a Frames> for VideoInput<'a> {
    fn from(frames: &'a Frames) -> Self {
        FramesView::from(frames).into()
    }
}

fn class_defaults() -> ProcessorOptions {
    ProcessorOptions { do_convert_rgb: true, ..ProcessorOptions::default() }
}
