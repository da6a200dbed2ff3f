//! `VideoMAEImageProcessor`: frames to `pixel_values`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::pipeline::{self, Selection};
use super::rgb::Class;
use super::{ProcessorOptions, Size, config, files};
use crate::{FramesView, PixelLevels, PixelValues, Result};

/// Resizes, crops and normalises the frames of videos.
///
/// Equal, bit for bit, to the class of the same name in transformers 5 with its default backend (torchvision on a
/// CPU with AVX2 or better). With [`Numerics::Pillow`](super::Numerics::Pillow) it is equal to
/// `VideoMAEImageProcessorPil` and to the class of transformers 4, which however takes no notice of `longest_edge`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoMAEImageProcessor {
    options: ProcessorOptions,
    unused: Map<String, Value>,
}

/// The name of [`VideoMAEImageProcessor`] before transformers 5.
#[deprecated(note = "use VideoMAEImageProcessor")]
pub type VideoMAEFeatureExtractor = VideoMAEImageProcessor;

impl VideoMAEImageProcessor {
    /// A processor with these options; they are checked when they are used.
    pub fn new(options: ProcessorOptions) -> Self {
        Self { options, unused: Map::new() }
    }

    /// Reads a `preprocessor_config.json`, or the directory it is in.
    ///
    /// In a directory, an `image_processor` entry inside `processor_config.json` goes first.
    ///
    /// # Errors
    /// [`Error::InFile`](crate::Error::InFile) when the file is not valid, [`Error::Io`](crate::Error::Io) when it
    /// cannot be read, [`Error::NoConfiguration`](crate::Error::NoConfiguration) when there is none.
    pub fn from_pretrained(path: impl AsRef<Path>) -> Result<Self> {
        files::load(path.as_ref(), &files::IMAGE, Self::from_json)
    }

    /// Reads the text of a `preprocessor_config.json`; what it leaves out has the class default.
    ///
    /// # Errors
    /// [`Error::Json`](crate::Error::Json) when `json` is no JSON object, [`Error::Option`](crate::Error::Option)
    /// when an entry has the wrong type or cannot be honoured.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        let mut entries = config::Entries::parse(json.as_ref())?;
        let options = entries.options(ProcessorOptions::default())?;
        entries.check_common()?;
        Ok(Self { options, unused: entries.unused() })
    }

    /// The options in use.
    pub fn options(&self) -> &ProcessorOptions {
        &self.options
    }

    /// The same processor with changed options, for one call or for good.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut ProcessorOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// The same processor with another size to resize to.
    #[must_use]
    pub fn with_size(self, size: Size) -> Self {
        self.with(|options| options.size = size)
    }

    /// The same processor with another size to crop to.
    #[must_use]
    pub fn with_crop_size(self, height: usize, width: usize) -> Self {
        self.with(|options| options.crop_size = Size::Exact { height, width })
    }

    /// The same processor with the options of a JSON object in place of its own, under the names of the files: what
    /// keyword arguments of a call are to the reference. `null` leaves an option as it is.
    ///
    /// # Errors
    /// As [`VideoMAEImageProcessor::from_json`], and [`Error::Option`](crate::Error::Option) for a name that no option has.
    pub fn with_json(&self, overrides: impl AsRef<[u8]>) -> Result<Self> {
        let changed = Self::from_json(config::overridden(&self.to_json(), overrides.as_ref())?)?;
        config::check_known(&self.unused, &changed.unused)?;
        Ok(changed)
    }

    /// The entries of the file that this class does not know. They change nothing, here as in the reference, and
    /// are written back by [`VideoMAEImageProcessor::save_pretrained`].
    pub fn unused_entries(&self) -> impl Iterator<Item = &str> {
        self.unused.keys().map(String::as_str)
    }

    /// Processes videos of equal T to `pixel_values` `(B, T, C, H, W)`.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) when an option is invalid, [`Error::Shape`](crate::Error::Shape)
    /// when there is no video or the results differ in shape.
    pub fn preprocess<'a, V: Into<FramesView<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
    ) -> Result<PixelValues> {
        pipeline::run(&self.options, Class::Image, &selections(videos))
    }

    /// As [`VideoMAEImageProcessor::preprocess`], but the last two steps, rescaling and normalising, are left to a table
    /// that the model looks levels up in: bytes take a quarter of the way to a device.
    ///
    /// # Errors
    /// As [`VideoMAEImageProcessor::preprocess`], and [`Error::Option`](crate::Error::Option) for frames that are not
    /// bytes.
    pub fn preprocess_levels<'a, V: Into<FramesView<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
    ) -> Result<PixelLevels> {
        pipeline::levels(&self.options, Class::Image, &selections(videos))
    }

    /// Processes the frames of one video, which may differ in size, to `pixel_values` `(1, T, C, H, W)`.
    ///
    /// # Errors
    /// As [`VideoMAEImageProcessor::preprocess`]; frames that the options do not bring to one size are among them.
    pub fn preprocess_frames<'a, F: Into<FramesView<'a>>>(
        &self,
        frames: impl IntoIterator<Item = F>,
    ) -> Result<PixelValues> {
        let mut pixel_values = self.preprocess(frames)?;
        let [frames, each, channels, height, width] = pixel_values.shape;
        pixel_values.shape = [1, frames * each, channels, height, width];
        Ok(pixel_values)
    }

    /// As [`VideoMAEImageProcessor::preprocess`], into the memory of the caller; returns `[B, T, C, H, W]`.
    ///
    /// # Errors
    /// As [`VideoMAEImageProcessor::preprocess`], and [`Error::Shape`](crate::Error::Shape) when `out` has another
    /// length than [`VideoMAEImageProcessor::output_shape`] asks for.
    pub fn preprocess_into<'a, V: Into<FramesView<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
        out: &mut [f32],
    ) -> Result<[usize; 5]> {
        pipeline::run_into(&self.options, Class::Image, &selections(videos), out)
    }

    /// The shape `[B, T, C, H, W]` that [`VideoMAEImageProcessor::preprocess`] would give.
    ///
    /// # Errors
    /// As [`VideoMAEImageProcessor::preprocess`].
    pub fn output_shape<'a, V: Into<FramesView<'a>>>(
        &self,
        videos: impl IntoIterator<Item = V>,
    ) -> Result<[usize; 5]> {
        pipeline::output_shape(&self.options, &selections(videos))
    }

    /// The text of a `preprocessor_config.json` that transformers 4 and 5 read.
    pub fn to_json(&self) -> String {
        config::write(&self.options, self.unused.clone(), "image_processor_type", "VideoMAEImageProcessor")
    }

    /// Writes `preprocessor_config.json` into `directory`, which is made if need be; returns its path.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when that fails, [`Error::Option`](crate::Error::Option) when an option is
    /// invalid or another file in the directory would go before the one written.
    pub fn save_pretrained(&self, directory: impl AsRef<Path>) -> Result<PathBuf> {
        self.options.validate()?;
        files::save(directory.as_ref(), &files::IMAGE, &self.to_json())
    }
}

fn selections<'a, V: Into<FramesView<'a>>>(videos: impl IntoIterator<Item = V>) -> Vec<Selection<'a>> {
    videos.into_iter().map(|video| Selection::all(video.into())).collect()
}
