//! The attributes of a node, checked for their types.

use rten_onnx::onnx::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [AttributeProto]);

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a NodeProto) -> Self {
        Self(&node.attribute)
    }

    fn find(self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, String> {
        let Some(attribute) = self.0.iter().find(|attribute| attribute.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        match attribute.r#type {
            // Old files don't tell.
            None | Some(AttributeType::UNDEFINED) => Ok(Some(attribute)),
            Some(found) if found == kind => Ok(Some(attribute)),
            Some(found) => Err(format!("attribute {name} has type {} instead of {}", found.0, kind.0)),
        }
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.0.iter().any(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub(super) fn int(self, name: &str) -> Result<Option<i64>, String> {
        Ok(self.find(name, AttributeType::INT)?.and_then(|attribute| attribute.i))
    }

    pub(super) fn int_or(self, name: &str, default: i64) -> Result<i64, String> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn flag(self, name: &str) -> Result<bool, String> {
        Ok(self.int_or(name, 0)? != 0)
    }

    pub(super) fn float(self, name: &str) -> Result<Option<f32>, String> {
        Ok(self.find(name, AttributeType::FLOAT)?.and_then(|attribute| attribute.f))
    }

    pub(super) fn float_or(self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, String> {
        Ok(self.find(name, AttributeType::STRING)?.and_then(|attribute| attribute.s.as_deref()))
    }

    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, String> {
        Ok(self.find(name, AttributeType::INTS)?.map(|attribute| &attribute.ints[..]))
    }

    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, String> {
        Ok(self.find(name, AttributeType::FLOATS)?.map(|attribute| &attribute.floats[..]))
    }

    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, String> {
        Ok(self.find(name, AttributeType::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    pub(super) fn graph(self, name: &str) -> Result<&'a GraphProto, String> {
        let graph = self.find(name, AttributeType::GRAPH)?.and_then(|attribute| attribute.g.as_ref());
        graph.ok_or_else(|| format!("attribute {name} is missing"))
    }

    /// A list of sizes, empty where it is left out.
    pub(super) fn sizes(self, name: &str) -> Result<Vec<usize>, String> {
        let list = self.ints(name)?.unwrap_or_default();
        let size = |value: &i64| usize::try_from(*value).map_err(|_| format!("attribute {name} has {value}"));
        list.iter().map(size).collect()
    }
}
