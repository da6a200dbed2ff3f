//! `normalize_levels`: bytes to what rescaling and normalising make of them.

use kernels_backend::{Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn normalize_levels(levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
    const OP: &str = "normalize_levels";
    let (channels, plane) = check::normalize_levels(levels, table, pixel_values)?;
    let levels = storage::integers(OP, "levels", levels)?;
    let table = storage::floats(OP, "table", table)?;
    let mut pixel_values = storage::floats_mut(OP, "pixel_values", pixel_values)?;
    for (i, &level) in levels.iter().enumerate() {
        let channel = i / plane % channels;
        let value = table[channel * 256 + level as usize];
        pixel_values.store(i, Write::Replace, value.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::DType;

    use crate::testing::{levels, stream, tensor, typed, undefined, values};

    #[test]
    fn every_channel_has_its_own_column_of_the_table() {
        // Two frames of two channels of one pixel; the second channel counts down.
        let shape = [1, 2, 2, 1, 1];
        let mut s = stream();
        let levels = levels(shape, &[0, 0, 255, 7]);
        let table: Vec<f32> = (0..256).map(|l| l as f32).chain((0..256).map(|l| -(l as f32))).collect();
        let mut pixel_values = undefined(shape);
        s.normalize_levels(&levels, &tensor([2, 256], &table), &mut pixel_values).unwrap();
        assert_eq!(values(&pixel_values), [0.0, 0.0, 255.0, -7.0]);
        assert_eq!(values(&levels), [0.0, 0.0, 255.0, 7.0]);
        let mut rounded = typed(shape, DType::Bf16, &[0.0; 4]);
        let thirds: Vec<f32> = (0..512).map(|l| l as f32 / 3.0).collect();
        s.normalize_levels(&levels, &tensor([2, 256], &thirds), &mut rounded).unwrap();
        // 263/3 in eight bits.
        assert_eq!(values(&rounded)[3], 87.5);
    }
}
