//! `vis activation --judge`.

use serde_json::{Value, json};
use vis::Target;
use vis::model::Model;
use vis::visualization::{Activation, Activations};

use crate::failure::Outcome;
use crate::report::Report;

/// What another network takes a picture for.
struct Verdict {
    /// The class it is surest of, and how sure.
    says: String,
    probability: f32,
    /// How sure it is of the class that the picture was made for, where it has the same classes.
    of_wanted: Option<f32>,
}

/// Reports how good the pictures are, and what another network takes them for; gives the numbers.
pub(crate) fn judge(
    report: &mut Report,
    pictures: &Activations,
    model: &dyn Model,
    other: Option<(&str, &dyn Model)>,
    wanted: &[Option<usize>],
) -> Outcome<Vec<Value>> {
    let mut rows = Vec::new();
    let width = pictures.iter().map(|picture| picture.label.chars().count()).max().unwrap_or(0);
    report.say(format!("{:width$}  8 bits  shifted   slope  colour", ""));
    for (picture, wanted) in pictures.iter().zip(wanted) {
        let quality = picture.quality(model)?;
        let mut line = format!(
            "{:width$}  {:5.0} %  {:5.0} %  {:6.2}  {:6.1}",
            picture.label,
            100.0 * quality.in_8_bits,
            100.0 * quality.shifted,
            quality.slope,
            quality.colourfulness
        );
        let mut row = json!({
            "activation": quality.activation,
            "in_8_bits": quality.in_8_bits,
            "shifted": quality.shifted,
            "slope": quality.slope,
            "slope_of_photographs": quality.slope_of_photographs,
            "colourfulness": quality.colourfulness,
        });
        if let Some((name, other)) = other {
            let verdict = ask(other, picture, *wanted)?;
            line += &format!("  {name}: {} ({:.0} %)", verdict.says, 100.0 * verdict.probability);
            if let Some(share) = verdict.of_wanted {
                line += &format!(", the wanted {:.0} %", 100.0 * share);
            }
            row["other"] = json!({
                "model": name,
                "says": verdict.says,
                "probability": verdict.probability,
                "of_wanted": verdict.of_wanted,
            });
        }
        report.say(line);
        rows.push(row);
    }
    if let Some(picture) = pictures.first() {
        let slope = picture.quality(model)?.slope_of_photographs;
        report.say(format!("photographs of this size have a slope of {slope:.2}"));
    }
    Ok(rows)
}

fn ask(other: &dyn Model, picture: &Activation, wanted: Option<usize>) -> Outcome<Verdict> {
    let shown = vis::picture::to_input(&picture.picture()?, other)?;
    let best = Target::predicted().resolved(other, &shown)?;
    let probability = Target::predicted().as_probability().scores(other, shown.clone())?;
    let class = crate::host::values(other.classify(shown.clone())?.argmax(1).float())
        .first()
        .map_or(0, |class| *class as usize);
    let of_wanted = match wanted {
        Some(class) => Some(Target::probability(class).scores(other, shown)?[0]),
        None => None,
    };
    let says = other.class_name(class).map_or_else(|| best.to_string(), str::to_owned);
    Ok(Verdict { says, probability: probability[0], of_wanted })
}
