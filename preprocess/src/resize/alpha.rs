//! Colours multiplied by alpha, as Pillow keeps RGBA images while it resizes them.

/// RGBA with straight alpha to RGBA with premultiplied alpha.
pub(super) fn multiply(image: &[u8]) -> Vec<u8> {
    let (pixels, _) = image.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|&[red, green, blue, alpha]| {
            // x·y/255, rounded, without a division: Pillow's MULDIV255.
            let scaled = |level: u8| {
                let product = u32::from(level) * u32::from(alpha) + 128;
                ((product + (product >> 8)) >> 8) as u8
            };
            [scaled(red), scaled(green), scaled(blue), alpha]
        })
        .collect()
}

/// The way back, in place. The quotient is cut off, and colours are kept where alpha is none or whole.
pub(super) fn divide(image: &mut [u8]) {
    let (pixels, _) = image.as_chunks_mut::<4>();
    for [red, green, blue, alpha] in pixels {
        if !matches!(*alpha, 0 | 255) {
            for level in [red, green, blue] {
                *level = (255 * u32::from(*level) / u32::from(*alpha)).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_and_empty_pixels_are_kept() {
        let mut image = multiply(&[10, 20, 30, 255, 40, 50, 60, 0]);
        assert_eq!(image, [10, 20, 30, 255, 0, 0, 0, 0]);
        divide(&mut image);
        assert_eq!(image, [10, 20, 30, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn half_transparent_colours_return_to_within_a_level() {
        let mut image = multiply(&[200, 100, 1, 128]);
        divide(&mut image);
        assert_eq!(image, [199, 99, 1, 128]);
    }
}
