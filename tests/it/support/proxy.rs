//! A TCP proxy that a test can cut: before, during or after a request, without either side's help.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    /// Connections are closed as soon as they are made.
    refusing: AtomicBool,
    /// How many connections are still to be cut at the first byte of an answer that follows `cut_after` bytes.
    cuts: AtomicU64,
    cut_after: AtomicU64,
    /// The next bytes that go up after `flip_after` lose their truth: one bit in their midst is flipped.
    flip: AtomicBool,
    flip_after: AtomicU64,
    fired: AtomicU64,
    /// Bytes a second that a connection carries up; 0 is as many as it can.
    rate: AtomicU64,
    /// The same for what comes down.
    rate_down: AtomicU64,
    /// Once a connection has carried so many bytes up, nothing comes down any more; 0 is never.
    hold_after: AtomicU64,
    /// Each connection is cut once it has carried so many bytes down; 0 is never.
    cut_down: AtomicU64,
    /// Bytes that came down, of all connections.
    down: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Passes everything on to a port of the loopback.
    pub fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || carry(&client, upstream, &state));
            }
        });
        Self { port, state }
    }

    /// Lets so many bytes a second come down, on each connection.
    pub fn throttle_down(&self, rate: u64) {
        self.state.rate_down.store(rate, Ordering::SeqCst);
    }

    /// Refuses every new connection, or no longer.
    pub fn refuse(&self, yes: bool) {
        self.state.refusing.store(yes, Ordering::SeqCst);
    }

    /// Lets `count` connections each carry `bytes` up, then swallows whatever comes down and cuts both ways.
    pub fn cut_answers(&self, count: u64, bytes: u64) {
        self.state.cut_after.store(bytes, Ordering::SeqCst);
        self.state.cuts.store(count, Ordering::SeqCst);
    }

    /// From now on each connection is cut once it has carried so many bytes down; 0 is never.
    pub fn cut_each_after(&self, bytes: u64) {
        self.state.cut_down.store(bytes, Ordering::SeqCst);
    }

    /// Bytes that came down so far, of all connections.
    pub fn carried_down(&self) -> u64 {
        self.state.down.load(Ordering::SeqCst)
    }

    /// Once a connection has carried so many bytes up, what comes down is held back, until this is 0 again.
    pub fn hold_answers(&self, bytes: u64) {
        self.state.hold_after.store(bytes, Ordering::SeqCst);
    }

    /// Carries so many bytes a second up, on each connection.
    pub fn throttle(&self, rate: u64) {
        self.state.rate.store(rate, Ordering::SeqCst);
    }

    /// Cuts every connection that is open now.
    pub fn cut_now(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were made since the last cut.
    pub fn connections(&self) -> usize {
        self.state.open.lock().unwrap().len() / 2
    }

    /// Flips one bit of what goes up next.
    pub fn flip_a_bit(&self) {
        self.flip_a_bit_after(0);
    }

    /// Flips one bit once a connection has carried so many bytes up.
    pub fn flip_a_bit_after(&self, bytes: u64) {
        self.state.flip_after.store(bytes, Ordering::SeqCst);
        self.state.flip.store(true, Ordering::SeqCst);
    }

    /// How many answers were really cut off, or bits flipped.
    pub fn fired(&self) -> u64 {
        self.state.fired.load(Ordering::SeqCst)
    }
}

fn carry(client: &TcpStream, upstream: u16, state: &Arc<State>) {
    if state.refusing.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    state.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    let sent = Arc::new(AtomicU64::new(0));
    let up = {
        let (from, to, sent) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&sent));
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            pump(from, to, |bytes| {
                let due = sent.load(Ordering::SeqCst) >= state.flip_after.load(Ordering::SeqCst);
                if due && state.flip.swap(false, Ordering::SeqCst) {
                    bytes[bytes.len() / 2] ^= 1;
                    state.fired.fetch_add(1, Ordering::SeqCst);
                }
                let rate = state.rate.load(Ordering::SeqCst);
                if let Some(micros) = (bytes.len() as u64 * 1_000_000).checked_div(rate) {
                    std::thread::sleep(std::time::Duration::from_micros(micros));
                }
                sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                true
            });
        })
    };
    let carried = AtomicU64::new(0);
    pump(server.try_clone().unwrap(), client.try_clone().unwrap(), |bytes| {
        let most = state.cut_down.load(Ordering::SeqCst);
        if most > 0 && carried.load(Ordering::SeqCst) >= most {
            state.fired.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        carried.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        state.down.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let rate = state.rate_down.load(Ordering::SeqCst);
        if let Some(micros) = (bytes.len() as u64 * 1_000_000).checked_div(rate) {
            std::thread::sleep(std::time::Duration::from_micros(micros));
        }
        let held =
            || matches!(state.hold_after.load(Ordering::SeqCst), after @ 1.. if sent.load(Ordering::SeqCst) >= after);
        while held() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let due = sent.load(Ordering::SeqCst) >= state.cut_after.load(Ordering::SeqCst);
        let cut =
            due && state.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if cut {
            state.fired.fetch_add(1, Ordering::SeqCst);
        }
        !cut
    });
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    let _ = up.join();
}

/// Copies until an end or until `pass` says no to what was just read.
fn pump(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if !pass(&mut buffer[..size]) || to.write_all(&buffer[..size]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
