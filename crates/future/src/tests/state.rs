//! The transition table of the state word, for every state, every transition and every combination of flags.

use crate::state::{Cancel, Snapshot, Start, State, StateWord};

/// Every flag that can be set on a word from outside, by the method that sets it.
const FLAGS: [fn(&StateWord); 4] = [
    |word| _ = word.announce_waiter(),
    |word| _ = word.abandon(),
    |word| _ = word.observe(),
    |word| _ = word.claim_value(),
];

/// What the flags of a word say. `TAKEN` alone cannot be read without being set; `has_value` tells of it.
fn flags(now: Snapshot) -> (bool, bool, bool) {
    (now.has_waiters(), now.is_abandoned(), now.is_observed())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Pending,
    Sent,
    Running,
    Cancelled,
    Finished,
    Failed,
}

const ALL: [From; 6] =
    [From::Pending, From::Sent, From::Running, From::Cancelled, From::Finished, From::Failed];

impl From {
    fn reach(self, word: &StateWord) {
        match self {
            Self::Pending => {}
            Self::Sent => assert!(word.send()),
            Self::Running => assert!(matches!(word.transition_to_running(), Start::Run(_))),
            Self::Cancelled => assert!(matches!(word.transition_to_cancelled(), Cancel::Won(_))),
            Self::Finished | Self::Failed => {
                Self::Running.reach(word);
                let before = word.transition_to_finished(self == Self::Failed);
                assert_eq!(before.state(), State::Running);
            }
        }
    }

    fn state(self) -> State {
        match self {
            Self::Pending | Self::Sent => State::Pending,
            Self::Running => State::Running,
            Self::Cancelled => State::Cancelled,
            Self::Finished | Self::Failed => State::Finished,
        }
    }
}

/// Calls `check` for every state that was reached with every combination of flags set before, and after.
fn for_all_words(check: impl Fn(From, u32, &StateWord)) {
    for from in ALL {
        for before in 0..1_u32 << FLAGS.len() {
            for after in 0..1_u32 << FLAGS.len() {
                let word = StateWord::new();
                set(&word, before);
                from.reach(&word);
                set(&word, after);
                check(from, before | after, &word);
            }
        }
    }
}

fn set(word: &StateWord, which: u32) {
    for (index, flag) in FLAGS.iter().enumerate() {
        if which & (1 << index) != 0 {
            flag(word);
        }
    }
}

fn expected(which: u32) -> (bool, bool, bool) {
    (which & 1 != 0, which & 2 != 0, which & 4 != 0)
}

#[test]
fn a_new_word_is_pending_without_flags() {
    let now = StateWord::new().load();
    assert_eq!((now.state(), now.is_done()), (State::Pending, false));
    assert_eq!(flags(now), (false, false, false));
    assert!(!now.is_failed() && !now.has_value());
}

#[test]
fn states_and_flags_do_not_disturb_one_another() {
    for_all_words(|from, which, word| {
        let now = word.load();
        assert_eq!(now.state(), from.state());
        assert_eq!(flags(now), expected(which), "{from:?} {which:b}");
        assert_eq!(now.is_done(), matches!(now.state(), State::Cancelled | State::Finished));
        assert_eq!(now.is_failed(), from == From::Failed);
        assert_eq!(now.is_sent(), from == From::Sent);
        let taken = which & 8 != 0;
        assert_eq!(now.has_value(), from == From::Finished && !taken);
    });
}

#[test]
fn start_wins_from_pending_alone() {
    for_all_words(|from, which, word| {
        let start = word.transition_to_running();
        match (from, start) {
            (From::Pending, Start::Run(before)) => {
                assert_eq!((before.state(), flags(before)), (State::Pending, expected(which)));
                assert_eq!(word.load().state(), State::Running);
            }
            (From::Cancelled, Start::Cancelled) => {}
            (From::Sent | From::Running | From::Finished | From::Failed, Start::Taken(state)) => {
                assert_eq!(state, from.state());
            }
            (from, _) => panic!("wrong answer from {from:?}"),
        }
        if from != From::Pending {
            assert_eq!(word.load().state(), from.state(), "changed by a refused start");
        }
        assert_eq!(flags(word.load()), expected(which));
    });
}

#[test]
fn cancel_wins_from_pending_alone() {
    for_all_words(|from, which, word| {
        match (from, word.transition_to_cancelled()) {
            (From::Pending, Cancel::Won(before)) => {
                assert_eq!((before.state(), flags(before)), (State::Pending, expected(which)));
                assert_eq!(word.load().state(), State::Cancelled);
            }
            (From::Cancelled, Cancel::Already) => {}
            (From::Sent, Cancel::Sent) => {}
            (From::Running | From::Finished | From::Failed, Cancel::TooLate) => {}
            (from, _) => panic!("wrong answer from {from:?}"),
        }
        if from != From::Pending {
            assert_eq!(word.load().state(), from.state(), "changed by a refused cancel");
        }
        assert_eq!(flags(word.load()), expected(which));
    });
}

#[test]
fn finish_answers_what_was_before_and_keeps_the_flags() {
    for failed in [false, true] {
        for which in 0..1_u32 << FLAGS.len() {
            let word = StateWord::new();
            From::Running.reach(&word);
            set(&word, which);
            let before = word.transition_to_finished(failed);
            assert_eq!((before.state(), flags(before)), (State::Running, expected(which)));
            let now = word.load();
            assert_eq!((now.state(), now.is_failed()), (State::Finished, failed));
            assert_eq!(flags(now), expected(which));
        }
    }
}

#[test]
fn finish_unwatched_is_for_words_without_waiters() {
    for which in 0..1_u32 << FLAGS.len() {
        let word = StateWord::new();
        From::Running.reach(&word);
        set(&word, which);
        let before = word.transition_to_finished_unwatched();
        let watched = which & 1 != 0;
        assert_eq!(before.is_none(), watched, "{which:b}");
        if let Some(before) = before {
            assert_eq!((before.state(), flags(before)), (State::Running, expected(which)));
        }
        let now = word.load();
        assert_eq!(now.state(), if watched { State::Running } else { State::Finished });
        assert!(!now.is_failed());
        assert_eq!(flags(now), expected(which));
    }
}

#[test]
#[cfg(debug_assertions)]
fn finish_of_what_was_never_started_is_a_bug() {
    for from in [From::Pending, From::Sent, From::Cancelled, From::Finished] {
        let word = StateWord::new();
        from.reach(&word);
        let finish = std::panic::AssertUnwindSafe(|| word.transition_to_finished(false).state());
        assert!(std::panic::catch_unwind(finish).is_err(), "{from:?}");
    }
}

#[test]
fn the_value_is_claimed_once() {
    type Claim = fn(&StateWord) -> bool;
    let claims: [Claim; 2] =
        [StateWord::claim_value, |word| word.claim_value_and_abandon().has_value()];
    for first in claims {
        for second in claims {
            for from in ALL {
                let word = StateWord::new();
                from.reach(&word);
                assert_eq!(first(&word), from == From::Finished, "{from:?}");
                assert!(!second(&word), "{from:?}");
                assert!(!word.load().has_value());
                assert_eq!(word.load().state(), from.state());
            }
        }
    }
    let word = StateWord::new();
    word.claim_value_and_abandon();
    assert!(word.load().is_abandoned());
}

#[test]
fn the_first_to_observe_is_told_so() {
    for_all_words(|_, which, word| {
        assert_eq!(word.observe(), which & 4 == 0);
        assert!(!word.observe());
        assert!(word.load().is_observed());
    });
}

#[test]
fn announcing_and_abandoning_answer_what_was_before() {
    for_all_words(|from, which, word| {
        let before = word.announce_waiter();
        assert_eq!((before.state(), flags(before)), (from.state(), expected(which)));
        let before = word.abandon();
        assert_eq!((before.state(), flags(before)), (from.state(), expected(which | 1)));
        assert_eq!(flags(word.load()), expected(which | 3));
    });
}

#[test]
fn work_is_lent_out_while_pending_alone() {
    for_all_words(|from, which, word| {
        assert_eq!(word.lend(), from == From::Pending);
        assert_eq!(word.load().state(), from.state(), "a loan is no state");
        assert_eq!(flags(word.load()), expected(which));
        if from == From::Pending {
            word.return_loan();
            assert!(word.lend());
            word.return_loan();
        }
        // Nothing of it is left.
        assert_eq!((word.load().state(), flags(word.load())), (from.state(), expected(which)));
        assert_eq!(matches!(word.transition_to_running(), Start::Run(_)), from == From::Pending);
    });
}

#[test]
fn what_is_pending_is_sent_once() {
    for_all_words(|from, which, word| {
        assert_eq!(word.send(), from == From::Pending);
        assert!(!word.send());
        assert_eq!(word.load().state(), from.state());
        assert_eq!(word.load().is_sent(), matches!(from, From::Pending | From::Sent));
        assert_eq!(flags(word.load()), expected(which));
    });
}

#[test]
fn what_was_sent_leaves_that_once_and_keeps_the_flags() {
    type Leave = fn(&StateWord) -> Option<Snapshot>;
    let leaves: [(Leave, State); 3] = [
        (StateWord::sent_to_running, State::Running),
        (StateWord::sent_to_cancelled, State::Cancelled),
        (StateWord::sent_to_pending, State::Pending),
    ];
    for (leave, state) in leaves {
        for_all_words(|from, which, word| {
            let before = leave(word);
            assert_eq!(before.is_some(), from == From::Sent, "{from:?} to {state:?}");
            if let Some(before) = before {
                assert_eq!((before.state(), flags(before)), (State::Pending, expected(which)));
            }
            let now = if from == From::Sent { state } else { from.state() };
            assert_eq!((word.load().state(), word.load().is_sent()), (now, false));
            assert_eq!(flags(word.load()), expected(which));
            for (again, _) in leaves {
                assert!(again(word).is_none());
            }
            if now == State::Pending {
                assert!(matches!(word.transition_to_cancelled(), Cancel::Won(_)));
            }
        });
    }
}
