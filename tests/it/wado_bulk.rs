//! Bulk data by WADO-RS: every value that the metadata links, of a study, a series or an instance, and the links to compressed pixels; and
//! how much is read for one frame.

use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, head, names, part10};
use crate::support::multipart::boundary_of;
use crate::support::wait::{seconds, until};
use crate::support::wire::Reply;
use crate::wado::Site;
use crate::wado_forms::{MONOCHROME, before_rows, with_fragment};
use std::io::Write;

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const HTJ2K: &str = "1.2.840.10008.1.2.4.201";
const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
const BYTES: &str = "multipart/related; type=\"application/octet-stream\"";

/// Media type, location below the service, and bytes of each part, by location: in which order instances come is not said.
fn parts(reply: &Reply) -> Vec<(String, String, Vec<u8>)> {
    let delimiter = format!("--{}", boundary_of(reply.header("content-type").unwrap()).unwrap());
    let starts: Vec<usize> = memchr::memmem::find_iter(&reply.body, delimiter.as_bytes()).collect();
    let parts = starts.windows(2).map(|pair| &reply.body[pair[0] + delimiter.len()..pair[1]]);
    let mut parts: Vec<_> = parts
        .map(|part| {
            let end = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
            let head = String::from_utf8(part[..end].to_vec()).unwrap();
            let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
            let location = field("Content-Location:").split_once("/dicom-web/").unwrap().1.to_owned();
            (field("Content-Type:"), location, part[end + 4..part.len() - 2].to_vec())
        })
        .collect();
    parts.sort_by(|one, other| one.1.cmp(&other.1));
    parts
}

fn of_instance(names: &Names) -> String {
    format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance)
}

/// WEB-100, WEB-102: all bulk data of a resource comes in parts whose locations are the links of the metadata; a link to compressed pixels
/// leads to them under their media type.
#[test]
fn all_bulk_data_comes_in_parts_and_links_lead_to_compressed_pixels() {
    let site = Site::start("");
    let all = [1, 2, 3, 4].map(|n| names(460, 1, n));
    let native = data_set(&all[0], 4000, 1);
    let (codestream, video) = (vec![1; 600], vec![2; 3000]);
    let file = |names: &Names, syntax, data: &[u8]| part10(SECONDARY_CAPTURE, &names.instance, syntax, data);
    site.store(&[
        file(&all[0], EXPLICIT_LE, &native),
        file(&all[1], HTJ2K, &with_fragment(&all[1], 2048, &codestream)),
        file(&all[2], MPEG_4, &with_fragment(&all[2], 2048, &video)),
        // It has no value that is long.
        file(&all[3], EXPLICIT_LE, &data_set(&all[3], 100, 1)),
    ]);
    let values = [native[native.len() - 4000..].to_vec(), codestream, video];
    let part = |n: usize, media: &str, syntax: &str| {
        let kind = format!("{media}; transfer-syntax={syntax}");
        (kind, format!("{}/bulkdata/7FE00010", of_instance(&all[n])), values[n].clone())
    };
    let octets = "application/octet-stream";
    let cells = || part(0, octets, EXPLICIT_LE);
    let as_stored = format!("{BYTES}; transfer-syntax=*");
    let study = format!("studies/{}", all[0].study);
    let series = format!("{study}/series/{}", all[0].series);
    let whole = vec![cells(), part(1, octets, HTJ2K), part(2, octets, MPEG_4)];
    let rows = [
        (&study, as_stored.as_str(), 200, whole.clone()),
        (&series, as_stored.as_str(), 200, whole.clone()),
        (&study, "*/*", 200, vec![cells(), part(1, "image/jphc", HTJ2K), part(2, "video/mp4", MPEG_4)]),
        // What cannot be decoded is left out, and the answer says so.
        (&study, BYTES, 206, vec![cells()]),
        (&study, "multipart/related; type=\"video/mp4\"", 206, vec![part(2, "video/mp4", MPEG_4)]),
        (&of_instance(&all[0]), BYTES, 200, vec![cells()]),
        (&of_instance(&all[1]), as_stored.as_str(), 200, whole[1..2].to_vec()),
        (&of_instance(&all[1]), BYTES, 406, vec![]),
        (&of_instance(&all[3]), BYTES, 404, vec![]),
        (&study, octets, 406, vec![]),
        (&study, "image/png", 406, vec![]),
        (&"studies/1.2.3".to_owned(), "*/*", 404, vec![]),
    ];
    for (resource, accept, status, want) in rows {
        let reply = site.get(&format!("{resource}/bulkdata"), &[&format!("Accept: {accept}")]);
        assert_eq!(reply.status, status, "{resource} as {accept}: {reply:?}");
        assert_eq!(reply.header("warning").is_some(), status == 206, "{resource} as {accept}");
        if !want.is_empty() {
            assert_eq!(parts(&reply), want, "{resource} as {accept}");
        }
    }
    let rows = [
        (0, octets, 200, "application/octet-stream", EXPLICIT_LE),
        (1, octets, 406, "", ""),
        (1, "image/jphc", 200, "image/jphc", HTJ2K),
        (1, "application/octet-stream; transfer-syntax=*", 200, octets, HTJ2K),
        (2, "video/mp4", 200, "video/mp4", MPEG_4),
        (2, "video/mpeg2", 406, "", ""),
    ];
    for (n, accept, status, media, syntax) in rows {
        let reply = site.get(&format!("{}/bulkdata/7FE00010", of_instance(&all[n])), &[&format!("Accept: {accept}")]);
        assert_eq!(reply.status, status, "{n} as {accept}: {reply:?}");
        if status == 200 {
            assert!(reply.body == values[n], "{n} as {accept}");
            let kind = format!("{media}; transfer-syntax={syntax}");
            assert_eq!(reply.header("content-type"), Some(kind.as_str()), "{n} as {accept}");
        }
    }
    let one = site.get(&format!("{}/bulkdata/7FE00010", of_instance(&all[1])), &["Accept: */*"]);
    assert_eq!((one.status, parts(&one)), (200, vec![part(1, "image/jphc", HTJ2K)]));
}

/// WEB-100: once an instance was compared with its digest, one frame of it is read by its place, and not the whole of it.
#[test]
fn a_frame_is_read_by_its_place() {
    const FRAMES: u16 = 16;
    const FRAME: usize = 2 << 20;
    let mut site = Site::start("");
    let names = names(461, 1, 1);
    let data = data_set(&names, u32::try_from(FRAME).unwrap() * u32::from(FRAMES), 1);
    let cells = data[data.len() - FRAME * usize::from(FRAMES)..].to_vec();
    let mut data = before_rows(data, &[MONOCHROME, b"\x28\0\x08\0IS\x02\x0016"].concat());
    let rows = data.windows(8).position(|at| at == b"\x28\0\x10\0US\x02\0").unwrap() + 8;
    data[rows..rows + 2].copy_from_slice(&u16::try_from(FRAME / 2048).unwrap().to_le_bytes());
    site.store(&[part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data)]);
    let frame = format!("{}/frames/7", of_instance(&names));
    // The first is read beside the comparison of all of it, which ends at some time.
    until(seconds(60), "one frame costs no more than itself", || {
        let before = site.gateway.bytes_read();
        let reply = site.get(&frame, &["Accept: application/octet-stream"]);
        assert!(reply.status == 200 && reply.body == cells[6 * FRAME..7 * FRAME], "{}", reply.status);
        let read = site.gateway.bytes_read() - before;
        (read < 2 * FRAME as u64).then_some(())
    });
}

/// Three frames of three times three pixels of one bit.
fn of_bits(names: &Names, frames: [u32; 3]) -> Vec<u8> {
    let mut bytes = before_rows(head(names, 4), b"\x28\0\x08\0IS\x02\x003 ");
    for (element, value) in [(0x0010_u16, 3), (0x0011, 3), (0x0100, 1), (0x0101, 1)] {
        let header = [&[0x28, 0][..], &element.to_le_bytes(), b"US\x02\0"].concat();
        let at = memchr::memmem::find(&bytes, &header).unwrap() + header.len();
        bytes[at] = value;
        bytes[at + 1] = 0;
    }
    let [first, second, third] = frames;
    bytes.extend_from_slice(&(first | second << 9 | third << 18).to_le_bytes());
    bytes
}

/// WEB-100; PS3.5 section 8.1.1: a frame that begins within a byte begins there also where it passes by as its data set is inflated.
#[test]
fn frames_of_bits_begin_within_a_byte_also_where_they_were_deflated() {
    let site = Site::start("");
    let frames = [0x101, 0x0F3, 0x1A5];
    for (number, syntax) in [(1, EXPLICIT_LE), (2, DEFLATED)] {
        let names = names(445, 1, number);
        let mut bytes = of_bits(&names, frames);
        if syntax == DEFLATED {
            let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            deflated.write_all(&bytes).unwrap();
            bytes = deflated.finish().unwrap();
        }
        site.store(&[part10(SECONDARY_CAPTURE, &names.instance, syntax, &bytes)]);
        let instance = format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance);
        let reply = site.get(&format!("{instance}/frames/1,2,3"), &["Accept: */*"]);
        assert_eq!(reply.status, 200, "{syntax}: {reply:?}");
        let came: Vec<Vec<u8>> = parts(&reply).into_iter().map(|(_, _, frame)| frame).collect();
        let want = frames.map(|frame: u32| frame.to_le_bytes()[..2].to_vec());
        assert_eq!(came, want, "{syntax}");
    }
}
