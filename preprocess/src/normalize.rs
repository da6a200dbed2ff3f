//! Samples to values: rescale and normalise.
//!
//! Bytes go through a table of 256 entries per channel, which makes every operation exact by construction; frames
//! that are not bytes go through the formula itself.

use crate::Result;
use crate::processor::{Numerics, ProcessorOptions};

/// What each level of one channel becomes.
pub(crate) type Levels = [f32; 256];

/// What happens to the samples of one channel.
///
/// torchvision with both steps on: (x − mean·k)/(std·k) with k = 1/`rescale_factor`, all in single precision; one
/// step alone is x·factor or (x − mean)/std. The others multiply in double precision, round to single, and
/// normalise from there; the official evaluation code divides by 255, which gives the same 256 numbers. With
/// neither step samples stay as they are (the reference then keeps bytes; the numbers are the same).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Formula {
    scale: Scale,
    /// Mean and deviation, where they are asked for.
    mean_std: Option<[f32; 2]>,
}

#[derive(Clone, Copy, Debug)]
enum Scale {
    None,
    Single(f32),
    Double(f64),
}

impl Formula {
    /// The formulas of `channels` channels.
    pub(crate) fn of_channels(options: &ProcessorOptions, channels: usize) -> Result<Vec<Self>> {
        let factor = options.rescale_factor;
        let torchvision = options.numerics == Numerics::Torchvision;
        let fused = torchvision && options.do_rescale && options.do_normalize;
        let unit = if fused { (1.0 / factor) as f32 } else { 1.0 };
        let scale = match (options.do_rescale && !fused, torchvision) {
            (false, _) => Scale::None,
            (true, true) => Scale::Single(factor as f32),
            (true, false) => Scale::Double(factor),
        };
        let formula = |channel| {
            if !options.do_normalize {
                return Ok(Self { scale, mean_std: None });
            }
            let numerics = options.numerics;
            let mean = options.image_mean.get("image_mean", numerics, channel, channels)? as f32 * unit;
            let std = options.image_std.get("image_std", numerics, channel, channels)? as f32 * unit;
            Ok(Self { scale, mean_std: Some([mean, std]) })
        };
        (0..channels).map(formula).collect()
    }

    pub(crate) fn value(&self, sample: f32) -> f32 {
        let scaled = match self.scale {
            Scale::None => sample,
            Scale::Single(factor) => sample * factor,
            Scale::Double(factor) => (f64::from(sample) * factor) as f32,
        };
        match self.mean_std {
            Some([mean, std]) => (scaled - mean) / std,
            None => scaled,
        }
    }

    pub(crate) fn table(&self) -> Levels {
        // Levels are below 256, so the conversion is exact.
        std::array::from_fn(|level| self.value(level as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level_tables(options: &ProcessorOptions, channels: usize) -> Result<Vec<Levels>> {
        Ok(Formula::of_channels(options, channels)?.iter().map(Formula::table).collect())
    }

    #[test]
    fn division_by_255_is_the_double_precision_product() {
        for level in 0..=255u8 {
            let product = Formula { scale: Scale::Double(1.0 / 255.0), mean_std: None };
            assert_eq!(product.value(f32::from(level)), f32::from(level) / 255.0);
        }
    }

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
