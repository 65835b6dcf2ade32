//! Tests of the multipart parser and writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::fired::note_fired;
use bytes::Bytes;
use proptest::prelude::*;

/// Whole parts as (content type, data), then how it ended: `Ok` or the error, be it while parsing or at the end.
type Told = (Vec<(Option<String>, Vec<u8>)>, Result<(), MultipartError>);

fn tell_with(boundary: &str, limits: Limits, chunks: impl Iterator<Item = Vec<u8>>) -> Told {
    let mut parser = Parser::new(boundary, limits).unwrap();
    let mut parts = Vec::new();
    let mut open: Option<(Option<String>, Vec<u8>)> = None;
    for chunk in chunks {
        parser.push(Bytes::from(chunk));
        loop {
            match parser.next() {
                Ok(Event::NeedMore | Event::End) => break,
                Ok(Event::PartStart(headers)) => {
                    assert!(open.is_none(), "a part inside a part");
                    open = Some((headers.content_type.map(|m| m.essence().to_owned()), Vec::new()));
                }
                Ok(Event::Data(bytes)) => {
                    assert!(!bytes.is_empty());
                    open.as_mut().expect("data outside a part").1.extend_from_slice(&bytes);
                }
                Ok(Event::PartEnd) => parts.push(open.take().expect("an end without a start")),
                Err(error) => {
                    assert_eq!(parser.next(), Err(error), "an error stays");
                    return (parts, Err(error));
                }
            }
        }
    }
    (parts, parser.finish())
}

fn tell(boundary: &str, body: &[u8], step: usize) -> Told {
    tell_with(boundary, Limits::default(), body.chunks(step).map(<[u8]>::to_vec))
}

fn datas(told: &Told) -> Vec<&[u8]> {
    told.0.iter().map(|(_, data)| data.as_slice()).collect()
}

#[test]
fn bodies_are_read_as_rfc_2046_says_and_a_little_beyond() {
    type Row<'a> = (&'a str, &'a [u8], &'a [&'a [u8]]);
    let rows: &[Row<'_>] = &[
        ("plain", b"--b\r\nContent-Type: application/dicom\r\n\r\nAB\r\n--b\r\n\r\nCD\r\n--b--\r\n", &[b"AB", b"CD"]),
        ("no line end at the end", b"--b\r\n\r\nAB\r\n--b--", &[b"AB"]),
        ("preamble and epilogue", b"hello\r\n--bx\r\nmore\r\n--b\r\n\r\nAB\r\n--b--\r\n--b\r\n\r\nno", &[b"AB"]),
        ("preamble that is an empty line", b"\r\n--b\r\n\r\nAB\r\n--b--", &[b"AB"]),
        (
            "longer boundaries are data",
            b"--b\r\n\r\nA\r\n--bc\r\nB\r\n--b-\r\nC\r\n--b--",
            &[b"A\r\n--bc\r\nB\r\n--b-\r\nC"],
        ),
        ("blanks after the boundary", b"--b \t\r\n\r\nA\r\n--b  \r\n\r\nB\r\n--b--", &[b"A", b"B"]),
        ("data ends in CR and LF", b"--b\r\n\r\nA\r\n\r\r\n--b--", &[b"A\r\n\r"]),
        ("LF alone in a CRLF body is data", b"--b\r\n\r\nA\n--b\nB\r\n--b--", &[b"A\n--b\nB"]),
        ("LF alone throughout", b"--b\nContent-Type: a/b\n\nA\r\n--b\n\nB\n--b--\n", &[b"A\r", b"B"]),
        ("empty parts", b"--b\r\n\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\n--b\r\n\r\n--b--", &[b"", b"", b""]),
        ("boundary at the start of a part but longer", b"--b\r\n\r\n--bb\r\n--b--", &[b"--bb"]),
        ("no parts", b"--b--\r\n", &[]),
        ("a byte order mark", b"\xEF\xBB\xBF--b\r\n\r\nA\r\n--b\r\n\r\nB\r\n--b--", &[b"A", b"B"]),
        ("half a byte order mark", b"\xEF\xBB--b\r\n\r\nA\r\n--b\r\n\r\nB\r\n--b--", &[b"B"]),
        (
            "lines that are no headers",
            b"--b\r\nno colon\r\n\0: x\r\nX : y\r\n\r\nA\r\n--b\r\n\r\nB\r\n--b--",
            &[b"A", b"B"],
        ),
    ];
    for (name, body, want) in rows {
        for step in [1, 2, 3, 5, 7, 4096] {
            let told = tell("b", body, step);
            assert_eq!((datas(&told), told.1), (want.to_vec(), Ok(())), "{name}, chunks of {step}");
        }
    }
}

/// Apostrophes around a boundary belong to it or stand for quotation marks, as the first delimiter line says.
#[test]
fn apostrophes_around_a_boundary_may_be_quotation_marks() {
    type Row<'a> = (&'a [u8], &'a [&'a [u8]]);
    let rows: &[Row<'_>] = &[
        (b"--'b'\r\n\r\nA\r\n--b\r\nB\r\n--'b'--", &[b"A\r\n--b\r\nB"]),
        (b"--b\r\n\r\nA\r\n--'b'\r\nB\r\n--b\r\n\r\nC\r\n--b--", &[b"A\r\n--'b'\r\nB", b"C"]),
        (b"no\r\n--bx\r\n--b\n\nA\n--b--", &[b"A"]),
        (b"--b--\r\n", &[]),
    ];
    for (body, want) in rows {
        for step in [1, 2, 3, 5, 7, 4096] {
            let told = tell("'b'", body, step);
            assert_eq!((datas(&told), told.1), (want.to_vec(), Ok(())), "{body:?}, chunks of {step}");
        }
    }
    // No pair.
    assert_eq!(tell("b'", b"--b\r\n\r\nA\r\n--b--", 4).1, Err(MultipartError::Truncated));
}

#[test]
fn broken_bodies_are_refused() {
    let many = b"--b\r\n\r\n".repeat(11);
    let long = [b"--b\r\nX: ".as_slice(), &[b'x'; 2000], b"\r\n\r\n"].concat();
    let rows: &[(&[u8], usize, MultipartError)] = &[
        (b"", 0, MultipartError::Truncated),
        (b"--b", 0, MultipartError::Truncated),
        (b"--b\r\nContent-Type: a/b\r\n", 0, MultipartError::Truncated),
        (b"--b\r\n\r\nAB", 0, MultipartError::Truncated),
        (b"--b\r\n\r\nAB\r\n--b", 0, MultipartError::Truncated),
        (b"--b\r\n\r\nAB\r\n--b-", 0, MultipartError::Truncated),
        (b"--b\r\n\r\nAB\r\n--b\r\n", 1, MultipartError::Truncated),
        (b"--b\r\nContent-Type: a/b\r\n\r\n", 0, MultipartError::Truncated),
        (b"--b\r\n\r\nAB\n--b--", 0, MultipartError::Truncated),
        (&[b'x'; 1001], 0, MultipartError::NoStart),
        (&long, 0, MultipartError::HeadersTooLong),
        (&many, 10, MultipartError::TooManyParts),
    ];
    let limits = Limits { header_bytes: 1000, preamble_bytes: 1000, parts: 10 };
    for (body, whole, error) in rows {
        for step in [1, 3, 8192] {
            let told = tell_with("b", limits, body.chunks(step).map(<[u8]>::to_vec));
            assert_eq!((told.0.len(), told.1), (*whole, Err(*error)), "{:?}", String::from_utf8_lossy(body));
        }
        note_fired(1);
    }
}

#[test]
fn part_headers_are_read_liberally() {
    let head = b"--b\r\ncontent-TYPE: application/dicom;\r\n transfer-syntax=\"1.2.3\"\r\nContent-Length:  42 \r\n\
        Content-Location: /studies/1\r\nContent-Transfer-Encoding: binary\r\nX-Other: \xFF\r\n\r\n";
    let mut parser = Parser::new("b", Limits::default()).unwrap();
    parser.push(Bytes::from_static(head));
    let Ok(Event::PartStart(headers)) = parser.next() else { panic!("no part") };
    assert_eq!(headers.transfer_syntax(), Some("1.2.3"));
    assert_eq!(headers.content_length, Some(42));
    assert_eq!(headers.content_location.as_deref(), Some("/studies/1"));
    assert_eq!(headers.encoding, None);

    parser.push(Bytes::from_static(
        b"x\r\n--b\r\nContent-Encoding: gzip\r\nContent-Length: -1\r\nContent-Type: ???\r\n\r\n",
    ));
    assert_eq!((parser.next(), parser.next()), (Ok(Event::Data(Bytes::from_static(b"x"))), Ok(Event::PartEnd)));
    let Ok(Event::PartStart(headers)) = parser.next() else { panic!("no part") };
    assert_eq!(headers, PartHeaders { encoding: Some("gzip".into()), ..PartHeaders::default() });

    // A line that is no header takes nothing from those beside it.
    let head = b"x\r\n--b\r\nno colon\r\nContent-Length: 7\n\0: x\r\nContent-Location: /a\r\n\r\n";
    parser.push(Bytes::from_static(head));
    assert_eq!((parser.next(), parser.next()), (Ok(Event::Data(Bytes::from_static(b"x"))), Ok(Event::PartEnd)));
    let Ok(Event::PartStart(headers)) = parser.next() else { panic!("no part") };
    let want = PartHeaders { content_length: Some(7), content_location: Some("/a".into()), ..PartHeaders::default() };
    assert_eq!(headers, want);
}

#[test]
fn the_content_type_gives_boundary_and_type() {
    let long = format!("multipart/related; boundary={}", "x".repeat(201));
    let rows = [
        ("multipart/related; type=\"application/dicom\"; boundary=abc", Ok(("abc", Some("application/dicom")))),
        ("Multipart/Related;boundary=\"a b:c\";type=Application/DICOM", Ok(("a b:c", Some("application/dicom")))),
        ("multipart/related; boundary=x", Ok(("x", None))),
        ("multipart/form-data; boundary=x", Err(MultipartError::NotRelated)),
        ("application/dicom", Err(MultipartError::NotRelated)),
        ("", Err(MultipartError::NotRelated)),
        ("multipart/related", Err(MultipartError::NoBoundary)),
        ("multipart/related; boundary=", Err(MultipartError::BadBoundary)),
        ("multipart/related; boundary=\"x \"", Err(MultipartError::BadBoundary)),
        ("multipart/related; boundary=\"a\u{e9}\"", Err(MultipartError::BadBoundary)),
        ("multipart/related; boundary=\"x", Err(MultipartError::BadContentType)),
        (&long, Err(MultipartError::BadBoundary)),
    ];
    for (text, want) in rows {
        let got = boundary_of(text);
        let got = got.as_ref().map(|r| (r.boundary.as_str(), r.part_type.as_deref())).map_err(|e| *e);
        assert_eq!(got, want, "{text:?}");
    }
}

#[test]
fn what_the_writer_frames_has_the_announced_length_and_is_read_back() {
    let writer = Writer::new("application/dicom").unwrap();
    let datas: [&[u8]; 3] = [b"one", b"", b"\r\n--"];
    let head = |data: &[u8]| PartHead { transfer_syntax: Some("1.2.840.10008.1.2.1"), length: data.len() as u64 };
    let mut body = Vec::new();
    for (n, data) in datas.iter().enumerate() {
        body.extend_from_slice(&writer.head(head(data), n == 0));
        body.extend_from_slice(data);
    }
    body.extend_from_slice(&writer.end());
    assert_eq!(writer.length(datas.iter().map(|data| head(data))), Some(body.len() as u64));
    let huge = PartHead { transfer_syntax: Some("1.2"), length: u64::MAX };
    assert_eq!(writer.length([huge]), None);

    let related = boundary_of(&writer.content_type()).unwrap();
    assert_eq!((related.boundary.len(), related.part_type.as_deref()), (32, Some("application/dicom")));
    let told = tell(&related.boundary, &body, 11);
    assert_eq!((self::datas(&told), &told.1), (datas.to_vec(), &Ok(())));
    assert_ne!(Writer::new("application/dicom").unwrap().content_type(), writer.content_type());
}

/// Bytes that come near to delimiters often.
fn near_delimiters() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"-".to_vec()),
        Just(b"--b1".to_vec()),
        Just(b"\r\n--b".to_vec()),
        Just(b"\r\n--b1x".to_vec()),
        Just(b"\r\n--b1 x".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

fn cut(body: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).chain([0, body.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| body[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn every_fragmentation_tells_the_same(
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"\r\n--b1\r\n\r\n".to_vec()), Just(b"\r\n--b1--".to_vec()), Just(b"\n--b1\n\n".to_vec()), near_delimiters(),
        ], 0..6),
        begins in any::<bool>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let body = [if begins { b"--b1\r\n\r\n".to_vec() } else { Vec::new() }, pieces.concat()].concat();
        let whole = tell("b1", &body, body.len().max(1));
        prop_assert_eq!(&tell_with("b1", Limits::default(), cut(&body, &cuts).into_iter()), &whole);
        prop_assert_eq!(&tell("b1", &body, 1), &whole);
    }

    #[test]
    fn any_data_without_a_delimiter_passes_unchanged(
        datas in proptest::collection::vec(near_delimiters(), 1..4),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let writer = Writer::new("application/dicom").unwrap();
        let mut body = Vec::new();
        for (n, data) in datas.iter().enumerate() {
            body.extend_from_slice(&writer.head(PartHead { transfer_syntax: Some("1.2"), length: data.len() as u64 }, n == 0));
            body.extend_from_slice(data);
        }
        body.extend_from_slice(&writer.end());
        let boundary = boundary_of(&writer.content_type()).unwrap().boundary;
        let told = tell_with(&boundary, Limits::default(), cut(&body, &cuts).into_iter());
        prop_assert_eq!(self::datas(&told), datas.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(told.1, Ok(()));
    }
}
