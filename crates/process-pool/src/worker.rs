//! What a worker process does: take tasks one by one, run them, and say what came of each.
//!
//! The thread that the process came with watches the connection, and a second one runs the tasks, on a stack of the size
//! that was asked for. So a worker whose pool is gone dies even while a task runs, and everything with it that the task
//! has started: whatever is in the worker's process group.
//!
//! A task is said to have started before its argument is decoded. Whatever happens after that is the task's fault, and
//! whatever happens before is not; the pool goes by this when a worker has died.

use std::{
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process, ptr,
    sync::Arc,
    thread,
    time::Instant,
};

use concurrent_futures_executor::{
    Bytes, Trampoline,
    future::{Crossing, TaskError},
    wire::{self, ChunkTrampoline},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal as SignalNumber, kill},
    unistd::Pid,
};

use crate::{
    boot::{self, CONTROL_FD_MIN},
    channel::{ELSEWHERE, INLINE_MAX, LAYOUT, WorkerEnd},
    crash,
    frame::{Decoder, Fields, Frame, FrameBuilder, HEADER_SIZE, Kind, ProtocolError, Read},
    image::Image,
    inbox::{Inbox, Outbox},
    journal::Journal,
    message::{Call, CallSite, ChunkSite, Configure, Hello, LastWords, encode_failure},
    payload::{Received, Tabled, Way},
    region::{JournalPlace, Region},
    sys,
    transport::{Blocking, Socket, Transport, send_all},
    value,
};

/// What a process exits with whose pool talks nonsense: `EX_PROTOCOL` of `sysexits.h`.
const EXIT_PROTOCOL: i32 = 76;

/// What a process exits with whose connection is not there any more, although the pool is: `EX_IOERR`.
pub(crate) const EXIT_DISCONNECTED: i32 = 74;

/// What a worker exits with that has no thread to run tasks on: `EX_OSERR`.
const EXIT_NO_THREAD: i32 = 71;

/// A buffer that has grown beyond this for one task is given back after it.
const BUFFER_MAX: usize = 1 << 20;

/// What a task takes at least, in nanoseconds, that closes descriptors whose numbers it does not know: some system calls.
const CLOSING_NANOS_MIN: u64 = 5_000;

/// The life of a worker, which has just been forked, or executed.
pub(crate) fn main(control: OwnedFd) -> ! {
    let socket = Arc::new(Socket::new(control, Blocking::Yes).accepting_descriptors());
    let Ok(image) = Image::get() else { process::exit(EXIT_PROTOCOL) };
    name_stack_overflow(&socket);
    let mut connection = Connection::new(Arc::clone(&socket) as Arc<dyn Transport>);
    let greeted = connection.greet(image).and_then(|configure| {
        let region = if configure.shared_memory { Some(region(&socket)?) } else { None };
        Ok((configure, region))
    });
    let (configure, region) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => leave(&error),
    };
    let stack_size = usize::try_from(configure.stack_size).unwrap_or(usize::MAX);
    let thread = thread::Builder::new().name("worker".to_owned()).stack_size(stack_size);
    let spawned = thread.spawn(move || {
        // Without it, an overflow is an ordinary fault.
        let _alternate_stack = crash::AltStack::install();
        match connection.serve(image, configure.initializer.as_ref(), region) {
            // Runs what the program wants to be done at its exit, and flushes its output.
            Ok(code) => process::exit(code),
            Err(error) => leave(&error),
        }
    });
    if let Err(error) = spawned {
        // The initializer has not failed, so the pool is not broken: the limit on threads may be far away again when the
        // next worker is started. If not, the pool sees this in the output of those that died.
        writeln!(io::stderr(), "could not start a thread for tasks: {error}").ok();
        process::exit(EXIT_NO_THREAD);
    }
    watch(&socket)
}

/// The memory that came with the frame that was read last.
fn region(socket: &Socket) -> io::Result<Region> {
    let fd = socket.take_descriptor().ok_or_else(|| {
        // The kernel drops descriptors for which there is no room.
        io::Error::from_raw_os_error(libc::EMFILE)
    })?;
    // Out of the way of tasks, as the socket is, unless there is a limit on descriptors.
    let fd = boot::duplicate(fd.as_raw_fd(), CONTROL_FD_MIN).unwrap_or(fd);
    let region = Region::map(fd)?;
    if region.layout() != LAYOUT {
        return Err(ProtocolError(format!("shared memory of layout {}", region.layout())).into());
    }
    Ok(region)
}

/// Has an overflow of the stack reported as what it is, over this connection.
pub(crate) fn name_stack_overflow(socket: &Socket) {
    if crash::install().is_ok() {
        let words = LastWords::StackOverflow.encode();
        crash::set_last_words(socket.as_fd().as_raw_fd(), words.leak());
    }
}

/// Waits for the pool to go away, and goes with it.
fn watch(socket: &Socket) -> ! {
    loop {
        // POLLHUP and POLLERR come unasked.
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        let outcome = poll(&mut fds, PollTimeout::NONE);
        match fds[0].revents().unwrap_or(PollFlags::POLLERR) {
            _ if outcome.is_err() => {}
            // A task has closed the descriptor, before this waited or after it was interrupted. (One that is closed meanwhile
            // goes unnoticed, since waiting keeps the connection open.) The task may come to its end; the other thread looks
            // then, and the pool sees that the connection has ended.
            events if events.contains(PollFlags::POLLNVAL) => loop {
                thread::park();
            },
            events if !events.is_empty() => end_group(),
            _ => {}
        }
    }
}

/// Kills this process and those that it has started and that have not left its group.
fn end_group() -> ! {
    // No error is possible for a process's own group, and this process is in it.
    kill(Pid::from_raw(0), SignalNumber::SIGKILL).ok();
    process::abort()
}

/// Ends the process after the connection has failed.
fn leave(error: &io::Error) -> ! {
    if error.raw_os_error() == Some(libc::EBADF) || error.raw_os_error() == Some(libc::ENOTSOCK) {
        // A task has closed it.
        sys::exit_now(EXIT_DISCONNECTED);
    }
    if error.kind() == io::ErrorKind::InvalidData {
        writeln!(io::stderr(), "a worker process cannot understand its pool: {error}").ok();
        process::exit(EXIT_PROTOCOL);
    }
    // Closed, or broken: the pool is gone.
    end_group()
}

/// A worker's end of the conversation.
struct Connection {
    transport: Arc<dyn Transport>,
    decoder: Decoder,
    /// The frame with the last result, whose memory is used again.
    reply: Vec<u8>,
}

impl Connection {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, decoder: Decoder::default(), reply: Vec::new() }
    }

    fn read(&mut self) -> io::Result<Frame> {
        match self.decoder.read(|buffer| self.transport.receive(buffer))? {
            Read::Frame(frame) => Ok(frame),
            Read::Pending | Read::Closed => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        send_all(&*self.transport, frame)
    }

    /// Says who this is, and learns what it has to know.
    fn greet(&mut self, image: &Image) -> io::Result<Configure> {
        self.send(&Hello::own(image).encode())?;
        let frame = self.read()?;
        if frame.kind != Kind::Configure {
            return Err(unexpected(&frame).into());
        }
        Ok(Configure::decode(&frame, image)?)
    }

    /// Runs the initializer, then tasks until it is told to leave. Returns what to exit with.
    fn serve(
        &mut self,
        image: &Image,
        initializer: Option<&Call>,
        region: Option<Region>,
    ) -> io::Result<i32> {
        if let Some(call) = initializer
            && let Err(error) = run_setup(image, call)
        {
            self.send(&encode_failure(Kind::Unready, 0, &error))?;
            return Ok(1);
        }
        self.send(&FrameBuilder::new(Kind::Ready, 0).finish())?;
        if let Some(region) = region {
            return self.serve_shared(image, WorkerEnd::new(region));
        }
        loop {
            let frame = self.read()?;
            match frame.kind {
                kind if kind.is_task() => self.run_task(image, frame)?,
                Kind::Value => self.provide(&frame),
                Kind::Forget => wire::forget_value(frame.id),
                Kind::Exit => return Ok(0),
                _ => return Err(unexpected(&frame).into()),
            }
        }
    }

    fn run_task(&mut self, image: &Image, frame: Frame) -> io::Result<()> {
        let Frame { kind, id, body } = frame;
        self.send(&FrameBuilder::new(Kind::Started, id).finish())?;
        let mut task = Received::from_socket(kind, body)?;
        let incoming = std::mem::take(&mut task.buffers);
        let reply = std::mem::take(&mut self.reply);
        let (reply, outgoing) = run_task(image, kind, id, task.body(), incoming, reply, &mut ())?;
        if outgoing.is_empty() {
            self.send(&reply)?;
        } else {
            let Tabled { header, table, body, .. } = Tabled::new(&reply, &outgoing, Way::Socket);
            for part in [&header, &table[..], body] {
                self.send(part)?;
            }
            for buffer in &outgoing {
                self.send(buffer)?;
            }
        }
        if reply.capacity() <= BUFFER_MAX {
            self.reply = reply;
        }
        Ok(())
    }

    /// Reads a shared value from the socket, which the pool has sent or is sending.
    fn receive_value(&mut self, number: u64) -> io::Result<()> {
        loop {
            let frame = self.read()?;
            if frame.kind != Kind::Value {
                return Err(unexpected(&frame).into());
            }
            self.provide(&frame);
            if frame.id == number {
                return Ok(());
            }
        }
    }

    /// Has tasks find a shared value. If that cannot be, for want of descriptors or address space, it is the error of the tasks that
    /// need it.
    fn provide(&self, frame: &Frame) {
        let outcome = match self.transport.take_descriptor() {
            Some(fd) => value::provide(frame, &fd),
            None => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        };
        if let Err(error) = outcome {
            writeln!(io::stderr(), "a shared value cannot be had: {error}").ok();
        }
    }

    /// Runs the tasks that come through shared memory.
    fn serve_shared(&mut self, image: &Image, mut end: WorkerEnd<Region>) -> io::Result<i32> {
        let bell = FrameBuilder::new(Kind::Bell, 0).finish();
        let transport = Arc::clone(&self.transport);
        let mut ring_bell = || {
            if let Err(error) = send_all(&*transport, &bell) {
                leave(&error);
            }
        };
        let mut inbox = Inbox::new();
        let mut outbox = Outbox::new();
        let mut body = Vec::new();
        let mut reply = Vec::new();
        let mut cost = Cost::default();
        let mut journal_place = JournalPlace::default();
        loop {
            if !end.has_next() {
                inbox.give_back(end.region());
                cost.pause();
            }
            let header = end.next(&mut body, &mut ring_bell)?;
            cost.resume();
            match header.kind {
                kind if kind.is_task() && !end.start(&header) => {
                    let frame = FrameBuilder::new(Kind::Skipped, header.id).finish();
                    end.answer(&frame, 0, &mut ring_bell)?;
                }
                kind if kind.is_task() => {
                    let opened = match header.place & ELSEWHERE {
                        0 => None,
                        _ => Some(inbox.open(end.region(), &header)?),
                    };
                    let (body, incoming) = match &opened {
                        None => (&body[..], Vec::new()),
                        Some(opened) => (inbox.body(opened), opened.buffers()),
                    };
                    let outgoing;
                    let mut journal = Journal::new(&end, &mut journal_place, header.id);
                    (reply, outgoing) =
                        run_task(image, kind, header.id, body, incoming, reply, &mut journal)?;
                    let place = put_long_answer(
                        &mut end,
                        &mut outbox,
                        &mut reply,
                        &outgoing,
                        &mut ring_bell,
                    );
                    // They may be of what the task was given.
                    drop(outgoing);
                    if let Some(room) = opened.and_then(|opened| inbox.close(end.region(), opened))
                    {
                        end.report_room(&room);
                    }
                    // What the pool goes by when it sends tasks ahead, so it comes first.
                    let nanos = cost.measure();
                    end.report_cost(cost.average);
                    end.answer(&reply, place, &mut ring_bell)?;
                    if nanos > CLOSING_NANOS_MIN && !self.transport.is_open() {
                        // Before a task is started that would be lost with this worker.
                        leave(&io::Error::from_raw_os_error(libc::EBADF));
                    }
                    journal_place.trim(end.region());
                    if reply.capacity() > BUFFER_MAX {
                        reply = Vec::new();
                    }
                }
                Kind::Value => self.receive_value(header.id)?,
                Kind::Forget => wire::forget_value(header.id),
                Kind::Exit => return Ok(0),
                kind => return Err(ProtocolError(format!("a {kind:?} frame out of turn")).into()),
            }
        }
    }
}

/// How long tasks take, with one look at the clock for each.
#[derive(Default)]
struct Cost {
    /// When the task that runs, or is about to, began. `None` while there is none.
    began: Option<Instant>,
    /// The average, of late, in nanoseconds.
    average: u64,
}

impl Cost {
    fn pause(&mut self) {
        self.began = None;
    }

    fn resume(&mut self) {
        self.began.get_or_insert_with(Instant::now);
    }

    /// Ends a task, and begins the next. Returns what it took.
    fn measure(&mut self) -> u64 {
        let now = Instant::now();
        let began = self.began.replace(now).unwrap_or(now);
        let nanos = u64::try_from(now.duration_since(began).as_nanos()).unwrap_or(u64::MAX / 4);
        // Quick to rise: a long task must not be followed by many that were sent ahead in the belief that it is short.
        self.average = (self.average + nanos.min(u64::MAX / 4)) / 2;
        nanos
    }
}

/// If an answer is too long for a ring, or has buffers, puts it in its place. Returns the place.
fn put_long_answer(
    end: &mut WorkerEnd<Region>,
    outbox: &mut Outbox,
    reply: &mut Vec<u8>,
    buffers: &[Bytes],
    ring_bell: &mut dyn FnMut(),
) -> u32 {
    if buffers.is_empty() && reply.len() - HEADER_SIZE <= INLINE_MAX {
        return 0;
    }
    end.take_long_answer(ring_bell);
    let answer = Tabled::new(reply, buffers, Way::Memory);
    match outbox.put(end.region(), &answer) {
        Ok(()) => {
            let header = answer.header;
            reply[..HEADER_SIZE].copy_from_slice(&header);
            ELSEWHERE
        }
        Err(error) => {
            let length = reply.len() - HEADER_SIZE + buffers.iter().map(|b| b.len()).sum::<usize>();
            let id = u64::from_le_bytes(reply[8..16].try_into().expect("eight bytes"));
            *reply = encode_failure(Kind::Failed, id, &no_room(length, error));
            0
        }
    }
}

/// Runs the task or chunk that `body` says, with these buffers; the answer is a frame, made in the memory of `reply`, and buffers.
fn run_task(
    image: &Image,
    kind: Kind,
    id: u64,
    body: &[u8],
    incoming: Vec<Bytes>,
    reply: Vec<u8>,
    journal: &mut dyn wire::Journal,
) -> io::Result<(Vec<u8>, Vec<Bytes>)> {
    let mut fields = Fields(body);
    let mut reply = FrameBuilder::reuse(reply, Kind::Finished, id);
    let this = sys::process_id();
    let argument = incoming.clone();
    let (outcome, outgoing) = if kind.is_chunk() {
        let site = ChunkSite::read(&mut fields)?;
        let run = || run_chunk(image, site, fields.rest(), reply.body(), journal);
        wire::out_of_band(incoming, argument, run)
    } else {
        let site = CallSite::read(&mut fields)?;
        let run = || run(image, site, fields.rest(), reply.body());
        wire::out_of_band(incoming, argument, run)
    };
    if sys::process_id() != this {
        // The task has forked, and this is the child, come back as well. There is one result, and it is the parent's.
        sys::exit_now(0);
    }
    // What a task prints without a newline would otherwise stay here, and be lost if the next one crashes.
    drop(io::stdout().flush());
    Ok(match outcome {
        Ok(()) => (reply.finish(), outgoing),
        Err(error) => (encode_failure(Kind::Failed, id, &error), Vec::new()),
    })
}

fn no_room(length: usize, error: io::Error) -> TaskError {
    let what = format!("no room for the {length} bytes of the result in shared memory: {error}");
    TaskError::failed(what)
}

fn unexpected(frame: &Frame) -> ProtocolError {
    ProtocolError(format!("a {:?} frame out of turn", frame.kind))
}

/// Calls an initializer, or what is to be preloaded: their results are `Result<(), String>`.
pub(crate) fn run_setup(image: &Image, call: &Call) -> Result<(), TaskError> {
    let mut result = Vec::new();
    run(image, call.site, &call.argument, &mut result)?;
    match wire::decode::<Result<(), String>>(&result, Crossing::DecodeResult) {
        Ok(outcome) => outcome.map_err(TaskError::failed),
        Err(error) => Err(TaskError::Codec(error)),
    }
}

/// Runs a call that came over the connection; the encoded result is appended to `result`.
fn run(
    image: &Image,
    site: CallSite,
    argument: &[u8],
    result: &mut Vec<u8>,
) -> Result<(), TaskError> {
    let trampoline = image.address_of(site.trampoline).ok_or_else(foreign)?;
    let function = match site.function {
        0 => None,
        offset => Some(image.address_of(offset).ok_or_else(foreign)?),
    };
    // SAFETY: the pool has made sure that this process is the same executable, by its build id, and the pool sends but
    // offsets that it computed from a `Trampoline` and a function of its own, whose address this is here. Nobody else can
    // send anything: the socket was made by the pool, and both ends stay within its processes.
    let trampoline = unsafe {
        std::mem::transmute::<*const (), Trampoline>(ptr::with_exposed_provenance(trampoline))
    };
    let function = function.map(|function| {
        // SAFETY: as above; the pool got it as a `fn()`.
        unsafe { std::mem::transmute::<*const (), fn()>(ptr::with_exposed_provenance(function)) }
    });
    debug_assert!(result.is_empty() || result.len() == HEADER_SIZE);
    // SAFETY: the two come from one `Entry`, in one frame.
    unsafe { trampoline(function, argument, result) }
}

/// The same for a chunk.
fn run_chunk(
    image: &Image,
    site: ChunkSite,
    items: &[u8],
    result: &mut Vec<u8>,
    journal: &mut dyn wire::Journal,
) -> Result<(), TaskError> {
    let trampoline = image.address_of(site.trampoline).ok_or_else(foreign)?;
    // SAFETY: as in `run`; in a frame of this kind it is the offset of a `ChunkTrampoline`.
    let trampoline = unsafe {
        std::mem::transmute::<*const (), ChunkTrampoline>(ptr::with_exposed_provenance(trampoline))
    };
    let first = usize::try_from(site.first).unwrap_or(usize::MAX);
    trampoline(items, first, result, journal)
}

fn foreign() -> TaskError {
    TaskError::failed("the function is not part of this executable")
}

#[cfg(test)]
mod tests;
