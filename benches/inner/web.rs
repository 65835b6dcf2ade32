//! Parts of DICOM over HTTP: multipart/related, metadata, DICOM JSON.

use crate::data_sets::FRAMES;
use crate::inputs::{SLICE_BYTES, ct, enhanced, noise};
use crate::{Part, Run};
use bytes::{Bytes, BytesMut};
use std::hint::black_box;
use weybridge::dicom::transfer_syntax::EXPLICIT_VR_LE;
use weybridge::dicomweb::json;
use weybridge::dicomweb::metadata::{Form, Metadata};
use weybridge::dicomweb::multipart::{Event, Limits, Parser, PartHead, Writer};

const PARTS_OF_BODY: usize = 100;
const PART_BYTES: usize = 5000;
/// Bytes of a body that are there at once.
const CHUNK: usize = 16 << 10;
const BOUNDARY: &str = "8f0e3a9d3d6a1c22e7a84ad61d674cc5";
const LOCATION: &str = "https://surrey.example/studies/2.25.1/series/2.25.2/instances/2.25.3";

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "multipart-write",
        unit: "part",
        units: PARTS_OF_BODY,
        times: 100,
        input: "what stands around 100 parts, and the length of the whole",
        make: write,
    },
    Part {
        name: "multipart-read",
        unit: "part",
        units: PARTS_OF_BODY,
        times: 20,
        input: "100 parts of 5 kB, by 16 KiB",
        make: read,
    },
    Part {
        name: "metadata-ct",
        unit: "object",
        units: 1,
        times: 200,
        input: "a CT slice, 55 elements, as DICOM JSON",
        make: || metadata(ct(SLICE_BYTES)),
    },
    Part {
        name: "metadata-enhanced",
        unit: "frame",
        units: FRAMES,
        times: 5,
        input: "1,000 frames with a position each, as DICOM JSON",
        make: || metadata(enhanced(FRAMES)),
    },
    Part {
        name: "json-write",
        unit: "object",
        units: 1,
        times: 200,
        input: "the metadata of a CT slice, out of the model",
        make: || {
            let set = json::read(&as_json(&ct(SLICE_BYTES)), json::Limits::default()).unwrap().remove(0);
            Box::new(move || drop(black_box(json::write_one(black_box(&set)))))
        },
    },
    Part {
        name: "json-read",
        unit: "object",
        units: 1,
        times: 200,
        input: "the same, into the model",
        make: || {
            let text = as_json(&ct(SLICE_BYTES));
            Box::new(move || drop(black_box(json::read(black_box(&text), json::Limits::default()).unwrap())))
        },
    },
];

fn write() -> Run {
    let writer = Writer::new("application/dicom").unwrap();
    Box::new(move || {
        let part = PartHead { transfer_syntax: Some(black_box(EXPLICIT_VR_LE)), length: PART_BYTES as u64 };
        black_box(writer.length([part; PARTS_OF_BODY]));
        (0..PARTS_OF_BODY).for_each(|number| drop(black_box(writer.head(part, number == 0))));
        black_box(writer.end());
    })
}

fn read() -> Run {
    let mut body = BytesMut::new();
    for _ in 0..PARTS_OF_BODY {
        let head = format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: application/dicom; transfer-syntax={EXPLICIT_VR_LE}\r\n\
             Content-Length: {PART_BYTES}\r\n\r\n"
        );
        body.extend(head.bytes().chain(noise(PART_BYTES)));
    }
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    let body: Bytes = body.into();
    Box::new(move || {
        let mut parser = Parser::new(BOUNDARY, Limits::default()).unwrap();
        let (mut from, mut parts) = (0, 0);
        loop {
            match black_box(parser.next().unwrap()) {
                Event::NeedMore => {
                    let to = body.len().min(from + CHUNK);
                    parser.push(black_box(body.slice(from..to)));
                    from = to;
                }
                Event::PartEnd => parts += 1,
                Event::End => break,
                Event::PartStart(_) | Event::Data(_) => {}
            }
        }
        assert_eq!(parts, PARTS_OF_BODY);
    })
}

fn as_json(data_set: &[u8]) -> Vec<u8> {
    let (mut metadata, mut out) = (Metadata::new(Form::Json, LOCATION.to_owned()), Vec::new());
    metadata.push(data_set, &mut out).unwrap();
    metadata.finish(&mut out).unwrap();
    out
}

fn metadata(data_set: Vec<u8>) -> Run {
    Box::new(move || drop(black_box(as_json(black_box(&data_set)))))
}
