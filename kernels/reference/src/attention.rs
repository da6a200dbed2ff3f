//! `attention` and `attention_probabilities`: `softmax(scale·q·kᵀ)·v` for each sample and head, and the
//! gradient by qkv.

use std::borrow::Cow;

use kernels_backend::{
    AttentionOptions, Dropout, Result, Tensor, WeightFormat, Write, check, check::AttentionDims,
};

use crate::{
    arithmetic::{add_scaled, dot, softmax},
    quantize,
    storage::{self, FloatsMut},
};

pub(crate) fn attention(
    qkv: &Tensor,
    options: &AttentionOptions,
    context: &mut Tensor,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "attention";
    let dims = check::attention(OP, qkv, options, Some(context), stats.as_deref())?;
    let elements = rounded(storage::floats(OP, "qkv", qkv)?, dims, options.precision);
    let qkv = Qkv { elements: &elements, dims };
    let mut context = storage::floats_mut(OP, "context", context)?;
    let mut stats = stats.map(|stats| storage::floats_mut(OP, "stats", stats)).transpose()?;

    for query in Query::all(dims) {
        let (mut probabilities, logsumexp) = qkv.probabilities(query, options.scale);
        drop_out(&mut probabilities, options.dropout, query.first_probability(dims));
        let mut sum = vec![0.0; dims.head_dim];
        for (key, &p) in probabilities.iter().enumerate() {
            add_scaled(&mut sum, p, qkv.v(query.at(key)));
        }
        context.store_all(query.context(dims), Write::Replace, sum);
        if let Some(stats) = &mut stats {
            stats.store(query.stat(dims), Write::Replace, logsumexp);
        }
    }
    Ok(())
}

pub(crate) fn attention_probabilities(
    qkv: &Tensor,
    options: &AttentionOptions,
    probabilities: &mut Tensor,
) -> Result<()> {
    const OP: &str = "attention_probabilities";
    let dims = check::attention(OP, qkv, options, None, None)?;
    let AttentionDims { batch, tokens, num_heads, .. } = dims;
    check::shape(OP, "probabilities", probabilities, &[batch, num_heads, tokens, tokens])?;
    let elements = rounded(storage::floats(OP, "qkv", qkv)?, dims, options.precision);
    let qkv = Qkv { elements: &elements, dims };
    let mut out = storage::floats_mut(OP, "probabilities", probabilities)?;

    for query in Query::all(dims) {
        let (mut probabilities, _) = qkv.probabilities(query, options.scale);
        drop_out(&mut probabilities, options.dropout, query.first_probability(dims));
        out.store_all(query.first_probability(dims), Write::Replace, probabilities);
    }
    Ok(())
}

/// With `p` the probabilities, `m` the dropout factors, `o` the context and `do` its gradient:
/// `dvⱼ = Σᵢ mᵢⱼ·pᵢⱼ·doᵢ`, `dsᵢⱼ = pᵢⱼ·(mᵢⱼ·doᵢ·vⱼ − doᵢ·oᵢ)`, `dqᵢ = scale·Σⱼ dsᵢⱼ·kⱼ`,
/// `dkⱼ = scale·Σᵢ dsᵢⱼ·qᵢ` (Dao et al., 2022, "FlashAttention", appendix B.2).
///
/// The given `stats` and `context` are used although both could be computed again, so that a model that passes
/// those of another layer gets gradients that are visibly wrong.
pub(crate) fn attention_backward(
    qkv: &Tensor,
    options: &AttentionOptions,
    stats: &Tensor,
    context: &Tensor,
    dcontext: &Tensor,
    dqkv: &mut Tensor,
) -> Result<()> {
    const OP: &str = "attention_backward";
    let dims = check::attention(OP, qkv, options, Some(context), Some(stats))?;
    check::same_shape(OP, "context gradient", context, dcontext)?;
    check::same_shape(OP, "qkv gradient", qkv, dqkv)?;
    let qkv = Qkv { elements: storage::floats(OP, "qkv", qkv)?, dims };
    let stats = storage::floats(OP, "stats", stats)?;
    let context = storage::floats(OP, "context", context)?;
    let dcontext = storage::floats(OP, "context gradient", dcontext)?;
    let mut dqkv = storage::floats_mut(OP, "qkv gradient", dqkv)?;

    let mut gradients = QkvGradients { sums: vec![0.0; qkv.elements.len()], dims };
    for query in Query::all(dims) {
        let row = query.context(dims)..query.context(dims) + dims.head_dim;
        let (o, d_o) = (&context[row.clone()], &dcontext[row]);
        let do_o = dot(d_o, o);
        let logsumexp = f64::from(stats[query.stat(dims)]);
        for (j, score) in qkv.scores(query, options.scale).into_iter().enumerate() {
            let key = query.at(j);
            let p = libm::exp(score - logsumexp);
            let m = factor(options.dropout, query.first_probability(dims) + j);
            add_scaled(gradients.of(V, key), m * p, d_o);
            let ds = p * (m * dot(d_o, qkv.v(key)) - do_o) * f64::from(options.scale);
            add_scaled(gradients.of(Q, query), ds, qkv.k(key));
            add_scaled(gradients.of(K, key), ds, qkv.q(query));
        }
    }
    gradients.store(&mut dqkv);
    Ok(())
}

/// The place of q, k and v among the three parts of a row.
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;

/// One token of one head of one sample.
#[derive(Clone, Copy)]
struct Query {
    sample: usize,
    head: usize,
    token: usize,
}

impl Query {
    fn all(dims: AttentionDims) -> impl Iterator<Item = Self> {
        (0..dims.batch * dims.num_heads * dims.tokens).map(move |i| Self {
            sample: i / dims.tokens / dims.num_heads,
            head: i / dims.tokens % dims.num_heads,
            token: i % dims.tokens,
        })
    }

    /// Another token of the same head.
    fn at(self, token: usize) -> Self {
        Self { token, ..self }
    }

    /// The flat index of its first element in `(B, N, 3, h, d)`.
    fn qkv(self, part: usize, dims: AttentionDims) -> usize {
        let row = (self.sample * dims.tokens + self.token) * 3 + part;
        (row * dims.num_heads + self.head) * dims.head_dim
    }

    /// The flat index of its first element in `(B, N, h, d)`.
    fn context(self, dims: AttentionDims) -> usize {
        ((self.sample * dims.tokens + self.token) * dims.num_heads + self.head) * dims.head_dim
    }

    /// Its flat index in `(B, h, N)`.
    fn stat(self, dims: AttentionDims) -> usize {
        (self.sample * dims.num_heads + self.head) * dims.tokens + self.token
    }

    /// The flat index of its first probability in `(B, h, N, N)`.
    fn first_probability(self, dims: AttentionDims) -> usize {
        self.stat(dims) * dims.tokens
    }
}

/// q, k and v in the precision of the layers beside them. Of int8, keys lose the mean over the tokens of their head first,
/// summed in f64 from the first token on.
fn rounded(qkv: &[f32], dims: AttentionDims, precision: WeightFormat) -> Cow<'_, [f32]> {
    if precision != WeightFormat::Int8 {
        return qkv.into();
    }
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let mut rounded = qkv.to_vec();
    for head in (0..batch * num_heads).map(|i| Query { sample: i / num_heads, head: i % num_heads, token: 0 })
    {
        let mut means = vec![0.0; head_dim];
        for token in 0..tokens {
            let start = head.at(token).qkv(K, dims);
            add_scaled(&mut means, 1.0, &qkv[start..start + head_dim]);
        }
        means.iter_mut().for_each(|mean| *mean /= tokens as f64);
        for token in 0..tokens {
            let [q, k] = [Q, K].map(|part| head.at(token).qkv(part, dims));
            let query = quantize::round_vector(&qkv[q..q + head_dim]);
            rounded[q..q + head_dim].copy_from_slice(&query);
            let centred: Vec<_> =
                qkv[k..k + head_dim].iter().zip(&means).map(|(k, &m)| k - m as f32).collect();
            rounded[k..k + head_dim].copy_from_slice(&quantize::round_vector(&centred));
        }
    }
    rounded.into()
}

struct Qkv<'a> {
    elements: &'a [f32],
    dims: AttentionDims,
}

impl<'a> Qkv<'a> {
    fn part(&self, part: usize, at: Query) -> &'a [f32] {
        let start = at.qkv(part, self.dims);
        &self.elements[start..start + self.dims.head_dim]
    }

    fn q(&self, at: Query) -> &'a [f32] {
        self.part(Q, at)
    }

    fn k(&self, at: Query) -> &'a [f32] {
        self.part(K, at)
    }

    fn v(&self, at: Query) -> &'a [f32] {
        self.part(V, at)
    }

    /// `scale·q·kⱼ` for every token j.
    fn scores(&self, query: Query, scale: f32) -> Vec<f64> {
        let q = self.q(query);
        (0..self.dims.tokens).map(|key| dot(q, self.k(query.at(key))) * f64::from(scale)).collect()
    }

    /// The softmax of the scores, and the logarithm of its denominator.
    fn probabilities(&self, query: Query, scale: f32) -> (Vec<f64>, f64) {
        let mut scores = self.scores(query, scale);
        let logsumexp = softmax(&mut scores);
        (scores, logsumexp)
    }
}

/// Sums in the order of qkv.
struct QkvGradients {
    sums: Vec<f64>,
    dims: AttentionDims,
}

impl QkvGradients {
    fn of(&mut self, part: usize, at: Query) -> &mut [f64] {
        let start = at.qkv(part, self.dims);
        &mut self.sums[start..start + self.dims.head_dim]
    }

    fn store(self, dqkv: &mut FloatsMut<'_>) {
        dqkv.store_all(0, Write::Replace, self.sums);
    }
}

fn drop_out(probabilities: &mut [f64], dropout: Option<Dropout>, first: usize) {
    for (i, p) in probabilities.iter_mut().enumerate() {
        *p *= factor(dropout, first + i);
    }
}

fn factor(dropout: Option<Dropout>, index: usize) -> f64 {
    dropout.map_or(1.0, |dropout| f64::from(dropout.factor(index as u64)))
}

#[cfg(test)]
mod tests;
