//! A listener on a real socket: its limits, its drain.

use super::*;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Running {
    pub(super) target: Target,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<std::io::Result<()>>,
}

async fn run(scp: &Arc<Shelf>, options: ScpOptions) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: listener.local_addr().unwrap().to_string(), ..target() };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, None, scp.clone(), options, stop.clone()));
    Running { target, stop, task }
}

#[tokio::test]
async fn one_association_too_many_is_rejected_and_not_dropped() {
    let rejected = ScuError::Rejected { result: 2, by: 3, reason: 2 };
    let few = ScpOptions { max_associations: 1, ..options() };
    let few_each = ScpOptions { max_associations_per_caller: 1, ..options() };
    for (most, options) in [(None, few), (None, few_each), (Some(1), options())] {
        let scp = Arc::new(Shelf { most, ..Shelf::default() });
        let running = run(&scp, options).await;
        let mut first = connect(&running.target, &offers()).await.unwrap();
        assert_eq!(connect(&running.target, &offers()).await.unwrap_err(), rejected);
        assert_eq!(first.echo().await.unwrap(), Status::SUCCESS);
        first.release().await.unwrap();
        connect(&running.target, &offers()).await.expect("the place is free at once").release().await.unwrap();
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn connections_that_ask_for_nothing_make_room_for_those_that_do() {
    let scp = Arc::new(Shelf::default());
    let running = run(&scp, ScpOptions { max_associations: 1, max_pending: 3, ..options() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(&running.target.address).await.unwrap());
    }
    let within = Duration::from_secs(10);
    let scu = tokio::time::timeout(within, connect(&running.target, &offers())).await.unwrap().unwrap();
    let mut byte = [0];
    let closed = tokio::time::timeout(within, silent[0].read(&mut byte)).await;
    assert_eq!(closed.expect("when another comes, and not when ARTIM expires").unwrap(), 0);
    scu.release().await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(within, running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_hand_and_rejects_what_comes() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let scp = Arc::new(Shelf { gate: Some(gate.clone()), ..Shelf::default() });
    let running = run(&scp, options()).await;
    let mut idle = connect(&running.target, &offers()).await.unwrap();
    let mut busy = connect(&running.target, &offers()).await.unwrap();
    let data = pattern(500_000);
    let mut source = parts(&data, 65_536);
    let command = store_ct("1.2");
    let storing = busy.store(command, None, &mut source);
    let stopping = async {
        while scp.requests.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        running.stop.cancel();
        assert!(matches!(idle.echo().await, Err(ScuError::Lost(Lost::Aborted { by: 0, .. }))));
        let late = connect(&running.target, &offers()).await.unwrap_err();
        assert_eq!(late, ScuError::Rejected { result: 2, by: 3, reason: 1 });
        gate.add_permits(1);
    };
    let (stored, ()) = tokio::join!(storing, stopping);
    assert_eq!(stored.unwrap().status, Status::SUCCESS);
    drop((busy, idle));
    tokio::time::timeout(Duration::from_secs(10), running.task).await.unwrap().unwrap().unwrap();
    assert_eq!(scp.stored.lock().unwrap().len(), 1);
    assert_eq!(scp.ended.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let scp = Arc::new(Shelf { gate: Some(gate), ..Shelf::default() });
    let running = run(&scp, ScpOptions { drain: Duration::from_millis(20), ..options() }).await;
    let mut scu = connect(&running.target, &offers()).await.unwrap();
    let mut source = parts(b"abcd", 4);
    let (stored, ()) = tokio::join!(scu.store(store_ct("1.2"), None, &mut source), async {
        while scp.requests.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        running.stop.cancel();
    });
    assert!(matches!(stored.unwrap_err(), StoreFailure::Unanswered(_)));
    running.task.await.unwrap().unwrap();
    assert!(scp.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = connect(&Target { address: free.to_string(), ..target() }, &offers()).await.unwrap_err();
    assert!(matches!(refused, ScuError::Connect { .. }), "{refused}");
    let unknown = Target { address: "no-such-host.invalid:104".to_owned(), ..target() };
    let error = connect(&unknown, &offers()).await.unwrap_err();
    assert!(matches!(error, ScuError::Dns { .. } | ScuError::Lost(Lost::Timeout(_))), "{error}");
    assert_eq!(connect(&target(), &[]).await.unwrap_err(), ScuError::Offers);
}
