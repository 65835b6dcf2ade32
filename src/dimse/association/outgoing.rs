//! Messages on their way out: fragments of the length that the peer takes, header and slice in one write.

use super::{Association, Incoming, Lost};
use crate::dimse::channel::{Channel, Patience};
use crate::dimse::message::CommandSet;
use crate::dimse::message::assembly::Part;
use crate::dimse::pdata::Piece;
use crate::dimse::pdata::fragment_header;
use crate::dimse::timers::Phase;
use std::future::ready;
use std::io::IoSlice;

/// PDUs that go into one write; the system takes 1,024 slices, and each PDU has two or three.
const PDUS_A_WRITE: usize = 64;

/// What is to be sent before the next data: a command set's PDUs, and an odd byte, for fragments are even (PS3.8
/// section E.1).
#[derive(Debug, Default)]
pub(in crate::dimse) struct Held {
    command: Vec<u8>,
    odd: Option<u8>,
}

impl Association {
    /// A command set as P-DATA-TF PDUs.
    pub(in crate::dimse) fn framed(&self, context: u8, command: &CommandSet) -> Vec<u8> {
        let bytes = command.encode();
        let mut framed = Vec::with_capacity(bytes.len() + 12 * (1 + bytes.len() / self.fragment));
        let count = bytes.chunks(self.fragment).len();
        for (number, fragment) in bytes.chunks(self.fragment).enumerate() {
            let last = number + 1 == count;
            framed.extend(fragment_header(context, true, last, fragment.len() as u32));
            framed.extend(fragment);
        }
        framed
    }

    /// Sends a command set that no data set follows.
    pub(in crate::dimse) async fn send_command(&mut self, context: u8, command: &CommandSet) -> Result<(), Lost> {
        let framed = self.framed(context, command);
        let mut patience = Patience::moving(self.timers(), Phase::Sending);
        self.channel.send_pdu(&framed, &mut patience).await
    }

    /// Begins a message with a data set; the command set leaves with the first of its data.
    pub(in crate::dimse) fn begin(&self, context: u8, command: &CommandSet) -> Held {
        Held { command: self.framed(context, command), odd: None }
    }

    /// Sends a part of the data set; `last` ends the data set and the message, which [`Self::flush`] must follow. The
    /// last part
    /// must not be empty. On error the wire has not taken all of it.
    pub(in crate::dimse) async fn send_data(
        &mut self,
        context: u8,
        held: &mut Held,
        data: &[u8],
        last: bool,
        patience: &mut Patience,
    ) -> Result<(), Lost> {
        let odd = held.odd.take();
        let mut front = odd.as_slice();
        let mut rest = data;
        let mut total = front.len() + rest.len();
        if !last && total % 2 == 1 {
            total -= 1;
            match rest.split_last() {
                Some((byte, before)) => (held.odd, rest) = (Some(*byte), before),
                None => (held.odd, front) = (odd, &[]),
            }
        }
        let mut sent = 0;
        while sent < total {
            let mut headers = [[0u8; 12]; PDUS_A_WRITE];
            let mut parts: [(&[u8], &[u8]); PDUS_A_WRITE] = [(&[], &[]); PDUS_A_WRITE];
            let mut count = 0;
            while sent < total && count < PDUS_A_WRITE {
                let payload = (total - sent).min(self.fragment);
                sent += payload;
                let (now, later) = rest.split_at(payload - front.len());
                headers[count] = fragment_header(context, false, last && sent == total, payload as u32);
                parts[count] = (std::mem::take(&mut front), now);
                rest = later;
                count += 1;
            }
            let mut slices = Vec::with_capacity(1 + 3 * count);
            slices.push(IoSlice::new(&held.command));
            for (header, (front, now)) in headers.iter().zip(&parts).take(count) {
                slices.push(IoSlice::new(header));
                if !front.is_empty() {
                    slices.push(IoSlice::new(front));
                }
                slices.push(IoSlice::new(now));
            }
            let (channel, mut hear) = self.hearing();
            channel.send(&mut slices, patience, &mut hear).await?;
            held.command.clear();
        }
        Ok(())
    }

    /// Pushes out what was sent. On error nobody knows how much of it arrived.
    pub(in crate::dimse) async fn flush(&mut self, patience: &mut Patience) -> Result<(), Lost> {
        let (channel, mut hear) = self.hearing();
        channel.flush(patience, &mut hear).await
    }

    /// The channel, and what keeps the first command set that comes over it meanwhile.
    fn hearing(&mut self) -> (&mut Channel, impl FnMut(&Piece, &[u8]) + Send) {
        let Self { channel, assembly, contexts, early, .. } = self;
        let hear = |piece: &Piece, bytes: &[u8]| {
            if let Ok(Part::Command(context, command)) = assembly.accept(piece, bytes, |id| contexts.contains(id)) {
                early.get_or_insert((context, command));
            }
        };
        (channel, hear)
    }

    /// Takes what the acceptor has said while we were sending, as far as it has come; nothing is waited for. What is whole shows in
    /// [`Self::early`]. A requestor that cancels is heard between messages.
    pub(in crate::dimse) async fn overhear(&mut self) -> Result<(), Lost> {
        if !self.channel.has_input() || !self.channel.is_requestor() {
            return Ok(());
        }
        self.listen().await
    }

    /// Takes what the acceptor has said since its last answer, as far as it has come; nothing is waited for. So whoever has closed, aborted
    /// or asked for release is sent no more, and nobody need wonder whether that arrived. What has come of a data set that the last response
    /// announced and can not have (PS3.7 section 9.3.1.2) is passed over.
    pub(in crate::dimse) async fn listen(&mut self) -> Result<(), Lost> {
        if self.early.is_some() {
            return Ok(());
        }
        let mut patience = Patience::until(self.timers().response, Phase::Response);
        let heard = tokio::select! {
            biased;
            heard = self.next_message(&mut patience) => heard?,
            () = ready(()) => return Ok(()),
        };
        match heard {
            Incoming::Message(context, command) => self.early = Some((context, command)),
            Incoming::Release => {
                // It does not mean to take any more (AR-4).
                let _ = self.answer_release().await;
                return Err(Lost::Closed);
            }
        }
        Ok(())
    }

    /// The command set that came before its time, while we were sending.
    pub(in crate::dimse) fn early(&self) -> Option<&(u8, CommandSet)> {
        self.early.as_ref()
    }

    /// Something has come that is not an answer to what was sent to its end.
    pub(in crate::dimse) fn has_input(&self) -> bool {
        self.early.is_some() || self.channel.has_input()
    }
}
