//! All bulk data of a study, series or instance, and pixels as they are stored: parts whose locations are the links of the metadata
//! (PS3.18 sections 10.4.1.1.5 and 10.4.3.3.5; WEB-100).

use super::archived::Missing;
use super::body::{Listed, Pieces, body};
use super::elements::{Elements, Form, Head, Out};
use super::seats::Seat;
use super::span::with;
use super::{Answered, Asked, partial, refuse};
use crate::dicom::contents::Path;
use crate::dicomweb::media_type::OCTET_STREAM;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado::{self, Octets, Wrapper};
use crate::edge::http::Base;
use crate::records::Retrievable;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use std::io;

/// Answers with all values that are links in the metadata.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let mut wanted = wado::octets(asked.accept.as_deref());
    wanted.retain(|wanted| wanted.wrapper == Wrapper::Multipart);
    let Some(first) = wanted.first() else {
        let detail = "all bulk data can be had as multipart/related; type=\"application/octet-stream\"";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    };
    let kind = wado::own_name(&first.media).unwrap_or(OCTET_STREAM);
    let awaited = asked.held().await?;
    let seat = asked.seat().await?;
    let (writer, service) = (asked.writer(kind)?, asked.base.as_str().to_owned());
    let values = wanted.iter().any(|wanted| wanted.media == OCTET_STREAM);
    let extent = &awaited.extent;
    let without = extent.syntaxes.iter().filter(|(stored, _)| Form::of(stored, &wanted) == Form::Without);
    let unfit = if values { without.map(|(_, instances)| instances).sum() } else { extent.stored };
    let (missing, stored) = (Missing { unfit, ..awaited.missing() }, extent.stored);
    let listed = Listed::new(asked.face.clone(), asked.resource.clone(), awaited.fetching, stored);
    let mut parts = Parts {
        source: Source { listed: Some((listed, wanted, values, asked.base.clone())), current: None },
        ready: None,
        writer,
        first: true,
        ended: false,
    };
    // Whether there is any is known before anything is sent.
    parts.ready = parts.source.next().await.map_err(|error| asked.unmade(&error))?;
    if parts.ready.is_none() {
        return match unfit > 0 {
            true => refuse(
                StatusCode::NOT_ACCEPTABLE,
                &format!("its bulk data cannot be given in such a form{}", asked.advice()),
            ),
            false => refuse(StatusCode::NOT_FOUND, "it has no bulk data: its metadata holds every value"),
        };
    }
    asked.gives(stored).await;
    let kind = parts.writer.content_type();
    Ok(partial(&kind, body(parts, seat), missing, &service))
}

/// Answers with the pixels of one instance as they are stored: frames, each a part, or what is one stream, also as the whole body.
pub(super) async fn as_stored(
    asked: &Asked,
    item: Retrievable,
    path: Path,
    (wanted, media): (&Octets, &'static str),
    seat: Seat,
) -> Answered {
    let location = asked.base.instance(&item.study, &item.series, &item.sop_instance);
    let opened = Elements::open(&asked.face, item, location, (Form::Stored(media), true), Some(path)).await;
    let mut source = Source { listed: None, current: Some(opened.map_err(|error| asked.unmade(&error))?) };
    let Some(Out::Head(head)) = source.next().await.map_err(|error| asked.unmade(&error))? else {
        return refuse(StatusCode::NOT_FOUND, "it has no such attribute");
    };
    if wanted.wrapper == Wrapper::Multipart {
        let writer = asked.writer(media)?;
        let kind = writer.content_type();
        asked.gives(1).await;
        let parts = Parts { source, ready: Some(Out::Head(head)), writer, first: true, ended: false };
        return Ok(with(StatusCode::OK, body(parts, seat), &[(header::CONTENT_TYPE, &kind)]));
    }
    if head.of > 1 {
        let detail = format!("its frames are {}; ask for parts: multipart/related; type=\"{media}\"", head.of);
        return refuse(StatusCode::NOT_ACCEPTABLE, &detail);
    }
    asked.gives(1).await;
    let kind = format!("{}; transfer-syntax={}", head.media, head.syntax);
    let fields = [(header::CONTENT_TYPE, kind.as_str()), (header::CONTENT_LOCATION, &head.link)];
    Ok(with(StatusCode::OK, body(Bare(source), seat), &fields))
}

/// Elements of one instance, or of all that are listed, one after the other.
struct Source {
    /// With what is wanted, and whether values that are no pixels are.
    listed: Option<(Listed, Vec<Octets>, bool, Base)>,
    current: Option<Elements>,
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Out>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(out) = current.next().await? {
                    return Ok(Some(out));
                }
                self.current = None;
            }
            let Some((listed, wanted, values, base)) = &mut self.listed else { return Ok(None) };
            let Some(item) = listed.next().await? else {
                self.listed = None;
                return Ok(None);
            };
            let location = base.instance(&item.study, &item.series, &item.sop_instance);
            let form = (Form::of(&item.transfer_syntax, wanted), *values);
            self.current = Some(Elements::open(listed.face(), item, location, form, None).await?);
        }
    }
}

/// Each value, or each frame of it, is a part.
struct Parts {
    source: Source,
    /// What was made before anything was sent.
    ready: Option<Out>,
    writer: Writer,
    first: bool,
    ended: bool,
}

impl Pieces for Parts {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let out = match self.ready.take() {
            Some(ready) => Some(ready),
            None => self.source.next().await?,
        };
        Ok(Some(match out {
            Some(Out::Bytes(bytes)) => bytes,
            Some(Out::Head(Head { media, syntax, length, link, .. })) => {
                let kind = format!("{media}; transfer-syntax={syntax}");
                self.writer.typed_head(&kind, length, &link, std::mem::take(&mut self.first))
            }
            None => {
                self.ended = true;
                self.writer.end()
            }
        }))
    }
}

/// The one value is the body.
struct Bare(Source);

impl Pieces for Bare {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(out) = self.0.next().await? {
            if let Out::Bytes(bytes) = out {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
