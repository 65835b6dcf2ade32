//! Bulk data: the one value that a link in the metadata leads to, as Explicit VR Little Endian has it (PS3.18 section 10.4.1.1.4).

use super::body::{Pieces, Trimmed, body};
use super::data_set::{As, DataSet, transcoder};
use super::elements::Form;
use super::span::{Span, with};
use super::{Answered, Asked, all_bulk, refuse, unread, unreadable, whole};
use crate::dicom::contents::{Path, Picked, Picker};
use crate::dicom::part10::IMPLEMENTATION_VERSION_NAME;
use crate::dicom::tag::PIXEL_DATA;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Encoding, encoding};
use crate::dicomweb::media_type::OCTET_STREAM;
use crate::dicomweb::wado::{self, Octets, Wrapper};
use crate::records::{InstanceId, Retrievable};
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use std::io;

/// Answers with one value.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let Some(path) = asked.below.as_deref().and_then(Path::parse) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such resource here");
    };
    let wanted = wado::octets(asked.accept.as_deref());
    if wanted.is_empty() {
        let detail = "bulk data can be had as multipart/related; type=\"application/octet-stream\", or as application/octet-stream";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    }
    asked.held().await?;
    let seat = asked.seat().await?;
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let Some(item) = found.into_iter().next() else { return refuse(StatusCode::GONE, "it was deleted just now") };
    let Some((wanted, form)) = settled(wanted, &item, &path) else {
        let detail = format!("it cannot be given in such a form{}", asked.advice());
        return refuse(StatusCode::NOT_ACCEPTABLE, &detail);
    };
    if let Form::Stored(media) = form {
        return all_bulk::as_stored(&asked, item, path, (&wanted, media), seat).await;
    }
    let (value, length) = Value::find(&asked, &item, &path).await?;
    asked.gives(1).await;
    let below = asked.below.as_deref().unwrap_or_default();
    let location = format!("{}/bulkdata/{below}", asked.base.instance(&item.study, &item.series, &item.sop_instance));
    if wanted.wrapper == Wrapper::Multipart {
        let writer = asked.writer(OCTET_STREAM)?;
        let kind = writer.content_type();
        let head = writer.resource_head(EXPLICIT_VR_LE, Some(length), &location, true);
        let pieces = Framed { head: Some(head), pieces: Some(value), end: Some(writer.end()) };
        return Ok(with(StatusCode::OK, body(pieces, seat), &[(header::CONTENT_TYPE, &kind)]));
    }
    let tag = format!("\"{}.{IMPLEMENTATION_VERSION_NAME}.{below}\"", item.digest);
    let span = Span::of(&asked.headers, &tag, length, true)?;
    if span.is_part() {
        whole(&asked.face, &item).await?;
    }
    let kind = format!("{OCTET_STREAM}; transfer-syntax={EXPLICIT_VR_LE}");
    let fields = [(header::CONTENT_TYPE, kind.as_str()), (header::CONTENT_LOCATION, &location)];
    let pieces = Trimmed::new(value, span.first, span.bytes);
    Ok(span.respond(&fields, body(pieces, seat)))
}

/// The first form that is wanted and that the value has. What is no compressed image is given as Explicit VR Little Endian whatever the
/// object is stored in.
fn settled(wanted: Vec<Octets>, item: &Retrievable, path: &Path) -> Option<(Octets, Form)> {
    let stored = &item.transfer_syntax;
    let compressed = path.tag == PIXEL_DATA && encoding(stored) == Encoding::EncapsulatedExplicitLittle;
    wanted.into_iter().find_map(|wanted| {
        let as_value = (wanted.media == OCTET_STREAM).then_some(Form::Native);
        let form = match (compressed, path.items.is_empty()) {
            (true, true) => Form::fits(stored, &wanted),
            // An icon may be compressed or not.
            (true, false) => Form::fits(stored, &wanted).or(as_value),
            (false, _) => as_value,
        };
        Some((wanted, form?))
    })
}

/// The value, chunk by chunk. Its last chunk comes only when the data set was read to its end and the digest agreed.
struct Value {
    data_set: DataSet,
    picker: Picker,
    held: Vec<u8>,
}

impl Value {
    /// Reads to where the value begins; gives its length as well.
    async fn find(asked: &Asked, item: &Retrievable, path: &Path) -> Result<(Self, u64), Box<Response>> {
        let pixels = path.items.is_empty() && path.tag == PIXEL_DATA;
        let form = if pixels { As::Native } else { As::Readable };
        if transcoder(&item.transfer_syntax, form).is_none() {
            let detail = "its pixels cannot be decoded here; ask for its frames with transfer-syntax=*";
            return refuse(StatusCode::NOT_ACCEPTABLE, detail);
        }
        let opened = DataSet::open(&asked.face, item, form).await.map_err(|error| unread(&error))?;
        let mut value = Self { data_set: opened, picker: Picker::new(path.clone()), held: Vec::new() };
        while value.picker.found().is_none() {
            if !value.read().await.map_err(|error| unread(&error))? {
                return refuse(StatusCode::NOT_FOUND, "it has no such attribute");
            }
        }
        match value.picker.found() {
            Some(Picked::Value(_, length)) => Ok((value, length.into())),
            _ if path.tag == PIXEL_DATA => {
                let detail =
                    "its pixels are in fragments, which its transfer syntax does not allow; ask for the instance";
                refuse(StatusCode::NOT_ACCEPTABLE, detail)
            }
            _ => refuse(StatusCode::NOT_FOUND, "what is there is a sequence, which has no value of its own"),
        }
    }

    /// Takes the next chunk of the data set; tells whether there was one.
    async fn read(&mut self) -> io::Result<bool> {
        let Some(bytes) = self.data_set.next().await? else {
            self.picker.finish().map_err(io::Error::other)?;
            return Ok(false);
        };
        self.picker.push(&bytes, &mut self.held).map_err(io::Error::other)?;
        Ok(true)
    }
}

impl Pieces for Value {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let chunk = std::mem::take(&mut self.held);
            while self.held.is_empty() {
                if !self.read().await? {
                    return Ok(Some(Bytes::from(chunk)).filter(|chunk| !chunk.is_empty()));
                }
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk.into()));
            }
        }
    }
}

/// One part of a multipart body.
struct Framed<P> {
    head: Option<Bytes>,
    pieces: Option<P>,
    end: Option<Bytes>,
}

impl<P: Pieces> Pieces for Framed<P> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        if let Some(pieces) = &mut self.pieces {
            match pieces.next().await? {
                Some(bytes) => return Ok(Some(bytes)),
                None => self.pieces = None,
            }
        }
        Ok(self.end.take())
    }
}
