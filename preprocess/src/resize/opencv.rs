//! OpenCV's `INTER_LINEAR` on bytes: two taps an axis whatever the reduction, so that a large one skips pixels.
//!
//! Weights have 11 bits. The horizontal sums keep them all; the vertical step drops four bits of each sum before it
//! multiplies and sixteen after, as the SIMD code of OpenCV does. Halving both edges averages blocks of 2×2 instead.

/// Weights are multiples of 2⁻¹¹.
const UNIT: f32 = 2048.0;

/// The two inputs of an output and their weights.
struct Tap {
    inputs: [usize; 2],
    weights: [i32; 2],
}

/// Resizes `(H, W, C)` to `(new H, new W, C)`.
pub(super) fn resize(
    image: &[u8],
    [height, width, channels]: [usize; 3],
    [new_height, new_width]: [usize; 2],
    out: &mut [u8],
) {
    if [height, width] == [2 * new_height, 2 * new_width] {
        return halve(image, width, channels, out);
    }
    let columns = taps(width, new_width, true);
    let row_sums = |y: usize| -> Vec<i32> {
        let row = &image[y * width * channels..][..width * channels];
        let sample = |input: usize, channel: usize| i32::from(row[input * channels + channel]);
        let sum = |tap: &Tap, channel: usize| {
            tap.weights[0] * sample(tap.inputs[0], channel) + tap.weights[1] * sample(tap.inputs[1], channel)
        };
        columns.iter().flat_map(|tap| (0..channels).map(move |channel| sum(tap, channel))).collect()
    };
    // Rows are visited in order, so that of the two sums in use at least one was often used just before.
    let mut known: [(usize, Vec<i32>); 2] = [(usize::MAX, Vec::new()), (usize::MAX, Vec::new())];
    for (tap, out) in taps(height, new_height, false).iter().zip(out.chunks_exact_mut(new_width * channels)) {
        if known[1].0 == tap.inputs[0] {
            known.swap(0, 1);
        }
        for (known, &input) in known.iter_mut().zip(&tap.inputs) {
            if known.0 != input {
                *known = (input, row_sums(input));
            }
        }
        for ((out, &above), &below) in out.iter_mut().zip(&known[0].1).zip(&known[1].1) {
            let sum = ((tap.weights[0] * (above >> 4)) >> 16) + ((tap.weights[1] * (below >> 4)) >> 16);
            *out = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
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
        let weights = [1.0 - fraction, fraction].map(|weight| (weight * UNIT).round_ties_even() as i32);
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
