//! Everything against the recorded results of the libraries, bit for bit: `fixtures/preprocess/cases.json`.

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::*;
use crate::resize::Resizer;
use crate::view::ChannelOrder;
use crate::{FramesView, PixelValues, Result};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/preprocess/cases.json");

#[derive(Deserialize)]
struct Cases {
    resize: Vec<ResizeCase>,
    processors: Vec<ProcessorCase>,
    views: Vec<ViewsCase>,
}

#[derive(Debug, Deserialize)]
struct ResizeCase {
    numerics: String,
    resample: u64,
    channels: usize,
    from: [usize; 2],
    to: [usize; 2],
    seed: u64,
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct ProcessorCase {
    numerics: String,
    class: String,
    config: Map<String, Value>,
    frames: [usize; 4],
    samples: String,
    layout: String,
    seed: u64,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct ViewsCase {
    transform: String,
    frames: [usize; 4],
    seed: u64,
    #[serde(flatten)]
    values: Values,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expected {
    Values(Values),
    /// The name of the error that the reference raises.
    Refused {
        #[expect(dead_code, reason = "printed where the test fails")]
        refused: String,
    },
}

/// Pixel values by their hash, and every so manyth of them.
#[derive(Debug, Deserialize)]
struct Values {
    shape: [usize; 5],
    every: usize,
    values: Vec<f32>,
    sha256: String,
}

fn cases() -> Cases {
    serde_json::from_slice(&std::fs::read(CASES).expect("the fixtures are committed")).unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (crate::random::hash(seed, i) >> 56) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Values {
    fn check(&self, found: &PixelValues, case: &dyn std::fmt::Debug) {
        assert_eq!(found.shape, self.shape, "{case:?}");
        let some: Vec<f32> = found.data.iter().step_by(self.every).take(self.values.len()).copied().collect();
        assert_eq!(some, self.values, "{case:?}");
        let bytes: Vec<u8> = found.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(sha256(&bytes), self.sha256, "{case:?}");
    }
}

impl ProcessorCase {
    fn run(&self) -> Result<PixelValues> {
        let levels = noise(self.frames.iter().product(), self.seed);
        let numbers = levels.iter().map(|&level| f32::from(level));
        let values: Vec<f32> = match self.samples.as_str() {
            "bytes" => Vec::new(),
            "whole" => numbers.collect(),
            "unit" => numbers.map(|level| level / 255.0).collect(),
            "wide" => numbers.map(|level| level * 1.7 - 60.0).collect(),
            other => panic!("unknown samples {other}"),
        };
        let order = match self.layout.as_str() {
            "channels_last" => ChannelOrder::Last,
            _ => ChannelOrder::First,
        };
        let frames = if values.is_empty() {
            FramesView::with_order(&levels, self.frames, order)?
        } else {
            FramesView::with_order(&values, self.frames, order)?
        };
        let mut config = self.config.clone();
        config.insert("numerics".to_owned(), self.numerics.as_str().into());
        let config = Value::Object(config).to_string();
        match self.class.as_str() {
            "image" => VideoMAEImageProcessor::from_json(config)?.preprocess([frames]),
            _ => Ok(VideoMAEVideoProcessor::from_json(config)?.preprocess([frames])?.pixel_values),
        }
    }
}

#[test]
fn resized_images_equal_those_of_the_libraries() {
    for case in cases().resize {
        let filter = Resample::from_number(case.resample).unwrap();
        let mut resizer = Resizer::with(case.numerics.parse().unwrap(), filter).unwrap();
        let [height, width] = case.from;
        let image = noise(height * width * case.channels, case.seed);
        let resized = resizer.resize(&image, [height, width, case.channels], case.to).unwrap();
        assert_eq!(sha256(&resized), case.sha256, "{case:?}");
    }
}

#[test]
fn pixel_values_equal_those_of_transformers() {
    for case in cases().processors {
        match (&case.expected, case.run()) {
            (Expected::Values(values), Ok(found)) => values.check(&found, &case),
            (Expected::Values(_), Err(error)) => panic!("{error}: {case:?}"),
            (Expected::Refused { .. }, found) => assert!(found.is_err(), "{case:?}"),
        }
    }
}

#[test]
fn views_equal_those_of_the_named_transforms() {
    for case in cases().views {
        let transform = Transform::new(case.transform.parse().unwrap());
        let levels = noise(case.frames.iter().product(), case.seed);
        let frames = FramesView::new(&levels, case.frames).unwrap();
        case.values.check(&transform.preprocess([frames]).unwrap(), &case);
    }
}
