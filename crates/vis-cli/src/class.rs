//! Classes by number or name, and what a network says it sees.

use burn::tensor::Tensor;
use serde_json::{Value, json};
use vis::Error;
use vis::error::nearest;
use vis::model::{Model, imagenet};

use crate::failure::Outcome;
use crate::network::Opened;

/// The scores of all classes for one image.
pub(crate) struct Scores {
    pub(crate) logits: Vec<f32>,
    names: Vec<Option<String>>,
}

impl Scores {
    /// Runs the network on one image.
    pub(crate) fn of(opened: &Opened, image: Tensor<4>) -> Outcome<Self> {
        opened.class_layer()?;
        let logits = crate::host::values(opened.model.classify(image)?);
        let names =
            (0..logits.len()).map(|class| opened.model.class_name(class).map(str::to_owned)).collect();
        Ok(Self { logits, names })
    }

    /// The class by number or name, or the one with the highest score.
    pub(crate) fn class(&self, opened: &Opened, wanted: Option<&str>) -> Outcome<usize> {
        match wanted {
            Some(wanted) => find(opened.model.as_ref(), opened.class_layer()?, self.logits.len(), wanted),
            None => Ok(self.best(1).first().copied().unwrap_or_default()),
        }
    }

    /// The classes with the highest scores, the highest first.
    pub(crate) fn best(&self, count: usize) -> Vec<usize> {
        let mut classes: Vec<usize> = (0..self.logits.len()).collect();
        classes.sort_by(|a, b| self.logits[*b].total_cmp(&self.logits[*a]));
        classes.truncate(count);
        classes
    }

    /// The softmax of the scores at a class; of a single score, which has nothing to be compared with, the sigmoid.
    pub(crate) fn probability(&self, class: usize) -> f64 {
        let score = |logit: &f32| f64::from(*logit);
        if let [logit] = &*self.logits {
            return 1.0 / (1.0 + (-score(logit)).exp());
        }
        let highest = self.logits.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.logits.iter().map(|logit| (score(logit) - highest).exp()).sum();
        (score(&self.logits[class]) - highest).exp() / sum
    }

    /// The name of a class, or its number.
    pub(crate) fn name(&self, class: usize) -> String {
        self.names[class].clone().unwrap_or_else(|| class.to_string())
    }

    /// A class as `name 97.3 %`.
    pub(crate) fn caption(&self, class: usize) -> String {
        format!("{} {:.1} %", self.name(class), 100.0 * self.probability(class))
    }

    /// A class for the summary in JSON.
    pub(crate) fn json(&self, class: usize) -> Value {
        json!({
            "class": class,
            "name": self.names[class],
            "score": self.logits[class],
            "probability": self.probability(class),
        })
    }

    /// The best classes for the summary in JSON.
    pub(crate) fn predictions(&self, count: usize) -> Value {
        self.best(count).into_iter().map(|class| self.json(class)).collect()
    }
}

/// The class that a number or name means; spaces around it, more than one between words and capitals mean nothing.
pub(crate) fn find(model: &dyn Model, layer: &str, classes: usize, wanted: &str) -> Outcome<usize> {
    let wanted = &wanted.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Ok(index) = wanted.parse::<usize>() {
        if index >= classes {
            let place = format!("layer `{layer}`");
            return Err(Error::OutOfRange { what: "class", index, place, len: classes }.into());
        }
        return Ok(index);
    }
    if classes == imagenet::CLASSES && model.class_name(0) == imagenet::name(0) {
        return Ok(imagenet::find(wanted)?);
    }
    let lower = wanted.to_lowercase();
    let named = |class: &usize| model.class_name(*class).is_some_and(|name| name.to_lowercase() == lower);
    if let Some(class) = (0..classes).find(named) {
        return Ok(class);
    }
    let names = (0..classes).filter_map(|class| model.class_name(class));
    let candidates = nearest(wanted, names).into_iter().map(str::to_owned).collect();
    Err(Error::UnknownClass { name: wanted.to_owned(), candidates }.into())
}
