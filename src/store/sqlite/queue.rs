//! A queue bounded in items and bytes that never blocks whoever puts something in and is emptied in batches.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// One item or more.
    Items,
    /// Nothing came in time.
    Nothing,
    /// The queue is closed and empty.
    Closed,
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

    /// Moves up to `max` items to `batch`, waiting for the first, but at most for `patience` if there is one.
    pub(super) fn take(&self, batch: &mut Vec<T>, max: usize, patience: Option<Duration>) -> Taken {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            state.waiting += 1;
            let timed_out;
            (state, timed_out) = self.wait(state, patience);
            state.waiting -= 1;
            if timed_out && state.items.is_empty() && !state.closed {
                return Taken::Nothing;
            }
        }
        state.drain(batch, max);
        Taken::Items
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>, patience: Option<Duration>) -> (MutexGuard<'a, State<T>>, bool) {
        match patience {
            Some(patience) => {
                let (state, result) = self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                (state, result.timed_out())
            }
            None => (self.filled.wait(state).unwrap_or_else(PoisonError::into_inner), false),
        }
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
    fn drain(&mut self, batch: &mut Vec<T>, max: usize) {
        let count = self.items.len().min(max);
        for (item, bytes) in self.items.drain(..count) {
            self.bytes -= bytes;
            batch.push(item);
        }
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
        assert_eq!(queue.take(&mut batch, 1, None), Taken::Items);
        assert_eq!(batch, ['a']);
        assert_eq!(queue.push('e', 60), Ok(()), "what was taken makes room");
    }

    #[test]
    fn patience_ends() {
        let queue: Queue<char> = Queue::new(9, 9);
        assert_eq!(queue.take(&mut Vec::new(), 9, Some(Duration::ZERO)), Taken::Nothing);
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_nothing() {
        let queue = Queue::new(9, 9);
        assert_eq!(queue.push('a', 1), Ok(()));
        queue.close();
        assert_eq!(queue.push('b', 1), Err('b'));
        let mut batch = Vec::new();
        assert_eq!(queue.take(&mut batch, 9, None), Taken::Items);
        assert_eq!(queue.take(&mut batch, 9, None), Taken::Closed);
        assert_eq!(batch, ['a']);
    }
}
