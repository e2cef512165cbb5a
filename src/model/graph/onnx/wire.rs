//! A first look at the bytes of a file, before anything is built of them: how deep graphs are nested, whether it brings
//! functions of its own, and what its nodes say about the modules they come from, which the parser leaves out.

use std::ops::Range;

/// What the first look finds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// For each node of the main graph, the modules around it, outermost first, if the file has them.
    pub(super) scopes: Vec<Option<Vec<String>>>,
    /// Where the functions are that the file defines.
    pub(super) functions: Vec<Range<usize>>,
}

const DEPTH: usize = 64;

/// A field of a message.
pub(super) struct Field {
    pub(super) number: u64,
    /// Of fields that have a length, where they are.
    pub(super) bytes: Option<Range<usize>>,
}

/// The fields of a message, until its bytes end or make no sense.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        if self.at >= self.end {
            return None;
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        let bytes = match tag & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.at = self.at.checked_add(8)?;
                None
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let start = self.at;
                self.at = start.checked_add(length).filter(|end| *end <= self.end)?;
                Some(start..self.at)
            }
            5 => {
                self.at = self.at.checked_add(4)?;
                None
            }
            _ => return None,
        };
        Some(Field { number, bytes })
    }
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self { bytes, at: range.start, end: range.end }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes[..self.end].get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Looks through a file.
pub(super) fn survey(bytes: &[u8]) -> Result<Survey, String> {
    let mut survey = Survey::default();
    // Graphs to look through, with their depth and the number of the field that holds a node.
    let mut graphs = Vec::new();
    for field in Fields::new(bytes, 0..bytes.len()) {
        match (field.number, field.bytes) {
            (7, Some(range)) => graphs.push((range, 0, 1)),
            (25, Some(range)) => {
                graphs.push((range.clone(), 1, 7));
                survey.functions.push(range);
            }
            _ => {}
        }
    }
    while let Some((range, depth, of_node)) = graphs.pop() {
        if depth > DEPTH {
            return Err(format!("graphs are nested deeper than {DEPTH}"));
        }
        for node in
            Fields::new(bytes, range).filter(|field| field.number == of_node).filter_map(|field| field.bytes)
        {
            let mut scope = None;
            for field in Fields::new(bytes, node) {
                match (field.number, field.bytes) {
                    // An attribute, with the graph in it.
                    (5, Some(range)) => {
                        for field in Fields::new(bytes, range) {
                            match (field.number, field.bytes) {
                                (6, Some(range)) => graphs.push((range, depth + 1, 1)),
                                // A list of graphs, which the parser passes over.
                                (11, Some(_)) => return Err("an attribute holds a list of graphs".into()),
                                _ => {}
                            }
                        }
                    }
                    (9, Some(range)) if depth == 0 && scope.is_none() => scope = modules(bytes, range),
                    _ => {}
                }
            }
            if depth == 0 {
                survey.scopes.push(scope);
            }
        }
    }
    Ok(survey)
}

/// A message, as far as others lie in it.
#[derive(Debug, Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    Function,
    /// One that holds no other.
    Leaf,
}

impl Message {
    /// What lies in a field that has a length, if it is a message.
    fn inside(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::Value,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8 | 14)
            | (Self::Node, 9)
            | (Self::Tensor, 13)
            | (Self::Shape, 1)
            | (Self::Function, 9) => Self::Leaf,
            _ => return None,
        })
    }
}

/// Refuses a file with a field that is longer than what it lies in: the parser would take its word and ask for the memory.
pub(super) fn check_lengths(bytes: &[u8]) -> Result<(), String> {
    let mut messages = vec![(0..bytes.len(), Message::Model)];
    while let Some((range, message)) = messages.pop() {
        let mut fields = Fields::new(bytes, range.clone());
        for field in fields.by_ref() {
            if let (Some(range), Some(inside)) = (field.bytes, message.inside(field.number)) {
                messages.push((range, inside));
            }
        }
        if fields.at != range.end {
            return Err(format!("at byte {} it is cut off or makes no sense", fields.at));
        }
    }
    Ok(())
}

/// The modules that PyTorch's exporter notes at a node, of an entry of its metadata.
fn modules(bytes: &[u8], range: Range<usize>) -> Option<Vec<String>> {
    let mut entry = [None, None];
    for field in Fields::new(bytes, range) {
        if let (1 | 2, Some(range)) = (field.number, field.bytes) {
            entry[field.number as usize - 1] = std::str::from_utf8(&bytes[range]).ok();
        }
    }
    match entry {
        // `: Net/layer1.0: Block/layer1.0.conv1: Conv2d/conv2d_1: aten.conv2d.default`
        [Some("namespace"), Some(text)] => {
            let names =
                text.split('/').filter_map(|part| part.split(':').next()).map(|name| name.trim().to_owned());
            Some(names.collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn graphs_nested_without_end_are_refused_before_they_are_parsed() {
        let mut graph = Vec::new();
        for _ in 0..70 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        assert!(survey(&field(7, &graph)).unwrap_err().contains("nested"));
    }

    #[test]
    fn the_modules_around_a_node_are_read_from_its_metadata() {
        let entry = [field(1, b"namespace"), field(2, b": Net/layer1.0: Block/conv2d: aten.conv2d")].concat();
        let found = survey(&field(7, &field(1, &field(9, &entry)))).unwrap();
        let expected = ["", "layer1.0", "conv2d"].map(str::to_owned).to_vec();
        assert_eq!(found.scopes, [Some(expected)]);
    }

    #[test]
    fn bytes_that_make_no_sense_end_the_look() {
        for bytes in [&[0xff; 40][..], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0x3a, 5, 1]] {
            assert!(survey(bytes).is_ok_and(|survey| survey.scopes.is_empty()));
        }
    }
}
