//! What is computed on the host: position tables, and the numbers of the hash.

use videomae::sinusoid_table;

use super::Run;
use crate::{fixtures::Data, hash};

/// The tables there are samples of, as (tokens, width).
const TABLES: [(usize, usize); 4] = [(1568, 384), (1568, 768), (9, 35), (3, 1)];

pub(super) fn positions(run: &mut Run) {
    for (tokens, width) in TABLES {
        let name = format!("{tokens}x{width}");
        let table = sinusoid_table(tokens, width);
        let index = run.expected(&format!("{name}.index"));
        let found: Vec<f32> = index.integers().iter().map(|&i| table[i as usize]).collect();
        run.compare(&format!("{name}.value"), 1, 0.0, &found);
        // Tables of two columns and more all reach cos 0 = 1, which is stored once.
        let stored = if width > 1 { "1568x384" } else { &name };
        run.compare(&format!("{stored}.max_abs"), 1, 0.0, &[super::largest(&table)]);
    }
}

/// To the bit: an error here would be in every model.
pub(super) fn hashed(run: &mut Run) -> Result<(), String> {
    let names: Vec<String> = run.expected.0.keys().cloned().collect();
    for name in names {
        let expected = run.expected(&name);
        let found = match name.split_once('.') {
            Some(("weight", key)) => Data::Float(hash::weight(key, &expected.shape)),
            Some(("words", start)) => {
                let start: u64 = start.parse().map_err(|e| format!("{name}: {e}"))?;
                let (key, count) = (hash::fnv1a64("words"), expected.shape[0] as u64);
                Data::Integer((start..start + count).map(|i| hash::word(key, i).cast_signed()).collect())
            }
            _ => match name.as_str() {
                "pixel_values" => Data::Float(hash::pixel_values(expected.shape.iter().product())),
                // The sizes xtask/python/fixtures/ops.py has made them with.
                "random_mask" => Data::Byte(bytes(&hash::random_mask(3, 17, 11))),
                "tube_mask" => Data::Byte(bytes(&hash::tube_mask(2, 3, 7, 4))),
                other => return Err(format!("nothing hashed is called {other}")),
            },
        };
        if found != expected.data {
            return Err(format!("{name}: expected {:?}, found {found:?}", expected.data));
        }
        if let Data::Float(found) = &found {
            run.compare(&name, 1, 0.0, found);
        }
    }
    Ok(())
}

fn bytes(mask: &[bool]) -> Vec<u8> {
    mask.iter().map(|&masked| masked.into()).collect()
}
