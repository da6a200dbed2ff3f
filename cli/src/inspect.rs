//! `videomae inspect`.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use videomae::{
    VideoMAEConfig,
    checkpoint::{Inspection, Recognized, TensorFacts, inspect},
};

use crate::weights::{self, Opened, Overrides};

/// Reads every tensor. The exit code is 1 when something is wrong that matters: tensors that are missing or of another
/// shape, numbers that are none, parts that were lost.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A folder; a file .safetensors, .bin or .pth, also of the original authors; a name on the hub; or "demo"
    #[arg(value_name = "MODEL")]
    model: String,

    #[command(flatten)]
    overrides: Overrides,

    /// Print one JSON object: files, config, assumed, architecture, dialect, tensors, missing, mismatched, extra, uses,
    /// problems
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Inspect) -> Result<()> {
    let opened = weights::open(&options.model)?;
    let Opened { checkpoint, config, told, .. } = opened;
    let recognized = Recognized::new(&checkpoint, config, &options.overrides.options().or(told), None)?;
    let found = inspect(&recognized)?;
    let files: Vec<(&str, String)> = checkpoint.files().collect();
    match options.json {
        true => println!("{:#}", to_json(&files, &recognized, &found)?),
        false => print(&files, &recognized, &found),
    }
    match found.problems.len() {
        0 => Ok(()),
        1 => bail!("{}: 1 problem", options.model),
        many => bail!("{}: {many} problems", options.model),
    }
}

fn to_json(files: &[(&str, String)], recognized: &Recognized<'_>, found: &Inspection) -> Result<Value> {
    let mut value = serde_json::to_value(found)?;
    let config: Value = serde_json::from_str(&recognized.config.to_json())?;
    let files: Vec<Value> =
        files.iter().map(|(file, format)| json!({ "file": file, "format": format })).collect();
    value["files"] = files.into();
    value["config"] = config;
    value["assumed"] = json!(recognized.assumed);
    Ok(value)
}

fn print(files: &[(&str, String)], recognized: &Recognized<'_>, found: &Inspection) {
    for (file, format) in files {
        println!("file          {file} ({format})");
    }
    println!("architecture  {}", found.architecture);
    println!("dialect       {}", found.dialect.join("; "));
    print_config(&recognized.config);
    for assumed in &recognized.assumed {
        println!("assumed       {assumed}");
    }
    let types: Vec<_> =
        found.dtypes().into_iter().map(|(dtype, count)| format!("{count} of {dtype}")).collect();
    println!("tensors       {}", types.join(", "));
    println!();
    print_tensors(&found.tensors);
    println!();
    for key in &found.missing {
        println!("missing       {key}");
    }
    for wrong in &found.mismatched {
        println!("mismatched    {}: expected {:?}, found {:?}", wrong.key, wrong.expected, wrong.found);
    }
    for key in &found.extra {
        println!("extra         {key}");
    }
    for usage in &found.uses {
        match &usage.reason {
            None => println!("{:12}  yes", usage.command),
            Some(reason) => println!("{:12}  no: {reason}", usage.command),
        }
    }
    for problem in &found.problems {
        println!("problem       {problem}");
    }
}

fn print_config(config: &VideoMAEConfig) {
    let VideoMAEConfig { image_size, patch_size, num_frames, tubelet_size, .. } = config;
    println!("clip          {num_frames} frames of {image_size}, patches of {tubelet_size} x {patch_size}");
    println!(
        "encoder       {} layers of width {}, {} heads of {}, MLP {}, norm eps {:e}",
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
        config.head_dim(),
        config.intermediate_size,
        config.layer_norm_eps
    );
    println!(
        "decoder       {} layers of width {}, {} heads, MLP {}",
        config.decoder_num_hidden_layers,
        config.decoder_hidden_size,
        config.decoder_num_attention_heads,
        config.decoder_intermediate_size
    );
    let pooling = if config.use_mean_pooling { "the mean of all tokens" } else { "the first token" };
    println!("classes       {}, from {pooling}", config.num_labels());
}

fn print_tensors(tensors: &[TensorFacts]) {
    let key = tensors.iter().map(|facts| facts.key.len()).max().unwrap_or(0).max("place".len());
    println!("{:key$}  {:5}  {:22} {:>11} {:>11}  name in file", "place", "type", "shape", "mean", "std");
    for facts in tensors {
        let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.3e}"));
        println!(
            "{:key$}  {:5}  {:22} {:>11} {:>11}  {}{}",
            facts.key,
            facts.dtype.as_deref().unwrap_or("-"),
            format!("{:?}", facts.shape),
            number(facts.mean),
            number(facts.std),
            if facts.name == facts.key { "same" } else { &facts.name },
            flags(facts),
        );
    }
}

fn flags(facts: &TensorFacts) -> String {
    let mut flags = String::new();
    if facts.all_zero {
        flags.push_str("  ALL ZERO");
    }
    if facts.nan > 0 {
        flags.push_str(&format!("  {} NAN", facts.nan));
    }
    if facts.infinite > 0 {
        flags.push_str(&format!("  {} INFINITE", facts.infinite));
    }
    if let Some(reason) = &facts.unreadable {
        flags.push_str(&format!("  UNREADABLE: {reason}"));
    }
    flags
}
