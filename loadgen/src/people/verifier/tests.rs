use super::*;

const A: Place = Place { conversation: 0, slot: 0 };
const B: Place = Place { conversation: 0, slot: 1 };

struct Plain;

impl Names for Plain {
    fn conversation(&self, index: u32) -> String {
        format!("c-{index}")
    }

    fn user(&self, place: Place) -> String {
        format!("u-{}", place.slot)
    }
}

fn message(seq: u64, number: u64) -> Event {
    Event::new(seq, &format!("m-{number}"), EventKind::Message(number))
}

/// Both members of one conversation have joined at its start.
fn joined() -> Verifier {
    let mut verifier = Verifier::new([2].into_iter());
    verifier.joined(A, 0, &[], 0, &Plain);
    verifier.joined(B, 0, &[], 0, &Plain);
    verifier
}

fn kinds(verifier: Verifier) -> Vec<String> {
    verifier.finish(0, &Plain).details.into_iter().map(|breach| breach.kind).collect()
}

fn both(verifier: &mut Verifier, event: Event) {
    verifier.event(A, event, 0, &Plain);
    verifier.event(B, event, 0, &Plain);
}

#[test]
fn an_honest_log_breaks_nothing() {
    let mut verifier = joined();
    for number in 1..=20_000 {
        verifier.acked(A, message(number, number), 0, &Plain);
        both(&mut verifier, message(number, number));
    }
    assert!(verifier.is_settled());
    let verified = verifier.finish(0, &Plain);
    assert_eq!((verified.breaches, verified.events, verified.acked, verified.conversations), (0, 40_000, 20_000, 1));
}

#[test]
fn a_lost_event_is_a_gap_and_names_its_place() {
    let mut verifier = joined();
    both(&mut verifier, message(1, 1));
    verifier.event(A, message(2, 2), 5_000_000, &Plain);
    both(&mut verifier, message(3, 3));
    let details = verifier.finish(0, &Plain).details;
    assert_eq!(details.len(), 1);
    assert_eq!((details[0].kind.as_str(), details[0].seq, details[0].user.as_str()), ("gap", Some(2), "u-1"));
    assert_eq!(details[0].around, ["seq 1 message 1 of this run", "seq 3 message 3 of this run"]);
}

#[test]
fn repeats_and_inversions_are_told_apart() {
    let mut verifier = joined();
    both(&mut verifier, message(1, 1));
    both(&mut verifier, message(2, 2));
    verifier.event(A, message(2, 2), 0, &Plain);
    verifier.event(B, message(1, 1), 0, &Plain);
    assert_eq!(kinds(verifier), ["repeat", "inversion"]);
}

#[test]
fn two_members_see_the_same_event_at_one_seq() {
    let mut verifier = joined();
    verifier.event(A, message(1, 1), 0, &Plain);
    verifier.event(B, message(1, 2), 0, &Plain);
    assert_eq!(kinds(verifier), ["order"]);
}

#[test]
fn a_reply_and_its_event_agree() {
    let mut verifier = joined();
    verifier.acked(A, message(1, 1), 0, &Plain);
    verifier.acked(A, message(1, 2), 0, &Plain);
    both(&mut verifier, message(1, 1));
    assert_eq!(kinds(verifier), ["wrong_ack"]);
}

#[test]
fn what_was_acknowledged_and_not_seen_in_time_is_missing() {
    let acked = || {
        let mut verifier = joined();
        verifier.event(A, message(1, 1), 0, &Plain);
        verifier.acked(A, message(1, 1), 0, &Plain);
        assert!(!verifier.is_settled());
        verifier
    };
    let abandoned = acked().abandon();
    assert_eq!((abandoned.breaches, abandoned.acked, abandoned.conversations), (0, 1, 1), "it might still have come");
    let details = acked().finish(0, &Plain).details;
    assert_eq!((details[0].kind.as_str(), details[0].seq, details[0].user.as_str()), ("missing", Some(1), "u-1"));
}

#[test]
fn events_before_the_join_or_after_the_end_are_foreign() {
    let mut verifier = Verifier::new([2].into_iter());
    verifier.event(A, message(1, 1), 0, &Plain);
    verifier.joined(A, 1, &[message(1, 1)], 0, &Plain);
    verifier.gone(A);
    verifier.event(A, message(2, 2), 0, &Plain);
    assert_eq!(kinds(verifier), ["foreign", "foreign"]);
}

#[test]
fn a_resume_is_whole() {
    let mut verifier = joined();
    verifier.gone(B);
    (1..=3).for_each(|number| verifier.event(A, message(number, number), 0, &Plain));
    verifier.resumed(B, 3, &[message(1, 1), message(2, 2), message(3, 3)], 0, &Plain);
    assert!(verifier.is_settled());
    verifier.gone(B);
    verifier.event(A, message(4, 4), 0, &Plain);
    verifier.event(A, message(5, 5), 0, &Plain);
    verifier.resumed(B, 5, &[message(4, 4)], 0, &Plain);
    verifier.gone(B);
    verifier.event(A, message(6, 6), 0, &Plain);
    verifier.event(A, message(7, 7), 0, &Plain);
    verifier.resumed(B, 7, &[message(7, 7)], 0, &Plain);
    assert_eq!(kinds(verifier), ["unrecovered", "gap"]);
}

#[test]
fn a_page_holds_every_message() {
    let mut verifier = joined();
    (1..=4).for_each(|number| verifier.event(A, message(number, number), 0, &Plain));
    verifier.paged(B, (0, 4), &[message(1, 1), message(2, 2)], true, 0, &Plain);
    verifier.paged(B, (2, 4), &[message(3, 3), message(4, 4)], false, 0, &Plain);
    verifier.paged(B, (2, 4), &[message(4, 4)], false, 0, &Plain);
    verifier.paged(B, (0, 4), &[message(2, 2), message(1, 1)], false, 0, &Plain);
    assert_eq!(kinds(verifier), ["unrecovered", "unrecovered"]);
}

#[test]
fn typing_ends_with_its_lease() {
    let second = 1_000_000_000;
    let mut verifier = joined();
    verifier.typing_started(A, 1, 6 * second, 0);
    verifier.typing_started(B, 0, 6 * second, 0);
    verifier.typing_stopped(B, 0);
    assert_eq!(verifier.needing_probes(8 * second), []);
    assert_eq!(verifier.needing_probes(9 * second), [A]);
    verifier.check_typing(90 * second, &Plain);
    assert_eq!(verifier.breaches(), 0);
    verifier.probed(A, 91 * second);
    verifier.check_typing(93 * second, &Plain);
    let details = verifier.finish(0, &Plain).details;
    assert_eq!((details.len(), details[0].kind.as_str(), details[0].user.as_str()), (1, "typing_stuck", "u-0"));
}

#[test]
fn details_are_bounded_and_breaches_counted() {
    let mut verifier = joined();
    (0..100).for_each(|number| verifier.event(A, message(number * 2 + 2, number), 0, &Plain));
    let verified = verifier.finish(0, &Plain);
    assert_eq!((verified.details.len(), verified.breaches), (MAX_DETAILS, 100));
}

#[test]
fn a_page_of_history_holds_every_message_before_it() {
    let mut verifier = joined();
    (1..=5).for_each(|number| verifier.event(A, message(number, number), 0, &Plain));
    let page = |numbers: &[u64]| numbers.iter().map(|number| message(*number, *number)).collect::<Vec<_>>();
    for (numbers, has_more) in [(&[1, 2, 3][..], false), (&[2, 3], true), (&[3], true)] {
        verifier.looked_back(B, 4, &page(numbers), has_more, 0, &Plain);
    }
    assert_eq!(verifier.breaches(), 0);
    for (numbers, has_more, what) in [
        (&[][..], true, "the page before seq 4 is empty although there is more before seq 4"),
        (&[], false, "the page before seq 4 leaves out the message at seq 1"),
        (&[2, 3], false, "the page before seq 4 leaves out the message at seq 1"),
        (&[1, 3], true, "the page before seq 4 leaves out the message at seq 2"),
        (&[1, 2], true, "the page before seq 4 leaves out the message at seq 3"),
        (&[2, 1, 3], true, "the page before seq 4 is not in order at seq 1"),
        (&[1, 2, 2, 3], false, "the page before seq 4 is not in order at seq 2"),
        (&[1, 2, 3, 4], false, "the page before seq 4 has what is not before it, at seq 4"),
    ] {
        let mut verifier = joined();
        (1..=5).for_each(|number| verifier.event(A, message(number, number), 0, &Plain));
        verifier.looked_back(B, 4, &page(numbers), has_more, 0, &Plain);
        let details = verifier.finish(0, &Plain).details;
        assert_eq!((details[0].kind.as_str(), details[0].what.as_str()), ("unrecovered", what));
    }
    verifier.looked_back(B, 4, &[message(1, 1), message(2, 9), message(3, 3)], false, 0, &Plain);
    assert_eq!(kinds(verifier)[0], "order");
}

#[test]
fn a_reply_with_seq_0_is_wrong() {
    let mut verifier = joined();
    verifier.acked(A, message(0, 1), 0, &Plain);
    assert_eq!(kinds(verifier), ["wrong_ack"]);
}
