//! Bytes that outlive a release: golden files of version 1 and round trips.
//!
//! A golden file is never rewritten. When this program's bytes differ from one, the change breaks
//! every log and snapshot there is: give the new form a new version instead. A file that is not
//! there yet is written by `UPDATE_GENERATED=1 cargo test --test formats`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::path::PathBuf;

use bitacora::command::{
    Command, DecodeError, Precondition, Proposal, decode_proposal, encode_proposal,
};
use bitacora::state::{State, snapshot};
use bitacora::types::{Index, Key, NodeName, Position, Term, Value};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = PathBuf::from("tests/data/formats/v1").join(name);
    if !path.exists() && std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn value(bytes: &'static [u8]) -> Value {
    Value::new(Bytes::from_static(bytes)).unwrap()
}

fn proposal(command: Command) -> Proposal {
    Proposal { wall_unix_ms: 1_766_000_000_123, origin: "node_1".parse().unwrap(), command }
}

fn put(precondition: Precondition) -> Proposal {
    proposal(Command::Put { key: key("ruta/día"), value: value(b"\x00\xff text"), precondition })
}

fn delete(precondition: Precondition) -> Proposal {
    proposal(Command::Delete { key: key("clave"), precondition })
}

fn golden_proposals() -> Vec<(&'static str, Proposal)> {
    let pairs = vec![(key("clave"), value(b"valor")), (key("vacía"), value(b""))];
    vec![
        ("proposal-write.bin", proposal(Command::Write { pairs })),
        ("proposal-write-empty.bin", proposal(Command::Write { pairs: Vec::new() })),
        ("proposal-put.bin", put(Precondition::None)),
        ("proposal-put-absent.bin", put(Precondition::Absent)),
        ("proposal-put-present.bin", put(Precondition::Present)),
        ("proposal-put-modified-at.bin", put(Precondition::ModifiedAt(Index::new(42)))),
        ("proposal-delete.bin", delete(Precondition::None)),
        ("proposal-delete-modified-at.bin", delete(Precondition::ModifiedAt(Index::new(42)))),
    ]
}

fn golden_state() -> State {
    let mut state = State::new();
    let at = |index| Position { term: Term::new(3), index: Index::new(index) };
    state.apply(at(0), None);
    for (index, (_, proposal)) in (1..).zip(golden_proposals()) {
        state.apply(at(index), Some(&proposal));
    }
    state
}

fn snapshot_of(state: &State, extra: &[u8]) -> Vec<u8> {
    snapshot::encode(state.current(), extra).flatten().collect()
}

#[test]
fn proposals_have_the_bytes_of_the_golden_files() {
    for (name, proposal) in golden_proposals() {
        let encoded = encode_proposal(&proposal);
        let golden = Bytes::from(golden(name, &encoded));
        assert_eq!(encoded, golden, "{name}: the bytes of version 1 have changed");
        assert_eq!(decode_proposal(&golden), Ok(proposal), "{name}");
    }
}

#[test]
fn snapshots_have_the_bytes_of_the_golden_files() {
    let full = golden_state();
    let empty = State::new();
    let cases = [("snapshot.bin", &full, &b"extra"[..]), ("snapshot-empty.bin", &empty, &b""[..])];
    for (name, state, extra) in cases {
        let encoded = snapshot_of(state, extra);
        let golden = golden(name, &encoded);
        assert_eq!(encoded, golden, "{name}: the bytes of version 1 have changed");
        let (decoded, decoded_extra) = snapshot::decode(&*golden).unwrap();
        assert_eq!(decoded.current(), state.current(), "{name}");
        assert_eq!(decoded_extra, extra, "{name}");
    }
}

#[test]
fn the_state_hash_of_version_1_does_not_change() {
    assert_eq!(State::new().current().hash().to_string(), "a3d7e4cef35b1f44c2915ca0df7ad4c1");
    assert_eq!(golden_state().current().hash().to_string(), "6275c7da6e0bb5d0e9974fb8fc411786");
}

#[test]
fn decoding_says_what_it_did_not_understand() {
    let good = encode_proposal(&delete(Precondition::None)).to_vec();
    let decode = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        decode_proposal(&bytes.into()).unwrap_err()
    };
    assert_eq!(decode(&|bytes| bytes[0] = 2), DecodeError::UnknownVersion(2));
    assert_eq!(decode(&|bytes| bytes[1] = 9), DecodeError::UnknownKind(9));
    assert_eq!(decode(&|bytes| bytes[17] = 4), DecodeError::UnknownPrecondition(4));
    assert_eq!(decode(&|bytes| bytes.push(0)), DecodeError::TrailingBytes(1));
    let newer = decode(&|bytes| bytes[0] = 2).to_string();
    assert_eq!(newer, "expected proposal version 1, found 2; written by a newer program?");
}

#[test]
fn a_count_of_pairs_is_not_believed_before_their_bytes_are_there() {
    let empty = encode_proposal(&proposal(Command::Write { pairs: Vec::new() }));
    let mut bytes = empty.to_vec();
    let place = bytes.len() - 4;
    bytes[place..].copy_from_slice(&u32::MAX.to_le_bytes());
    let refused = decode_proposal(&bytes.into());
    assert_eq!(refused, Err(DecodeError::TooManyPairs { pairs: u32::MAX, found: 0 }));
}

#[test]
fn every_cut_of_a_proposal_is_refused() {
    for (name, proposal) in golden_proposals() {
        let bytes = encode_proposal(&proposal);
        for length in 0..bytes.len() {
            assert!(decode_proposal(&bytes.slice(..length)).is_err(), "{name} cut at {length}");
        }
    }
}

#[test]
fn decoded_values_are_slices_of_the_given_buffer() {
    let bytes = encode_proposal(&put(Precondition::None));
    let decoded = decode_proposal(&bytes).unwrap();
    let Command::Put { value, .. } = decoded.command else { panic!("a put stays a put") };
    assert!(bytes.as_ptr_range().contains(&value.as_bytes().as_ptr()));
}

fn any_key() -> impl Strategy<Value = Key> {
    "\\PC{1,40}".prop_map(|text| text.parse().unwrap())
}

fn any_value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..300).prop_map(|bytes| Value::new(bytes.into()).unwrap())
}

fn any_precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        Just(Precondition::None),
        Just(Precondition::Absent),
        Just(Precondition::Present),
        any::<u64>().prop_map(|index| Precondition::ModifiedAt(Index::new(index))),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        vec((any_key(), any_value()), 0..8).prop_map(|pairs| Command::Write { pairs }),
        (any_key(), any_value(), any_precondition())
            .prop_map(|(key, value, precondition)| { Command::Put { key, value, precondition } }),
        (any_key(), any_precondition())
            .prop_map(|(key, precondition)| Command::Delete { key, precondition }),
    ]
}

proptest! {
    #[test]
    fn a_proposal_survives_its_bytes(
        wall_unix_ms in any::<u64>(),
        origin in "[a-zA-Z0-9._-]{1,63}",
        command in any_command(),
    ) {
        let origin: NodeName = origin.parse().unwrap();
        let proposal = Proposal { wall_unix_ms, origin, command };
        prop_assert_eq!(decode_proposal(&encode_proposal(&proposal)), Ok(proposal));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), kind in 0_u8..5) {
        let _ = decode_proposal(&bytes.clone().into());
        let with_head = [&[1, kind, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'n'][..], &bytes].concat();
        if let Ok(proposal) = decode_proposal(&with_head.clone().into()) {
            prop_assert_eq!(&encode_proposal(&proposal)[..], &with_head[..]);
        }
    }
}
