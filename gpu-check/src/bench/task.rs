//! What is timed, and what it should reach.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use videomae::{Size as ImageSize, VideoMAEConfig};

use crate::check::Size;

/// What a contestant prepares; also what `python/torch_worker.py` reads.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub(crate) enum Task {
    /// `y = [y +] activation(x·Wᵀ + b)` in bf16; of cuBLASLt and PyTorch `x·Wᵀ + b`.
    Linear { rows: usize, inputs: usize, outputs: usize, epilogue: Epilogue },
    /// In bf16.
    Attention { batch: usize, tokens: usize, num_heads: usize, head_dim: usize },
    /// A classifier in bf16, from pixels to logits in host memory.
    Forward {
        /// A folder with `config.json` and `model.safetensors`.
        checkpoint: PathBuf,
        /// f32, at least as many as the shape holds.
        pixel_values: PathBuf,
        /// `(B, T, C, H, W)`
        shape: [usize; 5],
        /// Whether the pixels lie on the device before the clock starts.
        resident: bool,
    },
}

/// What our layer does besides, as a model calls it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Epilogue {
    /// Queries, keys and values are laid out by head.
    Heads,
    Gelu,
    Residual,
    /// The bias alone.
    Bias,
}

/// A model of a published size, or a tiny one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Base,
    Large,
}

impl Model {
    /// With as many labels as Kinetics-400 has.
    pub(crate) fn config(self, size: Size) -> VideoMAEConfig {
        let config = match self {
            Self::Base => VideoMAEConfig::base(),
            Self::Large => VideoMAEConfig::large(),
        };
        let config = match size {
            Size::Model => config,
            Size::Small => VideoMAEConfig {
                image_size: ImageSize::square(32),
                num_frames: 4,
                hidden_size: 32,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                intermediate_size: 64,
                ..config
            },
        };
        VideoMAEConfig { use_mean_pooling: true, ..config }.with_num_labels(400)
    }
}

/// A bench before its files exist.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Op(Task),
    Forward { model: Model, batch: usize, resident: bool, goals: Vec<Goal> },
}

/// What a figure should be; from the issue, for a Hopper GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Operations a second, in units of 10¹².
    Teraflops(f64),
    ClipsPerSecond(f64),
    Milliseconds(f64),
    /// Of the time of PyTorch, compiled, to ours.
    TimesCompiled(f64),
}

/// Clips of the batch at whose shapes ops are timed.
const OP_BATCH: usize = 8;

impl Subject {
    /// All of them with their names.
    pub(crate) fn all(size: Size) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        for (name, model) in [("base", Model::Base), ("large", Model::Large)] {
            let config = model.config(size);
            let (rows, width) = (OP_BATCH * config.num_tokens(), config.hidden_size);
            let inner = config.intermediate_size;
            let linear = |inputs, outputs, epilogue| Task::Linear { rows, inputs, outputs, epilogue };
            let layers = [
                ("patches", linear(config.patch_dim(), width, Epilogue::Residual)),
                ("qkv", linear(width, 3 * width, Epilogue::Heads)),
                ("projection", linear(width, width, Epilogue::Residual)),
                ("mlp1", linear(width, inner, Epilogue::Gelu)),
                ("mlp2", linear(inner, width, Epilogue::Residual)),
                ("plain", linear(width, inner, Epilogue::Bias)),
            ];
            all.extend(layers.map(|(layer, task)| (format!("gemm/{name}/{layer}"), Self::Op(task))));
            let attention = Task::Attention {
                batch: OP_BATCH,
                tokens: config.num_tokens(),
                num_heads: config.num_attention_heads,
                head_dim: config.head_dim(),
            };
            all.push((format!("attention/{name}"), Self::Op(attention)));
        }
        let forward = |model, batch, goals: &[Goal]| Self::Forward {
            model,
            batch,
            resident: true,
            goals: goals.to_vec(),
        };
        for batch in [8, 16, 32] {
            let goals = [Goal::ClipsPerSecond(1500.0), Goal::TimesCompiled(1.2)];
            all.push((format!("base/{batch}"), forward(Model::Base, batch, &goals)));
        }
        all.push(("base/1".to_owned(), forward(Model::Base, 1, &[Goal::Milliseconds(1.3)])));
        all.push(("large/8".to_owned(), forward(Model::Large, 8, &[Goal::ClipsPerSecond(480.0)])));
        let from_host = Self::Forward { model: Model::Base, batch: 8, resident: false, goals: Vec::new() };
        all.push(("base/8/from-host".to_owned(), from_host));
        all
    }

    /// What it should reach.
    pub(crate) fn goals(&self) -> &[Goal] {
        match self {
            Self::Op(Task::Linear { .. }) => &[Goal::Teraflops(650.0)],
            Self::Op(_) => &[Goal::Teraflops(400.0)],
            Self::Forward { goals, .. } => goals,
        }
    }
}

impl Task {
    /// Multiplications and additions of matrix products, where they are the measure.
    pub(crate) fn operations(&self) -> Option<f64> {
        match *self {
            Self::Linear { rows, inputs, outputs, .. } => {
                Some(2.0 * rows as f64 * inputs as f64 * outputs as f64)
            }
            Self::Attention { batch, tokens, num_heads, head_dim } => {
                Some(4.0 * (batch * num_heads * tokens * tokens * head_dim) as f64)
            }
            Self::Forward { .. } => None,
        }
    }

    /// Clips of a forward.
    pub(crate) fn clips(&self) -> Option<usize> {
        match self {
            Self::Forward { shape, .. } => Some(shape[0]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_as_the_script_reads_it() {
        let task = Task::Linear { rows: 1, inputs: 2, outputs: 3, epilogue: Epilogue::Gelu };
        let text = serde_json::to_string(&task).unwrap();
        assert_eq!(text, r#"{"task":"linear","rows":1,"inputs":2,"outputs":3,"epilogue":"gelu"}"#);
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
    }

    #[test]
    fn operations_are_those_of_the_published_model() {
        let all = Subject::all(Size::Model);
        let named = |name: &str| match &all.iter().find(|(known, _)| known == name).unwrap().1 {
            Subject::Op(task) => task.operations().unwrap(),
            Subject::Forward { .. } => panic!("expected an op"),
        };
        // Two for each multiply-add: 8·1568 rows of 768 by 2304.
        assert_eq!(named("gemm/base/qkv"), 2.0 * 12_544.0 * 768.0 * 2304.0);
        assert_eq!(named("attention/base"), 4.0 * 96.0 * 1568.0 * 1568.0 * 64.0);
    }
}
