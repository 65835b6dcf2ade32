//! A TCP proxy that does one thing at one byte of one connection: cuts, stalls, closes one half, or trickles.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Both ways are closed.
    Cut,
    /// Nothing more gets through this way, and nobody is told.
    Stall,
    /// This way is closed, the other goes on.
    HalfClose,
    /// The next bytes get through one by one.
    Trickle,
}

/// What happens to the first connection that has carried so many bytes up, or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub up: bool,
    pub at: u64,
    pub harm: Harm,
}

#[derive(Default)]
struct State {
    next: Mutex<Option<Fault>>,
    fired: AtomicU64,
    /// The most that a connection carried up, and down.
    most: [AtomicU64; 2],
    open: Mutex<Vec<TcpStream>>,
}

pub struct OneFault {
    pub port: u16,
    state: Arc<State>,
}

impl OneFault {
    /// Passes everything on to a port of the loopback.
    pub fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                shared.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for up in [true, false] {
                    let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let (from, to) = if up { (client, server) } else { (server, client) };
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pump(from, to, up, &state));
                }
            }
        });
        Self { port, state }
    }

    /// Ends the connections that are open, and has the next that comes so far meet this.
    pub fn meet(&self, fault: Option<Fault>) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        *self.state.next.lock().unwrap() = fault;
    }

    pub fn fired(&self) -> u64 {
        self.state.fired.load(Ordering::SeqCst)
    }

    /// The most that a connection has carried up, and down.
    pub fn most(&self) -> (u64, u64) {
        let [up, down] = &self.state.most;
        (up.load(Ordering::SeqCst), down.load(Ordering::SeqCst))
    }
}

/// The fault, if this piece of a connection reaches it.
fn due(state: &State, up: bool, carried: u64, size: u64) -> Option<Fault> {
    let reaches = |fault: &mut Fault| fault.up == up && (carried..carried + size).contains(&fault.at);
    let fault = state.next.lock().unwrap().take_if(reaches);
    if fault.is_some() {
        state.fired.fetch_add(1, Ordering::SeqCst);
    }
    fault
}

fn pump(mut from: TcpStream, mut to: TcpStream, up: bool, state: &State) {
    let mut buffer = vec![0; 64 << 10];
    let mut carried = 0;
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        let piece = &buffer[..size];
        let fault = due(state, up, carried, size as u64);
        let before = fault.map_or(size, |fault| (fault.at - carried) as usize);
        carried += size as u64;
        state.most[usize::from(!up)].fetch_max(carried, Ordering::SeqCst);
        if to.write_all(&piece[..before]).is_err() {
            break;
        }
        match fault.map(|fault| fault.harm) {
            None => continue,
            Some(Harm::Trickle) => {
                for byte in &piece[before..] {
                    std::thread::sleep(Duration::from_micros(200));
                    if to.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
                continue;
            }
            Some(Harm::Cut) => {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return;
            }
            Some(Harm::HalfClose) => {
                let _ = to.shutdown(Shutdown::Write);
            }
            Some(Harm::Stall) => {}
        }
        // What still comes goes nowhere.
        while let Ok(1..) = from.read(&mut buffer) {}
        break;
    }
    let _ = to.shutdown(Shutdown::Write);
}
