//! Submitting what need not cross to another process, for executors whose workers are threads of this one.
//!
//! The methods of [`ExecutorExt`](crate::ExecutorExt) ask for functions and values that could run anywhere, so that code written against the
//! trait stays portable. An executor that runs in this process can offer more: closures that capture, values that serde
//! knows nothing of. These functions are what it implements that offer with, as methods of its own; see
//! [`InlineExecutor`](crate::InlineExecutor) for an example.

use std::{marker::PhantomData, sync::Arc};

use concurrent_futures_future::Future;

use crate::{
    Executor, InvalidMapOptions, SubmitError,
    chunk::run_chunk,
    executor::submit_work,
    map::{Map, MapOptions, Submitter},
    task::LocalCall,
};

/// Submits the call of `function` with `argument`.
///
/// # Errors
///
/// [`SubmitError`], with function and argument inside, if the executor refuses.
pub fn submit<F, A, R>(
    executor: &(impl Executor + ?Sized),
    function: F,
    argument: A,
) -> Result<Future<R>, SubmitError<(F, A)>>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
{
    let work = LocalCall { function, argument, name: PhantomData::<fn() -> F> };
    submit_work(executor, work)
        .map_err(|refused| refused.map(|work| (work.function, work.argument)))
}

/// Submits the call of `function`, which has all that it needs.
///
/// # Errors
///
/// [`SubmitError`], with the function inside, if the executor refuses.
pub fn spawn<F, R>(
    executor: &(impl Executor + ?Sized),
    function: F,
) -> Result<Future<R>, SubmitError<F>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let call = |function: F| function();
    let work = LocalCall { function: call, argument: function, name: PhantomData::<fn() -> F> };
    submit_work(executor, work).map_err(|refused| refused.map(|work| work.argument))
}

/// Calls `function` for every item; see [`ExecutorExt::map`](crate::ExecutorExt::map).
#[expect(clippy::missing_panics_doc, reason = "default options are valid")]
pub fn map<'a, F, I, R>(
    executor: &'a (impl Executor + ?Sized),
    function: F,
    items: I,
) -> Map<'a, I::IntoIter, R>
where
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    I: IntoIterator<Item: Send + 'static>,
    R: Send + 'static,
{
    map_with(executor, MapOptions::new(), function, items).expect("the default options are valid")
}

/// Calls `function` for every item, with options; see [`ExecutorExt::map_with`](crate::ExecutorExt::map_with).
///
/// # Errors
///
/// [`InvalidMapOptions`] for a chunk or buffer of no items.
pub fn map_with<'a, F, I, R>(
    executor: &'a (impl Executor + ?Sized),
    options: MapOptions,
    function: F,
    items: I,
) -> Result<Map<'a, I::IntoIter, R>, InvalidMapOptions>
where
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    I: IntoIterator<Item: Send + 'static>,
    R: Send + 'static,
{
    let function = Arc::new(function);
    let submitter = Submitter {
        one: {
            let function = Arc::clone(&function);
            Box::new(move |item| {
                let function = Arc::clone(&function);
                submit(executor, move |item| function(item), item)
                    .map_err(|refused| refused.map(|(_, item)| item))
            })
        },
        many: Box::new(move |items: Vec<I::Item>| {
            let function = Arc::clone(&function);
            let call_all = move |items: Vec<I::Item>| run_chunk(items, |item| function(item));
            submit(executor, call_all, items).map_err(|refused| refused.map(|(_, items)| items))
        }),
    };
    Map::start(executor.max_workers(), options, submitter, items.into_iter())
}
