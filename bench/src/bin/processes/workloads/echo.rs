//! `echo` and `copy`: bytes to a worker, and these or others back, one task at a time.

use super::{Settings, Unit, Workload, contenders, ready};
use crate::{
    family::FamilyStopwatch,
    goal::Goal,
    jobs::{Buffer, Copy, Echo, Job},
    measure::Sample,
    pools::{Named, Ours, Pool, Procspawn},
    python::{self, MultiprocessingPool, PythonExecutor},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How large the payload is, and how often it goes there and back.
struct Size {
    bytes: u64,
    rounds: u64,
    rounds_quick: u64,
    rounds_warm: u64,
}

const SMALL: Size = Size { bytes: KIB, rounds: 2000, rounds_quick: 500, rounds_warm: 100 };
const MEDIUM: Size = Size { bytes: MIB, rounds: 50, rounds_quick: 15, rounds_warm: 5 };
const LARGE: Size = Size { bytes: 64 * MIB, rounds: 3, rounds_quick: 1, rounds_warm: 1 };

pub(super) fn workloads() -> Vec<Workload> {
    vec![
        Workload::new(
            "echo_1k",
            "1 KiB of bytes to a worker and back; what came back is sent again; per round trip. As the type that is best with \
             each: `Bytes` with ours, which does not send back what was sent, and `serde_bytes::ByteBuf` with procspawn",
            contenders!(small: Ours, Procspawn; small_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("echo 1 KiB, per round trip", Unit::Nanoseconds, Goal::best(0.5, 0.02)),
        Workload::new(
            "echo_1m",
            "the same with 1 MiB; per MiB moved, both directions counted",
            contenders!(medium: Ours, Procspawn; medium_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("echo 1 MiB, per MiB", Unit::Nanoseconds, Goal::best(0.3, 0.15)),
        Workload::new(
            "echo_64m",
            "the same with 64 MiB",
            contenders!(large: Ours, Procspawn; large_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("echo 64 MiB, per MiB", Unit::Nanoseconds, Goal::best(0.3, 0.12)),
        Workload::new(
            "copy_1m",
            "1 MiB of bytes to a worker, which makes a copy and returns that; per MiB moved between processes",
            contenders!(copied: Ours, Procspawn; copied_in_python: PythonExecutor, MultiprocessingPool),
        )
        .metric("copy 1 MiB, per MiB", Unit::Nanoseconds, None),
    ]
}

impl Size {
    fn rounds(&self, settings: &Settings) -> u64 {
        if settings.quick { self.rounds_quick } else { self.rounds }
    }

    /// What the cost is divided by: MiB moved, or round trips of less than that.
    fn operations(&self, rounds: u64) -> u64 {
        if self.bytes < MIB { rounds } else { 2 * rounds * self.bytes / MIB }
    }
}

fn small<P: Pool>(settings: &Settings) -> Sample {
    send::<P, Echo<P::Bytes>>(settings, &SMALL)
}

fn medium<P: Pool>(settings: &Settings) -> Sample {
    send::<P, Echo<P::Bytes>>(settings, &MEDIUM)
}

fn large<P: Pool>(settings: &Settings) -> Sample {
    send::<P, Echo<P::Bytes>>(settings, &LARGE)
}

fn copied<P: Pool>(settings: &Settings) -> Sample {
    send::<P, Copy<P::Bytes>>(settings, &MEDIUM)
}

fn send<P: Pool, J>(settings: &Settings, size: &Size) -> Sample
where
    J: Job<Argument = P::Bytes, Result = P::Bytes>,
{
    let pool: P = ready(settings);
    let length = usize::try_from(size.bytes).expect("fits in memory");
    // Not all the same, so that nothing that is lost or moved goes unnoticed.
    let original: Vec<u8> = (0_u8..251).cycle().take(length).collect();
    let mut bytes = P::Bytes::of(original.clone());
    for _ in 0..size.rounds_warm {
        bytes = pool.call::<J>(bytes);
    }
    let rounds = size.rounds(settings);
    let watch = FamilyStopwatch::start();
    for _ in 0..rounds {
        bytes = pool.call::<J>(bytes);
    }
    let cost = watch.stop();
    assert!(bytes.as_slice() == original, "what came back is something else");
    pool.stop();
    Sample::per_operation(&cost, size.operations(rounds))
}

fn small_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, "echo", &SMALL)
}

fn medium_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, "echo", &MEDIUM)
}

fn large_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, "echo", &LARGE)
}

fn copied_in_python<P: Named>(settings: &Settings) -> Sample {
    in_python::<P>(settings, "copy", &MEDIUM)
}

fn in_python<P: Named>(settings: &Settings, workload: &str, size: &Size) -> Sample {
    let rounds = size.rounds(settings);
    let numbers = [size.bytes, rounds, size.rounds_warm, size.operations(rounds)];
    python::sample::<P>(workload, settings, &numbers)
}
