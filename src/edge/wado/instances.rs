//! Studies, series and instances as they are kept, or as Explicit VR Little Endian (PS3.18 section 10.4; WEB-003, WEB-103).

use super::archived::Awaited;
use super::body::{self, Instance, Listed, Pieces, Related, Trimmed, body};
use super::data_set::{As, transcoder};
use super::seats::Seat;
use super::span::Span;
use super::{Answered, Asked, partial, refuse, unread, unreadable, whole};
use crate::dicom::part10::IMPLEMENTATION_VERSION_NAME;
use crate::dicom::transfer_syntax::allowed_on_the_web;
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::DICOM;
use crate::dicomweb::wado::{self, AcceptError, Syntax, Wanted, Wrapper};
use crate::records::{Extent, InstanceId, Resource, Retrievable};
use axum::http::{StatusCode, header};
use axum::response::Response;

/// Answers with instances.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let wanted = match wado::accepted(asked.accept.as_deref()) {
        Ok(wanted) => wanted,
        Err(error @ AcceptError::Mixed) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ AcceptError::NotInstances) => return refuse(StatusCode::NOT_ACCEPTABLE, &error.to_string()),
    };
    let awaited = asked.held().await?;
    let Some(chosen) = wanted.into_iter().find(|wanted| fits(wanted, &asked.resource, &awaited.extent)) else {
        let detail = "not all of it can be given in such a transfer syntax; ask with transfer-syntax=*";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    };
    let seat = asked.seat()?;
    asked.gives(awaited.extent.stored).await;
    match chosen.wrapper {
        Wrapper::Multipart => {
            if asked.resource.instance.is_some() {
                tried(&asked, &chosen.syntax).await?;
            }
            related(asked, chosen.syntax, awaited, seat)
        }
        Wrapper::Single => single(asked, &chosen.syntax, seat).await,
    }
}

/// Whether all of a resource can be given as wanted.
fn fits(wanted: &Wanted, resource: &Resource, extent: &Extent) -> bool {
    let wrapped = wanted.wrapper == Wrapper::Multipart || resource.instance.is_some();
    wrapped && extent.syntaxes.iter().all(|stored| leaves(stored, &wanted.syntax).is_some())
}

/// How an instance leaves: `Some(false)` as it is stored, `Some(true)` as Explicit VR Little Endian (WEB-001, WEB-003).
pub(super) fn leaves(stored: &TransferSyntaxUid, wanted: &Syntax) -> Option<bool> {
    let travels = allowed_on_the_web(stored);
    match wanted {
        Syntax::AsStored if travels => Some(false),
        Syntax::Only(uid) if travels && uid == stored.as_str() => Some(false),
        _ if (*wanted == Syntax::AsStored || wanted.is_default())
            && matches!(transcoder(stored, As::Native), Some(Some(_))) =>
        {
            Some(true)
        }
        _ => None,
    }
}

/// Several instances, each its own part; 206 if some are no more or are damaged.
fn related(asked: Asked, syntax: Syntax, awaited: Awaited, seat: Seat) -> Answered {
    let writer = asked.writer(DICOM)?;
    let kind = writer.content_type();
    let (missing, service) = (awaited.missing(), asked.base.as_str().to_owned());
    let listed = Listed::new(asked.face, asked.resource, awaited.fetching);
    let pieces = Related::new(listed, syntax, asked.base, writer);
    Ok(partial(&kind, body(pieces, seat), missing, &service))
}

/// One instance as the body; a part of it if Range asks for one and the bytes are those on disk (WEB-103).
async fn single(asked: Asked, syntax: &Syntax, seat: Seat) -> Answered {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let Some(item) = found.into_iter().next() else { return refuse(StatusCode::GONE, "it was deleted just now") };
    let Some(native) = leaves(&item.transfer_syntax, syntax) else {
        return refuse(StatusCode::NOT_ACCEPTABLE, "it cannot be given in such a transfer syntax");
    };
    let length = match native {
        true => measured(&asked, &item).await?,
        false => body::prefix(&item, false).len() as u64 + item.length,
    };
    let tag = format!("\"{}.{IMPLEMENTATION_VERSION_NAME}.{}\"", item.digest, u8::from(native));
    let span = Span::of(&asked.headers, &tag, length, !native)?;
    if span.is_part() {
        // The digest shows only at the end, which is not given: it is looked at first.
        whole(&asked.face, &item).await?;
    }
    let kind = format!("{DICOM}; transfer-syntax={}", body::syntax(&item, native));
    let location = asked.base.instance(&item.study, &item.series, &item.sop_instance);
    let pieces = Trimmed::new(Instance::new(asked.face, item, native), span.first, span.bytes);
    Ok(span.respond(&[(header::CONTENT_TYPE, &kind), (header::CONTENT_LOCATION, &location)], body(pieces, seat)))
}

/// Makes one instance that must be made for the answer, if it is here already, so that what cannot be made is known before anything is sent.
async fn tried(asked: &Asked, syntax: &Syntax) -> Result<(), Box<Response>> {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    match found.first().filter(|item| leaves(&item.transfer_syntax, syntax) == Some(true)) {
        Some(item) => measured(asked, item).await.map(drop),
        None => Ok(()),
    }
}

/// The length of a file that is made for the answer, by a dry pass: what cannot be made is known before anything is sent.
async fn measured(asked: &Asked, item: &Retrievable) -> Result<u64, Box<Response>> {
    let mut dry = Instance::new(asked.face.clone(), item.clone(), true);
    let mut length = 0;
    loop {
        match dry.next().await {
            Ok(Some(bytes)) => length += bytes.len() as u64,
            Ok(None) => return Ok(length),
            Err(error) => return Err(unread(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_may_not_travel_is_re_encoded_and_what_cannot_be_is_not_given() {
        let (implicit, big) = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2");
        let (explicit, jpeg) = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50");
        let (deflated, mpeg) = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.102");
        let only = |uid: &str| Syntax::Only(uid.to_owned());
        let rows = [
            (explicit, Syntax::AsStored, Some(false)),
            (jpeg, Syntax::AsStored, Some(false)),
            (implicit, Syntax::AsStored, Some(true)),
            (big, Syntax::AsStored, Some(true)),
            (explicit, only(explicit), Some(false)),
            (implicit, only(explicit), Some(true)),
            (big, only(explicit), Some(true)),
            (jpeg, only(jpeg), Some(false)),
            (jpeg, only(explicit), Some(true)),
            (deflated, only(explicit), Some(true)),
            (deflated, Syntax::AsStored, Some(false)),
            (mpeg, only(explicit), None),
            (mpeg, Syntax::AsStored, Some(false)),
            (explicit, only(jpeg), None),
            (implicit, only(implicit), None),
            (big, only(big), None),
        ];
        for (stored, wanted, want) in rows {
            assert_eq!(leaves(&TransferSyntaxUid::parse(stored).unwrap(), &wanted), want, "{stored} as {wanted:?}");
        }
    }
}
