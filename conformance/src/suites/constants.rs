//! The numbers that transformers' own tests and its conversion script keep of the published checkpoints: the first
//! three logits for sixteen frames of a video of spaghetti being eaten.
//!
//! They are the only fixtures that are not in this repository, because checkpoints and video are downloaded.

use std::sync::Arc;

use kernels::Backend;
use videomae::{
    VideoInputs, VideoMAEForVideoClassification,
    checkpoint::LoadOptions,
    hub::{self, HubOptions},
};
use videomae_preprocess::{Frames, VideoMAEImageProcessor, read_npy};

/// What the constants are kept to: four decimals, and the tolerance of the tests they come from.
const TOLERANCE: f32 = 2e-4;

/// The frames that `sample_frame_indices` of the documentation drew when the constants were made.
const FRAMES: [usize; 16] = [164, 168, 172, 176, 181, 185, 189, 193, 198, 202, 206, 210, 215, 219, 223, 227];

/// A checkpoint for classification and its first three logits.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its name on the hub.
    pub model: &'static str,
    logits: [f32; 3],
}

/// `VideoMAEModelIntegrationTest` and `convert_videomae_to_pytorch.py`.
pub const CONSTANTS: [Constant; 8] = [
    Constant { model: "MCG-NJU/videomae-base-finetuned-kinetics", logits: [0.3669, -0.0688, -0.2421] },
    Constant { model: "MCG-NJU/videomae-base-short-finetuned-kinetics", logits: [0.6588, 0.0990, -0.2493] },
    Constant { model: "MCG-NJU/videomae-base-finetuned-ssv2", logits: [0.1961, -0.8337, -0.6389] },
    Constant { model: "MCG-NJU/videomae-base-short-finetuned-ssv2", logits: [-0.0537, -0.1539, -0.3266] },
    Constant { model: "MCG-NJU/videomae-small-finetuned-kinetics", logits: [-0.9291, -0.4061, -0.9307] },
    Constant { model: "MCG-NJU/videomae-small-finetuned-ssv2", logits: [0.2671, -0.4689, -0.8235] },
    Constant { model: "MCG-NJU/videomae-large-finetuned-kinetics", logits: [0.0771, 0.0011, -0.3625] },
    Constant { model: "MCG-NJU/videomae-huge-finetuned-kinetics", logits: [0.2433, 0.1632, -0.4894] },
];

impl Constant {
    /// Downloads what is not in the cache, runs the model, compares.
    ///
    /// # Errors
    /// What the hub or the model says; logits that differ.
    pub fn check(self, backend: Arc<dyn Backend>) -> Result<(), String> {
        let options = HubOptions::from_env().map_err(|e| e.to_string())?;
        let video = hub::dataset_file(
            "hf-internal-testing/spaghetti-video",
            "eating_spaghetti.npy",
            &options,
            &mut |_| (),
        );
        let video = read_npy(video.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let bytes = FRAMES.iter().flat_map(|&index| video.frame(index)).copied().collect();
        let frames = Frames::new(bytes, FRAMES.len(), video.height(), video.width());
        let frames = frames.map_err(|e| e.to_string())?;
        // The constants were made with the class's default mean and deviation of 0.5, not the checkpoint's.
        let processor = VideoMAEImageProcessor::default();
        let pixels = processor.preprocess([&frames]).map_err(|e| e.to_string())?;

        let snapshot = hub::snapshot(self.model, &options, &mut |_| ()).map_err(|e| e.to_string())?;
        let (model, _) =
            VideoMAEForVideoClassification::from_pretrained(snapshot.path, backend, &LoadOptions::default())
                .map_err(|e| e.to_string())?;
        let mut session = model.session().map_err(|e| e.to_string())?;
        let inputs = VideoInputs::new(&pixels.data, pixels.shape);
        let output = model.forward(&mut session, &inputs).map_err(|e| e.to_string())?;
        let found = &output.logits.data[..3];
        let is_close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= TOLERANCE;
        match found.iter().zip(&self.logits).all(is_close) {
            true => Ok(()),
            false => Err(format!("{}: expected logits {:?}, found {found:?}", self.model, self.logits)),
        }
    }
}
