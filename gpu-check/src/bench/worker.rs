//! `gpu-check worker`: prepares a task and runs it when told, one line of JSON for each.

use std::{
    io::{BufRead, Write},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use kernels::{
    Activation, AttentionOptions, DType, Layout, LinearBlock, Shape, Stream, Tensor, View, WeightFormat,
    Write as Mode,
};
use serde::{Deserialize, Serialize};

use super::{
    Ours, cublaslt,
    forward::Forward,
    task::{Epilogue, Task},
};
use crate::{
    arguments::Options,
    check::{Kernels, Noise},
};

/// What a worker is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Make all that the task needs, and run it until it is as fast as it will be.
    Prepare(Task),
    /// So many times.
    Run(u32),
    /// Of the last forward.
    Logits,
}

/// What it answers. The first answer, to no question, says what it is.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Ready(String),
    /// Why it cannot do this.
    Unavailable(String),
    /// Of all repetitions together.
    Seconds(f64),
    Logits(Vec<f32>),
}

/// A task that is ready.
pub(super) trait Runner {
    /// Runs it, and waits for the device.
    fn run(&mut self, times: u32) -> Result<()>;

    /// What the last run gave.
    fn logits(&self) -> Result<Vec<f32>> {
        bail!("expected a task with logits")
    }
}

/// Runs before the clock starts: kernels are loaded, memory is there, and what is captured has been.
const WARM_UP: u32 = 3;

/// Answers until the input ends.
pub(crate) fn run(options: &Options, contestant: Ours) -> Result<bool> {
    let mut answers = std::io::stdout();
    let mut answer = |reply: &Reply| -> Result<()> {
        writeln!(answers, "{}", serde_json::to_string(reply)?)?;
        Ok(answers.flush()?)
    };
    let library = match open(options, contestant) {
        Ok((text, library)) => {
            answer(&Reply::Ready(text))?;
            library
        }
        Err(error) => {
            answer(&Reply::Unavailable(format!("{error:#}")))?;
            return Ok(true);
        }
    };
    let mut runner: Option<Box<dyn Runner>> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let request: Request =
            serde_json::from_str(&line).with_context(|| format!("expected a request, found `{line}`"))?;
        let ready = || "expected a task to be prepared first";
        match request {
            Request::Prepare(task) => {
                // Gives its memory back before the next one takes some.
                drop(runner.take());
                runner = Some(prepare(options, contestant, library.as_ref(), &task)?);
                runner.as_mut().with_context(ready)?.run(WARM_UP)?;
                answer(&Reply::Ready(String::new()))?;
            }
            Request::Run(times) => {
                let runner = runner.as_mut().with_context(ready)?;
                let start = Instant::now();
                runner.run(times)?;
                answer(&Reply::Seconds(start.elapsed().as_secs_f64()))?;
            }
            Request::Logits => answer(&Reply::Logits(runner.as_ref().with_context(ready)?.logits()?))?,
        }
    }
    Ok(true)
}

/// What the contestant is, and its library, where it has one.
fn open(options: &Options, contestant: Ours) -> Result<(String, Option<cublaslt::Library>)> {
    match contestant {
        Ours::Cublaslt => {
            let library = cublaslt::Library::open(options)?;
            Ok((library.version(), Some(library)))
        }
        Ours::Cuda | Ours::Hopper => Ok((format!("videomae at {}", env!("GPU_CHECK_COMMIT")), None)),
    }
}

fn prepare(
    options: &Options,
    contestant: Ours,
    library: Option<&cublaslt::Library>,
    task: &Task,
) -> Result<Box<dyn Runner>> {
    let noise = Noise::new(options.seed, "bench");
    let kernels = match (contestant, library) {
        (Ours::Cublaslt, Some(library)) => return cublaslt::prepare(library, options.device, task, noise),
        (Ours::Cublaslt, None) => bail!("cuBLASLt was not opened"),
        (Ours::Hopper, _) => Kernels::Hopper,
        (Ours::Cuda, _) => Kernels::Ampere,
    };
    let backend = kernels::open(&kernels.backend(options.device))?;
    match *task {
        Task::Linear { rows, inputs, outputs, epilogue } => {
            Ok(Box::new(Linear::new(&backend, [rows, inputs, outputs], epilogue, noise)?))
        }
        Task::Attention { batch, tokens, num_heads, head_dim } => {
            Ok(Box::new(Attention::new(&backend, [batch, tokens, num_heads, head_dim], noise)?))
        }
        Task::Forward { ref checkpoint, ref pixel_values, shape, resident } => {
            Ok(Box::new(Forward::new(backend, checkpoint, pixel_values, shape, resident)?))
        }
    }
}

/// A tensor of bf16.
fn tensor(
    stream: &mut dyn Stream,
    shape: impl Into<Shape>,
    layout: Layout,
    noise: &mut Noise,
) -> Result<Tensor> {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, DType::Bf16, layout)?;
    stream.write(&View::f32(shape, &noise.signed(shape.elements()))?, &mut tensor)?;
    Ok(tensor)
}

/// A linear layer on its own.
struct Linear {
    stream: Box<dyn Stream>,
    linear: kernels::Linear,
    x: Tensor,
    y: Tensor,
    activation: Activation,
    mode: Mode,
}

impl Linear {
    fn new(
        backend: &std::sync::Arc<dyn kernels::Backend>,
        [rows, inputs, outputs]: [usize; 3],
        epilogue: Epilogue,
        mut noise: Noise,
    ) -> Result<Self> {
        // Added to itself again and again, y must not grow without bound.
        let size = 0.01 / (inputs as f32).sqrt();
        let weight: Vec<f32> = noise.signed(inputs * outputs).iter().map(|x| x * size).collect();
        let bias = noise.signed(outputs);
        let block = LinearBlock {
            weight: View::f32([outputs, inputs], &weight)?,
            bias: Some(View::f32([outputs], &bias)?),
        };
        let linear = backend.pack_linear(&[block], WeightFormat::Bf16)?;
        let mut stream = std::sync::Arc::clone(backend).stream()?;
        // Heads of 64, or of what there is.
        let layout = match epilogue {
            Epilogue::Heads => Layout::Heads { num_heads: (outputs / 3).div_ceil(64) },
            _ => Layout::Rows,
        };
        let x = tensor(&mut *stream, [1, rows, inputs], Layout::Rows, &mut noise)?;
        let y = tensor(&mut *stream, [1, rows, outputs], layout, &mut noise)?;
        let activation = if epilogue == Epilogue::Gelu { Activation::Gelu } else { Activation::Identity };
        let mode = if epilogue == Epilogue::Residual { Mode::Accumulate } else { Mode::Replace };
        Ok(Self { stream, linear, x, y, activation, mode })
    }
}

impl Runner for Linear {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            let epilogue =
                kernels::Epilogue { activation: self.activation, write: self.mode, pre_activation: None };
            self.stream.linear((&self.x).into(), &self.linear, epilogue, (&mut self.y).into())?;
        }
        Ok(self.stream.synchronize()?)
    }
}

/// Attention on its own.
struct Attention {
    stream: Box<dyn Stream>,
    qkv: Tensor,
    context: Tensor,
    options: AttentionOptions,
}

impl Attention {
    fn new(
        backend: &std::sync::Arc<dyn kernels::Backend>,
        [batch, tokens, num_heads, head_dim]: [usize; 4],
        mut noise: Noise,
    ) -> Result<Self> {
        let mut stream = std::sync::Arc::clone(backend).stream()?;
        let width = num_heads * head_dim;
        let qkv = tensor(&mut *stream, [batch, tokens, 3 * width], Layout::Heads { num_heads }, &mut noise)?;
        let context = stream.alloc([batch, tokens, width].into(), DType::Bf16, Layout::Rows)?;
        let scale = (head_dim as f32).powf(-0.5);
        let options = AttentionOptions { num_heads, scale, dropout: None, precision: WeightFormat::Bf16 };
        Ok(Self { stream, qkv, context, options })
    }
}

impl Runner for Attention {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            self.stream.attention(&self.qkv, &self.options, &mut self.context, None)?;
        }
        Ok(self.stream.synchronize()?)
    }
}
