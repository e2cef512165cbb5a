//! A run, step by step.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use ndarray::{Axis, s};

use super::callback::{Callback, Step};
use super::views::Views;
use super::{GradientModifier, History, Minimized, Normalization, Update};
use crate::gradient::Gradient;
use crate::losses::Losses;
use crate::model::{Model, passes};
use crate::parametrization::Parametrization;
use crate::progress::Watcher;
use crate::{Error, Result, Rule};

/// A run in progress: an iterator over its steps.
///
/// Ends after `max_iter` steps, after an error, or when a callback breaks it off;
/// [`finish`](Self::finish) gives the result so far at any time.
pub struct Steps<'a> {
    run: Run<'a>,
    index: usize,
    over: bool,
    best: Option<Best>,
    /// The largest magnitude of each image's gradient over all steps.
    steepest: Option<Tensor<1>>,
    /// The running mean of the variable.
    mean: Option<Tensor<4>>,
    /// The sum over the steps of the magnitude of the gradient with respect to the image, over its channels.
    touched: Option<Tensor<4>>,
    /// Rows of the history that are still on the device: each loss, then the mean square of the gradient.
    unread: Vec<Tensor<2>>,
    /// Rows read, `[steps, losses + 1, batch]`.
    read: Vec<ndarray::Array2<f32>>,
}

pub(super) struct Run<'a> {
    pub(super) model: &'a dyn Model,
    pub(super) losses: Losses,
    pub(super) rule: Rule,
    pub(super) warm_up: usize,
    pub(super) parametrization: Box<dyn Parametrization>,
    pub(super) normalization: Normalization,
    pub(super) modifier: Option<GradientModifier>,
    pub(super) update: Box<dyn Update>,
    pub(super) learning_rate: f64,
    pub(super) max_iter: usize,
    pub(super) read_every: usize,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) progress: Option<Watcher<'a>>,
    /// The range that the images can't leave.
    pub(super) bounds: Option<(f32, f32)>,
    pub(super) views: Views,
    pub(super) variable: Tensor<4>,
    /// The share of the past in the mean of the variable that is the result; 0 for the best instead.
    pub(super) average: f32,
    pub(super) transparency: bool,
}

/// The best so far, kept on the device so that a step waits for nothing.
struct Best {
    loss: Tensor<1>,
    image: Tensor<4>,
    gradient: Tensor<4>,
    value: Tensor<4>,
}

impl<'a> Steps<'a> {
    pub(super) fn begin(mut run: Run<'a>) -> Result<Self> {
        run.callbacks.iter_mut().try_for_each(|callback| callback.on_begin())?;
        let (unread, read) = (Vec::new(), Vec::new());
        Ok(Self {
            run,
            index: 0,
            over: false,
            best: None,
            steepest: None,
            mean: None,
            touched: None,
            unread,
            read,
        })
    }

    /// Ends the run and gives the best images so far and the history of the steps taken.
    ///
    /// After an error it still gives what was found before.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut steps = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).steps()?;
    /// steps.by_ref().take(3).try_for_each(|step| step.map(drop))?;
    /// assert_eq!(steps.finish()?.losses.steps(), 3);
    /// # Ok::<(), vis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Of a run that is left early: [`Error::NonFinite`] when a loss that was not [read
    /// back](super::Optimizer::read_every) yet is NaN or infinite, and [`Error::Stopped`] when a callback can't finish
    /// what it began.
    pub fn finish(mut self) -> Result<Minimized> {
        self.over = true;
        if let Err(error) = self.read_and_check().and_then(|()| self.settle_on_mean()) {
            // The error that ended the run is worth more than one about its end.
            let _ = self.end(Some(&error));
            return Err(error);
        }
        self.end(None)?;
        let names = self.run.losses.names();
        let batch = self.run.variable.dims()[0];
        let rows: Vec<_> = self.read.iter().map(|row| row.slice(s![..names.len(), ..])).collect();
        let losses = History::from_steps(names, batch, &rows);
        let totals = losses.totals();
        let (best_step, best_loss) = totals
            .axis_iter(Axis(1))
            .map(|totals| {
                let first_lowest = |best: (usize, f32), (step, &total): (usize, &f32)| {
                    if total.is_finite() && total < best.1 { (step, total) } else { best }
                };
                totals.iter().enumerate().fold((0, f32::INFINITY), first_lowest)
            })
            .unzip();
        let Best { image, gradient, value, loss } = self.best.take().unwrap_or_else(|| {
            let value = self.run.variable.clone();
            let image = self.run.parametrization.decode(value.clone());
            Best { loss: Tensor::zeros([batch], &value.device()), image, gradient: value.zeros_like(), value }
        });
        let zero_gradient = match self.steepest.take() {
            Some(steepest) => crate::host::values(steepest).into_iter().map(|most| most == 0.0).collect(),
            None => vec![false; batch],
        };
        let (mut best_loss, mut best_step): (Vec<f32>, Vec<usize>) = (best_loss, best_step);
        if self.mean.is_some() {
            best_loss = crate::host::values(loss);
            best_step.fill(self.index.saturating_sub(1));
        }
        let transparency = self.touched.take();
        Ok(Minimized { image, gradient, value, best_loss, best_step, zero_gradient, transparency, losses })
    }

    /// Puts the image of the mean variable in the place of the best, with its loss as the model sees it without transforms.
    fn settle_on_mean(&mut self) -> Result<()> {
        let Some(mean) = &self.mean else { return Ok(()) };
        let run = &self.run;
        let primitive = Gradient::new(run.model, &run.losses).rule(run.rule).descending().compared(true);
        let decode = |variable| run.parametrization.decode(variable);
        let at = primitive.evaluate_through(mean.clone(), decode, |image| image)?;
        let loss = at.losses.total();
        if !crate::host::values(loss.clone()).into_iter().all(f32::is_finite) {
            self.mean = None; // the best image before it was not finite
            return Ok(());
        }
        let mean_square = at.gradient.clone().square().mean_dims(&[1, 2, 3]);
        let gradient = run.normalization.apply(at.gradient, mean_square);
        let gradient = run.modifier.iter().fold(gradient, |gradient, modifier| modifier.apply(gradient));
        self.best = Some(Best { loss, image: at.image, gradient, value: at.value });
        Ok(())
    }

    /// The best images so far, on the device; none before the first step.
    ///
    /// ```
    /// use vis::{Optimizer, losses::ActivationMaximization};
    /// # let model = vis::model::Tiny::new(&Default::default());
    /// let mut steps = Optimizer::new(&model, ActivationMaximization::new("conv2", 0)).steps()?;
    /// assert!(steps.best().is_none());
    /// let first = steps.next().unwrap()?;
    /// assert_eq!(steps.best().unwrap().into_data().to_vec::<f32>().unwrap(), first.image.into_data().to_vec::<f32>().unwrap());
    /// # Ok::<(), vis::Error>(())
    /// ```
    pub fn best(&self) -> Option<Tensor<4>> {
        self.best.as_ref().map(|best| best.image.clone())
    }

    /// Whether every image of the run lies in the input range.
    pub(crate) fn is_bounded(&self) -> bool {
        self.run.parametrization.is_bounded()
    }

    fn advance(&mut self) -> Result<Step> {
        let run = &mut self.run;
        let (parametrization, views) = (&run.parametrization, &mut run.views);
        let warming_up = self.index < run.warm_up && run.rule == Rule::Plain;
        let rule = if warming_up { Rule::Redirected } else { run.rule };
        let primitive = Gradient::new(run.model, &run.losses).rule(rule).descending();
        let primitive = primitive.compared(self.index > 0);
        let first = (self.index == 0).then(|| parametrization.decode(run.variable.clone()));
        let primitive = primitive.in_two_stages(run.transparency);
        let decode = |variable| parametrization.decode(variable);
        let evaluation =
            primitive.evaluate_through(run.variable.clone(), decode, |image| views.next(image))?;
        if let Some(at_image) = &evaluation.at_image {
            let here = at_image.clone().abs().sum_dim(1);
            self.touched = Some(match self.touched.take() {
                Some(before) => before + here,
                None => here,
            });
        }
        if run.average > 0.0 {
            // The first images are noise: the mean begins short, and grows to its length.
            let keep = run.average.min((1 + self.index) as f32 / (10 + self.index) as f32);
            self.mean = Some(match self.mean.take() {
                Some(mean) => mean * keep + evaluation.value.clone() * (1.0 - keep),
                None => evaluation.value.clone(),
            });
        }

        if let Some(plain) = first {
            let what = "what the parametrization decodes".into();
            passes::refuse_difference(what, plain, evaluation.image.clone())?;
        }

        let batch = evaluation.image.dims()[0];
        let steepest = evaluation.gradient.clone().abs().max_dims(&[1, 2, 3]).reshape([batch]);
        self.steepest = Some(match self.steepest.take() {
            Some(before) => before.max_pair(steepest),
            None => steepest,
        });
        let mean_square = evaluation.gradient.clone().square().mean_dims(&[1, 2, 3]);
        let gradient = run.normalization.apply(evaluation.gradient, mean_square.clone());
        let gradient = match run.modifier {
            Some(modifier) => modifier.apply(gradient),
            None => gradient,
        };
        let total = evaluation.losses.total();
        let row = vec![evaluation.losses.tensor(), mean_square.reshape([1, batch])];
        self.unread.push(Tensor::cat(row, 0));

        self.best = Some(match self.best.take() {
            None => Best {
                loss: total,
                image: evaluation.image.clone(),
                gradient: gradient.clone(),
                value: evaluation.value.clone(),
            },
            Some(best) => {
                // What is not finite is never the best, even if it is what the run began with.
                let lower = total.clone().lower(best.loss.clone());
                let first = best.loss.clone().is_finite().bool_not();
                let better = total.clone().is_finite().bool_and(lower.bool_or(first));
                let each = better.clone().reshape([batch, 1, 1, 1]);
                let images = each.clone().expand(evaluation.image.dims());
                let gradients = each.expand(gradient.dims());
                Best {
                    value: best.value.mask_where(gradients.clone(), evaluation.value.clone()),
                    loss: best.loss.mask_where(better, total),
                    image: best.image.mask_where(images, evaluation.image.clone()),
                    gradient: best.gradient.mask_where(gradients, gradient.clone()),
                }
            }
        });

        let mut step = Step {
            index: self.index,
            of: run.max_iter,
            image: evaluation.image,
            losses: evaluation.losses,
            gradient,
            value: evaluation.value,
            loss: None,
            bounds: run.bounds,
        };
        run.variable = run.update.step(run.variable.clone(), step.gradient.clone(), run.learning_rate);
        self.index += 1;
        if self.unread.len() >= self.run.read_every || self.index == self.run.max_iter {
            self.read_and_check()?;
            step.loss = self.read.last().map(|row| row.slice(s![..-1, ..]).sum() / batch as f32);
        }
        self.tell(&step)?;
        Ok(step)
    }

    /// Brings the rows of the history that are still on the device to the host, and refuses what is not finite.
    fn read_and_check(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let first = self.read.len();
        let rows = crate::host::array2(Tensor::cat(std::mem::take(&mut self.unread), 0));
        let height = self.run.losses.built().count() + 1;
        self.read.extend(rows.axis_chunks_iter(Axis(0), height).map(|row| row.to_owned()));
        for (step, row) in self.read.iter().enumerate().skip(first) {
            if let Some(index) = row.outer_iter().position(|values| values.iter().any(|v| !v.is_finite())) {
                let names = self.run.losses.names();
                let what =
                    names.get(index).map_or("the gradient".into(), |name| format!("the loss `{name}`"));
                // At the first step there is no image before it.
                let best = self.best().filter(|_| step > 0).map(Box::new);
                return Err(Error::NonFinite { what, step: Some(step), best });
            }
        }
        Ok(())
    }

    fn tell(&mut self, step: &Step) -> Result<()> {
        for callback in &mut self.run.callbacks {
            match callback.on_step(step) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => self.over = true,
                Err(source) => {
                    let best = self.best.as_ref().map(|best| Box::new(best.image.clone()));
                    return Err(Error::Stopped { step: step.index, source: Box::new(source), best });
                }
            }
        }
        if let Some(progress) = &mut self.run.progress
            && progress(&step.progress()).is_break()
        {
            self.over = true;
        }
        Ok(())
    }

    /// Tells every callback that the run is over; the first failure is reported.
    fn end(&mut self, error: Option<&Error>) -> Result<()> {
        self.over = true;
        let failed = self.run.callbacks.iter_mut().filter_map(|callback| callback.on_end(error).err());
        let failed: Vec<_> = failed.collect();
        self.run.callbacks.clear();
        match failed.into_iter().next() {
            None => Ok(()),
            Some(source) => {
                let best = self.best.as_ref().map(|best| Box::new(best.image.clone()));
                let step = self.index.saturating_sub(1);
                Err(Error::Stopped { step, source: Box::new(source), best })
            }
        }
    }
}

impl Iterator for Steps<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return self.end(None).err().map(Err);
        }
        if self.index == self.run.max_iter {
            return self.end(None).err().map(Err);
        }
        match self.advance() {
            Ok(step) => Some(Ok(step)),
            Err(error) => {
                // The error that ended the run is worth more than one about its end.
                let _ = self.end(Some(&error));
                Some(Err(error))
            }
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        let _ = self.end(None);
    }
}

impl std::fmt::Debug for Steps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").field("index", &self.index).field("of", &self.run.max_iter).finish()
    }
}
