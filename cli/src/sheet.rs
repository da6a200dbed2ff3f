//! A contact sheet: frames in rows, small, each with its number and time.

use std::{fs::File, io::BufWriter, path::Path};

use anyhow::{Context, Result};
use videomae_preprocess::{Frames, resize::Resizer};

use crate::font;

/// What is written on a frame.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub(crate) frame: usize,
    /// Seconds after the first frame, if the file tells.
    pub(crate) time: Option<f64>,
}

/// Frames in a row.
const COLUMNS: usize = 4;

/// The longer side of a frame in the sheet, in pixels: four of them fit on any screen.
const SIDE: usize = 256;

/// Black between frames, in pixels.
const GAP: usize = 4;

/// Writes frames in rows, in the order given, as PNG.
pub(crate) fn write(path: &Path, frames: &Frames, labels: &[Label]) -> Result<()> {
    let sheet = draw(frames, labels)?;
    let named = || format!("{}: the sheet cannot be written", path.display());
    // To a temporary name first: a picture that is there is whole.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let file = File::create(&temporary).with_context(named)?;
    let (width, height) = (u32::try_from(sheet.width)?, u32::try_from(sheet.height)?);
    let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(named)?;
    writer.write_image_data(&sheet.rgb).with_context(named)?;
    writer.finish().with_context(named)?;
    std::fs::rename(&temporary, path).with_context(named)
}

/// An RGB picture.
struct Canvas {
    width: usize,
    height: usize,
    /// `(height, width, 3)`.
    rgb: Vec<u8>,
}

fn draw(frames: &Frames, labels: &[Label]) -> Result<Canvas> {
    let longer = frames.width().max(frames.height());
    let scaled = |side: usize| (side * SIDE.min(longer) / longer).max(1);
    let (width, height) = (scaled(frames.width()), scaled(frames.height()));
    let columns = COLUMNS.min(frames.num_frames());
    let rows = frames.num_frames().div_ceil(columns);
    let (sheet_width, sheet_height) = (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP);
    let rgb = vec![0; sheet_width * sheet_height * 3];
    let mut sheet = Canvas { width: sheet_width, height: sheet_height, rgb };
    let mut resizer = Resizer::new();
    for (index, label) in labels.iter().enumerate() {
        let from = [frames.height(), frames.width(), 3];
        let small = resizer.resize(frames.frame(index), from, [height, width])?;
        let mut tile = Canvas { width, height, rgb: small };
        tile.write_label(label);
        sheet.paste(&tile, (index % columns * (width + GAP), index / columns * (height + GAP)));
    }
    Ok(sheet)
}

impl Canvas {
    fn paste(&mut self, tile: &Canvas, (left, top): (usize, usize)) {
        for (row, source) in tile.rgb.chunks_exact(tile.width * 3).enumerate() {
            let start = ((top + row) * self.width + left) * 3;
            self.rgb[start..start + source.len()].copy_from_slice(source);
        }
    }

    /// Writes white on darkened ground, at the lower left; nothing where there is no room.
    fn write_label(&mut self, label: &Label) {
        let time = label.time.map_or(String::new(), |time| format!("  {time:.2} s"));
        let text = format!("{}{time}", label.frame);
        // Twice as large where a label of common length then takes at most half of the width.
        let scale = if self.width >= 200 { 2 } else { 1 };
        let margin = 3 * scale;
        let (width, height) = (font::width(&text) * scale, font::HEIGHT * scale);
        let (box_width, box_height) = (width + 2 * margin, height + 2 * margin);
        if box_width > self.width || box_height > self.height {
            return;
        }
        let top = self.height - box_height;
        for y in top..self.height {
            let start = y * self.width * 3;
            self.rgb[start..start + box_width * 3].iter_mut().for_each(|level| *level /= 4);
        }
        for (x, y) in font::points(&text) {
            for row in 0..scale {
                let left = margin + x * scale;
                let start = ((top + margin + y * scale + row) * self.width + left) * 3;
                self.rgb[start..start + scale * 3].fill(255);
            }
        }
    }
}
