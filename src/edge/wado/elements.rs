//! Bulk data of one instance, element after element: values as Explicit VR Little Endian has them, pixels in the form that was settled on
//! (PS3.18 sections 8.7.3.3 and 10.4.3.3.5; WEB-100, WEB-102).

use super::body::Pieces;
use super::data_set::{As, DataSet, transcoder};
use super::formless;
use super::pixels::{Frame, Frames};
use crate::dicom::contents::Path;
use crate::dicom::tag::PIXEL_DATA;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Encoding, encoding};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::OCTET_STREAM;
use crate::dicomweb::metadata::{Linked, Links};
use crate::dicomweb::wado::{self, Octets, Syntax};
use crate::edge::http::WebFace;
use crate::records::Retrievable;
use bytes::{Buf, Bytes};
use std::io;

/// In which form the pixels leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Native, as Explicit VR Little Endian has them.
    Native,
    /// Compressed as they are stored, under this media type.
    Stored(&'static str),
    /// Not at all.
    Without,
}

impl Form {
    /// The form of the first that is wanted and that an instance in this transfer syntax has.
    pub(super) fn of(stored: &TransferSyntaxUid, wanted: &[Octets]) -> Self {
        wanted.iter().find_map(|wanted| Self::fits(stored, wanted)).unwrap_or(Self::Without)
    }

    /// The form of an instance's pixels that is wanted, if they have it.
    pub(super) fn fits(stored: &TransferSyntaxUid, wanted: &Octets) -> Option<Self> {
        let bytes = wanted.media == OCTET_STREAM;
        let as_stored = match &wanted.syntax {
            Syntax::AsStored => true,
            Syntax::Only(uid) => uid == stored.as_str(),
        };
        if encoding(stored) == Encoding::EncapsulatedExplicitLittle && as_stored {
            let own = wado::compressed(stored.as_str()).filter(|own| *own == wanted.media);
            if let Some(media) = own.or(bytes.then_some(OCTET_STREAM)) {
                return Some(Self::Stored(media));
            }
        }
        let native = wanted.syntax.is_default() || wanted.syntax == Syntax::AsStored;
        (bytes && native && transcoder(stored, As::Native).is_some()).then_some(Self::Native)
    }
}

/// What stands before the bytes of a value, or of one of its frames.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) media: &'static str,
    pub(super) syntax: String,
    pub(super) length: Option<u64>,
    /// Its link in the metadata.
    pub(super) link: String,
    /// Of so many parts.
    pub(super) of: u32,
}

/// What comes next.
pub(super) enum Out {
    Head(Head),
    Bytes(Bytes),
}

enum Step {
    Out(Out),
    /// Fragments begin, under this link.
    Fragments(String),
}

/// The elements of one instance. The end comes only after the digest agreed.
pub(super) struct Elements {
    face: WebFace,
    item: Retrievable,
    /// Where the instance is retrieved.
    location: String,
    form: Form,
    /// Whether other values than pixels in fragments are given.
    values: bool,
    data_set: DataSet,
    links: Links,
    /// Read, and not looked at yet.
    held: Bytes,
    /// What passes is not given as it passes.
    skips: bool,
    frames: Option<Run>,
}

/// The frames of an element, one after the other.
struct Run {
    frames: Frames,
    given: u32,
    current: Option<Frame>,
    media: &'static str,
    link: String,
}

impl Elements {
    /// Those that are links in the metadata, or one, whatever its length. What turns out not to be decodable is given as it is stored.
    pub(super) async fn open(
        face: &WebFace,
        item: Retrievable,
        location: String,
        (form, values): (Form, bool),
        only: Option<Path>,
    ) -> io::Result<Self> {
        let decodes = form == Form::Native && encoding(&item.transfer_syntax) == Encoding::EncapsulatedExplicitLittle;
        let mut settled = form;
        if decodes && !is_made(face, &item).await? {
            tracing::warn!(instance = %item.sop_instance, "its pixels are given as they are stored: they cannot be decoded");
            settled = Form::Stored(OCTET_STREAM);
        }
        let reads = if decodes && settled == Form::Native { As::Native } else { As::Readable };
        let data_set = DataSet::open(face, &item, reads).await?;
        let (links, face) = (Links::new(only), face.clone());
        let (held, frames) = (Bytes::new(), None);
        Ok(Self { face, item, location, form: settled, values, data_set, links, held, skips: false, frames })
    }

    /// The next piece; none at the end. After an error there are no more.
    pub(super) async fn next(&mut self) -> io::Result<Option<Out>> {
        loop {
            if let Some(run) = &mut self.frames {
                match run.next(self.item.transfer_syntax.as_str()).await? {
                    Some(out) => return Ok(Some(out)),
                    None => self.frames = None,
                }
            }
            match self.step()? {
                Some(Step::Out(out)) => return Ok(Some(out)),
                Some(Step::Fragments(link)) => {
                    if let Some(head) = self.fragments(link).await? {
                        return Ok(Some(Out::Head(head)));
                    }
                }
                None => match self.data_set.next().await? {
                    Some(bytes) => self.held = bytes,
                    None => {
                        self.links.finish().map_err(io::Error::other)?;
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// The next step through what is held.
    fn step(&mut self) -> io::Result<Option<Step>> {
        let mut input = &self.held[..];
        let step = loop {
            match self.links.next(&mut input).map_err(io::Error::other)? {
                None => break None,
                Some(Linked::Value(..)) if !self.values => self.skips = true,
                Some(Linked::Value(path, length)) => {
                    let (syntax, link) = (EXPLICIT_VR_LE.to_owned(), format!("{}/bulkdata/{path}", self.location));
                    let length = Some(length.into());
                    let head = Head { media: OCTET_STREAM, syntax, length, link, of: 1 };
                    break Some(Step::Out(Out::Head(head)));
                }
                Some(Linked::Fragments(path)) => {
                    break Some(Step::Fragments(format!("{}/bulkdata/{path}", self.location)));
                }
                Some(Linked::Bytes(slice)) if !self.skips => {
                    break Some(Step::Out(Out::Bytes(self.held.slice_ref(slice))));
                }
                Some(Linked::Bytes(_)) => {}
                Some(Linked::End) => self.skips = false,
            }
        };
        let used = self.held.len() - input.len();
        self.held.advance(used);
        Ok(step)
    }

    /// Fragments begin: the image's are given frame by frame where each frame is a codestream that can be found; any others, those of
    /// videos among them, as one stream without what divides them.
    async fn fragments(&mut self, link: String) -> io::Result<Option<Head>> {
        let media = match self.form {
            Form::Stored(media) => media,
            // Within an image that is decoded, or left out.
            Form::Native | Form::Without => {
                self.skips = true;
                return Ok(None);
            }
        };
        let syntax = self.item.transfer_syntax.as_str();
        let top = link.ends_with(&format!("/bulkdata/{:08X}", PIXEL_DATA.0));
        if top && wado::codestream(syntax).is_some() {
            match Frames::of(&self.face, &self.item).await {
                Ok(Some(frames)) if frames.are_compressed() => {
                    self.skips = true;
                    self.frames = Some(Run { frames, given: 0, current: None, media, link });
                    return Ok(None);
                }
                Err(error) if !formless(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Some(Head { media, syntax: syntax.to_owned(), length: None, link, of: 1 }))
    }
}

impl Run {
    async fn next(&mut self, syntax: &str) -> io::Result<Option<Out>> {
        if let Some(frame) = &mut self.current {
            if let Some(bytes) = frame.next().await? {
                return Ok(Some(Out::Bytes(bytes)));
            }
            self.current = None;
        }
        let of = self.frames.layout().image.frames;
        if self.given >= of {
            return Ok(None);
        }
        self.given += 1;
        self.current = Some(self.frames.codestream(self.given).await?);
        let (syntax, link) = (syntax.to_owned(), self.link.clone());
        Ok(Some(Out::Head(Head { media: self.media, syntax, length: None, link, of })))
    }
}

/// Whether all of an instance can be decoded.
async fn is_made(face: &WebFace, item: &Retrievable) -> io::Result<bool> {
    let made = async {
        let mut dry = DataSet::open(face, item, As::Native).await?;
        while dry.next().await?.is_some() {}
        Ok(())
    };
    match made.await {
        Ok(()) => Ok(true),
        Err(error) if formless(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pixels_leave_in_the_first_form_that_is_wanted_and_that_they_have() {
        const JPEG: &str = "1.2.840.10008.1.2.4.50";
        const MPEG_4: &str = "1.2.840.10008.1.2.4.102";
        const HTJ2K: &str = "1.2.840.10008.1.2.4.201";
        const JPEG_XL: &str = "1.2.840.10008.1.2.4.110";
        let bytes = "multipart/related; type=\"application/octet-stream\"";
        let as_stored = format!("{bytes}; transfer-syntax=*");
        let rows: [(&str, Option<&str>, Form); 17] = [
            (EXPLICIT_VR_LE, None, Form::Native),
            (EXPLICIT_VR_LE, Some(&as_stored), Form::Native),
            ("1.2.840.10008.1.2", Some(&as_stored), Form::Native),
            (EXPLICIT_VR_LE, Some("image/*"), Form::Without),
            (JPEG, None, Form::Native),
            (JPEG, Some(&as_stored), Form::Stored(OCTET_STREAM)),
            (JPEG, Some("multipart/related; type=\"image/jpeg\""), Form::Stored("image/jpeg")),
            (JPEG, Some("multipart/related; type=\"image/jls\""), Form::Without),
            (HTJ2K, None, Form::Without),
            (HTJ2K, Some("image/jphc"), Form::Stored("image/jphc")),
            (HTJ2K, Some("*/*"), Form::Stored("image/jphc")),
            (JPEG_XL, Some("multipart/related; type=\"image/jxl\""), Form::Stored("image/jxl")),
            (MPEG_4, Some(bytes), Form::Without),
            (MPEG_4, Some("video/*"), Form::Stored("video/mp4")),
            (MPEG_4, Some("multipart/related; type=\"video/mpeg2\""), Form::Without),
            (MPEG_4, Some(&as_stored), Form::Stored(OCTET_STREAM)),
            (MPEG_4, Some("*/*"), Form::Stored("video/mp4")),
        ];
        for (stored, accept, want) in rows {
            let form = Form::of(&TransferSyntaxUid::parse(stored).unwrap(), &wado::octets(accept));
            assert_eq!(form, want, "{stored} as {accept:?}");
        }
    }
}
