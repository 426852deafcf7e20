//! Chunks run and put together again in one process, cut off anywhere, and bytes that are nonsense.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Bytes, codec::Bincode, out_of_band::out_of_band};

/// A journal in memory.
#[derive(Clone, Debug, Default)]
struct Notes {
    begun: bool,
    values: Vec<u8>,
    failures: Vec<u8>,
    items: usize,
}

impl Journal for Notes {
    fn begin(&mut self) {
        *self = Self { begun: true, ..Self::default() };
    }

    fn item_done(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.items += 1;
    }

    fn item_failed(&mut self, failure: &[u8]) {
        self.failures.extend_from_slice(failure);
        self.items += 1;
    }
}

/// A journal that remembers what it was after each item.
#[derive(Default)]
struct History(Notes, Vec<Notes>);

impl Journal for History {
    fn begin(&mut self) {
        self.0.begin();
        self.1 = vec![self.0.clone()];
    }

    fn item_done(&mut self, value: &[u8]) {
        self.0.item_done(value);
        self.1.push(self.0.clone());
    }

    fn item_failed(&mut self, failure: &[u8]) {
        self.0.item_failed(failure);
        self.1.push(self.0.clone());
    }
}

/// Cannot be encoded if it is of a number that ends with 7, and only half of it is written then.
#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Fragile(String);

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeTuple};
        if !self.0.ends_with('7') {
            return self.0.serialize(serializer);
        }
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element("half of it")?;
        Err(S::Error::custom("not this one"))
    }
}

/// Panics for numbers that end with 3.
fn call(n: u64) -> Fragile {
    assert!(n % 10 != 3, "{n} is unlucky");
    Fragile("x".repeat(usize::try_from(n % 5).unwrap()) + &n.to_string())
}

fn argument(items: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Bincode::encode(&items.to_vec(), &mut bytes).unwrap();
    bytes
}

fn run_from(items: &[u64], first: usize, journal: &mut dyn Journal) -> Vec<u8> {
    let mut answer = b"before".to_vec();
    run::<Bincode, u64, Fragile>(call, &argument(items), first, &mut answer, journal).unwrap();
    assert!(answer.starts_with(b"before"));
    answer.split_off(6)
}

/// What there is to be said of each item.
fn outcomes(output: ChunkOutput<Fragile>) -> Vec<Result<String, String>> {
    let mut outcomes: Vec<_> = output.values.into_iter().map(|value| Ok(value.0)).collect();
    for (item, error) in output.failures {
        let text = match &error {
            TaskError::Codec(error) => format!("{error:?}"),
            error => error.to_string(),
        };
        outcomes.insert(item, Err(text));
    }
    outcomes
}

fn check(outcomes: &[Result<String, String>], items: &[u64], lost: &[usize]) {
    assert_eq!(outcomes.len(), items.len());
    for (index, (outcome, n)) in outcomes.iter().zip(items).enumerate() {
        match outcome {
            Err(error) if lost.contains(&index) => assert_eq!(error, "lost"),
            Err(error) if n % 10 == 3 => assert!(error.contains("is unlucky"), "{error}"),
            Err(error) => {
                let words = ["EncodeResult", "Fragile", "not this one"];
                assert!(n % 10 == 7 && words.iter().all(|word| error.contains(word)), "{error}");
            }
            Ok(value) => assert!(value.ends_with(&n.to_string()) && !lost.contains(&index)),
        }
    }
}

#[test]
fn what_came_of_each_item_is_read_again() {
    let numbers: Vec<u64> = (0..40).collect();
    for items in [&[][..], &[1], &[3], &[7], &[3, 7], &[3, 3, 7, 7, 1], &numbers] {
        let mut notes = Notes::default();
        let answer = run_from(items, 0, &mut notes);
        assert!(notes.begun && notes.items == items.len());
        let output = read::<Bincode, Fragile>(&answer, None).unwrap();
        assert!(output.nanos.is_some());
        check(&outcomes(output), items, &[]);
    }
}

/// A chunk of one item is read in the same way; what fails, fails as the task.
#[test]
fn a_single_item_is_a_task() {
    let run = |items: &[u64]| {
        let mut answer = b"before".to_vec();
        let argument: Vec<_> = items.iter().copied().flat_map(u64::to_le_bytes).collect();
        let outcome = run_single::<Bincode, u64, Fragile>(call, &argument, &mut answer);
        (outcome, answer.split_off(6))
    };
    let (outcome, answer) = run(&[14]);
    outcome.unwrap();
    let output = read::<Bincode, Fragile>(&answer, None).unwrap();
    assert!(output.nanos.is_some());
    check(&outcomes(output), &[14], &[]);
    for (items, words) in [
        (&[3][..], "3 is unlucky"),
        (&[7], "not this one"),
        (&[], "DecodeArgument"),
        (&[1, 2], "DecodeArgument"),
    ] {
        let (outcome, answer) = run(items);
        let error = format!("{:?}", outcome.unwrap_err());
        assert!(error.contains(words), "{error}");
        assert!(answer.is_empty());
    }
}

/// New buffers are in the encoding of a value that is kept by itself, and beside that of a single one; those of the argument
/// are named in both.
#[test]
fn buffers_in_results_are_where_they_belong() {
    let (given, new) = (Bytes::from(vec![1; 20_000]), Bytes::from(vec![2; 20_000]));
    let call = |n: usize| (given.slice(n..), new.clone());
    let mut two = Vec::new();
    Bincode::encode(&vec![0_usize, 1], &mut two).unwrap();
    for count in [1, 2] {
        let mut answer = Vec::new();
        let run = || match count {
            1 => run_single::<Bincode, _, _>(call, &0_u64.to_le_bytes(), &mut answer),
            _ => run::<Bincode, _, _>(call, &two, 0, &mut answer, &mut ()),
        };
        let argument = vec![given.clone()];
        let (outcome, outgoing) = out_of_band(Vec::new(), argument.clone(), run);
        outcome.unwrap();
        assert_eq!((outgoing.len(), answer.len() > 20_000), (2 - count, count == 2));
        let read = || read::<Bincode, (Bytes, Bytes)>(&answer, None);
        let output = out_of_band(outgoing, argument, read).0.unwrap();
        // 0.25 ns a byte.
        assert!(output.nanos >= Some(5000));
        for (n, (part, other)) in output.values.into_iter().enumerate() {
            assert!(std::ptr::eq(part.as_slice(), &raw const given[n..]) && other == new);
        }
    }
}

/// A worker dies on any item, and so does the one that goes on; and a third one comes to the end.
#[test]
fn parts_are_put_together_wherever_they_were_cut() {
    let items: Vec<u64> = (0..25).collect();
    let mut first = History::default();
    let _answer = run_from(&items, 0, &mut first);
    for at in 0..items.len() {
        let mut second = History::default();
        let answer = run_from(&items, at + 1, &mut second);
        for (done, part) in second.1.iter().enumerate() {
            let mut kept = Kept::new(items.len());
            assert!(!kept.has_any());
            let begin = &first.1[at];
            assert!(kept.add(&begin.values, &begin.failures, begin.items));
            kept.lose(TaskError::failed("lost"));
            assert!(kept.has_lost() && kept.has_any());
            assert!(kept.add(&part.values, &part.failures, part.items));
            let next = at + 1 + done;
            let mut lost = vec![at];
            let mut answer = answer.clone();
            if next < items.len() {
                kept.lose(TaskError::failed("lost"));
                lost.push(next);
                answer = run_from(&items, next + 1, &mut ());
            }
            if next + 1 >= items.len() {
                // Nobody has anything left to answer.
                answer.clear();
            }
            let output = read::<Bincode, Fragile>(&answer, Some(kept)).unwrap();
            assert!(output.nanos.is_none());
            check(&outcomes(output), &items, &lost);
        }
    }
}

#[test]
fn what_is_left_can_be_lost_at_once() {
    let items: Vec<u64> = (0..25).collect();
    let mut history = History::default();
    let _answer = run_from(&items, 0, &mut history);
    for (done, notes) in history.1.iter().enumerate() {
        let mut kept = Kept::new(items.len());
        assert!(kept.add(&notes.values, &notes.failures, notes.items));
        kept.lose_rest(&TaskError::failed("lost"));
        let output = read::<Bincode, Fragile>(&[], Some(kept)).unwrap();
        check(&outcomes(output), &items, &(done..25).collect::<Vec<_>>());
    }
}

/// The failure of an item is there before it is said that the item is done.
#[test]
fn a_failure_too_many_is_left_out() {
    let items = [1, 3, 2, 3];
    let mut notes = Notes::default();
    let _answer = run_from(&items, 0, &mut notes);
    let mut kept = Kept::new(4);
    assert!(kept.add(&notes.values, &notes.failures, 3));
    kept.lose(TaskError::failed("lost"));
    let output = read::<Bincode, Fragile>(&[], Some(kept)).unwrap();
    check(&outcomes(output), &items, &[3]);
}

#[test]
fn items_that_cannot_be_decoded_fail_the_chunk() {
    let mut notes = Notes::default();
    let mut answer = b"before".to_vec();
    let bytes = [1, 2, 3];
    let error = run::<Bincode, u64, Fragile>(call, &bytes, 0, &mut answer, &mut notes).unwrap_err();
    assert!(matches!(error, TaskError::Codec(_)), "{error:?}");
    assert!(!notes.begun && answer == b"before");
}

/// Every cut, every other byte in every place: an output or an error, and never more items than bytes.
#[test]
fn nonsense_is_refused() {
    let items: Vec<u64> = (0..12).collect();
    let mut notes = Notes::default();
    let answer = run_from(&items, 0, &mut notes);
    for length in 0..answer.len() {
        assert!(read::<Bincode, Fragile>(&answer[..length], None).is_err(), "{length}");
    }
    let check = |output: Result<ChunkOutput<Fragile>, CodecError>| {
        let Ok(output) = output else { return };
        let places: Vec<_> = output.failures.iter().map(|(item, _)| *item).collect();
        assert!(places.is_sorted() && places.last().is_none_or(|last| *last < output.len()));
        assert!(output.len() <= answer.len());
    };
    for at in 0..answer.len() {
        for other in [0, 1, 0x7f, 0x80, 0xff, answer[at] ^ 1, answer[at].wrapping_add(1)] {
            let mut bytes = answer.clone();
            bytes[at] = other;
            check(read::<Bincode, Fragile>(&bytes, None));
        }
    }
    for (values, failures) in [(&notes.values, true), (&notes.failures, false)] {
        for at in 0..=values.len() {
            for items in [0, 1, 11, 12, 13, usize::MAX] {
                let mut bytes = values[..at].to_vec();
                for _ in 0..2 {
                    let mut kept = Kept::new(12);
                    let is_kept = if failures {
                        kept.add(&bytes, &notes.failures, items)
                    } else {
                        kept.add(&notes.values, &bytes, items)
                    };
                    assert!(!is_kept || items <= 12);
                    kept.lose_rest(&TaskError::failed("lost"));
                    check(read::<Bincode, Fragile>(&[], Some(kept)));
                    if let Some(last) = bytes.last_mut() {
                        *last ^= 0x55;
                    }
                }
            }
        }
    }
}

/// As many values as a forged number says, none of which takes a byte.
#[test]
fn values_without_bytes_are_not_endless() {
    let mut answer = u64::MAX.to_le_bytes().to_vec();
    answer.resize(HEAD_SIZE, 0);
    assert!(read::<Bincode, ()>(&answer, None).is_err());
    answer[..8].copy_from_slice(&1000_u64.to_le_bytes());
    assert_eq!(read::<Bincode, ()>(&answer, None).unwrap().values.len(), 1000);
}
