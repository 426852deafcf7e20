use concurrent_futures_process_pool::ProcessPoolExecutor;
use std::time::Instant;
fn is_prime(n: u64) -> bool { n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0) }
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let t = Instant::now();
    let pool = ProcessPoolExecutor::with_max_workers(2)?;
    let f = pool.submit(is_prime, 1_000_003)?;
    println!("{:?} {:?}", f.result()?, t.elapsed());
    let t = Instant::now();
    for x in pool.map(is_prime, 0..1000) { x?; }
    println!("map {:?}", t.elapsed());
    let t = Instant::now();
    for _ in 0..1000 { pool.submit(is_prime, 7)?.result()?; }
    println!("pingpong {:?}", t.elapsed()/1000);
    let t = Instant::now();
    let fs: Vec<_> = (0..10000).map(|n| pool.submit(is_prime, n).unwrap()).collect();
    for f in fs { f.result()?; }
    println!("submit_collect {:?}", t.elapsed()/10000);
    println!("{:?}", pool.submit(|()| if true { std::process::abort() }, ())?.result());
    fn over(n: u64) -> u64 { if n == 0 { 0 } else { std::hint::black_box(over(n - 1) + std::hint::black_box([n; 100])[3]) } }
    println!("{:?}", pool.submit(over, u64::MAX)?.result());
    println!("{:?}", pool.submit(|()| -> u8 { panic!("boom") }, ())?.result());
    println!("{:?}", pool.submit(|()| { std::process::exit(3); #[allow(unreachable_code)] 1u8 }, ())?.result());
    println!("{:?}", pool.submit(|()| unsafe { *std::hint::black_box(std::ptr::null::<u8>().wrapping_add(8)) }, ())?.result());
    println!("{:?}", pool.submit(|()| { let v: Vec<u8> = Vec::with_capacity(std::hint::black_box(1<<46)); v.len() }, ())?.result());
    println!("{:?}", pool.submit(|()| { eprintln!("hello from stderr"); 1u8 }, ())?.result());
    println!("{:?} {:?}", pool, pool.stats());
    let t = Instant::now();
    drop(pool);
    println!("drop {:?}", t.elapsed());
    Ok(())
}
