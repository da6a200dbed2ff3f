//! Where the resized frame and the output overlap.

use crate::processor::{Numerics, ProcessorOptions, Size};

/// The size of a `height` × `width` frame after the resize step, `[H, W]`.
///
/// The arithmetic is that of transformers: double precision, then truncation (rounding where said).
pub(crate) fn resized_size(options: &ProcessorOptions, height: usize, width: usize) -> [usize; 2] {
    if !options.do_resize {
        return [height, width];
    }
    match options.size {
        Size::ShortestEdge(edge) => shortest_edge(edge, edge as f64, height, width),
        Size::Exact { height, width } => [height, width],
        Size::ShortestLongest { shortest_edge: edge, longest_edge } => {
            shortest_longest(edge, longest_edge, height, width)
        }
        Size::Within { max_height, max_width } => {
            let scale = (max_height as f64 / height as f64).min(max_width as f64 / width as f64);
            [(height as f64 * scale) as usize, (width as f64 * scale) as usize]
        }
    }
}

/// The shorter edge becomes `short`, the longer one `exact_short` times the aspect ratio.
fn shortest_edge(short: usize, exact_short: f64, height: usize, width: usize) -> [usize; 2] {
    if width <= height {
        [(exact_short * height as f64 / width as f64) as usize, short]
    } else {
        [short, (exact_short * width as f64 / height as f64) as usize]
    }
}

fn shortest_longest(edge: usize, longest: usize, height: usize, width: usize) -> [usize; 2] {
    let (short, long) = (height.min(width) as f64, height.max(width) as f64);
    let mut target = (edge, edge as f64);
    if long / short * edge as f64 > longest as f64 {
        let exact = longest as f64 * short / long;
        target = (exact.round_ties_even() as usize, exact);
    }
    if height.min(width) == target.0 {
        return [height, width];
    }
    shortest_edge(target.0, target.1, height, width)
}

/// One axis of the centre crop: `len` samples from `source` on of the frame go to `target` on of the output; the
/// rest of the output is zero padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) source: usize,
    pub(crate) target: usize,
    pub(crate) len: usize,
}

impl Overlap {
    /// Cuts `crop` samples out of the middle of `edge`, or pads to them.
    ///
    /// An odd sample is cut off at the far end, and an odd zero is added there as well: at the near end by the
    /// processors that use Pillow. The official evaluation code rounds the middle to the even sample instead.
    pub(crate) fn centre(numerics: Numerics, edge: usize, crop: usize) -> Self {
        let gap = edge.abs_diff(crop);
        if edge >= crop {
            let source = match numerics {
                // ⌊gap/2⌋ is odd and a half was lost: round up.
                Numerics::OpencvLinear if gap % 4 == 3 => gap.div_ceil(2),
                _ => gap / 2,
            };
            return Self { source, target: 0, len: crop };
        }
        let target = if numerics.is_pillow() { gap.div_ceil(2) } else { gap / 2 };
        Self { source: 0, target, len: edge }
    }

    /// Cuts `crop` samples out of `edge` from `source` on.
    pub(crate) fn at(source: usize, crop: usize) -> Self {
        Self { source, target: 0, len: crop }
    }
}

/// Where view `view` of `views` starts along an edge of `long` samples of which each view takes `short`: evenly
/// from one end to the other, and in the middle if there is one view only.
///
/// The arithmetic is that of the official evaluation code, whose formula divides by zero for one view.
pub(crate) fn spatial_start(view: usize, views: usize, long: usize, short: usize) -> usize {
    if views == 1 {
        return (long - short) / 2;
    }
    (view as f64 * ((long - short) as f64 / (views - 1) as f64)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(size: Size, height: usize, width: usize) -> [usize; 2] {
        resized_size(&ProcessorOptions { size, ..ProcessorOptions::default() }, height, width)
    }

    #[test]
    fn the_long_edge_is_truncated_not_rounded() {
        assert_eq!(resized(Size::ShortestEdge(224), 360, 640), [224, 398]);
        assert_eq!(resized(Size::ShortestEdge(224), 256, 340), [224, 297]);
        assert_eq!(resized(Size::ShortestEdge(224), 340, 256), [297, 224]);
        assert_eq!(resized(Size::ShortestEdge(224), 224, 224), [224, 224]);
    }

    #[test]
    fn the_long_edge_is_capped() {
        let size = Size::ShortestLongest { shortest_edge: 20, longest_edge: 22 };
        assert_eq!(resized(size, 40, 50), [18, 22]);
        assert_eq!(resized(size, 50, 40), [22, 18]);
        assert_eq!(resized(size, 40, 40), [20, 20]);
    }

    #[test]
    fn within_fills_one_edge() {
        let size = Size::Within { max_height: 200, max_width: 500 };
        assert_eq!(resized(size, 100, 200), [200, 400]);
        assert_eq!(resized(Size::Exact { height: 3, width: 5 }, 100, 200), [3, 5]);
    }

    #[test]
    fn an_odd_sample_is_where_the_library_puts_it() {
        let cut = |numerics| Overlap::centre(numerics, 9, 4);
        let pad = |numerics| Overlap::centre(numerics, 4, 9);
        for numerics in Numerics::ALL {
            assert_eq!(cut(numerics), Overlap { source: 2, target: 0, len: 4 });
            let target = if numerics.is_pillow() { 3 } else { 2 };
            assert_eq!(pad(numerics), Overlap { source: 0, target, len: 4 });
            assert_eq!(Overlap::centre(numerics, 4, 4), Overlap { source: 0, target: 0, len: 4 });
        }
    }

    #[test]
    fn official_crops_round_half_to_even() {
        let starts = (4..12).map(|edge| Overlap::centre(Numerics::OpencvLinear, edge, 4).source);
        assert_eq!(starts.collect::<Vec<_>>(), [0, 0, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn views_go_from_end_to_end() {
        let starts = |views, long| (0..views).map(|view| spatial_start(view, views, long, 224)).collect();
        let three: Vec<usize> = starts(3, 297);
        assert_eq!(three, [0, 36, 73]);
        let two: Vec<usize> = starts(2, 398);
        assert_eq!(two, [0, 174]);
        let one: Vec<usize> = starts(1, 298);
        assert_eq!(one, [37]);
        let square: Vec<usize> = starts(3, 224);
        assert_eq!(square, [0, 0, 0]);
    }
}
