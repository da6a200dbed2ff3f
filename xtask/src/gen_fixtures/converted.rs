//! The check `converted`: transformers 4 and 5 load the folders that `videomae convert` writes, and compute with them
//! what they compute with the models that were converted.
//!
//! Our program is built and writes the folders; `xtask/python/check_converted.py` judges them. Nothing is committed,
//! since what is judged is the program as it is now.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::build;
use crate::python::{Environment, succeed};
use crate::workspace::Workspace;

/// What `--only` calls this check.
pub(super) const NAME: &str = "converted";

/// The script of `xtask/python`.
const SCRIPT: &str = "check_converted.py";

/// Below the 10 to 30 kB of the checkpoints, so that every one takes several files.
const SHARD_SIZE: &str = "6KB";

/// One run of `videomae convert`, and what the folder must then hold, as [`SCRIPT`] reads it.
#[derive(Default, Serialize)]
struct Conversion {
    /// Also the name of the folder.
    #[serde(skip)]
    name: String,
    /// What is converted: a path below the root, or "demo".
    #[serde(skip)]
    input: String,
    /// Options beyond those that the fields below stand for.
    #[serde(skip)]
    arguments: Vec<String>,
    #[serde(skip)]
    head_rows: Option<Vec<usize>>,
    /// Where the script finds the model converted.
    reference: String,
    dtype: Option<NumberType>,
    labels: Option<Vec<&'static str>>,
    /// How the file of labels is written.
    #[serde(skip)]
    label_file: LabelFile,
    sharded: bool,
}

/// The type of numbers, by its name in PyTorch.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum NumberType {
    Float32,
    Bfloat16,
    Float16,
}

/// The three forms of `--labels`.
#[derive(Clone, Copy, Default)]
enum LabelFile {
    #[default]
    Lines,
    List,
    Object,
}

/// Converts everything below `folder`, and has both generations of transformers look at it. `sets` are the names of
/// all fixtures.
pub(super) fn check(
    workspace: &Workspace,
    environment: &Environment,
    folder: &Path,
    sets: &[String],
) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let program = build::executable(workspace, &["--package=videomae-cli", "--bin=videomae"])?;
    let conversions = conversions(&workspace.root, sets)?;
    for conversion in &conversions {
        conversion
            .run(&program, &workspace.root, folder)
            .with_context(|| format!("converting {}", conversion.name))?;
    }
    for mut command in [environment.script_with_transformers_4(SCRIPT)?, environment.script(SCRIPT)] {
        succeed(command.arg(folder).args(conversions.iter().map(|conversion| &conversion.name)))
            .context("folders of videomae convert are not what transformers expects")?;
    }
    Ok(())
}

/// Every fixture as it is, then the options of the program on one fixture of each kind.
fn conversions(root: &Path, sets: &[String]) -> Result<Vec<Conversion>> {
    let mut all = Vec::new();
    for set in sets {
        match set.split_once('/') {
            Some(("checkpoints", _)) => all.push(Conversion::of_folder(set, &format!("fixtures/{set}"))),
            Some(("original", _)) => all.push(Conversion::of_original(root, set)?),
            _ => {}
        }
    }
    ensure!(!all.is_empty(), "expected fixtures of checkpoints in the manifest, found none");
    all.push(Conversion::of_folder("cli/demo", "demo"));
    for kind in ["classification", "pretraining", "model"] {
        let of = |form: &str| {
            let set = format!("checkpoints/{kind}-{form}");
            Conversion::of_folder(&set, &format!("fixtures/{set}"))
        };
        all.push(Conversion { sharded: true, ..of("q-bias") }.named("sharded"));
        for dtype in [NumberType::Float32, NumberType::Bfloat16, NumberType::Float16] {
            all.push(Conversion { dtype: Some(dtype), ..of("q-bias") }.named(dtype.option()));
        }
        if kind != "model" {
            // From half precision up, and from one half to the other.
            all.push(Conversion { dtype: Some(NumberType::Float32), ..of("bfloat16") }.named("f32"));
            all.push(Conversion { dtype: Some(NumberType::Bfloat16), ..of("float16") }.named("bf16"));
            let both = Conversion { dtype: Some(NumberType::Bfloat16), sharded: true, ..of("key-bias") };
            all.push(both.named("bf16-sharded"));
        }
    }
    for (label_file, name) in
        [(LabelFile::Lines, "lines"), (LabelFile::List, "list"), (LabelFile::Object, "object")]
    {
        let set = "checkpoints/classification-q-bias";
        let labels = Some(vec!["sinking", "climbing", "at rest, for once"]);
        let of = Conversion::of_folder(set, &format!("fixtures/{set}"));
        all.push(Conversion { labels, label_file, ..of }.named(&format!("labels-{name}")));
    }
    let selected = Conversion::of_original(root, "original/v2-selected")?;
    all.push(Conversion { labels: Some(vec!["a", "b", "c"]), ..selected }.named("labels"));
    let whole = Conversion::of_original(root, "original/v1-pretraining")?;
    all.push(Conversion { dtype: Some(NumberType::Float16), sharded: true, ..whole }.named("f16-sharded"));
    Ok(all)
}

impl NumberType {
    /// The value of `--dtype`.
    fn option(self) -> &'static str {
        match self {
            Self::Float32 => "f32",
            Self::Bfloat16 => "bf16",
            Self::Float16 => "f16",
        }
    }
}

impl Conversion {
    fn of_folder(reference: &str, input: &str) -> Self {
        let name = reference.replace('/', "-");
        Self { name, input: input.to_owned(), reference: reference.to_owned(), ..Self::default() }
    }

    /// A file of the original authors, with what its shapes do not tell.
    fn of_original(root: &Path, set: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Case {
            overrides: Overrides,
            head_rows: Option<Vec<usize>>,
        }
        #[derive(Deserialize)]
        struct Overrides {
            num_attention_heads: usize,
            decoder_num_attention_heads: Option<usize>,
            image_size: usize,
            num_frames: usize,
        }

        let path = root.join("fixtures").join(set).join("case.json");
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let Case { overrides, head_rows } =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        let given = [
            ("--num-heads", Some(overrides.num_attention_heads)),
            ("--decoder-num-heads", overrides.decoder_num_attention_heads),
            ("--image-size", Some(overrides.image_size)),
            ("--num-frames", Some(overrides.num_frames)),
        ];
        let arguments = given
            .into_iter()
            .filter_map(|(option, value)| Some([option.to_owned(), value?.to_string()]))
            .flatten();
        let input = format!("fixtures/{set}/weights.pth");
        Ok(Self { arguments: arguments.collect(), head_rows, ..Self::of_folder(set, &input) })
    }

    fn named(mut self, suffix: &str) -> Self {
        self.name = format!("{}-as-{suffix}", self.name);
        self
    }

    /// Writes the folder, and beside it what the script must know.
    fn run(&self, program: &Path, root: &Path, folder: &Path) -> Result<()> {
        let given = folder.join(format!("{}-given", self.name));
        fs::create_dir(&given)?;
        let mut command = Command::new(program);
        // Inputs are named from the root; "demo" is no path, although there is a folder of that name.
        command.current_dir(root).arg("convert");
        if self.input.ends_with(".pth") {
            // Alone, without the config.json beside it.
            let alone = given.join("weights.pth");
            fs::copy(root.join(&self.input), &alone)?;
            command.arg(alone);
        } else {
            command.arg(&self.input);
        }
        command.arg(folder.join(&self.name)).args(&self.arguments);
        let mut file = |option: &str, content: String| {
            let path = given.join(option.trim_start_matches('-'));
            fs::write(&path, content)?;
            command.arg(option).arg(path);
            anyhow::Ok(())
        };
        if let Some(rows) = &self.head_rows {
            file("--head-rows", serde_json::to_string(rows)?)?;
        }
        if let Some(labels) = &self.labels {
            file("--labels", self.label_file.text(labels)?)?;
        }
        if let Some(dtype) = self.dtype {
            command.args(["--dtype", dtype.option()]);
        }
        if self.sharded {
            command.args(["--shard-size", SHARD_SIZE]);
        }
        // What the program says and prints is of interest if it fails.
        let output = command.output().context("starting the program")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim());
        let case = folder.join(format!("{}.json", self.name));
        fs::write(&case, serde_json::to_string(self)?).with_context(|| format!("writing {}", case.display()))
    }
}

impl LabelFile {
    fn text(self, labels: &[&str]) -> Result<String> {
        Ok(match self {
            Self::Lines => labels.join("\n"),
            Self::List => serde_json::to_string(labels)?,
            Self::Object => serde_json::to_string(&labels.iter().enumerate().collect::<BTreeMap<_, _>>())?,
        })
    }
}
