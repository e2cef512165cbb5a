//! Recurrent layers, unrolled step by step.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};

use super::super::value::{Real, Value};
use super::linear::product;
use super::slice::part;
use super::{Inputs, Outcome, Scope};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Cell {
    Lstm,
    /// Whether the reset gate comes after the product.
    Gru {
        late_reset: bool,
    },
    /// A plain layer with tanh.
    Simple,
}

/// In which order the steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Direction {
    Forward,
    Reverse,
    Both,
}

/// A recurrent layer: inputs, weights, recurrent weights, biases, lengths, first states, peepholes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Recurrent {
    pub(in super::super) cell: Cell,
    pub(in super::super) direction: Direction,
    pub(in super::super) batch_first: bool,
}

const STEPS: usize = 4096;

impl Recurrent {
    pub(super) fn run(&self, inputs: Inputs, scope: &Scope) -> Outcome {
        let x = inputs.real(0)?;
        if x.rank() != 3 {
            return Err(format!("it takes rank 3, not {:?}", x.shape()));
        }
        let x = if self.batch_first { x.transpose(&[1, 0, 2]) } else { x };
        let &[steps, batch, width] = x.shape() else { return Err("it takes rank 3".into()) };
        if steps > STEPS {
            return Err(format!("{steps} steps are above the limit of {STEPS}"));
        }
        if let Some(lengths) = inputs.optional_ints(4)?
            && lengths.iter().any(|length| *length != steps as i64)
        {
            return Err("sequences of different lengths are not supported".into());
        }
        let (weight, recurrent) = (inputs.real(1)?, inputs.real(2)?);
        let gates = match self.cell {
            Cell::Lstm => 4,
            Cell::Gru { .. } => 3,
            Cell::Simple => 1,
        };
        let directions = if self.direction == Direction::Both { 2 } else { 1 };
        let size = recurrent.shape().last().copied().unwrap_or(0);
        if weight.shape() != [directions, gates * size, width]
            || recurrent.shape() != [directions, gates * size, size]
        {
            return Err(format!(
                "weights of shapes {:?} and {:?} don't fit {directions} directions and inputs of {width}",
                weight.shape(),
                recurrent.shape()
            ));
        }
        let shaped = |index: usize, shape: &[usize]| -> Outcome<Option<Real>> {
            let Some(real) = inputs.optional_real(index)? else { return Ok(None) };
            if real.shape() != shape {
                return Err(format!("input {index} has shape {:?} instead of {shape:?}", real.shape()));
            }
            Ok(Some(real))
        };
        let first = if self.batch_first { [batch, directions, size] } else { [directions, batch, size] };
        let turned = |state: Option<Real>| match state {
            Some(state) if self.batch_first => Some(state.transpose(&[1, 0, 2])),
            state => state,
        };
        let bias = shaped(3, &[directions, 2 * gates * size])?;
        let (hidden, cell) = (turned(shaped(5, &first)?), turned(shaped(6, &first)?));
        let peepholes = shaped(7, &[directions, 3 * size])?;
        scope.fits(&[steps, directions, batch, size])?;

        let zeros = |shape: Vec<usize>| {
            Real::from_host(vec![], vec![0.0], scope.device).map(|zero| zero.expand(&shape))
        };
        let at = |real: &Option<Real>, direction: usize, shape: Vec<usize>| match real {
            Some(real) => row(real, direction),
            None => zeros(shape),
        };
        let mut outputs = vec![Vec::new(); directions];
        let mut last = Vec::new();
        for (direction, outputs) in outputs.iter_mut().enumerate() {
            let reverse = self.direction == Direction::Reverse || direction == 1;
            let step = Step {
                cell: self.cell,
                size,
                weight: row(&weight, direction)?.transpose(&[1, 0]),
                recurrent: row(&recurrent, direction)?.transpose(&[1, 0]),
                bias: at(&bias, direction, vec![2 * gates * size])?,
                peepholes: peepholes.as_ref().map(|peepholes| row(peepholes, direction)).transpose()?,
            };
            let mut state = at(&hidden, direction, vec![batch, size])?;
            let mut memory = at(&cell, direction, vec![batch, size])?;
            for place in 0..steps {
                let place = if reverse { steps - 1 - place } else { place };
                (state, memory) = step.next(&row(&x, place)?, &state, &memory, scope)?;
                outputs.push(state.reshape(&[1, 1, batch, size])?);
            }
            if reverse {
                outputs.reverse();
            }
            last.push((state, memory));
        }
        let join = |parts: Vec<Real>, along: usize, shape: Vec<usize>| {
            Real::new(Dispatch::float_cat(parts.iter().map(Real::tensor).collect(), along), shape)
        };
        let sides: Vec<Real> =
            outputs.into_iter().map(|parts| join(parts, 0, vec![steps, 1, batch, size])).collect();
        let mut all = join(sides, 1, vec![steps, directions, batch, size]);
        let state = |of: fn(&(Real, Real)) -> &Real| -> Outcome<Real> {
            let parts =
                last.iter().map(|last| of(last).reshape(&[1, batch, size])).collect::<Outcome<Vec<_>>>()?;
            let state = join(parts, 0, vec![directions, batch, size]);
            Ok(if self.batch_first { state.transpose(&[1, 0, 2]) } else { state })
        };
        let (hidden, memory) = (state(|last| &last.0)?, state(|last| &last.1)?);
        if self.batch_first {
            all = all.transpose(&[2, 0, 1, 3]);
        }
        Ok([all, hidden, memory].map(Value::from).to_vec())
    }
}

/// One entry along the first axis, without it.
fn row(real: &Real, place: usize) -> Outcome<Real> {
    match part(&real.clone().into(), 0, place, 1) {
        Value::Real(row) => row.reshape(&real.shape()[1..]),
        Value::Host(_) => Err("it is empty".into()),
    }
}

/// The weights of one direction.
struct Step {
    cell: Cell,
    size: usize,
    weight: Real,
    recurrent: Real,
    bias: Real,
    peepholes: Option<Real>,
}

impl Step {
    /// The next state and memory.
    fn next(&self, x: &Real, state: &Real, memory: &Real, scope: &Scope) -> Outcome<(Real, Real)> {
        let add = |a: &Real, b: &Real| a.zip(b, Dispatch::float_add);
        let times = |a: &Real, b: &Real| a.zip(b, Dispatch::float_mul);
        let piece = |real: &Real, from: usize, count: usize| -> Outcome<Real> {
            let along = real.rank() - 1;
            match part(&real.clone().into(), along, from * self.size, count * self.size) {
                Value::Real(piece) => Ok(piece),
                Value::Host(_) => Err("it is empty".into()),
            }
        };
        let gates = self.weight.shape()[1] / self.size;
        let (of_x, of_state) = (piece(&self.bias, 0, gates)?, piece(&self.bias, gates, gates)?);
        let from_x = add(&product(x, &self.weight, scope)?, &of_x)?;
        match self.cell {
            Cell::Simple => {
                let from_state = add(&product(state, &self.recurrent, scope)?, &of_state)?;
                Ok((add(&from_x, &from_state)?.map(Dispatch::float_tanh), memory.clone()))
            }
            Cell::Lstm => {
                let all = add(&from_x, &add(&product(state, &self.recurrent, scope)?, &of_state)?)?;
                let looked = |gate: usize, place: usize, memory: &Real| -> Outcome<Real> {
                    let gate = piece(&all, gate, 1)?;
                    let gate = match &self.peepholes {
                        Some(peepholes) => add(&gate, &times(&piece(peepholes, place, 1)?, memory)?)?,
                        None => gate,
                    };
                    Ok(gate.map(Dispatch::sigmoid))
                };
                let (input, forget) = (looked(0, 0, memory)?, looked(2, 2, memory)?);
                let new = piece(&all, 3, 1)?.map(Dispatch::float_tanh);
                let memory = add(&times(&forget, memory)?, &times(&input, &new)?)?;
                let output = looked(1, 1, &memory)?;
                Ok((times(&output, &memory.map(Dispatch::float_tanh))?, memory))
            }
            Cell::Gru { late_reset } => {
                let gate = |index: usize| -> Outcome<Real> {
                    let weights = piece(&self.recurrent, index, 1)?;
                    let from_state = add(&product(state, &weights, scope)?, &piece(&of_state, index, 1)?)?;
                    Ok(add(&piece(&from_x, index, 1)?, &from_state)?.map(Dispatch::sigmoid))
                };
                let (update, reset) = (gate(0)?, gate(1)?);
                let weights = piece(&self.recurrent, 2, 1)?;
                let from_state = if late_reset {
                    times(&reset, &add(&product(state, &weights, scope)?, &piece(&of_state, 2, 1)?)?)?
                } else {
                    add(&product(&times(&reset, state)?, &weights, scope)?, &piece(&of_state, 2, 1)?)?
                };
                let new = add(&piece(&from_x, 2, 1)?, &from_state)?.map(Dispatch::float_tanh);
                // (1 − z) n + z h
                let change = times(&update, &state.zip(&new, Dispatch::float_sub)?)?;
                Ok((add(&new, &change)?, memory.clone()))
            }
        }
    }
}
