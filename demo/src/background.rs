//! What stays: the picture behind the shape.

use crate::{
    angle::cos_sin,
    rng::{Rng, mix},
};

/// A static pattern that blends two colours.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    pattern: Pattern,
    /// Direction of the pattern's axis as a unit vector.
    axis: (f64, f64),
    /// Repeats per unit length (the short side of the frame is 1).
    frequency: f64,
    /// Moves the pattern along its axis, and salts the clouds.
    phase: f64,
    salt: u64,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    Flat,
    Gradient,
    Stripes,
    Checks,
    Clouds,
}

impl Background {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        use Pattern::{Checks, Clouds, Flat, Gradient, Stripes};
        Self {
            pattern: rng.choose(&[Flat, Gradient, Stripes, Checks, Clouds]),
            axis: cos_sin(rng.uniform(0.0, 1.0)),
            // From two to seven repeats: neither a second flat colour nor finer than the model's input resolves.
            frequency: rng.uniform(2.0, 7.0),
            phase: rng.uniform(0.0, 1.0),
            salt: rng.next_u64(),
        }
    }

    /// How far the colour at (x, y) has gone from the first colour (0) to the second (1).
    pub(crate) fn blend(&self, x: f64, y: f64) -> f64 {
        let along = x * self.axis.0 + y * self.axis.1;
        let across = y * self.axis.0 - x * self.axis.1;
        match self.pattern {
            Pattern::Flat => 0.0,
            // The half diagonal of a 4:3 frame is 0.83, so that the ends of the gradient lie near the corners.
            Pattern::Gradient => (0.5 + along / 1.66).clamp(0.0, 1.0),
            Pattern::Stripes => wave(along * self.frequency + self.phase),
            Pattern::Checks => {
                let (a, b) = (wave(along * self.frequency + self.phase), wave(across * self.frequency));
                a * b + (1.0 - a) * (1.0 - b)
            }
            Pattern::Clouds => {
                let coarse = self.cloud(x * self.frequency, y * self.frequency, 0);
                let fine = self.cloud(x * self.frequency * 2.0, y * self.frequency * 2.0, 1);
                (2.0 * coarse + fine) / 3.0
            }
        }
    }

    /// Value noise: random numbers on the integer lattice, interpolated bilinearly.
    fn cloud(&self, x: f64, y: f64, octave: u64) -> f64 {
        let (column, row) = (x.floor(), y.floor());
        let (u, v) = (smooth(x - column), smooth(y - row));
        let corner = |dx: f64, dy: f64| {
            let place = mix((column + dx) as i64 as u64).wrapping_add((row + dy) as i64 as u64);
            let bits = mix(mix(place).wrapping_add(self.salt).wrapping_add(octave));
            (bits >> 11) as f64 / (1_u64 << 53) as f64
        };
        let top = corner(0.0, 0.0) * (1.0 - u) + corner(1.0, 0.0) * u;
        let bottom = corner(0.0, 1.0) * (1.0 - u) + corner(1.0, 1.0) * u;
        top * (1.0 - v) + bottom * v
    }
}

/// A wave of period 1 with soft edges: flat at 0, flat at 1, and a slope between them.
fn wave(x: f64) -> f64 {
    let triangle = (2.0 * (x - x.floor()) - 1.0).abs();
    smooth((triangle * 4.0 - 1.5).clamp(0.0, 1.0))
}

/// The cubic that leaves 0 and reaches 1 with no slope.
fn smooth(x: f64) -> f64 {
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blend_stays_between_the_two_colours() {
        for seed in 0..50 {
            let background = Background::draw(&mut Rng::new(seed, 0));
            for step in 0..2000 {
                let (x, y) = (f64::from(step % 50) / 25.0 - 1.0, f64::from(step / 50) / 20.0 - 1.0);
                let blend = background.blend(x, y);
                assert!((0.0..=1.0).contains(&blend), "{background:?} at ({x}, {y}): {blend}");
            }
        }
    }
}
