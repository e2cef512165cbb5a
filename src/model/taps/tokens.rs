//! The layers of transformers: tokens as a map, and attention.

use burn::tensor::Tensor;

use super::{Record, Stop, Taps};
use crate::Error;

/// What is appended to the name of a layer of tokens, for those that stand before the grid.
pub(crate) const CLASS: &str = ".class";
/// What the table of layers calls the weights of attention.
pub(crate) const ATTENTION: &str = "attention map";

impl Taps {
    /// Shows the tokens of a transformer, `[batch, tokens, channels]`, as the map of their grid of `[rows, columns]`; use
    /// what comes back from here on.
    ///
    /// The layer is `[batch, channels, rows, columns]`, so class activation maps, activation maximisation and all else take
    /// it as they take a convolution. Tokens before the grid, such as a class token or registers, are a layer apart,
    /// `name.class`, of shape `[batch, channels, tokens before, 1]`.
    ///
    /// ```
    /// use burn::tensor::Tensor;
    /// use vis::model::Taps;
    /// let mut taps = Taps::new().record_all();
    /// let tokens = Tensor::<3>::ones([2, 1 + 3 * 4, 8], &Default::default());
    /// let tokens = taps.tokens("block", tokens, [3, 4]).unwrap();
    /// assert_eq!(tokens.dims(), [2, 13, 8]);
    /// assert_eq!(taps.activation("block")?.dims(), [2, 8, 3, 4]);
    /// assert_eq!(taps.activation("block.class")?.dims(), [2, 8, 1, 1]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stop`] when nothing deeper is wanted, or when there are fewer tokens than the grid has places.
    pub fn tokens(
        &mut self,
        name: &str,
        x: Tensor<3>,
        [rows, columns]: [usize; 2],
    ) -> Result<Tensor<3>, Stop> {
        let [batch, tokens, channels] = x.dims();
        let places = rows * columns;
        let Some(before) = tokens.checked_sub(places).filter(|_| places > 0) else {
            let expected = format!(
                "[batch, {places} or more, channels], for a grid of {rows} rows and {columns} columns"
            );
            let what = format!("the tokens of `{name}`");
            return Err(self.fail(Error::Shape { what, expected, got: vec![batch, tokens, channels] }));
        };
        let class = format!("{name}{CLASS}");
        if !self.concerns(name) && (before == 0 || !self.concerns(&class)) {
            self.pass(name);
            if before > 0 {
                self.pass(&class);
            }
            return Ok(x);
        }
        let shown = self.seen.len();
        let described = self.described;
        let grid = x.clone().narrow(1, before, places).swap_dims(1, 2);
        let grid = self.layer(name, grid.reshape([batch, channels, rows, columns]))?;
        self.token_maps.extend(self.seen.get(shown).map(|name| (name.clone(), channels)));
        let grid_batch = grid.dims()[0];
        let grid = grid.reshape([grid_batch, channels, places]).swap_dims(1, 2);
        if before == 0 {
            return Ok(grid);
        }
        // The parameters were counted with the grid.
        self.described = (described.0, 0);
        self.aside = true;
        let first = x.narrow(1, 0, before).swap_dims(1, 2).reshape([batch, channels, before, 1]);
        let first = self.layer(&class, first)?;
        let first_batch = first.dims()[0];
        let first = first.reshape([first_batch, channels, before]).swap_dims(1, 2);
        // One of them may have been replaced by several.
        let batch = first_batch.max(grid_batch);
        let widened =
            |x: Tensor<3>, of: usize| if of == batch { x } else { x.repeat_dim(0, batch / of.max(1)) };
        Ok(Tensor::cat(vec![widened(first, first_batch), widened(grid, grid_batch)], 1))
    }

    /// Shows the weights of self-attention, `[batch, heads, queries, keys]`, each row of which sums to 1; use what comes
    /// back from here on. [`AttentionRollout`](crate::attribution::AttentionRollout) reads them.
    ///
    /// ```
    /// use burn::tensor::Tensor;
    /// use vis::model::Taps;
    /// let mut taps = Taps::new().record(["attention"]);
    /// let weights = Tensor::<4>::full([1, 2, 5, 5], 0.2, &Default::default());
    /// assert!(taps.attention("attention", weights).is_err()); // the run may end: nothing deeper is wanted
    /// assert_eq!(taps.activation("attention")?.dims(), [1, 2, 5, 5]);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Stop`] when nothing deeper is wanted.
    pub fn attention(&mut self, name: &str, weights: Tensor<4>) -> Result<Tensor<4>, Stop> {
        self.describe(ATTENTION, 0);
        self.aside = true; // its positions are pairs of tokens
        self.layer(name, weights)
    }

    /// The layers of tokens met with the number of their channels, in order, as far as they were looked at.
    pub(crate) fn token_maps(&self) -> &[(String, usize)] {
        &self.token_maps
    }

    /// Whether anything is to be done with a layer.
    fn concerns(&self, name: &str) -> bool {
        self.record != Record::Named
            || self.last_map.is_some()
            || self.times.contains_key(name) // its number is found where it is shown
            || self.wanted.iter().any(|wanted| wanted == name)
            || self.edits.iter().any(|(layer, _)| layer == name)
    }
}
