//! The conversation between a pool and a worker, in memory: the worker is a thread, the test plays the pool.

use std::thread::JoinHandle;

use concurrent_futures_executor::Entry;

use super::*;
use crate::{
    message::{Method, Prepare, decode_failure},
    supervisor::call_site,
    transport::memory::{Memory, pair},
};

/// The pool's end, and the worker.
struct Conversation {
    transport: Memory,
    decoder: Decoder,
    worker: JoinHandle<io::Result<i32>>,
}

impl Conversation {
    /// With a worker that is given bytes in pieces of this size.
    fn begin(piece: usize, initializer: Option<Call>) -> Self {
        let (transport, theirs) = pair(piece);
        let worker = thread::spawn(move || {
            let image = Image::get().unwrap();
            let mut connection = Connection::new(Arc::new(theirs));
            let configure = connection.greet(image)?;
            connection.serve(image, configure.initializer.as_ref(), None)
        });
        let mut conversation = Self { transport, decoder: Decoder::default(), worker };
        let hello = conversation.hear(Kind::Hello);
        Hello::decode(&hello, Image::get().unwrap()).unwrap();
        let build_id = Image::get().unwrap().build_id();
        let configure = Configure { build_id, stack_size: 0, shared_memory: false, initializer };
        conversation.say(&configure.encode());
        conversation
    }

    fn say(&self, bytes: &[u8]) {
        send_all(&self.transport, bytes).unwrap();
    }

    fn read(&mut self) -> Read {
        self.decoder.read(|buffer| self.transport.receive(buffer)).unwrap()
    }

    /// The next frame, which is of this kind.
    fn hear(&mut self, kind: Kind) -> Frame {
        match self.read() {
            Read::Frame(frame) => {
                assert_eq!(frame.kind, kind, "{frame:?}");
                frame
            }
            other => panic!("{other:?} instead of {kind:?}"),
        }
    }

    fn send_task(&self, id: u64, entry: Entry, argument: &[u8]) {
        let site = call_site(Image::get().unwrap(), entry).unwrap();
        self.send_call(id, site, argument);
    }

    fn send_call(&self, id: u64, site: CallSite, argument: &[u8]) {
        let mut frame = site.write(FrameBuilder::new(Kind::Task, id));
        frame.body().extend_from_slice(argument);
        self.say(&frame.finish());
    }

    fn end(self) -> io::Result<i32> {
        drop(self.transport);
        self.worker.join().unwrap()
    }
}

fn encoded<T: concurrent_futures_executor::Portable>(value: T) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(&value, &mut bytes, Crossing::EncodeArgument).unwrap();
    bytes
}

#[test]
fn tasks_are_started_and_finished_one_by_one() {
    for piece in [1, 7, 1 << 20] {
        let mut worker = Conversation::begin(piece, None);
        worker.hear(Kind::Ready);
        let double = Entry::new(|n: u64| n * 2);
        // Two at once: the second is started when the first has been answered.
        worker.send_task(1, double, &encoded(21_u64));
        worker.send_task(2, double, &encoded(4_u64));
        for (id, result) in [(1, 42_u64), (2, 8)] {
            assert_eq!(worker.hear(Kind::Started).id, id);
            let finished = worker.hear(Kind::Finished);
            assert_eq!((finished.id, finished.body), (id, encoded(result)));
        }
        worker.say(&FrameBuilder::new(Kind::Exit, 0).finish());
        assert_eq!(worker.read(), Read::Closed);
        assert_eq!(worker.end().unwrap(), 0);
    }
}

#[test]
fn failures_are_answers() {
    let mut worker = Conversation::begin(1 << 20, None);
    worker.hear(Kind::Ready);
    worker.send_task(1, Entry::new(|_: u64| -> u64 { panic!("in the task") }), &encoded(1_u64));
    worker.hear(Kind::Started);
    let panicked = decode_failure(&worker.hear(Kind::Failed)).unwrap();
    assert!(panicked.to_string().contains("in the task"), "{panicked}");
    // An argument that is none.
    worker.send_task(2, Entry::new(|n: u64| n), &[1, 2, 3]);
    worker.hear(Kind::Started);
    let undecodable = decode_failure(&worker.hear(Kind::Failed)).unwrap();
    assert!(matches!(undecodable, TaskError::Codec(_)), "{undecodable:?}");
    // A function that is none.
    worker.send_call(3, CallSite { trampoline: u64::MAX, function: 0 }, &[]);
    worker.hear(Kind::Started);
    let foreign = decode_failure(&worker.hear(Kind::Failed)).unwrap();
    assert!(foreign.to_string().contains("not part of this executable"), "{foreign}");
    // And it goes on.
    worker.send_task(4, Entry::new(|n: u64| n), &encoded(4_u64));
    worker.hear(Kind::Started);
    assert_eq!(worker.hear(Kind::Finished).body, encoded(4_u64));
    assert_eq!(worker.end().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn an_initializer_comes_first() {
    let call = |entry: Entry| Call {
        site: call_site(Image::get().unwrap(), entry).unwrap(),
        argument: encoded(()),
    };
    let good = call(Entry::new(|()| Ok::<(), String>(())));
    let mut worker = Conversation::begin(1 << 20, Some(good));
    worker.hear(Kind::Ready);
    drop(worker);

    let bad = call(Entry::new(|()| Err::<(), String>("no license".to_owned())));
    let mut worker = Conversation::begin(1 << 20, Some(bad));
    let error = decode_failure(&worker.hear(Kind::Unready)).unwrap();
    assert_eq!(error.to_string(), "no license");
    assert_eq!(worker.read(), Read::Closed);
    assert_eq!(worker.end().unwrap(), 1);
}

#[test]
fn nonsense_ends_the_conversation() {
    let build_id = Image::get().unwrap().build_id();
    let prepare = Prepare { build_id, method: Method::Fork, preload: None }.encode();
    for nonsense in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n"[..], &prepare] {
        let mut worker = Conversation::begin(1 << 20, None);
        worker.hear(Kind::Ready);
        worker.say(nonsense);
        assert_eq!(worker.read(), Read::Closed);
        assert_eq!(worker.end().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
