//! Studies, series and instances as they are kept, or as Explicit VR Little Endian (PS3.18 section 10.4; WEB-003, WEB-103).

use super::archived::{Awaited, Missing};
use super::body::{self, Instance, Listed, Pieces, Related, Trimmed, body};
use super::data_set::{As, transcoder};
use super::seats::Seat;
use super::span::Span;
use super::{Answered, Asked, partial, refuse, unreadable, whole};
use crate::dicom::part10::IMPLEMENTATION_VERSION_NAME;
use crate::dicom::transfer_syntax::allowed_on_the_web;
use crate::dicom::uid::TransferSyntaxUid;
use crate::dicomweb::media_type::DICOM;
use crate::dicomweb::multipart::{DATA_SET_DIGEST, digest_field};
use crate::dicomweb::wado::{self, AcceptError, Syntax, Wanted, Wrapper};
use crate::records::{Extent, InstanceId, Resource, Retrievable};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;

/// Answers with instances.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let wanted = match wado::accepted(asked.accept.as_deref()) {
        Ok(wanted) => wanted,
        Err(error @ AcceptError::Mixed) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ AcceptError::NotInstances) => return refuse(StatusCode::NOT_ACCEPTABLE, &error.to_string()),
    };
    let awaited = asked.held().await?;
    let Some(chosen) = Chosen::of(&wanted, &asked.resource, &awaited.extent) else {
        let detail = format!("it cannot be given in such a transfer syntax{}", asked.advice());
        return refuse(StatusCode::NOT_ACCEPTABLE, &detail);
    };
    let seat = asked.seat().await?;
    asked.gives(awaited.extent.stored.saturating_sub(chosen.unfit)).await;
    match chosen.wrapper {
        Wrapper::Multipart => {
            if asked.resource.instance.is_some() {
                tried(&asked, &chosen.syntaxes).await?;
            }
            related(asked, chosen, awaited, seat)
        }
        Wrapper::Single => single(asked, &chosen.syntaxes, seat).await,
    }
}

/// What was settled on.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    wrapper: Wrapper,
    /// What Accept takes, the best first: each instance leaves in the first that fits it. A transfer syntax is that of one part, and
    /// the next may have another (PS3.18 section 8.7.8.2).
    syntaxes: Vec<Syntax>,
    /// Instances that none of them fits: they are left out, and the answer says so.
    unfit: u64,
}

impl Chosen {
    /// `None` if nothing of a resource can be given as wanted.
    fn of(wanted: &[Wanted], resource: &Resource, extent: &Extent) -> Option<Self> {
        let fits = |wanted: &&Wanted| {
            let wrapped = wanted.wrapper == Wrapper::Multipart || resource.instance.is_some();
            wrapped && extent.syntaxes.iter().any(|(stored, _)| leaves(stored, &wanted.syntax).is_some())
        };
        let wrapper = wanted.iter().find(fits)?.wrapper;
        let alike = wanted.iter().filter(|wanted| wanted.wrapper == wrapper);
        let syntaxes: Vec<Syntax> = alike.map(|wanted| wanted.syntax.clone()).collect();
        let unfit = extent.syntaxes.iter().filter(|(stored, _)| leaves_in_any(stored, &syntaxes).is_none());
        let unfit = unfit.map(|(_, instances)| instances).sum();
        Some(Self { wrapper, syntaxes, unfit })
    }
}

/// How an instance leaves in the first of several transfer syntaxes that fits it; see [`leaves`].
pub(super) fn leaves_in_any(stored: &TransferSyntaxUid, wanted: &[Syntax]) -> Option<bool> {
    wanted.iter().find_map(|wanted| leaves(stored, wanted))
}

/// How an instance leaves: `Some(false)` as it is stored, `Some(true)` as Explicit VR Little Endian (WEB-001, WEB-003).
fn leaves(stored: &TransferSyntaxUid, wanted: &Syntax) -> Option<bool> {
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

/// Several instances, each its own part; 206 if some are no more, are damaged, or fit no transfer syntax that is accepted.
fn related(asked: Asked, chosen: Chosen, awaited: Awaited, seat: Seat) -> Answered {
    let writer = asked.writer(DICOM)?;
    let kind = writer.content_type();
    let missing = Missing { unfit: chosen.unfit, ..awaited.missing() };
    let service = asked.base.as_str().to_owned();
    let listed = Listed::new(asked.face, asked.resource, awaited.fetching, awaited.extent.stored);
    let pieces = Related::new(listed, chosen.syntaxes, chosen.unfit > 0, asked.base, writer);
    Ok(partial(&kind, body(pieces, seat), missing, &service))
}

/// One instance as the body; a part of it if Range asks for one and the bytes are those on disk (WEB-103).
async fn single(asked: Asked, syntaxes: &[Syntax], seat: Seat) -> Answered {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let Some(item) = found.into_iter().next() else { return refuse(StatusCode::GONE, "it was deleted just now") };
    let Some(native) = leaves_in_any(&item.transfer_syntax, syntaxes) else {
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
    let (digest, own) = (digest_field(&item.digest.0), HeaderName::from_bytes(DATA_SET_DIGEST.as_bytes()));
    let mut fields = vec![(header::CONTENT_TYPE, kind.as_str()), (header::CONTENT_LOCATION, &location)];
    // What the digest says is of the bytes that are stored, not of those made from them.
    fields.extend(own.ok().filter(|_| !native).map(|own| (own, digest.as_str())));
    let pieces = Trimmed::new(Instance::new(asked.face, item, native), span.first, span.bytes);
    Ok(span.respond(&fields, body(pieces, seat)))
}

/// Makes one instance that must be made for the answer, if it is here already, so that what cannot be made is known before anything is sent.
async fn tried(asked: &Asked, syntaxes: &[Syntax]) -> Result<(), Box<Response>> {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    match found.first().filter(|item| leaves_in_any(&item.transfer_syntax, syntaxes) == Some(true)) {
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
            Err(error) => return Err(asked.unmade(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.91";
    const MPEG: &str = "1.2.840.10008.1.2.4.102";

    /// The wrapper, how each instance leaves, and how many do not.
    type Settled = Option<(Wrapper, Vec<Option<bool>>, u64)>;

    /// PS3.18 section 8.7.8.2: each part has a transfer syntax of its own.
    #[test]
    fn each_instance_leaves_in_the_first_syntax_that_fits_it() {
        let resource = |one: bool| Resource {
            study: StudyUid::parse("1.2").unwrap(),
            series: one.then(|| SeriesUid::parse("1.2.3").unwrap()),
            instance: one.then(|| InstanceUid::parse("1.2.3.4").unwrap()),
        };
        let of = |accept: &str, one: bool, stored: &[&str]| {
            let syntaxes = stored.iter().map(|uid| (TransferSyntaxUid::parse(uid).unwrap(), 2)).collect();
            let extent = Extent { stored: 2 * stored.len() as u64, syntaxes, ..Extent::default() };
            let chosen = Chosen::of(&wado::accepted(Some(accept)).unwrap(), &resource(one), &extent)?;
            let each = extent.syntaxes.iter().map(|(stored, _)| leaves_in_any(stored, &chosen.syntaxes));
            Some((chosen.wrapper, each.collect::<Vec<_>>(), chosen.unfit))
        };
        let parts = |uid: &str| format!("multipart/related; type=\"application/dicom\"; transfer-syntax={uid}");
        let both = format!("{}, {}", parts(JPEG), parts(JPEG_2000));
        let native_last = format!("{};q=0.5, {}", parts(EXPLICIT), parts(JPEG));
        let native_first = format!("{}, {};q=0.5", parts(EXPLICIT), parts(JPEG));
        let (kept, made) = (Some(false), Some(true));
        use Wrapper::{Multipart, Single};
        let rows: [(&str, bool, &[&str], Settled); 11] = [
            (&both, false, &[JPEG, JPEG_2000], Some((Multipart, vec![kept, kept], 0))),
            (&parts("*"), false, &[JPEG, EXPLICIT, MPEG], Some((Multipart, vec![kept, kept, kept], 0))),
            // What is better accepted comes first.
            (&native_last, false, &[JPEG, EXPLICIT], Some((Multipart, vec![kept, kept], 0))),
            (&native_first, false, &[JPEG, EXPLICIT], Some((Multipart, vec![made, kept], 0))),
            // What fits none is left out, and none at all is no answer.
            (&parts(JPEG), false, &[JPEG, JPEG_2000], Some((Multipart, vec![kept, None], 2))),
            ("*/*", false, &[JPEG, MPEG], Some((Multipart, vec![made, None], 2))),
            (&parts(JPEG), false, &[JPEG_2000, EXPLICIT], None),
            // The whole body is one instance, or nothing.
            ("application/dicom; transfer-syntax=*", true, &[JPEG], Some((Single, vec![kept], 0))),
            ("application/dicom; transfer-syntax=*", false, &[JPEG], None),
            (
                &format!("application/dicom;transfer-syntax={JPEG}, {both}"),
                true,
                &[JPEG_2000],
                Some((Multipart, vec![kept], 0)),
            ),
            (
                &format!("application/dicom;transfer-syntax={JPEG}, {both}"),
                true,
                &[JPEG],
                Some((Single, vec![kept], 0)),
            ),
        ];
        for (accept, one, stored, want) in rows {
            assert_eq!(of(accept, one, stored), want, "{accept} for {stored:?}");
        }
    }

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
