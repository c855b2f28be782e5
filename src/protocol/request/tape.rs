//! The parsed text as simd-json leaves it: a flat list of nodes, each container followed by what is in it.

use std::io::Write;

use simd_json::{Node, StaticNode};

use crate::protocol::encode;

/// A value: its own node first, then those of everything in it.
#[derive(Clone, Copy)]
pub(super) struct Value<'t, 'a>(&'t [Node<'a>]);

impl<'t, 'a> Value<'t, 'a> {
    /// The value that a whole text is.
    pub(super) fn root(nodes: &'t [Node<'a>]) -> Self {
        Self(nodes)
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.0, [Node::Static(StaticNode::Null)])
    }

    pub(super) fn string(self) -> Option<&'a str> {
        match self.0 {
            [Node::String(text)] => Some(text),
            _ => None,
        }
    }

    /// The number, if it is written as an integer without a sign: neither `1.0` nor `1e3` nor `-0`.
    pub(super) fn integer(self) -> Option<u64> {
        match self.0 {
            [Node::Static(StaticNode::U64(number))] => Some(*number),
            _ => None,
        }
    }

    /// The nodes of an object's members, keys and values alternating.
    pub(super) fn members(self) -> Option<&'t [Node<'a>]> {
        match self.0 {
            [Node::Object { .. }, members @ ..] => Some(members),
            _ => None,
        }
    }

    /// The number of an array's elements, and the elements.
    pub(super) fn elements(self) -> Option<(usize, Values<'t, 'a>)> {
        match self.0 {
            [Node::Array { len, .. }, elements @ ..] => Some((*len, Values(elements))),
            _ => None,
        }
    }
}

/// Values that follow each other.
pub(super) struct Values<'t, 'a>(pub(super) &'t [Node<'a>]);

impl<'t, 'a> Iterator for Values<'t, 'a> {
    type Item = Value<'t, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let nodes = match self.0.first()? {
            Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
            Node::String(_) | Node::Static(_) => 1,
        };
        let (value, rest) = self.0.split_at(nodes);
        self.0 = rest;
        Some(Value(value))
    }
}

/// Whether any key or string has a NUL character in it.
pub(super) fn holds_nul(nodes: &[Node<'_>]) -> bool {
    nodes.iter().any(|node| match node {
        Node::String(text) => text.as_bytes().contains(&0),
        Node::Object { .. } | Node::Array { .. } | Node::Static(_) => false,
    })
}

/// Appends the object with these members as JSON without white space.
pub(super) fn encode_object(members: &[Node<'_>], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut values = Values(members);
    let mut separator: &[u8] = b"";
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        out.extend_from_slice(separator);
        encode_value(key, out);
        out.push(b':');
        encode_value(value, out);
        separator = b",";
    }
    out.push(b'}');
}

/// Recursive: the depth of nesting was bounded when the text was parsed.
fn encode_value(value: Value<'_, '_>, out: &mut Vec<u8>) {
    match value.0 {
        [Node::Object { .. }, members @ ..] => encode_object(members, out),
        [Node::Array { .. }, elements @ ..] => {
            out.push(b'[');
            for (index, element) in Values(elements).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                encode_value(element, out);
            }
            out.push(b']');
        }
        [Node::String(text), ..] => encode::string(out, text),
        [Node::Static(node), ..] => encode_static(*node, out),
        [] => {}
    }
}

fn encode_static(node: StaticNode, out: &mut Vec<u8>) {
    let written = match node {
        StaticNode::Null => out.write_all(b"null"),
        StaticNode::Bool(truth) => write!(out, "{truth}"),
        StaticNode::U64(number) => write!(out, "{number}"),
        // Positive integers are `U64`, so this was written as `-0`, which readers take for the float that it is in JavaScript.
        StaticNode::I64(0) => out.write_all(b"-0"),
        StaticNode::I64(number) => write!(out, "{number}"),
        // `Debug` writes the shortest digits that read back to the same number, and an exponent for the very large and small.
        StaticNode::F64(number) => write!(out, "{number:?}"),
    };
    written.expect("a Vec takes every write");
}
