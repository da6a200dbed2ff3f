//! Rendering: a scene from the seed, a motion from the label, pixels from both.

use crate::{
    Label,
    angle::cos_sin,
    background::Background,
    clip::{Clip, FrameSize},
    motion::{Pose, track},
    rng::{Rng, SCENE_STREAM, mix},
    shape::Shape,
};

/// Renders the clip of `label` and `seed` at the default [`FrameSize`].
pub fn render(label: Label, seed: u64) -> Clip {
    render_sized(label, seed, FrameSize::default())
}

/// Renders the clip of `label` and `seed` at another size. The shape keeps to the middle square of the frame, so
/// that a centre crop never hides it, whatever the aspect ratio.
///
/// # Panics
///
/// If a side is 0 or above 4096, where a clip would take gigabytes.
pub fn render_sized(label: Label, seed: u64, size: FrameSize) -> Clip {
    let FrameSize { width, height } = size;
    assert!(
        (1..=4096).contains(&width) && (1..=4096).contains(&height),
        "cannot render {width}×{height} frames"
    );
    Scene::draw(seed).render(&track(label, seed), size)
}

type Rgb = [f64; 3];

/// Everything a seed decides that does not move.
#[derive(Clone, Debug)]
struct Scene {
    shape: Shape,
    /// Orientation of the shape as a unit vector; constant, so that only the label's motion is seen.
    axis: (f64, f64),
    shape_color: Rgb,
    background: Background,
    background_colors: [Rgb; 2],
    /// Exposure of the whole clip.
    brightness: f64,
    /// Largest change that noise makes to a channel, in levels of 255.
    noise: f64,
    noise_salt: u64,
}

impl Scene {
    fn draw(seed: u64) -> Self {
        let rng = &mut Rng::new(seed, SCENE_STREAM);
        let first = color(rng);
        // The two background colours differ less than shape and background must, so that no pattern hides the
        // shape.
        let second = first.map(|channel| (channel + rng.uniform(-0.15, 0.15)).clamp(0.0, 1.0));
        let background_colors = [first, second];
        Self {
            shape: rng.choose(&Shape::ALL),
            axis: cos_sin(rng.uniform(0.0, 1.0)),
            shape_color: contrasting_color(rng, background_colors),
            background: Background::draw(rng),
            background_colors,
            brightness: rng.uniform(0.75, 1.1),
            // Up to 6 levels: visible sensor noise, a tenth of the least contrast.
            noise: rng.uniform(0.0, 6.0),
            noise_salt: rng.next_u64(),
        }
    }

    fn render(&self, track: &[Pose], size: FrameSize) -> Clip {
        let backdrop = self.backdrop(size);
        let mut bytes = Vec::with_capacity(track.len() * backdrop.len() * 3);
        for (frame, &pose) in track.iter().enumerate() {
            let mut picture = backdrop.clone();
            self.paint(&mut picture, size, pose);
            self.expose(&picture, frame, &mut bytes);
        }
        Clip::new(size, bytes)
    }

    /// The background alone, one colour a pixel, row by row.
    fn backdrop(&self, size: FrameSize) -> Vec<Rgb> {
        let [first, second] = self.background_colors;
        let grid = Grid::new(size);
        (0..size.height)
            .flat_map(|row| (0..size.width).map(move |column| (column, row)))
            .map(|(column, row)| {
                let blend = self.background.blend(grid.x(column), grid.y(row));
                over(second, first, blend)
            })
            .collect()
    }

    /// Lays the shape over `picture`, its edge softened over one pixel.
    fn paint(&self, picture: &mut [Rgb], size: FrameSize, pose: Pose) {
        let grid = Grid::new(size);
        for (row, line) in picture.chunks_exact_mut(size.width).enumerate() {
            let y = grid.y(row) - pose.y;
            for (column, pixel) in line.iter_mut().enumerate() {
                let x = grid.x(column) - pose.x;
                // Skip the shape's arithmetic where the shape can not be.
                let box_distance = x.abs().max(y.abs()) - pose.radius;
                if box_distance > grid.pixel {
                    continue;
                }
                let (cos, sin) = self.axis;
                let (u, v) = ((x * cos + y * sin) / pose.radius, (y * cos - x * sin) / pose.radius);
                let distance = self.shape.distance(u, v) * pose.radius / grid.pixel;
                let coverage = (0.5 - distance).clamp(0.0, 1.0);
                *pixel = over(self.shape_color, *pixel, coverage);
            }
        }
    }

    /// Brightness, noise and rounding: appends the bytes of one frame.
    fn expose(&self, picture: &[Rgb], frame: usize, bytes: &mut Vec<u8>) {
        let frame_salt = mix(self.noise_salt.wrapping_add(frame as u64));
        for (index, pixel) in picture.iter().enumerate() {
            let mut random = mix(frame_salt.wrapping_add(index as u64));
            for channel in pixel {
                // The sum of two bytes is triangular: like sensor noise, most often small.
                let bell = ((random & 0xff) + (random >> 8 & 0xff)) as f64 / 255.0 - 1.0;
                random >>= 16;
                let level = channel * self.brightness * 255.0 + self.noise * bell;
                // `as` truncates, and saturates at 0 and 255.
                bytes.push((level + 0.5) as u8);
            }
        }
    }
}

/// Pixel centres in the units of [`Pose`].
struct Grid {
    size: FrameSize,
    /// Width of a pixel.
    pixel: f64,
}

impl Grid {
    fn new(size: FrameSize) -> Self {
        Self { size, pixel: 1.0 / size.width.min(size.height) as f64 }
    }

    fn x(&self, column: usize) -> f64 {
        (column as f64 + 0.5 - self.size.width as f64 / 2.0) * self.pixel
    }

    fn y(&self, row: usize) -> f64 {
        (row as f64 + 0.5 - self.size.height as f64 / 2.0) * self.pixel
    }
}

fn color(rng: &mut Rng) -> Rgb {
    std::array::from_fn(|_| rng.uniform(0.05, 0.95))
}

/// A colour whose luma keeps 0.25 away from both background colours; luma, because 4:2:0 video halves the
/// resolution of colour.
fn contrasting_color(rng: &mut Rng, background: [Rgb; 2]) -> Rgb {
    let contrast = |candidate: Rgb| {
        background.map(|other| (luma(candidate) - luma(other)).abs()).into_iter().fold(1.0, f64::min)
    };
    // On a mid-grey background few colours pass; after 32 failures it is black or white, whichever is farther.
    (0..32).map(|_| color(rng)).find(|&candidate| contrast(candidate) >= 0.25).unwrap_or_else(|| {
        let (black, white) = ([0.0; 3], [1.0; 3]);
        if contrast(black) > contrast(white) { black } else { white }
    })
}

/// BT.601 luma, as the encoder will see it.
fn luma([red, green, blue]: Rgb) -> f64 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// `top` painted over `bottom` with opacity `coverage`.
fn over(top: Rgb, bottom: Rgb, coverage: f64) -> Rgb {
    std::array::from_fn(|channel| bottom[channel] + (top[channel] - bottom[channel]) * coverage)
}

#[cfg(test)]
mod tests;
