//! The main executable as the loader mapped it.
//!
//! A worker is another run of the executable that made the pool, so a function can be named by its distance from the
//! load address. That holds for the main executable alone: a plug-in or a shared library may be at another distance, or
//! absent, in the worker. This file therefore answers whether an address lies in the main executable's code, and turns
//! it into an offset and back; whose executable this is; and what stands in its array of initialisers, where
//! [`boot`] has put the entry that makes a process a worker.
//!
//! Everything is read from memory by way of `dl_iterate_phdr`, which reports the main executable first. The file on disk
//! is never opened: it may have been replaced or deleted while the program runs. Symbols are not needed, so stripped
//! executables work.
//!
//! Traps:
//!
//! - A number that came over a socket is not an address. [`Image::address_of`] answers only within executable segments;
//!   that a *function* starts there is for the handshake to prove, by [`Image::build_id`].
//! - What the dynamic section holds for `DT_INIT_ARRAY` is relative to the load address, except where a loader has
//!   written absolute addresses over it. Both are tried, and only what lies in a loaded segment is believed.
//! - An executable that is static *and* at a fixed address has no dynamic section. Its C library finds the array by two
//!   symbols of the linker, and so do we; they are asked for only when the C library is linked statically.
//! - Not every linker is told to write a build id. Without one, the index of unwind information stands in for it: it
//!   lists where every function starts, which is what offsets depend on.

use std::{
    error::Error,
    ffi::{c_int, c_void},
    fmt,
    mem::size_of,
    ptr, slice,
    sync::OnceLock,
};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Phdr;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Phdr;

use crate::boot;

/// An entry of the array of initialisers. glibc hands over what `main` gets, and some C++ libraries read it.
#[cfg(target_env = "gnu")]
pub(crate) type InitFn =
    unsafe extern "C" fn(c_int, *const *const std::ffi::c_char, *const *const std::ffi::c_char);

/// An entry of the array of initialisers. Other C libraries, musl among them, call it without arguments.
#[cfg(not(target_env = "gnu"))]
pub(crate) type InitFn = unsafe extern "C" fn();

/// How many bytes identify an executable; see [`Image::build_id`].
pub(crate) const BUILD_ID_LENGTH: usize = 32;

/// How many of them hold the linker's build id. The rest is a hash.
const NOTE_LENGTH: usize = BUILD_ID_LENGTH - size_of::<u64>();

/// Names from `elf.h` that the `libc` crate lacks.
const DT_NULL: usize = 0;
const DT_INIT_ARRAY: usize = 25;
const DT_INIT_ARRAYSZ: usize = 27;
const NT_GNU_BUILD_ID: u32 = 3;

/// Why the main executable cannot be what workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// The loader reports no main executable.
    NoProgramHeaders,
    /// Neither the dynamic section nor the linker's symbols lead to the array of initialisers.
    NoInitArray,
    /// Our entry is not in the array of the main executable: this crate is part of a shared library or a plug-in.
    NotInMainExecutable,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProgramHeaders => "the loader reports no program headers for the main executable",
            Self::NoInitArray => "the main executable has no array of initialisers that can be found",
            Self::NotInMainExecutable => {
                "the process pool is not linked into the main executable but into a shared library, \
                 so that another run of the executable would not become a worker"
            }
        })
    }
}

impl Error for ImageError {}

/// Where the main executable is, and what is in it.
#[derive(Debug)]
pub(crate) struct Image {
    /// What to add to an address in the file to get one in memory; 0 if the executable is not relocatable.
    base: usize,
    headers: &'static [Phdr],
    build_id: [u8; BUILD_ID_LENGTH],
    /// The initialisers in the order in which they run.
    init_array: Option<&'static [Option<InitFn>]>,
}

impl Image {
    /// The main executable, looked up once.
    ///
    /// # Errors
    ///
    /// The loader reports none.
    pub(crate) fn get() -> Result<&'static Self, ImageError> {
        static IMAGE: OnceLock<Result<Image, ImageError>> = OnceLock::new();
        IMAGE.get_or_init(Self::find).as_ref().map_err(|error| *error)
    }

    /// The distance of `address` from where the executable was loaded, or `None` if it is not in the executable's
    /// code: a function of a shared library or a plug-in, or no function at all.
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        let offset = address.wrapping_sub(self.base);
        self.is_code(offset).then_some(offset as u64)
    }

    /// The inverse of [`offset_of`](Self::offset_of), for offsets from elsewhere: `None` if it leads out of the
    /// executable's code.
    pub(crate) fn address_of(&self, offset: u64) -> Option<usize> {
        let offset = usize::try_from(offset).ok()?;
        self.is_code(offset).then(|| self.base.wrapping_add(offset))
    }

    /// What tells this executable from others.
    ///
    /// The first 24 bytes are the linker's build id, cut or filled up with zeros, and all zeros if there is none. The
    /// last 8 are FNV-1a, little-endian, over the program headers (kind, access, place and sizes of each segment) and
    /// all notes; if there is no build id, then also over the index of unwind information. So executables that differ
    /// have ids that differ, short of two that were linked without a build id from functions of the same lengths in
    /// the same order. It does not defend against somebody who wants two to be alike.
    pub(crate) fn build_id(&self) -> [u8; BUILD_ID_LENGTH] {
        self.build_id
    }

    /// Whether another run of this executable comes to our entry.
    ///
    /// # Errors
    ///
    /// It would run `main` instead, and a pool must not start it.
    pub(crate) fn takes_over(&self) -> Result<(), ImageError> {
        self.initialisers_after(boot::slot()).map(|_| ())
    }

    /// The initialisers that run after the one in `slot`, a place in the array. Some linkers leave holes.
    ///
    /// It is the place that is looked for and not the function in it: functions may be merged or duplicated, places
    /// may not.
    ///
    /// # Errors
    ///
    /// `slot` is not in the main executable's array.
    pub(crate) fn initialisers_after(
        &self,
        slot: *const InitFn,
    ) -> Result<&'static [Option<InitFn>], ImageError> {
        let array = self.init_array.ok_or(ImageError::NoInitArray)?;
        let distance = slot.addr().wrapping_sub(array.as_ptr().addr());
        if !distance.is_multiple_of(size_of::<InitFn>()) {
            return Err(ImageError::NotInMainExecutable);
        }
        let index = distance / size_of::<InitFn>();
        array
            .get(index..)
            .and_then(|from_ours| from_ours.get(1..))
            .ok_or(ImageError::NotInMainExecutable)
    }

    fn find() -> Result<Self, ImageError> {
        let (base, headers) = main_program_headers().ok_or(ImageError::NoProgramHeaders)?;
        let mut image = Self { base, headers, build_id: [0; BUILD_ID_LENGTH], init_array: None };
        image.build_id = image.compute_build_id();
        image.init_array = image.find_init_array();
        Ok(image)
    }

    /// Whether `offset` is in an executable segment.
    fn is_code(&self, offset: usize) -> bool {
        self.segments(libc::PT_LOAD).any(|segment| {
            segment.p_flags & libc::PF_X != 0
                && offset.wrapping_sub(size(segment.p_vaddr)) < size(segment.p_memsz)
        })
    }

    fn segments(&self, kind: u32) -> impl Iterator<Item = &'static Phdr> {
        self.headers.iter().filter(move |header| header.p_type == kind)
    }

    /// `count` values at `offset` from the base, if a readable segment holds all of them, and they are aligned.
    ///
    /// # Safety
    ///
    /// What is there must be valid for `T`, and must not change any more.
    unsafe fn values<T>(&self, offset: usize, count: usize) -> Option<&'static [T]> {
        let length = count.checked_mul(size_of::<T>())?;
        let address = self.base.wrapping_add(offset);
        let loaded = self.segments(libc::PT_LOAD).any(|segment| {
            let within = offset.wrapping_sub(size(segment.p_vaddr));
            segment.p_flags & libc::PF_R != 0
                && within <= size(segment.p_memsz)
                && length <= size(segment.p_memsz) - within
        });
        let first = ptr::with_exposed_provenance::<T>(address);
        if !loaded || address == 0 || !first.is_aligned() {
            return None;
        }
        // SAFETY: the main executable's segments stay mapped, this one is readable and holds the values (both just
        // checked), and the caller answers for what they are.
        Some(unsafe { slice::from_raw_parts(first, count) })
    }

    /// The bytes of a segment. Only for what nobody writes to.
    fn bytes(&self, segment: &Phdr) -> &'static [u8] {
        // SAFETY: any byte is valid, and the callers ask for notes and for unwind information, which are read-only.
        unsafe { self.values(size(segment.p_vaddr), size(segment.p_memsz)) }.unwrap_or_default()
    }

    fn compute_build_id(&self) -> [u8; BUILD_ID_LENGTH] {
        let mut hash = Fnv1a::default();
        for header in self.headers {
            hash.write(&header.p_type.to_le_bytes());
            hash.write(&header.p_flags.to_le_bytes());
            hash.write(&header.p_vaddr.to_le_bytes());
            hash.write(&header.p_filesz.to_le_bytes());
            hash.write(&header.p_memsz.to_le_bytes());
        }
        let mut linkers = None;
        for segment in self.segments(libc::PT_NOTE) {
            let notes = self.bytes(segment);
            hash.write(notes);
            linkers = linkers.or_else(|| build_id_note(notes, size(segment.p_align)));
        }
        if linkers.is_none() {
            for segment in self.segments(libc::PT_GNU_EH_FRAME) {
                hash.write(self.bytes(segment));
            }
        }

        let mut id = [0; BUILD_ID_LENGTH];
        let (note, rest) = id.split_at_mut(NOTE_LENGTH);
        for (to, from) in note.iter_mut().zip(linkers.unwrap_or_default()) {
            *to = *from;
        }
        rest.copy_from_slice(&hash.0.to_le_bytes());
        id
    }

    fn find_init_array(&self) -> Option<&'static [Option<InitFn>]> {
        let (offset, length) =
            self.dynamic_init_array().or_else(|| linked::init_array(self.base))?;
        // SAFETY: the loader calls what is in this range, so it holds functions of this kind, or zeros. Relocation
        // was over before the first of them ran, and nothing writes there afterwards.
        unsafe { self.values(offset, length / size_of::<InitFn>()) }
    }

    /// The offset and the length in bytes of the array, as the dynamic section has them.
    fn dynamic_init_array(&self) -> Option<(usize, usize)> {
        let segment = self.segments(libc::PT_DYNAMIC).next()?;
        let count = size(segment.p_memsz) / size_of::<[usize; 2]>();
        // SAFETY: the dynamic section consists of pairs of words. The loader has finished with the executable's own
        // before it runs initialisers; a debugger's entry, which is not read here, may change later.
        let entries: &[[usize; 2]] = unsafe { self.values(size(segment.p_vaddr), count) }?;
        let value = |wanted| {
            let mut entries = entries.iter().take_while(|[tag, _]| *tag != DT_NULL);
            entries.find(|[tag, _]| *tag == wanted).map(|[_, value]| *value)
        };
        let (place, length) = (value(DT_INIT_ARRAY)?, value(DT_INIT_ARRAYSZ)?);
        let is_offset = self
            .segments(libc::PT_LOAD)
            .any(|segment| place.wrapping_sub(size(segment.p_vaddr)) < size(segment.p_memsz));
        // A loader that wrote the absolute address leaves one that is in no segment as an offset.
        Some((if is_offset { place } else { place.wrapping_sub(self.base) }, length))
    }
}

/// The load address and the program headers of the main executable.
fn main_program_headers() -> Option<(usize, &'static [Phdr])> {
    /// Takes the first object that it is called for, which is the main executable, and asks for no more.
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader passes a valid description, for the duration of this call.
        let info = unsafe { &*info };
        // SAFETY: `data` is the `found` below, to which nobody else refers during the call.
        let found = unsafe { &mut *data.cast::<Option<(usize, *const Phdr, usize)>>() };
        *found = Some((size(info.dlpi_addr), info.dlpi_phdr, usize::from(info.dlpi_phnum)));
        1
    }

    let mut found: Option<(usize, *const Phdr, usize)> = None;
    // SAFETY: `first` takes what is passed here, and does not unwind.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut found).cast()) };
    let (base, headers, count) = found?;
    if headers.is_null() || count == 0 {
        return None;
    }
    // SAFETY: the loader says that there are so many headers, and they are part of the main executable's mapping,
    // which is read-only and stays.
    Some((base, unsafe { slice::from_raw_parts(headers, count) }))
}

/// The linker's build id among `notes`.
fn build_id_note(notes: &[u8], alignment: usize) -> Option<&[u8]> {
    // Notes are aligned to 4, except in segments that say 8.
    let padded =
        |length: usize| length.checked_next_multiple_of(if alignment == 8 { 8 } else { 4 });
    let mut rest = notes;
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| {
            let bytes: [u8; 4] = header[at..at + 4].try_into().unwrap_or_default();
            u32::from_ne_bytes(bytes)
        };
        let (name_length, length) = (size(word(0)), size(word(4)));
        // Padding counts from the start of the note, whose header is 12 bytes long.
        let content_at = padded(name_length.checked_add(12)?)? - 12;
        let content = after.get(content_at..content_at.checked_add(length)?)?;
        if word(8) == NT_GNU_BUILD_ID && after.get(..name_length)? == b"GNU\0" {
            return Some(content);
        }
        let next = padded(content_at.checked_add(length)?.checked_add(12)?)? - 12;
        rest = after.get(next..).unwrap_or_default();
    }
    None
}

/// A word of an ELF structure as a size or an address. It fits: the structures are those of this very process.
#[expect(clippy::cast_possible_truncation, reason = "words of the process's own image")]
fn size(word: impl Into<u64>) -> usize {
    word.into() as usize
}

/// 64-bit FNV-1a: short, and the same in every version of this crate and of Rust, as std's hasher is not.
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The array by the linker's own symbols, for executables without a dynamic section.
///
/// Such an executable is linked statically, so others do not even ask for the symbols: a linker that lacks them breaks
/// nobody else's build. The references are weak and hidden, in a word of data: where the linker defines nothing, for
/// example in a shared library, they are zero. Rust has no stable way to say so, hence the assembly. The word's own
/// symbol is weak as well, so that two versions of this crate in one program share it.
#[cfg(target_feature = "crt-static")]
mod linked {
    macro_rules! range_of_init_array {
        ($word:literal) => {
            std::arch::global_asm!(
                ".pushsection .data.rel.ro.concurrent_futures_init_array, \"aw\", %progbits",
                ".balign 8",
                ".weak __init_array_start",
                ".hidden __init_array_start",
                ".weak __init_array_end",
                ".hidden __init_array_end",
                ".weak concurrent_futures_process_pool_init_array",
                ".hidden concurrent_futures_process_pool_init_array",
                "concurrent_futures_process_pool_init_array:",
                concat!($word, " __init_array_start"),
                concat!($word, " __init_array_end"),
                ".popsection",
            );
        };
    }

    #[cfg(target_pointer_width = "64")]
    range_of_init_array!(".quad");
    #[cfg(target_pointer_width = "32")]
    range_of_init_array!(".long");

    unsafe extern "C" {
        /// The start and the end of the array, or zeros.
        static concurrent_futures_process_pool_init_array: [usize; 2];
    }

    /// The offset from `base` and the length in bytes. Not inlined: the symbol is hidden from other shared objects.
    #[inline(never)]
    pub(super) fn init_array(base: usize) -> Option<(usize, usize)> {
        // SAFETY: defined by the assembly above, and never written to after relocation.
        let [start, end] = unsafe { concurrent_futures_process_pool_init_array };
        (start != 0).then(|| (start.wrapping_sub(base), end.saturating_sub(start)))
    }
}

#[cfg(not(target_feature = "crt-static"))]
mod linked {
    pub(super) fn init_array(_base: usize) -> Option<(usize, usize)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> &'static Image {
        Image::get().unwrap()
    }

    #[test]
    fn functions_of_the_executable_have_offsets_and_come_back() {
        let address = functions_of_the_executable_have_offsets_and_come_back as fn() as usize;
        let offset = image().offset_of(address).unwrap();
        assert_eq!(image().address_of(offset), Some(address));
    }

    #[test]
    fn data_heap_and_stack_are_no_code() {
        static DATA: [u8; 4] = [1, 2, 3, 4];
        let (heap, stack) = (Box::new(1_u8), 2_u8);
        for address in [DATA.as_ptr().addr(), (&raw const *heap).addr(), (&raw const stack).addr()]
        {
            assert_eq!(image().offset_of(address), None);
        }
    }

    #[cfg(not(target_feature = "crt-static"))]
    #[test]
    fn functions_of_shared_libraries_have_none() {
        // Asked of the loader, since in the executable itself the name may stand for a stub.
        // SAFETY: the name is a C string.
        let getpid = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getpid".as_ptr()) };
        assert!(!getpid.is_null());
        assert_eq!(image().offset_of(getpid.addr()), None);
    }

    #[test]
    fn offsets_from_elsewhere_are_checked() {
        let code = image().segments(libc::PT_LOAD).find(|it| it.p_flags & libc::PF_X != 0).unwrap();
        let (start, end) = (code.p_vaddr, code.p_vaddr + code.p_memsz);
        assert!(image().address_of(start).is_some());
        assert!(image().address_of(end - 1).is_some());
        for offset in [0, end, u64::MAX, u64::MAX - image().base as u64, 1 << 63] {
            assert_eq!(image().address_of(offset), None, "{offset:#x}");
        }
        if let Some(before) = start.checked_sub(1) {
            assert_eq!(image().address_of(before), None);
        }
    }

    #[test]
    fn the_test_binary_takes_over() {
        assert_eq!(image().takes_over(), Ok(()));
    }

    #[test]
    fn only_places_in_the_array_have_something_after_them() {
        let array = image().init_array.unwrap();
        let first = array.as_ptr().cast::<InitFn>();
        assert_eq!(image().initialisers_after(first).unwrap().len(), array.len() - 1);
        let last = first.wrapping_add(array.len() - 1);
        assert!(image().initialisers_after(last).unwrap().is_empty());
        let crooked = first.wrapping_byte_add(1);
        for slot in [first.wrapping_sub(1), last.wrapping_add(1), crooked, ptr::null()] {
            assert_eq!(
                image().initialisers_after(slot).unwrap_err(),
                ImageError::NotInMainExecutable
            );
        }
    }

    #[test]
    fn the_id_is_not_empty() {
        assert_ne!(image().build_id()[NOTE_LENGTH..], [0; 8]);
    }

    /// A note as linkers write it.
    fn note(name: &[u8], kind: u32, content: &[u8], alignment: usize) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len(), content.len()] {
            note.extend(u32::try_from(word).unwrap().to_ne_bytes());
        }
        note.extend(kind.to_ne_bytes());
        note.extend(name);
        note.resize(note.len().next_multiple_of(alignment), 0);
        note.extend(content);
        note.resize(note.len().next_multiple_of(alignment), 0);
        note
    }

    #[test]
    fn the_build_id_is_found_among_notes() {
        for alignment in [4, 8] {
            let mut notes = note(b"GNU\0", 1, &[0; 16], alignment);
            notes.extend(note(b"Other\0", NT_GNU_BUILD_ID, b"not this", alignment));
            notes.extend(note(b"GNU\0", NT_GNU_BUILD_ID, b"twenty bytes of hash", alignment));
            assert_eq!(build_id_note(&notes, alignment), Some(&b"twenty bytes of hash"[..]));
        }
    }

    #[test]
    fn notes_that_are_cut_or_lie_are_no_build_id() {
        let whole = note(b"GNU\0", NT_GNU_BUILD_ID, b"twenty bytes of hash", 4);
        for length in 0..whole.len() {
            assert_eq!(build_id_note(&whole[..length], 4), None, "{length}");
        }
        for word in 0..2 {
            let mut lies = whole.clone();
            lies[word * 4..word * 4 + 4].fill(0xff);
            assert_eq!(build_id_note(&lies, 4), None);
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = Fnv1a::default();
        hash.write(b"foobar");
        assert_eq!(hash.0, 0x85944171f73967e8);
    }
}
