"""Python's process pools in the workloads of the benchmark `processes`.

Each run takes one sample and prints it as the benchmark reads it: the values, `cpu`, and the processor time for each
operation or a dash. What is measured, and with which numbers, is said by the Rust program that runs this; the workloads
are described there.

    pools.py workload pool workers [number]...
"""

import concurrent.futures
import ctypes
import multiprocessing
import os
import signal
import statistics
import sys
import time

PR_SET_PDEATHSIG = 1

# For how long each worker is kept busy so that the pool needs them all.
READY_S = 0.03
# How long a pool may take to come to rest.
SETTLE_S = 0.1


def end_with_parent():
    """Sees to it that nothing is left of a sample that was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Executor:
    """`concurrent.futures.ProcessPoolExecutor`."""

    def __init__(self, workers):
        self.pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=end_with_parent)

    def submit(self, function, *args):
        return self.pool.submit(function, *args)

    @staticmethod
    def collect(handle):
        return handle.result()

    def map(self, function, items, chunksize):
        return self.pool.map(function, items, chunksize=chunksize or 1)

    def stop(self):
        self.pool.shutdown()


class Pool:
    """`multiprocessing.Pool`."""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers, initializer=end_with_parent)

    def submit(self, function, *args):
        return self.pool.apply_async(function, args)

    @staticmethod
    def collect(handle):
        return handle.get()

    def map(self, function, items, chunksize):
        return self.pool.map(function, items, chunksize=chunksize or None)

    def stop(self):
        self.pool.close()
        self.pool.join()


POOLS = {"ProcessPoolExecutor": Executor, "multiprocessing.Pool": Pool}


def identity(value):
    return value


def duplicate(value):
    return bytes(memoryview(value))


def square(number):
    # As the other side does, which has 64 bits.
    return number * number & 0xFFFF_FFFF_FFFF_FFFF


def sleep(seconds):
    begin = time.monotonic()
    time.sleep(seconds)
    return begin


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def ready(kind, workers):
    """A pool all of whose workers are there and have run something."""
    pool = kind(workers)
    for task in [pool.submit(sleep, READY_S) for _ in range(workers)]:
        pool.collect(task)
    return pool


def processor_time():
    """Of this process and of its children that are alive."""
    # The clock of another process, as clock_getcpuclockid makes it from its id.
    clocks = [(~child.pid << 3) | 2 for child in multiprocessing.active_children()]
    return time.process_time() + sum(map(time.clock_gettime, clocks))


class Stopwatch:
    """Takes the cost of a stretch in which no worker starts or ends."""

    def __init__(self):
        self.cpu = processor_time()
        self.begin = time.perf_counter()

    def stop(self):
        self.wall = time.perf_counter() - self.begin
        self.cpu = processor_time() - self.cpu
        return self


def report(values, cpu=None):
    print(*values, "cpu", "-" if cpu is None else cpu)


def report_cost(watch, operations):
    report([watch.wall * 1e9 / operations], watch.cpu * 1e9 / operations)


def submit_collect(kind, workers, n, warm):
    def run(n):
        handles = [pool.submit(identity, number) for number in range(n)]
        return sum(map(pool.collect, handles))

    pool = ready(kind, workers)
    run(warm)
    watch = Stopwatch()
    total = run(n)
    watch.stop()
    assert total == n * (n - 1) // 2
    pool.stop()
    report_cost(watch, n)


def ping_pong(kind, workers, milliseconds):
    def rounds(span):
        laps = []
        begin = last = time.perf_counter()
        while last - begin < span:
            assert pool.collect(pool.submit(identity, len(laps))) == len(laps)
            now = time.perf_counter()
            laps.append(now - last)
            last = now
        return laps

    pool = ready(kind, workers)
    rounds(milliseconds / 10_000)
    watch = Stopwatch()
    laps = rounds(milliseconds / 1000)
    watch.stop()
    pool.stop()
    report([statistics.median(laps) * 1e9, watch.wall * 1e9 / len(laps)], watch.cpu * 1e9 / len(laps))


def map_(kind, workers, n, warm, chunksize):
    pool = ready(kind, workers)
    sum(pool.map(square, range(warm), chunksize))
    watch = Stopwatch()
    total = sum(pool.map(square, range(n), chunksize))
    watch.stop()
    assert total == sum(map(square, range(n)))
    pool.stop()
    report_cost(watch, n)


def echo(kind, workers, length, rounds, warm, operations):
    send(identity, kind, workers, length, rounds, warm, operations)


def copy(kind, workers, length, rounds, warm, operations):
    send(duplicate, kind, workers, length, rounds, warm, operations)


def send(function, kind, workers, length, rounds, warm, operations):
    pool = ready(kind, workers)
    original = data = (bytes(range(251)) * (length // 251 + 1))[:length]
    for _ in range(warm):
        data = pool.collect(pool.submit(function, data))
    watch = Stopwatch()
    for _ in range(rounds):
        data = pool.collect(pool.submit(function, data))
    watch.stop()
    assert data == original
    pool.stop()
    report_cost(watch, operations)


def start(kind, workers, rounds):
    laps = []
    for number in range(rounds):
        begin = time.perf_counter()
        pool = kind(workers)
        assert pool.collect(pool.submit(identity, number)) == number
        laps.append(time.perf_counter() - begin)
        pool.stop()
    report([statistics.median(laps) * 1e9])


def crash_(kind, workers, rounds, others, microseconds, muster_microseconds):
    def fails(handle):
        try:
            pool.collect(handle)
        except concurrent.futures.BrokenExecutor:
            return True
        return False

    def submit(function, *args):
        # Once broken it takes nothing more: a task that would have failed.
        try:
            return pool.submit(function, *args)
        except concurrent.futures.BrokenExecutor as error:
            future = concurrent.futures.Future()
            future.set_exception(error)
            return future

    failed, next_result, all_workers = 0, [], []
    for _ in range(rounds):
        pool = ready(kind, workers)
        tasks = [submit(sleep, microseconds / 1e6) for _ in range(others // 2)]
        crashing = submit(crash)
        tasks += [submit(sleep, microseconds / 1e6) for _ in range(others // 2)]
        assert fails(crashing)
        failed += sum(map(fails, tasks))
        pool.stop()

        pool = ready(kind, workers)
        begin = time.monotonic()
        assert fails(submit(crash))
        broken, pool = pool, kind(workers)
        assert pool.collect(pool.submit(identity, 7)) == 7
        next_result.append(time.monotonic() - begin)
        muster = [pool.submit(sleep, muster_microseconds / 1e6) for _ in range(workers)]
        all_workers.append(max(map(pool.collect, muster)) - begin)
        pool.stop()
        broken.stop()
    medians = [statistics.median(laps) * 1e9 for laps in (next_result, all_workers)]
    report([failed / rounds, *medians])


def memory(kind, workers):
    def kib(pid, *names):
        with open(f"/proc/{pid}/smaps_rollup") as file:
            fields = [line.split() for line in file]
        return sum(int(words[1]) for words in fields if words[0] in names)

    pool = ready(kind, workers)
    time.sleep(SETTLE_S)
    pids = [child.pid for child in multiprocessing.active_children()]
    uss = statistics.mean(kib(pid, "Private_Clean:", "Private_Dirty:") for pid in pids)
    pss = statistics.mean(kib(pid, "Pss:") for pid in pids)
    pool.stop()
    report([uss * 1024, pss * 1024])


WORKLOADS = {
    "submit_collect": submit_collect,
    "ping_pong": ping_pong,
    "map": map_,
    "echo": echo,
    "copy": copy,
    "start": start,
    "crash": crash_,
    "memory": memory,
}


def main():
    end_with_parent()
    workload, pool, *numbers = sys.argv[1:]
    WORKLOADS[workload](POOLS[pool], *map(int, numbers))


if __name__ == "__main__":
    main()
