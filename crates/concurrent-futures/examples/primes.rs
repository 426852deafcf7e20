//! Tests big numbers for primality in parallel, with processes: the second example of Python's documentation.
//!
//! ```console
//! $ cargo run --release --example primes                    # the six numbers of Python's example
//! $ cargo run --release --example primes -- 1000003 91      # these as well
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::{env, error::Error, ffi::OsString, process::ExitCode};

use concurrent_futures::ProcessPoolExecutor;

const PRIMES: [u64; 6] = [
    112272535095293,
    112582705942171,
    112272535095293,
    115280095190773,
    115797848077099,
    1099726899285419,
];

fn is_prime(n: u64) -> bool {
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

fn main() -> ExitCode {
    let numbers = match numbers(env::args_os().skip(1)) {
        Ok(numbers) => numbers,
        Err(message) => {
            eprintln!("error: {message}");
            eprintln!("usage: primes [number]...");
            return ExitCode::from(2);
        }
    };
    match run(&numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(numbers: &[u64]) -> Result<(), Box<dyn Error>> {
    let executor = ProcessPoolExecutor::new()?;
    for (number, prime) in numbers.iter().zip(executor.map(is_prime, numbers.to_vec())) {
        println!("{number} is prime: {}", if prime? { "True" } else { "False" });
    }
    Ok(())
}

/// The numbers of Python's example, and those that were given.
fn numbers(arguments: impl Iterator<Item = OsString>) -> Result<Vec<u64>, String> {
    let mut numbers = PRIMES.to_vec();
    for argument in arguments {
        let text = argument.to_string_lossy();
        let number = text.parse().map_err(|_not_a_u64| {
            format!("`{text}` is not a whole number between 0 and {}", u64::MAX)
        })?;
        numbers.push(number);
    }
    Ok(numbers)
}
