//! The JSON text of a processor, read and written.

use serde_json::{Map, Value};

use super::options::invalid;
use super::{ChannelValues, Numerics, ProcessorOptions, Resample, SamplingOptions, Size};
use crate::{Error, Result};

/// The names that `image_processor_type`, `feature_extractor_type` and `video_processor_type` may have: the classes
/// whose options are those of this crate.
const CLASSES: [&str; 5] = [
    "VideoMAEImageProcessor",
    "VideoMAEImageProcessorFast",
    PILLOW_CLASS,
    "VideoMAEFeatureExtractor",
    "VideoMAEVideoProcessor",
];

/// The image processor of transformers 5 without torchvision.
const PILLOW_CLASS: &str = "VideoMAEImageProcessorPil";

/// Entries that say how the reference runs and change no result here. Others stay among the entries that nobody took,
/// and are written back:
///
/// - `do_pad` and `pad_size`: the classes of VideoMAE take them from their base classes and never pad, in transformers
///   4.57 and 5.23 alike;
/// - `data_format`: without effect in a file, in both; in a call transformers 4 moves the channels to the end for
///   `channels_last`, which is [`crate::PixelValues::to_channels_last`] here, and transformers 5 does nothing;
/// - `input_data_format`: the layout of frames is stated by their view.
const WITHOUT_EFFECT: [&str; 6] = [
    "processor_class",
    "_processor_class",
    "_valid_processor_keys",
    "disable_grouping",
    "image_seq_length",
    "return_tensors",
];

/// The entries of a file, taken out one by one as they are understood.
///
/// `null` counts as left out, as it does in transformers 5.
pub(super) struct Entries(Map<String, Value>);

impl Entries {
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        match serde_json::from_slice(json)? {
            Value::Object(mut entries) => {
                entries.retain(|_, value| !value.is_null());
                Ok(Self(entries))
            }
            other => Err(invalid("processor configuration", "a JSON object", short(&other))),
        }
    }

    /// The options of every frame, `defaults` where the file is silent.
    pub(super) fn options(&mut self, defaults: ProcessorOptions) -> Result<ProcessorOptions> {
        let default_to_square = self.bool("default_to_square", false)?;
        let options = ProcessorOptions {
            numerics: self.numerics(defaults.numerics)?,
            do_convert_rgb: self.bool("do_convert_rgb", defaults.do_convert_rgb)?,
            do_resize: self.bool("do_resize", defaults.do_resize)?,
            size: self.size("size", default_to_square)?.unwrap_or(defaults.size),
            resample: self.resample()?.unwrap_or(defaults.resample),
            do_center_crop: self.bool("do_center_crop", defaults.do_center_crop)?,
            crop_size: self.size("crop_size", true)?.unwrap_or(defaults.crop_size),
            do_rescale: self.bool("do_rescale", defaults.do_rescale)?,
            rescale_factor: self.number("rescale_factor")?.unwrap_or(defaults.rescale_factor),
            do_normalize: self.bool("do_normalize", defaults.do_normalize)?,
            image_mean: self.channel_values("image_mean")?.unwrap_or(defaults.image_mean),
            image_std: self.channel_values("image_std")?.unwrap_or(defaults.image_std),
        };
        options.validate()?;
        Ok(options)
    }

    /// The options of sampling.
    pub(super) fn sampling(&mut self) -> Result<SamplingOptions> {
        Ok(SamplingOptions {
            do_sample_frames: self.bool("do_sample_frames", false)?,
            num_frames: match self.0.shift_remove("num_frames") {
                Some(value) => Some(edge("num_frames", &value)?),
                None => None,
            },
            fps: self.number("fps")?,
            return_metadata: self.bool("return_metadata", false)?,
        })
    }

    /// Refuses the class of another model and options that cannot be honoured, and drops those without effect.
    pub(super) fn check_common(&mut self) -> Result<()> {
        for name in ["image_processor_type", "feature_extractor_type", "video_processor_type"] {
            match self.0.shift_remove(name) {
                None => {}
                Some(Value::String(class)) if CLASSES.contains(&class.as_str()) => {}
                Some(other) => {
                    return Err(invalid(name, format!("one of {}", CLASSES.join(", ")), short(&other)));
                }
            }
        }
        match self.0.shift_remove("device") {
            None => {}
            Some(Value::String(device)) if device == "cpu" => {}
            // On a GPU torchvision resizes without rounding between the passes.
            Some(other) => return Err(invalid("device", "\"cpu\"", short(&other))),
        }
        for name in WITHOUT_EFFECT {
            self.0.shift_remove(name);
        }
        Ok(())
    }

    /// What nobody took.
    pub(super) fn unused(self) -> Map<String, Value> {
        self.0
    }

    fn bool(&mut self, name: &'static str, default: bool) -> Result<bool> {
        match self.0.shift_remove(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(invalid(name, "true or false", short(&other))),
        }
    }

    /// The entry `numerics`, which the reference keeps without knowing it, or else the class that runs on Pillow.
    fn numerics(&mut self, default: Numerics) -> Result<Numerics> {
        match self.0.shift_remove("numerics") {
            Some(Value::String(name)) => name.parse(),
            Some(other) => Err(invalid("numerics", "the name of one", short(&other))),
            None if self.0.get("image_processor_type").is_some_and(|class| class == PILLOW_CLASS) => {
                Ok(Numerics::Pillow)
            }
            None => Ok(default),
        }
    }

    fn number(&mut self, name: &'static str) -> Result<Option<f64>> {
        let Some(value) = self.0.shift_remove(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| invalid(name, "a number", short(&value)))
    }

    fn resample(&mut self) -> Result<Option<Resample>> {
        let Some(value) = self.0.shift_remove("resample") else { return Ok(None) };
        let filter = value.as_u64().and_then(Resample::from_number);
        filter.map(Some).ok_or_else(|| invalid("resample", "the number of a filter, 0 to 5", short(&value)))
    }

    fn channel_values(&mut self, name: &'static str) -> Result<Option<ChannelValues>> {
        let Some(value) = self.0.shift_remove(name) else { return Ok(None) };
        let values = match &value {
            Value::Array(values) => {
                values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>().map(ChannelValues::Each)
            }
            other => other.as_f64().map(ChannelValues::All),
        };
        values.map(Some).ok_or_else(|| invalid(name, "a number or a list of numbers", short(&value)))
    }

    /// A size as a number, a list `[height, width]` or an object.
    fn size(&mut self, name: &'static str, default_to_square: bool) -> Result<Option<Size>> {
        let Some(value) = self.0.shift_remove(name) else { return Ok(None) };
        let size = match &value {
            Value::Object(entries) => size_from_entries(name, entries)?,
            Value::Array(edges) if edges.len() == 2 => {
                Size::Exact { height: edge(name, &edges[0])?, width: edge(name, &edges[1])? }
            }
            Value::Number(_) if default_to_square => Size::square(edge(name, &value)?),
            Value::Number(_) => Size::ShortestEdge(edge(name, &value)?),
            other => return Err(invalid(name, "a number, a list of two or an object", short(other))),
        };
        Ok(Some(size))
    }
}

fn size_from_entries(name: &'static str, entries: &Map<String, Value>) -> Result<Size> {
    let present: Vec<(&str, &Value)> = entries
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let get =
        |key: &str| present.iter().find(|(k, _)| *k == key).map(|(_, value)| edge(name, value)).transpose();
    let pair = |a, b| Ok::<_, Error>(get(a)?.zip(get(b)?).filter(|_| present.len() == 2));
    if let Some((height, width)) = pair("height", "width")? {
        return Ok(Size::Exact { height, width });
    }
    if let Some((shortest_edge, longest_edge)) = pair("shortest_edge", "longest_edge")? {
        return Ok(Size::ShortestLongest { shortest_edge, longest_edge });
    }
    if let Some((max_height, max_width)) = pair("max_height", "max_width")? {
        return Ok(Size::Within { max_height, max_width });
    }
    match get("shortest_edge")? {
        Some(shortest_edge) if present.len() == 1 => Ok(Size::ShortestEdge(shortest_edge)),
        _ => Err(invalid(
            name,
            "height and width, shortest_edge, shortest_edge and longest_edge, or max_height and max_width",
            short(&Value::Object(entries.clone())),
        )),
    }
}

fn edge(name: &'static str, value: &Value) -> Result<usize> {
    let edge = value.as_u64().and_then(|edge| usize::try_from(edge).ok()).filter(|&edge| edge > 0);
    edge.ok_or_else(|| invalid(name, "a whole number above 0", short(value)))
}

/// The text of a value, cut where it would flood the message.
fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Accepted by the reference without any effect on these classes; kept, see [`WITHOUT_EFFECT`].
const KEPT: [&str; 4] = ["do_pad", "pad_size", "data_format", "input_data_format"];

/// The text of a processor with the entries of `overrides` in place of its own, as the arguments of a call go before
/// the options of a processor. `null` leaves an option as it is.
pub(super) fn overridden(text: &str, overrides: &[u8]) -> Result<String> {
    let Value::Object(mut entries) = serde_json::from_str(text)? else {
        return Err(invalid("processor configuration", "a JSON object", text));
    };
    let Entries(overrides) = Entries::parse(overrides)?;
    entries.extend(overrides);
    Ok(Value::Object(entries).to_string())
}

/// Refuses names among the entries of a call that no option has.
pub(super) fn check_known(before: &Map<String, Value>, after: &Map<String, Value>) -> Result<()> {
    let known = |name: &str| before.contains_key(name) || KEPT.contains(&name);
    match after.keys().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(invalid("options of a call", "names of options", format!("{name:?}"))),
    }
}

/// The text of a file: `options` and `entries`, in alphabetical order as the reference writes them.
pub(super) fn write(
    options: &ProcessorOptions,
    mut entries: Map<String, Value>,
    type_name: &str,
    class: &str,
) -> String {
    let mut insert = |name: &str, value: Value| entries.insert(name.to_owned(), value);
    insert(type_name, class.into());
    // The image processor's own default is not written by the reference either, so that old versions see no new key.
    if options.do_convert_rgb {
        insert("do_convert_rgb", true.into());
    }
    if options.numerics != Numerics::default() {
        insert("numerics", options.numerics.name().into());
    }
    insert("do_resize", options.do_resize.into());
    insert("size", size_value(&options.size));
    insert("resample", (options.resample as u64).into());
    insert("do_center_crop", options.do_center_crop.into());
    insert("crop_size", size_value(&options.crop_size));
    insert("do_rescale", options.do_rescale.into());
    insert("rescale_factor", options.rescale_factor.into());
    insert("do_normalize", options.do_normalize.into());
    insert("image_mean", channel_value(&options.image_mean));
    insert("image_std", channel_value(&options.image_std));
    entries.sort_keys();
    format!("{:#}\n", Value::Object(entries))
}

fn size_value(size: &Size) -> Value {
    Value::Object(size.entries().into_iter().map(|(name, edge)| (name.to_owned(), edge.into())).collect())
}

fn channel_value(values: &ChannelValues) -> Value {
    match values {
        ChannelValues::All(value) => (*value).into(),
        ChannelValues::Each(values) => values.clone().into(),
    }
}
