//! How fast the store takes objects in and gives them out: `store [DIR [CONNECTIONS OBJECTS BYTES]]`.
//!
//! It prints MB/s, objects a second and CPU seconds a GB, for the shapes below or for the one that is told.
//!
//! Objects arrive over loopback streams, as they do in the gateway, from threads of this process; each is answered when
//! it is durable. CPU time is that of the process without these senders. Build it with the profile that is to be
//! measured: `cargo bench --bench store`, or `cargo build --benches` for the profile of the tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weybridge::dicom::uid::TransferSyntaxUid;
use weybridge::store::{Digest, Place, Store, StoreOptions};

/// Connections, objects on each, bytes of each. The rows of CPU in `benches/run` tell their own.
const RUNS: [(usize, usize, usize); 8] = [
    (1, 400, 525_600),
    (4, 300, 525_600),
    (16, 100, 525_600),
    (64, 25, 525_600),
    (4, 2000, 5_000),
    (16, 1000, 5_000),
    (1, 1, 524_000_000),
    (8, 1, 100_000_000),
];

fn main() {
    let told: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let dir = told.first().map_or("target/bench-store", String::as_str);
    let shape: Vec<usize> = told.iter().skip(1).map(|number| number.parse().unwrap()).collect();
    let runs = match shape[..] {
        [connections, objects, bytes] => vec![(connections, objects, bytes)],
        _ => RUNS.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (connections, objects, bytes) in runs {
        let _ = std::fs::remove_dir_all(dir);
        let (store, _) = Store::open(StoreOptions::at(dir), []).unwrap();
        let gigabytes = (connections * objects * bytes) as f64 / 1e9;
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let (stored, sending) = runtime.block_on(take_in(&store, connections, objects, bytes));
        let (taken, spent) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu - sending);
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        runtime.block_on(give_out(&store, stored, connections));
        let (read, spent_reading) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "{connections:3} x {bytes:9} B: in {:5.0} MB/s {:6.0}/s {:5.2} CPU s/GB {:5} syncs; out {:5.0} MB/s {:5.2} CPU s/GB",
            gigabytes * 1e3 / taken,
            (connections * objects) as f64 / taken,
            spent / gigabytes,
            store.usage().syncs,
            gigabytes * 1e3 / read,
            spent_reading / gigabytes,
        );
    }
    println!("peak resident {} MB", peak_resident_mb());
    let _ = std::fs::remove_dir_all(dir);
}

/// Receives all objects, each durable before it is answered; with them the CPU seconds of the senders.
async fn take_in(store: &Store, connections: usize, objects: usize, bytes: usize) -> (Vec<(Place, Digest)>, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let senders: Vec<_> =
        (0..connections).map(|seed| std::thread::spawn(move || send(address, seed, objects, bytes))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let store = store.clone();
        tasks.spawn(async move {
            let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
            let mut buffer = vec![0; 128 << 10];
            let mut stored = vec![];
            for _ in 0..objects {
                let mut receiving = store.receive().await.unwrap();
                let mut left = bytes;
                while left > 0 {
                    let most = left.min(buffer.len());
                    let count = stream.read(&mut buffer[..most]).await.unwrap();
                    receiving.write(&buffer[..count]).await.unwrap();
                    left -= count;
                }
                let spooled = receiving.finish(&syntax).await.unwrap();
                let digest = spooled.digest();
                stored.push((store.settle(spooled).await.unwrap(), digest));
                stream.write_all(&[1]).await.unwrap();
            }
            stored
        });
    }
    let stored = tasks.join_all().await.into_iter().flatten().collect();
    (stored, senders.into_iter().map(|sender| sender.join().unwrap()).sum())
}

/// Sends them, each once the one before is answered; returns the CPU seconds that this thread took.
fn send(address: SocketAddr, seed: usize, objects: usize, bytes: usize) -> f64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut data: Vec<u8> = (0..bytes.min(4 << 20)).map(|at| (at * 31 + seed) as u8).collect();
    for object in 0..objects {
        data[..8].copy_from_slice(&object.to_le_bytes());
        let mut left = bytes;
        while left > 0 {
            let count = left.min(data.len());
            data[..count].chunks(128 << 10).for_each(|chunk| stream.write_all(chunk).unwrap());
            left -= count;
        }
        stream.read_exact(&mut [0]).unwrap();
    }
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    spent.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Reads every object once, as many at a time as there were connections.
async fn give_out(store: &Store, stored: Vec<(Place, Digest)>, readers: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for share in stored.chunks(stored.len().div_ceil(readers)) {
        let (store, share) = (store.clone(), share.to_vec());
        tasks.spawn(async move {
            for (place, digest) in share {
                store.verify(place, digest).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// User and system time of this process, from /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
}
