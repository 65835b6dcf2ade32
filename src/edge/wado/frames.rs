//! Frames, one or a list: codestreams as they are stored, or cells as Explicit VR Little Endian has them (PS3.18 section
//! 10.4.1.1.6).

use super::body::{Pieces, Trimmed, body};
use super::pixels::{Frame, Frames};
use super::span::{Span, with};
use super::{Answered, Asked, refuse, unreadable};
use crate::dicom::part10::IMPLEMENTATION_VERSION_NAME;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::media_type::OCTET_STREAM;
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::wado::{self, Octets, Syntax, Wrapper};
use crate::records::{InstanceId, Retrievable};
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use std::io;

/// Answers with frames.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let numbers = numbers(asked.below.as_deref().unwrap_or_default())?;
    let wanted = wado::octets(asked.accept.as_deref());
    if wanted.is_empty() {
        let detail = "frames can be had as multipart/related; type=\"application/octet-stream\", or one as application/octet-stream";
        return refuse(StatusCode::NOT_ACCEPTABLE, detail);
    }
    asked.held().await?;
    let seat = asked.seat().await?;
    let (item, frames) = open(&asked, &numbers, |error| asked.unmade(error)).await?;
    let fitting = wanted.into_iter().find_map(|wanted| fits(&wanted, &item, &frames, numbers.len()));
    let Some(chosen) = fitting else {
        let detail = format!("its frames cannot be given in such a form{}", asked.advice());
        return refuse(StatusCode::NOT_ACCEPTABLE, &detail);
    };
    asked.gives(1).await;
    let location = format!("{}/frames", asked.base.instance(&item.study, &item.series, &item.sop_instance));
    if chosen.wrapper == Wrapper::Multipart {
        let writer = asked.writer(chosen.media)?;
        let kind = writer.content_type();
        // The first is made before anything is sent, so that what cannot be made is known in time.
        let first = frame(&frames, &chosen, numbers[0]).await.map_err(|error| asked.unmade(&error))?;
        let syntax = if chosen.native { EXPLICIT_VR_LE.to_owned() } else { item.transfer_syntax.to_string() };
        let parts = Parts {
            frames,
            chosen,
            numbers,
            at: 0,
            current: None,
            ready: Some(first),
            writer,
            location,
            syntax,
            ended: false,
        };
        return Ok(with(StatusCode::OK, body(parts, seat), &[(header::CONTENT_TYPE, &kind)]));
    }
    let (number, location) = (numbers[0], format!("{location}/{}", numbers[0]));
    let syntax = if chosen.native { EXPLICIT_VR_LE } else { item.transfer_syntax.as_str() };
    let kind = format!("{}; transfer-syntax={syntax}", chosen.media);
    let fields = [(header::CONTENT_TYPE, kind.as_str()), (header::CONTENT_LOCATION, location.as_str())];
    let made = frame(&frames, &chosen, number).await.map_err(|error| asked.unmade(&error))?;
    match frames.native_bytes(number).filter(|_| chosen.native) {
        Some(length) => {
            let tag = format!("\"{}.{IMPLEMENTATION_VERSION_NAME}.frame{number}\"", item.digest);
            let span = Span::of(&asked.headers, &tag, length, true)?;
            let pieces = Trimmed::new(made, span.first, span.bytes);
            Ok(span.respond(&fields, body(pieces, seat)))
        }
        None => Ok(with(StatusCode::OK, body(made, seat), &fields)),
    }
}

/// The one instance and its frames, all of which are there; `unread` says what is answered if they cannot be read.
pub(super) async fn open(
    asked: &Asked,
    numbers: &[u32],
    unread: impl Fn(&io::Error) -> Box<Response>,
) -> Result<(Retrievable, Frames), Box<Response>> {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let Some(item) = found.into_iter().next() else { return refuse(StatusCode::GONE, "it was deleted just now") };
    let Some(frames) = Frames::of(&asked.face, &item).await.map_err(|error| unread(&error))? else {
        return refuse(StatusCode::NOT_FOUND, "it has no frames");
    };
    let last = frames.layout().image.frames;
    if let Some(beyond) = numbers.iter().find(|number| **number > last) {
        return refuse(StatusCode::NOT_FOUND, &format!("there is no frame {beyond}; the last is {last}"));
    }
    Ok((item, frames))
}

/// The numbers of a list, each at least 1.
pub(super) fn numbers(list: &str) -> Result<Vec<u32>, Box<Response>> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| plain && *number > 0)
    };
    match list.split(',').map(number).collect() {
        Some(numbers) => Ok(numbers),
        None => refuse(StatusCode::BAD_REQUEST, "frames are numbers from 1 on, with commas between them"),
    }
}

/// The form that was settled on.
struct Chosen {
    wrapper: Wrapper,
    media: &'static str,
    native: bool,
}

/// How so many frames can be given as wanted.
fn fits(wanted: &Octets, item: &Retrievable, frames: &Frames, count: usize) -> Option<Chosen> {
    if wanted.wrapper == Wrapper::Single && count > 1 {
        return None;
    }
    let (bytes, compressed) = (wanted.media == OCTET_STREAM, frames.are_compressed());
    let asked_for = match &wanted.syntax {
        Syntax::AsStored => true,
        Syntax::Only(uid) => uid == item.transfer_syntax.as_str(),
    };
    let own = wado::codestream(item.transfer_syntax.as_str());
    let (media, native) = match () {
        () if bytes && compressed && asked_for => (OCTET_STREAM, false),
        () if !bytes && compressed && asked_for => (own.filter(|own| *own == wanted.media)?, false),
        () if bytes
            && frames.have_native_form()
            && (wanted.syntax.is_default() || wanted.syntax == Syntax::AsStored) =>
        {
            (OCTET_STREAM, true)
        }
        () => return None,
    };
    Some(Chosen { wrapper: wanted.wrapper, media, native })
}

async fn frame(frames: &Frames, chosen: &Chosen, number: u32) -> io::Result<Frame> {
    if chosen.native { frames.native(number).await } else { frames.codestream(number).await }
}

/// Frames one after the other, each a part.
struct Parts {
    frames: Frames,
    chosen: Chosen,
    numbers: Vec<u32>,
    at: usize,
    current: Option<Frame>,
    /// The first, which was made already.
    ready: Option<Frame>,
    writer: Writer,
    location: String,
    syntax: String,
    ended: bool,
}

impl Pieces for Parts {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(frame) = &mut self.current {
            match frame.next().await? {
                Some(bytes) => return Ok(Some(bytes)),
                None => self.current = None,
            }
        }
        let Some(&number) = self.numbers.get(self.at) else {
            return Ok((!std::mem::replace(&mut self.ended, true)).then(|| self.writer.end()));
        };
        self.current = Some(match self.ready.take() {
            Some(ready) => ready,
            None => frame(&self.frames, &self.chosen, number).await?,
        });
        let length = self.frames.native_bytes(number).filter(|_| self.chosen.native);
        let location = format!("{}/{number}", self.location);
        let head = self.writer.resource_head(&self.syntax, length, &location, self.at == 0);
        self.at += 1;
        Ok(Some(head))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_from_one_on() {
        assert_eq!(numbers("1,3,3").unwrap(), [1, 3, 3]);
        for wrong in ["", "0", "1,", ",1", "-1", "+1", "1,0", "a", "1;2", "4294967296", "1 ,2"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
