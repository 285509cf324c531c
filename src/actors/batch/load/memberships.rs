//! The segments that customers belong to, when they may flip, and, where one is to be judged, all that
//! conditions may ask about it: read under the customer's lock, and under that of what is in force.

use super::Wanted;
use crate::actors::segments::Standards;
use crate::db;
use crate::db::segment_members::{Flip, Member};
use crate::db::transactions::QueryError;
use crate::domain::command::{Command, MembershipCommand};
use crate::domain::segment::Facts;
use crate::domain::segment::membership::InForce;
use crate::domain::{CustomerId, State, Submission};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Found {
    members: Vec<Member>,
    flips: Vec<Flip>,
    facts: BTreeMap<Uuid, Facts>,
    in_force: Option<Arc<InForce>>,
}

/// What is in force until the transaction ends, where a command goes by it.
pub(super) async fn hold(
    connection: &db::Connection,
    submissions: &[Submission],
) -> Result<Option<InForce>, QueryError> {
    if !submissions.iter().any(|one| one.command.holds_segments()) {
        return Ok(None);
    }
    let named = submissions.iter().filter_map(|one| match &one.command {
        Command::Membership(command) => command.puts_into().map(|segment| segment.0),
        _ => None,
    });
    let statics: Vec<Uuid> = named.collect();
    db::segment_book::hold(connection, &statics).await.map(Some)
}

pub(super) async fn load(
    connection: &db::Connection,
    wanted: &Wanted,
    submissions: &[Submission],
    in_force: Option<InForce>,
    standards: &Standards,
) -> Result<Found, QueryError> {
    let whose = &wanted.memberships;
    if whose.is_empty() {
        return Ok(Found::default());
    }
    let version = in_force.as_ref().map(|one| one.version);
    let (members, flips, facts) = tokio::try_join!(
        db::segment_members::of_customers(connection, whose),
        db::segment_members::flips(connection, whose),
        facts(connection, &wanted.facts, submissions, version, standards),
    )?;
    Ok(Found { members, flips, facts, in_force: in_force.map(Arc::new) })
}

/// What the rules read that may be judged; nothing, where they are not those that are in force.
async fn facts(
    connection: &db::Connection,
    judged: &[Uuid],
    submissions: &[Submission],
    version: Option<i64>,
    standards: &Standards,
) -> Result<BTreeMap<Uuid, Facts>, QueryError> {
    let known = standards.known();
    if judged.is_empty() || version != Some(known.programs.version) {
        return Ok(BTreeMap::new());
    }
    let mut needs = db::segments::Needs::default();
    for submission in submissions {
        if let Command::Membership(MembershipCommand::Judge { programs, asked, .. }) =
            &submission.command
        {
            for program in programs.reached(asked) {
                needs.add(program.checked.condition());
            }
        }
    }
    known.facts(connection, judged, needs).await
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for Member { customer_id, segment_id, code, held } in self.members {
            let memberships = &mut states.entry(customer_id).or_default().memberships;
            memberships.held.insert(segment_id, held);
            memberships.codes.insert(segment_id, code);
        }
        for Flip { customer_id, segment_id, due_at } in self.flips {
            let memberships = &mut states.entry(customer_id).or_default().memberships;
            memberships.flips.insert(segment_id, due_at);
        }
        for (id, facts) in self.facts {
            let memberships = &mut states.entry(CustomerId(id)).or_default().memberships;
            memberships.facts = Some(Arc::new(facts));
        }
        if let Some(in_force) = self.in_force {
            for state in states.values_mut() {
                state.memberships.in_force = Some(Arc::clone(&in_force));
            }
        }
    }
}
