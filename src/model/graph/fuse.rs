//! What follows an operation and can be computed with it: a bias, and the parts that files write activations in.
//!
//! The nodes stay, so that their layers can be asked for; they are computed one by one where one between is wanted.

use std::collections::HashMap;

use super::build::Builder;
use super::operations::{Activation, Binary, Frozen, FrozenNorm, Norm, Operation, Unary};
use super::value::Value;
use super::{Fused, Node};

/// Who reads each value.
struct Readers<'a> {
    nodes: &'a [Node],
    of: HashMap<usize, Vec<usize>>,
    outputs: &'a [usize],
}

impl Readers<'_> {
    /// The only node that reads the first output of a node.
    fn only(&self, index: usize) -> Option<usize> {
        let value = self.nodes[index].outputs.first().copied().flatten()?;
        match self.of.get(&value).map(Vec::as_slice) {
            Some([only]) if !self.outputs.contains(&value) => Some(*only),
            _ => None,
        }
    }

    /// The only reader of a node, if it is such a sum or product, and its other operand.
    fn binary(&self, index: usize, wanted: Binary) -> Option<(usize, usize)> {
        let reader = self.only(index)?;
        let node = &self.nodes[reader];
        let (Operation::Binary(binary), [Some(a), Some(b)]) = (&node.operation, &node.inputs[..]) else {
            return None;
        };
        let value = self.nodes[index].outputs[0]?;
        let other = if *a == value { *b } else { *a };
        (*binary == wanted && a != b).then_some((reader, other))
    }
}

impl Builder {
    /// Finds what can be computed together.
    pub(super) fn fuse(&mut self, outputs: &[usize]) {
        let mut of: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for value in node.inputs.iter().flatten() {
                of.entry(*value).or_default().push(index);
            }
        }
        let readers = Readers { nodes: &self.nodes, of, outputs };
        let found: Vec<Option<Fused>> =
            (0..self.nodes.len()).map(|index| self.fused(&readers, index)).collect();
        for (node, fused) in self.nodes.iter_mut().zip(found) {
            node.fused = fused;
        }
    }

    fn fused(&self, readers: &Readers, index: usize) -> Option<Fused> {
        let node = &readers.nodes[index];
        let input = node.inputs.first().copied().flatten()?;
        match &node.operation {
            // x · sigmoid(x), and the same of straight lines.
            Operation::Activation(gate @ (Activation::Sigmoid | Activation::HardSigmoid { .. })) => {
                let activation = match gate {
                    Activation::Sigmoid => Activation::Swish(1.0),
                    Activation::HardSigmoid { alpha, beta }
                        if (alpha - 1.0 / 6.0).abs() < 1e-6 && *beta == 0.5 =>
                    {
                        Activation::HardSwish
                    }
                    _ => return None,
                };
                let (product, other) = readers.binary(index, Binary::Mul)?;
                let operation = Operation::Plain(activation);
                (other == input).then(|| Fused { operation, inputs: vec![Some(input)], nodes: vec![product] })
            }
            // x (1 + erf(x / √2)) / 2
            Operation::Binary(first @ (Binary::Div | Binary::Mul)) => {
                let factor = self.scalar(node.inputs.get(1).copied().flatten()?)?;
                let factor = if *first == Binary::Div { 1.0 / factor } else { factor };
                let erf = readers.only(index)?;
                if (factor - std::f32::consts::FRAC_1_SQRT_2).abs() > 1e-5
                    || !matches!(readers.nodes[erf].operation, Operation::Unary(Unary::Erf))
                {
                    return None;
                }
                let (sum, one) = readers.binary(erf, Binary::Add)?;
                let (product, other) = readers.binary(sum, Binary::Mul)?;
                let (last, half) = readers.binary(product, Binary::Mul)?;
                let is = |value: usize, number: f32| self.scalar(value) == Some(number);
                let operation = Operation::Plain(Activation::Gelu { tanh: false });
                (is(one, 1.0) && is(half, 0.5) && other == input).then(|| Fused {
                    operation,
                    inputs: vec![Some(input)],
                    nodes: vec![erf, sum, product, last],
                })
            }
            // The mean and the deviation that it may give as well are not computed.
            Operation::Normalize(norm @ (Norm::Layer { .. } | Norm::Batch { .. })) => {
                let known = node.inputs[1..].iter().flatten().all(|value| self.known(*value).is_some());
                (known && node.outputs.len() == 1).then(|| Fused {
                    operation: Operation::FrozenNorm(Box::new(FrozenNorm::new(norm.clone()))),
                    inputs: node.inputs.clone(),
                    nodes: Vec::new(),
                })
            }
            Operation::MatMul | Operation::Dense | Operation::Gemm(_) => self.product(readers, index, input),
            _ => None,
        }
    }

    /// A product with a matrix that is known, with the bias after it.
    fn product(&self, readers: &Readers, index: usize, input: usize) -> Option<Fused> {
        let node = &readers.nodes[index];
        let matrix = node.inputs.get(1).copied().flatten()?;
        let Some(Value::Real(known)) = self.known(matrix) else { return None };
        let [rows, columns] = *known.shape() else { return None };
        let is_bias = |value: usize, outputs: usize| matches!(self.known(value), Some(Value::Real(real)) if real.shape() == [outputs]);
        let bias = node.inputs.get(2).copied().flatten();
        let (transposed, scale) = match &node.operation {
            Operation::Gemm(gemm) => {
                if gemm.transpose_a || (bias.is_some() && gemm.beta != 1.0) {
                    return None;
                }
                (gemm.transpose_b, gemm.alpha)
            }
            _ => (false, 1.0),
        };
        let outputs = if transposed { rows } else { columns };
        if bias.is_some_and(|bias| !is_bias(bias, outputs)) {
            return None;
        }
        let keeps_axes = matches!(node.operation, Operation::MatMul);
        let mut fused = Fused {
            operation: Operation::Frozen(Box::new(Frozen::new(transposed, scale, keeps_axes))),
            inputs: vec![Some(input), Some(matrix), bias],
            nodes: Vec::new(),
        };
        if bias.is_none()
            && let Some((sum, other)) = readers.binary(index, Binary::Add)
            && is_bias(other, outputs)
        {
            fused.inputs[2] = Some(other);
            fused.nodes = vec![sum];
        }
        Some(fused)
    }

    /// A constant of one number.
    fn scalar(&self, value: usize) -> Option<f32> {
        match self.known(value)? {
            Value::Real(real) if real.shape().iter().product::<usize>() == 1 => {
                real.to_floats().first().copied()
            }
            _ => None,
        }
    }
}
