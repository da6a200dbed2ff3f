//! `VideoMAEVideoProcessingTest` and the sampling of `VideoProcessingTestMixin`: eight frames, short edge 20, crop 18.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use videomae_preprocess::{
    FramesView, VideoMAEVideoProcessor,
    processor::{Size, VideoInput},
};

use super::{Outcome, Test, bytes, ensure, expect, named, sizes, videos};

const NUM_FRAMES: usize = 8;

pub(super) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 9] = [
        ("test_video_processor_properties", test_video_processor_properties),
        ("test_video_processor_from_dict_with_kwargs", test_video_processor_from_dict_with_kwargs),
        ("test_video_processor_to_json_string", test_video_processor_to_json_string),
        ("test_video_processor_from_and_save_pretrained", test_video_processor_from_and_save_pretrained),
        ("test_init_without_params", test_init_without_params),
        ("test_call_pil", test_call_pil),
        ("test_call_numpy", test_call_numpy),
        ("test_call_numpy_4_channels", test_call_numpy_4_channels),
        ("test_call_sample_frames", test_call_sample_frames),
    ];
    named("upstream/video_processor", &tests)
}

/// The upstream tester's `video_processor_dict`.
fn dict() -> Value {
    json!({
        "do_resize": true,
        "size": {"shortest_edge": 20},
        "do_center_crop": true,
        "crop_size": {"height": 18, "width": 18},
        "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": true,
    })
}

fn processor() -> videomae_preprocess::Result<VideoMAEVideoProcessor> {
    VideoMAEVideoProcessor::from_json(dict().to_string())
}

fn test_video_processor_properties() -> Outcome {
    let json: Value = serde_json::from_str(&processor()?.to_json())?;
    let names = [
        "do_resize",
        "size",
        "do_center_crop",
        "crop_size",
        "do_normalize",
        "image_mean",
        "image_std",
        "do_convert_rgb",
    ];
    names.iter().try_for_each(|&name| ensure(json.get(name).is_some(), format!("no property {name}")))
}

fn test_video_processor_from_dict_with_kwargs() -> Outcome {
    let plain = processor()?;
    expect("size", plain.options().size, Size::ShortestEdge(20))?;
    expect("crop_size", plain.options().crop_size, Size::square(18))?;
    let mut changed = dict();
    changed["size"] = json!(42);
    changed["crop_size"] = json!(84);
    let changed = VideoMAEVideoProcessor::from_json(changed.to_string())?;
    expect("size", changed.options().size, Size::ShortestEdge(42))?;
    expect("crop_size", changed.options().crop_size, Size::square(84))
}

fn test_video_processor_to_json_string() -> Outcome {
    let written: Value = serde_json::from_str(&processor()?.to_json())?;
    for (name, value) in dict().as_object().into_iter().flatten() {
        expect(name, &written[name], value)?;
    }
    Ok(())
}

fn test_video_processor_from_and_save_pretrained() -> Outcome {
    let folder = tempfile::tempdir()?;
    let sampling = processor()?.with_sampling(|sampling| {
        sampling.do_sample_frames = true;
        sampling.num_frames = Some(3);
    });
    sampling.save_pretrained(&folder)?;
    expect("loaded", VideoMAEVideoProcessor::from_pretrained(&folder)?, sampling)
}

fn test_init_without_params() -> Outcome {
    expect("defaults", VideoMAEVideoProcessor::from_json("{}")?, VideoMAEVideoProcessor::default())
}

/// Owned frames, one video and a batch.
fn test_call_pil() -> Outcome {
    let videos = videos(NUM_FRAMES)?;
    let one = processor()?.preprocess([&videos[0]])?.pixel_values;
    expect("one video", one.shape, [1, NUM_FRAMES, 3, 18, 18])?;
    let batch = processor()?.preprocess(&videos)?.pixel_values;
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
    expect("batch", batch.pixel_values.shape, [5, NUM_FRAMES, 3, 18, 18])?;
    expect("values", batch, processor()?.preprocess(&videos)?)
}

/// An opaque fourth channel is dropped; without the conversion to RGB it is kept.
fn test_call_numpy_4_channels() -> Outcome {
    let [height, width] = sizes(1)[0];
    let mut array = bytes("video", NUM_FRAMES * height * width * 4);
    array.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
    let view = FramesView::new(&array, [NUM_FRAMES, height, width, 4])?;
    let rgb = processor()?.preprocess([view])?.pixel_values;
    expect("RGB", rgb.shape, [1, NUM_FRAMES, 3, 18, 18])?;
    let kept = processor()?.with(|options| {
        options.do_convert_rgb = false;
        options.image_mean = [0.0; 4].into();
        options.image_std = [1.0; 4].into();
    });
    let four = kept.preprocess([view])?.pixel_values;
    expect("four channels", four.shape, [1, NUM_FRAMES, 4, 18, 18])
}

fn test_call_sample_frames() -> Outcome {
    let videos = videos(NUM_FRAMES)?;
    let asking = |num_frames, fps| {
        processor().map(|processor| {
            processor.with_sampling(|sampling| {
                sampling.do_sample_frames = true;
                (sampling.num_frames, sampling.fps) = (num_frames, fps);
                sampling.return_metadata = true;
            })
        })
    };
    let shape = |features: &videomae_preprocess::processor::VideoFeatures| features.pixel_values.shape;
    let three = asking(Some(3), None)?.preprocess(&videos)?;
    expect("three frames", shape(&three), [5, 3, 3, 18, 18])?;
    let indices = three.video_metadata.map(|metadata| metadata[0].frames_indices.clone());
    expect("indices", indices, Some(vec![0, 2, 5]))?;

    // Two seconds at 4 frames a second; 1.5 of them a second are 3.
    let timed = || videos.iter().map(|video| VideoInput { frames: video.into(), fps: Some(4.0) });
    let slow = asking(None, Some(1.5))?.preprocess(timed())?;
    expect("1.5 frames a second", shape(&slow), [5, 3, 3, 18, 18])?;

    let unknown_rate = asking(None, Some(1.5))?.preprocess(&videos);
    ensure(unknown_rate.is_err(), "a rate asked of a video of unknown rate")?;
    ensure(asking(Some(100), None)?.preprocess(&videos).is_err(), "100 frames of 8")?;
    ensure(asking(Some(3), Some(1.5))?.preprocess(timed()).is_err(), "both a number and a rate")?;
    let all = asking(Some(3), None)?.with_sampling(|sampling| sampling.do_sample_frames = false);
    expect("all frames", shape(&all.preprocess(&videos)?), [5, NUM_FRAMES, 3, 18, 18])
}
