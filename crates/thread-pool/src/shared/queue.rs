//! The tasks that wait to be taken, in the order in which they are to be.
//!
//! First in, first out is a plain queue, from which workers take several at once. Any other order would be lost in a
//! worker's deque, where nobody reorders anything: there, tasks are taken one by one, and what workers submit goes in here
//! as well.
//!
//! Ageing: by priority alone a task would wait for as long as more urgent ones keep coming. So one in [`AGEING_INTERVAL`]
//! tasks that are taken is the one that has waited longest, whatever its priority. Of that many takes in a row, each time
//! at least one is of the oldest; so a task that finds `n` others waiting is among the first `AGEING_INTERVAL * (n + 1)`
//! that are taken from then on.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

/// In which order the tasks that wait are started; for [`Builder::queue_order`](crate::Builder::queue_order).
///
/// Under all but [`Fifo`](Self::Fifo), which is the default and the fastest, all tasks wait in one queue, also those that
/// tasks submit, and workers take them one by one: it costs a lock for each task.
///
/// Whatever the order, a worker that waits for a task that has not started runs it
/// [in place](crate::ThreadPoolExecutor#tasks-that-wait-for-tasks), before its turn; and a task that is cancelled keeps its place
/// until its turn would have come. What a [shutdown](crate::ThreadPoolExecutor::shutdown_with) leaves to be run is run in
/// this order; what it cancels, it cancels beginning with what would have come last.
///
/// A [bounded](crate::Builder::queue_capacity) queue counts all that waits in it. Under orders other than `Fifo` that
/// includes what tasks submit; they themselves do not wait for room, and are not refused. Submitters that wait for room are
/// let in in no particular order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// First in, first out; more exactly, as [`ThreadPoolExecutor`](crate::ThreadPoolExecutor#order) says.
    #[default]
    Fifo,
    /// Last in, first out: what is the newest matters most. A task may wait for as long as newer ones come.
    Lifo,
    /// By the priority of
    /// [`submit_with_priority`](crate::ThreadPoolExecutor::submit_with_priority), the highest first, and first in, first out
    /// among equals. Whatever is submitted in other ways, `map` and scopes included, has priority 0.
    ///
    /// No task waits for ever: one in 16 that are taken out of the queue is the one that has waited longest. So one
    /// that finds `n` others waiting is among the next `16 * (n + 1)` to be taken, and is overtaken by no more than
    /// `15 * (n + 1)`.
    Priority,
}

/// Of so many tasks that are taken by priority, one is the oldest. The documentation above says so.
const AGEING_INTERVAL: u64 = 16;

/// See the head of this file.
pub(super) enum Queue<T> {
    Fifo(VecDeque<T>),
    Lifo(VecDeque<T>),
    Priority(Levels<T>),
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::Fifo(VecDeque::new())
    }
}

impl<T> Queue<T> {
    pub(super) fn new(order: QueueOrder) -> Self {
        match order {
            QueueOrder::Fifo => Self::Fifo(VecDeque::new()),
            QueueOrder::Lifo => Self::Lifo(VecDeque::new()),
            QueueOrder::Priority => Self::Priority(Levels::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fifo(tasks) | Self::Lifo(tasks) => tasks.len(),
            Self::Priority(levels) => levels.length,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, task: T, priority: i8) {
        match self {
            Self::Fifo(tasks) | Self::Lifo(tasks) => tasks.push_back(task),
            Self::Priority(levels) => levels.push(task, priority),
        }
    }

    /// Takes back what was pushed last, with that priority.
    pub(super) fn take_back(&mut self, priority: i8) -> Option<T> {
        match self {
            Self::Fifo(tasks) | Self::Lifo(tasks) => tasks.pop_back(),
            Self::Priority(levels) => levels.take(Reverse(priority), VecDeque::pop_back),
        }
    }

    /// Takes the task whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        match self {
            Self::Fifo(tasks) => tasks.pop_front(),
            Self::Lifo(tasks) => tasks.pop_back(),
            Self::Priority(levels) => levels.pop(),
        }
    }

    /// Takes so many more, in order, if they may leave the queue before their turn.
    pub(super) fn take_ahead(&mut self, count: usize, take: impl FnMut(T)) {
        if let Self::Fifo(tasks) = self {
            tasks.drain(..count).for_each(take);
        }
    }

    /// Puts a task where it is the next to be taken. It was taken ahead, so the order is first in, first out.
    pub(super) fn put_first(&mut self, task: T) {
        match self {
            Self::Fifo(tasks) => tasks.push_front(task),
            Self::Lifo(tasks) => tasks.push_back(task),
            Self::Priority(levels) => levels.push(task, i8::MAX),
        }
    }

    /// Takes everything, in order.
    pub(super) fn take_all(&mut self) -> VecDeque<T> {
        match self {
            Self::Fifo(tasks) => std::mem::take(tasks),
            Self::Lifo(tasks) => std::mem::take(tasks).into_iter().rev().collect(),
            Self::Priority(levels) => {
                levels.length = 0;
                let levels = std::mem::take(&mut levels.tasks);
                levels.into_values().flatten().map(|(_, task)| task).collect()
            }
        }
    }

    /// Takes everything that `is_done` says yes to, and leaves the others in order.
    pub(super) fn take_done(&mut self, is_done: impl Fn(&T) -> bool) -> Vec<T> {
        match self {
            Self::Fifo(tasks) | Self::Lifo(tasks) => {
                let (done, left) = std::mem::take(tasks).into_iter().partition(is_done);
                *tasks = left;
                Vec::from(done)
            }
            Self::Priority(levels) => {
                let mut done = Vec::new();
                for tasks in levels.tasks.values_mut() {
                    let (out, left): (Level<T>, Level<T>) =
                        std::mem::take(tasks).into_iter().partition(|(_, task)| is_done(task));
                    *tasks = left;
                    done.extend(out.into_iter().map(|(_, task)| task));
                }
                levels.tasks.retain(|_, tasks| !tasks.is_empty());
                levels.length -= done.len();
                done
            }
        }
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &T> + '_> {
        match self {
            Self::Fifo(tasks) | Self::Lifo(tasks) => Box::new(tasks.iter()),
            Self::Priority(levels) => {
                Box::new(levels.tasks.values().flatten().map(|(_, task)| task))
            }
        }
    }
}

type Level<T> = VecDeque<(u64, T)>;

/// A queue for each priority that has tasks, the highest first.
pub(super) struct Levels<T> {
    /// With the number of each submission.
    tasks: BTreeMap<Reverse<i8>, Level<T>>,
    length: usize,
    pushes: u64,
    pops: u64,
}

impl<T> Default for Levels<T> {
    fn default() -> Self {
        Self { tasks: BTreeMap::new(), length: 0, pushes: 0, pops: 0 }
    }
}

impl<T> Levels<T> {
    fn push(&mut self, task: T, priority: i8) {
        self.tasks.entry(Reverse(priority)).or_default().push_back((self.pushes, task));
        self.pushes += 1;
        self.length += 1;
    }

    fn pop(&mut self) -> Option<T> {
        let level = if self.pops % AGEING_INTERVAL == AGEING_INTERVAL - 1 {
            self.oldest()?
        } else {
            *self.tasks.first_key_value()?.0
        };
        self.pops += 1;
        self.take(level, VecDeque::pop_front)
    }

    /// The level with the task that has waited longest. There are at most 256.
    fn oldest(&self) -> Option<Reverse<i8>> {
        let age = |tasks: &Level<T>| tasks.front().map(|(number, _)| *number);
        self.tasks.iter().min_by_key(|(_, tasks)| age(tasks)).map(|(level, _)| *level)
    }

    fn take(
        &mut self,
        level: Reverse<i8>,
        take: impl FnOnce(&mut Level<T>) -> Option<(u64, T)>,
    ) -> Option<T> {
        let tasks = self.tasks.get_mut(&level)?;
        let (_, task) = take(tasks)?;
        if tasks.is_empty() {
            self.tasks.remove(&level);
        }
        self.length -= 1;
        Some(task)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn filled(order: QueueOrder, tasks: &[(u32, i8)]) -> Queue<u32> {
        let mut queue = Queue::new(order);
        for &(task, priority) in tasks {
            queue.push(task, priority);
        }
        queue
    }

    fn drain(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    const TASKS: [(u32, i8); 5] = [(1, 0), (2, 5), (3, -1), (4, 5), (5, 0)];

    /// Each order as it says, whether tasks are taken one by one or all at once.
    #[test]
    fn each_order_is_kept() {
        for (order, expected) in [
            (QueueOrder::Fifo, [1, 2, 3, 4, 5]),
            (QueueOrder::Lifo, [5, 4, 3, 2, 1]),
            (QueueOrder::Priority, [2, 4, 1, 5, 3]),
        ] {
            assert_eq!(drain(&mut filled(order, &TASKS)), expected);
            let mut queue = filled(order, &TASKS);
            assert_eq!(queue.take_all(), expected);
            assert!(queue.is_empty());
        }
    }

    /// What is taken back was the last to come, and its absence leaves everything else as it was.
    #[test]
    fn the_last_can_be_taken_back() {
        for order in [QueueOrder::Fifo, QueueOrder::Lifo, QueueOrder::Priority] {
            let mut queue = filled(order, &TASKS);
            let mut other = filled(order, &TASKS);
            queue.push(6, 0);
            assert_eq!((queue.len(), queue.iter().count()), (6, 6));
            assert_eq!(queue.take_back(0), Some(6));
            assert_eq!(drain(&mut queue), drain(&mut other));
        }
    }

    /// What is done goes, and the others keep their order.
    #[test]
    fn done_tasks_can_be_thrown_out() {
        for (order, expected) in [
            (QueueOrder::Fifo, vec![1, 3, 5]),
            (QueueOrder::Lifo, vec![5, 3, 1]),
            (QueueOrder::Priority, vec![1, 5, 3]),
        ] {
            let mut queue = filled(order, &TASKS);
            let mut done = queue.take_done(|task| task % 2 == 0);
            done.sort_unstable();
            assert_eq!((done, queue.len()), (vec![2, 4], 3));
            assert_eq!(drain(&mut queue), expected);
        }
    }

    /// With endless urgent tasks, one that finds so many others waiting is taken within the bound; and the bound is tight.
    #[test]
    fn ageing_keeps_its_bound() {
        for others in 0..20 {
            for start in 0..AGEING_INTERVAL {
                let mut queue = Queue::new(QueueOrder::Priority);
                for _ in 0..start {
                    queue.push(0, 0);
                    queue.pop();
                }
                for _ in 0..others {
                    queue.push(0, i8::MIN);
                }
                queue.push(1, i8::MIN);
                let mut takes = 0;
                loop {
                    queue.push(0, i8::MAX);
                    takes += 1;
                    if queue.pop() == Some(1) {
                        break;
                    }
                }
                let bound = AGEING_INTERVAL * (others + 1);
                assert!(takes <= bound, "{takes} after {others} others");
                assert_eq!(takes, bound - start);
            }
        }
    }
}
