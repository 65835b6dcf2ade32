//! Frames of pixel data: what a decoder makes of any codestream, and how fragments become frames.

use weybridge::dicom::pixels::{DecodeError, FragmentError, Frames, Image, Photometric, decode, decoded_photometric};
use weybridge::dicom::uid::TransferSyntaxUid;

const SYNTAXES: [&str; 10] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.98",
];
const PHOTOMETRICS: [Photometric; 4] =
    [Photometric::Monochrome2, Photometric::Rgb, Photometric::YbrFull, Photometric::YbrFull422];

/// Input: transfer syntax, rows, columns, samples, bytes of a cell, bits stored, photometric interpretation, sign and
/// frames, each a byte; then the codestream.
pub fn decoder(input: &[u8]) {
    let Some((&[syntax, rows, columns, samples, cell, stored, photometric, more], codestream)) =
        input.split_first_chunk::<8>()
    else {
        return;
    };
    let image = Image {
        rows: u16::from(rows),
        columns: u16::from(columns),
        samples: [1, 3, 4][usize::from(samples) % 3],
        bits_allocated: [8, 16, 32][usize::from(cell) % 3],
        bits_stored: u16::from(stored % 33),
        high_bit: None,
        signed: more & 1 == 1,
        photometric: PHOTOMETRICS[usize::from(photometric) % PHOTOMETRICS.len()],
        frames: u32::from(more >> 1),
    };
    let syntax = TransferSyntaxUid::parse(SYNTAXES[usize::from(syntax) % SYNTAXES.len()]).expect("a UID");
    match decode(&syntax, &image, codestream) {
        Ok(frame) => {
            assert_eq!(Ok(frame.bytes.len()), image.frame_bytes());
            assert_eq!(frame.photometric, decoded_photometric(&syntax, &image));
            let again = decode(&syntax, &image, codestream);
            assert!(again.as_ref() == Ok(&frame), "the same codestream gives other cells");
        }
        // The syntaxes are all of those that there are decoders for.
        Err(error) => assert!(error != DecodeError::Syntax && !error.to_string().is_empty()),
    }
    frames(&image, &syntax, codestream);
}

/// The same bytes as fragments, cut where they say: a length, then so many bytes.
fn frames(image: &Image, syntax: &TransferSyntaxUid, mut bytes: &[u8]) {
    let mut frames = Frames::new(image, syntax);
    let (mut whole, mut fragments) = (0, 0);
    while let Some((&length, rest)) = bytes.split_first() {
        let (fragment, rest) = rest.split_at(usize::from(length).min(rest.len()));
        frames.begin(fragment.len() as u32);
        if frames.push(fragment).is_err() {
            return;
        }
        whole += u64::from(frames.end().is_some());
        (bytes, fragments) = (rest, fragments + 1);
    }
    match frames.finish() {
        // No frame promised and none found is one that is empty.
        Ok(_) => assert_eq!(whole + 1, u64::from(image.frames.max(1)), "frames of {fragments} fragments"),
        Err(FragmentError::Count { found, promised }) => assert!(found != u64::from(promised) && found <= fragments),
        Err(FragmentError::TooLong) => {}
    }
}
