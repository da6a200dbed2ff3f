//! `processors/…/<clip>`: frames, pixel values and logits of the project's clips; `accuracy/…`: clips never seen.

use std::{fs, sync::Arc};

use conformance::{
    fixtures,
    suites::{
        accuracy::{AT_LEAST, Answers, SAME_AT_LEAST},
        processors::{Recorded, label_of_reversed},
    },
};
use kernels::WeightFormat;
use libtest_mimic::{Failed, Trial};

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let mut trials = vec![Trial::test("processors/every_clip_is_recorded", every_clip_is_recorded)];
    for name in fixtures::cases("processor") {
        let recorded = Arc::new(Recorded::read(&name));
        let of = Arc::clone(&recorded);
        trials.push(Trial::test(format!("processors/frames/{name}"), move || Ok(of.check_frames()?)));
        let of = Arc::clone(&recorded);
        let title = format!("processors/pixel_values/{name}");
        trials.push(Trial::test(title, move || Ok(of.check_pixel_values()?)));
        for backend in &context.backends {
            let title = format!("processors/logits/{name}/{}", backend.name());
            let (of, on, name) = (Arc::clone(&recorded), Arc::clone(backend), name.clone());
            trials.push(context.trial(title, move || of.logits(&name, &on)));
        }
    }
    let fastest = kernels::open("auto").expect("some backend runs on every machine");
    let backend = Arc::clone(&fastest);
    trials.push(Trial::test("accuracy/a_reversed_left_clip_is_right", move || {
        match label_of_reversed("left", &backend)?.as_str() {
            "right" => Ok(()),
            other => Err(format!("expected right, found {other}").into()),
        }
    }));
    let notes = Arc::clone(&context.notes);
    trials.push(Trial::test("accuracy/held_out_clips", move || {
        let full = Answers::of(&fastest, WeightFormat::F32)?;
        let name = format!("demo checkpoint on {}", fastest.name());
        let check = |text: String, count: usize, at_least: f64| -> Result<(), Failed> {
            if (count as f64) < at_least * full.total() as f64 {
                return Err(format!("{text}, expected {at_least} of them").into());
            }
            notes.add(text);
            Ok(())
        };
        let (right, total) = (full.right(), full.total());
        check(format!("{name}: {right} of {total} held-out clips right"), right, AT_LEAST)?;
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let same = Answers::of(&fastest, format)?.same_as(&full);
            check(format!("{name}: {same} of {total} labels in {format} as in f32"), same, SAME_AT_LEAST)?;
        }
        Ok(())
    }));
    trials
}

/// Nothing lies in `fixtures/clips/` that no trial looks at.
fn every_clip_is_recorded() -> Result<(), Failed> {
    let mut clips: Vec<String> = fs::read_dir(fixtures::root().join("clips"))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mp4"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    clips.sort();
    let recorded = fixtures::cases("processor");
    if clips == recorded { Ok(()) } else { Err(format!("clips {clips:?}, recorded {recorded:?}").into()) }
}
