//! Metadata of studies, series and instances: every attribute, read out of the stored bytes as the answer goes (WEB-102).

use super::body::{Listed, Pieces, body};
use super::data_set::{As, DataSet};
use super::{Answered, Asked, partial, refuse};
use crate::dicomweb::media_type::{self, DICOM_JSON, DICOM_XML, JSON};
use crate::dicomweb::metadata::{Form, Metadata};
use crate::dicomweb::multipart::Writer;
use crate::edge::http::Base;
use crate::records::Retrievable;
use axum::http::StatusCode;
use bytes::Bytes;
use std::io;

/// Answers with metadata: one JSON array, or a part of XML for each instance.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let settled = media_type::settled(asked.accept.as_deref(), &[DICOM_JSON, JSON, DICOM_XML], &[DICOM_XML]);
    let Some((kind, _)) = settled else {
        let detail =
            "metadata can be had as application/dicom+json or as multipart/related; type=\"application/dicom+xml\"";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    };
    let awaited = asked.held().await?;
    let seat = asked.seat().await?;
    asked.gives(awaited.extent.stored).await;
    let writer = if kind == DICOM_XML { Some(asked.writer(DICOM_XML)?) } else { None };
    let kind = writer.as_ref().map_or_else(|| kind.to_owned(), Writer::content_type);
    let (missing, service) = (awaited.missing(), asked.base.as_str().to_owned());
    let as_ok = asked.face.options.partial_metadata_as_ok;
    let listed = Listed::new(asked.face, asked.resource, awaited.fetching, awaited.extent.stored);
    let pieces = Described { listed, base: asked.base, writer, given: 0, current: None, ended: false };
    let mut answer = partial(&kind, body(pieces, seat), missing, &service);
    if as_ok && answer.status() == StatusCode::PARTIAL_CONTENT {
        *answer.status_mut() = StatusCode::OK;
    }
    Ok(answer)
}

/// The metadata of all instances, one after the other.
struct Described {
    listed: Listed,
    base: Base,
    /// For parts; else it is one array.
    writer: Option<Writer>,
    given: u64,
    current: Option<(DataSet, Metadata)>,
    ended: bool,
}

impl Described {
    async fn open(&mut self, item: Retrievable) -> io::Result<Bytes> {
        let location = self.base.instance(&item.study, &item.series, &item.sop_instance);
        let before = match &self.writer {
            Some(writer) => writer.plain_head(None, &format!("{location}/metadata"), self.given == 0),
            None => Bytes::from_static(if self.given == 0 { b"[" } else { b"," }),
        };
        let form = if self.writer.is_some() { Form::Xml } else { Form::Json };
        let data_set = DataSet::open(self.listed.face(), &item, As::Readable).await?;
        self.current = Some((data_set, Metadata::new(form, location)));
        self.given += 1;
        Ok(before)
    }

    /// What follows the last instance. All may have gone meanwhile.
    fn end(&self) -> Bytes {
        match &self.writer {
            Some(writer) => writer.end(),
            None => Bytes::from_static(if self.given == 0 { b"[]" } else { b"]" }),
        }
    }
}

impl Pieces for Described {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some((data_set, metadata)) = &mut self.current {
            let mut out = Vec::new();
            match data_set.next().await? {
                Some(bytes) => metadata.push(&bytes, &mut out).map_err(io::Error::other)?,
                None => {
                    if let Some((_, metadata)) = self.current.take() {
                        metadata.finish(&mut out).map_err(io::Error::other)?;
                    }
                }
            }
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
        if self.ended {
            return Ok(None);
        }
        match self.listed.next().await? {
            Some(item) => self.open(item).await.map(Some),
            None => {
                self.ended = true;
                Ok(Some(self.end()))
            }
        }
    }
}
