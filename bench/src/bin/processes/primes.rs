//! Python's example of a process pool: which of five big numbers are prime. Also as whole programs, of which this
//! executable is several.

use std::process::ExitCode;

use concurrent_futures_executor::Portable;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::{
    jobs::IsPrime,
    pools::{Named, Ours, OursSpawned, Pool, Procspawn},
};

/// As in Python's documentation, which has the first twice; all but the last are prime.
const NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

/// The argument that makes this executable one of the programs; the next is the name of the pool.
pub(crate) const PROGRAM: &str = "--primes";

/// By trial division, as in Python's documentation.
pub(crate) fn is_prime(n: u64) -> bool {
    if n < 2 {
        return false;
    }
    if n.is_multiple_of(2) {
        return n == 2;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !divides(divisor, n))
}

/// Whether `n` is a multiple of `divisor`. Floating point takes less time for that than the division of 64-bit integers, on many
/// processors a quarter: a quotient that is a whole number comes out exactly if `n` has no more than 53 bits; and with any other,
/// however it is rounded, the product is not `n`.
#[expect(clippy::cast_possible_truncation, reason = "a quotient is cut off")]
fn divides(divisor: u64, n: u64) -> bool {
    if n >> f64::MANTISSA_DIGITS != 0 {
        return n.is_multiple_of(divisor);
    }
    // Signed, which can be converted in one instruction.
    let (n, divisor) = (n.cast_signed(), divisor.cast_signed());
    let quotient = (n as f64 / divisor as f64) as i64;
    quotient * divisor == n
}

/// Makes a pool, has it look at all numbers, and returns the pool, so that its end can be measured or not.
pub(crate) fn by_processes<P: Pool>(workers: usize) -> P {
    let pool = P::start(workers);
    let handles = NUMBERS.map(|number| pool.submit::<IsPrime>(number));
    check(&handles.map(result::<P, _>));
    pool
}

fn result<P: Pool, R: Portable>(handle: P::Handle<R>) -> R {
    P::collect(handle).expect("the task does not fail")
}

/// The same with threads.
pub(crate) fn by_rayon(workers: usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.expect("threads can be started");
    let primes: Vec<bool> =
        pool.install(|| NUMBERS.par_iter().map(|number| is_prime(*number)).collect());
    check(&primes);
}

/// The same by itself.
pub(crate) fn sequentially() {
    check(&NUMBERS.map(is_prime));
}

fn check(primes: &[bool]) {
    assert_eq!(primes, [true, true, true, true, true, false]);
}

/// The name of [`by_rayon`] in tables.
pub(crate) const RAYON: &str = "rayon";
/// The name of [`sequentially`] in tables.
pub(crate) const SEQUENTIAL: &str = "sequential";

/// A program that does nothing else, with the pool of this name, and as many workers as there are processors.
pub(crate) fn program(pool: Option<&str>) -> ExitCode {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    match pool {
        Some(<Ours as Named>::NAME) => by_processes::<Ours>(workers).stop(),
        Some(<OursSpawned as Named>::NAME) => by_processes::<OursSpawned>(workers).stop(),
        Some(<Procspawn as Named>::NAME) => by_processes::<Procspawn>(workers).stop(),
        Some(RAYON) => by_rayon(workers),
        Some(SEQUENTIAL) => sequentially(),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}
