//! Random sequences of operations against simple models: one future against the rules of PEP 3148, and waits for several
//! against what must have ended.

mod common;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use common::{
    Oops,
    drops::{Counted, Drops},
    events::{self, Recorded},
    guarded,
    wakers::{Woken, poll},
};
use concurrent_futures_future::{
    AnyFuture, CompletionSet, Future, FutureId, Progress, Promise, ReturnWhen, SharedFuture, State,
    TaskError, as_completed, as_completed_timeout, promise, wait, wait_timeout,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// Runs `test` with values of a strategy until one fails, and then looks for the smallest that does.
///
/// The strategy is made in the thread that uses it: some of them cannot be sent there.
fn check<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: impl FnOnce() -> S + Send + 'static,
    test: impl Fn(S::Value) + Send + 'static,
) {
    guarded(move || {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&strategy(), |value| {
            test(value);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{failure}");
        }
    });
}

/// What is done to one future. Handles and wakers are chosen among those that there are.
#[derive(Clone, Debug)]
enum Op {
    Start,
    Complete { ok: bool },
    DropPromise,
    Cancel(Index),
    AddCallback { handle: Index, panics: bool },
    Poll(Index, usize),
    Read(Index),
    Look(Index),
    Clone(Index),
    Drop(Index),
    Watch(Index),
    Insert(Index),
    TakeFromSet,
    Wait(ReturnWhen),
}

const WAKERS: usize = 3;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let handle = any::<Index>;
    let when = prop_oneof![
        Just(ReturnWhen::FirstCompleted),
        Just(ReturnWhen::FirstException),
        Just(ReturnWhen::AllCompleted),
    ];
    let op = prop_oneof![
        2 => Just(Op::Start),
        2 => any::<bool>().prop_map(|ok| Op::Complete { ok }),
        1 => Just(Op::DropPromise),
        2 => handle().prop_map(Op::Cancel),
        4 => (handle(), prop::bool::weighted(0.2))
            .prop_map(|(handle, panics)| Op::AddCallback { handle, panics }),
        4 => (handle(), 0..WAKERS).prop_map(|(handle, waker)| Op::Poll(handle, waker)),
        2 => handle().prop_map(Op::Read),
        1 => handle().prop_map(Op::Look),
        3 => handle().prop_map(Op::Clone),
        3 => handle().prop_map(Op::Drop),
        2 => handle().prop_map(Op::Watch),
        2 => handle().prop_map(Op::Insert),
        2 => Just(Op::TakeFromSet),
        2 => when.prop_map(Op::Wait),
    ];
    vec(op, 1..40)
}

/// What PEP 3148 says, in the plainest way.
#[derive(Debug)]
struct Model {
    state: State,
    failed: bool,
    observed: bool,
    /// Which callbacks are to be run at the end.
    callbacks: Vec<usize>,
    /// Which have run, in order.
    called: Vec<usize>,
    /// For each handle, the waker of its last poll.
    handles: Vec<Option<usize>>,
    woken: [usize; WAKERS],
    /// How many entries of the set have not been taken.
    in_set: usize,
    watched: u64,
}

impl Model {
    fn done(&self) -> bool {
        matches!(self.state, State::Cancelled | State::Finished)
    }

    fn end(&mut self, state: State, failed: bool) {
        (self.state, self.failed) = (state, failed);
        for waker in self.handles.iter_mut().filter_map(Option::take) {
            self.woken[waker] += 1;
        }
        self.called.append(&mut self.callbacks);
    }

    fn look(&mut self) {
        self.observed |= self.failed;
    }
}

/// Can be cloned, as awaiting clones of a handle needs.
type Value = Arc<Counted>;

/// The real thing.
struct System {
    promise: Option<Promise<Value>>,
    id: FutureId,
    handles: Vec<SharedFuture<Value>>,
    wakers: [(Arc<Woken>, Waker); WAKERS],
    called: Arc<Mutex<Vec<usize>>>,
    set: CompletionSet<SharedFuture<Value>>,
    progress: Progress,
    drops: Drops,
    values: usize,
}

impl System {
    fn new() -> Self {
        let (promise, future) = promise();
        Self {
            promise: Some(promise),
            id: future.id(),
            handles: vec![future.share()],
            wakers: [(); WAKERS].map(|()| Woken::new()),
            called: Arc::default(),
            set: CompletionSet::new(),
            progress: Progress::new(),
            drops: Drops::new(),
            values: 0,
        }
    }
}

fn agree<T>(outcome: Result<T, TaskError>, model: &mut Model) {
    model.look();
    match (outcome, model.state, model.failed) {
        (Ok(_), State::Finished, false) => {}
        (Err(TaskError::Cancelled), State::Cancelled, _) => {}
        (Err(TaskError::Failed(_) | TaskError::Abandoned), State::Finished, true) => {}
        (outcome, ..) => panic!("{:?} for {model:?}", outcome.map(drop)),
    }
}

fn apply(op: Op, system: &mut System, model: &mut Model, callbacks: &mut usize) {
    let handles = system.handles.len();
    match op {
        Op::Start => {
            let Some(promise) = &system.promise else { return };
            let answer = promise.set_running_or_notify_cancel().ok();
            match model.state {
                State::Pending => {
                    assert_eq!(answer, Some(true));
                    model.state = State::Running;
                }
                State::Cancelled => assert_eq!(answer, Some(false)),
                _ => assert_eq!(answer, None),
            }
        }
        Op::Complete { ok } => {
            let Some(promise) = system.promise.take() else { return };
            let kept = if ok {
                system.values += 1;
                promise.set_result(Arc::new(system.drops.value())).is_ok()
            } else {
                promise.set_exception(TaskError::failed(Oops(1))).is_ok()
            };
            assert_eq!(kept, !model.done());
            if kept {
                model.end(State::Finished, !ok);
            }
        }
        Op::DropPromise => {
            let dropped = system.promise.take().is_some();
            if dropped && !model.done() {
                model.end(State::Finished, true);
            }
        }
        Op::Cancel(index) if handles > 0 => {
            let cancelled = system.handles[index.index(handles)].cancel();
            if model.state == State::Pending {
                model.end(State::Cancelled, false);
            }
            assert_eq!(cancelled, model.state == State::Cancelled);
        }
        Op::AddCallback { handle, panics } if handles > 0 => {
            let (number, called) = (*callbacks, Arc::clone(&system.called));
            *callbacks += 1;
            // It does not look at the error.
            system.handles[handle.index(handles)].add_done_callback(move |_| {
                called.lock().unwrap().push(number);
                if panics {
                    // Without the hook, which would print each of them.
                    std::panic::resume_unwind(Box::new("as told"));
                }
            });
            if model.done() { model.called.push(number) } else { model.callbacks.push(number) }
        }
        Op::Poll(index, waker) if handles > 0 => {
            let index = index.index(handles);
            match poll(&mut system.handles[index], &system.wakers[waker].1) {
                Poll::Pending => {
                    assert!(!model.done());
                    model.handles[index] = Some(waker);
                }
                Poll::Ready(outcome) => agree(outcome, model),
            }
        }
        Op::Read(index) if handles > 0 => {
            match system.handles[index.index(handles)].result_timeout(Duration::ZERO) {
                Ok(outcome) => agree(outcome, model),
                Err(_timeout) => assert!(!model.done()),
            }
        }
        Op::Look(index) if handles > 0 => {
            match system.handles[index.index(handles)].exception_timeout(Duration::ZERO) {
                Ok(error) => {
                    assert_eq!(error.is_some(), model.failed || model.state == State::Cancelled);
                    model.look();
                }
                Err(_timeout) => assert!(!model.done()),
            }
        }
        Op::Clone(index) if handles > 0 => {
            let clone = system.handles[index.index(handles)].clone();
            system.handles.push(clone);
            model.handles.push(None);
        }
        Op::Drop(index) if handles > 0 => {
            let index = index.index(handles);
            drop(system.handles.remove(index));
            model.handles.remove(index);
        }
        Op::Watch(index) if handles > 0 => {
            system.progress.watch(&system.handles[index.index(handles)]);
            model.watched += 1;
        }
        Op::Insert(index) if handles > 0 => {
            system.set.insert(system.handles[index.index(handles)].clone());
            model.in_set += 1;
        }
        Op::TakeFromSet => {
            let taken = system.set.try_next();
            assert_eq!(taken.is_some(), model.done() && model.in_set > 0);
            model.in_set -= usize::from(taken.is_some());
        }
        Op::Wait(when) => {
            let waited = wait_timeout(&system.handles, Duration::ZERO, when);
            let (done, not_done) = (waited.done.len(), waited.not_done.len());
            let all = usize::from(handles > 0);
            assert_eq!((done, not_done), if model.done() { (all, 0) } else { (0, all) });
        }
        _ => {}
    }
}

fn compare(system: &System, model: &Model) {
    for handle in &system.handles {
        assert_eq!((handle.state(), handle.id()), (model.state, system.id));
        assert_eq!(handle.done(), model.done());
    }
    assert_eq!(*system.called.lock().unwrap(), model.called);
    assert_eq!(system.wakers.each_ref().map(|(woken, _)| woken.count()), model.woken);
    assert_eq!(system.set.len(), model.in_set);
    let counts = system.progress.snapshot();
    let all_if = |condition: bool| if condition { model.watched } else { 0 };
    assert_eq!(counts.pending(), all_if(model.state == State::Pending));
    assert_eq!(counts.running(), all_if(model.state == State::Running));
    assert_eq!(counts.cancelled, all_if(model.state == State::Cancelled));
    assert_eq!(counts.failed, all_if(model.failed));
    assert_eq!(counts.succeeded, all_if(model.state == State::Finished && !model.failed));
}

#[test]
fn one_future_follows_the_rules() {
    events::record();
    check(400, ops, |ops| {
        let mut system = System::new();
        let mut model = Model {
            state: State::Pending,
            failed: false,
            observed: false,
            callbacks: Vec::new(),
            called: Vec::new(),
            handles: vec![None],
            woken: [0; WAKERS],
            in_set: 0,
            watched: 0,
        };
        let mut callbacks = 0;
        for op in ops {
            apply(op, &mut system, &mut model, &mut callbacks);
            compare(&system, &model);
        }
        // In the end everything is dropped once, and a failure that nobody looked at is reported once.
        let System { promise, id, handles, wakers, set, drops, values, .. } = system;
        if promise.is_some() && !model.done() {
            model.end(State::Finished, true);
        }
        drop((promise, handles, set));
        assert_eq!(drops.count(), values);
        for (woken, _) in &wakers {
            assert_eq!(Arc::strong_count(woken), 2, "nobody holds a waker any more");
        }
        let unread = |event: &Recorded| matches!(event, Recorded::FailureUnread(_));
        let reports = events::of(id).into_iter().filter(unread).count();
        assert_eq!(reports, usize::from(model.failed && !model.observed), "{model:?}");
    });
}

/// How a future is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Value,
    Failure,
    Cancel,
    Abandon,
    Never,
}

impl End {
    fn apply(
        self,
        promise: Option<Promise<usize>>,
        future: &impl AnyFuture,
        value: usize,
    ) -> Option<Promise<usize>> {
        let promise = promise?;
        match self {
            Self::Value => promise.set_result(value).unwrap(),
            Self::Failure => promise.set_exception(TaskError::failed(Oops(1))).unwrap(),
            Self::Cancel => assert!(future.cancel()),
            Self::Abandon => drop(promise),
            Self::Never => return Some(promise),
        }
        None
    }

    fn fails(self) -> bool {
        matches!(self, Self::Failure | Self::Abandon)
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Value), Just(End::Failure), Just(End::Cancel), Just(End::Abandon)]
}

fn end_or_never() -> impl Strategy<Value = End> {
    prop_oneof![4 => end(), 1 => Just(End::Never)]
}

type Pairs = (Vec<Option<Promise<usize>>>, Vec<Future<usize>>);

fn pairs(count: usize) -> Pairs {
    (0..count).map(|_| promise()).map(|(promise, future)| (Some(promise), future)).unzip()
}

#[test]
fn looking_at_several_finds_those_that_have_ended() {
    check(
        500,
        || vec(end_or_never(), 0..12),
        |ends| {
            let (mut promises, futures) = pairs(ends.len());
            for (index, end) in ends.iter().enumerate() {
                promises[index] = end.apply(promises[index].take(), &futures[index], index);
            }
            let ended: Vec<_> = futures
                .iter()
                .zip(&ends)
                .filter(|(_, end)| **end != End::Never)
                .map(|it| it.0)
                .collect();
            for when in
                [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted]
            {
                // Also with each of them given twice.
                let waited = wait_timeout(futures.iter().chain(&futures), Duration::ZERO, when);
                assert_eq!(waited.done, ended);
                assert_eq!(waited.not_done.len(), ends.len() - ended.len());
            }
            let yielded: Vec<_> =
                as_completed_timeout(futures.iter().chain(&futures), Duration::ZERO).collect();
            let (completed, expired): (Vec<_>, Vec<_>) =
                yielded.into_iter().partition(Result::is_ok);
            let mut completed: Vec<_> =
                completed.into_iter().map(Result::unwrap).map(Future::id).collect();
            let mut ids: Vec<_> = ended.iter().map(|it| it.id()).collect();
            completed.sort_unstable();
            ids.sort_unstable();
            assert_eq!(completed, ids);
            let unfinished = ends.len() - ended.len();
            let expired: Vec<_> = expired.into_iter().map(Result::unwrap_err).collect();
            assert_eq!(expired.len(), usize::from(unfinished > 0));
            assert!(expired.iter().all(|it| (it.unfinished, it.total) == (unfinished, ends.len())));
        },
    );
}

/// How several futures end: how, in which order, and how many of them before anybody waits.
fn endings() -> impl Strategy<Value = (Vec<End>, Vec<usize>, Index)> {
    vec(end(), 1..10).prop_flat_map(|ends| {
        let order = Just((0..ends.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(ends), order, any::<Index>())
    })
}

#[test]
fn they_are_taken_in_the_order_in_which_they_end() {
    check(500, endings, |(ends, order, before)| {
        let (mut promises, futures) = pairs(ends.len());
        let mut end = |index: usize| {
            ends[index].apply(promises[index].take(), &futures[index], index);
        };
        let before = before.index(order.len());
        order[..before].iter().copied().for_each(&mut end);
        let mut completed = as_completed(&futures);
        let mut first: Vec<_> = completed.by_ref().take(before).map(Future::id).collect();
        let mut expected: Vec<_> =
            order[..before].iter().map(|index| futures[*index].id()).collect();
        first.sort_unstable();
        expected.sort_unstable();
        assert_eq!(first, expected);
        for index in &order[before..] {
            end(*index);
            assert_eq!(completed.next(), Some(&futures[*index]));
        }
        assert_eq!(completed.next(), None);
    });
}

#[test]
fn a_set_is_a_queue_of_what_has_ended() {
    #[derive(Clone, Debug)]
    enum SetOp {
        Insert,
        End(Index, End),
        Take,
    }
    let ops = || {
        let op = prop_oneof![
            Just(SetOp::Insert),
            (any::<Index>(), end()).prop_map(|(index, end)| SetOp::End(index, end)),
            Just(SetOp::Take),
        ];
        vec(op, 0..60)
    };
    check(500, ops, |ops| {
        let mut set = CompletionSet::new();
        let mut open = Vec::new();
        let mut ready = std::collections::VecDeque::new();
        for op in ops {
            match op {
                SetOp::Insert => {
                    let (promise, future) = promise();
                    let future = future.share();
                    set.insert(future.clone());
                    open.push((promise, future));
                }
                SetOp::End(index, end) if !open.is_empty() => {
                    let (promise, future) = open.remove(index.index(open.len()));
                    end.apply(Some(promise), &future, 0);
                    ready.push_back(future.id());
                }
                SetOp::End(..) => {}
                SetOp::Take => assert_eq!(set.try_next().map(|it| it.id()), ready.pop_front()),
            }
            assert_eq!(set.len(), open.len() + ready.len());
        }
    });
}

#[test]
fn a_wait_returns_when_it_should_while_another_thread_ends_them() {
    check(300, endings, |(ends, order, before)| {
        for when in
            [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted]
        {
            let (mut promises, futures) = pairs(ends.len());
            let futures: Vec<_> = futures.into_iter().map(Future::share).collect();
            let mut end = |index: usize| {
                ends[index].apply(promises[index].take(), &futures[index], index);
            };
            let before = before.index(order.len());
            order[..before].iter().copied().for_each(&mut end);
            thread::scope(|scope| {
                scope.spawn(|| order[before..].iter().copied().for_each(&mut end));
                let waited = wait(&futures, when);
                assert!(waited.done.iter().all(|it| it.done()));
                let failed = || {
                    waited.done.iter().any(|it| {
                        let index = futures.iter().position(|other| other == *it).unwrap();
                        ends[index].fails()
                    })
                };
                let enough = match when {
                    ReturnWhen::FirstCompleted => !waited.done.is_empty(),
                    ReturnWhen::FirstException => waited.not_done.is_empty() || failed(),
                    ReturnWhen::AllCompleted => waited.not_done.is_empty(),
                };
                assert!(enough, "{when:?}: {} of {}", waited.done.len(), ends.len());
            });
        }
    });
}
