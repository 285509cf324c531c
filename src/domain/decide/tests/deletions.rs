//! Deletions (rules P1, P2, P4): what a wish freezes, what cancelling brings back, what stands against
//! an erasure, and how the answers of other services end it.

use super::*;
use crate::domain::erasure::*;
use crate::domain::event::ErasureEvent;
use crate::domain::message::MembershipCause;
use crate::domain::order::Statistics;
use crate::domain::segment::membership::Held;
use crate::domain::segment::record::SegmentCode;
use serde_json::json;

pub const POLICY: RetryPolicy = RetryPolicy {
    patience: TimeDelta::minutes(10),
    first: TimeDelta::minutes(1),
    most: TimeDelta::hours(1),
};

fn wish(n: u128, asking: Asking, at_once: bool) -> RequestDeletion {
    RequestDeletion {
        id: ErasureId(Uuid::from_u128(6_000 + n)),
        asking,
        grace: TimeDelta::days(30),
        at_once,
        active_orders: None,
        mail_id: mail_id(600 + n),
    }
}

fn deletion(command: DeletionCommand) -> Command {
    Command::Deletion(command)
}

/// By staff.
pub fn request(n: u128) -> Command {
    deletion(DeletionCommand::Request(Box::new(wish(n, Asking::Staff, false))))
}

fn at_once(n: u128) -> Command {
    let wish = RequestDeletion { active_orders: Some(0), ..wish(n, Asking::Staff, true) };
    deletion(DeletionCommand::Request(Box::new(wish)))
}

fn by_owner(session: SessionId) -> Command {
    let proof = Proof::RecentSession { session, max_age: TimeDelta::minutes(10) };
    deletion(DeletionCommand::Request(Box::new(wish(1, Asking::Owner(proof), false))))
}

pub fn cancel() -> Command {
    deletion(DeletionCommand::Cancel { mail_id: mail_id(700) })
}

fn hold() -> Command {
    let id = HoldId(Uuid::from_u128(6_900));
    deletion(DeletionCommand::PlaceHold { id, reason: reason() })
}

fn step_id(n: usize) -> StepId {
    StepId(Uuid::from_u128(6_500 + n as u128))
}

fn message_id(n: u128) -> MessageId {
    MessageId(Uuid::from_u128(6_600 + n))
}

fn steps(commands: &[StepName]) -> Vec<FreshStep> {
    let names = [StepName::Local].into_iter().chain(commands.iter().copied());
    let steps = names.enumerate().map(|(n, name)| FreshStep {
        id: step_id(n),
        name,
        message: message_id(n as u128),
    });
    steps.collect()
}

fn begin(commands: &[StepName]) -> Command {
    deletion(DeletionCommand::Begin(Box::new(BeginErasure {
        buckets: vec![BUCKET],
        steps: steps(commands),
        active_orders: None,
        policy: POLICY,
    })))
}

/// The ledger names the erasure 77.
fn again(commands: &[StepName], unique: u128) -> Command {
    deletion(DeletionCommand::EraseAgain(Box::new(EraseAgain {
        id: ErasureId(Uuid::from_u128(unique)),
        repeats: ErasureId(Uuid::from_u128(77)),
        buckets: vec![BUCKET],
        steps: steps(commands),
        policy: POLICY,
    })))
}

fn answer(state: &State, step: usize, answer: StepAnswer) -> Command {
    let erasure = state.deletions.request.as_ref().map_or(ErasureId(Uuid::nil()), |it| it.id);
    deletion(DeletionCommand::Answer { erasure, step: step_id(step), answer, policy: POLICY })
}

fn resend(state: &State, all: bool) -> Command {
    let erasure = state.deletions.request.as_ref().map_or(ErasureId(Uuid::nil()), |it| it.id);
    let messages = (10..13).map(message_id).collect();
    deletion(DeletionCommand::Resend { erasure, messages, policy: POLICY, all })
}

/// Whatever orders there are.
pub fn request_anyway(n: u128) -> Command {
    let wish = RequestDeletion { active_orders: Some(0), ..wish(n, Asking::Staff, false) };
    deletion(DeletionCommand::Request(Box::new(wish)))
}

/// All that can be told of deletions, of a customer that may be deleted softly before.
pub fn script() -> Vec<Command> {
    let erasure = ErasureId(Uuid::from_u128(6_002));
    let done = |n| {
        let (step, answer) = (step_id(n), StepAnswer::Done);
        deletion(DeletionCommand::Answer { erasure, step, answer, policy: POLICY })
    };
    let mut begin = begin(&StepName::COMMANDS);
    if let Command::Deletion(DeletionCommand::Begin(begin)) = &mut begin {
        begin.active_orders = Some(0);
    }
    vec![at_once(2), begin, done(1), done(2), done(3)]
}

pub fn random((a, b): (u8, u8), unique: u128, state: &State) -> Command {
    match (a, b) {
        (0, _) => request(unique),
        (1, _) => cancel(),
        (2, 0..=2) => hold(),
        (2, _) => deletion(DeletionCommand::ReleaseHold),
        (3, 0) => at_once(unique),
        (3, _) => begin(&StepName::COMMANDS[..usize::from(b % 4)]),
        (4, 0..=2) => answer(state, b.into(), StepAnswer::Done),
        (4, _) => answer(state, 1, StepAnswer::Failed("down".to_owned())),
        (_, 0..=3) => resend(state, b == 0),
        _ => again(&StepName::COMMANDS[..usize::from(b % 4)], unique),
    }
}

fn asked(state: &State) -> &Erasure {
    state.deletions.request.as_ref().expect("a deletion was asked for")
}

/// Due, with these services to be told.
fn begun(commands: &[StepName]) -> State {
    let due = given(active()).by(staff()).at(20).when(at_once(1)).after;
    given(due).by(Actor::Service).at(30).when(begin(commands)).after
}

#[test]
fn p1_a_wish_freezes_the_account_at_once() {
    let mut state = given(signed_in()).at(20).when(sign_in(1, 2)).after;
    let segment = SegmentId(Uuid::from_u128(6_800));
    let held = Held { since: at(5), cause: MembershipCause::Manual };
    state.memberships.held.insert(segment, held);
    state.memberships.codes.insert(segment, SegmentCode::from_stored("vip".to_owned()));
    let state = given(state).at(30).when(super::consents::grant("marketing")).after;
    let before = customer(&state).version;
    let then = given(state).at(100).when(by_owner(session_id(2)));
    let then = then.tells(&[
        "customer.status_changed",
        "privacy.deletion_requested",
        "customer.updated",
        "customer.session_revoked",
        "customer.session_revoked",
        "segment.removed",
    ]);
    let due_at = at(100) + TimeDelta::days(30);
    assert_eq!(then.messages()[1].1["due_at"], json!(due_at));
    assert_eq!(then.messages()[2].1["version"], before + 2);
    let after = customer(&then.after);
    assert_eq!((after.status, after.version), (Status::DeletionScheduled, before + 2));
    assert_eq!(after.status_before_deletion, Some(Status::Active));
    assert!(!after.accepts_marketing, "no advertising from now on");
    assert!(then.after.sessions.values().all(|session| !session.is_live(at(100))));
    assert!(then.after.memberships.held.is_empty());
    let erasure = asked(&then.after);
    assert_eq!((erasure.due_at, erasure.look_at), (due_at, due_at));
    assert_eq!(erasure.legal_due_at, a_month_after(at(100)));
    assert_eq!(erasure.segments, [LeftSegment { id: segment, since: at(5) }]);
    assert_eq!(erasure.requested_by, Requester::Owner);
    let mail = then.events().iter().find_map(|event| match event {
        Event::MailQueued(mail) => Some(mail.body.tells_of()),
        _ => None,
    });
    assert_eq!(mail, Some(Some(due_at)), "the mail names the day");
}

#[test]
fn p1_cancelling_brings_all_back() {
    for status in [Status::Pending, Status::Active, Status::Inactive, Status::Suspended] {
        let mut state = with_status(status);
        let segment = SegmentId(Uuid::from_u128(6_800));
        let held = Held { since: at(5), cause: MembershipCause::Manual };
        let code = SegmentCode::from_stored("vip".to_owned());
        state.memberships.held.insert(segment, held);
        state.memberships.codes.insert(segment, code.clone());
        let grant = super::consents::grant("marketing");
        let state = given(state).by(staff()).at(25).when(grant).after;
        let before = state.clone();
        let mut frozen = given(state).by(staff()).at(30).when(request(1)).after;
        // As it is loaded: the segment is still there.
        frozen.deletions.codes.insert(segment, code);
        let then = given(frozen).by(staff()).at(40).when(cancel());
        let (old, new) = (customer(&before), customer(&then.after));
        assert_eq!((new.status, new.status_before_deletion), (status, None));
        assert_eq!((new.accepts_marketing, new.version), (true, old.version + 4));
        assert_eq!(then.after.memberships.held, before.memberships.held);
        assert_eq!(then.after.tokens, before.tokens, "{status:?}");
        assert_eq!(then.messages()[1].0, "privacy.deletion_cancelled");
        assert_eq!(asked(&then.after).state, ErasureState::Cancelled);
        given(then.after).by(staff()).at(50).when(cancel()).refused(Rejection::NotFound);
    }
}

/// Cancelling brings advertising back where the ledger grants it by then.
#[test]
fn p1_what_was_withdrawn_within_the_grace_stays_so() {
    use super::consents::{grant, withdraw, withdraw_from};
    use crate::domain::consent::Channel;
    let channels = [Channel::Email, Channel::Sms, Channel::Push];
    for (granted, withdrawn, expected) in [
        (true, vec![], true),
        (true, vec![withdraw("marketing")], false),
        (true, vec![withdraw_from("marketing", Channel::Sms)], true),
        (true, channels.map(|one| withdraw_from("marketing", one)).into(), false),
        (true, vec![withdraw("analytics")], true),
        (false, vec![], false),
        (false, vec![withdraw("marketing")], false),
    ] {
        for actor in [owner(), staff()] {
            let mut state = active();
            if granted {
                state = given(state).at(10).when(grant("marketing")).after;
            }
            state = given(state).by(staff()).at(20).when(request(1)).after;
            for command in withdrawn.clone() {
                let then = given(state).by(actor.clone()).at(30).when(command);
                let told = then.messages();
                assert!(!told.is_empty(), "a withdrawal is told");
                assert!(told.iter().all(|(kind, _)| *kind == "consent.withdrawn"), "{told:?}");
                assert!(!customer(&then.after).accepts_marketing, "frozen, whatever is left");
                state = then.after;
            }
            let then = given(state).by(staff()).at(40).when(cancel());
            let after = customer(&then.after);
            assert_eq!(after.status, Status::Active);
            assert_eq!(after.accepts_marketing, expected, "{granted} {withdrawn:?}");
            assert_eq!(then.after.consents.accepts_marketing(), expected);
        }
    }
}

#[test]
fn p1_a_wish_is_refused_with_active_orders_twice_or_by_who_is_not_active() {
    let mut waiting = active();
    let statistics = Statistics { placed: 1, ..Statistics::default() };
    waiting.orders.statistics.insert(Currency::from_stored("VND".to_owned()), statistics);
    given(waiting.clone()).by(staff()).when(request(1)).refused(Rejection::ActiveOrders);
    // What the order service says goes before what is kept.
    let told = |orders| {
        let wish = RequestDeletion { active_orders: Some(orders), ..wish(1, Asking::Staff, false) };
        deletion(DeletionCommand::Request(Box::new(wish)))
    };
    assert!(!given(waiting).by(staff()).when(told(0)).events().is_empty());
    given(active()).by(staff()).when(told(2)).refused(Rejection::ActiveOrders);
    let frozen = given(active()).by(staff()).at(20).when(request(1)).after;
    let due_at = asked(&frozen).due_at;
    given(frozen)
        .by(staff())
        .at(30)
        .when(request(2))
        .refused(Rejection::DeletionScheduled { due_at });
    for status in [Status::Pending, Status::Inactive, Status::Suspended] {
        let then = given(with_status(status)).when(by_owner(session_id(1)));
        then.refused(Rejection::NotActive(status));
    }
    for gone in [State::default(), with_status(Status::Erased)] {
        given(gone).by(staff()).when(request(1)).refused(Rejection::NotFound);
    }
}

#[test]
fn p1_an_old_session_is_no_proof() {
    let then = given(signed_in()).at(5_000).when(by_owner(session_id(1)));
    let too_old = crate::domain::proof::ProofRefusal::TooOld;
    assert_eq!(then.outcome(), Outcome::ProofRefused(too_old));
    then.changes_nothing();
}

#[test]
fn p1_within_the_grace_it_can_be_asked_for_at_once() {
    let frozen = given(active()).by(staff()).at(20).when(request(1)).after;
    given(frozen.clone()).by(Actor::Service).at(30).when(begin(&[])).refused(Rejection::NotFound);
    let then = given(frozen).by(staff()).at(40).when(at_once(2));
    let then = then.happens(&["Erasure"]).tells(&[]);
    assert_eq!((asked(&then.after).due_at, asked(&then.after).id.0.as_u128()), (at(40), 6_001));
    let then = given(then.after).by(Actor::Service).at(40).when(begin(&[]));
    assert_eq!(asked(&then.after).state, ErasureState::Completed);
}

#[test]
fn p1_who_signs_in_within_the_grace_may_cancel_and_nothing_else() {
    let frozen = given(signed_in()).by(staff()).at(20).when(request(1)).after;
    let claimed = given(frozen).by(Actor::Anonymous).at(30).when(claim(1)).after;
    let then = given(claimed).by(Actor::Anonymous).at(30).when(sign_in(1, 5));
    assert!(matches!(then.outcome(), Outcome::SignedIn(_)));
    let inside = then.after;
    let name = CustomerChange { first_name: None, ..Default::default() };
    let refused = Rejection::NotActive(Status::DeletionScheduled);
    given(inside.clone()).at(40).when(update_customer(name)).refused(refused.clone());
    given(inside.clone()).at(40).when(add_address(3, &[])).refused(refused);
    let then = given(inside).at(40).when(cancel());
    assert_eq!(customer(&then.after).status, Status::Active);
    assert!(then.after.sessions.values().all(|session| !session.is_live(at(40))));
}

#[test]
fn p1_links_to_passwords_and_addresses_are_void_and_the_way_back_is_not() {
    use crate::domain::token::{OneTimeToken, Purpose};
    let mut state = active();
    state.tokens.clear();
    for (n, purpose) in (1..).zip(Purpose::ALL) {
        let token = OneTimeToken {
            hash: hash(n),
            purpose,
            password_hash: None,
            email: None,
            created_at: at(1),
            expires_at: at(DAY),
            used_at: None,
            voided_at: None,
        };
        state.tokens.insert(token.hash, token);
    }
    let then = given(state).by(staff()).at(20).when(request(1));
    let open: Vec<_> = then.after.tokens.values().filter(|it| it.voided_at.is_none()).collect();
    let open: Vec<_> = open.into_iter().map(|token| token.purpose).collect();
    assert_eq!(open, [Purpose::VerifyEmail, Purpose::UndoEmailChange]);
}

#[test]
fn p4_a_hold_stops_an_erasure_until_it_is_released() {
    let held = given(active()).by(staff()).at(10).when(hold()).happens(&["Erasure"]).after;
    given(held.clone()).by(staff()).at(11).when(hold()).refused(Rejection::LegalHoldExists);
    let due = given(held).by(staff()).at(20).when(at_once(1)).after;
    let then = given(due.clone()).by(Actor::Service).at(30).when(begin(&[]));
    let then = then.happens(&["Erasure"]).tells(&[]);
    assert_eq!(asked(&then.after).put_off, Some(Obstacle::LegalHold));
    assert_eq!(asked(&then.after).look_at, at(30) + PUT_OFF);
    let release = || deletion(DeletionCommand::ReleaseHold);
    let free = given(then.after).by(staff()).at(50).when(release()).after;
    assert_eq!(asked(&free).look_at, at(50), "it need not wait any longer");
    given(free.clone()).by(staff()).at(51).when(release()).refused(Rejection::NotFound);
    let then = given(free).by(Actor::Service).at(60).when(begin(&[]));
    assert_eq!(asked(&then.after).state, ErasureState::Completed);
    // One of somebody who was merged in stands as well.
    let mut within = due;
    within.deletions.hold = None;
    within.deletions.held_within = true;
    let then = given(within).by(Actor::Service).at(30).when(begin(&[]));
    assert_eq!(asked(&then.after).put_off, Some(Obstacle::LegalHold));
}

#[test]
fn p2_an_order_that_came_meanwhile_puts_it_off() {
    let mut due = given(active()).by(staff()).at(20).when(at_once(1)).after;
    let statistics = Statistics { placed: 1, ..Statistics::default() };
    due.orders.statistics.insert(Currency::from_stored("VND".to_owned()), statistics);
    let then = given(due).by(Actor::Service).at(30).when(begin(&[]));
    assert_eq!(asked(&then.after).put_off, Some(Obstacle::ActiveOrders));
    assert!(then.after.customer.is_some());
}

#[test]
fn p2_when_it_begins_nobody_is_left_and_others_are_told_to_forget() {
    let due = given(active()).by(staff()).at(20).when(at_once(1)).after;
    let then = given(due).by(Actor::Service).at(30).when(begin(&StepName::COMMANDS));
    let then = then.tells(&[
        "customer.status_changed",
        "privacy.erasure_started",
        "order.anonymize",
        "payment.delete_methods",
        "notification.forget",
    ]);
    let command = &then.messages()[2].1;
    let erasure = asked(&then.after);
    let told = json!({ "erasure_id": erasure.id, "step_id": step_id(1),
        "customer_id": customer_id() });
    assert_eq!(*command, told);
    assert!(then.after.customer.is_none());
    assert_eq!(then.after.departed.as_ref().map(|it| it.status), Some(Status::Erased));
    assert_eq!((erasure.state, erasure.commands), (ErasureState::Running, 3));
    let states: Vec<_> = erasure.steps.iter().map(|step| step.state).collect();
    use StepState::{Done, Sent};
    assert_eq!(states, [Done, Sent, Sent, Sent]);
    // Commands are numbered among those of the erasure, and bear the ids that were made for them.
    let places: Vec<_> = then.events().iter().filter_map(Event::place).collect();
    assert_eq!(places, [1, 2, 3].map(|n| (erasure.id.0, n)));
    let ids: Vec<_> = then.events().iter().filter_map(Event::message_id).collect();
    assert_eq!(ids, [1, 2, 3].map(message_id));
    for command in [cancel(), request(2)] {
        given(then.after.clone()).by(staff()).at(40).when(command).refused(Rejection::NotFound);
    }
}

#[test]
fn p2_each_answer_ends_its_step_and_the_last_one_the_erasure() {
    let mut state = begun(&StepName::COMMANDS[..2]);
    let failed = answer(&state, 1, StepAnswer::Failed("down".to_owned()));
    let then = given(state).by(Actor::Service).at(40).when(failed).tells(&[]);
    let step = asked(&then.after).step(step_id(1)).unwrap();
    assert_eq!((step.state, step.last_error.as_deref()), (StepState::Failed, Some("down")));
    assert_eq!(step.next_try_at, Some(at(40) + TimeDelta::minutes(1)));
    state = then.after;
    for (n, told) in [(2, vec![]), (1, vec!["privacy.erasure_completed"])] {
        let done = answer(&state, n, StepAnswer::Done);
        let then = given(state).by(Actor::Service).at(50).when(done.clone()).tells(&told);
        state = then.after;
        if n == 2 {
            // A copy, and one that comes too late to say that it failed.
            let late = answer(&state, n, StepAnswer::Failed("late".to_owned()));
            for command in [done, late] {
                given(state.clone()).by(Actor::Service).at(60).when(command).changes_nothing();
            }
        }
    }
    let erasure = asked(&state);
    assert_eq!((erasure.state, erasure.completed_at), (ErasureState::Completed, Some(at(50))));
    let again = answer(&state, 1, StepAnswer::Done);
    given(state.clone()).by(Actor::Service).when(again).refused(Rejection::NotFound);
    let unknown = answer(&begun(&StepName::COMMANDS), 9, StepAnswer::Done);
    given(begun(&StepName::COMMANDS)).when(unknown).refused(Rejection::NotFound);
}

#[test]
fn p2_who_does_not_answer_is_told_again_and_ever_less_often() {
    let state = begun(&StepName::COMMANDS[..2]);
    let early = resend(&state, false);
    given(state.clone()).by(Actor::Service).at(40).when(early).changes_nothing();
    let done = answer(&state, 1, StepAnswer::Done);
    let state = given(state).by(Actor::Service).at(40).when(done).after;
    let due = 30 + 600;
    let again = resend(&state, false);
    let then = given(state.clone()).by(Actor::Service).at(due).when(again);
    let then = then.tells(&["payment.delete_methods"]);
    let step = asked(&then.after).step(step_id(2)).unwrap();
    assert_eq!((step.tries, step.message), (2, Some(message_id(10))));
    assert_eq!(step.next_try_at, Some(at(due) + TimeDelta::minutes(10)));
    assert_eq!(asked(&then.after).commands, 3, "numbered on");
    // Staff need not wait.
    let now = resend(&state, true);
    given(state).by(staff()).at(41).when(now).tells(&["payment.delete_methods"]);
}

#[test]
fn p2_who_was_deleted_softly_can_be_erased_too() {
    let gone = given(active()).by(staff()).at(20).when(Command::DeleteCustomer { if_match: None });
    let asked_for = given(gone.after).by(staff()).at(30).when(request(1));
    let asked_for = asked_for.happens(&["Erasure"]).tells(&["privacy.deletion_requested"]);
    let back = given(asked_for.after.clone()).by(staff()).at(40).when(cancel());
    assert!(back.happens(&["Erasure"]).after.customer.is_none());
    let due = given(asked_for.after).by(staff()).at(50).when(at_once(2)).after;
    let then = given(due).by(Actor::Service).at(60).when(begin(&[]));
    then.tells(&["privacy.erasure_started", "privacy.erasure_completed"]);
}

/// Its own deletion was asked for, and that of the customer that it was merged into came first.
#[test]
fn p2_who_was_erased_along_with_another_is_told_to_the_services_all_the_same() {
    let gone = given(active()).by(staff()).at(20).when(Command::DeleteCustomer { if_match: None });
    let mut along = given(gone.after).by(staff()).at(30).when(at_once(1)).after;
    along.departed.as_mut().unwrap().status = Status::Erased;
    let begun = given(along).by(Actor::Service).at(60).when(begin(&[StepName::AnonymizeOrders]));
    let begun = begun.tells(&["privacy.erasure_started", "order.anonymize"]);
    assert_eq!(asked(&begun.after).state, ErasureState::Running);
    given(begun.after).by(staff()).at(61).when(cancel()).refused(Rejection::NotFound);
}

#[test]
fn p2_whoever_a_backup_brings_back_is_erased_again_whatever_stands_against_it() {
    let held = given(active()).by(staff()).at(10).when(hold()).after;
    let frozen = given(active()).by(staff()).at(10).when(request(1)).after;
    let gone =
        given(active()).by(staff()).at(20).when(Command::DeleteCustomer { if_match: None }).after;
    let commands = [StepName::AnonymizeOrders, StepName::ForgetNotifications];
    for state in [active(), held, frozen.clone(), gone] {
        let lives = state.customer.is_some();
        let then = given(state).by(Actor::Operator).at(60).when(again(&commands, 7));
        let then = match lives {
            true => then.tells(&[
                "customer.status_changed",
                "privacy.erasure_started",
                "order.anonymize",
                "notification.forget",
            ]),
            false => {
                then.tells(&["privacy.erasure_started", "order.anonymize", "notification.forget"])
            }
        };
        assert!(then.after.customer.is_none());
        let erasure = asked(&then.after);
        assert_eq!((erasure.state, erasure.steps.len()), (ErasureState::Running, 3));
        assert_eq!(erasure.commands, 2);
    }
    let known = asked(&frozen).id;
    let then = given(frozen).by(Actor::Operator).at(60).when(again(&[], 7));
    let erasure = asked(&then.after);
    assert_eq!(erasure.state, ErasureState::Completed, "there is nobody to be told");
    assert_eq!(erasure.id, known, "what was asked for before the backup is this erasure");
    let unasked = given(active()).by(Actor::Operator).at(60).when(again(&commands, 7));
    let erasure = asked(&unasked.after);
    assert_eq!(erasure.id, ErasureId(Uuid::from_u128(7)));
    assert_eq!(erasure.requested_by, Requester::Operator);
    let after = given(unasked.after.clone()).by(Actor::Operator).at(61);
    after.when(again(&commands, 8)).refused(Rejection::NotFound);
    given(State::default()).by(Actor::Operator).when(again(&[], 7)).refused(Rejection::NotFound);
}

/// Events of every kind.
pub fn events() -> Vec<Event> {
    let state = begun(&StepName::COMMANDS);
    let erasure = asked(&state).clone();
    let (id, at_now) = (erasure.id, at(1));
    let by_staff = Erasure { requested_by: Requester::Staff("key".to_owned()), ..erasure.clone() };
    let by_owner = Erasure { requested_by: Requester::Owner, ..erasure.clone() };
    let hold = LegalHold {
        id: HoldId(Uuid::from_u128(6_900)),
        customer_id: customer_id(),
        reason: reason(),
        placed_by: "key".to_owned(),
        placed_at: at(1),
        released: None,
    };
    let release = Release { by: "key".to_owned(), at: at(2) };
    let local = erasure.steps[0].clone();
    let (step, name) = (step_id(1), StepName::AnonymizeOrders);
    let mut events = vec![
        ErasureEvent::Requested(Box::new(by_owner)),
        ErasureEvent::Requested(Box::new(by_staff)),
        ErasureEvent::Hastened { id, at: at_now },
        ErasureEvent::Cancelled { id, at: at_now },
        ErasureEvent::MarketingSwitched { on: false, version: 2, at: at_now },
        ErasureEvent::HoldPlaced(hold.clone()),
        ErasureEvent::HoldReleased { id: hold.id, release },
        ErasureEvent::PutOff { id, obstacle: Obstacle::LegalHold, at: at_now },
        ErasureEvent::Begun { id, local, at: at_now },
        ErasureEvent::StepFailed { step, name, error: "down".to_owned(), next_try_at: at(9) },
        ErasureEvent::StepDone { step, name, at: at_now },
        ErasureEvent::Completed { id, at: at_now },
        ErasureEvent::Repeated {
            request: Box::new(Erasure {
                requested_by: Requester::Operator,
                state: ErasureState::Scheduled,
                ..erasure.clone()
            }),
            repeats: id,
        },
    ];
    for (number, step) in (1..).zip(&erasure.steps[1..]) {
        events.push(ErasureEvent::Commanded {
            erasure: id,
            customer_id: customer_id(),
            number,
            message: message_id(1),
            step: step.clone(),
        });
    }
    events.into_iter().map(Event::Erasure).collect()
}
