// Upstream: many
// Downstream: none
// Role: A backend that a reload may exchange while the actors use it.

//! Whoever does several things with a backend pins it first: all of them then reach the same server, and the generation
//! shows whether another one has replaced it meanwhile.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// A backend in force, and its number.
#[derive(Debug)]
pub struct Pinned<T: ?Sized> {
    /// 0 for the first backend; one more with each exchange.
    pub generation: u64,
    value: Arc<T>,
}

impl<T: ?Sized> Pinned<T> {
    /// The backend itself.
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

/// Holds the backend in force.
#[derive(Debug)]
pub struct Swappable<T: ?Sized> {
    current: ArcSwap<Pinned<T>>,
}

impl<T: ?Sized> Swappable<T> {
    /// Starts with the first backend.
    pub fn new(value: Arc<T>) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(Pinned { generation: 0, value }) })
    }

    /// The backend in force. It stays usable after an exchange, for as long as it is held.
    pub fn pin(&self) -> Arc<Pinned<T>> {
        self.current.load_full()
    }

    /// The generation in force.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// Puts another backend in force for everyone who pins from now on, and returns the previous one.
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
