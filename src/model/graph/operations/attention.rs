//! Scaled dot-product attention with heads, masks and caches.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};

use super::super::value::{Data, Real, Value, broadcast, broadcast_indices};
use super::linear::product;
use super::{Inputs, Outcome, Scope};

/// Attention `softmax(Q Kᵀ · scale + bias) V`.
///
/// Inputs: queries, keys, values, a mask, past keys, past values, and how many keys of each image count. Outputs: the
/// result, the keys and the values with the past ones, and the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Attention {
    pub(in super::super) causal: bool,
    pub(in super::super) query_heads: Option<usize>,
    pub(in super::super) key_heads: Option<usize>,
    pub(in super::super) scale: Option<f32>,
    /// Bounds the scores by `cap · tanh(score / cap)`.
    pub(in super::super) cap: f32,
    /// Which scores are given: bare, capped, with the mask, after softmax.
    pub(in super::super) scores: i64,
    /// How far back and ahead of itself a query looks.
    pub(in super::super) window: (Option<usize>, Option<usize>),
}

impl Attention {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome {
        let flat = inputs.get(0)?.shape().len() == 3;
        let query = heads(inputs.real(0)?, self.query_heads)?;
        let (mut key, mut value) =
            (heads(inputs.real(1)?, self.key_heads)?, heads(inputs.real(2)?, self.key_heads)?);
        let past = inputs.optional_real(4)?;
        let before = past.as_ref().map_or(0, |past| past.shape().get(2).copied().unwrap_or(0));
        if let (Some(past_key), Some(past_value)) = (past, inputs.optional_real(5)?) {
            (key, value) = (after(&past_key, &key, scope)?, after(&past_value, &value, scope)?);
        }
        let (present_key, present_value) = (key.clone(), value.clone());
        let (batch, query_heads) = (query.shape()[0], query.shape()[1]);
        (key, value) = (repeated(&key, query_heads, scope)?, repeated(&value, query_heads, scope)?);
        let (length, keys, width) = (query.shape()[2], key.shape()[2], query.shape()[3]);
        if key.shape()[0] != batch || key.shape()[3] != width || value.shape()[..3] != key.shape()[..3] {
            return Err(format!(
                "keys of shape {:?} don't fit queries of shape {:?}",
                key.shape(),
                query.shape()
            ));
        }
        let scale = self.scale.unwrap_or(1.0 / (width as f32).sqrt());
        let mut scores = product(&query, &key.transpose(&[0, 1, 3, 2]), scope)?;
        scores = scores.map(|scores| Dispatch::float_mul_scalar(scores, scale.into()));
        if self.cap > 0.0 {
            scores = scores.map(|scores| {
                let tanh = Dispatch::float_tanh(Dispatch::float_div_scalar(scores, self.cap.into()));
                Dispatch::float_mul_scalar(tanh, self.cap.into())
            });
        }
        let mut shown = scores.clone();
        let mut weights = scores.clone();
        let mut open = None;
        if let Some((bias, rows)) = self.bias(inputs, [batch, query_heads, length, keys], before, scope)? {
            let masked = scores.zip(&bias, Dispatch::float_add)?;
            if self.scores == 2 {
                shown = masked.clone();
            }
            // A row without an open key gets equal weights here, and none below.
            weights = masked;
            open = Some(rows);
        }
        let shape = weights.shape().to_vec();
        weights = Real::new(Dispatch::softmax(weights.tensor(), 3), shape);
        if let Some(open) = &open {
            weights = weights.zip(open, Dispatch::float_mul)?;
        }
        if self.scores == 3 {
            shown = weights.clone();
        }
        let mut result = product(&weights, &value, scope)?;
        if flat {
            let turned = result.transpose(&[0, 2, 1, 3]);
            let shape = [batch, length, turned.shape()[2] * turned.shape()[3]];
            result = turned.reshape(&shape)?;
        }
        Ok([result, present_key, present_value, shown].map(Value::from).to_vec())
    }

    /// What is added to the scores, 0 or −∞ where it is a mask, and 1 for rows with an open key and 0 for others; their
    /// bias is 0.
    fn bias(
        &self,
        inputs: Inputs,
        [batch, heads, length, keys]: [usize; 4],
        before: usize,
        scope: &Scope,
    ) -> Outcome<Option<(Real, Real)>> {
        let mask = inputs.optional(3).map(Value::host);
        let counted = inputs.optional_ints(6)?;
        let windowed = self.window.0.is_some() || self.window.1.is_some();
        if mask.is_none() && counted.is_none() && !self.causal && !windowed {
            return Ok(None);
        }
        // Everything but a mask by heads is the same for all heads.
        let mask_shape = mask.as_ref().map_or(Vec::new(), |mask| mask.shape.clone());
        let by_head = mask_shape.len() > 2 && mask_shape[mask_shape.len() - 3] > 1;
        let shape = [batch, if by_head { heads } else { 1 }, length, keys];
        let elements = scope.fits(&shape)?;
        let mut bias = vec![0f32; elements];
        if let Some(mask) = &mask {
            let values = match &mask.data {
                Data::Bool(values) => {
                    values.iter().map(|open| if *open { 0.0 } else { f32::NEG_INFINITY }).collect()
                }
                _ => mask.to_floats(),
            };
            let covered = *mask_shape.last().ok_or("a mask needs an axis")?;
            let covered = if covered == 1 { keys } else { covered };
            let within = [shape[0], shape[1], shape[2], covered];
            if covered > keys || broadcast(&within, &mask_shape)? != within {
                return Err(format!("a mask of shape {mask_shape:?} does not fit scores of shape {shape:?}"));
            }
            bias.fill(f32::NEG_INFINITY);
            for (place, from) in broadcast_indices(&mask_shape, &within).into_iter().enumerate() {
                bias[place / covered * keys + place % covered] = values[from];
            }
        }
        if counted.as_ref().is_some_and(|counted| counted.len() != batch) {
            return Err(format!("the numbers of keys are not {batch}"));
        }
        for (place, bias) in bias.iter_mut().enumerate() {
            let (image, row, key) = (place / (shape[1] * length * keys), place / keys % length, place % keys);
            let count = counted.as_ref().map(|counted| counted[image]);
            let offset = match count {
                Some(count) if before == 0 => count - length as i64,
                _ => before as i64,
            };
            let distance = row as i64 + offset - key as i64;
            let beyond =
                |bound: Option<usize>, distance: i64| bound.is_some_and(|bound| distance > bound as i64);
            let closed = (self.causal && distance < 0)
                || beyond(self.window.0, distance)
                || beyond(self.window.1, -distance)
                || count.is_some_and(|count| key as i64 >= count);
            if closed {
                *bias = f32::NEG_INFINITY;
            }
        }
        let mut open = vec![1f32; elements / keys];
        for (row, open) in bias.chunks_mut(keys).zip(&mut open) {
            if row.iter().all(|bias| *bias == f32::NEG_INFINITY) {
                *open = 0.0;
                if self.scores != 2 {
                    row.fill(0.0);
                }
            }
        }
        let rows = [shape[0], shape[1], shape[2], 1];
        Ok(Some((
            Real::from_host(shape.to_vec(), bias, scope.device)?,
            Real::from_host(rows.to_vec(), open, scope.device)?,
        )))
    }
}

/// `[batch, heads, length, width]` of what may have its heads in the last axis.
fn heads(real: Real, count: Option<usize>) -> Outcome<Real> {
    match *real.shape() {
        [_, _, _, _] => Ok(real),
        [batch, length, width] => {
            let count = count.filter(|count| *count > 0 && width % count == 0);
            let count = count.ok_or_else(|| format!("{width} numbers can't be shared among the heads"))?;
            let apart = real.reshape(&[batch, length, count, width / count])?.transpose(&[0, 2, 1, 3]);
            Ok(Real::new(apart.tensor(), apart.shape().to_vec()))
        }
        ref shape => Err(format!("it takes rank 3 or 4, not {shape:?}")),
    }
}

fn after(past: &Real, new: &Real, scope: &Scope) -> Outcome<Real> {
    let (old, more) = (past.shape(), new.shape());
    if old.len() != 4 || old[..2] != more[..2] || old[3] != more[3] {
        return Err(format!("a past of shape {old:?} does not go with {more:?}"));
    }
    let shape = vec![old[0], old[1], old[2] + more[2], old[3]];
    scope.fits(&shape)?;
    Ok(Real::new(Dispatch::float_cat(vec![past.tensor(), new.tensor()], 2), shape))
}

/// Keys or values for as many heads as the queries have.
fn repeated(real: &Real, heads: usize, scope: &Scope) -> Outcome<Real> {
    let &[batch, own, length, width] = real.shape() else { return Err("it takes rank 4".into()) };
    if own == heads {
        return Ok(real.clone());
    }
    if own == 0 || !heads.is_multiple_of(own) {
        return Err(format!("{heads} heads of queries don't share {own} of keys"));
    }
    scope.fits(&[batch, heads, length, width])?;
    let wide =
        real.reshape(&[batch, own, 1, length, width])?.expand(&[batch, own, heads / own, length, width]);
    wide.reshape(&[batch, heads, length, width])
}
