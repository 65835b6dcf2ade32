//! Real files back by WADO-RS in every form, compared with the files by pydicom: nothing is lost, nothing is invented.

use crate::support::corpus::{self, CorpusFile, Fate};
use crate::support::dcmtk::storescu;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, head, names, part10};
use crate::support::python;
use crate::support::tools::demo_study;
use crate::wado::Site;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

/// Named by the file that pydicom's own decoders do not manage, and nobody else.
const BROKEN: &str = "JPEG2000-embedded-sequence-delimiter.dcm";

fn write(path: &Path, rows: &[Value]) {
    std::fs::write(path, rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
}

/// Stores files by C-STORE as they are.
fn push(site: &Site, rows: &[Value]) {
    let list = site.folder().join("list.jsonl");
    write(&list, rows);
    let port = site.gateway.config.dicom_port.to_string();
    let answers = python::lines("send", [port.as_str(), "WB_A", list.to_str().unwrap()]);
    let refused: Vec<&Value> = answers.iter().filter(|answer| answer["status"] != 0).collect();
    assert!(refused.is_empty() && answers.len() == rows.len(), "{refused:?}");
}

/// Asks for all of them by a program, whose last argument is the folder for what comes.
fn ask(site: &Site, program: &str, more: &[&str]) -> Vec<Value> {
    let arguments: [OsString; 6] = [
        site.gateway.config.url().into(),
        site.b.certificate.clone().into(),
        site.b.key.clone().into(),
        site.b.trust.clone().into(),
        site.folder().join("list.jsonl").into(),
        site.folder().into(),
    ];
    python::lines(program, arguments.into_iter().chain(more.iter().map(OsString::from)))
}

// WEB-003, WEB-100, WEB-102.
#[test]
fn every_file_comes_back_as_it_is_and_its_metadata_says_what_it_says() {
    let site = Site::start("");
    let files = corpus::files().into_iter().filter(|file| file.fate == Fate::First);
    let rows: Vec<Value> = files.map(|file| listed(&file)).collect();
    push(&site, &rows);
    let (mut stored, mut native, mut compared, mut followed, mut faults) = (0, 0, 0, 0, Vec::new());
    let told = ask(&site, "wado_forms", &[]);
    assert_eq!(told.len(), rows.len());
    for row in &told {
        let name = row["path"].as_str().unwrap().rsplit('/').next().unwrap();
        stored += u32::from(row["stored"] == true);
        compared += row["compared"].as_u64().unwrap_or(0);
        followed += row["followed"].as_u64().unwrap_or(0);
        let long = row["native"].is_null();
        let decodes = name != BROKEN && (long || row["native"] == 200 && row["received_as"] == EXPLICIT_LE);
        native += u32::from(row["native"] == 200);
        let refused = name == BROKEN && row["native"] == 406;
        let whole = row["stored"] != false && row["metadata"] == json!([]) && row["bulk"] == json!([]);
        if !whole || !(decodes || refused) {
            faults.push(row.to_string());
        }
    }
    println!(
        "summary: {} files, {stored} byte for byte, {native} native, {compared} attributes, {followed} links",
        told.len()
    );
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(
        stored > 100 && native > 140 && compared > 10_000 && followed > 50,
        "{stored} {native} {compared} {followed}"
    );
}

fn listed(file: &CorpusFile) -> Value {
    json!({ "path": file.path, "sop_class": file.sop_class, "sop_instance": file.instance, "syntax": file.syntax })
}

/// WEB-100: files that share their SOP Instance UID with another come back byte for byte, too: each of them is the first at a site of its own.
#[test]
fn every_file_that_shares_its_uid_comes_back_as_it_is() {
    // Of those with one UID a site gets one, so that none is held beside another.
    let mut sites: Vec<Vec<CorpusFile>> = Vec::new();
    for file in corpus::files().into_iter().filter(|file| !matches!(file.fate, Fate::First | Fate::Refused)) {
        let free = |files: &Vec<CorpusFile>| files.iter().all(|other| other.instance != file.instance);
        let place = sites.iter().position(free).unwrap_or(sites.len());
        sites.resize_with(sites.len().max(place + 1), Vec::new);
        sites[place].push(file);
    }
    let (mut stored, mut faults, all) = (0, Vec::new(), sites.iter().map(Vec::len).sum::<usize>());
    for files in sites {
        let (site, rows) = (Site::start(""), files.iter().map(listed).collect::<Vec<Value>>());
        push(&site, &rows);
        for row in ask(&site, "wado_forms", &["bytes"]) {
            stored += u32::from(row["stored"] == true);
            // Big endian and Implicit VR do not travel by web as they are.
            faults.extend((row["stored"] == false).then(|| row.to_string()));
        }
    }
    println!("summary: {all} files that share their UID, {stored} byte for byte");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(all >= 72 && stored > 30, "{stored} of {all}");
}

// WEB-003.
#[test]
fn what_is_compressed_comes_native_with_the_same_pixels() {
    let site = Site::start("");
    let rows = python::lines("fresh", [site.folder()]);
    push(&site, &rows);
    let told = ask(&site, "wado_forms", &[]);
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for (row, sent) in told.iter().zip(&rows) {
        let broken = sent["broken"] == true;
        match row["received"].as_str() {
            Some(received) if !broken => pairs.push(json!({ "sent": sent["path"], "received": received })),
            None if broken && row["native"] == 406 => {}
            _ => faults.push(row.to_string()),
        }
    }
    let list = site.folder().join("pairs.jsonl");
    write(&list, &pairs);
    for said in python::lines("same_pixels", [&list]) {
        let most = match (said["stored_as"].as_str().unwrap(), said["samples"].as_u64().unwrap()) {
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", 3) => 3,
            ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.91", _) => 1,
            _ => 0,
        };
        if said["off"].as_u64().is_none_or(|off| off > most) || said["received_as"] != EXPLICIT_LE {
            faults.push(said.to_string());
        }
    }
    println!("summary: {} files in native form", pairs.len());
    assert!(faults.is_empty() && pairs.len() > 50, "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The plain images of the corpus and one of each in every other syntax.
fn images(site: &Site) -> Vec<Value> {
    let plain = |file: &corpus::CorpusFile| {
        file.fate == Fate::First && ["1.2.840.10008.1.2", EXPLICIT_LE].contains(&file.syntax.as_str())
    };
    let files = corpus::files().into_iter().filter(plain);
    let plain = files.map(|file| {
        json!({ "path": file.path, "sop_class": file.sop_class, "sop_instance": file.instance, "syntax": file.syntax, "broken": false })
    });
    plain.chain(python::lines("fresh", [site.folder()])).collect()
}

/// Pictures that nobody here makes independently: each says why.
const MOST_UNCOMPARED: usize = 3;

/// How far a shade may be from pydicom's: the transforms of lossy JPEG are real numbers.
fn allowed(row: &Value) -> u64 {
    match (row["syntax"].as_str().unwrap(), row["samples"].as_u64().unwrap()) {
        ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51", 3) => 3,
        ("1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.91", _) => 1,
        _ => 0,
    }
}

// WEB-100: frames and rendered resources.
#[test]
fn frames_and_pictures_are_what_pydicom_and_pillow_make_of_the_files() {
    let site = Site::start("");
    let rows = images(&site);
    push(&site, &rows);
    let broken: Vec<&str> =
        rows.iter().filter(|row| row["broken"] == true).map(|row| row["path"].as_str().unwrap()).collect();
    let (mut native, mut codestreams, mut pictures, mut windows, mut faults) = (0, 0, 0, 0, Vec::new());
    let mut uncompared = Vec::new();
    for row in ask(&site, "wado_frames", &[]) {
        let most = allowed(&row);
        let is_broken = broken.contains(&row["path"].as_str().unwrap());
        let cells = row["native"].as_u64().is_some_and(|off| off <= most);
        let refused = row["status"] == json!([406, 406]);
        native += u32::from(cells);
        codestreams += u32::from(row["codestream"] == true);
        // Rounding may go either way at a shade's edge, and twice where a picture is made smaller.
        let shades = row["picture"].as_u64().map_or(row["why"].is_string(), |off| off <= most.max(1));
        let smaller = row["smaller"].as_u64().is_none_or(|off| off <= 1);
        // A window of half the range makes each difference twice as large.
        let windowed = row["windowed"].as_u64().is_none_or(|off| off <= (2 * most).max(1));
        windows += u32::from(row["windowed"].is_u64());
        if let Some(why) = row["why"].as_str().filter(|_| !is_broken) {
            uncompared.push(why.to_owned());
        }
        pictures += u32::from(row["picture"].is_u64());
        let drawn = !row["why"].as_str().unwrap_or_default().starts_with("status") || is_broken;
        if !(if is_broken { refused } else { cells && shades && windowed && smaller && drawn })
            || row["codestream"] == false
        {
            faults.push(row.to_string());
        }
    }
    println!(
        "summary: {native} files by frames, {codestreams} by codestreams, {pictures} pictures compared, {windows} in a \
         window that was asked for; not compared: {uncompared:?}"
    );
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(native > 100 && codestreams > 40 && windows > 60, "{native} {codestreams} {windows}");
    assert!(pictures > 100 && uncompared.len() <= MOST_UNCOMPARED, "{pictures} compared, not so: {uncompared:?}");
}

// WEB-100, with a client that others wrote: every way of retrieving that it has, its search being tested with QIDO-RS and its storing with STOW-RS.
// Of several pictures it gives the parts as they came. What it would delete stays (405).
#[test]
fn dicomweb_client_retrieves_whatever_it_knows_of() {
    let site = Site::start("");
    for name in ["ct", "mr"] {
        let files = demo_study(name);
        storescu(site.gateway.config.dicom_port, "WB_A", &["-R"], &files).ok("storescu");
        let to = [site.gateway.config.url().into(), site.b.certificate.clone().into(), site.b.key.clone().into()];
        let arguments = to.into_iter().chain([site.b.trust.clone().into()]);
        let told = python::lines("wado_client", arguments.chain(files.iter().map(OsString::from)));
        let wrong: Vec<String> = told.iter().filter(|row| row["good"] != true).map(Value::to_string).collect();
        assert!(wrong.is_empty() && told.len() == 22, "{name}: {wrong:?}");
    }
}

// WEB-101: what is not a frame, not a picture, not a range.
#[test]
fn nonsense_about_frames_and_pictures_is_refused() {
    let site = Site::start("");
    let names = names(438, 1, 1);
    site.store(&[part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 1000, 1))]);
    let instance = format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance);
    let many = vec!["1"; 9000].join(",");
    let octets = "Accept: application/octet-stream";
    let any = "Accept: */*";
    let rows = [
        ("frames/1", octets, 406),
        ("frames/0", any, 400),
        ("frames/-1", any, 400),
        ("frames/1,", any, 400),
        ("frames/a", any, 400),
        ("frames/2", any, 404),
        ("frames/4294967295", any, 404),
        ("frames/99999999999", any, 400),
        ("frames/1,1", octets, 406),
        ("frames/1", "Accept: image/png", 406),
        ("frames/1", "Accept: text/html", 406),
        ("rendered", "Accept: text/html", 406),
        ("rendered", "Accept: application/dicom, image/jpeg", 400),
        ("rendered?viewport=0,0", any, 400),
        ("rendered?window=1", any, 400),
        ("rendered?quality=200", any, 400),
        ("thumbnail?viewport=8,8,0,0,4,4", any, 400),
        ("frames/7/rendered", any, 404),
        ("frames/0/thumbnail", any, 400),
        ("bulkdata/00080060", "Accept: text/html", 406),
    ];
    for (below, accept, status) in rows {
        let reply = site.get(&format!("{instance}/{below}"), &[accept]);
        assert_eq!(reply.status, status, "{below} with {accept}: {reply:?}");
    }
    assert_eq!(site.get(&format!("{instance}/frames/{many}"), &[any]).status, 406, "a list as long as a head may be");
    let value = site.get(&format!("{instance}/bulkdata/00080060"), &[octets]);
    assert_eq!((value.status, value.header("accept-ranges")), (200, Some("bytes")), "{value:?}");
    let length = value.body.len();
    for (range, status) in
        [("bytes=0-0", 206), ("bytes=99999-", 416), ("bytes=-0", 416), ("bytes=5-1", 200), ("x=1", 200)]
    {
        let reply = site.get(&format!("{instance}/bulkdata/00080060"), &[octets, &format!("Range: {range}")]);
        assert_eq!(reply.status, status, "{range}: {reply:?}");
        assert!(status != 200 || reply.body.len() == length);
    }
}

/// A data set with pixels in fragments that are no codestream of any kind.
fn in_fragments(names: &Names) -> Vec<u8> {
    with_fragment(names, 2048, &[0xff, 0xd8, 0xff, 0xd9])
}

/// PS3.18 section 8.7.8.2: a part has a transfer syntax of its own. What fits none that is accepted is left out, and the answer says so
/// (WEB-003, WEB-101).
#[test]
fn each_part_of_a_study_has_a_syntax_of_its_own() {
    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.91";
    let site = Site::start("");
    let all = [names(443, 1, 1), names(443, 1, 2)];
    let file = |names: &Names, syntax: &str| part10(SECONDARY_CAPTURE, &names.instance, syntax, &in_fragments(names));
    site.store(&[file(&all[0], JPEG), file(&all[1], JPEG_2000)]);
    let member = |uid: &str| format!("multipart/related; type=\"application/dicom\"; transfer-syntax={uid}");
    let lossless = member("1.2.840.10008.1.2.4.70");
    let rows = [
        (format!("{}, {}", member(JPEG), member(JPEG_2000)), 200, [1, 1]),
        (member("*"), 200, [1, 1]),
        (member(JPEG), 206, [1, 0]),
        (format!("{lossless}, {}", member(JPEG_2000)), 206, [0, 1]),
        (lossless, 406, [0, 0]),
    ];
    let study = format!("studies/{}", all[0].study);
    for resource in [study.clone(), format!("{study}/series/{}", all[0].series)] {
        for (accept, status, want) in &rows {
            let reply = site.get(&resource, &[&format!("Accept: {accept}")]);
            let head = |uid: &str| format!("Content-Type: application/dicom; transfer-syntax={uid}\r\n");
            let parts = [JPEG, JPEG_2000].map(|uid| split(&reply.body, head(uid).as_bytes()).len() - 1);
            assert_eq!((reply.status, &parts), (*status, want), "{resource} with {accept}");
            let warned =
                reply.header("warning").is_some_and(|text| text.contains("that concerns 1 instances kept here"));
            assert_eq!(warned, *status == 206, "{accept}: {:?}", reply.header("warning"));
        }
    }
    // What is advised can help.
    let instance = format!("{study}/series/{}/instances/{}", all[0].series, all[0].instance);
    for (below, accept, advised) in [("", "application/dicom", true), ("/rendered", "*/*", false)] {
        let reply = site.get(&format!("{instance}{below}"), &[&format!("Accept: {accept}")]);
        let said = reply.text().contains("ask with transfer-syntax=*");
        assert_eq!((reply.status, said), (406, advised), "{below}: {reply:?}");
    }
    // A range of images covers the codestream that there is.
    for accept in ["image/jpeg", "image/*"] {
        let reply = site.get(&format!("{instance}/frames/1"), &[&format!("Accept: {accept}")]);
        let kind = reply.header("content-type").unwrap().to_owned();
        assert_eq!((reply.status, kind.starts_with("image/jpeg;")), (200, true), "{accept}: {reply:?}");
    }
}

/// WEB-101: the member of Accept that gives the type says whether in parts; a region that is not on the image is the request's fault.
#[test]
fn a_picture_is_given_as_the_member_that_asks_for_it_says() {
    let site = Site::start("");
    let names = names(443, 2, 1);
    let plain = before_rows(data_set(&names, 4096, 1), MONOCHROME);
    site.store(&[part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &plain)]);
    let instance = format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance);
    let rows = [
        ("rendered", "multipart/related; type=\"video/mp4\", image/png;q=0.5", 200, "image/png"),
        ("rendered", "multipart/related; type=\"image/png\"", 200, "multipart/related;"),
        ("rendered", "multipart/related", 200, "multipart/related;"),
        ("rendered?viewport=8,8,90000,0,4,4", "*/*", 400, "application/problem+json"),
        ("metadata", "multipart/related", 200, "multipart/related; type=\"application/dicom+xml\""),
        ("metadata", "multipart/*", 200, "multipart/related; type=\"application/dicom+xml\""),
    ];
    for (below, accept, status, kind) in rows {
        let reply = site.get(&format!("{instance}/{below}"), &[&format!("Accept: {accept}")]);
        let given = reply.header("content-type").unwrap();
        assert!(reply.status == status && given.starts_with(kind), "{below} with {accept}: {} {given}", reply.status);
    }
}

/// Photometric Interpretation, which the made-up data sets lack.
pub const MONOCHROME: &[u8] = b"\x28\0\x04\0CS\x0c\0MONOCHROME2 ";

/// A data set with an element that it lacked, just before Rows.
pub fn before_rows(mut bytes: Vec<u8>, element: &[u8]) -> Vec<u8> {
    let rows = bytes.windows(6).position(|at| at == b"\x28\0\x10\0US").unwrap();
    bytes.splice(rows..rows, element.iter().copied());
    bytes
}

/// A data set whose pixels, so many bytes of them when they are decoded, are in one fragment.
pub fn with_fragment(names: &Names, pixel_bytes: u32, fragment: &[u8]) -> Vec<u8> {
    let mut bytes = before_rows(head(names, pixel_bytes), MONOCHROME);
    let at = bytes.len() - 8;
    bytes.splice(at.., *b"OB\0\0\xff\xff\xff\xff");
    for item in [&[][..], fragment] {
        bytes.extend_from_slice(&[0xfe, 0xff, 0x00, 0xe0]);
        bytes.extend_from_slice(&u32::try_from(item.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(item);
    }
    bytes.extend_from_slice(&[0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
    bytes
}

/// WEB-101: one instance whose pixels cannot be decoded is 406 in either wrapper, and no body that breaks off.
#[test]
fn what_cannot_be_decoded_is_said_before_anything_is_sent() {
    let site = Site::start("");
    let names = names(438, 3, 1);
    let bytes = in_fragments(&names);
    site.store(&[part10(SECONDARY_CAPTURE, &names.instance, "1.2.840.10008.1.2.5", &bytes)]);
    let instance = format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance);
    for accept in ["application/dicom", "multipart/related; type=\"application/dicom\"", "*/*"] {
        let reply = site.get(&instance, &[&format!("Accept: {accept}")]);
        assert_eq!(reply.status, 406, "{accept}: {reply:?}");
    }
    let whole = site.get(&instance, &["Accept: application/dicom; transfer-syntax=*"]);
    assert!(whole.status == 200 && whole.body.ends_with(&bytes), "{whole:?}");
}

/// Zeros of 16 bits by RLE, in two segments (PS3.5 annex G).
fn rle_zeros(pixel_bytes: u32) -> Vec<u8> {
    let runs = pixel_bytes / 2 / 128;
    let mut out: Vec<u8> = [2, 64, 64 + 2 * runs].into_iter().flat_map(u32::to_le_bytes).collect();
    out.resize(64, 0);
    out.extend([0x81, 0].repeat(2 * runs as usize));
    out
}

/// WEB-003: one of a series that cannot be decoded is given as it is stored, and its part says so; the others are not held back
/// for it, short ones or long.
#[test]
fn one_that_cannot_be_decoded_does_not_hold_back_its_series() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let site = Site::start("");
    let all = [names(439, 1, 1), names(439, 1, 2), names(439, 1, 3)];
    let (short, long) = (32 << 10, 4 << 20);
    let stored = [with_fragment(&all[0], short, &rle_zeros(short)), in_fragments(&all[1])];
    let third = with_fragment(&all[2], long, &rle_zeros(long));
    let files: Vec<Vec<u8>> = all
        .iter()
        .zip(stored.iter().chain([&third]))
        .map(|(n, bytes)| part10(SECONDARY_CAPTURE, &n.instance, RLE, bytes))
        .collect();
    site.store(&files);
    let series = format!("studies/{}/series/{}", all[0].study, all[0].series);
    let reply = site.get(&series, &["Accept: multipart/related; type=\"application/dicom\""]);
    assert_eq!(reply.status, 200);
    let parts: Vec<&[u8]> = split(&reply.body, b"Content-Type: application/dicom; transfer-syntax=");
    // In the order in which they were kept, which is any.
    let (kept, made): (Vec<&[u8]>, Vec<&[u8]>) = parts[1..].iter().partition(|part| part.starts_with(RLE.as_bytes()));
    assert_eq!((kept.len(), made.len()), (1, 2));
    for pixels in [short, long] {
        let zeros = vec![0; pixels as usize];
        let holds = |part: &&[u8]| {
            part.windows(4 + zeros.len()).any(|at| at[..4] == pixels.to_le_bytes() && at[4..] == zeros[..])
        };
        assert_eq!(made.iter().filter(|part| holds(part)).count(), 1, "{pixels}");
    }
    assert!(kept[0].windows(stored[1].len()).any(|at| at == stored[1]), "as it is stored");
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(found) = rest.windows(at.len()).position(|window| window == at) {
        parts.push(&rest[..found]);
        rest = &rest[found + at.len()..];
    }
    parts.push(rest);
    parts
}

/// An image that promises two frames, and has the fragments of one.
fn of_two_frames(names: &Names) -> Vec<u8> {
    before_rows(in_fragments(names), b"\x28\0\x08\0IS\x02\x002 ")
}

/// WEB-101: instances of which no picture can be made do not end the pictures of their study; a study of nothing else has none.
#[test]
fn odd_instances_do_not_hold_back_the_pictures_of_their_study() {
    const RLE: &str = "1.2.840.10008.1.2.5";
    let site = Site::start("");
    let of = |names: &Names, syntax, bytes: &[u8]| part10(SECONDARY_CAPTURE, &names.instance, syntax, bytes);
    for (story, pictures) in [(440, 1), (441, 0)] {
        let all = [1, 2, 3, 4].map(|number| names(story, 1, number));
        let mut files = vec![
            of(&all[0], RLE, &of_two_frames(&all[0])),
            of(&all[1], EXPLICIT_LE, &in_fragments(&all[1])),
            of(&all[2], RLE, &in_fragments(&all[2])),
        ];
        if pictures > 0 {
            let plain = before_rows(data_set(&all[3], 4096, 1), MONOCHROME);
            files.push(of(&all[3], EXPLICIT_LE, &plain));
        }
        site.store(&files);
        let study = format!("studies/{}", all[0].study);
        for resource in [study.clone(), format!("{study}/series/{}", all[0].series)] {
            let reply = site.get(&format!("{resource}/rendered"), &["Accept: image/png"]);
            let parts = split(&reply.body, b"\x89PNG").len() - 1;
            let status = if pictures > 0 { 200 } else { 406 };
            assert_eq!((reply.status, parts), (status, pictures), "{resource}: {reply:?}");
            let small = site.get(&format!("{resource}/thumbnail"), &["Accept: image/png"]);
            assert_eq!(small.status, status, "{resource}: {small:?}");
        }
    }
}

/// A codestream in fragments under a transfer syntax that has none, as odil's `store` sends what is compressed: it is kept as it came, and its
/// frames are not given for cells, which a viewer would show as noise (WEB-101; PS3.5 section 8.2).
#[test]
fn fragments_without_a_coding_are_kept_but_given_as_no_cells() {
    let site = Site::start("");
    let names = names(438, 2, 1);
    let bytes = in_fragments(&names);
    let file = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &bytes);
    site.store(&[file]);
    let instance = format!("studies/{}/series/{}/instances/{}", names.study, names.series, names.instance);
    for below in ["frames/1", "rendered", "thumbnail", "bulkdata/7FE00010"] {
        for accept in ["Accept: */*", "Accept: multipart/related; type=\"application/octet-stream\"; transfer-syntax=*"]
        {
            if below != "frames/1" && accept.contains("octet") {
                continue;
            }
            let reply = site.get(&format!("{instance}/{below}"), &[accept]);
            let said = String::from_utf8_lossy(&reply.body);
            assert!(reply.status == 406 && said.contains("in fragments"), "{below} with {accept}: {reply:?}");
        }
    }
    let whole = site.get(&instance, &["Accept: application/dicom; transfer-syntax=*"]);
    assert!(whole.status == 200 && whole.body.ends_with(&bytes), "{whole:?}");
}
