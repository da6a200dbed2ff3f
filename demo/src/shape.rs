//! What moves: five flat shapes, given by their distance functions.

/// The outline of the thing that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Disc,
    Square,
    Triangle,
    Ring,
    Cross,
}

impl Shape {
    pub(crate) const ALL: [Shape; 5] =
        [Shape::Disc, Shape::Square, Shape::Triangle, Shape::Ring, Shape::Cross];

    /// The signed distance from (x, y) to the outline of a shape of circumradius 1 about the origin: negative
    /// inside, positive outside. Beyond sharp corners it is a lower bound of the true distance, which only
    /// makes their anti-aliasing a little sharper.
    pub(crate) fn distance(self, x: f64, y: f64) -> f64 {
        match self {
            Shape::Disc => (x * x + y * y).sqrt() - 1.0,
            Shape::Square => x.abs().max(y.abs()) - std::f64::consts::FRAC_1_SQRT_2,
            Shape::Triangle => {
                // Three half-planes at the inradius of an equilateral triangle, half its circumradius.
                let sloped = 0.75_f64.sqrt() * x.abs() - 0.5 * y;
                sloped.max(y) - 0.5
            }
            Shape::Ring => {
                // The band between 0.44 and 1, wide enough to survive the resize to the model's input.
                ((x * x + y * y).sqrt() - 0.72).abs() - 0.28
            }
            Shape::Cross => {
                // Two bars of half-width 0.3 whose corners lie on the circumcircle: 0.3² + 0.954² ≈ 1.
                let (long, wide) = (0.954, 0.3);
                let (x, y) = (x.abs(), y.abs());
                (x - long).max(y - wide).min((x - wide).max(y - long))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_lies_within_its_circumcircle_and_touches_it() {
        for shape in Shape::ALL {
            let mut reach = 0.0_f64;
            for y in -150..=150 {
                for x in -150..=150 {
                    let (x, y) = (f64::from(x) / 100.0, f64::from(y) / 100.0);
                    if shape.distance(x, y) <= 0.0 {
                        reach = reach.max((x * x + y * y).sqrt());
                    }
                }
            }
            assert!((0.95..=1.0005).contains(&reach), "{shape:?} reaches {reach}");
        }
    }
}
