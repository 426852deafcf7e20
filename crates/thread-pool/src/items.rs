//! What `map_vec` takes its items from: things of which any worker can have any part at once.
//!
//! An iterator yields one item after another, so somebody would have to read it for everybody else, which for cheap calls
//! takes longer than the calls. Of what is here, each part can be had by itself.

#![expect(unnameable_types, reason = "users name `Items`, and nobody else is to implement it")]

use std::{
    iter::FusedIterator,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Range, RangeInclusive},
    ptr, slice,
};

/// Items that workers can divide among themselves, for [`map_vec`](crate::ThreadPoolExecutor::map_vec): those of a vector, a box or
/// an array, references to those of a slice, or integers in a range.
///
/// Nobody else can implement it. Items from elsewhere are collected into a vector first.
#[diagnostic::on_unimplemented(
    message = "the items of `{Self}` cannot be divided among workers",
    label = "must be a vector, a boxed slice, an array, a reference to one of these, or a range of integers",
    note = "collect an iterator into a `Vec` first, or use `map`, which takes any iterator"
)]
pub trait Items: Source {}

/// What only this crate can implement.
///
/// # Safety
///
/// A chunk yields as many items as its range has, no more.
pub unsafe trait Source: Sized {
    /// What the function is called with.
    type Item: Send;
    /// What chunks are taken of. If it is dropped, items that were not taken are leaked.
    type Parts: Sync;
    /// Some of the items, in order. Dropping it drops those that it has not yielded.
    type Chunk: Iterator<Item = Self::Item>;

    /// How many items there are, and what chunks are taken of.
    fn divide(self) -> (usize, Self::Parts);

    /// The items of a range.
    ///
    /// # Safety
    ///
    /// There are these items, none of them was asked for before, and the parts are there for as long as the chunk is.
    unsafe fn chunk(parts: &Self::Parts, range: Range<usize>) -> Self::Chunk;

    /// Drops the items from this one on.
    ///
    /// # Safety
    ///
    /// Exactly the items before it were asked for, and all chunks are gone.
    unsafe fn finish(parts: Self::Parts, first: usize);
}

/// A vector that does not know which of its items were taken.
#[derive(Debug)]
pub struct Taken<T>(ManuallyDrop<Vec<T>>);

// SAFETY: whoever shares it takes items out of it, none twice, and sees none in its place.
unsafe impl<T: Send> Sync for Taken<T> {}

/// Items that are moved out of a vector.
#[derive(Debug)]
pub struct Moved<T> {
    next: *mut T,
    left: usize,
    items: PhantomData<T>,
}

impl<T> Iterator for Moved<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.left == 0 {
            return None;
        }
        let next = self.next;
        self.left -= 1;
        // SAFETY: at most one past the items of the chunk.
        self.next = unsafe { next.add(1) };
        // SAFETY: it is an item of the chunk, which nobody else has, and is not going to be looked at again.
        Some(unsafe { next.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> FusedIterator for Moved<T> {}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        let left = ptr::slice_from_raw_parts_mut(self.next, self.left);
        // SAFETY: these items are the chunk's, and have not been yielded.
        unsafe { left.drop_in_place() };
    }
}

impl<T: Send> Items for Vec<T> {}

// SAFETY: `Moved` counts.
unsafe impl<T: Send> Source for Vec<T> {
    type Item = T;
    type Parts = Taken<T>;
    type Chunk = Moved<T>;

    fn divide(self) -> (usize, Taken<T>) {
        (self.len(), Taken(ManuallyDrop::new(self)))
    }

    unsafe fn chunk(parts: &Taken<T>, range: Range<usize>) -> Moved<T> {
        let items = parts.0.as_ptr().cast_mut();
        // SAFETY: it is within the vector, says the caller.
        let next = unsafe { items.add(range.start) };
        Moved { next, left: range.len(), items: PhantomData }
    }

    unsafe fn finish(parts: Taken<T>, first: usize) {
        let mut items = ManuallyDrop::into_inner(parts.0);
        let left = Moved {
            // SAFETY: at most one past the last item.
            next: unsafe { items.as_mut_ptr().add(first) },
            left: items.len() - first,
            items: PhantomData,
        };
        // SAFETY: none is none. All of them belong to somebody else.
        unsafe { items.set_len(0) };
        drop(left);
    }
}

impl<T: Sync> Items for &[T] {}

// SAFETY: the chunk is a slice of the range's length.
unsafe impl<'a, T: Sync> Source for &'a [T] {
    type Item = &'a T;
    type Parts = &'a [T];
    type Chunk = slice::Iter<'a, T>;

    fn divide(self) -> (usize, &'a [T]) {
        (self.len(), self)
    }

    unsafe fn chunk(parts: &&'a [T], range: Range<usize>) -> slice::Iter<'a, T> {
        parts[range].iter()
    }

    unsafe fn finish(_parts: &'a [T], _first: usize) {}
}

/// A slice of which everybody may change a part.
#[derive(Debug)]
pub struct Divided<'a, T> {
    items: *mut T,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: whoever shares it borrows items out of it, none twice.
unsafe impl<T: Send> Sync for Divided<'_, T> {}

impl<T: Send> Items for &mut [T] {}

// SAFETY: the chunk is a slice of the range's length.
unsafe impl<'a, T: Send> Source for &'a mut [T] {
    type Item = &'a mut T;
    type Parts = Divided<'a, T>;
    type Chunk = slice::IterMut<'a, T>;

    fn divide(self) -> (usize, Divided<'a, T>) {
        (self.len(), Divided { items: self.as_mut_ptr(), slice: PhantomData })
    }

    unsafe fn chunk(parts: &Divided<'a, T>, range: Range<usize>) -> slice::IterMut<'a, T> {
        // SAFETY: it is within the slice, says the caller.
        let first = unsafe { parts.items.add(range.start) };
        // SAFETY: that part of the slice is lent to nobody else.
        unsafe { slice::from_raw_parts_mut(first, range.len()) }.iter_mut()
    }

    unsafe fn finish(_parts: Divided<'a, T>, _first: usize) {}
}

/// Items that are those of something else, once it has been converted.
macro_rules! converted {
    ($([$($generics:tt)*] $from:ty => $to:ty, $convert:expr;)+) => {$(
        impl<$($generics)*> Items for $from {}

        // SAFETY: it is left to the other.
        unsafe impl<$($generics)*> Source for $from {
            type Item = <$to as Source>::Item;
            type Parts = <$to as Source>::Parts;
            type Chunk = <$to as Source>::Chunk;

            fn divide(self) -> (usize, Self::Parts) {
                let convert: fn(Self) -> $to = $convert;
                convert(self).divide()
            }

            unsafe fn chunk(parts: &Self::Parts, range: Range<usize>) -> Self::Chunk {
                // SAFETY: by the caller's word.
                unsafe { <$to>::chunk(parts, range) }
            }

            unsafe fn finish(parts: Self::Parts, first: usize) {
                // SAFETY: by the caller's word.
                unsafe { <$to>::finish(parts, first) }
            }
        }
    )+};
}

converted! {
    [T: Send] Box<[T]> => Vec<T>, Vec::from;
    [T: Send, const N: usize] [T; N] => Vec<T>, Vec::from;
    ['a, T: Sync] &'a Vec<T> => &'a [T], |items| items;
    ['a, T: Sync, const N: usize] &'a [T; N] => &'a [T], |items| items;
    ['a, T: Send] &'a mut Vec<T> => &'a mut [T], |items| items;
    ['a, T: Send, const N: usize] &'a mut [T; N] => &'a mut [T], |items| items;
}

/// What ranges may be of.
pub trait Integer: Copy + Send + Sync {
    /// The integer that comes so many places after this one, and is one of this type.
    fn after(self, places: usize) -> Self;
}

macro_rules! integers {
    ($($integer:ident),+) => {$(
        impl Integer for $integer {
            #[inline]
            fn after(self, places: usize) -> Self {
                #[allow(clippy::cast_possible_truncation, reason = "not for every type; see below")]
                let places = places as Self;
                // The places may have wrapped around, if the type is narrow or signed; then so does the sum, to where it should be.
                self.wrapping_add(places)
            }
        }
    )+};
}

integers!(u8, i8, u16, i16, u32, i32, u64, i64, usize, isize);

/// Some of the integers of a range.
#[derive(Debug)]
pub struct Integers<T> {
    /// The first of all, from which places are counted.
    first: T,
    places: Range<usize>,
}

impl<T: Integer> Iterator for Integers<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.places.next().map(|places| self.first.after(places))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl<T: Integer> FusedIterator for Integers<T> {}

/// How many items a range has, by its word.
fn length((length, exactly): (usize, Option<usize>)) -> usize {
    assert!(exactly.is_some(), "a vector has room for no more than `usize::MAX` items");
    length
}

impl<T: Integer> Items for Range<T> where Self: Iterator<Item = T> {}

// SAFETY: a chunk has an integer for each place. (A range that were wrong about its length would be none of the standard library.)
unsafe impl<T: Integer> Source for Range<T>
where
    Self: Iterator<Item = T>,
{
    type Item = T;
    type Parts = T;
    type Chunk = Integers<T>;

    fn divide(self) -> (usize, T) {
        (length(self.size_hint()), self.start)
    }

    unsafe fn chunk(parts: &T, range: Range<usize>) -> Integers<T> {
        Integers { first: *parts, places: range }
    }

    unsafe fn finish(_parts: T, _first: usize) {}
}

impl<T: Integer> Items for RangeInclusive<T> where Self: Iterator<Item = T> {}

// SAFETY: as for the other kind of range.
unsafe impl<T: Integer> Source for RangeInclusive<T>
where
    Self: Iterator<Item = T>,
{
    type Item = T;
    type Parts = T;
    type Chunk = Integers<T>;

    fn divide(self) -> (usize, T) {
        (length(self.size_hint()), *self.start())
    }

    unsafe fn chunk(parts: &T, range: Range<usize>) -> Integers<T> {
        Integers { first: *parts, places: range }
    }

    unsafe fn finish(_parts: T, _first: usize) {}
}
