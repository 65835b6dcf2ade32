//! What reads and changes data sets as they stream past: scanner, transcoder, rewriter, and the Part 10 envelope.

use super::cutting::same_for_any_cutting;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use weybridge::dicom::attributes::{ACCESSION_NUMBER, OTHER_PATIENT_IDS, PATIENT_ID};
use weybridge::dicom::part10::{MAX_META_BYTES, MetaParser, Part10Error, ReceivedMeta};
use weybridge::dicom::rewrite::{Cleared, Edits, Rewriter, Survey};
use weybridge::dicom::scanner::{Limits, ScanError, Scanner};
use weybridge::dicom::tag::Tag;
use weybridge::dicom::transcode::Transcoder;
use weybridge::dicom::transfer_syntax as syntax;
use weybridge::dicom::uid::TransferSyntaxUid;

const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
/// Those that a first byte chooses from.
const SYNTAXES: [&str; 6] = [
    syntax::IMPLICIT_VR_LE,
    syntax::EXPLICIT_VR_LE,
    syntax::EXPLICIT_VR_BE,
    syntax::DEFLATED_EXPLICIT_VR_LE,
    JPEG_LOSSLESS,
    syntax::GE_PRIVATE_IMPLICIT_VR,
];
const LIMITS: Limits = Limits { depth: 16, value_bytes: 256, elements: 10_000, inflated_bytes: 256 * 1024 };

fn uid(text: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(text).expect("a UID")
}

type Values = BTreeMap<Tag, Box<[u8]>>;

fn scan(ts: &TransferSyntaxUid, pieces: &[&[u8]], limits: Limits) -> Result<Values, ScanError> {
    let mut scanner = Scanner::new(ts, limits);
    for piece in pieces {
        scanner.push(piece)?;
    }
    scanner.finish().map(|head| head.attributes.values)
}

/// Input: the first byte chooses the transfer syntax, the rest is the data set.
pub fn scanner(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let ts = uid(SYNTAXES[usize::from(choice) % SYNTAXES.len()]);
    // Of a broken deflated stream more or less was inflated before it was seen to be broken: that it is refused is the same, not why.
    let opaque = |error| if ts.as_str() == syntax::DEFLATED_EXPLICIT_VR_LE { None } else { Some(error) };
    let read = |pieces: &[&[u8]]| scan(&ts, pieces, LIMITS).map_err(opaque);
    let told = |head: &Result<Values, Option<ScanError>>| format!("{:?}", head.as_ref().map(|values| values.len()));
    let head = same_for_any_cutting(bytes, read, told);
    if let Ok(values) = head {
        let longest = values.values().map(|value| value.len()).max().unwrap_or_default();
        assert!(longest <= LIMITS.value_bytes, "a value of {longest} bytes was kept");
    }
}

/// A result without its values.
fn kind(head: &Result<Values, ScanError>) -> Result<Vec<Tag>, ScanError> {
    head.as_ref().map(|values| values.keys().copied().collect()).map_err(|error| *error)
}

/// Input: as for the scanner, native syntaxes. What comes out is a data set that says the same.
pub fn transcoder(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let native = [syntax::IMPLICIT_VR_LE, syntax::EXPLICIT_VR_BE, syntax::GE_PRIVATE_IMPLICIT_VR];
    let ts = uid(native[usize::from(choice) % native.len()]);
    let transcode = |pieces: &[&[u8]]| {
        let mut transcoder = Transcoder::new(&ts).expect("a native syntax");
        let mut out = Vec::new();
        for piece in pieces {
            let before = out.len();
            transcoder.push(piece, &mut out)?;
            assert!(out.len() - before <= 3 * piece.len() + 2048, "{} of {}", out.len() - before, piece.len());
        }
        let report = transcoder.finish(&mut out)?;
        assert_eq!(report.bytes, out.len() as u64);
        Ok::<_, weybridge::dicom::transcode::TranscodeError>(out)
    };
    let out = same_for_any_cutting(bytes, transcode, |out| format!("{:?}", out.as_ref().map(Vec::len)));
    let Ok(out) = out else { return };
    let explicit = uid(syntax::EXPLICIT_VR_LE);
    match (scan(&ts, &[bytes], Limits::default()), scan(&explicit, &[&out], Limits::default())) {
        (Ok(before), Ok(after)) => {
            // What is declared to be a number is swapped as one, though the dictionary says text.
            let same =
                |(a, b): (&[u8], &[u8])| a == b || ts.as_str() == syntax::EXPLICIT_VR_BE && sorted(a) == sorted(b);
            let values = |head: &Values| head.values().map(|value| value.to_vec()).collect::<Vec<_>>();
            let (old, new) = (values(&before), values(&after));
            assert!(before.keys().eq(after.keys()), "the head has other attributes");
            assert!(old.iter().zip(&new).all(|(a, b)| same((a, b))), "the head changed");
        }
        // A UID that is declared to be numbers is none any more once these are swapped.
        (Ok(_), Err(ScanError::Missing { .. })) if ts.as_str() == syntax::EXPLICIT_VR_BE => {}
        (before, after) => assert_eq!(kind(&before), kind(&after), "the output is no better and no worse"),
    }
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}

/// Input: as for the scanner, syntaxes that can be changed. What comes out has the new values and a record of the old.
pub fn rewriter(input: &[u8]) {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let changeable = [syntax::IMPLICIT_VR_LE, syntax::EXPLICIT_VR_LE, JPEG_LOSSLESS];
    let ts = uid(changeable[usize::from(choice) % changeable.len()]);
    let new: Box<[u8]> = b"ZZ001:4711".as_slice().into();
    let edits = Edits {
        values: BTreeMap::from([(PATIENT_ID, new.clone()), (ACCESSION_NUMBER, Box::default())]),
        items: BTreeMap::new(),
        cleared: BTreeMap::from([
            (OTHER_PATIENT_IDS, Cleared::All),
            (Tag::new(0x0040, 0x0275), Cleared::Text(ACCESSION_NUMBER)),
        ]),
        known: BTreeMap::new(),
        beside: BTreeSet::from([Tag::new(0x0010, 0x0021)]),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        system: "FUZZ".to_owned(),
        source: "peer".to_owned(),
    };
    let rewrite = |pieces: &[&[u8]]| {
        let mut rewriter = Rewriter::new(&ts, edits.clone())?;
        let mut out = Vec::new();
        for piece in pieces {
            rewriter.push(piece, &mut out)?;
        }
        let report = rewriter.finish(&mut out)?;
        assert_eq!(report.bytes, out.len() as u64);
        Ok::<_, weybridge::dicom::rewrite::RewriteError>(out)
    };
    let out = same_for_any_cutting(bytes, rewrite, |out| format!("{:?}", out.as_ref().map(Vec::len)));
    let Ok(out) = out else { return };
    assert!(out.len() <= bytes.len() + 3 * 16 * 1024 + 2 * 64 * 1024 + 2048, "{} bytes of {}", out.len(), bytes.len());
    // The gateway surveys first, and changes nothing that it cannot survey: what is broken inside a sequence of defined
    // length is only seen there.
    let survey = |bytes: &[u8]| {
        let mut survey = Survey::new(&ts, "FUZZ")?;
        survey.push(bytes)?;
        survey.finish()
    };
    if survey(bytes).is_err() {
        return;
    }
    let found = survey(&out).expect("what could be surveyed still can");
    assert!(found.before.is_some(), "the previous Patient ID is not recorded");
    assert_eq!(found.attributes.text(PATIENT_ID).as_deref(), Some("ZZ001:4711"));
    assert_eq!(found.attributes.text(ACCESSION_NUMBER).unwrap_or_default(), "", "it was to be emptied");
    let stays = found.filled.iter().find(|tag| [OTHER_PATIENT_IDS, Tag::new(0x0040, 0x0275)].contains(tag));
    assert_eq!(stays, None, "it was to be cleared");
    if let Ok(before) = scan(&ts, &[bytes], Limits::default()) {
        let after = scan(&ts, &[&out], Limits::default()).expect("it was a good data set before");
        let changed = |tag: &Tag| [PATIENT_ID, ACCESSION_NUMBER].contains(tag);
        let kept = |values: &Values| values.clone().into_iter().filter(|(tag, _)| !changed(tag)).collect::<Values>();
        assert!(kept(&before) == kept(&after), "something else changed");
    }
}

/// Input: a file. Where its data set begins does not depend on the cutting.
pub fn part10(input: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let mut parser = MetaParser::new();
        for (at, piece) in pieces.iter().enumerate() {
            if let Some(found) = parser.push(piece)? {
                let rest = [&piece[found.used..], &pieces[at + 1..].concat()].concat();
                return Ok(Some((found.meta, [found.early, rest].concat())));
            }
        }
        Ok::<Option<(ReceivedMeta, Vec<u8>)>, Part10Error>(None)
    };
    let told = same_for_any_cutting(input, read, |found| format!("{:?}", found.as_ref().map(Option::is_some)));
    if let Ok(Some((_, data_set))) = told {
        assert!(input.ends_with(&data_set), "the data set is not the end of the file");
        assert!(input.len() - data_set.len() <= MAX_META_BYTES + 1024, "the envelope is too long");
    }
}
