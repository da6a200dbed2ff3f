//! A batch that does not fit into the memory of `cuda:0`: what the error says is true.
//!
//! A test of its own, because the memory of the stand-in's device is that of the whole process.

use std::error::Error as StdError;

use kernels_cuda_stand_in::{Driver, install, set_memory};
use videomae::{
    Error, Session, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification,
    checkpoint::{Architecture, FreshWeights, LoadOptions},
};

const MEMORY: usize = 12 << 20;
const SHAPE: [usize; 5] = [0, 4, 3, 32, 32];

fn config() -> VideoMAEConfig {
    VideoMAEConfig {
        image_size: videomae::Size::square(32),
        patch_size: videomae::Size::square(8),
        num_frames: 4,
        hidden_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        intermediate_size: 64,
        decoder_hidden_size: 24,
        decoder_num_hidden_layers: 1,
        decoder_num_attention_heads: 3,
        decoder_intermediate_size: 40,
        ..VideoMAEConfig::base()
    }
    .with_num_labels(5)
}

type Forward<'a> = &'a dyn Fn(&mut Session, &VideoInputs<'_>) -> videomae::Result<()>;

/// Runs so many clips, with 5 of 32 tokens masked if asked.
fn run(forward: Forward<'_>, session: &mut Session, clips: usize, masked: bool) -> videomae::Result<()> {
    let [_, rest @ ..] = SHAPE;
    let [frames, channels, height, width] = rest;
    let pixel_values = vec![0.5; clips * rest.iter().product::<usize>()];
    let mask: Vec<_> = (0..clips * 32).map(|token| token % 32 < 5).collect();
    let inputs = VideoInputs {
        bool_masked_pos: masked.then_some(&mask[..]),
        ..VideoInputs::new(&pixel_values, [clips, frames, channels, height, width])
    };
    forward(session, &inputs)
}

/// Asks for too much, and takes the advice.
fn check(what: &str, forward: Forward<'_>, session: &mut Session, masked: bool) -> videomae::Result<()> {
    let mut run = |clips| run(forward, session, clips, masked);
    run(2)?;
    for batch in [1000, 301] {
        let Err(error) = run(batch) else { panic!("{what}: {batch} clips fit") };
        let Error::OutOfMemory { batch: named, needed, free, fits, .. } = error else {
            panic!("{what}: {error}");
        };
        assert_eq!(named, batch);
        assert!(free < MEMORY as u64 && free < needed, "{what}: {error}");
        assert!((2..batch).contains(&fits), "{what}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cuda:0: batch {batch} needs ")), "{text}");
        assert!(text.ends_with(&format!(" MiB are free: a batch of {fits} would fit")), "{text}");
        run(fits)?;
        let more = run(fits + 1);
        assert!(
            matches!(more, Err(Error::OutOfMemory { fits: again, .. }) if again == fits),
            "{what}: {more:?}"
        );
        // The session is of use, whatever it was before.
        run(fits)?;
        run(1)?;
    }
    Ok(())
}

#[test]
fn the_batch_that_an_error_of_cuda_proposes_fits_and_one_more_does_not() -> Result<(), Box<dyn StdError>> {
    if install()? == Driver::Real {
        // There, others may take or free memory at any time.
        return Ok(());
    }
    set_memory(MEMORY);
    let (config, options) = (config(), LoadOptions::default());

    let weights = FreshWeights::new(&config, Architecture::VideoClassification, 3)?;
    let backend = kernels::open("cuda:0")?;
    let (model, _) =
        VideoMAEForVideoClassification::from_weights(config.clone(), &weights, backend, &options)?;
    let mut session = model.session()?;
    let forward = |session: &mut Session, inputs: &VideoInputs<'_>| model.forward(session, inputs).map(drop);
    check("classification", &forward, &mut session, false)?;
    check("classification of visible tokens", &forward, &mut session, true)?;
    drop((model, session));

    let weights = FreshWeights::new(&config, Architecture::PreTraining, 3)?;
    let backend = kernels::open("cuda:0")?;
    let (model, _) = VideoMAEForPreTraining::from_weights(config, &weights, backend, &options)?;
    let mut session = model.session()?;
    let forward = |session: &mut Session, inputs: &VideoInputs<'_>| model.forward(session, inputs).map(drop);
    check("pretraining", &forward, &mut session, true)?;

    // With everything that is left taken away, not even one clip fits.
    set_memory(0);
    run(&forward, &mut session, 1, true)?;
    let error = run(&forward, &mut session, 400, true).unwrap_err();
    assert!(error.to_string().ends_with("not even one clip would fit"), "{error}");
    Ok(())
}
