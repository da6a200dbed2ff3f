//! Writes a `config.json` that transformers 4 and 5 both read.

use kernels_backend::DType;
use serde_json::{Map, Value, json};

use super::{Size, VideoMAEConfig};

/// Names of element types in `config.json`.
pub(super) const DTYPES: [(&str, DType); 3] =
    [("float32", DType::F32), ("float16", DType::F16), ("bfloat16", DType::Bf16)];

impl VideoMAEConfig {
    /// The text of a `config.json`, keys sorted, every field spelled out.
    ///
    /// The bias flag is written as `qkv_bias`: transformers 4 knows no other name and 5 takes both. The number
    /// of classes is not written; both generations derive it from `id2label`.
    pub fn to_json(&self) -> String {
        let mut map = self.extra.clone();
        map.extend(self.own_fields());
        map.sort_keys();
        // The alternate form indents by two spaces.
        format!("{:#}\n", Value::Object(map))
    }

    fn own_fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("model_type", json!("videomae"));
        put("image_size", side(self.image_size));
        put("patch_size", side(self.patch_size));
        put("num_channels", json!(self.num_channels));
        put("num_frames", json!(self.num_frames));
        put("tubelet_size", json!(self.tubelet_size));
        put("hidden_size", json!(self.hidden_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("intermediate_size", json!(self.intermediate_size));
        put("hidden_act", json!(self.hidden_act.name()));
        put("hidden_dropout_prob", json!(self.hidden_dropout_prob));
        put("attention_probs_dropout_prob", json!(self.attention_probs_dropout_prob));
        put("initializer_range", json!(self.initializer_range));
        put("layer_norm_eps", json!(self.layer_norm_eps));
        put("qkv_bias", json!(self.qkv_bias));
        put("use_mean_pooling", json!(self.use_mean_pooling));
        put("decoder_num_attention_heads", json!(self.decoder_num_attention_heads));
        put("decoder_hidden_size", json!(self.decoder_hidden_size));
        put("decoder_num_hidden_layers", json!(self.decoder_num_hidden_layers));
        put("decoder_intermediate_size", json!(self.decoder_intermediate_size));
        put("norm_pix_loss", json!(self.norm_pix_loss));
        put("id2label", self.id2label.iter().map(|(id, label)| (id.to_string(), json!(label))).collect());
        put("label2id", self.label2id.iter().map(|(label, id)| (label.clone(), json!(id))).collect());
        put("output_hidden_states", json!(self.output_hidden_states));
        put("output_attentions", json!(self.output_attentions));
        if let Some(problem_type) = self.problem_type {
            put("problem_type", json!(problem_type.name()));
        }
        if let Some((name, _)) = DTYPES.iter().find(|(_, dtype)| Some(*dtype) == self.dtype) {
            put("dtype", json!(name));
        }
        if !self.architectures.is_empty() {
            put("architectures", json!(self.architectures));
        }
        fields
    }
}

fn side(size: Size) -> Value {
    if size.height == size.width { json!(size.height) } else { json!([size.height, size.width]) }
}
