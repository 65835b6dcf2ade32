//! A healthy sender beside the ones that misbehave: its instance is under way all the while, and is stored in the end.

use super::caller::{Caller, Request, store_command};
use super::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set};
use super::gateway::Gateway;

pub struct Beside {
    caller: Caller,
    names: Names,
    bytes: Vec<u8>,
    sent: usize,
}

impl Beside {
    /// Opens an association and sends the first part of an instance of half a megabyte.
    pub fn start(site: &Gateway, names: Names) -> Self {
        Self::start_with(site, names, 512 << 10)
    }

    /// The same with so many bytes, for a story in which it must keep moving for long.
    pub fn start_with(site: &Gateway, names: Names, pixel_bytes: u32) -> Self {
        let request = Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
        let (mut caller, _) = Caller::accepted(site.config.dicom_port, &request);
        let bytes = data_set(&names, pixel_bytes, 1);
        caller.fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names.instance, 1)).unwrap();
        let mut beside = Self { caller, names, bytes, sent: 0 };
        beside.go_on(64 << 10);
        beside
    }

    /// Sends some more of it, but never the end.
    pub fn go_on(&mut self, bytes: usize) {
        let end = (self.sent + bytes).min(self.bytes.len() - 1024);
        for piece in self.bytes[self.sent..end].chunks(32 << 10) {
            self.caller.fragment(1, false, false, piece).unwrap();
        }
        self.sent = end;
    }

    /// Sends the rest: it is stored, every byte of it.
    pub fn end(mut self, site: &Gateway) {
        self.go_on(usize::MAX / 2);
        self.caller.fragment(1, false, true, &self.bytes[self.sent..]).unwrap();
        assert_eq!(self.caller.answer().unwrap().status, 0, "the neighbour was disturbed");
        self.caller.release();
        let held = site.study(&self.names.study);
        let mine = held.iter().find(|row| row["sop_instance_uid"] == self.names.instance).expect("the neighbour's");
        assert_eq!(mine["sha256"], super::files::digest(&self.bytes));
    }
}
