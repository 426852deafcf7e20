//! What the other programs get wrong, done right.

use concurrent_futures::{Executor, ExecutorExt, ThreadPoolExecutor, promise};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Argument(u64);

fn total(executor: &dyn Executor) -> Result<u64, Box<dyn std::error::Error>> {
    let doubled = executor.submit(|Argument(n)| n * 2, Argument(4))?.result()?;
    Ok(executor.map(|n: u64| n, [doubled, 1]).sum::<Result<u64, _>>()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPoolExecutor::with_max_workers(2)?;
    assert_eq!(total(&pool)?, 9);
    let text = String::from("borrowed");
    let length = pool.scope(|scope| scope.spawn(|| text.len())?.result().map_err(Box::<dyn std::error::Error>::from))?;
    assert_eq!(length, 8);
    let (promise, future) = promise();
    promise.set_result(text)?;
    assert_eq!(future.result()?, "borrowed");
    Ok(())
}
