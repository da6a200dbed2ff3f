//! How the shape moves: the only thing a label decides.

use crate::{
    Label,
    angle::cos_sin,
    clip::NUM_FRAMES,
    rng::{MOTION_STREAM, Rng},
};

/// Where the shape is and how large, in one frame. Lengths are in units of the frame's short side, the origin
/// is the middle of the frame, x points right and y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pose {
    /// Centre, −0.5 to 0.5 within the middle square.
    pub(crate) x: f64,
    /// Centre, −0.5 to 0.5 within the middle square; the top is negative.
    pub(crate) y: f64,
    /// Circumradius.
    pub(crate) radius: f64,
}

/// Where the shape of [`render`](crate::render)`(label, seed)` is in each of its [`NUM_FRAMES`] frames.
pub(crate) fn track(label: Label, seed: u64) -> Vec<Pose> {
    let motion = Motion::draw(label, &mut Rng::new(seed, MOTION_STREAM));
    (0..NUM_FRAMES).map(|frame| motion.pose(frame)).collect()
}

/// Half of the square that the shape never leaves. Image processors crop the middle square (half-side 0.5);
/// the rest is a margin, so that no edge of the picture cuts the shape or its anti-aliasing.
pub(crate) const REACH: f64 = 0.48;

/// A path through time. All paths are written about the middle of the clip, so that playing one backwards is
/// exactly the path of [`Label::reversed`] with the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Motion {
    /// The middle of the path.
    x: f64,
    y: f64,
    /// Circumradius in the middle of the clip.
    radius: f64,
    path: Path,
}

#[derive(Clone, Debug)]
enum Path {
    Line { dx: f64, dy: f64 },
    Circle { radius: f64, phase: f64, turns: f64 },
    Scale { change: f64 },
    Bounce { height: f64, phase: f64, arcs: f64, drift: f64 },
    Still,
}

impl Motion {
    /// Draws a motion that shows `label`.
    pub(crate) fn draw(label: Label, rng: &mut Rng) -> Self {
        match label {
            Label::Left => Self::line(rng, (-1.0, 0.0)),
            Label::Right => Self::line(rng, (1.0, 0.0)),
            Label::Up => Self::line(rng, (0.0, -1.0)),
            Label::Down => Self::line(rng, (0.0, 1.0)),
            Label::Clockwise => Self::circle(rng, 1.0),
            Label::Anticlockwise => Self::circle(rng, -1.0),
            Label::Grow => Self::scale(rng, 1.0),
            Label::Shrink => Self::scale(rng, -1.0),
            Label::Bounce => Self::bounce(rng),
            Label::Still => Self::still(rng),
        }
    }

    /// The pose in frame `frame` of [`NUM_FRAMES`].
    pub(crate) fn pose(&self, frame: usize) -> Pose {
        // From −0.5 in the first frame to 0.5 in the last; exactly antisymmetric.
        let last = NUM_FRAMES as f64 - 1.0;
        let time = (2.0 * frame as f64 - last) / (2.0 * last);
        let Self { x, y, radius, .. } = *self;
        match self.path {
            Path::Line { dx, dy } => Pose { x: x + dx * time, y: y + dy * time, radius },
            Path::Circle { radius: distance, phase, turns } => {
                let (cos, sin) = cos_sin(phase + turns * time);
                Pose { x: x + distance * cos, y: y + distance * sin, radius }
            }
            Path::Scale { change } => Pose { x, y, radius: radius + change * time },
            Path::Bounce { height, phase, arcs, drift } => {
                // A parabola from floor to floor; equal arcs, as of a ball that loses no energy.
                let through = phase + arcs * time;
                let through = through - through.floor();
                let above = height * (4.0 * through * (1.0 - through) - 0.5);
                Pose { x: x + drift * time, y: y - above, radius }
            }
            Path::Still => Pose { x, y, radius },
        }
    }

    /// A straight line along the unit vector `direction`, a little tilted.
    fn line(rng: &mut Rng, direction: (f64, f64)) -> Self {
        let radius = moving_radius(rng);
        // At least 60 % of the way that fits: the largest shape covers its own width, the smallest twice that.
        let length = rng.uniform(0.6, 0.95) * 2.0 * (REACH - radius);
        // ±0.025 turns are ±9°: hand-held, yet never in doubt.
        let (cos, sin) = cos_sin(rng.uniform(-0.025, 0.025));
        // Rotating the vector, not an angle, keeps opposite directions exactly opposite.
        let dx = length * (direction.0 * cos - direction.1 * sin);
        let dy = length * (direction.1 * cos + direction.0 * sin);
        let (x, y) = place(rng, radius + dx.abs() / 2.0, radius + dy.abs() / 2.0);
        Self { x, y, radius, path: Path::Line { dx, dy } }
    }

    /// Part of a circle, or a little more than one; `direction` 1 is clockwise because y points down.
    fn circle(rng: &mut Rng, direction: f64) -> Self {
        let radius = moving_radius(rng);
        // Wider than the smallest shape, and with room left for the largest.
        let distance = rng.uniform(0.17, 0.29);
        // 0.8 turns can not be mistaken for a bend; 1.25 turns are 56° between two of eight sampled frames.
        let turns = direction * rng.uniform(0.8, 1.25);
        let phase = rng.uniform(0.0, 1.0);
        let (x, y) = place(rng, radius + distance, radius + distance);
        Self { x, y, radius, path: Path::Circle { radius: distance, phase, turns } }
    }

    /// A change of size; `direction` 1 grows.
    fn scale(rng: &mut Rng, direction: f64) -> Self {
        let small = rng.uniform(0.08, 0.12);
        // From twice to three times as large.
        let large = small * rng.uniform(2.0, 3.0);
        let (x, y) = place(rng, large, large);
        let change = direction * (large - small);
        Self { x, y, radius: (small + large) / 2.0, path: Path::Scale { change } }
    }

    /// Two to three leaps, starting anywhere in a leap.
    fn bounce(rng: &mut Rng) -> Self {
        let radius = moving_radius(rng);
        let height = rng.uniform(0.6, 0.95) * 2.0 * (REACH - radius);
        // Two arcs show at least one landing and one top; three leave almost three of eight sampled frames to an arc.
        let arcs = rng.uniform(2.0, 3.0);
        let phase = rng.uniform(0.0, 1.0);
        // Sideways less than any leap is high.
        let drift = rng.uniform(-0.15, 0.15);
        let (x, y) = place(rng, radius + drift.abs() / 2.0, radius + height / 2.0);
        Self { x, y, radius, path: Path::Bounce { height, phase, arcs, drift } }
    }

    /// No motion, at any size that the other labels show.
    fn still(rng: &mut Rng) -> Self {
        let radius = rng.uniform(0.11, 0.26);
        let (x, y) = place(rng, radius, radius);
        Self { x, y, radius, path: Path::Still }
    }
}

/// The circumradius of a shape that keeps its size: seven pixels across in a model input of 32, and small enough to
/// have room to move.
fn moving_radius(rng: &mut Rng) -> f64 {
    rng.uniform(0.11, 0.18)
}

/// A middle for a path that extends `half_width` and `half_height` to each side, anywhere within [`REACH`].
fn place(rng: &mut Rng, half_width: f64, half_height: f64) -> (f64, f64) {
    let (free_x, free_y) = (REACH - half_width, REACH - half_height);
    (rng.uniform(-free_x, free_x), rng.uniform(-free_y, free_y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_never_leaves_the_middle_square() {
        for label in Label::ALL {
            for seed in 0..2000 {
                for Pose { x, y, radius } in track(label, seed) {
                    // Rounding of a sum of three numbers below 1.
                    let edge = REACH + 1e-12;
                    assert!(radius >= 0.08, "{label} {seed}: radius {radius}");
                    assert!(x.abs() + radius <= edge && y.abs() + radius <= edge, "{label} {seed}: {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn reversed_path_is_the_path_of_the_opposite_label() {
        for label in [Label::Left, Label::Up, Label::Clockwise, Label::Grow, Label::Still] {
            for seed in 0..200 {
                let mut backwards = track(label.reversed(), seed);
                backwards.reverse();
                assert_eq!(track(label, seed), backwards, "{label} {seed}");
            }
        }
    }

    #[test]
    fn lines_go_where_their_label_says() {
        // (label, horizontal share, vertical share) of the way from first to last frame.
        for (label, sign_x, sign_y) in [
            (Label::Left, -1.0, 0.0),
            (Label::Right, 1.0, 0.0),
            (Label::Up, 0.0, -1.0),
            (Label::Down, 0.0, 1.0),
        ] {
            for seed in 0..200 {
                let path = track(label, seed);
                let (first, last) = (path[0], path[NUM_FRAMES - 1]);
                let (dx, dy) = (last.x - first.x, last.y - first.y);
                let wanted: f64 = dx * sign_x + dy * sign_y;
                let unwanted: f64 = dx * sign_y + dy * sign_x;
                assert!(wanted > 0.35 && unwanted.abs() < 0.17 * wanted, "{label} {seed}: ({dx}, {dy})");
            }
        }
    }

    #[test]
    fn circles_turn_the_way_their_label_says() {
        for (label, sign) in [(Label::Clockwise, 1.0), (Label::Anticlockwise, -1.0)] {
            for seed in 0..200 {
                let path = track(label, seed);
                for step in path.windows(3) {
                    let (ax, ay) = (step[1].x - step[0].x, step[1].y - step[0].y);
                    let (bx, by) = (step[2].x - step[1].x, step[2].y - step[1].y);
                    // With y down, a positive cross product is a right turn.
                    assert!(sign * (ax * by - ay * bx) > 0.0, "{label} {seed}");
                }
            }
        }
    }

    #[test]
    fn bounces_turn_round_at_least_three_times() {
        for seed in 0..500 {
            let path = track(Label::Bounce, seed);
            let steps: Vec<f64> = path.windows(2).map(|pair| pair[1].y - pair[0].y).collect();
            let turns = steps.windows(2).filter(|pair| pair[0] * pair[1] < 0.0).count();
            assert!((3..=6).contains(&turns), "seed {seed}: {turns} turns");
        }
    }

    #[test]
    fn sizes_change_only_where_they_should() {
        for label in Label::ALL {
            for seed in 0..100 {
                let path = track(label, seed);
                let ratio = path[NUM_FRAMES - 1].radius / path[0].radius;
                match label {
                    Label::Grow => assert!(ratio > 1.99, "{seed}: {ratio}"),
                    Label::Shrink => assert!(ratio < 1.0 / 1.99, "{seed}: {ratio}"),
                    _ => assert_eq!(ratio, 1.0, "{label} {seed}"),
                }
            }
        }
    }
}
