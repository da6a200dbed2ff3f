//! The layout of the original authors: VideoMAE V1 and V2, as trained, before anyone converted it.
//!
//! | there | here |
//! |---|---|
//! | `patch_embed.proj` | `videomae.embeddings.patch_embeddings.projection` |
//! | `blocks.i.norm1`, `.norm2` | `videomae.encoder.layer.i.layernorm_before`, `.layernorm_after` |
//! | `blocks.i.attn.qkv`, `.q_bias`, `.v_bias` | `…attention.attention.{query,key,value}`, three times D rows in this order |
//! | `blocks.i.attn.proj` | `…attention.output.dense` |
//! | `blocks.i.mlp.fc1`, `.fc2` | `…intermediate.dense`, `…output.dense` |
//! | `norm`, `fc_norm`, `head` | `videomae.layernorm`, `fc_norm`, `classifier` |
//! | `decoder.blocks.i` | `decoder.decoder_layers.i` |
//!
//! In front may be `encoder.` (pre-training), `module.`, `model.` or `backbone.` (wrappers), and `_orig_mod.` anywhere
//! (compiled modules).

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use super::{TensorInfo, WeightData, WeightSource};
use crate::{Error, Result, sinusoid_table};

/// A source in the original layout, under the names of transformers. Nothing is copied but a selection of rows.
pub struct OriginalWeights<'s> {
    source: &'s dyn WeightSource,
    pieces: BTreeMap<String, Piece>,
}

/// A tensor of ours as part of one of theirs.
struct Piece {
    stored: String,
    rows: Rows,
}

enum Rows {
    All,
    /// Thirds of `qkv`: 0, 1, 2 are query, key and value.
    Third(usize),
    /// Classes, in a new order.
    Selected(Vec<usize>),
}

impl<'s> OriginalWeights<'s> {
    /// Whether a source is in this layout.
    pub fn recognises(source: &dyn WeightSource) -> bool {
        source.keys().iter().any(|key| unwrapped(key) == "patch_embed.proj.weight")
    }

    /// Renames everything. `head_rows` makes row i of the classifier row `head_rows[i]` of the original one: the
    /// lists that V2 publishes turn its 710 classes into those of Kinetics-400, 600 or 700.
    ///
    /// # Errors
    /// [`Error::Tensor`] for what has no place in a model of transformers and would change the result (layer scale,
    /// cosine attention, learned positions), for two names of one tensor, and for rows that are not there.
    pub fn new(source: &'s dyn WeightSource, head_rows: Option<&[usize]>) -> Result<Self> {
        let mut original = Self { source, pieces: BTreeMap::new() };
        for stored in source.keys() {
            let name = unwrapped(&stored);
            original.refuse_foreign(&stored, &name)?;
            if let Some(scope) = name.strip_suffix(".attn.qkv.weight").and_then(block) {
                for (third, name) in ["query", "key", "value"].into_iter().enumerate() {
                    let key = format!("{scope}.attention.attention.{name}.weight");
                    original.add(key, &stored, Rows::Third(third))?;
                }
            } else if let Some(scope) = name.strip_suffix(".attn.qkv.bias").and_then(block) {
                for (third, name) in ["query", "key", "value"].into_iter().enumerate() {
                    let key = format!("{scope}.attention.attention.{name}.bias");
                    original.add(key, &stored, Rows::Third(third))?;
                }
            } else if name != "pos_embed" && name != "decoder.pos_embed" {
                // What has no name here keeps its own, to be reported as unexpected.
                let key = renamed(&name).unwrap_or_else(|| stored.clone());
                original.add(key, &stored, Rows::All)?;
            }
        }
        if let Some(rows) = head_rows {
            original.select(rows)?;
        }
        Ok(original)
    }

    fn add(&mut self, key: String, stored: &str, rows: Rows) -> Result<()> {
        if let Some(first) = self.pieces.get(&key) {
            let found = format!("it under {} as well", first.stored);
            return Err(self.wrong(stored, format!("one tensor for {key}"), found));
        }
        self.pieces.insert(key, Piece { stored: stored.to_owned(), rows });
        Ok(())
    }

    fn refuse_foreign(&self, stored: &str, name: &str) -> Result<()> {
        let last = name.rsplit('.').next().unwrap_or(name);
        let what = match last {
            "gamma_1" | "gamma_2" => "no layer scale, which transformers lacks",
            "scale" | "logit_scale" => "no cosine attention, which transformers lacks",
            "cls_token" => "no class token, which no VideoMAE has",
            "pos_embed" => return self.check_positions(stored),
            _ => return Ok(()),
        };
        Err(self.wrong(stored, what.to_owned(), "one".to_owned()))
    }

    /// Positions are never learned in a published model; a table that is the fixed one may lie in a file.
    fn check_positions(&self, stored: &str) -> Result<()> {
        // Rounding to half precision moves a sine by less than this.
        const LARGEST: f32 = 1e-3;
        let Some(data) = self.source.get(stored)? else { return Ok(()) };
        let fixed = match *data.shape() {
            [1, tokens, width] | [tokens, width] if width > 0 => {
                let found = data.to_f32()?;
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= LARGEST;
                sinusoid_table(tokens, width).iter().zip(&found).all(close)
            }
            _ => false,
        };
        match fixed {
            true => Ok(()),
            false => {
                let found = format!("other positions, of shape {:?}", data.shape());
                Err(self.wrong(stored, "the fixed sinusoid table, as in transformers".to_owned(), found))
            }
        }
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        let wrong = |source: &dyn WeightSource, key: &str, expected: String, found: String| Error::Tensor {
            file: source.name(),
            tensor: key.to_owned(),
            expected,
            found,
        };
        for key in ["classifier.weight", "classifier.bias"] {
            let Some(piece) = self.pieces.get_mut(key) else {
                let expected = "a head to select rows of".to_owned();
                return Err(wrong(self.source, key, expected, "no such tensor".to_owned()));
            };
            let info = self.source.info(&piece.stored)?;
            let count = info.and_then(|info| info.shape.first().copied()).unwrap_or(0);
            if let Some(row) = rows.iter().find(|&&row| row >= count) {
                let expected = format!("rows below {count} to be selected");
                return Err(wrong(self.source, key, expected, row.to_string()));
            }
            piece.rows = Rows::Selected(rows.to_vec());
        }
        Ok(())
    }

    fn wrong(&self, key: &str, expected: String, found: String) -> Error {
        Error::Tensor { file: self.source.name(), tensor: key.to_owned(), expected, found }
    }

    /// The name of the tensor in the file that holds `key`, with the part of it where it is not the whole.
    fn place(&self, key: &str) -> Option<String> {
        let piece = self.pieces.get(key)?;
        Some(match &piece.rows {
            Rows::All => piece.stored.clone(),
            Rows::Third(third) => format!("{} rows {third}D..{}D", piece.stored, third + 1),
            Rows::Selected(rows) => format!("{} {} selected rows", piece.stored, rows.len()),
        })
    }

    fn third(&self, piece: &Piece, third: usize, rows: usize) -> Result<Range<usize>> {
        match rows.is_multiple_of(3) {
            true => Ok(rows / 3 * third..rows / 3 * (third + 1)),
            false => Err(self.wrong(&piece.stored, "a multiple of three rows".to_owned(), rows.to_string())),
        }
    }
}

impl WeightSource for OriginalWeights<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn keys(&self) -> Vec<String> {
        self.pieces.keys().cloned().collect()
    }

    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        let Some(piece) = self.pieces.get(key) else { return Ok(None) };
        let Some(mut info) = self.source.info(&piece.stored)? else { return Ok(None) };
        if let Some(rows) = info.shape.first_mut() {
            *rows = match &piece.rows {
                Rows::All => *rows,
                Rows::Third(third) => self.third(piece, *third, *rows)?.len(),
                Rows::Selected(selected) => selected.len(),
            };
        }
        Ok(Some(info))
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        let Some(piece) = self.pieces.get(key) else { return Ok(None) };
        let Some(data) = self.source.get(&piece.stored)? else { return Ok(None) };
        match &piece.rows {
            Rows::All => Ok(Some(data)),
            Rows::Third(third) => {
                let rows = data.shape().first().copied().unwrap_or(0);
                let range = self.third(piece, *third, rows)?;
                data.into_rows(range).map(Some)
            }
            Rows::Selected(selected) => {
                let mut shape = data.shape().to_vec();
                let row = data.bytes().len() / shape.first().copied().unwrap_or(1).max(1);
                let bytes: Vec<u8> =
                    selected.iter().flat_map(|&i| &data.bytes()[i * row..(i + 1) * row]).copied().collect();
                if let Some(rows) = shape.first_mut() {
                    *rows = selected.len();
                }
                WeightData::new(&shape, data.dtype(), Cow::<[u8]>::Owned(bytes)).map(Some)
            }
        }
    }

    fn release(&self, data: &WeightData<'_>) {
        self.source.release(data);
    }

    fn stored_name(&self, key: &str) -> String {
        self.place(key).unwrap_or_else(|| key.to_owned())
    }
}

/// The name without what wraps the model.
fn unwrapped(stored: &str) -> String {
    let mut steps: Vec<&str> = stored.split('.').filter(|step| *step != "_orig_mod").collect();
    while steps.len() > 1 && ["module", "model", "backbone"].contains(&steps[0]) {
        steps.remove(0);
    }
    if steps.len() > 1 && steps[0] == "encoder" {
        steps.remove(0);
    }
    steps.join(".")
}

/// Our scope of a block: `blocks.3` or `decoder.blocks.3`.
fn block(name: &str) -> Option<String> {
    let (scope, number) = match name.strip_prefix("decoder.") {
        Some(rest) => ("decoder.decoder_layers", rest.strip_prefix("blocks.")?),
        None => ("videomae.encoder.layer", name.strip_prefix("blocks.")?),
    };
    number.parse::<usize>().ok().map(|number| format!("{scope}.{number}"))
}

/// Our name for one of theirs; `None` for what we do not know.
fn renamed(name: &str) -> Option<String> {
    const INNER: [(&str, &str); 7] = [
        (".norm1.", ".layernorm_before."),
        (".norm2.", ".layernorm_after."),
        (".attn.q_bias", ".attention.attention.query.bias"),
        (".attn.v_bias", ".attention.attention.value.bias"),
        (".attn.proj.", ".attention.output.dense."),
        (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    ];
    const OUTER: [(&str, &str); 7] = [
        ("patch_embed.proj.", "videomae.embeddings.patch_embeddings.projection."),
        ("norm.", "videomae.layernorm."),
        ("fc_norm.", "fc_norm."),
        ("head.", "classifier."),
        ("decoder.norm.", "decoder.norm."),
        ("decoder.head.", "decoder.head."),
        ("encoder_to_decoder.", "encoder_to_decoder."),
    ];
    if name == "mask_token" {
        return Some(name.to_owned());
    }
    for (theirs, ours) in INNER {
        if let Some((scope, rest)) = name.split_once(theirs)
            && let Some(scope) = block(scope)
        {
            return Some(format!("{scope}{ours}{rest}"));
        }
    }
    OUTER.iter().find_map(|(theirs, ours)| name.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_come_off_in_any_order() {
        for stored in [
            "blocks.0.norm1.weight",
            "encoder.blocks.0.norm1.weight",
            "module.encoder.blocks.0.norm1.weight",
            "_orig_mod.encoder.blocks.0.norm1.weight",
            "module._orig_mod.blocks.0.norm1.weight",
            "model.blocks.0._orig_mod.norm1.weight",
            "backbone.blocks.0.norm1.weight",
        ] {
            let key = "videomae.encoder.layer.0.layernorm_before.weight";
            assert_eq!(renamed(&unwrapped(stored)).as_deref(), Some(key), "{stored}");
        }
        let decoder = renamed(&unwrapped("module.decoder.blocks.11.attn.v_bias"));
        assert_eq!(decoder.as_deref(), Some("decoder.decoder_layers.11.attention.attention.value.bias"));
        for unknown in ["blocks.x.norm1.weight", "step", "encoder", "heads.weight", "blocks.0.norm3.weight"] {
            assert_eq!(renamed(&unwrapped(unknown)), None, "{unknown}");
        }
    }
}
