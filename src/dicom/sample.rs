//! Data sets for tests: built from a model, written in every native encoding, and made up by proptest.

#![allow(clippy::expect_used)]

use super::tag::Tag;
use super::vr::Vr;
use proptest::prelude::*;

/// One element of a data set to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// An element with a value, whose words are in little-endian order.
    Value { tag: Tag, vr: Vr, value: Vec<u8> },
    /// A sequence, as SQ, or as UN of undefined length, which is implicit inside.
    Sequence { tag: Tag, vr: Vr, defined: bool, items: Vec<Item> },
    /// Pixel data in fragments.
    Fragments { fragments: Vec<Vec<u8>> },
}

/// One item of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// Whether it is written with a length or with a delimiter.
    pub(crate) defined: bool,
    pub(crate) nodes: Vec<Node>,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) explicit: bool,
    pub(crate) big: bool,
    /// Lengths of sequences and items as the transcoder writes them, instead of as the model has them.
    pub(crate) delimited: bool,
}

pub(crate) const IMPLICIT: Form = Form { explicit: false, big: false, delimited: false };
pub(crate) const EXPLICIT: Form = Form { explicit: true, big: false, delimited: false };
pub(crate) const BIG: Form = Form { explicit: true, big: true, delimited: false };
pub(crate) const DELIMITED: Form = Form { explicit: true, big: false, delimited: true };

impl Form {
    fn u16(self, number: u16) -> [u8; 2] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn tag(self, out: &mut Vec<u8>, tag: Tag) {
        out.extend(self.u16(tag.group()));
        out.extend(self.u16(tag.element()));
    }

    fn item(self, out: &mut Vec<u8>, element: u16, length: u32) {
        self.tag(out, Tag::new(0xFFFE, element));
        out.extend(self.u32(length));
    }

    pub(crate) fn header(self, out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
        self.tag(out, tag);
        if !self.explicit {
            out.extend(self.u32(length));
            return;
        }
        out.extend(vr.0);
        if vr.has_long_length() {
            out.extend([0, 0]);
            out.extend(self.u32(length));
        } else {
            out.extend(self.u16(u16::try_from(length).expect("a short length")));
        }
    }
}

/// Writes a data set.
pub(crate) fn encode(nodes: &[Node], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    nodes.iter().for_each(|node| encode_node(&mut out, node, form));
    out
}

fn encode_node(out: &mut Vec<u8>, node: &Node, form: Form) {
    match node {
        Node::Value { tag, vr, value } => {
            form.header(out, *tag, *vr, value.len() as u32);
            let start = out.len();
            out.extend(value);
            if form.big {
                out[start..].chunks_exact_mut(vr.word()).for_each(<[u8]>::reverse);
            }
        }
        Node::Sequence { tag, vr, defined, items } => {
            let inside = if *vr == Vr::UN { IMPLICIT } else { form };
            let content: Vec<u8> = items.iter().flat_map(|item| encode_item(item, inside)).collect();
            let defined = *vr != Vr::UN && *defined && (!form.delimited || content.is_empty());
            form.header(out, *tag, *vr, if defined { content.len() as u32 } else { u32::MAX });
            out.extend(content);
            if !defined {
                inside.item(out, 0xE0DD, 0);
            }
        }
        Node::Fragments { fragments } => {
            form.header(out, Tag::new(0x7FE0, 0x0010), Vr::OB, u32::MAX);
            for fragment in fragments {
                form.item(out, 0xE000, fragment.len() as u32);
                out.extend(fragment);
            }
            form.item(out, 0xE0DD, 0);
        }
    }
}

fn encode_item(item: &Item, form: Form) -> Vec<u8> {
    let content = encode(&item.nodes, form);
    let defined = item.defined && (!form.delimited || content.is_empty());
    let mut out = Vec::new();
    form.item(&mut out, 0xE000, if defined { content.len() as u32 } else { u32::MAX });
    out.extend(content);
    if !defined {
        form.item(&mut out, 0xE00D, 0);
    }
    out
}

/// An element with a value.
pub(crate) fn value(tag: u32, vr: Vr, value: &[u8]) -> Node {
    Node::Value { tag: Tag(tag), vr, value: value.to_vec() }
}

/// A sequence.
pub(crate) fn sequence(tag: u32, vr: Vr, defined: bool, items: Vec<Vec<Node>>) -> Node {
    let items = items.into_iter().map(|nodes| Item { defined, nodes }).collect();
    Node::Sequence { tag: Tag(tag), vr, defined, items }
}

/// A small CT image with an identity, a nested sequence, private data, and native pixels.
pub(crate) fn instance() -> Vec<Node> {
    let code = |defined| {
        sequence(
            0x0008_2218,
            Vr::SQ,
            defined,
            vec![vec![value(0x0008_0100, Vr::SH, b"T-D1100 "), value(0x0008_0104, Vr::LO, b"Head")], vec![]],
        )
    };
    vec![
        value(0x0008_0005, Vr::CS, b"ISO_IR 100"),
        value(0x0008_0016, Vr::UI, b"1.2.840.10008.5.1.4.1.1.2\0"),
        value(0x0008_0018, Vr::UI, b"1.2.3.4.5\0"),
        value(0x0008_0060, Vr::CS, b"CT"),
        sequence(0x0008_1140, Vr::SQ, true, vec![vec![value(0x0008_1155, Vr::UI, b"1.2.3.9\0"), code(true)]]),
        code(false),
        value(0x0009_0010, Vr::LO, b"WEYBRIDGE TEST"),
        value(0x0009_1001, Vr::UN, b"\x01\x02\x03\x04"),
        sequence(0x0009_1002, Vr::UN, false, vec![vec![value(0x0009_1003, Vr::UN, b"ab"), code(false)]]),
        value(0x0010_0010, Vr::PN, b"M\xFCller^Eva"),
        value(0x0010_0020, Vr::LO, b"4711"),
        value(0x0020_000D, Vr::UI, b"1.2.3.1\0"),
        value(0x0020_000E, Vr::UI, b"1.2.3.2\0"),
        value(0x0020_0013, Vr::IS, b"7 "),
        value(0x0028_0100, Vr::US, &[16, 0]),
        value(0x0028_0103, Vr::US, &[1, 0]),
        value(0x0028_0106, Vr::SS, &[0xFE, 0xFF]),
        value(0x7FE0_0010, Vr::OW, &(0..=255).collect::<Vec<u8>>()),
    ]
}

/// Elements that any encoding can hold and whose representation the dictionary knows, private ones as UN.
fn value_node() -> impl Strategy<Value = Node> {
    let menu = prop::sample::select(vec![
        (0x0008_0008, Vr::CS),
        (0x0008_0020, Vr::DA),
        (0x0008_1030, Vr::LO),
        (0x0009_1001, Vr::UN),
        (0x0010_0010, Vr::PN),
        (0x0018_1020, Vr::LO),
        (0x0018_9810, Vr::UN), // US or SS, not to be known yet
        (0x0020_9165, Vr::AT),
        (0x0028_0010, Vr::US),
        (0x0028_1201, Vr::OW),
        (0x0028_6114, Vr::FL),
        (0x0040_A161, Vr::FD),
        (0x0066_0040, Vr::OL),
        (0x0066_0016, Vr::OF),
        (0x0042_0011, Vr::OB),
        (0x0040_A160, Vr::UT),
        (0x0018_6020, Vr::SL),
        (0x0018_6018, Vr::UL),
    ]);
    (menu, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|((tag, vr), mut bytes)| {
        bytes.resize(bytes.len().next_multiple_of(2) * 4, 0x20);
        value(tag, vr, &bytes)
    })
}

/// Any data set: values, and sequences within sequences, with and without lengths.
pub(crate) fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let tree = value_node().prop_recursive(4, 40, 5, |inner| {
        let item = (any::<bool>(), prop::collection::vec(inner, 0..4));
        let items = prop::collection::vec(item.prop_map(|(defined, nodes)| Item { defined, nodes }), 0..3);
        (any::<bool>(), any::<bool>(), items).prop_map(|(public, defined, items)| {
            let (tag, vr) = if public { (0x0008_1140, Vr::SQ) } else { (0x0009_1002, Vr::UN) };
            Node::Sequence { tag: Tag(tag), vr, defined, items }
        })
    });
    prop::collection::vec(tree, 0..6)
}

/// A way to cut bytes into pieces.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..4usize, 0..40usize, 0..4000usize], 1..20)
}

/// Cuts `bytes` into pieces of these sizes, again and again.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in cuts.iter().cycle() {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
        if bytes.is_empty() || pieces.len() > 100_000 {
            break;
        }
    }
    pieces.push(bytes);
    pieces
}
