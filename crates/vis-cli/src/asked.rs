//! What a map is to explain: classes by default, filters of any layer if they are named.

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use vis::Target;
use vis::model::Layer;

use crate::class::Scores;
use crate::explain::one_or_several;
use crate::failure::{Failure, Outcome};
use crate::filters;
use crate::network::Opened;
use crate::photo::Photo;

/// What is explained.
#[derive(Debug, Args, Serialize)]
pub(crate) struct TargetOptions {
    /// The class, by number or name; several give a map each [default: the one that the network sees]
    #[arg(long, value_name = "CLASS", num_args = 1..)]
    #[serde(serialize_with = "one_or_several")]
    class: Vec<String>,

    /// The layer of filters to explain instead of a class, as `vis layers` names it; all of it without --filter
    #[arg(long, value_name = "LAYER", conflicts_with = "class")]
    target_layer: Option<String>,

    /// The filters of --target-layer, a map each: a number, a range such as 4-9, or several in one map such as
    /// 20+71; of class scores also a class by name
    #[arg(long, value_name = "FILTER", num_args = 1..)]
    #[serde(serialize_with = "one_or_several")]
    filter: Vec<String>,
}

/// What is to be explained of every photo.
pub(crate) enum Question {
    /// The class that the network sees.
    Predicted,
    Classes(Vec<String>),
    /// Some filters of a layer jointly, for each map; the whole layer without any.
    Filters(Layer, Vec<Vec<usize>>),
}

/// What one map explains.
pub(crate) struct Asked {
    pub(crate) target: Target,
    /// The same as a probability, where it is one class.
    pub(crate) as_probability: Target,
    /// `class 285`, `filter 20 of block5_conv3`.
    pub(crate) name: String,
    /// With the name of the class and its probability where there is one.
    pub(crate) caption: String,
    /// The caption after the number of the class, or the name and the score.
    pub(crate) sentence: String,
    /// The value of the target on the photo.
    pub(crate) score: f32,
    pub(crate) probability: Option<f32>,
    pub(crate) json: Value,
}

impl TargetOptions {
    /// Refuses what means nothing, before a network is opened.
    pub(crate) fn check(&self) -> Outcome {
        if !self.filter.is_empty() && self.target_layer.is_none() {
            let instead = if self.class.is_empty() { " (classes are named by --class)" } else { "" };
            let advice = "name the layer of the filters, as in `--target-layer block5_conv3 --filter 20`";
            return Err(Failure::misuse(format!("--filter goes with --target-layer: {advice}{instead}")));
        }
        Ok(())
    }

    /// What is asked of this network.
    pub(crate) fn question(&self, opened: &Opened) -> Outcome<Question> {
        if let Some(name) = &self.target_layer {
            let layer = filters::layer(opened, name)?;
            let filters = match self.filter.as_slice() {
                [] => vec![Vec::new()],
                values => filters::parse(opened, &layer, values)?,
            };
            return Ok(Question::Filters(layer, filters));
        }
        if opened.model.logits().is_none() {
            let layers = opened.model.layers()?;
            let last = layers.iter().rfind(|layer| !layer.name.contains("pool")).or(layers.last());
            let example = last.map_or("LAYER", |layer| layer.name.as_str());
            return Err(Failure::misuse(format!(
                "{} has no classes with these weights: name what to explain, as in `--target-layer {example} \
                 --filter 0`, or take another --model, or --weights with its dense top",
                opened.network.name()
            )));
        }
        Ok(match self.class.as_slice() {
            [] => Question::Predicted,
            classes => Question::Classes(classes.to_vec()),
        })
    }
}

impl Question {
    /// What each map of a photo explains.
    pub(crate) fn of(&self, opened: &Opened, photo: &Photo, scores: Option<&Scores>) -> Outcome<Vec<Asked>> {
        match (self, scores) {
            (Self::Filters(layer, filters), _) => {
                filters.iter().map(|filters| Asked::filters(opened, photo, scores, layer, filters)).collect()
            }
            (Self::Classes(classes), Some(scores)) => {
                let asked = |class: &String| Ok(Asked::class(scores, scores.class(opened, Some(class))?));
                classes.iter().map(asked).collect()
            }
            (_, Some(scores)) => Ok(vec![Asked::class(scores, scores.class(opened, None)?)]),
            (_, None) => Err(Failure::misuse("the network has no classes")),
        }
    }
}

impl Asked {
    fn class(scores: &Scores, class: usize) -> Self {
        let (name, caption) = (format!("class {class}"), scores.caption(class));
        Self {
            target: Target::class(class),
            as_probability: Target::probability(class),
            sentence: format!("{name}: {caption}"),
            name,
            caption,
            score: scores.logits[class],
            probability: Some(scores.probability(class) as f32),
            json: scores.json(class),
        }
    }

    fn filters(
        opened: &Opened,
        photo: &Photo,
        scores: Option<&Scores>,
        layer: &Layer,
        filters: &[usize],
    ) -> Outcome<Self> {
        // A class by another option.
        if let (Some(scores), [class], true) = (scores, filters, opened.model.logits() == Some(&layer.name)) {
            return Ok(Self::class(scores, *class));
        }
        let target = match filters {
            [] => Target::layer(&layer.name),
            filters => Target::channels(&layer.name, filters.iter().copied()),
        };
        let numbers = filters.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
        let name = match filters {
            [] => format!("the mean of {}", layer.name),
            [_] => format!("filter {numbers} of {}", layer.name),
            _ => format!("filters {numbers} of {}", layer.name),
        };
        let values = target.scores(opened.model.as_ref(), photo.image.clone())?;
        let score = values.first().copied().unwrap_or_default();
        Ok(Self {
            as_probability: target.clone(),
            target,
            caption: name.clone(),
            sentence: format!("{name}: {score:.4}"),
            json: json!({ "layer": layer.name, "filters": filters, "name": name, "score": score }),
            name,
            score,
            probability: None,
        })
    }
}
