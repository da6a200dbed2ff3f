//! The results as Markdown.

use std::fmt::Write;

use super::{
    peers::{Peer, Precision},
    results::{ColdStart, Measured, Results, Row},
    statistics::{Comparison, median},
};

/// The whole file; `plot` is the name of the picture beside it.
pub(super) fn markdown(results: &Results, plot: &str) -> String {
    let Results { machine, case, rounds, operations, peak, .. } = results;
    let mut text = format!("# {case}, beside others, {}\n\n", machine.date);
    let threads = if case.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", case.threads) };
    let paragraphs = [
        format!("{machine}.\n{}.\n", results.versions.join(", ")),
        format!(
            "Written by `cargo xtask bench-peers`. Hashed weights, {threads} each, {:.1} GFLOP; peak of multiply-adds on \
             registers in the same run: {:.1} GFLOP/s in f32. {rounds} rounds, one forward of each in every round.\n",
            operations / 1e9,
            peak / 1e9
        ),
        format!("![Time of a forward]({plot})\n"),
    ];
    text += &paragraphs.join("\n");
    text.push('\n');
    text += "| program | products | forward, median | fastest | time, ours = 1 | GFLOP/s | of the f32 peak | \
             cosine | largest error | memory | load |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    for row in &results.rows {
        text += &line(results, row);
    }
    let shown = |precision: Precision| format!("{}: {}", precision.name(), precision.bound());
    text += &format!(
        "\n- forward: seconds from pixels to logits. \"Time, ours = 1\" is the median over the rounds of its time to ours in \
         the same precision, and in how many rounds we were faster.\n\
         - GFLOP/s and the part of the peak are those of the median. bf16 instructions do twice the f32 peak, and those for \
         bytes four times, where the processor has them.\n\
         - cosine, largest error: logits beside those of PyTorch in f32, the worst of {} clips of fixtures/clips; the error \
         over the largest logit. Bounds: {}.\n\
         - memory: the most that the process held, in MB, with its interpreter and libraries. load: seconds from the \
         checkpoint, or its exported form, to a model ready to run; imports are not counted.\n",
        results.measured().map(|(_, measured)| measured.agreement.clips).max().unwrap_or(0),
        Precision::ALL.map(shown).join("; "),
    );
    if let Some(cold_start) = &results.cold_start {
        text += &cold(cold_start);
    }
    text
}

fn line(results: &Results, Row { peer, outcome }: &Row) -> String {
    let head = format!("| {} | {} ", peer.title, peer.precision.name());
    match outcome {
        // A bar would end the cell.
        Err(why) => format!("{head}| not available: {} | | | | | | | | |\n", why.replace(['|', '\n'], " ")),
        Ok(measured) => head + &cells(results, peer, measured),
    }
}

fn cells(results: &Results, peer: &Peer, measured: &Measured) -> String {
    let times = measured.times();
    let seconds = median(&times);
    let rate = seconds.map(|seconds| results.operations / seconds);
    let fastest = times.iter().copied().reduce(f64::min);
    let comparison = match results.comparison(peer, measured) {
        _ if peer.is_ours => "1".to_owned(),
        Some(Comparison { ratio, won, rounds }) => format!("{ratio:.2} ({won} of {rounds})"),
        None => String::new(),
    };
    let agreement = &measured.agreement;
    let warning = if peer.precision.bound().holds(agreement) { "" } else { ", beyond its bound" };
    [
        shown(seconds, |seconds| format!("{seconds:.3} s")),
        shown(fastest, |seconds| format!("{seconds:.3} s")),
        comparison,
        shown(rate, |rate| format!("{:.0}", rate / 1e9)),
        shown(rate, |rate| format!("{:.0} %", 100.0 * rate / results.peak)),
        format!("{:.6}", agreement.cosine),
        format!("{:.1e}{warning}", agreement.largest_error),
        shown(measured.memory.map(|bytes| bytes as f64), |bytes| format!("{:.0}", bytes / 1e6)),
        format!("{:.2} s", measured.load),
    ]
    .iter()
    .fold(String::new(), |mut line, cell| {
        // Writing to a String cannot fail.
        let _infallible = write!(line, "| {cell} ");
        line
    }) + "|\n"
}

fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(String::new, show)
}

fn cold(ColdStart { video, ours, python }: &ColdStart) -> String {
    let list = |times: &[f64]| times.iter().map(|time| format!("{time:.2}")).collect::<Vec<_>>().join(", ");
    let row = |name: &str, times: &[f64]| {
        format!(
            "| {name} | {} | {} |\n",
            shown(median(times), |seconds| format!("{seconds:.2} s")),
            list(times)
        )
    };
    format!(
        "\n## From the start of a process to the label\n\n{video}, checkpoint and libraries in the page cache; both find the \
         same scores.\n\n| program | median | all |\n|---|---|---|\n{}{}",
        row("`videomae classify`", ours),
        row("a script with transformers and PyAV", python),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::tests::results, *};

    #[test]
    fn a_row_has_the_median_the_ratio_and_the_part_of_the_peak() {
        let text = markdown(&results(), "plot.svg");
        assert!(
            text.contains("# VideoMAE-base, one clip of 16 frames of 224 × 224, beside others, 2026-11-23"),
            "{text}"
        );
        assert!(
            text.contains(
                "| videomae | f32 | 2.000 s | 1.900 s | 1 | 180 | 90 % | 1.000000 | 1.0e-6 | 500 | 0.20 s |"
            ),
            "{text}"
        );
        assert!(
            text.contains("| PyTorch | f32 | 3.000 s | 2.850 s | 1.50 (3 of 3) | 120 | 60 % |"),
            "{text}"
        );
        assert!(text.contains("![Time of a forward](plot.svg)"), "{text}");
    }

    #[test]
    fn a_peer_that_did_not_run_says_why_in_one_cell() {
        let text = markdown(&results(), "plot.svg");
        assert!(
            text.contains("| OpenVINO | bf16 | not available: no bf16   here | | | | | | | | |\n"),
            "{text}"
        );
    }

    #[test]
    fn every_line_of_the_table_has_as_many_cells_as_its_head() {
        let text = markdown(&results(), "plot.svg");
        let bars: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .take(1 + results().rows.len())
            .map(|line| line.matches('|').count())
            .collect();
        assert!(bars.len() > 3 && bars.iter().all(|&count| count == bars[0]), "{bars:?}");
    }

    #[test]
    fn int8_far_off_is_marked_and_cold_starts_are_told() {
        let text = markdown(&results(), "plot.svg");
        assert!(text.contains("6.0e-1, beyond its bound"), "{text}");
        assert!(text.contains("| `videomae classify` | 3.00 s | 3.10, 3.00, 2.90 |"), "{text}");
    }
}
