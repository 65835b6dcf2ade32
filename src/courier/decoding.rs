//! Where pixels are decoded: on threads that may block, for a few data sets at once, whoever asks.

use tokio::sync::Semaphore;

/// Pixels are decoded for so many data sets at once: each may hold a frame in several forms.
static DECODING: Semaphore = Semaphore::const_new(2);

/// Of a deflated data set so many bytes are inflated at once: deflate makes at most about 1,000 bytes of one.
pub const DEFLATED_STEP: usize = 1024;

/// The thread that decoded ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the decoder ended: {0}")]
pub struct Ended(#[from] tokio::task::JoinError);

/// Runs a decoding where it delays nobody else, once one of the few places is free. Whoever stops waiting gives up the place in
/// the queue; what has begun ends by itself.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    // The place is left when the work ends, not when its waiter does.
    let permit = DECODING.acquire().await;
    let done = tokio::task::spawn_blocking(move || {
        let _held = permit;
        work()
    });
    Ok(done.await?)
}
