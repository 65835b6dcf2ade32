//! One object written by DCMTK and GDCM in every syntax that loses nothing: one canon, one digest of its pixels (IDY-003, IDY-005).

use crate::support::files::read_part10;
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::{demo_study, tool};
use crate::support::wait::seconds;
use std::path::{Path, PathBuf};
use std::process::Command;
use weybridge::dicom::canon::{Content, Digester, Pixels, Profile};
use weybridge::dicom::uid::TransferSyntaxUid;

/// Runs a program of DCMTK that writes a file from a file.
pub fn written(program: &str, options: &[&str], from: &Path, to: &Path) -> PathBuf {
    finish(Command::new(tool(program)).args(options).arg(from).arg(to), seconds(60)).ok(program);
    to.to_owned()
}

fn content(file: &Path) -> (String, Content) {
    let bytes = std::fs::read(file).unwrap();
    let meta = read_part10(&bytes).unwrap_or_else(|| panic!("{} is no DICOM file", file.display()));
    let mut digester = Digester::new(&TransferSyntaxUid::parse(&meta.syntax).unwrap(), Profile::default()).unwrap();
    bytes[meta.data_set_at..].chunks(4099).for_each(|piece| digester.push(piece).unwrap());
    (meta.syntax, digester.finish().unwrap_or_else(|error| panic!("{}: {error}", file.display())).0)
}

#[test]
fn an_object_is_the_same_in_every_syntax_that_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name);
    for study in ["ct", "mr"] {
        let source = &demo_study(study)[0];
        let files = [
            written("dcmconv", &["+te"], source, &to("explicit.dcm")),
            written("dcmconv", &["+ti"], source, &to("implicit.dcm")),
            written("dcmconv", &["+tb"], source, &to("big.dcm")),
            written("dcmconv", &["+td"], source, &to("deflated.dcm")),
            written("dcmconv", &["-e"], source, &to("undefined.dcm")),
            written("dcmcjpls", &[], source, &to("jpeg-ls.dcm")),
            written("dcmcjpeg", &["+e1"], source, &to("jpeg.dcm")),
            written("dcmcrle", &[], source, &to("rle.dcm")),
        ];
        let (_, want) = content(source);
        assert!(matches!(want.pixels, Pixels::Lossless(_)));
        let mut syntaxes = std::collections::BTreeSet::new();
        for file in &files {
            let (syntax, found) = content(file);
            assert_eq!(found.pixels, want.pixels, "{study} {syntax}");
            // DCMTK rewrites the attributes of its JPEG files.
            assert!(found == want || file.ends_with("jpeg.dcm"), "{study} {syntax}: {found:?} is not {want:?}");
            syntaxes.insert(syntax);
        }
        assert!(syntaxes.len() >= 7, "{syntaxes:?}");
        let (j2k, jpeg) = (to("gdcm-j2k.dcm"), to("gdcm-jpeg.dcm"));
        let arguments = [source.as_os_str(), "j2k".as_ref(), j2k.as_os_str(), "jpeg".as_ref(), jpeg.as_os_str()];
        python::run("gdcm_encode", arguments, seconds(60)).ok("GDCM");
        for file in [&j2k, &jpeg] {
            let (syntax, found) = content(file);
            assert_eq!(found.pixels, want.pixels, "{study} {syntax}");
        }
    }
}

#[test]
fn a_lossy_image_is_its_bitstream_and_never_its_decoded_frames() {
    let folder = tempfile::tempdir().unwrap();
    let source = &demo_study("us")[0];
    let (_, lossy) = content(source);
    assert!(matches!(lossy.pixels, Pixels::Lossy(_)));
    let decoded = written("dcmdjpeg", &[], source, &folder.path().join("decoded.dcm"));
    assert!(matches!(content(&decoded).1.pixels, Pixels::Lossless(_)));
}
