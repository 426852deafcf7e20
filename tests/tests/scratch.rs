//! scratch
#![allow(missing_docs)]
use concurrent_futures::{ThreadPoolExecutor, Blocked, promise, InlineExecutor, wait, ReturnWhen, MapOptions};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

fn guard(f: impl FnOnce() + Send + 'static) {
    let (tx, rx) = mpsc::channel();
    let h = std::thread::spawn(move || { f(); tx.send(()).ok(); });
    match rx.recv_timeout(Duration::from_secs(5)) {
        Ok(()) => {}
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("HANG"),
        Err(_) => { if let Err(e) = h.join() { std::panic::resume_unwind(e) } }
    }
}

// 1: the stale queue entry of a helped task.
#[test]
fn stale_entry() {
    guard(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(2).unwrap());
        let (open_busy, busy) = mpsc::channel::<()>();
        let (busy_started_tx, busy_started) = mpsc::channel();
        let b = pool.spawn(move || { busy_started_tx.send(()).unwrap(); busy.recv().unwrap() }).unwrap();
        busy_started.recv().unwrap();
        let (inner_started_tx, inner_started) = mpsc::channel();
        let (open_inner, inner_gate) = mpsc::channel::<()>();
        let p = Arc::clone(&pool);
        let outer = pool.spawn(move || {
            let inner = p.spawn(move || { inner_started_tx.send(()).unwrap(); inner_gate.recv().unwrap(); 7 }).unwrap();
            inner.result()
        }).unwrap();
        inner_started.recv().unwrap();
        open_busy.send(()).unwrap();
        b.result().unwrap();
        let probe = pool.spawn(|| 1).unwrap();
        assert_eq!(probe.result().unwrap(), 1);
        open_inner.send(()).unwrap();
        assert_eq!(outer.result().unwrap().unwrap(), 7);
    });
}

struct Slow(Arc<Mutex<mpsc::Receiver<()>>>, mpsc::Sender<()>);
impl Drop for Slow { fn drop(&mut self) { self.1.send(()).ok(); self.0.lock().unwrap().recv().ok(); } }

// 2: leave window
#[test]
fn leave_window() {
    guard(|| {
        let (open, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let (dropping_tx, dropping) = mpsc::channel();
        let dropping_tx = Mutex::new(dropping_tx);
        let pool = ThreadPoolExecutor::builder().max_workers(1).idle_timeout(Duration::ZERO)
            .initializer(move || Slow(Arc::clone(&gate), dropping_tx.lock().unwrap().clone())).build().unwrap();
        pool.spawn(|| 1).unwrap().result().unwrap();
        dropping.recv().unwrap();
        let f = pool.spawn(|| 2).unwrap();
        open.send(()).unwrap();
        assert_eq!(f.result().unwrap(), 2);
        drop(open);
    });
}

#[test]
fn leave_window_hammer() {
    guard(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).idle_timeout(Duration::ZERO).build().unwrap();
        for n in 0..10_000 {
            assert_eq!(pool.submit(|n| n, n).unwrap().result().unwrap(), n);
        }
    });
}

// 3 nested Blocked
#[test]
fn nested_blocked() {
    guard(|| {
        let pool = ThreadPoolExecutor::with_max_workers(1).unwrap();
        let (p, f) = promise::<u32>();
        let t = pool.spawn(move || { let _a = Blocked::enter(); f.result().unwrap() }).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let u = pool.spawn(move || p.set_result(3).unwrap()).unwrap();
        u.result().unwrap();
        assert_eq!(t.result().unwrap(), 3);
    });
}

// 4 inline in a worker
#[test]
fn inline_in_worker() {
    guard(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(2).unwrap());
        let p = Arc::clone(&pool);
        let t = pool.spawn(move || {
            let inline = InlineExecutor::new();
            inline.submit(|()| (), ()).unwrap().result().unwrap();
            let (tx, rx) = mpsc::channel();
            drop(p.spawn(move || tx.send(5).unwrap()).unwrap());
            rx.recv().unwrap()
        }).unwrap();
        assert_eq!(t.result().unwrap(), 5);
    });
}

// 5 abandoned value's destructor
struct WaitsFor(Arc<ThreadPoolExecutor>, mpsc::Sender<u32>);
impl Drop for WaitsFor { fn drop(&mut self) {
    let (tx, rx) = mpsc::channel();
    drop(self.0.spawn(move || tx.send(9).unwrap()).unwrap());
    self.1.send(rx.recv().unwrap()).unwrap();
} }
#[test]
fn abandoned_destructor() {
    guard(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(2).unwrap());
        let (tx, rx) = mpsc::channel();
        let (go, went) = mpsc::channel::<()>();
        let p = Arc::clone(&pool);
        drop(pool.spawn(move || { went.recv().unwrap(); WaitsFor(p, tx) }).unwrap());
        go.send(()).unwrap();
        assert_eq!(rx.recv().unwrap(), 9);
    });
}

// 6 wait first completed helps the wrong one
#[test]
fn first_completed() {
    guard(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(2).unwrap());
        let (open_busy, busy) = mpsc::channel::<()>();
        let b = pool.spawn(move || busy.recv().unwrap()).unwrap();
        while !b.running() { std::thread::yield_now(); }
        let p = Arc::clone(&pool);
        let outer = pool.spawn(move || {
            let (tx, rx) = mpsc::channel();
            let f1 = p.spawn(move || rx.recv().unwrap()).unwrap();
            let f2 = p.spawn(|| 2).unwrap();
            let done = wait([f1, f2], ReturnWhen::FirstCompleted);
            tx.send(1).unwrap();
            done.done.len()
        }).unwrap();
        assert_eq!(outer.result().unwrap(), 1);
        open_busy.send(()).unwrap();
        b.result().unwrap();
    });
}

// 7 deadline with inline
#[test]
fn inline_deadline() {
    guard(|| {
        let e = InlineExecutor::new();
        let n = e.map_with(MapOptions::new().timeout(Duration::ZERO), |n: u64| n, 0..).unwrap().count();
        println!("{n}");
    });
}

// 8 state destructor drops the pool
struct Holds(Arc<Mutex<Option<Arc<ThreadPoolExecutor<Holds>>>>>, mpsc::Sender<()>);
impl Drop for Holds { fn drop(&mut self) { let p = self.0.lock().unwrap().take(); drop(p); self.1.send(()).ok(); } }
#[test]
fn state_drops_pool() {
    guard(|| {
        let cell = Arc::new(Mutex::new(None));
        let (tx, rx) = mpsc::channel();
        let c = Arc::clone(&cell);
        let tx = Mutex::new(tx);
        let pool = Arc::new(ThreadPoolExecutor::builder().max_workers(1).idle_timeout(Duration::from_millis(20))
            .initializer(move || Holds(Arc::clone(&c), tx.lock().unwrap().clone())).build().unwrap());
        *cell.lock().unwrap() = Some(Arc::clone(&pool));
        pool.spawn(|| ()).unwrap().result().unwrap();
        drop(pool);
        rx.recv().unwrap();
    });
}

#[test]
fn fib() {
    fn fib(pool: &Arc<ThreadPoolExecutor>, n: u64) -> u64 {
        if n < 2 { return n; }
        let p = Arc::clone(pool);
        let a = pool.submit(move |n| fib(&p, n), n - 1).unwrap();
        let p = Arc::clone(pool);
        let b = pool.submit(move |n| fib(&p, n), n - 2).unwrap();
        a.result().unwrap() + b.result().unwrap()
    }
    guard(|| {
        for workers in [1, 2, 4] {
            let pool = Arc::new(ThreadPoolExecutor::with_max_workers(workers).unwrap());
            let p = Arc::clone(&pool);
            assert_eq!(pool.submit(move |n| fib(&p, n), 14).unwrap().result().unwrap(), 377, "{workers}");
        }
    });
}

#[test]
fn tiny_waits() {
    guard(|| {
        let pool = Arc::new(ThreadPoolExecutor::with_max_workers(1).unwrap());
        let p = Arc::clone(&pool);
        let t = pool.spawn(move || {
            let mut f = p.spawn(|| 3).unwrap();
            let mut n = 0;
            loop { n += 1; match f.result_timeout(Duration::from_micros(1)) { Ok(v) => { println!("{n} waits"); return v.unwrap() }, Err(e) => f = e.into_inner() } }
        }).unwrap();
        t.result().unwrap();
    });
}

#[test]
fn stacks() {
    for size in [usize::MAX, usize::MAX - 4095, usize::MAX / 2, usize::MAX / 4] {
        let pool = ThreadPoolExecutor::builder().max_workers(1).stack_size(size).build().unwrap();
        let e = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.submit(|n| n + 1, 1)));
        println!("{size:x} {e:?}");
        std::mem::forget(pool);
    }
}
