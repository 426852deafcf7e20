//! Completing a promise for the second time.

fn main() {
    let (promise, _future) = concurrent_futures::promise();
    promise.set_result(1).unwrap();
    promise.set_result(2).unwrap();
}
