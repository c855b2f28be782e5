//! A queue bounded in items and bytes that never blocks whoever puts something in and is emptied in batches.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Holds what waits for a thread of the store.
pub(super) struct Queue<T> {
    max_items: usize,
    max_bytes: usize,
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
    /// Threads that wait; nobody is woken while there are none.
    waiting: usize,
}

impl<T> Queue<T> {
    /// An empty, open queue.
    pub(super) fn new(max_items: usize, max_bytes: usize) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, closed: false, waiting: 0 };
        Self { max_items, max_bytes, state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Puts in `item`, which stands for `bytes` of memory, or returns it when the queue is full or closed.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.items.len() >= self.max_items || state.bytes.saturating_add(bytes) > self.max_bytes {
            return Err(item);
        }
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves up to `max` items to `batch`, waiting for the first. Says whether there were any: not so when the queue is closed
    /// and empty.
    pub(super) fn take(&self, batch: &mut Vec<T>, max: usize) -> bool {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state.waiting += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.drain(batch, max)
    }

    /// Refuses everything from now on. What is in the queue can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn drain(&mut self, batch: &mut Vec<T>, max: usize) -> bool {
        let count = self.items.len().min(max);
        for (item, bytes) in self.items.drain(..count) {
            self.bytes -= bytes;
            batch.push(item);
        }
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_returns_the_item() {
        let queue = Queue::new(2, 100);
        assert_eq!(queue.push('a', 60), Ok(()));
        assert_eq!(queue.push('b', 60), Err('b'), "too many bytes");
        assert_eq!(queue.push('c', 40), Ok(()));
        assert_eq!(queue.push('d', 0), Err('d'), "too many items");
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, 1));
        assert_eq!(batch, ['a']);
        assert_eq!(queue.push('e', 60), Ok(()), "what was taken makes room");
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_nothing() {
        let queue = Queue::new(9, 9);
        assert_eq!(queue.push('a', 1), Ok(()));
        queue.close();
        assert_eq!(queue.push('b', 1), Err('b'));
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, 9));
        assert!(!queue.take(&mut batch, 9));
        assert_eq!(batch, ['a']);
    }
}
