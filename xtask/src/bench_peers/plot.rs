//! The results as a picture: a bar for the median of each peer, by precision.

use std::fmt::Write;

use super::{peers::Precision, results::Results, statistics::median};

/// Sizes in pixels. A title of a peer takes 180 at most in a font of 13.
const LEFT: f64 = 190.0;
const BARS: f64 = 400.0;
const WIDTH: f64 = LEFT + BARS + 90.0;
const ROW: f64 = 24.0;
const GAP: f64 = 34.0;
const TOP: f64 = 40.0;

/// Ours, and the others: blue and grey of equal lightness differ for everybody's eyes and in print, by hue and shade.
const OURS: &str = "#1f6fb4";
const OTHERS: &str = "#b3b3b3";

/// A bar longer than this many times the median of ours is cut, so that a peer without
/// kernels for this processor does not flatten all the others.
const LONGEST: f64 = 3.0;

/// A picture in SVG that any browser draws.
pub(super) fn svg(results: &Results) -> String {
    let bars = bars(results);
    let ours = bars.iter().filter(|bar| bar.is_ours).map(|bar| bar.seconds).fold(0.0, f64::max);
    let longest = bars.iter().map(|bar| bar.seconds).fold(0.0, f64::max);
    let end = if ours > 0.0 { longest.min(LONGEST * ours) } else { longest };
    let mut body = String::new();
    let mut y = TOP;
    for precision in Precision::ALL {
        let of_precision: Vec<_> = bars.iter().filter(|bar| bar.precision == precision).collect();
        if of_precision.is_empty() {
            continue;
        }
        text(&mut body, 12.0, y + 14.0, "font-weight=\"bold\"", precision.name());
        y += ROW;
        for bar in of_precision {
            bar.draw(&mut body, y, end);
            y += ROW;
        }
        y += GAP - ROW;
    }
    let title = escape(&format!("{}: seconds of a forward, median", results.case));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"24\">{title}</text>\n{body}</svg>\n"
    )
}

struct Bar {
    title: &'static str,
    precision: Precision,
    is_ours: bool,
    seconds: f64,
}

fn bars(results: &Results) -> Vec<Bar> {
    let bar = |(peer, measured): (&'static super::peers::Peer, &super::results::Measured)| {
        let seconds = median(&measured.times())?;
        Some(Bar { title: peer.title, precision: peer.precision, is_ours: peer.is_ours, seconds })
    };
    results.measured().filter_map(bar).collect()
}

impl Bar {
    fn draw(&self, body: &mut String, y: f64, end: f64) {
        let is_cut = self.seconds > end;
        let length = BARS * (self.seconds / end).min(1.0);
        let fill = if self.is_ours { OURS } else { OTHERS };
        text(body, 24.0, y + 14.0, "", self.title);
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            body,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{fill}\"/>",
            ROW - 6.0
        );
        let cut = if is_cut { "→ " } else { "" };
        text(body, LEFT + length + 6.0, y + 14.0, "", &format!("{cut}{:.2} s", self.seconds));
    }
}

fn text(body: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let _infallible =
        writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{}</text>", escape(content));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::results, *};

    #[test]
    fn bars_are_as_long_as_their_times() {
        let svg = svg(&results());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        // Ours takes 2 s and PyTorch 3 s, the longest.
        assert!(svg.contains(&format!("width=\"{BARS:.1}\"")), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", BARS * 2.0 / 3.0)), "{svg}");
        assert!(svg.contains(">3.00 s</text>"), "{svg}");
        assert!(!svg.contains("no bf16"), "{svg}");
    }

    #[test]
    fn a_bar_far_longer_than_ours_is_cut_and_says_so() {
        let mut results = results();
        if let Ok(measured) = &mut results.rows[1].outcome {
            measured.seconds = vec![Some(30.0)];
        }
        let svg = svg(&results);
        assert!(svg.contains(">→ 30.00 s</text>"), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", BARS / LONGEST)), "{svg}");
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a < b & c"), "a &lt; b &amp; c");
    }
}
