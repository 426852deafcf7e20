//! The bodies of frames as types, one function to write and one to read for each.

use concurrent_futures_executor::{
    future::{CodecError, Crossing, Panic, TaskError},
    wire::CODEC_ID,
};

use crate::{
    frame::{Fields, Frame, FrameBuilder, HEADER_SIZE, Header, Kind, ProtocolError},
    image::{BUILD_ID_LENGTH, Image},
};

/// Texts in frames are cut off here, so that the whole stays below what a frame may be.
const MESSAGE_MAX: usize = 64 * 1024;
const BACKTRACE_MAX: usize = 512 * 1024;

/// A call as it travels: where the code is in the executable, and the encoded argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallSite {
    /// The offset of the trampoline.
    pub(crate) trampoline: u64,
    /// The offset of the function, if it is not known by the trampoline; otherwise 0, where no function is.
    pub(crate) function: u64,
}

impl CallSite {
    pub(crate) fn write(self, frame: FrameBuilder) -> FrameBuilder {
        frame.u64(self.trampoline).u64(self.function)
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, ProtocolError> {
        Ok(Self { trampoline: fields.u64()?, function: fields.u64()? })
    }
}

/// A chunk as it travels: a call for each of its items, the encoded list of which comes after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkSite {
    /// The offset of the trampoline, which knows the function.
    pub(crate) trampoline: u64,
    pub(crate) items: u64,
    /// The first item that is to be run. What came of those before it is known.
    pub(crate) first: u64,
}

impl ChunkSite {
    /// Where `first` is in a frame.
    const FIRST_AT: usize = HEADER_SIZE + 16;

    pub(crate) fn write(self, frame: FrameBuilder) -> FrameBuilder {
        frame.u64(self.trampoline).u64(self.items).u64(self.first)
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, ProtocolError> {
        Ok(Self { trampoline: fields.u64()?, items: fields.u64()?, first: fields.u64()? })
    }

    /// What a complete frame says. `None` if it is not that of a chunk.
    pub(crate) fn of_frame(frame: &[u8]) -> Option<Self> {
        let (header, body) = frame.split_first_chunk()?;
        let header = Header::parse_placed(*header).ok()?;
        if header.kind != Kind::Chunk {
            return None;
        }
        Self::read(&mut Fields(body)).ok()
    }

    /// Has the frame of a chunk say another first item.
    pub(crate) fn go_on_with(frame: &mut [u8], first: u64) {
        if let Some(field) = frame.get_mut(Self::FIRST_AT..Self::FIRST_AT + 8) {
            field.copy_from_slice(&first.to_le_bytes());
        }
    }
}

/// A call, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) site: CallSite,
    pub(crate) argument: Vec<u8>,
}

fn write_optional_call(frame: FrameBuilder, call: Option<&Call>) -> FrameBuilder {
    let Some(call) = call else { return frame.u8(0) };
    let mut frame = call.site.write(frame.u8(1));
    frame.body().extend_from_slice(&call.argument);
    frame
}

fn read_optional_call(mut fields: Fields<'_>) -> Result<Option<Call>, ProtocolError> {
    if fields.u8()? == 0 {
        fields.end()?;
        return Ok(None);
    }
    let site = CallSite::read(&mut fields)?;
    Ok(Some(Call { site, argument: fields.rest().to_vec() }))
}

/// What a worker has to know before its first task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configure {
    /// The pool's. A worker of another executable believes nothing of this.
    pub(crate) build_id: [u8; BUILD_ID_LENGTH],
    /// How many bytes of stack tasks have.
    pub(crate) stack_size: u64,
    /// Whether tasks come through shared memory, whose descriptor travels with the frame.
    pub(crate) shared_memory: bool,
    /// What is to be done before the first task.
    pub(crate) initializer: Option<Call>,
}

impl Configure {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let frame = FrameBuilder::new(Kind::Configure, 0)
            .array(self.build_id)
            .u64(self.stack_size)
            .u8(self.shared_memory.into());
        write_optional_call(frame, self.initializer.as_ref()).finish()
    }

    /// Reads it, and checks that it is from a process of the same executable.
    pub(crate) fn decode(frame: &Frame, image: &Image) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let build_id = own_build_id(&mut fields, image)?;
        let (stack_size, shared_memory) = (fields.u64()?, fields.u8()? != 0);
        Ok(Self { build_id, stack_size, shared_memory, initializer: read_optional_call(fields)? })
    }
}

/// How workers come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// The fork server forks.
    Fork,
    /// It executes the program once more after forking.
    Execute,
}

/// What the fork server has to know before it starts the first worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepare {
    /// The pool's. A server of another executable believes nothing of this.
    pub(crate) build_id: [u8; BUILD_ID_LENGTH],
    pub(crate) method: Method,
    /// What is to be done once, for all workers.
    pub(crate) preload: Option<Call>,
}

impl Prepare {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let method = match self.method {
            Method::Fork => 1,
            Method::Execute => 2,
        };
        let frame = FrameBuilder::new(Kind::Prepare, 0).array(self.build_id).u8(method);
        write_optional_call(frame, self.preload.as_ref()).finish()
    }

    /// Reads it, and checks that it is from a process of the same executable.
    pub(crate) fn decode(frame: &Frame, image: &Image) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let build_id = own_build_id(&mut fields, image)?;
        let method = match fields.u8()? {
            1 => Method::Fork,
            2 => Method::Execute,
            other => return Err(ProtocolError(format!("start method {other}"))),
        };
        Ok(Self { build_id, method, preload: read_optional_call(fields)? })
    }
}

/// A signal for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// For all processes of its group, or for it alone.
    pub(crate) group: bool,
}

impl Signal {
    pub(crate) fn encode(self, worker: u64) -> Vec<u8> {
        FrameBuilder::new(Kind::Signal, worker)
            .array(self.number.to_le_bytes())
            .u8(self.group.into())
            .finish()
    }

    pub(crate) fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let signal = Self { number: fields.i32()?, group: fields.u8()? != 0 };
        fields.end()?;
        Ok(signal)
    }
}

/// Who speaks: the first frame of the fork server and of every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) codec: u8,
    pub(crate) pid: u32,
    pub(crate) build_id: [u8; BUILD_ID_LENGTH],
}

impl Hello {
    /// What this process says of itself.
    pub(crate) fn own(image: &Image) -> Self {
        Self { codec: CODEC_ID, pid: std::process::id(), build_id: image.build_id() }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        FrameBuilder::new(Kind::Hello, 0).u8(self.codec).u32(self.pid).array(self.build_id).finish()
    }

    /// Reads it, and checks that it is from a process of the same executable.
    pub(crate) fn decode(frame: &Frame, image: &Image) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let hello = Self { codec: fields.u8()?, pid: fields.u32()?, build_id: fields.array()? };
        fields.end()?;
        if hello.codec != CODEC_ID {
            return Err(ProtocolError(format!(
                "it encodes values with codec {}, and this program with codec {CODEC_ID}",
                hello.codec
            )));
        }
        if hello.build_id != image.build_id() {
            return Err(other_executable());
        }
        Ok(hello)
    }
}

fn other_executable() -> ProtocolError {
    let what = "it is another executable than this program: the file was replaced";
    ProtocolError(what.to_owned())
}

fn own_build_id(
    fields: &mut Fields<'_>,
    image: &Image,
) -> Result<[u8; BUILD_ID_LENGTH], ProtocolError> {
    let build_id = fields.array()?;
    if build_id == image.build_id() { Ok(build_id) } else { Err(other_executable()) }
}

/// Writes down why a task failed, or a worker could not be made ready.
pub(crate) fn encode_failure(kind: Kind, id: u64, error: &TaskError) -> Vec<u8> {
    let frame = FrameBuilder::new(kind, id);
    match error {
        TaskError::Panicked(panic) => {
            let optional = |frame: FrameBuilder, text: Option<&str>, max| match text {
                Some(text) => frame.u8(1).text(text, max),
                None => frame.u8(0),
            };
            let frame = frame.u8(1).text(panic.message(), MESSAGE_MAX);
            let frame = optional(frame, panic.location(), MESSAGE_MAX);
            optional(frame, panic.backtrace(), BACKTRACE_MAX)
        }
        TaskError::Codec(codec) => {
            let crossing = match codec.crossing() {
                Crossing::EncodeArgument => 1,
                Crossing::DecodeArgument => 2,
                Crossing::EncodeResult => 3,
                _ => 4,
            };
            let source = std::error::Error::source(codec).map(with_sources).unwrap_or_default();
            frame.u8(2).u8(crossing).text(codec.type_name(), MESSAGE_MAX).text(&source, MESSAGE_MAX)
        }
        other => frame.u8(3).text(&with_sources(other), MESSAGE_MAX),
    }
    .finish()
}

/// The other way round.
pub(crate) fn decode_failure(frame: &Frame) -> Result<TaskError, ProtocolError> {
    fn optional(fields: &mut Fields<'_>) -> Result<Option<String>, ProtocolError> {
        if fields.u8()? == 0 { Ok(None) } else { fields.text().map(Some) }
    }
    let mut fields = Fields(&frame.body);
    let error = match fields.u8()? {
        1 => {
            let message = fields.text()?;
            let location = optional(&mut fields)?;
            TaskError::Panicked(Panic::from_parts(message, location, optional(&mut fields)?))
        }
        2 => {
            let crossing = match fields.u8()? {
                1 => Crossing::EncodeArgument,
                2 => Crossing::DecodeArgument,
                3 => Crossing::EncodeResult,
                4 => Crossing::DecodeResult,
                other => return Err(ProtocolError(format!("crossing {other}"))),
            };
            let type_name = fields.text()?;
            TaskError::Codec(CodecError::new(crossing, type_name, fields.text()?))
        }
        3 => TaskError::failed(fields.text()?),
        other => return Err(ProtocolError(format!("failure {other}"))),
    };
    fields.end()?;
    Ok(error)
}

/// An error in its own words and those of all behind it.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// What a worker says with its last breath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastWords {
    StackOverflow,
}

impl LastWords {
    pub(crate) fn encode(self) -> Vec<u8> {
        FrameBuilder::new(Kind::LastWords, 0).u8(1).finish()
    }

    pub(crate) fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let words = match fields.u8()? {
            1 => Self::StackOverflow,
            other => return Err(ProtocolError(format!("last words {other}"))),
        };
        fields.end()?;
        Ok(words)
    }
}

/// How a process ended, as its parent learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exited(i32),
    Signaled(i32),
    /// Somebody else has reaped it.
    Unknown,
}

impl Ending {
    pub(crate) fn encode(self, worker: u64) -> Vec<u8> {
        let (how, value) = match self {
            Self::Exited(code) => (1, code),
            Self::Signaled(signal) => (2, signal),
            Self::Unknown => (3, 0),
        };
        FrameBuilder::new(Kind::Ended, worker).u8(how).array(value.to_le_bytes()).finish()
    }

    pub(crate) fn decode(frame: &Frame) -> Result<Self, ProtocolError> {
        let mut fields = Fields(&frame.body);
        let (how, value) = (fields.u8()?, fields.i32()?);
        fields.end()?;
        match how {
            1 => Ok(Self::Exited(value)),
            2 => Ok(Self::Signaled(value)),
            3 => Ok(Self::Unknown),
            other => Err(ProtocolError(format!("ending {other}"))),
        }
    }
}

#[cfg(test)]
mod tests;
