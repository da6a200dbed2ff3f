//! Where a token lies in a video: a fixed table, never a weight.

/// The sinusoid table `(num_positions, hidden_size)` (`get_sinusoid_encoding_table`, after "Attention is all you
/// need", section 3.5). Column 2i is `sin(p / 10000^(2i/D))`, column 2i + 1 the cosine of the same angle.
///
/// The position p is the flat token index, time slowest: there are no separate tables of time, height and
/// width. So more frames extend the table, while another height or width gives every row a new place in the
/// picture. Angles are divided in `f64`, as the reference does, and only the result is rounded.
pub fn sinusoid_table(num_positions: usize, hidden_size: usize) -> Vec<f32> {
    // One power per pair of columns, not one per element: the difference between seconds and milliseconds.
    let divisors: Vec<f64> =
        (0..hidden_size).step_by(2).map(|j| 10_000f64.powf(j as f64 / hidden_size as f64)).collect();
    let mut table = vec![0.0; num_positions * hidden_size];
    for (position, row) in table.chunks_exact_mut(hidden_size.max(1)).enumerate() {
        for (pair, divisor) in row.chunks_mut(2).zip(&divisors) {
            let (sin, cos) = (position as f64 / divisor).sin_cos();
            pair[0] = sin as f32;
            // An odd width ends with a sine.
            if let Some(last) = pair.get_mut(1) {
                *last = cos as f32;
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, element by element, with a power for each.
    fn by_definition(position: usize, column: usize, width: usize) -> f32 {
        let angle = position as f64 / 10_000f64.powf((2 * (column / 2)) as f64 / width as f64);
        (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    }

    #[test]
    fn every_element_is_the_definition_bit_by_bit() {
        for (count, width) in [(1, 1), (5, 2), (9, 7), (40, 24)] {
            let table = sinusoid_table(count, width);
            assert_eq!(table.len(), count * width);
            for (i, &found) in table.iter().enumerate() {
                let expected = by_definition(i / width, i % width, width);
                assert_eq!(found.to_bits(), expected.to_bits(), "({count}, {width}) at {i}");
            }
        }
    }

    #[test]
    fn more_positions_keep_the_first_rows() {
        let (short, long) = (sinusoid_table(8, 16), sinusoid_table(32, 16));
        assert_eq!(short[..], long[..short.len()]);
    }

    #[test]
    fn a_known_value_of_the_base_model() {
        // The angle 1567 / 10000^(100/768) = 472.319268431787…, reduced by 2π in 60 digits.
        let table = sinusoid_table(1568, 768);
        let row = &table[1567 * 768..];
        assert_eq!(
            (row[100], row[101]),
            (0.882_132_323_259_212_8_f64 as f32, 0.471_001_660_571_705_2_f64 as f32)
        );
        assert_eq!((table[0], table[1]), (0.0, 1.0));
    }
}
