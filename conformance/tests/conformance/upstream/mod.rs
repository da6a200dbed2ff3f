//! `upstream/…`: what transformers itself tests of VideoMAE, under the names its tests have there.
//!
//! Left out are tests of what has no counterpart here: tuples instead of dictionaries, `inputs_embeds`, the order of
//! arguments, devices, compilers and exporters, chunked feed-forward, and those that download a checkpoint.

mod image_processor;
mod models;
mod models_loading;
mod video_processor;

use conformance::hash;
use libtest_mimic::{Failed, Trial};
use videomae_preprocess::Frames;

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let models = [models::trials(context), models_loading::trials(context)].into_iter().flatten();
    let processors = [image_processor::trials(), video_processor::trials()].into_iter().flatten();
    models.chain(processors).collect()
}

type Outcome = Result<(), Failed>;

/// A test that needs no backend.
type Test = fn() -> Outcome;

/// A trial per test, named after it.
fn named(prefix: &str, tests: &[(&str, Test)]) -> Vec<Trial> {
    tests.iter().map(|&(name, test)| Trial::test(format!("{prefix}/{name}"), test)).collect()
}

/// Fails unless `found` is `expected`.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}").into())
}

/// Fails unless `holds`.
fn ensure(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

/// Bytes of no pattern.
fn bytes(key: &str, count: usize) -> Vec<u8> {
    let key = hash::fnv1a64(key);
    (0..count as u64).map(|i| hash::word(key, i) as u8).collect()
}

/// `count` sizes from 30 to 80 pixels, the range of the upstream tests: `[height, width]`.
fn sizes(count: usize) -> Vec<[usize; 2]> {
    let draws = bytes("sizes", 2 * count);
    draws.as_chunks::<2>().0.iter().map(|draw| draw.map(|byte| 30 + usize::from(byte) % 51)).collect()
}

/// Five videos of different sizes, the batch of the upstream tests.
fn videos(num_frames: usize) -> Result<Vec<Frames>, Failed> {
    let video = |[height, width]: [usize; 2]| {
        Frames::new(bytes("video", num_frames * height * width * 3), num_frames, height, width)
    };
    Ok(sizes(5).into_iter().map(video).collect::<Result<_, _>>()?)
}
