//! `VideoMAEImageProcessingTest`: five videos of ten frames, 30 to 80 pixels wide and high, to 18 × 18.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use videomae_preprocess::{
    FramesView, VideoMAEImageProcessor,
    processor::{ProcessorOptions, Size},
};

use super::{Outcome, Test, bytes, ensure, expect, named, sizes, videos};

const NUM_FRAMES: usize = 10;

pub(super) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 9] = [
        ("test_image_processor_properties", test_image_processor_properties),
        ("test_image_processor_from_dict_with_kwargs", test_image_processor_from_dict_with_kwargs),
        ("test_image_processor_to_json_string", test_image_processor_to_json_string),
        ("test_image_processor_from_and_save_pretrained", test_image_processor_from_and_save_pretrained),
        ("test_init_without_params", test_init_without_params),
        ("test_call_pil", test_call_pil),
        ("test_call_numpy", test_call_numpy),
        ("test_call_numpy_4_channels", test_call_numpy_4_channels),
        ("test_call_pytorch", test_call_pytorch),
    ];
    named("upstream/image_processor", &tests)
}

/// The upstream tester's `image_processor_dict`.
fn dict() -> Value {
    json!({
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_normalize": true,
        "do_resize": true,
        "size": {"shortest_edge": 18},
        "crop_size": {"height": 18, "width": 18},
    })
}

fn processor() -> videomae_preprocess::Result<VideoMAEImageProcessor> {
    VideoMAEImageProcessor::from_json(dict().to_string())
}

fn test_image_processor_properties() -> Outcome {
    let json: Value = serde_json::from_str(&processor()?.to_json())?;
    for name in ["image_mean", "image_std", "do_normalize", "do_resize", "do_center_crop", "size"] {
        ensure(json.get(name).is_some(), format!("no property {name}"))?;
    }
    Ok(())
}

fn test_image_processor_from_dict_with_kwargs() -> Outcome {
    let plain = processor()?;
    expect("size", plain.options().size, Size::ShortestEdge(18))?;
    expect("crop_size", plain.options().crop_size, Size::square(18))?;
    let mut changed = dict();
    changed["size"] = json!(42);
    changed["crop_size"] = json!(84);
    let changed = VideoMAEImageProcessor::from_json(changed.to_string())?;
    expect("size", changed.options().size, Size::ShortestEdge(42))?;
    expect("crop_size", changed.options().crop_size, Size::square(84))?;
    expect("the same", changed, plain.with_size(Size::ShortestEdge(42)).with_crop_size(84, 84))
}

fn test_image_processor_to_json_string() -> Outcome {
    let written: Value = serde_json::from_str(&processor()?.to_json())?;
    for (name, value) in dict().as_object().into_iter().flatten() {
        expect(name, &written[name], value)?;
    }
    Ok(())
}

fn test_image_processor_from_and_save_pretrained() -> Outcome {
    let folder = tempfile::tempdir()?;
    processor()?.save_pretrained(&folder)?;
    expect("loaded", VideoMAEImageProcessor::from_pretrained(&folder)?, processor()?)
}

fn test_init_without_params() -> Outcome {
    expect("defaults", VideoMAEImageProcessor::from_json("{}")?, VideoMAEImageProcessor::default())?;
    expect("options", VideoMAEImageProcessor::default().options(), &ProcessorOptions::default())
}

/// Owned frames, one video and a batch.
fn test_call_pil() -> Outcome {
    let videos = videos(NUM_FRAMES)?;
    let one = processor()?.preprocess([&videos[0]])?;
    expect("one video", one.shape, [1, NUM_FRAMES, 3, 18, 18])?;
    let batch = processor()?.preprocess(&videos)?;
    expect("batch", batch.shape, [5, NUM_FRAMES, 3, 18, 18])?;
    expect("first of the batch", &batch.data[..one.data.len()], &one.data)
}

/// Borrowed arrays give what owned frames give.
fn test_call_numpy() -> Outcome {
    let videos = videos(NUM_FRAMES)?;
    let views = videos
        .iter()
        .map(|v| FramesView::new(v.as_bytes(), [v.num_frames(), v.height(), v.width(), 3]))
        .collect::<Result<Vec<_>, _>>()?;
    let batch = processor()?.preprocess(views)?;
    expect("batch", batch.shape, [5, NUM_FRAMES, 3, 18, 18])?;
    expect("values", batch, processor()?.preprocess(&videos)?)
}

/// Four channels are kept where mean and deviation have four entries, and refused where they have three.
fn test_call_numpy_4_channels() -> Outcome {
    let [height, width] = sizes(1)[0];
    let array = bytes("video", NUM_FRAMES * height * width * 4);
    let view = FramesView::new(&array, [NUM_FRAMES, height, width, 4])?;
    let four = processor()?.with(|options| {
        options.image_mean = [0.0; 4].into();
        options.image_std = [1.0; 4].into();
    });
    expect("one video", four.preprocess([view])?.shape, [1, NUM_FRAMES, 4, 18, 18])?;
    expect("batch", four.preprocess([view, view])?.shape, [2, NUM_FRAMES, 4, 18, 18])?;
    ensure(processor()?.preprocess([view]).is_err(), "three means for four channels")
}

/// Into memory that another library owns.
fn test_call_pytorch() -> Outcome {
    let videos = videos(NUM_FRAMES)?;
    let shape = processor()?.output_shape(&videos)?;
    expect("shape", shape, [5, NUM_FRAMES, 3, 18, 18])?;
    let mut tensor = vec![f32::NAN; shape.iter().product()];
    processor()?.preprocess_into(&videos, &mut tensor)?;
    expect("values", tensor, processor()?.preprocess(&videos)?.data)
}
