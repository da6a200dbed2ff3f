//! How the pictures of a GIF file add up to what is seen.

use std::fmt;

use gif::{DisposalMethod, Frame};

use crate::decode::yuv::RgbFrame;

/// What shows where nothing was drawn: transparent areas have no colour in RGB, and FFmpeg gives them this one.
const NOTHING: [u8; 3] = [255; 3];

/// The picture as it is seen so far.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// `(height, width, 3)`.
    rgb: Vec<u8>,
    global_palette: Vec<u8>,
    /// The colour in the global palette that the file calls its background.
    background: [u8; 3],
    /// Whether something was drawn.
    started: bool,
    /// What happens to the last picture before the next one is drawn.
    disposal: Disposal,
}

/// What becomes of a picture when its time is over.
enum Disposal {
    Keep,
    /// Its area is filled.
    Fill(Area, [u8; 3]),
    /// Its area is as it was before.
    Restore(Area, Vec<u8>),
}

/// The part of the canvas that a picture covers.
#[derive(Clone, Copy)]
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Canvas {
    pub(super) fn new(
        width: usize,
        height: usize,
        global_palette: Vec<u8>,
        background: Option<usize>,
    ) -> Self {
        let background = background.map_or([0; 3], |index| colour(&global_palette, index));
        Self {
            width,
            height,
            rgb: NOTHING.repeat(width * height),
            global_palette,
            background,
            started: false,
            disposal: Disposal::Keep,
        }
    }

    /// What is seen.
    pub(super) fn frame(&self) -> RgbFrame {
        RgbFrame { width: self.width, height: self.height, data: self.rgb.clone() }
    }

    /// Whether a picture is no larger than the canvas and begins on it.
    pub(super) fn has_room_for(&self, frame: &Frame<'_>) -> bool {
        let within = |start: u16, length: u16, whole: usize| {
            length > 0 && usize::from(length) <= whole && usize::from(start) < whole
        };
        within(frame.left, frame.width, self.width) && within(frame.top, frame.height, self.height)
    }

    /// Whether `frame` looks the same whatever was drawn before it, now and after its disposal.
    pub(super) fn is_fresh_start(&self, frame: &Frame<'_>) -> bool {
        let place = (frame.left, frame.top, usize::from(frame.width), usize::from(frame.height));
        place == (0, 0, self.width, self.height)
            && frame.transparent.is_none()
            && frame.dispose != DisposalMethod::Previous
    }

    /// Disposes of the picture before, and draws one for which there is room; `indices` are those of its colours.
    pub(super) fn draw(&mut self, frame: &Frame<'_>, indices: &[u8]) {
        if !self.started {
            self.started = true;
            if frame.transparent.is_none() && !self.global_palette.is_empty() {
                self.fill(self.whole(), self.background);
            }
        }
        match std::mem::replace(&mut self.disposal, Disposal::Keep) {
            Disposal::Keep => {}
            Disposal::Fill(area, colour) => self.fill(area, colour),
            Disposal::Restore(area, pixels) => self.restore(area, &pixels),
        }
        let area = self.visible(frame);
        self.disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => {
                Disposal::Fill(area, if frame.transparent.is_some() { NOTHING } else { self.background })
            }
            DisposalMethod::Previous => Disposal::Restore(area, self.copy(area)),
        };
        let palette = frame.palette.as_ref().unwrap_or(&self.global_palette);
        let colours: Vec<[u8; 3]> = (0..256).map(|index| colour(palette, index)).collect();
        let lines = indices.chunks_exact(usize::from(frame.width));
        for (line, row) in lines.zip(rows(area, self.width)) {
            for (&index, pixel) in line.iter().zip(self.rgb[row].chunks_exact_mut(3)) {
                if Some(index) != frame.transparent {
                    pixel.copy_from_slice(&colours[usize::from(index)]);
                }
            }
        }
    }

    fn whole(&self) -> Area {
        Area { left: 0, top: 0, width: self.width, height: self.height }
    }

    /// The part of a picture that lies on the canvas.
    fn visible(&self, frame: &Frame<'_>) -> Area {
        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let width = usize::from(frame.width).min(self.width - left);
        let height = usize::from(frame.height).min(self.height - top);
        Area { left, top, width, height }
    }

    fn fill(&mut self, area: Area, colour: [u8; 3]) {
        for row in rows(area, self.width) {
            self.rgb[row].chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }

    fn copy(&self, area: Area) -> Vec<u8> {
        rows(area, self.width).flat_map(|row| &self.rgb[row]).copied().collect()
    }

    fn restore(&mut self, area: Area, pixels: &[u8]) {
        for (row, saved) in rows(area, self.width).zip(pixels.chunks_exact(3 * area.width)) {
            self.rgb[row].copy_from_slice(saved);
        }
    }
}

impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a canvas of {}×{}", self.width, self.height)
    }
}

/// Where the rows of an area lie among the bytes of the canvas.
fn rows(area: Area, canvas_width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (area.top..area.top + area.height).map(move |y| {
        let start = 3 * (y * canvas_width + area.left);
        start..start + 3 * area.width
    })
}

/// A colour of a palette; black past its end.
fn colour(palette: &[u8], index: usize) -> [u8; 3] {
    let found = palette.get(3 * index..3 * index + 3);
    found.map_or([0; 3], |bytes| [bytes[0], bytes[1], bytes[2]])
}
