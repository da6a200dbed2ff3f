//! Classifies frames of a video: `classify_frames BACKEND CHECKPOINT VIDEO`, for example
//! `cargo run --release -p videomae --example classify_frames -- auto path/to/checkpoint clip.mp4`.

use std::{env, error::Error};

use videomae::{VideoInputs, VideoMAEForVideoClassification, checkpoint::LoadOptions};
use videomae_preprocess::{VideoMAEImageProcessor, open_video, read_frames, sample};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [backend, checkpoint, video] = arguments.as_slice() else {
        return Err("expected BACKEND CHECKPOINT VIDEO".into());
    };
    // The backend is chosen by name, here and nowhere else.
    let backend = kernels::open(backend)?;
    let options = LoadOptions::default();
    let (model, report) = VideoMAEForVideoClassification::from_pretrained(checkpoint, backend, &options)?;
    println!("{report}");

    // As many frames as the model was trained on, spread evenly over the video, prepared as it was trained.
    let mut reader = open_video(video)?;
    let indices = sample::uniform(model.config().num_frames, reader.info().num_frames)?;
    let frames = read_frames(&mut *reader, &indices)?;
    let pixels = VideoMAEImageProcessor::from_pretrained(checkpoint)?.preprocess([&frames])?;

    let inputs = VideoInputs::new(&pixels.data, pixels.shape);
    let logits = model.forward(&mut model.session()?, &inputs)?.logits.data;
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    for &class in classes.iter().take(5) {
        println!("{:8.3}  {}", logits[class], model.config().label(class));
    }
    Ok(())
}
