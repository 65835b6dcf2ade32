//! Every compressed file of pydicom and pydicom-data, decoded here and by others: the pixels are the same.

use crate::support::python;
use serde_json::Value;
use weybridge::dicom::pixels::{self, Frames, Image, Photometric};
use weybridge::dicom::uid::TransferSyntaxUid;

/// What a file must come to. Lossless codecs, and near-lossless JPEG-LS, have one right answer. The transforms of lossy
/// JPEG and JPEG 2000 are real numbers, so that decoders differ by one; with colours and interpolated chroma by a few.
fn allowed(row: &Value) -> u32 {
    match (row["syntax"].as_str().unwrap(), row["samples"].as_u64().unwrap()) {
        ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", 3) => 3,
        ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", _) | ("1.2.840.10008.1.2.4.91", _) => 1,
        _ => 0,
    }
}

fn image(row: &Value) -> Image {
    let number = |key: &str| u16::try_from(row[key].as_u64().unwrap()).unwrap();
    Image {
        rows: number("rows"),
        columns: number("columns"),
        samples: number("samples"),
        bits_allocated: number("bits_allocated"),
        bits_stored: number("bits_stored"),
        high_bit: None,
        signed: row["signed"].as_bool().unwrap(),
        photometric: Photometric::parse(row["photometric"].as_str().unwrap().as_bytes()),
        frames: number("frames").into(),
    }
}

/// The codestreams of an encapsulated Pixel Data, which is items with lengths.
fn codestreams(image: &Image, syntax: &TransferSyntaxUid, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Frames::new(image, syntax);
    let mut found = Vec::new();
    while bytes.len() >= 8 && bytes[..4] == [0xFE, 0xFF, 0x00, 0xE0] {
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        frames.begin(length);
        frames.push(&bytes[8..8 + length as usize]).unwrap();
        found.extend(frames.end());
        bytes = &bytes[8 + length as usize..];
    }
    found.push(frames.finish().unwrap());
    found
}

/// The largest difference between two cells, as numbers of their width.
fn difference(image: &Image, left: &[u8], right: &[u8]) -> u32 {
    assert_eq!(left.len(), right.len());
    let cell = usize::from(image.bits_allocated / 8);
    let value = |cell: &[u8]| {
        let whole = cell.iter().rev().fold(0i64, |all, byte| all << 8 | i64::from(*byte));
        if image.signed { whole << (64 - 8 * cell.len()) >> (64 - 8 * cell.len()) } else { whole }
    };
    let cells = left.chunks(cell).zip(right.chunks(cell));
    cells.map(|(l, r)| u32::try_from((value(l) - value(r)).abs()).unwrap()).max().unwrap()
}

/// Broken on purpose: nobody decodes it.
const BROKEN: [&str; 1] = ["JPEG2000-embedded-sequence-delimiter.dcm"];

#[test]
fn every_compressed_file_has_the_pixels_that_others_see() {
    let folder = tempfile::tempdir().unwrap();
    let rows = python::lines("frames", [folder.path()]);
    assert!(rows.len() > 50, "only {} compressed files", rows.len());
    let mut faults = Vec::new();
    for row in &rows {
        let name = row["name"].as_str().unwrap();
        let read = |what: &str| std::fs::read(folder.path().join(format!("{}.{what}", row["at"]))).unwrap();
        let (image, want) = (image(row), read("native"));
        let syntax = TransferSyntaxUid::parse(row["syntax"].as_str().unwrap()).unwrap();
        let started = std::time::Instant::now();
        let decoded: Result<Vec<u8>, _> = codestreams(&image, &syntax, &read("fragments"))
            .iter()
            .map(|codestream| pixels::decode(&syntax, &image, codestream).map(|frame| frame.bytes))
            .collect::<Result<Vec<_>, _>>()
            .map(|frames| frames.concat());
        let broken = BROKEN.contains(&name);
        match decoded {
            Err(_) if broken => {}
            Err(error) => faults.push(format!("{name}: {error}")),
            Ok(_) if broken => faults.push(format!("{name}: decoded")),
            Ok(got) => {
                let (off, most) = (difference(&image, &got, &want), allowed(row));
                println!("{name}: off by {off} of {most}, {:?}", started.elapsed());
                if off > most {
                    faults.push(format!("{name} ({syntax}): off by {off}, allowed {most}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

/// Whatever is done to a codestream, the answer is pixels or an error: never a panic, which would be `Failed`.
#[test]
fn damaged_codestreams_are_errors_not_panics() {
    let folder = tempfile::tempdir().unwrap();
    let (mut tried, mut refused, mut seed) = (0, 0, 1u64);
    for row in python::lines("frames", [folder.path()]) {
        let read = |what: &str| std::fs::read(folder.path().join(format!("{}.{what}", row["at"]))).unwrap();
        let (image, fragments) = (image(&row), read("fragments"));
        let syntax = TransferSyntaxUid::parse(row["syntax"].as_str().unwrap()).unwrap();
        if fragments.len() > 8 * 1024 || BROKEN.contains(&row["name"].as_str().unwrap()) {
            continue;
        }
        let whole = codestreams(&image, &syntax, &fragments).swap_remove(0);
        for round in 0..60 {
            let mut damaged = whole.clone();
            // A linear congruential generator (Knuth): the same damage in every run.
            let mut random = |below: usize| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as usize % below
            };
            match round % 3 {
                0 => damaged.truncate(random(whole.len())),
                1 => damaged[random(whole.len())] = random(256) as u8,
                _ => (0..8).for_each(|_| damaged[random(whole.len().min(120))] ^= 1 << random(8)),
            }
            let answer = pixels::decode(&syntax, &image, &damaged);
            assert_ne!(answer, Err(pixels::DecodeError::Failed), "{} {round}: {damaged:?}", row["name"]);
            tried += 1;
            refused += usize::from(answer.is_err());
        }
    }
    println!("{tried} damaged codestreams, {refused} refused");
    assert!(tried > 1000 && refused > tried / 3);
}
