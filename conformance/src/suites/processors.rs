//! The project's own clips, from the file to the logits: frames and pixel values to the bit.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use kernels::{Backend, DType, WeightFormat};
use serde::Deserialize;
use serde_json::Value;
use videomae::{
    HostTensor, VideoInputs, VideoMAEConfig, VideoMAEForVideoClassification, checkpoint::LoadOptions,
};
use videomae_preprocess::{
    Frames, PixelValues, VideoMAEImageProcessor, VideoMAEVideoProcessor, open_video, read_frames, sample,
};

use crate::{
    fixtures::{self, Arrays},
    report::Row,
};

/// What PyAV and transformers made of a clip: `fixtures/processor/<clip>/case.json`.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    clip: PathBuf,
    total_frames: usize,
    height: usize,
    width: usize,
    indices: Vec<usize>,
    frames_sha256: Vec<String>,
    processors: BTreeMap<String, Processors>,
    demo: Demo,
}

/// The pixel values that both processors make under some settings.
#[derive(Debug, Deserialize)]
struct Processors {
    settings: Value,
    image_processor: Pixels,
    video_processor: Pixels,
}

/// What the demo checkpoint sees in the clip.
#[derive(Debug, Deserialize)]
struct Demo {
    pixel_values: Pixels,
    label: String,
}

/// A tensor by its hash, and some of its values.
#[derive(Debug, Deserialize)]
struct Pixels {
    shape: Vec<usize>,
    dtype: String,
    sha256: String,
    every: usize,
    values: Vec<f32>,
}

impl Recorded {
    /// Reads `fixtures/processor/<name>/case.json`.
    ///
    /// # Panics
    /// When it is damaged: `cargo xtask gen-fixtures` makes it anew.
    pub fn read(name: &str) -> Self {
        fixtures::json(&fixtures::root().join("processor").join(name).join("case.json"))
    }

    /// Compares the decoded frames with PyAV's.
    ///
    /// # Errors
    /// What decoding says, and the first difference.
    pub fn check_frames(&self) -> Result<(), String> {
        let (frames, total) = self.decode(&self.indices)?;
        expect("frames in the file", &total, &self.total_frames)?;
        expect("size", &(frames.height(), frames.width()), &(self.height, self.width))?;
        expect("frames", &frames.num_frames(), &self.frames_sha256.len())?;
        for (i, recorded) in self.frames_sha256.iter().enumerate() {
            expect(&format!("frame {}", self.indices[i]), &fixtures::sha256(frames.frame(i)), recorded)?;
        }
        Ok(())
    }

    /// Compares the pixel values of both processors under all settings.
    ///
    /// # Errors
    /// What processing says, and the first difference.
    pub fn check_pixel_values(&self) -> Result<(), String> {
        let (frames, _) = self.decode(&self.indices)?;
        for (name, recorded) in &self.processors {
            let json = recorded.settings.to_string();
            let image = VideoMAEImageProcessor::from_json(&json).and_then(|p| p.preprocess([&frames]));
            let image = image.map_err(|e| format!("{name}: {e}"))?;
            recorded.image_processor.check(&format!("{name}, image processor"), &image)?;
            let video = VideoMAEVideoProcessor::from_json(&json).and_then(|p| p.preprocess([&frames]));
            let video = video.map_err(|e| format!("{name}: {e}"))?;
            recorded.video_processor.check(&format!("{name}, video processor"), &video.pixel_values)?;
        }
        Ok(())
    }

    /// The demo checkpoint's logits beside transformers', and the label they mean.
    ///
    /// # Errors
    /// What decoding, processing and the model say; pixel values or a label that differ.
    pub fn logits(&self, name: &str, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
        let demo = DemoClassifier::load(backend, WeightFormat::F32)?;
        let total = self.total_frames;
        let indices = sample::uniform(demo.config().num_frames, total).map_err(|e| e.to_string())?;
        let pixel_values = demo.pixel_values(&self.decode(&indices)?.0)?;
        self.demo.pixel_values.check("demo", &pixel_values)?;
        let logits = demo.logits(&pixel_values)?.data;
        let label = demo.config().label(largest(&logits));
        expect("label", &label, &self.demo.label)?;
        // Every clip is named after what it shows.
        expect("label", &label.as_str(), &name)?;
        let expected =
            Arrays::read(&fixtures::root().join("processor").join(name).join("expected.safetensors"));
        let expected = expected.get("logits").floats();
        let sums = sums(demo.config());
        Ok(vec![Row::new(name, "demo.logits", backend.name(), DType::F32, sums, &logits, expected)])
    }

    /// Frames `indices`, and how many the file has.
    fn decode(&self, indices: &[usize]) -> Result<(Frames, usize), String> {
        decode(&self.clip, |_| Ok(indices.to_vec()))
    }
}

impl Pixels {
    fn check(&self, what: &str, found: &PixelValues) -> Result<(), String> {
        expect("type of the fixture", &self.dtype.as_str(), &"float32")?;
        expect(&format!("{what}: shape"), &found.shape.as_slice(), &self.shape.as_slice())?;
        let some: Vec<f32> = found.data.iter().step_by(self.every).copied().take(self.values.len()).collect();
        // The values come first, because they tell a small error from a large one.
        expect(&format!("{what}: every {}th value", self.every), &some, &self.values)?;
        let bytes: Vec<u8> = found.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        expect(&format!("{what}: hash of all values"), &fixtures::sha256(&bytes), &self.sha256)
    }
}

/// The checkpoint that the program brings along, from its folder, with its own processor.
pub struct DemoClassifier {
    processor: VideoMAEImageProcessor,
    model: VideoMAEForVideoClassification,
}

impl DemoClassifier {
    /// Loads it for a backend, in some precision.
    ///
    /// # Errors
    /// What loading says.
    pub fn load(backend: &Arc<dyn Backend>, format: WeightFormat) -> Result<Self, String> {
        let folder = fixtures::root().join("../cli/demo");
        let processor = VideoMAEImageProcessor::from_pretrained(&folder).map_err(|e| e.to_string())?;
        let (backend, options) = (Arc::clone(backend), LoadOptions { format, ..LoadOptions::default() });
        let loaded = VideoMAEForVideoClassification::from_pretrained(&folder, backend, &options);
        Ok(Self { processor, model: loaded.map_err(|e| e.to_string())?.0 })
    }

    /// The configuration of the checkpoint.
    pub fn config(&self) -> &VideoMAEConfig {
        self.model.config()
    }

    /// The classes of a batch of clips, each sampled uniformly.
    ///
    /// # Errors
    /// What processing and the model say.
    pub fn classes(&self, clips: &[Frames]) -> Result<Vec<usize>, String> {
        let pixel_values = self.processor.preprocess(clips).map_err(|e| e.to_string())?;
        let logits = self.logits(&pixel_values)?;
        Ok(logits.data.chunks_exact(self.config().num_labels()).map(largest).collect())
    }

    fn pixel_values(&self, frames: &Frames) -> Result<PixelValues, String> {
        self.processor.preprocess([frames]).map_err(|e| e.to_string())
    }

    fn logits(&self, pixel_values: &PixelValues) -> Result<HostTensor, String> {
        let inputs = VideoInputs::new(&pixel_values.data, pixel_values.shape);
        let mut session = self.model.session().map_err(|e| e.to_string())?;
        Ok(self.model.forward(&mut session, &inputs).map_err(|e| e.to_string())?.logits)
    }
}

/// What the demo checkpoint sees in `fixtures/clips/<name>.mp4` played backwards.
///
/// # Errors
/// What decoding, processing and the model say.
pub fn label_of_reversed(name: &str, backend: &Arc<dyn Backend>) -> Result<String, String> {
    let demo = DemoClassifier::load(backend, WeightFormat::F32)?;
    let path = PathBuf::from(format!("clips/{name}.mp4"));
    let (frames, _) = decode(&path, |total| {
        let forward = sample::uniform(demo.config().num_frames, total).map_err(|e| e.to_string())?;
        Ok(forward.into_iter().map(|index| total - 1 - index).collect())
    })?;
    Ok(demo.config().label(demo.classes(&[frames])?[0]))
}

/// The frames that `choose` takes of a file below `fixtures/`, and how many it has.
fn decode(
    path: &Path,
    choose: impl FnOnce(usize) -> Result<Vec<usize>, String>,
) -> Result<(Frames, usize), String> {
    let mut video = open_video(fixtures::root().join(path)).map_err(|e| e.to_string())?;
    let total = video.info().num_frames;
    let frames = read_frames(&mut *video, &choose(total)?).map_err(|e| e.to_string())?;
    Ok((frames, total))
}

/// The length of one sum with as many roundings as the way to the logits; as `sums` of [`crate::case::Case`].
fn sums(config: &VideoMAEConfig) -> usize {
    let longest = [config.patch_dim(), config.hidden_size, config.intermediate_size, config.num_tokens()];
    // A layer is two norms, two products in attention and the linear layers around them: as in `case.json`.
    let chained = 6 * config.num_hidden_layers + 3;
    longest.into_iter().max().map_or(0, |longest| longest * chained)
}

/// The index of the largest logit.
fn largest(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}
