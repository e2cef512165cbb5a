//! Einstein's summation.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::super::value::{Real, Value, count, indices, strided_indices, strides};
use super::linear::product;
use super::{Inputs, Outcome, Scope};

/// The name of an axis: a letter, or a place of the ellipsis counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Axis {
    Rest(usize),
    Letter(char),
}

/// A value with its axes by name, each once.
#[derive(Clone)]
struct Named {
    real: Real,
    axes: Vec<Axis>,
}

/// The sum of products that an equation such as `bij,bjk->bik` describes.
pub(super) fn einsum(equation: &str, inputs: Inputs, scope: &Scope) -> Outcome<Value> {
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (terms, output) = match equation.split_once("->") {
        Some((terms, output)) => (terms, Some(output)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(format!("`{equation}` is for {} inputs, not {}", terms.len(), inputs.len()));
    }
    let mut all = Vec::new();
    let mut operands = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let real = inputs.real(index)?;
        let axes = axes(term, real.rank())?;
        all.extend(axes.iter().copied());
        operands.push(diagonal(real, axes, scope)?);
    }
    let rest =
        all.iter().filter_map(|axis| if let Axis::Rest(place) = axis { Some(place + 1) } else { None }).max();
    let rest = rest.unwrap_or(0);
    let wanted = match output {
        Some(output) => {
            axes(output, output.replace("...", "").len() + if output.contains("...") { rest } else { 0 })?
        }
        None => {
            let once = |axis: &Axis| all.iter().filter(|other| *other == axis).count() == 1;
            let mut letters: Vec<Axis> =
                all.iter().copied().filter(|axis| matches!(axis, Axis::Letter(_)) && once(axis)).collect();
            letters.sort_unstable();
            (0..rest).rev().map(Axis::Rest).chain(letters).collect()
        }
    };
    let twice = (1..wanted.len()).any(|index| wanted[..index].contains(&wanted[index]));
    if twice || wanted.iter().any(|axis| !all.contains(axis)) {
        return Err(format!("the output of `{equation}` has an axis twice, or one that no input has"));
    }
    let mut operands = operands.into_iter();
    let mut so_far = operands.next().ok_or("there are no inputs")?;
    let mut later: Vec<Named> = operands.collect();
    while !later.is_empty() {
        let next = later.remove(0);
        let needed: Vec<Axis> = later.iter().flat_map(|named| &named.axes).chain(&wanted).copied().collect();
        so_far = multiplied(so_far, next, &needed, scope)?;
    }
    let summed = summed(so_far, &wanted)?;
    // An axis of the ellipsis of size 1 may be missing from none: all that is wanted is there.
    let order: Vec<usize> = wanted
        .iter()
        .map(|axis| summed.place(*axis).ok_or("an axis is missing"))
        .collect::<Result<_, _>>()?;
    Ok(summed.real.transpose(&order).into())
}

impl Named {
    fn place(&self, axis: Axis) -> Option<usize> {
        self.axes.iter().position(|other| *other == axis)
    }

    fn size(&self, axis: Axis) -> Option<usize> {
        self.place(axis).map(|place| self.real.shape()[place])
    }
}

/// The axes of a term of an equation.
fn axes(term: &str, rank: usize) -> Outcome<Vec<Axis>> {
    let letters = |part: &str| {
        let letter = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' => Ok(Axis::Letter(letter)),
            other => Err(format!("`{other}` is no axis")),
        };
        part.chars().map(letter).collect::<Outcome<Vec<_>>>()
    };
    let named = match term.split_once("...") {
        None => letters(term)?,
        Some((before, after)) => {
            let (mut before, after) = (letters(before)?, letters(after)?);
            let rest = rank.checked_sub(before.len() + after.len());
            let rest = rest.ok_or_else(|| format!("`{term}` has more axes than the {rank} of its input"))?;
            before.extend((0..rest).rev().map(Axis::Rest));
            before.extend(after);
            before
        }
    };
    if named.len() != rank {
        return Err(format!("`{term}` does not name the {rank} axes of its input"));
    }
    Ok(named)
}

/// The value with every axis once: of those that stand twice, the diagonal.
fn diagonal(real: Real, axes: Vec<Axis>, scope: &Scope) -> Outcome<Named> {
    let mut once: Vec<Axis> = Vec::new();
    let mut steps: Vec<usize> = Vec::new();
    let mut shape: Vec<usize> = Vec::new();
    for ((axis, size), step) in axes.iter().zip(real.shape()).zip(strides(real.shape())) {
        match once.iter().position(|other| other == axis) {
            Some(place) if shape[place] == *size => steps[place] += step,
            Some(place) => return Err(format!("an axis has {size} and {} places", shape[place])),
            None => {
                once.push(*axis);
                steps.push(step);
                shape.push(*size);
            }
        }
    }
    if once.len() == axes.len() {
        return Ok(Named { real, axes });
    }
    let elements = scope.fits(&shape)?;
    let row = real.reshape(&[count(real.shape())?])?.tensor();
    let places = indices(&[elements], strided_indices(&shape, &steps), scope.device);
    let picked = Real::new(Dispatch::float_select(row, 0, places), vec![]).reshaped_as(&shape)?;
    Ok(Named { real: picked, axes: once })
}

/// The value summed over all axes but some.
fn summed(mut named: Named, needed: &[Axis]) -> Outcome<Named> {
    while let Some(place) = named.axes.iter().position(|axis| !needed.contains(axis)) {
        let mut shape = named.real.shape().to_vec();
        let sum = Dispatch::float_sum_dim(named.real.tensor(), place);
        shape.remove(place);
        named.axes.remove(place);
        named.real = Real::new(sum, vec![]).reshaped_as(&shape)?;
    }
    Ok(named)
}

/// The product of two values, summed over what is not needed any more.
fn multiplied(a: Named, b: Named, needed: &[Axis], scope: &Scope) -> Outcome<Named> {
    let of_both = |axis: &Axis| a.place(*axis).is_some() && b.place(*axis).is_some();
    let keep = |named: &Named| -> Vec<Axis> {
        named.axes.iter().copied().filter(|axis| needed.contains(axis) || of_both(axis)).collect()
    };
    let (keep_a, keep_b) = (keep(&a), keep(&b));
    let (a, b) = (summed(a, &keep_a)?, summed(b, &keep_b)?);
    let common: Vec<Axis> = a.axes.iter().copied().filter(|axis| b.place(*axis).is_some()).collect();
    let size = |axis: Axis| match (a.size(axis), b.size(axis)) {
        (Some(of_a), Some(of_b)) if of_a == of_b || of_b == 1 => Ok(of_a),
        (Some(1), Some(of_b)) => Ok(of_b),
        (Some(of_a), Some(of_b)) => Err(format!("an axis has {of_a} and {of_b} places")),
        (of_a, of_b) => Ok(of_a.or(of_b).unwrap_or(1)),
    };
    let (stacked, contracted): (Vec<Axis>, Vec<Axis>) = common.iter().partition(|axis| needed.contains(axis));
    let only = |named: &Named, other: &Named| -> Vec<Axis> {
        named.axes.iter().copied().filter(|axis| other.place(*axis).is_none()).collect()
    };
    let (left, right) = (only(&a, &b), only(&b, &a));
    let sizes = |axes: &[Axis]| axes.iter().map(|axis| size(*axis)).collect::<Outcome<Vec<_>>>();
    let total = |axes: &[Axis]| sizes(axes).and_then(|sizes| count(&sizes));
    let (stack, inner) = (total(&stacked)?, total(&contracted)?);
    let (rows, columns) = (total(&left)?, total(&right)?);
    let arranged = |named: &Named, axes: [&[Axis]; 3], shape: [usize; 3]| {
        let axes = axes.concat();
        let order: Vec<usize> = axes.iter().filter_map(|axis| named.place(*axis)).collect();
        let wide = sizes(&axes)?;
        scope.fits(&wide)?;
        named.real.transpose(&order).expand(&wide).reshape(&shape)
    };
    let of_a = arranged(&a, [&stacked, &left, &contracted], [stack, rows, inner])?;
    let of_b = arranged(&b, [&stacked, &contracted, &right], [stack, inner, columns])?;
    let axes = [&stacked[..], &left, &right].concat();
    let shape = sizes(&axes)?;
    scope.fits(&shape)?;
    Ok(Named { real: product(&of_a, &of_b, scope)?.reshape(&shape)?, axes })
}
