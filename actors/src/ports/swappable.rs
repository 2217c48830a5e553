// Upstream: many
// Downstream: none
// Role: A backend that a reload may replace while the actors use it.

//! A caller that performs several operations on a backend pins it first. All operations then reach the same server, and
//! the generation shows whether another backend has replaced it in the meantime.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// An active backend and its generation.
#[derive(Debug)]
pub struct Pinned<T: ?Sized> {
    /// 0 for the first backend; incremented with each exchange.
    pub generation: u64,
    value: Arc<T>,
}

impl<T: ?Sized> Pinned<T> {
    /// The backend.
    pub fn value(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T: ?Sized> Deref for Pinned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Holds the active backend.
#[derive(Debug)]
pub struct Swappable<T: ?Sized> {
    current: ArcSwap<Pinned<T>>,
}

impl<T: ?Sized> Swappable<T> {
    /// Creates the holder with its first backend.
    pub fn new(value: Arc<T>) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(Pinned { generation: 0, value }) })
    }

    /// Returns the active backend. It stays usable after an exchange, for as long as it is held.
    pub fn pin(&self) -> Arc<Pinned<T>> {
        self.current.load_full()
    }

    /// The generation of the active backend.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Replaces the backend for all later calls of [`Self::pin`], and returns the previous one.
    pub fn exchange(&self, value: Arc<T>) -> Arc<Pinned<T>> {
        self.current.rcu(|before| Pinned { generation: before.generation + 1, value: value.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_backend_outlives_its_exchange() {
        let backend = Swappable::new(Arc::new("old"));
        let pinned = backend.pin();
        assert_eq!(backend.exchange(Arc::new("new")).generation, 0);
        assert_eq!((*pinned.value().as_ref(), pinned.generation), ("old", 0));
        assert_eq!((*backend.pin().value().as_ref(), backend.generation()), ("new", 1));
    }
}
