//! The face towards order systems: HL7 version 2 messages over MLLP, kept before they are acknowledged (IDY-045, INV-01).

mod hearing;
mod meaning;

pub use hearing::{Counts, Hearing};
pub use meaning::Terms;

use crate::dimse::wire::tune;
use crate::hl7::acknowledgement::{Fault, Refusal};
use crate::hl7::framing::{Framed, Framer, frame};
use crate::hl7::message::Header;
use crate::records::{Heard, Records};
use ipnet::IpNet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Most bytes of a message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 8 << 10;
/// Connections at once.
const CONNECTIONS: usize = 16;
/// A message that has begun must be whole within this time; so long, too, its answer may take to be fetched.
const IN_HAND: Duration = Duration::from_secs(30);
/// So long a connection may be silent between messages.
const SILENCE: Duration = Duration::from_secs(3600);
/// The wait after a connection could not be accepted.
const TROUBLE: Duration = Duration::from_millis(100);

/// What the face works with.
#[derive(Clone)]
pub struct MllpFace {
    /// Where orders and statements are kept.
    pub records: Records,
    /// Who may call.
    pub from: Arc<[IpNet]>,
    /// How numbers in messages are meant, and which messages.
    pub terms: Arc<Terms>,
    /// This site's name, for the acknowledgement.
    pub site: String,
    /// What is counted.
    pub hearing: Hearing,
}

/// Accepts connections until `stop`.
pub async fn serve(listener: TcpListener, face: MllpFace, stop: CancellationToken) -> io::Result<()> {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a connection of an order system");
                    tokio::time::sleep(TROUBLE).await;
                    continue;
                }
            },
        };
        if !face.from.iter().any(|network| network.contains(&address.ip().to_canonical())) {
            tracing::warn!(%address, "not an order system of this site");
            turn_away(address, &face, "not in `from_addresses` of [hl7]").await;
            continue;
        }
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            tracing::warn!(%address, "too many connections of order systems");
            turn_away(address, &face, &format!("more than {CONNECTIONS} connections")).await;
            continue;
        };
        let (face, stop) = (face.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, address, &face) => {}
                () = stop.cancelled() => {}
            }
            drop(seat);
        });
    }
}

/// Messages and acknowledgements, one after the other, until either side has enough.
async fn converse(mut stream: TcpStream, address: SocketAddr, face: &MllpFace) {
    // A caller that is gone without a word, or that a firewall has forgotten, keeps no other from its seat for as long as it may be silent.
    tune(&stream);
    let (mut framer, mut chunk) = (Framer::new(MESSAGE_BYTES), vec![0; CHUNK]);
    let mut begun: Option<Instant> = None;
    loop {
        let answer = match framer.next_message() {
            Framed::Message(message) => answered(&message, address, face).await,
            Framed::TooLong(head) => too_long(&head, address, face).await,
            Framed::Broken(why) => return refuse(address, face, why).await,
            Framed::NeedMore => {
                let end = match framer.is_idle() {
                    true => Instant::now() + SILENCE,
                    false => *begun.get_or_insert_with(Instant::now) + IN_HAND,
                };
                match timeout_at(end, stream.read(&mut chunk)).await {
                    Ok(Ok(read)) if read > 0 => framer.take(&chunk[..read]),
                    _ if framer.is_idle() => return,
                    _ => return refuse(address, face, "a message that does not end").await,
                }
                continue;
            }
        };
        begun = None;
        let Some(answer) = answer else { return };
        let sent = timeout(IN_HAND, stream.write_all(&frame(&answer))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn refuse(address: SocketAddr, face: &MllpFace, why: &str) {
    tracing::warn!(%address, why, "an order system does not speak HL7 over MLLP");
    turn_away(address, face, why).await;
}

/// Counts and enters that somebody was not heard.
async fn turn_away(address: SocketAddr, face: &MllpFace, why: &str) {
    let what = format!("{}: {why}", address.ip());
    face.hearing.refused(SystemTime::now(), what.clone());
    face.records.refused("hl7", &what).await;
}

/// The acknowledgement of one message; `None` where nobody could read one.
async fn answered(bytes: &[u8], address: SocketAddr, face: &MllpFace) -> Option<String> {
    let header = readable(bytes, address, face).await?;
    let refusal = take(&header, bytes, face).await.err();
    Some(acknowledged(&header, refusal, address, face))
}

/// The acknowledgement of a message over the limit that begins so: AE, which a person is shown, and the next one follows.
async fn too_long(head: &[u8], address: SocketAddr, face: &MllpFace) -> Option<String> {
    let header = readable(head, address, face).await?;
    let why = format!("the message has more than {MESSAGE_BYTES} bytes");
    Some(acknowledged(&header, Some(Refusal::error(Fault::Unreadable, "MSH", why)), address, face))
}

/// The header of a message, by which it can be answered.
async fn readable(bytes: &[u8], address: SocketAddr, face: &MllpFace) -> Option<Header> {
    match Header::read(bytes) {
        Ok(header) => Some(header),
        Err(error) => {
            refuse(address, face, &error.to_string()).await;
            None
        }
    }
}

/// Counts a message as taken or refused, and says so to its sender.
fn acknowledged(header: &Header, refusal: Option<Refusal>, address: SocketAddr, face: &MllpFace) -> String {
    match &refusal {
        Some(Refusal { why, .. }) => {
            tracing::warn!(%address, sender = header.sender(), why, "an HL7 message was not taken");
            face.hearing.refused(SystemTime::now(), format!("{}: {why}", address.ip()));
        }
        None => face.hearing.taken(SystemTime::now()),
    }
    let at = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S+0000").to_string();
    header.answered(refusal.as_ref(), &at, &face.site)
}

/// Keeps what a message says; it is durable when this returns. Of an event that is not used nothing is kept.
async fn take(header: &Header, bytes: &[u8], face: &MllpFace) -> Result<(), Refusal> {
    let Some(told) = meaning::told(header, bytes, &face.terms)? else { return Ok(()) };
    match face.records.take_message(told, SystemTime::now()).await {
        Ok(Heard::New(_)) => Ok(()),
        Ok(Heard::Again) => {
            tracing::info!(sender = header.sender(), "an HL7 message came again and changed nothing");
            Ok(())
        }
        Err(error) => {
            tracing::error!(error = %error, "an HL7 message could not be kept");
            Err(Refusal::rejected(Fault::Internal, "", "it cannot be kept just now; send it again later"))
        }
    }
}
