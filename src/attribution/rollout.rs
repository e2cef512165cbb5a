//! Attention rollout: which tokens the class token has looked at, through all blocks.

use burn::tensor::{Tensor, activation};

use super::cam::ClassActivationMap;
use super::saliency::scores_of;
use super::{Attribution, refuse_non_finite_maps};
use crate::gradient::Gradient;
use crate::model::taps::tokens::{ATTENTION, CLASS};
use crate::model::{Layer, Model, Taps, run};
use crate::target::Target;
use crate::{Error, Result};

/// Where in the image a transformer's class token has looked, through the attention of all blocks.
///
/// From block to block a matrix `R` over the tokens, at first the identity, keeps where each of them got its information
/// from. With the attention maps `A_h` of the heads `h` of a block, `[queries, keys]`, and the gradients `∇A_h` of the
/// target's score with respect to them:
///
/// | | the next `R` | knows the target |
/// | --- | --- | --- |
/// | [`new`](Self::new) | `(½ mean_h(A_h) + ½ I) · R` | no |
/// | [`by_gradient`](Self::by_gradient) | `R + mean_h(max(∇A_h ⊙ A_h, 0)) · R` | yes |
///
/// The map is the row of the class token in the last `R`, at the places of the grid; of a transformer without a class
/// token, the mean of all rows. It is never negative: neither form says what speaks against a target.
///
/// Rollout takes the attention for all that moves information: what a token's value holds, what the dense layers do and
/// whether the score cares are left out, so the plain form is the same for every class, and shows places that are looked at
/// by all tokens for no reason of the image. The form by gradient sees the score.
///
/// The attention maps are the layers that the [table](crate::Model::layers) calls `attention map`, all of them before the
/// target, and they must be over the same tokens. In a network from a file they are the softmaxes over square maps, unless
/// attention is a single operation there. Costs one forward pass, the form by gradient a backward pass as well, and the
/// memory of all attention maps.
///
/// ```
/// use vis::{Target, attribution::AttentionRollout};
/// # use vis::Model;
/// # fn main() -> vis::Result<()> {
/// let model = vis::model::VisionTransformer::with_random_weights(0, &Default::default())?;
/// # let image = vis::random::noise([1, 3, 224, 224], (0.0, 255.0), 0, 0, &model.device());
/// let rollout = AttentionRollout::by_gradient().map(&model, image, &Target::class(2))?;
/// assert_eq!(rollout.map.dims(), [1, 1, 14, 14]);
/// assert_eq!(rollout.layer, "blocks.11.attn.softmax");
/// # Ok(())
/// # }
/// ```
///
/// Sources: Abnar & Zuidema 2020, *Quantifying Attention Flow in Transformers*, section 3; Chefer, Gur & Wolf 2021, *Generic
/// Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers*, equations 5 and 6.
#[derive(Debug, Clone, Default)]
pub struct AttentionRollout {
    by_gradient: bool,
}

/// The places of the tokens of a transformer.
struct Places {
    /// Tokens before the grid.
    before: usize,
    grid: [usize; 2],
}

impl AttentionRollout {
    /// Rollout of the attention alone, the same for every target: the target only says where the network ends.
    pub fn new() -> Self {
        Self { by_gradient: false }
    }

    /// Rollout of the attention weighted by the gradient of the target's score.
    #[doc(alias = "Transformer-MM-Explainability")]
    pub fn by_gradient() -> Self {
        Self { by_gradient: true }
    }

    /// The map of each image at the grid of the tokens, with the name of the last attention that went into it.
    ///
    /// # Errors
    ///
    /// As [`Attribution::attribute`]; [`Error::InvalidParameter`] for a network without attention maps before the target,
    /// or with maps over different tokens, and where no layer shows the grid of the tokens.
    pub fn map(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<ClassActivationMap> {
        let images = images.inner();
        let [batch, _, height, width] = images.dims();
        let target = target.resolved(model, &images)?;
        let (layers, places) = attention(model, &target)?;
        let maps = if self.by_gradient {
            let score = target.goal()?.into();
            let at = Gradient::new(model, &score).evaluate_each(images, &layers)?;
            scores_of(&at.0, &target)?;
            at.1.into_iter().map(|(map, gradient)| mean_of_heads(activation::relu(map * gradient))).collect()
        } else {
            let mut taps = Taps::new().record(&layers);
            run(model, images, &mut taps)?;
            let maps = layers.iter().map(|layer| Ok(mean_of_heads(taps.activation(layer)?)));
            maps.collect::<Result<Vec<_>>>()?
        };
        let tokens = places.before + places.grid[0] * places.grid[1];
        let identity = Tensor::<2>::eye(tokens, &model.device()).unsqueeze::<3>();
        let mut rollout = identity.clone().repeat_dim(0, batch);
        for map in maps {
            let step = if self.by_gradient { map + identity.clone() } else { (map + identity.clone()) * 0.5 };
            rollout = step.matmul(rollout);
        }
        let row = match places.before {
            0 => rollout.mean_dim(1),
            _ => rollout.narrow(1, 0, 1),
        };
        let [rows, columns] = places.grid;
        let map = row.narrow(2, places.before, rows * columns).reshape([batch, 1, rows, columns]);
        refuse_non_finite_maps("the map of image", &map)?;
        let layer = layers.last().cloned().unwrap_or_default();
        Ok(ClassActivationMap::new(map, layer, [height, width]))
    }
}

/// `[batch, heads, tokens, tokens]` to `[batch, tokens, tokens]`.
fn mean_of_heads(map: Tensor<4>) -> Tensor<3> {
    map.mean_dim(1).squeeze_dim(1)
}

/// The layers of attention before the target, and what their tokens are.
fn attention(model: &dyn Model, target: &Target) -> Result<(Vec<String>, Places)> {
    const WHAT: &str = "the network of an attention rollout";
    let table = model.layers()?;
    let names = target.goal()?.layer_names();
    let end = table.iter().rposition(|layer| names.contains(&layer.name)).unwrap_or(table.len());
    let maps: Vec<&Layer> = table[..end].iter().filter(|layer| layer.kind == ATTENTION).collect();
    let Some(first) = maps.first() else {
        let expected = "a transformer that shows its attention maps";
        return Err(Error::invalid(WHAT, expected, "one without such a layer before the target"));
    };
    let [_, tokens, _] = first.shape;
    if let Some(other) = maps.iter().find(|layer| layer.shape[1..] != [tokens, tokens]) {
        let [_, queries, keys] = other.shape;
        let expected =
            format!("one with attention over the same tokens in every block: `{}` has {tokens}", first.name);
        return Err(Error::invalid(
            WHAT,
            expected,
            format!("one where `{}` is {queries}×{keys}", other.name),
        ));
    }
    // A layer of tokens whose grid and class token are as many as the attention is over.
    let grids = table.iter().filter_map(|layer| {
        let [_, rows, columns] = layer.shape;
        let class = format!("{}{CLASS}", layer.name);
        let before = table.iter().find(|layer| layer.name == class).map_or(0, |layer| layer.shape[1]);
        let is_map = layer.kind != ATTENTION && rows * columns > 1;
        (is_map && before + rows * columns == tokens).then_some(Places { before, grid: [rows, columns] })
    });
    let Some(places) = grids.max_by_key(|places| places.before) else {
        let expected = format!("one with a layer that shows the grid of its {tokens} tokens");
        return Err(Error::invalid(WHAT, expected, "one without"));
    };
    Ok((maps.into_iter().map(|layer| layer.name.clone()).collect(), places))
}

impl Attribution for AttentionRollout {
    fn name(&self) -> String {
        if self.by_gradient { "attention rollout by gradient".into() } else { "attention rollout".into() }
    }

    fn attribute(&self, model: &dyn Model, images: Tensor<4>, target: &Target) -> Result<Tensor<4>> {
        Ok(self.map(model, images, target)?.upsampled())
    }
}
