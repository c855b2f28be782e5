use proptest::prelude::*;

use super::harness::{Event, Outcome, check, client_frame, decode_split, reference, xorshift};
use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: FrameLimits = FrameLimits { max_message_bytes: 1_000, max_fragments: 4 };

fn decode(stream: &[u8]) -> Outcome {
    decode_split(stream, LIMITS, DataTypes::TextOnly, || usize::MAX)
}

fn events(frames: &[(u8, &[u8])]) -> Vec<Event> {
    let outcome = decode(&stream(frames));
    assert_eq!(outcome.refused_with, None);
    outcome.events
}

fn refusal(frames: &[(u8, &[u8])]) -> Option<u16> {
    decode(&stream(frames)).refused_with
}

fn stream(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|&(first, payload)| client_frame(first, payload, KEY)).collect()
}

/// The code that just these bytes are refused with.
fn bytes_refused_with(bytes: &[u8]) -> Option<u16> {
    decode(bytes).refused_with
}

#[test]
fn text_is_unmasked_in_place() {
    // The example of RFC 6455, section 5.7.
    let mut buf = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58, 0xaa];
    match Decoder::default().decode(&mut buf, LIMITS) {
        Ok(Decoded::Frame { consumed: 11, incoming: Some(Incoming::Text(text)) }) => assert_eq!(text, b"Hello"),
        other => panic!("{other:?}"),
    }
    assert_eq!(&buf[6..], b"Hello\xaa");
}

#[test]
fn unmasking_is_right_at_every_length() {
    for length in 0..64 {
        let plain: Vec<u8> = (0..length).collect();
        let mut frame = client_frame(0x81, &plain, [0x01, 0x80, 0xff, 0x00]);
        unmask(&mut frame[6..], [0x01, 0x80, 0xff, 0x00]);
        assert_eq!(frame[6..], plain[..]);
    }
}

#[test]
fn idle_decoder_is_one_null_pointer() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    for (first, payload) in [(0x01, "a"), (0x80, "b")] {
        decoder.decode(&mut client_frame(first, payload.as_bytes(), KEY), LIMITS).expect("right frames");
    }
    assert!(decoder.reassembly.is_none());
}

#[test]
fn fragments_are_joined_with_control_frames_between() {
    let euro = "\u{20ac}".as_bytes();
    let seen = events(&[(0x01, &euro[..1]), (0x89, b"p"), (0x00, b""), (0x8a, b"q"), (0x80, &euro[1..]), (0x81, b"next")]);
    let expected = [
        Event::Fragment,
        Event::Ping(b"p".to_vec()),
        Event::Fragment,
        Event::Pong,
        Event::Reassembled(euro.to_vec()),
        Event::Message(b"next".to_vec()),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn first_two_bytes_are_judged_as_soon_as_they_are_there() {
    for reserved in [0xc1, 0xa1, 0x91] {
        assert_eq!(bytes_refused_with(&[reserved]), Some(1002), "reserved bit");
    }
    for opcode in [0x83, 0x87, 0x8b, 0x8f] {
        assert_eq!(bytes_refused_with(&[opcode]), Some(1002), "reserved opcode");
    }
    assert_eq!(bytes_refused_with(&[0x82]), Some(1003), "binary");
    assert_eq!(bytes_refused_with(&[0x02]), Some(1003), "first fragment of a binary");
    assert_eq!(bytes_refused_with(&[0x09]), Some(1002), "fragmented control frame");
    assert_eq!(bytes_refused_with(&[0x80]), Some(1002), "continuation of nothing");
    assert_eq!(bytes_refused_with(&[0x81, 0x05]), Some(1002), "unmasked");
    for control in [0x88, 0x89, 0x8a] {
        assert_eq!(bytes_refused_with(&[control, 0xfe]), Some(1002), "long control frame");
        assert_eq!(bytes_refused_with(&[control, 0xfd]), None, "longest control frame");
    }
}

#[test]
fn new_data_frame_within_a_fragmented_message_is_refused() {
    for first in [0x01, 0x81] {
        assert_eq!(refusal(&[(0x01, b"a"), (first, b"b")]), Some(1002));
    }
}

#[test]
fn lengths_are_shortest_and_below_two_to_the_63() {
    assert_eq!(bytes_refused_with(&[0x81, 0xfe, 0, 125]), Some(1002));
    assert_eq!(bytes_refused_with(&[0x81, 0xfe, 0, 126]), None);
    assert_eq!(bytes_refused_with(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), Some(1002));
    assert_eq!(bytes_refused_with(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Some(1002));
    assert_eq!(bytes_refused_with(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(1009));
}

#[test]
fn oversize_is_refused_by_the_declared_length() {
    let just_right = [0x81, 0xfe, 0x03, 0xe8];
    let one_more = [0x81, 0xfe, 0x03, 0xe9];
    assert_eq!(Decoder::default().decode(&mut just_right.clone(), LIMITS), Ok(Decoded::Incomplete { need: 1_008 }));
    assert_eq!(Decoder::default().decode(&mut one_more.clone(), LIMITS), Err(FrameError::TooBig));
    let tight = FrameLimits { max_message_bytes: 10, max_fragments: 1 };
    assert_eq!(Decoder::default().decode(&mut [0x81, 0x8b], tight), Err(FrameError::TooBig));
}

#[test]
fn limit_that_is_off_still_ends_at_the_hard_limit() {
    let off = FrameLimits { max_message_bytes: usize::MAX, max_fragments: usize::MAX };
    let mut most = [0x81, 0xff, 0, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(Decoder::default().decode(&mut most, off), Ok(Decoded::Incomplete { need: HARD_MAX_MESSAGE_BYTES + 14 }));
    let mut more = [0x81, 0xff, 0, 0, 0, 0, 1, 0, 0, 1];
    assert_eq!(Decoder::default().decode(&mut more, off), Err(FrameError::TooBig));
}

#[test]
fn fragments_together_are_within_the_limit() {
    let half = [b'x'; 500];
    assert_eq!(refusal(&[(0x01, &half), (0x80, &half)]), None);
    let mut too_long = client_frame(0x01, &half, KEY);
    too_long.extend_from_slice(&[0x80, 0xfe, 0x01, 0xf5]);
    assert_eq!(bytes_refused_with(&too_long), Some(1009), "by the declared length of the last fragment");
}

#[test]
fn empty_fragments_count() {
    assert_eq!(refusal(&[(0x01, b""), (0x00, b""), (0x00, b""), (0x80, b"")]), None);
    assert_eq!(refusal(&[(0x01, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x80, b"")]), Some(1009));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    for bad in [b"\xff".as_slice(), b"ok \xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x82"] {
        assert_eq!(refusal(&[(0x81, bad)]), Some(1007), "{bad:?}");
        assert_eq!(refusal(&[(0x01, bad), (0x80, b"")]), Some(1007), "{bad:?}");
    }
}

#[test]
fn broken_fragment_is_refused_before_the_message_ends() {
    assert_eq!(refusal(&[(0x01, b"\xe2\x82"), (0x00, b"x")]), Some(1007));
    assert_eq!(refusal(&[(0x01, b"\xe2\x82"), (0x00, b"\xac")]), None);
}

#[test]
fn characters_may_straddle_any_fragments() {
    let characters = "\u{e9}x\u{e9}\u{1f600}".as_bytes();
    for first in 0..characters.len() {
        for second in first..characters.len() {
            let (a, b, c) = (&characters[..first], &characters[first..second], &characters[second..]);
            let seen = events(&[(0x01, a), (0x00, b), (0x80, c)]);
            assert_eq!(seen.last(), Some(&Event::Reassembled(characters.to_vec())));
        }
    }
}

#[test]
fn close_is_checked() {
    assert_eq!(events(&[(0x88, b"")]), [Event::Close(None)]);
    assert_eq!(events(&[(0x88, b"\x03\xe8bye")]), [Event::Close(Some(1000))]);
    assert_eq!(refusal(&[(0x88, b"\x03")]), Some(1002));
    assert_eq!(refusal(&[(0x88, b"\x03\xe8\xff")]), Some(1007));
    let allowed = (0..=u16::MAX).filter(|code| refusal(&[(0x88, &code.to_be_bytes())]).is_none());
    assert!(allowed.eq((1000..=1003).chain(1007..=1014).chain(3000..=4999)));
}

#[test]
fn binary_is_taken_only_where_a_conformance_suite_asks() {
    let taken = decode_split(&stream(&[(0x82, b"\xff")]), LIMITS, DataTypes::TextAndBinary, || usize::MAX);
    assert_eq!(taken.events, [Event::Message(b"\xff".to_vec())]);
    assert_eq!(refusal(&[(0x82, b"\xff")]), Some(1003));
}

#[test]
fn encoded_frames_are_as_in_the_rfc() {
    let mut out = Vec::new();
    push_close(&mut out, CloseCode::SlowConsumer);
    push_close_echo(&mut out, Some(1000));
    push_close_echo(&mut out, None);
    push_ping(&mut out);
    push_pong(&mut out, b"p");
    assert_eq!(out, b"\x88\x0f\x0f\xa3slow_consumer\x88\x02\x03\xe8\x88\x00\x89\x00\x8a\x01p");
    for (length, header) in [
        (125, b"\x81\x7d".as_slice()),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
    ] {
        let mut out = Vec::new();
        push_text_header(&mut out, length);
        assert_eq!(out, header);
    }
}

#[test]
fn frame_builder_writes_what_push_text_header_writes() {
    let mut builder = FrameBuilder::default();
    for length in [70_000, 0, 125, 126, 65_535, 65_536, 1] {
        let mut expected = Vec::new();
        push_text_header(&mut expected, length);
        expected.resize(expected.len() + length, b'x');
        builder.begin().extend(std::iter::repeat_n(b'x', length));
        assert_eq!(builder.finish(), expected);
        assert_eq!(builder.finish(), expected, "finishing again changes nothing");
    }
}

#[test]
fn seeded_hostile_streams_match_the_reference() {
    let mut state = 0x5eed_0ff4_a3e5;
    for _ in 0..10_000 {
        let length = xorshift(&mut state) as usize % 200;
        let input: Vec<u8> = (0..length).map(|_| xorshift(&mut state) as u8).collect();
        check(&input);
    }
}

proptest! {
    #[test]
    fn what_a_client_sends_comes_out(
        messages in prop::collection::vec(prop::collection::vec("\\PC{0,40}", 1..4), 1..6),
        key: [u8; 4],
        pieces in prop::collection::vec(1usize..40, 1..20),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for fragments in &messages {
            for (i, fragment) in fragments.iter().enumerate() {
                let last = i + 1 == fragments.len();
                let first = if last { 0x80 } else { 0 } | if i == 0 { 1 } else { 0 };
                bytes.extend(client_frame(first, fragment.as_bytes(), key));
                expected.push(match (last, i) {
                    (false, _) => Event::Fragment,
                    (true, 0) => Event::Message(fragment.clone().into_bytes()),
                    (true, _) => Event::Reassembled(fragments.concat().into_bytes()),
                });
            }
        }
        let mut pieces = pieces.into_iter().cycle();
        let outcome = decode_split(&bytes, LIMITS, DataTypes::TextOnly, || pieces.next().expect("a cycle"));
        prop_assert_eq!(outcome, Outcome { events: expected, refused_with: None, consumed: bytes.len() });
    }

    #[test]
    fn split_changes_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        frames in prop::collection::vec((prop::sample::select(vec![0x81u8, 0x01, 0x00, 0x80, 0x89, 0x88]), "\\PC{0,80}"), 0..8),
        pieces in prop::collection::vec(1usize..100, 1..20),
    ) {
        let mut all: Vec<u8> = frames.iter().flat_map(|(first, text)| client_frame(*first, text.as_bytes(), KEY)).collect();
        all.extend(bytes);
        let mut pieces = pieces.into_iter().cycle();
        let split = decode_split(&all, LIMITS, DataTypes::TextOnly, || pieces.next().expect("a cycle"));
        prop_assert_eq!(split, decode(&all));
    }

    #[test]
    fn random_bytes_are_taken_exactly_as_the_rfc_allows(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
        prop_assert_eq!(decode(&bytes), reference(&bytes, LIMITS, DataTypes::TextOnly));
    }
}
