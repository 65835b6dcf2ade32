//! The wall clock that the engine goes by: the system's, or in a simulation the one of its story.

use std::sync::Arc;
use std::time::SystemTime;

/// Tells the time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// A clock of one's own.
    #[cfg(test)]
    pub(crate) fn of(tell: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The time now.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}
