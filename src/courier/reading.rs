//! The reading of one blob for all that is done with it on its way out: what one buffer holds is read, and its digest checked, once.

use super::sender::DRY_PASS;
use crate::records::Retrievable;
use crate::store::{Ahead, BlobReader, Store, StoreError};
use bytes::Bytes;

/// How a blob is read for a decision, a dry pass and the sending, one after the other.
///
/// It may keep one buffer of the store from the first of these on; once that holds all of the blob, it asks the store for nothing more.
#[derive(Default)]
pub(super) struct Reading {
    ahead: Ahead,
    /// All of the blob, its digest checked.
    whole: Option<Bytes>,
}

impl From<Ahead> for Reading {
    fn from(ahead: Ahead) -> Self {
        Self { ahead, whole: None }
    }
}

impl Reading {
    /// From the beginning, and not for the last time. Of what no buffer holds, the beginning that was read ahead is left for the last time.
    pub(super) async fn again(&mut self, store: &Store, item: &Retrievable) -> Result<Chunks, StoreError> {
        if self.whole.is_none() && item.length <= store.longest_chunk().min(DRY_PASS) {
            let mut reader = Box::new(self.last_reader(store, item).await?);
            if !reader.is_one_chunk() {
                return Ok(Chunks::Stored(reader));
            }
            self.whole = reader.next().await?;
        }
        match &self.whole {
            Some(whole) => Ok(Chunks::Kept(Some(whole.clone()))),
            None => Ok(Chunks::Stored(Box::new(store.read(item.place, item.digest, None).await?))),
        }
    }

    /// From the beginning, for the last time: nothing is kept any more.
    pub(super) async fn last(mut self, store: &Store, item: &Retrievable) -> Result<Chunks, StoreError> {
        match self.whole.take() {
            Some(whole) => Ok(Chunks::Kept(Some(whole))),
            None => Ok(Chunks::Stored(Box::new(self.last_reader(store, item).await?))),
        }
    }

    async fn last_reader(&mut self, store: &Store, item: &Retrievable) -> Result<BlobReader, StoreError> {
        store.read_on(item.place, item.digest, std::mem::take(&mut self.ahead)).await
    }
}

/// The bytes of a blob in order; the last ones come only after the digest agreed (REL-07).
pub(super) enum Chunks {
    /// From the store.
    Stored(Box<BlobReader>),
    /// All at once, if they were not taken yet.
    Kept(Option<Bytes>),
}

impl Chunks {
    /// The next bytes; `None` at the end. Errors as [`BlobReader::next`].
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Stored(reader) => reader.next().await,
            Self::Kept(whole) => Ok(whole.take()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::courier::sender::tests::retrievable;
    use crate::store::StoreOptions;

    async fn all(mut chunks: Chunks) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        while let Some(more) = chunks.next().await? {
            bytes.extend_from_slice(&more);
        }
        Ok(bytes)
    }

    /// One read serves all, with or without its beginning read ahead; what is longer is read anew each time. So it is seen once the file is
    /// gone. What was read ahead of it, an open file, is left for the last time.
    #[tokio::test]
    async fn what_one_buffer_holds_is_read_once() {
        const LONG: usize = 1 << 20;
        for (length, ahead, once) in
            [(525_000, false, true), (525_000, true, true), (LONG, false, false), (LONG, true, false)]
        {
            let dir = tempfile::TempDir::new().unwrap();
            let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
            let (store, _) = Store::open(options, Vec::new()).unwrap();
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let item = retrievable(&store, "1.2.840.10008.1.2.1", &bytes).await;
            let begun = if ahead { store.ahead(item.place, item.digest) } else { Ahead::default() };
            let mut reading = Reading::from(begun);
            assert_eq!(all(reading.again(&store, &item).await.unwrap()).await.unwrap(), bytes);
            for file in std::fs::read_dir(dir.path().join("blobs")).unwrap().map(|file| file.unwrap().path()) {
                if file.extension().is_some_and(|kind| kind == "seg" || kind == "obj") {
                    std::fs::remove_file(file).unwrap();
                }
            }
            let again = match reading.again(&store, &item).await {
                Ok(chunks) => all(chunks).await.ok(),
                Err(_) => None,
            };
            assert_eq!(again, once.then(|| bytes.clone()), "{length}, {ahead}");
            let last = match reading.last(&store, &item).await {
                Ok(chunks) => all(chunks).await.ok(),
                Err(_) => None,
            };
            assert_eq!(last, (once || ahead).then_some(bytes), "{length}, {ahead}");
        }
    }
    /// REL-25: many who need the same few buffers all get them, for nobody keeps one and waits for another.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_readings_share_few_buffers() {
        let dir = tempfile::TempDir::new().unwrap();
        let blobs = dir.path().join("blobs");
        let options = StoreOptions { reserve_bytes: Some(0), buffer_budget_bytes: 0, ..StoreOptions::at(blobs) };
        let (store, _) = Store::open(options, Vec::new()).unwrap();
        let bytes = vec![7; 200_000];
        let item = retrievable(&store, "1.2.840.10008.1.2.1", &bytes).await;
        let one = |n: usize| {
            let (store, item) = (store.clone(), item.clone());
            async move {
                let begun = if n.is_multiple_of(2) { store.ahead(item.place, item.digest) } else { Ahead::default() };
                let mut reading = Reading::from(begun);
                for _ in 0..2 {
                    let read = all(reading.again(&store, &item).await.unwrap()).await.unwrap();
                    assert_eq!(read.len(), 200_000);
                    tokio::task::yield_now().await;
                }
                all(reading.last(&store, &item).await.unwrap()).await.unwrap().len()
            }
        };
        let tasks: Vec<_> = (0..16).map(|n| tokio::spawn(one(n))).collect();
        let every = futures_util::future::join_all(tasks);
        let lengths =
            tokio::time::timeout(std::time::Duration::from_secs(60), every).await.expect("nobody waits for ever");
        assert!(lengths.into_iter().all(|length| length.unwrap() == 200_000));
        assert_eq!(store.usage().buffers_out, 0);
    }
}
