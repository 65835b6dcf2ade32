//! Rendered studies, series, instances and frames, and thumbnails of them, as JPEG or PNG (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.5).
//!
//! Of an instance of several frames the first stands for it. Nothing that identifies the patient is drawn; what a modality has
//! burnt into the cells stays.

use super::body::{Listed, Pieces, body};
use super::frames::{numbers, open};
use super::pixels::{Frames, gathered};
use super::seats::Seat;
use super::span::with;
use super::{Answered, Asked, formless, partial, refuse, unread, unreadable};
use crate::courier::decoding;
use crate::dicom::render::{self, Kind, Viewport};
use crate::dicomweb::media_type::{self, IMAGE_JPEG, IMAGE_PNG, MULTIPART_RELATED, MediaType};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::rendered::{Rendering, rendering};
use crate::dicomweb::wado::{self, AcceptError};
use crate::edge::http::Base;
use crate::records::InstanceId;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use std::io;
use tokio::sync::Semaphore;

/// The sides of a thumbnail where none are asked for.
const THUMBNAIL: Viewport = Viewport { width: 128, height: 128, region: None };
/// Instances that are tried for a thumbnail of a series or study.
const TRIED: usize = 16;

/// Frames are rendered, their cells held in memory, so many at once.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// What was settled on.
#[derive(Clone)]
struct Chosen {
    media: &'static str,
    rendering: Rendering,
    /// Accept asks for parts, although there is but one.
    parts: bool,
}

impl Chosen {
    fn of(asked: &Asked) -> Result<Self, Box<Response>> {
        let accept = asked.accept.as_deref();
        if let Err(error @ AcceptError::Mixed) = wado::accepted(accept) {
            return refuse(StatusCode::BAD_REQUEST, &error.to_string());
        }
        let Some(media) = media_type::preferred(accept, &[IMAGE_JPEG, IMAGE_PNG]) else {
            return refuse(StatusCode::NOT_ACCEPTABLE, "pictures can be had as image/jpeg or as image/png");
        };
        let rendering = match rendering(&asked.query) {
            Ok(rendering) => rendering,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let single = |media: &MediaType| media.essence() != MULTIPART_RELATED;
        let parts =
            accept.is_some_and(|accept| media_type::members(accept).first().is_some_and(|first| !single(first)));
        Ok(Self { media, rendering, parts })
    }

    fn kind(&self) -> Kind {
        if self.media == IMAGE_PNG { Kind::Png } else { Kind::Jpeg(self.rendering.quality) }
    }
}

/// Answers with pictures.
pub(super) async fn answer(mut asked: Asked) -> Answered {
    let chosen = Chosen::of(&asked)?;
    let list = asked.below.as_deref().map(numbers).transpose()?;
    let awaited = asked.held().await?;
    let seat = asked.seat()?;
    let service = asked.base.as_str().to_owned();
    let unheeded = chosen.rendering.unsupported.clone();
    let mut response = match (&asked.resource.instance, list) {
        (None, _) => {
            asked.gives(awaited.extent.stored).await;
            let (writer, missing) = (asked.writer(chosen.media)?, awaited.missing());
            let kind = writer.content_type();
            let listed = Listed::new(asked.face, asked.resource, awaited.fetching);
            let pieces = Album { source: Source::Listed(listed, asked.base), chosen, writer, given: 0, ended: false };
            partial(&kind, body(pieces, seat), missing, &service)
        }
        (Some(_), list) => of_instance(asked, chosen, list.unwrap_or_else(|| vec![1]), seat).await?,
    };
    warn(&mut response, &service, &unheeded);
    Ok(response)
}

/// Frames of one instance: one as it is, several as parts.
async fn of_instance(asked: Asked, chosen: Chosen, list: Vec<u32>, seat: Seat) -> Answered {
    let (item, frames) = open(&asked, &list).await?;
    asked.gives(1).await;
    // The first is made before anything is sent, so that what cannot be made is known in time.
    let first = picture(&frames, list[0], &chosen).await.map_err(|error| unread(&error))?;
    if list.len() == 1 && !chosen.parts {
        return Ok(with(StatusCode::OK, Body::from(first), &[(header::CONTENT_TYPE, chosen.media)]));
    }
    let writer = asked.writer(chosen.media)?;
    let kind = writer.content_type();
    let location = asked.base.instance(&item.study, &item.series, &item.sop_instance);
    let source = Source::Frames { location, frames, list, at: 0, ready: Some(first) };
    let pieces = Album { source, chosen, writer, given: 0, ended: false };
    Ok(with(StatusCode::OK, body(pieces, seat), &[(header::CONTENT_TYPE, &kind)]))
}

/// Answers with one small picture that stands for the resource: of a series or study, of an instance in its middle.
pub(super) async fn thumbnail(mut asked: Asked) -> Answered {
    let mut chosen = Chosen::of(&asked)?;
    chosen.rendering.wish.viewport.get_or_insert(THUMBNAIL);
    let list = asked.below.as_deref().map(numbers).transpose()?;
    let frame = list.and_then(|list| list.first().copied()).unwrap_or(1);
    asked.held().await?;
    let _seat = asked.seat()?;
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let (before, after) = found.split_at(found.len() / 2);
    for item in after.iter().chain(before).take(TRIED) {
        let Some(frames) = Frames::of(&asked.face, item).await.map_err(|error| unread(&error))? else { continue };
        if frame > frames.layout().image.frames {
            return refuse(StatusCode::NOT_FOUND, "there is no such frame");
        }
        asked.gives(1).await;
        let made = picture(&frames, frame, &chosen).await.map_err(|error| unread(&error))?;
        return Ok(with(StatusCode::OK, Body::from(made), &[(header::CONTENT_TYPE, chosen.media)]));
    }
    refuse(StatusCode::NOT_FOUND, "nothing of it has pixels")
}

/// Says what was asked for and not done (PS3.18 section 8.3.5).
fn warn(response: &mut Response, service: &str, unheeded: &[&'static str]) {
    for name in unheeded {
        let text = format!("299 {service}: The {name} parameter is not supported; the picture has none of it");
        if let Ok(text) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, text);
        }
    }
}

/// One frame as a file.
async fn picture(frames: &Frames, frame: u32, chosen: &Chosen) -> io::Result<Bytes> {
    let _place = RENDERING.acquire().await;
    if frames.native_bytes(frame).is_some_and(|bytes| bytes > render::MAX_BYTES) {
        return Err(io::Error::other(render::RenderError::TooLarge));
    }
    let look = frames.look(frame).await?;
    let layout = frames.layout().clone();
    let (photometric, decoded, cells) = match frames.are_compressed() {
        true => {
            let decoded = frames.decoded(frame).await?;
            (decoded.photometric, true, decoded.bytes)
        }
        false => (layout.image.photometric, false, gathered(frames.native(frame).await?).await?),
    };
    let (wish, kind) = (chosen.rendering.wish, chosen.kind());
    let file = decoding::off_thread(move || {
        let picture = render::render(&layout, &look, photometric, decoded, &cells, &wish).map_err(io::Error::other)?;
        picture.encoded(kind).map_err(io::Error::other)
    });
    file.await.map_err(io::Error::other)?.map(Bytes::from)
}

/// Where pictures come from.
enum Source {
    /// The first frames of all instances that have any.
    Listed(Listed, Base),
    /// Frames of one instance.
    Frames { location: String, frames: Frames, list: Vec<u32>, at: usize, ready: Option<Bytes> },
}

/// Pictures one after the other, each a part.
struct Album {
    source: Source,
    chosen: Chosen,
    writer: Writer,
    given: u64,
    ended: bool,
}

impl Album {
    /// The next picture, and where it is.
    async fn picture(&mut self) -> io::Result<Option<(Bytes, String)>> {
        match &mut self.source {
            Source::Listed(listed, base) => {
                while let Some(item) = listed.next().await? {
                    let Some(frames) = Frames::of(listed.face(), &item).await? else { continue };
                    let file = match picture(&frames, 1, &self.chosen).await {
                        // What no picture can be made of has none, as what has no pixels.
                        Err(error) if formless(&error) => continue,
                        made => made?,
                    };
                    let location = base.instance(&item.study, &item.series, &item.sop_instance);
                    return Ok(Some((file, format!("{location}/rendered"))));
                }
                Ok(None)
            }
            Source::Frames { location, frames, list, at, ready } => {
                let Some(&number) = list.get(*at) else { return Ok(None) };
                *at += 1;
                let file = match ready.take() {
                    Some(ready) => ready,
                    None => picture(frames, number, &self.chosen).await?,
                };
                Ok(Some((file, format!("{location}/frames/{number}/rendered"))))
            }
        }
    }
}

impl Pieces for Album {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let Some((file, location)) = self.picture().await? else {
            self.ended = true;
            return Ok(Some(self.writer.end()));
        };
        let head = self.writer.plain_head(Some(file.len() as u64), &location, self.given == 0);
        self.given += 1;
        Ok(Some([head, file].concat().into()))
    }
}
