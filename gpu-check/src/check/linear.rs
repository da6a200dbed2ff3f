//! `linear`: every kernel, at the shapes of the models and at awkward ones.
//!
//! The reference computes some rows only, spread over all tiles: rows do not depend on each other, and a whole layer in f64
//! takes a minute.

use anyhow::Result;
use kernels::{Activation, DType, Epilogue, Layout, Shape, WeightFormat, Write};

use super::{
    Size,
    lab::{Lab, Spec},
    noise::Noise,
    trial::{Case, Part},
};

/// Multiplications that the reference may make in a case: a third of a second.
const BUDGET: usize = 300_000_000;

/// A layer and what it is applied to.
#[derive(Clone, Copy, Debug)]
struct Layer {
    rows: usize,
    inputs: usize,
    outputs: usize,
    activation: Activation,
    write: Write,
    /// Whether the pre-activation is kept.
    keep: bool,
    /// The heads of a layer that gives queries, keys and values.
    num_heads: Option<usize>,
    /// Whether there are rows around those that are read and written.
    margin: bool,
    x: DType,
    y: DType,
    format: WeightFormat,
}

impl Layer {
    const fn new([rows, inputs, outputs]: [usize; 3], x: DType, y: DType, format: WeightFormat) -> Self {
        Self {
            rows,
            inputs,
            outputs,
            activation: Activation::Identity,
            write: Write::Replace,
            keep: false,
            num_heads: None,
            margin: false,
            x,
            y,
            format,
        }
    }

    fn label(&self) -> String {
        let Self { rows, inputs, outputs, x, y, .. } = self;
        let mut label = format!("{rows}×{inputs}×{outputs} {x}→{y}");
        if self.activation != Activation::Identity {
            label += &format!(" {:?}", self.activation).to_lowercase();
        }
        for (holds, word) in [
            (self.write == Write::Accumulate, " added"),
            (self.keep, " kept"),
            (self.num_heads.is_some(), " by head"),
            (self.margin, " within"),
        ] {
            label += if holds { word } else { "" };
        }
        label
    }

    fn case(self, seed: u64) -> Case {
        let label = self.label();
        let noise = Noise::new(seed, &label);
        Case::new(label, move |lab| self.run(lab, noise.clone()))
    }

    fn run(&self, lab: &mut Lab, mut noise: Noise) -> Result<Vec<Part>> {
        let Self { rows, inputs, outputs, .. } = *self;
        let (weight, bias) = (noise.signed(inputs * outputs), noise.signed(outputs));
        let (x, old) = (noise.signed(rows * inputs), noise.signed(rows * outputs));
        let picked = noise.spread(BUDGET / (inputs * outputs), rows);
        let linear = lab.linear([outputs, inputs], self.format, &weight, &bias)?;
        if lab.is_tested {
            let results = self.apply(lab, &linear, rows, &x, &old)?;
            return Ok(self.parts(results.map(|values| take(&values, outputs, &picked))));
        }
        let (x, old) = (take(&x, inputs, &picked), take(&old, outputs, &picked));
        Ok(self.parts(self.apply(lab, &linear, picked.len(), &x, &old)?))
    }

    /// y, and the pre-activation if it is kept.
    fn apply(
        &self,
        lab: &mut Lab,
        linear: &kernels::Linear,
        rows: usize,
        x: &[f32],
        old: &[f32],
    ) -> Result<[Vec<f32>; 2]> {
        let shape = Shape::from([1, rows, self.outputs]);
        let x = lab.input([1, rows, self.inputs], self.x, self.margin, x)?;
        let mut y = lab.output(&Spec {
            shape,
            dtype: self.y,
            layout: self.num_heads.map_or(Layout::Rows, |num_heads| Layout::Heads { num_heads }),
            margin: self.margin,
            old: (self.write == Write::Accumulate).then_some(old),
        })?;
        let mut kept = lab.output(&Spec::new(shape, self.y))?;
        let pre_activation = self.keep.then_some(&mut kept.tensor);
        let epilogue = Epilogue { activation: self.activation, write: self.write, pre_activation };
        lab.stream.linear(x.rows()?, linear, epilogue, y.rows()?)?;
        let kept = if self.keep { lab.result(&mut kept)? } else { Vec::new() };
        Ok([lab.result(&mut y)?, kept])
    }

    fn parts(&self, [y, kept]: [Vec<f32>; 2]) -> Vec<Part> {
        let mut parts = vec![Part::new("y", self.y, self.inputs, y)];
        // One sum of many, where all of them happen to be small, still has the rounding of its terms.
        parts[0].terms = 1.0 + (self.inputs as f32 / 9.0).sqrt();
        if self.keep {
            parts.push(Part {
                terms: parts[0].terms,
                ..Part::new("pre_activation", self.y, self.inputs, kept)
            });
        }
        parts
    }
}

/// Some rows.
fn take(values: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    if values.is_empty() {
        return Vec::new();
    }
    rows.iter().flat_map(|&row| values[row * width..(row + 1) * width].iter().copied()).collect()
}

/// The four layers of an encoder layer, as a model calls them.
fn encoder(rows: usize, width: usize, num_heads: usize, x: DType, format: WeightFormat) -> [Layer; 4] {
    let layer = |inputs, outputs| Layer::new([rows, inputs, outputs], x, x, format);
    [
        Layer { num_heads: Some(num_heads), ..layer(width, 3 * width) },
        Layer { write: Write::Accumulate, ..layer(width, width) },
        Layer { activation: Activation::Gelu, ..layer(width, 4 * width) },
        Layer { write: Write::Accumulate, ..layer(4 * width, width) },
    ]
}

/// The kernel for f32, and for every shape and mixture of types that tensor cores do not take.
pub(super) fn general(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let format = WeightFormat::of(dtype).unwrap_or(WeightFormat::F32);
    let layer = |sizes, x, y| Layer::new(sizes, x, y, format);
    let mut layers = vec![
        Layer { activation: Activation::Gelu, keep: true, ..layer([130, 50, 130], DType::F32, DType::F32) },
        layer([1, 1, 1], dtype, dtype),
        Layer { write: Write::Accumulate, margin: true, ..layer([129, 33, 65], dtype, DType::F32) },
        Layer { num_heads: Some(2), ..layer([37, 20, 3 * 2 * 15], DType::F32, dtype) },
        layer([17, 257, 31], DType::Bf16, DType::F16),
    ];
    if dtype == DType::F32 {
        let mut activations = Vec::new();
        for &(_, activation) in Activation::names() {
            if !activations.contains(&activation) {
                activations.push(activation);
            }
        }
        let with = |activation| Layer { activation, ..layer([9, 40, 24], DType::F32, DType::F32) };
        layers.extend(activations.into_iter().map(with));
    }
    if size == Size::Model {
        if dtype == DType::F32 {
            layers.extend(encoder(1568, 768, 12, dtype, format));
            layers.push(layer([1568, 1536, 768], dtype, dtype));
        } else {
            // As when a model's pixels or targets come in another type than its weights.
            layers.push(layer([1568, 768, 768], DType::F32, DType::F32));
        }
        layers.push(layer([1, 768, 400], DType::F32, DType::F32));
    }
    layers.into_iter().map(|layer| layer.case(seed)).collect()
}

/// The kernels on tensor cores, of 8.0 and up or of 9.0: 16 bits, sizes in eighths.
pub(super) fn on_tensor_cores(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let format = WeightFormat::of(dtype).unwrap_or(WeightFormat::Bf16);
    let layer = |sizes, y| Layer::new(sizes, dtype, y, format);
    let mut layers = vec![
        // In f32, where the bound leaves no room for a product that is missing.
        layer([140, 296, 136], DType::F32),
        layer([1, 8, 8], DType::F32),
        Layer { activation: Activation::Gelu, keep: true, ..layer([129, 72, 200], dtype) },
        Layer { write: Write::Accumulate, margin: true, ..layer([70, 64, 72], DType::F32) },
        Layer { num_heads: Some(2), ..layer([65, 40, 3 * 2 * 24], dtype) },
    ];
    if size == Size::Model {
        for (rows, width, num_heads) in [(1568, 768, 12), (8 * 1568, 768, 12), (1568, 1024, 16)] {
            layers.extend(encoder(rows, width, num_heads, dtype, format));
        }
        layers.extend([
            layer([1568, 1536, 768], dtype),
            // More tiles than two rounds over all multiprocessors, and products of every length of a model.
            layer([4 * 1568, 768, 3072], DType::F32),
            layer([1568, 4096, 1024], DType::F32),
            // A pre-training encoder sees a tenth of the tokens; its decoder is half as wide.
            layer([160, 768, 2304], DType::F32),
            layer([1568, 384, 1536], DType::F32),
            layer([1, 768, 400], DType::F32),
            layer([33, 1280, 5120], DType::F32),
        ]);
    }
    layers.into_iter().map(|layer| layer.case(seed)).collect()
}
