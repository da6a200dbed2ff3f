//! Reads `config.json` of both transformers generations.

use std::{path::Path, str::FromStr};

use kernels_backend::DType;
use serde_json::{Map, Value};

use super::{HiddenAct, Size, VideoMAEConfig, labels, limits, limits::refuse};
use crate::{Error, Result, files};

/// No published `config.json` exceeds 64 KiB; a file beyond this is something else.
const MAX_FILE_BYTES: u64 = 64 << 20;

impl VideoMAEConfig {
    /// The file's name inside a checkpoint directory.
    pub const FILE_NAME: &'static str = "config.json";

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Json`] when it is not JSON, [`Error::Config`] for the first field that no model can be built from.
    pub fn from_json_str(json: &str) -> Result<Self> {
        parse("config", json)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], else as [`VideoMAEConfig::from_json_str`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        parse(&path.display().to_string(), &files::read_text(path, MAX_FILE_BYTES)?)
    }

    /// Reads `config.json` in a checkpoint directory, or beside a checkpoint file.
    ///
    /// # Errors
    /// As [`VideoMAEConfig::from_file`].
    pub fn from_pretrained(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let directory = if path.is_file() { path.parent().unwrap_or(path) } else { path };
        Self::from_file(directory.join(Self::FILE_NAME))
    }
}

fn parse(file: &str, json: &str) -> Result<VideoMAEConfig> {
    let value: Value =
        serde_json::from_str(json).map_err(|reason| Error::Json { file: file.to_owned(), reason })?;
    match value {
        Value::Object(map) => Fields { file, map }.config(),
        other => Err(Error::Malformed {
            file: file.to_owned(),
            expected: "a JSON object".to_owned(),
            found: kind(&other).to_owned(),
        }),
    }
}

/// The keys not yet read. What remains at the end is kept as it is.
struct Fields<'a> {
    file: &'a str,
    map: Map<String, Value>,
}

impl Fields<'_> {
    fn config(mut self) -> Result<VideoMAEConfig> {
        self.model_type()?;
        let d = VideoMAEConfig::default();
        let (id2label, label2id) = self.labels()?;
        let config = VideoMAEConfig {
            image_size: self.side("image_size", d.image_size)?,
            patch_size: self.side("patch_size", d.patch_size)?,
            num_channels: self.size("num_channels", d.num_channels)?,
            num_frames: self.size("num_frames", d.num_frames)?,
            tubelet_size: self.size("tubelet_size", d.tubelet_size)?,
            hidden_size: self.size("hidden_size", d.hidden_size)?,
            num_hidden_layers: self.size("num_hidden_layers", d.num_hidden_layers)?,
            num_attention_heads: self.size("num_attention_heads", d.num_attention_heads)?,
            intermediate_size: self.size("intermediate_size", d.intermediate_size)?,
            hidden_act: self.parsed("hidden_act")?.unwrap_or_else(HiddenAct::default),
            hidden_dropout_prob: self.number("hidden_dropout_prob", d.hidden_dropout_prob)?,
            attention_probs_dropout_prob: self
                .number("attention_probs_dropout_prob", d.attention_probs_dropout_prob)?,
            initializer_range: self.number("initializer_range", d.initializer_range)?,
            layer_norm_eps: self.number("layer_norm_eps", d.layer_norm_eps)?,
            qkv_bias: self.qkv_bias(d.qkv_bias)?,
            use_mean_pooling: self.flag("use_mean_pooling", d.use_mean_pooling)?,
            decoder_num_attention_heads: self
                .size("decoder_num_attention_heads", d.decoder_num_attention_heads)?,
            decoder_hidden_size: self.size("decoder_hidden_size", d.decoder_hidden_size)?,
            decoder_num_hidden_layers: self.size("decoder_num_hidden_layers", d.decoder_num_hidden_layers)?,
            decoder_intermediate_size: self.size("decoder_intermediate_size", d.decoder_intermediate_size)?,
            norm_pix_loss: self.flag("norm_pix_loss", d.norm_pix_loss)?,
            id2label,
            label2id,
            problem_type: self.nullable("problem_type").then_parsed(self.file, "problem_type")?,
            dtype: self.dtype()?,
            architectures: self.architectures()?,
            output_hidden_states: self.optional_flag("output_hidden_states")?,
            output_attentions: self.optional_flag("output_attentions")?,
            extra: self.map,
        };
        limits::check(&config, self.file)?;
        Ok(config)
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        // `shift_remove` keeps the order of what remains.
        self.map.shift_remove(field)
    }

    /// As `take`, for the inherited fields in which `null` means absent.
    fn nullable(&mut self, field: &str) -> Option<Value> {
        self.take(field).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &str, expected: &str, value: &Value) -> Error {
        refuse(self.file, field, expected, format!("{} {value}", kind(value)))
    }

    fn model_type(&mut self) -> Result<()> {
        match self.nullable("model_type") {
            None => Ok(()),
            Some(Value::String(name)) if name == "videomae" => Ok(()),
            Some(other) => Err(self.wrong("model_type", "\"videomae\"", &other)),
        }
    }

    fn size(&mut self, field: &str, default: usize) -> Result<usize> {
        match self.take(field) {
            None => Ok(default),
            Some(value) => as_size(&value).ok_or_else(|| self.wrong(field, "a positive integer", &value)),
        }
    }

    /// An integer, or a list `[height, width]`.
    fn side(&mut self, field: &str, default: Size) -> Result<Size> {
        let Some(value) = self.take(field) else { return Ok(default) };
        let size = match &value {
            Value::Array(list) => match list.as_slice() {
                [height, width] => {
                    as_size(height).zip(as_size(width)).map(|(height, width)| Size { height, width })
                }
                _ => None,
            },
            other => as_size(other).map(Size::square),
        };
        size.ok_or_else(|| self.wrong(field, "a positive integer or a list [height, width] of two", &value))
    }

    fn number(&mut self, field: &str, default: f64) -> Result<f64> {
        match self.take(field) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(field, "a number", &value)),
        }
    }

    fn flag(&mut self, field: &str, default: bool) -> Result<bool> {
        match self.take(field) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "true or false", &value)),
        }
    }

    fn optional_flag(&mut self, field: &str) -> Result<bool> {
        match self.nullable(field) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(field, "true or false", &value)),
        }
    }

    fn parsed<T: FromStr<Err = Error>>(&mut self, field: &str) -> Result<Option<T>> {
        self.take(field).then_parsed(self.file, field)
    }

    /// Two names for one field; transformers renamed it in 5.18.
    fn qkv_bias(&mut self, default: bool) -> Result<bool> {
        let renamed = self.map.contains_key("qv_bias");
        let new = self.flag("qv_bias", default)?;
        let old = self.flag("qkv_bias", new)?;
        if renamed && old != new {
            return Err(refuse(self.file, "qkv_bias", format!("{new}, as qv_bias says"), old));
        }
        Ok(old)
    }

    /// Two names for one field; where both are given the reference takes `dtype`.
    fn dtype(&mut self) -> Result<Option<DType>> {
        let (new, old) = (self.nullable("dtype"), self.nullable("torch_dtype"));
        let Some(value) = new.or(old) else { return Ok(None) };
        let name = value.as_str().map(|name| name.trim_start_matches("torch."));
        match name.and_then(|name| super::write::DTYPES.iter().find(|(known, _)| *known == name)) {
            Some(&(_, dtype)) => Ok(Some(dtype)),
            None => Err(self.wrong("dtype", "one of float32, float16, bfloat16", &value)),
        }
    }

    fn architectures(&mut self) -> Result<Vec<String>> {
        let Some(value) = self.nullable("architectures") else { return Ok(Vec::new()) };
        let names = value.as_array().and_then(|list| {
            list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        names.ok_or_else(|| self.wrong("architectures", "a list of class names", &value))
    }

    fn labels(&mut self) -> Result<labels::Labels> {
        let num_labels = match self.nullable("num_labels") {
            None => None,
            // Bounded before names for so many classes are made.
            Some(value) => match as_count(&value).filter(|&count| count <= limits::MAX_LABELS) {
                Some(count) => Some(count),
                None => {
                    let expected = format!("an integer from 0 to {}", limits::MAX_LABELS);
                    return Err(self.wrong("num_labels", &expected, &value));
                }
            },
        };
        let id2label = match self.nullable("id2label") {
            None => None,
            Some(Value::Object(map)) => Some(labels::id2label(self.file, map)?),
            Some(other) => return Err(self.wrong("id2label", "an object", &other)),
        };
        let label2id = match self.nullable("label2id") {
            None => None,
            Some(Value::Object(map)) => Some(labels::label2id(self.file, map)?),
            Some(other) => return Err(self.wrong("label2id", "an object", &other)),
        };
        labels::settle(self.file, num_labels, id2label, label2id)
    }
}

/// A name looked up in a table whose error does not know the file.
trait ThenParsed {
    fn then_parsed<T: FromStr<Err = Error>>(self, file: &str, field: &str) -> Result<Option<T>>;
}

impl ThenParsed for Option<Value> {
    fn then_parsed<T: FromStr<Err = Error>>(self, file: &str, field: &str) -> Result<Option<T>> {
        match self {
            None => Ok(None),
            Some(Value::String(name)) => match name.parse() {
                Ok(parsed) => Ok(Some(parsed)),
                Err(Error::Config { expected, .. }) => {
                    Err(refuse(file, field, expected, format!("{name:?}")))
                }
                Err(other) => Err(other),
            },
            Some(other) => Err(refuse(file, field, "a string", format!("{} {other}", kind(&other)))),
        }
    }
}

fn as_count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// Zero is refused here already, so that the message has the value as the file spells it.
fn as_size(value: &Value) -> Option<usize> {
    as_count(value).filter(|&n| n > 0)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
