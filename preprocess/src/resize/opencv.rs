//! OpenCV's `INTER_LINEAR` on bytes: two taps an axis whatever the reduction, so that a large one skips pixels.
//!
//! Weights have 11 bits. The horizontal sums keep them all; the vertical step drops four bits of each sum before it
//! multiplies and sixteen after, as the SIMD code of OpenCV does: 16-bit numbers then hold everything but the
//! products, and compilers find the instruction for the upper half of a 16-bit product. Halving both edges averages
//! blocks of 2×2 instead.

/// Weights are multiples of 2⁻¹¹.
const UNIT: f32 = 2048.0;

/// The two inputs of an output and their weights, whose sum is 2048, or one more by rounding.
struct Tap {
    inputs: [usize; 2],
    weights: [i16; 2],
}

/// Resizes `(H, W, C)` to `(new H, new W, C)`, where C is 1, 3 or 4.
pub(super) fn resize(
    image: &[u8],
    [height, width, channels]: [usize; 3],
    to @ [new_height, new_width]: [usize; 2],
    out: &mut [u8],
) {
    if [height, width] == [2 * new_height, 2 * new_width] {
        return halve(image, width, channels, out);
    }
    match channels {
        1 => passes::<1>(image, [height, width], to, out),
        3 => passes::<3>(image, [height, width], to, out),
        _ => passes::<4>(image, [height, width], to, out),
    }
}

fn passes<const C: usize>(
    image: &[u8],
    [height, width]: [usize; 2],
    [new_height, new_width]: [usize; 2],
    out: &mut [u8],
) {
    let columns = taps(width, new_width, true);
    let stride = new_width * C;
    // Rows are visited in order, so that of the two sums in use at least one was often used just before.
    let mut known = [(usize::MAX, vec![0; stride]), (usize::MAX, vec![0; stride])];
    for (tap, out) in taps(height, new_height, false).iter().zip(out.chunks_exact_mut(stride)) {
        if known[1].0 == tap.inputs[0] {
            known.swap(0, 1);
        }
        for ((known, sums), &input) in known.iter_mut().zip(&tap.inputs) {
            if *known != input {
                *known = input;
                horizontal::<C>(&image[input * width * C..][..width * C], &columns, sums);
            }
        }
        let [(_, above), (_, below)] = &known;
        vertical([above, below], tap.weights, out);
    }
}

/// The sums of one row, less their last four bits. At most 2049 · 255 / 16, they fit in 16 bits.
fn horizontal<const C: usize>(row: &[u8], columns: &[Tap], sums: &mut [i16]) {
    let (pixels, _) = row.as_chunks::<C>();
    let (sums, _) = sums.as_chunks_mut::<C>();
    for (sums, tap) in sums.iter_mut().zip(columns) {
        let [left, right] = tap.inputs.map(|input| pixels[input].map(i32::from));
        let weights = tap.weights.map(i32::from);
        for (sum, (left, right)) in sums.iter_mut().zip(left.into_iter().zip(right)) {
            *sum = ((weights[0] * left + weights[1] * right) >> 4) as i16;
        }
    }
}

/// One row of the result. At most 1023 before the last shift, sums fit in 16 bits.
fn vertical([above, below]: [&[i16]; 2], weights: [i16; 2], out: &mut [u8]) {
    let part = |sum: i16, weight: i16| ((i32::from(sum) * i32::from(weight)) >> 16) as i16;
    for ((out, &above), &below) in out.iter_mut().zip(above).zip(below) {
        let sum = part(above, weights[0]) + part(below, weights[1]);
        *out = ((sum + 2) >> 2).clamp(0, 255) as u8;
    }
}

/// The taps of one axis. Beyond the border, columns take the border pixel alone, while rows mix it with itself,
/// which rounds differently.
fn taps(input: usize, output: usize, alone_at_border: bool) -> Vec<Tap> {
    let scale = input as f64 / output as f64;
    let last = input as isize - 1;
    let tap = |i: usize| {
        let position = ((i as f64 + 0.5) * scale - 0.5) as f32;
        let first = position.floor() as isize;
        let mut fraction = position - position.floor();
        if alone_at_border && !(0..last).contains(&first) {
            fraction = 0.0;
        }
        // Ties to even, as the SSE conversion of OpenCV rounds.
        let weights = [1.0 - fraction, fraction].map(|weight| (weight * UNIT).round_ties_even() as i16);
        Tap { inputs: [first, first + 1].map(|input| input.clamp(0, last) as usize), weights }
    };
    (0..output).map(tap).collect()
}

fn halve(image: &[u8], width: usize, channels: usize, out: &mut [u8]) {
    let stride = width * channels;
    for (rows, out) in image.chunks_exact(2 * stride).zip(out.chunks_exact_mut(stride / 2)) {
        for (i, out) in out.iter_mut().enumerate() {
            let at = i / channels * 2 * channels + i % channels;
            let block = [at, at + channels, at + stride, at + stride + channels];
            let sum: u32 = block.iter().map(|&at| u32::from(rows[at])).sum();
            *out = ((sum + 2) >> 2) as u8;
        }
    }
}
