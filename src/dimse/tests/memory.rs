//! C-STORE out of the store's own buffers, as few as there may be.

use super::*;
use crate::dicom::uid::TransferSyntaxUid;
use crate::store::{BlobReader, Store, StoreOptions};
use std::time::Duration;

/// A blob as it is stored.
struct Blob(BlobReader);

impl Source for Blob {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().await.map_err(|error| SourceError(error.into()))
    }
}

/// More senders than chunks: a sender that kept its chunk while it waits for the next would wait for ever with the others.
#[tokio::test]
async fn eight_senders_share_the_memory_of_four_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = StoreOptions { reserve_bytes: Some(0), buffer_budget_bytes: 0, ..StoreOptions::at(dir.path()) };
    let store = Store::open(sizes, []).unwrap().0;
    let (data, scp) = (pattern(1 << 20), Arc::new(Shelf::default()));
    let mut receiving = store.receive().await.unwrap();
    receiving.write(&data).await.unwrap();
    let spooled = receiving.finish(&TransferSyntaxUid::parse(EXPLICIT).unwrap()).await.unwrap();
    let digest = spooled.digest();
    let place = store.settle(spooled).await.unwrap();
    let one = |number: usize| {
        let (store, scp) = (store.clone(), scp.clone());
        tokio::spawn(async move {
            let (wire, _task) = accept(&scp, super::options(), &CancellationToken::new());
            let mut scu = call(wire, &target()).await.unwrap();
            for round in 0..4 {
                let mut source = Blob(store.read(place, digest, None).await.unwrap());
                let command = store_ct(&format!("1.2.{number}.{round}"));
                let response = scu.store(command, Some(1 << 20), &mut source).await.unwrap();
                assert_eq!(response.status, Status::SUCCESS);
            }
        })
    };
    let all: Vec<_> = (0..8).map(one).collect();
    for done in all {
        tokio::time::timeout(Duration::from_secs(60), done).await.expect("the senders stand still").unwrap();
    }
    let stored = scp.stored.lock().unwrap();
    assert_eq!(stored.len(), 32);
    assert!(stored.iter().all(|(_, _, bytes)| *bytes == data));
}
