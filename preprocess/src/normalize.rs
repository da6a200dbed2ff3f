//! Levels to values: rescale and normalise as a table of 256 entries per channel.
//!
//! Frames have 8 bits a channel, so every operation per sample is a table, which makes it exact by construction.

use crate::Result;
use crate::processor::ProcessorOptions;

/// What each level of one channel becomes.
pub(crate) type Levels = [f32; 256];

/// The tables of `channels` channels.
///
/// With rescale and normalise both on, torchvision's fused form: (x − mean·k)/(std·k) with k = 1/`rescale_factor`
/// in single precision. One alone is x·factor or (x − mean)/std. Neither leaves the levels as they are (the
/// reference then keeps bytes; the numbers are the same).
pub(crate) fn level_tables(options: &ProcessorOptions, channels: usize) -> Result<Vec<Levels>> {
    let factor = options.rescale_factor;
    (0..channels)
        .map(|channel| {
            if !options.do_normalize {
                let scale = if options.do_rescale { factor as f32 } else { 1.0 };
                return Ok(table(|level| level * scale));
            }
            let unit = if options.do_rescale { (1.0 / factor) as f32 } else { 1.0 };
            let mean = options.image_mean.get("image_mean", channel, channels)? as f32 * unit;
            let std = options.image_std.get("image_std", channel, channels)? as f32 * unit;
            Ok(table(|level| (level - mean) / std))
        })
        .collect()
}

fn table(value: impl Fn(f32) -> f32) -> Levels {
    // Levels are below 256, so the conversion is exact.
    std::array::from_fn(|level| value(level as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_map_levels_to_minus_one_to_one() {
        let tables = level_tables(&ProcessorOptions::default(), 3).unwrap();
        assert_eq!((tables[0][0], tables[2][255]), (-1.0, 1.0));
    }

    #[test]
    fn steps_can_be_switched_off() {
        let mut options = ProcessorOptions { do_rescale: false, ..ProcessorOptions::default() };
        assert_eq!(level_tables(&options, 3).unwrap()[0][7], (7.0 - 0.5) / 0.5);
        options.do_normalize = false;
        assert_eq!(level_tables(&options, 3).unwrap()[0][7], 7.0);
        options.do_rescale = true;
        assert_eq!(level_tables(&options, 3).unwrap()[0][255], 1.0);
    }

    #[test]
    fn a_list_of_another_length_is_an_error() {
        let options = ProcessorOptions { image_mean: [0.5, 0.5].into(), ..ProcessorOptions::default() };
        let message = level_tables(&options, 3).unwrap_err().to_string();
        assert_eq!(message, "image_mean: expected 1 or 3 numbers, one per channel, found [0.5, 0.5]");
    }
}
