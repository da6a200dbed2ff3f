//! Sine and cosine that give the same bits on every machine.

/// Cosine and sine of an angle given in turns (1.0 is a full circle).
///
/// The platform's `sin` may differ in the last bit from one libm to the next; this one is a Taylor polynomial
/// of additions and multiplications, which IEEE 754 rounds the same way everywhere. Error below 1e-12.
pub(crate) fn cos_sin(turns: f64) -> (f64, f64) {
    // Eighths of a turn keep the polynomial's argument within ±π/4, where it converges fast.
    let quarter = (turns * 4.0 + 0.5).floor();
    let x = (turns - quarter / 4.0) * std::f64::consts::TAU;
    let x2 = x * x;
    let sin = x * horner(x2, &[1.0, -6.0, 120.0, -5_040.0, 362_880.0, -39_916_800.0, 6_227_020_800.0]);
    let cos = horner(x2, &[1.0, -2.0, 24.0, -720.0, 40_320.0, -3_628_800.0, 479_001_600.0]);
    match quarter.rem_euclid(4.0) as u8 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// Σ xⁱ / divisors\[i\].
fn horner(x: f64, divisors: &[f64]) -> f64 {
    divisors.iter().rev().fold(0.0, |sum, divisor| sum * x + 1.0 / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        for step in -4000..4000 {
            let turns = f64::from(step) / 1000.0;
            let (sin, cos) = (turns * std::f64::consts::TAU).sin_cos();
            let (our_cos, our_sin) = cos_sin(turns);
            assert!((our_cos - cos).abs() < 1e-11 && (our_sin - sin).abs() < 1e-11, "at {turns} turns");
        }
    }
}
