//! What workers are asked to do.
//!
//! A type for each and not a function, because pools want functions in different shapes: ours by its type, procspawn as a
//! pointer.

use std::{marker::PhantomData, thread, time::Duration};

use concurrent_futures_executor::{Bytes, Portable};
use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use serde_bytes::ByteBuf;

use crate::primes::is_prime;

/// A function with one argument.
pub(crate) trait Job: 'static {
    type Argument: Portable;
    type Result: Portable;

    fn run(argument: Self::Argument) -> Self::Result;
}

/// Nothing: gives back its number.
pub(crate) struct Empty;

impl Job for Empty {
    type Argument = u64;
    type Result = u64;

    fn run(number: u64) -> u64 {
        number
    }
}

/// As little as there can be to do for an item of a `map`.
pub(crate) fn square(number: u64) -> u64 {
    number.wrapping_mul(number)
}

pub(crate) struct Square;

impl Job for Square {
    type Argument = u64;
    type Result = u64;

    fn run(number: u64) -> u64 {
        square(number)
    }
}

/// A chunk of [`Square`], for pools that have no `map`.
pub(crate) struct Squares;

impl Job for Squares {
    type Argument = Vec<u64>;
    type Result = Vec<u64>;

    fn run(numbers: Vec<u64>) -> Vec<u64> {
        numbers.into_iter().map(square).collect()
    }
}

/// Gives its bytes back. `B` is what they are in.
pub(crate) struct Echo<B>(PhantomData<B>);

impl<B: Portable> Job for Echo<B> {
    type Argument = B;
    type Result = B;

    fn run(bytes: B) -> B {
        bytes
    }
}

/// Returns other bytes that are the same.
pub(crate) struct Copy<B>(PhantomData<B>);

impl<B: Buffer> Job for Copy<B> {
    type Argument = B;
    type Result = B;

    fn run(bytes: B) -> B {
        B::of(bytes.as_slice().to_vec())
    }
}

/// A type of bytes.
pub(crate) trait Buffer: Portable {
    fn of(bytes: Vec<u8>) -> Self;
    fn as_slice(&self) -> &[u8];
}

/// Ours.
impl Buffer for Bytes {
    fn of(bytes: Vec<u8>) -> Self {
        Self::from(bytes)
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

/// What every codec of serde knows to be bytes.
impl Buffer for ByteBuf {
    fn of(bytes: Vec<u8>) -> Self {
        Self::from(bytes)
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

/// Sleeps for so many microseconds, and says when it began.
pub(crate) struct Sleep;

impl Job for Sleep {
    type Argument = u64;
    type Result = Moment;

    fn run(microseconds: u64) -> Moment {
        let begin = Moment::now();
        thread::sleep(Duration::from_micros(microseconds));
        begin
    }
}

/// Kills the process that it is in.
pub(crate) struct Crash;

impl Job for Crash {
    type Argument = ();
    type Result = ();

    fn run((): ()) {
        kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
    }
}

pub(crate) struct IsPrime;

impl Job for IsPrime {
    type Argument = u64;
    type Result = bool;

    fn run(number: u64) -> bool {
        is_prime(number)
    }
}

/// A time that means the same in all processes of the machine, unlike `Instant`, of which that is not promised.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Moment {
    since_boot: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
        Self { since_boot: time.into() }
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.since_boot.saturating_sub(earlier.since_boot)
    }
}
