//! The state against a naive model, its hash against one from scratch, snapshots against damage.

#![expect(clippy::unnecessary_wraps, reason = "histories are made of optional proposals")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::types::{Term, Value};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn value(text: &str) -> Value {
    Value::new(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn at(index: u64) -> Position {
    Position { term: Term::new(1 + index / 7), index: Index::new(index) }
}

fn proposal(command: Command) -> Proposal {
    Proposal { wall_unix_ms: 0, origin: "node1".parse().unwrap(), command }
}

fn put(name: &str, text: &str, precondition: Precondition) -> Option<Proposal> {
    Some(proposal(Command::Put { key: key(name), value: value(text), precondition }))
}

fn delete(name: &str, precondition: Precondition) -> Option<Proposal> {
    Some(proposal(Command::Delete { key: key(name), precondition }))
}

fn write(pairs: &[(&str, &str)]) -> Option<Proposal> {
    let pairs = pairs.iter().map(|(name, text)| (key(name), value(text))).collect();
    Some(proposal(Command::Write { pairs }))
}

/// Applies a history from index 0 and gives every outcome.
fn run(history: &[Option<Proposal>]) -> (State, Vec<Outcome>) {
    let mut state = State::new();
    let places = (0..).map(at);
    let outcomes =
        history.iter().zip(places).map(|(entry, at)| state.apply(at, entry.as_ref())).collect();
    (state, outcomes)
}

fn snapshot_bytes(view: &StateView, extra: &[u8]) -> Vec<u8> {
    snapshot::encode(view, extra).flatten().collect()
}

fn rejected(actual: Option<u64>) -> Outcome {
    Outcome::Rejected(Rejection::PreconditionFailed { actual: actual.map(Index::new) })
}

#[test]
fn an_entry_without_a_command_advances_applied_and_changes_nothing_s2() {
    let (state, outcomes) = run(&[None, None]);
    assert_eq!(outcomes, [Outcome::Nothing, Outcome::Nothing]);
    assert_eq!(state.current().applied(), Some(at(1)));
    assert!(state.current().is_empty());
}

#[test]
fn a_write_with_a_key_given_twice_keeps_the_last_value_and_counts_one_change() {
    let (state, outcomes) =
        run(&[write(&[("a", "1"), ("b", "2"), ("a", "3")]), write(&[("a", "4")])]);
    assert_eq!(outcomes, [Outcome::Written { pairs: 3 }, Outcome::Written { pairs: 1 }]);
    let entry = state.current().get(b"a").unwrap();
    assert_eq!((entry.version, entry.value.as_bytes()), (2, &b"4"[..]));
    assert_eq!((entry.create_index, entry.modify_index), (Index::new(0), Index::new(1)));
}

#[test]
fn a_failed_precondition_changes_nothing_and_names_the_last_change() {
    let (state, outcomes) = run(&[
        put("a", "1", Precondition::Present),
        put("a", "1", Precondition::Absent),
        put("a", "2", Precondition::Absent),
        put("a", "2", Precondition::ModifiedAt(Index::new(7))),
        delete("a", Precondition::ModifiedAt(Index::new(0))),
        put("a", "2", Precondition::ModifiedAt(Index::new(1))),
        delete("a", Precondition::Present),
        delete("a", Precondition::None),
        delete("a", Precondition::Present),
    ]);
    let index = |index| Some(Index::new(index));
    let expected = [
        rejected(None),
        Outcome::Put { previous: None },
        rejected(Some(1)),
        rejected(Some(1)),
        rejected(Some(1)),
        Outcome::Put { previous: index(1) },
        Outcome::Deleted { previous: index(5) },
        Outcome::Deleted { previous: None },
        rejected(None),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(state.current().applied(), Some(at(8)));
    assert_eq!((state.current().key_bytes(), state.current().value_bytes()), (0, 0));
}

#[test]
#[should_panic(expected = "S1")]
#[cfg(debug_assertions)]
fn an_entry_that_comes_again_stops_a_debug_build_s1() {
    let mut state = State::new();
    state.apply(at(1), None);
    state.apply(at(1), None);
}

#[test]
fn a_view_stays_as_it_was_while_the_state_goes_on_s7() {
    let (mut state, _) = run(&[write(&[("a", "1")])]);
    let view = state.view();
    let before = snapshot_bytes(&view, b"");
    state.apply(at(1), write(&[("a", "2"), ("b", "3")]).as_ref());
    assert_eq!(snapshot_bytes(&view, b""), before);
    assert_eq!(view.get(b"b"), None);
    assert_eq!(view.applied(), Some(at(0)));
}

#[test]
fn the_hash_covers_the_place_in_the_log_too() {
    let hashes = [run(&[]), run(&[None]), run(&[None, None])].map(|(state, _)| state.view().hash());
    assert_ne!(hashes[0], hashes[1]);
    assert_ne!(hashes[1], hashes[2]);
}

#[test]
fn a_range_is_bounded_by_start_end_and_prefix_at_once() {
    let (state, _) = run(&[write(&[("a", ""), ("b/1", ""), ("b/2", ""), ("b/3", ""), ("c", "")])]);
    let names = |start: &str, end: Option<&str>, prefix: &str| {
        let query = RangeQuery {
            start: start.as_bytes(),
            end: end.map(str::as_bytes),
            prefix: prefix.as_bytes(),
        };
        let keys = state.current().range(query).map(|(key, _)| key.as_str().to_owned());
        keys.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("", None, ""), "a b/1 b/2 b/3 c");
    assert_eq!(names("", None, "b/"), "b/1 b/2 b/3");
    assert_eq!(names("b/2", None, "b/"), "b/2 b/3");
    assert_eq!(names("", Some("b/3"), "b/"), "b/1 b/2");
    assert_eq!(names("c", Some("a"), ""), "");
    assert_eq!(names("a", Some("a"), ""), "");
    assert_eq!(names("c", None, "b/"), "");
}

#[test]
fn pages_joined_are_the_whole_range() {
    let (state, _) = run(&[write(&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")])]);
    let mut seen = Vec::new();
    let mut next = Some(key("a"));
    while let Some(start) = next {
        let query = RangeQuery { start: start.as_bytes(), ..RangeQuery::default() };
        let page = state.current().page(query, 2);
        seen.extend(page.items.into_iter().map(|(key, _)| key));
        next = page.next;
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"].map(key));
}

#[test]
fn a_snapshot_is_cut_into_chunks_and_read_again_from_a_stream() {
    let big = "x".repeat(400_000);
    let pairs: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, &*big)).to_vec();
    let (state, _) = run(&[write(&pairs)]);
    let chunks: Vec<Bytes> = snapshot::encode(state.current(), b"who is a member").collect();
    assert_eq!(chunks.len(), 3);
    assert!(chunks[..2].iter().all(|chunk| chunk.len() == snapshot::CHUNK_BYTES));
    let bytes = chunks.concat();
    assert_eq!(bytes.len() as u64, snapshot::encoded_len(state.current(), b"who is a member"));
    let (decoded, extra) = snapshot::decode(&*bytes).unwrap();
    assert_eq!(extra, b"who is a member");
    assert_eq!(decoded.current(), state.current());
}

#[test]
fn a_snapshot_with_any_byte_flipped_or_missing_or_added_is_refused_n2() {
    let (state, _) = run(&[write(&[("a", "1"), ("b", "")]), put("a", "2", Precondition::None)]);
    let bytes = snapshot_bytes(state.current(), b"extra");
    for place in 0..bytes.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[place] ^= bit;
            assert!(snapshot::decode(&*damaged).is_err(), "byte {place} xor {bit:#x}");
        }
        assert!(snapshot::decode(&bytes[..place]).is_err(), "cut at {place}");
    }
    let longer = [&*bytes, b"\0"].concat();
    assert!(matches!(snapshot::decode(&*longer), Err(snapshot::SnapshotError::TrailingBytes)));
}

/// What a state must be, in the plainest words: key to (value, create, modify, version).
type Model = BTreeMap<Key, (Value, Index, Index, u64)>;

fn model_set(model: &mut Model, index: Index, key: &Key, value: &Value) {
    let (create, version) = model.get(key).map_or((index, 0), |old| (old.1, old.3));
    model.insert(key.clone(), (value.clone(), create, index, version + 1));
}

fn model_apply(model: &mut Model, index: Index, command: &Command) -> Outcome {
    let holds = |model: &Model, key, precondition| {
        let actual = model.get(key).map(|entry| entry.2);
        let holds = match precondition {
            Precondition::None => true,
            Precondition::Absent => actual.is_none(),
            Precondition::Present => actual.is_some(),
            Precondition::ModifiedAt(index) => actual == Some(index),
        };
        (actual, holds)
    };
    match command {
        Command::Write { pairs } => {
            // A map keeps the last of equal keys: one change each.
            let last: BTreeMap<_, _> = pairs.iter().cloned().collect();
            for (key, value) in &last {
                model_set(model, index, key, value);
            }
            Outcome::Written { pairs: u32::try_from(pairs.len()).unwrap() }
        }
        Command::Put { key, value, precondition } => match holds(model, key, *precondition) {
            (actual, false) => Outcome::Rejected(Rejection::PreconditionFailed { actual }),
            (previous, true) => {
                model_set(model, index, key, value);
                Outcome::Put { previous }
            }
        },
        Command::Delete { key, precondition } => match holds(model, key, *precondition) {
            (actual, false) => Outcome::Rejected(Rejection::PreconditionFailed { actual }),
            (previous, true) => {
                model.remove(key);
                Outcome::Deleted { previous }
            }
        },
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    "[ab]{1,3}".prop_map(|text| key(&text))
}

fn any_value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Value::new(bytes.into()).unwrap())
}

fn any_precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        3 => Just(Precondition::None),
        1 => Just(Precondition::Absent),
        1 => Just(Precondition::Present),
        2 => (0..40_u64).prop_map(|index| Precondition::ModifiedAt(Index::new(index))),
    ]
}

fn any_history() -> impl Strategy<Value = Vec<Option<Proposal>>> {
    let command = prop_oneof![
        vec((any_key(), any_value()), 0..5).prop_map(|pairs| Command::Write { pairs }),
        (any_key(), any_value(), any_precondition())
            .prop_map(|(key, value, precondition)| { Command::Put { key, value, precondition } }),
        (any_key(), any_precondition())
            .prop_map(|(key, precondition)| Command::Delete { key, precondition }),
    ];
    vec(
        prop_oneof![9 => command.prop_map(|command| Some(proposal(command))), 1 => Just(None)],
        0..40,
    )
}

proptest! {
    #[test]
    fn the_state_agrees_with_a_naive_model(history in any_history()) {
        let (state, outcomes) = run(&history);
        let mut model = Model::new();
        for (number, (entry, outcome)) in history.iter().zip(outcomes).enumerate() {
            let expected = entry.as_ref().map_or(Outcome::Nothing, |proposal| {
                model_apply(&mut model, Index::new(number as u64), &proposal.command)
            });
            prop_assert_eq!(outcome, expected);
        }
        let now = state.current();
        let seen: Model = now
            .iter()
            .map(|(key, e)| {
                (key.clone(), (e.value.clone(), e.create_index, e.modify_index, e.version))
            })
            .collect();
        let lengths = |length: fn(&Key, &Value) -> usize| {
            model.iter().map(|(key, entry)| length(key, &entry.0) as u64).sum::<u64>()
        };
        prop_assert_eq!(now.key_bytes(), lengths(|key, _| key.as_bytes().len()));
        prop_assert_eq!(now.value_bytes(), lengths(|_, value| value.as_bytes().len()));
        prop_assert_eq!(now.len(), model.len());
        prop_assert_eq!(seen, model);
    }

    #[test]
    fn the_same_history_twice_gives_equal_outcomes_hashes_and_snapshot_bytes_s3(
        history in any_history(), extra in vec(any::<u8>(), 0..30)
    ) {
        let (one, outcomes_one) = run(&history);
        let (two, outcomes_two) = run(&history);
        prop_assert_eq!(outcomes_one, outcomes_two);
        prop_assert_eq!(one.view().hash(), two.view().hash());
        let bytes = [one, two].map(|state| snapshot_bytes(state.current(), &extra));
        prop_assert_eq!(&bytes[0], &bytes[1]);
    }

    #[test]
    fn a_snapshot_survives_its_bytes_and_its_hash_is_computed_from_scratch_s4(
        history in any_history(), more in any_history(), extra in vec(any::<u8>(), 0..30)
    ) {
        let (mut state, _) = run(&history);
        let bytes = snapshot_bytes(state.current(), &extra);
        prop_assert_eq!(bytes.len() as u64, snapshot::encoded_len(state.current(), &extra));
        let (mut decoded, decoded_extra) = snapshot::decode(&*bytes).unwrap();
        prop_assert_eq!(decoded_extra, extra);
        prop_assert_eq!(decoded.current(), state.current());
        // Decoding adds entry by entry to an empty state: that is the hash from scratch.
        prop_assert_eq!(decoded.current().hash(), state.current().hash());
        for (entry, place) in more.iter().zip(history.len() as u64..) {
            let here = state.apply(at(place), entry.as_ref());
            prop_assert_eq!(decoded.apply(at(place), entry.as_ref()), here);
        }
        prop_assert_eq!(decoded.current().hash(), state.current().hash());
    }

    #[test]
    fn arbitrary_bytes_are_never_a_snapshot_and_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(snapshot::decode(&*bytes).is_err());
        let with_head = [&b"BITASNAP\x01\x00"[..], &bytes].concat();
        prop_assert!(snapshot::decode(&*with_head).is_err());
    }
}
