//! The numbers that transformers' own tests and its conversion script keep of the published checkpoints: the first
//! logits for sixteen frames of a video of spaghetti being eaten, and the losses of one of them.
//!
//! They are the only fixtures that are not in this repository, because checkpoints, video and mask are downloaded.

use std::sync::Arc;

use kernels::Backend;
use videomae::{
    VideoInputs, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification,
    checkpoint::{Checkpoint, LoadOptions, StoredMask, read_mask},
    hub::{self, HubOptions},
};
use videomae_preprocess::{Frames, PixelValues, VideoMAEImageProcessor, read_npy};

/// What the constants are kept to: four decimals, and the tolerance of the tests they come from.
const TOLERANCE: f32 = 2e-4;

/// The frames that `sample_frame_indices` of the documentation drew when the constants were made.
const FRAMES: [usize; 16] = [164, 168, 172, 176, 181, 185, 189, 193, 198, 202, 206, 210, 215, 219, 223, 227];

/// A published checkpoint and what it computes.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its name on the hub.
    pub model: &'static str,
    expected: Expected,
}

/// The numbers kept of a checkpoint.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The first three logits.
    Classes([f32; 3]),
    /// The first three elements of the first three masked tokens, and the loss where it was kept.
    Patches { logits: [[f32; 3]; 3], losses: Option<Losses> },
}

/// The loss with the `norm_pix_loss` of the checkpoint, which is true, and without.
#[derive(Clone, Copy, Debug)]
struct Losses {
    normalized: f32,
    pixels: f32,
}

/// `VideoMAEModelIntegrationTest` and `convert_videomae_to_pytorch.py`.
pub const CONSTANTS: [Constant; 13] = [
    classes("MCG-NJU/videomae-base-finetuned-kinetics", [0.3669, -0.0688, -0.2421]),
    classes("MCG-NJU/videomae-base-short-finetuned-kinetics", [0.6588, 0.0990, -0.2493]),
    classes("MCG-NJU/videomae-base-finetuned-ssv2", [0.1961, -0.8337, -0.6389]),
    classes("MCG-NJU/videomae-base-short-finetuned-ssv2", [-0.0537, -0.1539, -0.3266]),
    classes("MCG-NJU/videomae-small-finetuned-kinetics", [-0.9291, -0.4061, -0.9307]),
    classes("MCG-NJU/videomae-small-finetuned-ssv2", [0.2671, -0.4689, -0.8235]),
    classes("MCG-NJU/videomae-large-finetuned-kinetics", [0.0771, 0.0011, -0.3625]),
    classes("MCG-NJU/videomae-huge-finetuned-kinetics", [0.2433, 0.1632, -0.4894]),
    Constant {
        model: "MCG-NJU/videomae-base-short",
        expected: Expected::Patches {
            logits: [[0.7994, 0.9612, 0.8508], [0.7401, 0.8958, 0.8302], [0.5862, 0.7468, 0.7325]],
            losses: Some(Losses { normalized: 0.5142, pixels: 0.6469 }),
        },
    },
    patches(
        "MCG-NJU/videomae-base",
        [[0.7739, 0.7968, 0.7089], [0.6701, 0.7487, 0.6209], [0.4287, 0.5158, 0.4773]],
    ),
    patches(
        "MCG-NJU/videomae-large",
        [[0.7149, 0.7997, 0.6966], [0.6768, 0.7869, 0.6948], [0.5139, 0.6221, 0.5605]],
    ),
    patches(
        "MCG-NJU/videomae-base-short-ssv2",
        [[0.4712, 0.5296, 0.5786], [0.2278, 0.2729, 0.4026], [0.0352, 0.0730, 0.2506]],
    ),
    patches(
        "MCG-NJU/videomae-base-ssv2",
        [[0.8131, 0.8727, 0.8546], [0.7366, 0.9377, 0.8870], [0.5935, 0.8874, 0.8564]],
    ),
];

const fn classes(model: &'static str, logits: [f32; 3]) -> Constant {
    Constant { model, expected: Expected::Classes(logits) }
}

const fn patches(model: &'static str, logits: [[f32; 3]; 3]) -> Constant {
    Constant { model, expected: Expected::Patches { logits, losses: None } }
}

impl Constant {
    /// Downloads what is not in the cache, runs the model, compares.
    ///
    /// # Errors
    /// What the hub or the model says; numbers that differ.
    pub fn check(self, backend: Arc<dyn Backend>) -> Result<(), String> {
        let options = HubOptions::from_env().map_err(|e| e.to_string())?;
        let pixels = pixel_values(&options)?;
        let snapshot = hub::snapshot(self.model, &options, &mut |_| ()).map_err(|e| e.to_string())?;
        let text = |e: videomae::Error| format!("{}: {e}", self.model);
        match self.expected {
            Expected::Classes(logits) => {
                let load = LoadOptions::default();
                let (model, _) =
                    VideoMAEForVideoClassification::from_pretrained(snapshot.path, backend, &load)
                        .map_err(text)?;
                let mut session = model.session().map_err(text)?;
                let inputs = VideoInputs::new(&pixels.data, pixels.shape);
                let output = model.forward(&mut session, &inputs).map_err(text)?;
                self.compare("logits", &output.logits.data[..3], &logits)
            }
            Expected::Patches { logits, losses } => {
                let mask = mask(&options)?;
                let checkpoint = Checkpoint::open(&snapshot.path).map_err(text)?;
                let config = VideoMAEConfig::from_pretrained(&snapshot.path).map_err(text)?;
                let compute = |norm_pix_loss| {
                    let config = VideoMAEConfig { norm_pix_loss, ..config.clone() };
                    let (backend, load) = (Arc::clone(&backend), LoadOptions::default());
                    let (model, _) =
                        VideoMAEForPreTraining::from_weights(config, &checkpoint, backend, &load)?;
                    let inputs = VideoInputs {
                        bool_masked_pos: Some(&mask.bool_masked_pos),
                        ..VideoInputs::new(&pixels.data, pixels.shape)
                    };
                    model.forward(&mut model.session()?, &inputs)
                };
                let output = compute(true).map_err(text)?;
                let patch = output.logits.shape.last().copied().unwrap_or_default();
                for (row, expected) in output.logits.data.chunks_exact(patch).zip(&logits) {
                    self.compare("logits", &row[..3], expected)?;
                }
                let Some(Losses { normalized, pixels }) = losses else { return Ok(()) };
                self.compare("loss", &[output.loss], &[normalized])?;
                let loss = compute(false).map_err(text)?.loss;
                self.compare("loss of pixels", &[loss], &[pixels])
            }
        }
    }

    fn compare(self, what: &str, found: &[f32], expected: &[f32]) -> Result<(), String> {
        let is_close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= TOLERANCE;
        match found.iter().zip(expected).all(is_close) {
            true => Ok(()),
            false => Err(format!("{}: {what}: expected {expected:?}, found {found:?}", self.model)),
        }
    }
}

/// The clip, prepared as it was when the constants were made: with the class's default mean and deviation of 0.5,
/// not the checkpoint's.
fn pixel_values(options: &HubOptions) -> Result<PixelValues, String> {
    let (dataset, file) = ("hf-internal-testing/spaghetti-video", "eating_spaghetti.npy");
    let video = hub::dataset_file(dataset, file, options, &mut |_| ()).map_err(|e| e.to_string())?;
    let video = read_npy(video).map_err(|e| e.to_string())?;
    let bytes = FRAMES.iter().flat_map(|&index| video.frame(index)).copied().collect();
    let frames = Frames::new(bytes, FRAMES.len(), video.height(), video.width());
    let frames = frames.map_err(|e| e.to_string())?;
    VideoMAEImageProcessor::default().preprocess([&frames]).map_err(|e| e.to_string())
}

/// The mask, a tensor in a file of `torch.save`: 1408 of the 1568 tokens.
fn mask(options: &HubOptions) -> Result<StoredMask, String> {
    let (model, file) = ("hf-internal-testing/bool-masked-pos", "bool_masked_pos.pt");
    let path = hub::model_file(model, file, options, &mut |_| ()).map_err(|e| e.to_string())?;
    read_mask(path).map_err(|e| e.to_string())
}
