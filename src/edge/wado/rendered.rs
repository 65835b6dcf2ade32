//! Rendered studies, series, instances and frames, and thumbnails of them, as JPEG or PNG (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.5).
//!
//! Of an instance of several frames the first stands for it. Nothing that identifies the patient is drawn; what a modality has
//! burnt into the cells stays.

use super::archived::Awaited;
use super::body::{Listed, Pieces, body};
use super::frames::{numbers, open};
use super::pixels::{Frame, Frames, gathered};
use super::seats::Seat;
use super::span::with;
use super::waiting::ROOM;
use super::{Answered, Asked, formless, partial, refuse, unread, unreadable};
use crate::courier::decoding;
use crate::dicom::render::{self, Cells, Kind, Viewport};
use crate::dicomweb::media_type::{self, IMAGE_JPEG, IMAGE_PNG};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::rendered::{Rendering, rendering};
use crate::dicomweb::wado::{self, AcceptError};
use crate::edge::http::{Base, WebFace};
use crate::records::{InstanceId, Retrievable};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use std::io;
use tokio::sync::Semaphore;

/// The sides of a thumbnail where none are asked for.
const THUMBNAIL: Viewport = Viewport { width: 128, height: 128, region: None };
/// Instances that are tried for a thumbnail of a series or study.
const TRIED: usize = 16;

/// Why there is nothing to answer with.
const NO_PICTURE: &str = "no picture can be made of anything in it";

/// Frames are rendered, their cells held in memory, so many at once.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// What was settled on.
#[derive(Clone)]
struct Chosen {
    media: &'static str,
    rendering: Rendering,
    /// The member of Accept that gave the type asks for parts, although there may be but one.
    parts: bool,
}

impl Chosen {
    fn of(asked: &Asked) -> Result<Self, Box<Response>> {
        let accept = asked.accept.as_deref();
        if let Err(error @ AcceptError::Mixed) = wado::accepted(accept) {
            return refuse(StatusCode::BAD_REQUEST, &error.to_string());
        }
        const PICTURES: [&str; 2] = [IMAGE_JPEG, IMAGE_PNG];
        let Some((media, parts)) = media_type::settled(accept, &PICTURES, &PICTURES) else {
            return refuse(StatusCode::NOT_ACCEPTABLE, "pictures can be had as image/jpeg or as image/png");
        };
        let rendering = match rendering(&asked.query) {
            Ok(rendering) => rendering,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        };
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
    let seat = asked.seat().await?;
    let service = asked.base.as_str().to_owned();
    let unheeded = chosen.rendering.unsupported.clone();
    let mut response = match (&asked.resource.instance, list) {
        (None, _) => of_several(asked, chosen, awaited, seat).await?,
        (Some(_), list) => of_instance(asked, chosen, list.unwrap_or_else(|| vec![1]), seat).await?,
    };
    warn(&mut response, &service, &unheeded);
    Ok(response)
}

/// The first frames of a series or study, as parts.
async fn of_several(asked: Asked, chosen: Chosen, awaited: Awaited, seat: Seat) -> Answered {
    let (writer, missing, stored) = (asked.writer(chosen.media)?, awaited.missing(), awaited.extent.stored);
    let (kind, service) = (writer.content_type(), asked.base.as_str().to_owned());
    let listed = Listed::new(asked.face.clone(), asked.resource.clone(), awaited.fetching, stored);
    let source = Source::Listed(listed, asked.base.clone());
    let mut pieces =
        Album { source, chosen, writer, ready: None, current: Frame::Whole(Bytes::new()), given: 0, ended: false };
    // The first is made before anything is sent: an answer without any picture is no answer.
    pieces.ready = pieces.picture().await.map_err(|error| unread(&error))?;
    if pieces.ready.is_none() {
        return refuse(StatusCode::NOT_ACCEPTABLE, NO_PICTURE);
    }
    asked.gives(stored).await;
    Ok(partial(&kind, body(pieces, seat), missing, &service))
}

/// Frames of one instance: one as it is, several as parts.
async fn of_instance(asked: Asked, chosen: Chosen, list: Vec<u32>, seat: Seat) -> Answered {
    let (item, frames) = open(&asked, &list, unread).await?;
    asked.gives(1).await;
    // The first is made before anything is sent, so that what cannot be made is known in time.
    let first = picture(&frames, list[0], &chosen).await.map_err(|error| unread(&error))?;
    if list.len() == 1 && !chosen.parts {
        return Ok(alone(first, &chosen, seat));
    }
    let writer = asked.writer(chosen.media)?;
    let kind = writer.content_type();
    let location = asked.base.instance(&item.study, &item.series, &item.sop_instance);
    let ready = Some((first, format!("{location}/frames/{}/rendered", list[0])));
    let source = Source::Frames { location, frames, list, at: 1 };
    let pieces = Album { source, chosen, writer, ready, current: Frame::Whole(Bytes::new()), given: 0, ended: false };
    Ok(with(StatusCode::OK, body(pieces, seat), &[(header::CONTENT_TYPE, &kind)]))
}

/// Answers with one small picture that stands for the resource: of a series or study, of an instance in its middle.
pub(super) async fn thumbnail(mut asked: Asked) -> Answered {
    let mut chosen = Chosen::of(&asked)?;
    if chosen.rendering.wish.viewport.get_or_insert(THUMBNAIL).region.is_some() {
        return refuse(StatusCode::BAD_REQUEST, "a thumbnail shows the whole image: write viewport=width,height");
    }
    let list = asked.below.as_deref().map(numbers).transpose()?;
    asked.held().await?;
    let seat = asked.seat().await?;
    let made = match asked.resource.instance {
        Some(_) => {
            let frame = list.and_then(|list| list.first().copied()).unwrap_or(1);
            let (_, frames) = open(&asked, &[frame], unread).await?;
            picture(&frames, frame, &chosen).await.map_err(|error| unread(&error))?
        }
        None => match of_any(&asked, &chosen).await? {
            Some(made) => made,
            None => return refuse(StatusCode::NOT_ACCEPTABLE, NO_PICTURE),
        },
    };
    asked.gives(1).await;
    Ok(alone(made, &chosen, seat))
}

/// Answers with one picture, and keeps its seat until it has gone out.
fn alone(file: Bytes, chosen: &Chosen, seat: Seat) -> Response {
    let length = file.len().to_string();
    let fields = [(header::CONTENT_TYPE, chosen.media), (header::CONTENT_LENGTH, length.as_str())];
    with(StatusCode::OK, body(Frame::Whole(file), seat), &fields)
}

/// The first frame of an instance in the middle that a picture can be made of.
async fn of_any(asked: &Asked, chosen: &Chosen) -> Result<Option<Bytes>, Box<Response>> {
    let found = asked.face.records.retrievable(&asked.resource, InstanceId(0)).await.map_err(unreadable)?;
    let (before, after) = found.split_at(found.len() / 2);
    for item in after.iter().chain(before).take(TRIED) {
        if let Some(made) = drawn(&asked.face, item, chosen).await.map_err(|error| unread(&error))? {
            return Ok(Some(made));
        }
    }
    Ok(None)
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

/// The first frame of one of several instances as a file; `None` if it has none, or no picture can be made of it. The error is
/// the store's.
async fn drawn(face: &WebFace, item: &Retrievable, chosen: &Chosen) -> io::Result<Option<Bytes>> {
    let made = async {
        match Frames::of(face, item).await? {
            Some(frames) => picture(&frames, 1, chosen).await.map(Some),
            None => Ok(None),
        }
    };
    match made.await {
        Err(error) if formless(&error) => {
            tracing::warn!(instance = %item.sop_instance, error = %error, "no picture is made of it");
            Ok(None)
        }
        made => made,
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
    let (photometric, come, cells) = match frames.are_compressed() {
        true => {
            let decoded = frames.decoded(frame).await?;
            (decoded.photometric, Cells::of_fragments(frames.syntax()), decoded.bytes)
        }
        false => (layout.image.photometric, Cells::Native, gathered(frames.native(frame).await?).await?),
    };
    let (wish, kind) = (chosen.rendering.wish, chosen.kind());
    let file = decoding::off_thread(move || {
        let picture = render::render(&layout, &look, photometric, come, &cells, &wish).map_err(io::Error::other)?;
        drop(cells);
        picture.encoded(kind).map_err(io::Error::other)
    });
    let file: Vec<u8> = file.await.map_err(io::Error::other)??;
    // Others are rendered only once there is room for what was.
    Ok(ROOM.take(file.len() as u64).await?.hold(file))
}

/// Where pictures come from.
enum Source {
    /// The first frames of all instances that have any.
    Listed(Listed, Base),
    /// Frames of one instance.
    Frames { location: String, frames: Frames, list: Vec<u32>, at: usize },
}

/// Pictures one after the other, each a part.
struct Album {
    source: Source,
    chosen: Chosen,
    writer: Writer,
    /// The first, which was made already.
    ready: Option<(Bytes, String)>,
    /// What is left of the one that is being given.
    current: Frame,
    given: u64,
    ended: bool,
}

impl Album {
    /// The next picture, and where it is.
    async fn picture(&mut self) -> io::Result<Option<(Bytes, String)>> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        match &mut self.source {
            Source::Listed(listed, base) => {
                while let Some(item) = listed.next().await? {
                    if let Some(file) = drawn(listed.face(), &item, &self.chosen).await? {
                        let location = base.instance(&item.study, &item.series, &item.sop_instance);
                        return Ok(Some((file, format!("{location}/rendered"))));
                    }
                }
                Ok(None)
            }
            Source::Frames { location, frames, list, at } => {
                let Some(&number) = list.get(*at) else { return Ok(None) };
                *at += 1;
                let file = picture(frames, number, &self.chosen).await?;
                Ok(Some((file, format!("{location}/frames/{number}/rendered"))))
            }
        }
    }
}

impl Pieces for Album {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.current.next().await? {
            return Ok(Some(piece));
        }
        if self.ended {
            return Ok(None);
        }
        let Some((file, location)) = self.picture().await? else {
            self.ended = true;
            return Ok(Some(self.writer.end()));
        };
        let head = self.writer.plain_head(Some(file.len() as u64), &location, self.given == 0);
        self.given += 1;
        self.current = Frame::Whole(file);
        Ok(Some(head))
    }
}
