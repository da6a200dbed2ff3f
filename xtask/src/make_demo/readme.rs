//! What the evaluation found, and the README that states it beside the checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use demo::{Label, NUM_TEST_CLIPS};
use serde::Deserialize;

/// The answer of the `evaluate` step.
#[derive(Deserialize)]
pub(crate) struct Report {
    accuracy: Accuracy,
    /// Per label: what the encoded fixture clip is taken for, and its reversal.
    fixtures: BTreeMap<String, Verdicts>,
    /// Package name to version.
    versions: BTreeMap<String, String>,
}

/// Shares of the test clips that were labelled right.
#[derive(Deserialize)]
struct Accuracy {
    rendered: f64,
    h264: f64,
    rendered_reversed: f64,
    h264_reversed: f64,
}

#[derive(Deserialize)]
struct Verdicts {
    forwards: Verdict,
    backwards: Verdict,
}

#[derive(Deserialize)]
struct Verdict {
    label: String,
    score: f64,
}

impl Report {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Fails unless every share reaches `required` and every fixture clip is labelled right, forwards and backwards.
    pub(crate) fn check(&self, required: f64) -> Result<()> {
        for (name, share) in self.accuracy.rows() {
            ensure!(
                share >= required,
                "{name} test clips: expected {required} labelled right, found {share}"
            );
        }
        for label in Label::ALL {
            let verdicts =
                self.fixtures.get(label.name()).with_context(|| format!("no verdict on {label}.mp4"))?;
            for (verdict, expected, played) in
                [(&verdicts.forwards, label, ""), (&verdicts.backwards, label.reversed(), " backwards")]
            {
                let found = &verdict.label;
                ensure!(found == expected.name(), "{label}.mp4{played}: expected {expected}, found {found}");
            }
        }
        Ok(())
    }

    /// The text of `cli/demo/README.md`.
    pub(crate) fn readme(&self, train_clips: u32, steps: u32) -> String {
        let shares: String = self
            .accuracy
            .rows()
            .iter()
            .map(|(name, share)| format!("| {name} | {:.1} % |\n", share * 100.0))
            .collect();
        let fixtures: String = Label::ALL
            .iter()
            .filter_map(|label| self.fixtures.get(label.name()).map(|verdicts| (label, verdicts)))
            .map(|(label, Verdicts { forwards, backwards })| {
                format!(
                    "| {label}.mp4 | {} {:.3} | {} {:.3} |\n",
                    forwards.label, forwards.score, backwards.label, backwards.score
                )
            })
            .collect();
        let versions: Vec<String> =
            self.versions.iter().map(|(package, version)| format!("{package} {version}")).collect();
        format!(
            "\
# The demo checkpoint

A VideoMAE small enough to live in the binary. It tells apart ten ways in which one shape can move:
{labels}.

Made by `cargo xtask make-demo`, which also wrote this page: {train_clips} rendered clips (crate `demo`), a quarter of
them passed through H.264, and two rounds of {steps} training steps of 32 clips. The second round shows circles and
bounces more often. Training mirrors, transposes, reverses and recolours clips, changing the label where the motion
changes. Versions: {versions}.

Seeds: training from 0, validation from 2^32, test from 2 * 2^32, fixture clips from 3 * 2^32 (`demo::Split`).

Labelled right by transformers, of {NUM_TEST_CLIPS} test clips that nothing was trained or chosen on:

| test clips | labelled right |
|---|---|
{shares}
The encoded clips of `fixtures/clips`, with the probability of the label found:

| clip | forwards | backwards |
|---|---|---|
{fixtures}",
            labels = Label::ALL.map(Label::name).join(", "),
            versions = versions.join(", "),
        )
    }
}

impl Accuracy {
    fn rows(&self) -> [(&'static str, f64); 4] {
        [
            ("as rendered", self.rendered),
            ("after H.264", self.h264),
            ("as rendered, backwards", self.rendered_reversed),
            ("after H.264, backwards", self.h264_reversed),
        ]
    }
}
