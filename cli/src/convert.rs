//! `videomae convert`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use kernels::DType;
use serde_json::{Map, Value, json};
use videomae::{
    Size, VideoMAEConfig,
    checkpoint::{Architecture, LoadOptions, Recognized, SaveOptions, WeightLoader, save_pretrained},
};

use crate::{
    demo, head_rows,
    weights::{self, Overrides},
};

/// Writes a checkpoint as a folder that transformers 4 and 5 load: config.json, model.safetensors and
/// preprocessor_config.json.
///
/// Without a config.json beside it, sizes are read off the shapes of tensors; what shapes do not tell is taken from
/// the authors' models, and said, or has to be given.
#[derive(Args)]
pub(crate) struct Convert {
    /// A folder of transformers in any dialect; a file .safetensors, .bin or .pth, also in the original authors'
    /// layout of VideoMAE V1 or V2; a name on the hub; or "demo"
    #[arg(value_name = "IN")]
    input: String,

    /// The folder to write
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// The type of numbers [default: as they are]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<NumberType>,

    /// Start another file before one has more bytes of tensors than this: a number, with KB, MB, GB (powers of 1000)
    /// or KiB, MiB, GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    shard_size: Option<u64>,

    /// Names of the classes: one a line, a JSON list, or a JSON object from number to name
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// Select and order the classes of an original checkpoint: k400, k600 or k700 for those of Kinetics in VideoMAE
    /// V2's heads of 710 classes, or a file with a JSON list of the row of each class wanted
    #[arg(long, value_name = "NAME|FILE")]
    head_rows: Option<String>,

    #[command(flatten)]
    overrides: Overrides,

    /// Write into a folder that is not empty
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumberType {
    F32,
    Bf16,
    F16,
}

/// Files that say how frames are prepared, copied where there are any.
const PROCESSOR_FILES: [&str; 3] =
    ["preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"];

pub(crate) fn run(options: &Convert) -> Result<()> {
    let output = &options.output;
    refuse_full(output, options.force)?;
    let opened = weights::open(&options.input)?;
    let overrides = options.overrides.options().or(opened.told);
    let rows = options.head_rows.as_deref().map(head_rows::read).transpose()?;
    let recognized = Recognized::new(&opened.checkpoint, opened.config, &overrides, rows.as_deref())?;
    for assumed in &recognized.assumed {
        eprintln!("note: assumed {assumed}");
    }
    let architecture = recognized.architecture;
    let config = match &options.labels {
        Some(path) => labelled(recognized.config.clone(), architecture, path)?,
        None => recognized.config.clone(),
    };
    let processors = processors(opened.folder.as_deref(), &options.input, config.image_size)?;
    // Compared before anything is written, to tell also what is left behind.
    let report =
        WeightLoader::new(recognized.weights(), &config, architecture, LoadOptions::default())?.report();
    if report.is_notable() || !report.unused.is_empty() {
        eprintln!("{report}");
    }
    let dtype = options.dtype.map(|dtype| match dtype {
        NumberType::F32 => DType::F32,
        NumberType::Bf16 => DType::Bf16,
        NumberType::F16 => DType::F16,
    });
    let save = SaveOptions { dtype, max_shard_size: options.shard_size };
    let is_new = !output.exists();
    let saved = save_pretrained(output, &config, architecture, recognized.weights(), &save);
    if let Err(error) = saved {
        if is_new && output.exists() {
            // Empty, or it would not go away; what failed is the better message either way.
            fs::remove_dir(output).ok();
        }
        return Err(error.into());
    }
    for (name, content) in processors {
        write_whole(&output.join(name), &content)?;
    }
    let parameters = architecture.num_parameters(&config)?;
    println!("{}: {} of {parameters} parameters", output.display(), architecture.class_name());
    Ok(())
}

fn refuse_full(output: &Path, force: bool) -> Result<()> {
    if !output.exists() {
        return Ok(());
    }
    ensure!(output.is_dir(), "{}: expected a folder or nothing, found a file", output.display());
    let mut entries = fs::read_dir(output).with_context(|| format!("cannot list {}", output.display()))?;
    ensure!(
        force || entries.next().is_none(),
        "{}: expected an empty folder or none, found one with files; --force writes into it",
        output.display()
    );
    Ok(())
}

/// A number of bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a number of bytes such as 5GB or 500MiB, found {text:?}");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let unit: u64 = match &text[digits..] {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    number.checked_mul(unit).filter(|&bytes| bytes > 0).ok_or_else(expected)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The configuration with the names of a file.
fn labelled(config: VideoMAEConfig, architecture: Architecture, path: &Path) -> Result<VideoMAEConfig> {
    let name = path.display();
    ensure!(
        architecture == Architecture::VideoClassification && config.num_labels() > 0,
        "--labels: expected a checkpoint with a classifier, found a {} without",
        architecture.class_name()
    );
    let text = read(path)?;
    let labels = match text.trim_start().chars().next() {
        Some('{' | '[') => {
            let value: Value =
                serde_json::from_str(&text).with_context(|| format!("{name}: expected JSON"))?;
            json_labels(&value).with_context(|| {
                format!("{name}: expected a list of names, or an object from numbers 0, 1, … to names")
            })?
        }
        _ => text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect(),
    };
    ensure!(
        labels.len() == config.num_labels(),
        "{name}: expected {} names, as the classifier has rows, found {}",
        config.num_labels(),
        labels.len()
    );
    Ok(config.with_labels(labels))
}

fn json_labels(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        Value::Object(map) => {
            let map: &Map<String, Value> = map.get("id2label").and_then(Value::as_object).unwrap_or(map);
            (0..map.len()).map(|id| map.get(&id.to_string()).and_then(text)).collect()
        }
        _ => None,
    }
}

/// Name and content of the files that say how frames are prepared.
fn processors(folder: Option<&Path>, input: &str, image_size: Size) -> Result<Vec<(String, Vec<u8>)>> {
    if input == demo::NAME {
        let content = demo::PROCESSOR.as_bytes().to_vec();
        return Ok(vec![(PROCESSOR_FILES[0].to_owned(), content)]);
    }
    let mut files = Vec::new();
    for name in PROCESSOR_FILES {
        let Some(path) = folder.map(|folder| folder.join(name)).filter(|path| path.is_file()) else {
            continue;
        };
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((name.to_owned(), content));
    }
    if files.is_empty() {
        files.push((PROCESSOR_FILES[0].to_owned(), published_processor(image_size).into_bytes()));
    }
    Ok(files)
}

/// What the files of every published checkpoint say: the short edge to the size of a frame, its centre, and the mean
/// and deviation of ImageNet, with which the authors trained.
fn published_processor(size: Size) -> String {
    let processor = json!({
        "do_resize": true,
        "size": { "shortest_edge": size.height.min(size.width) },
        "resample": 2,
        "do_center_crop": true,
        "crop_size": { "height": size.height, "width": size.width },
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "image_processor_type": "VideoMAEImageProcessor",
    });
    format!("{processor:#}\n")
}

/// Writes a file that appears under its name once it is complete.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let Some(folder) = path.parent() else { bail!("{}: expected a file in a folder", path.display()) };
    let failed = || format!("cannot write {}", path.display());
    let temporary = folder.join(format!(".videomae-{}.tmp", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The first failure is the one to report; what is left has a name that says so.
        fs::remove_file(&temporary).ok();
    }
    written.with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_people_write() {
        for (text, expected) in [
            ("1", 1),
            ("7B", 7),
            ("5GB", 5_000_000_000),
            ("500MiB", 500 << 20),
            ("2KB", 2000),
            ("3GiB", 3 << 30),
        ] {
            assert_eq!(bytes(text), Ok(expected));
        }
        for text in ["", "GB", "0", "1TB", "-1", "1.5GB", "99999999999999999999", "99999999999GiB"] {
            assert!(bytes(text).unwrap_err().contains("such as 5GB"), "{text}");
        }
    }
}
