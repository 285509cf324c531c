//! What became of segments: the rows as they are after the batch, every revision on the way, and the
//! walk over the customers that a revision begins.

use super::all_done;
use crate::actors::batch::fold::SegmentStep;
use crate::db::statements::{
    BeginSegmentBuilds, DeleteSegments, ForgetSegmentAttributes, ForgetSegmentUses,
    InsertSegmentAttributes, InsertSegmentRevisions, InsertSegmentUses, InsertSegments,
    UpdateSegments,
};
use crate::db::transactions::QueryError;
use crate::db::{self, Connection};
use crate::domain::ids::SegmentId;
use crate::domain::segment::record::{Segment, SegmentEvent, Segments};
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct SegmentRows {
    new: InsertSegments,
    changed: UpdateSegments,
    deleted: DeleteSegments,
    revisions: InsertSegmentRevisions,
    forgotten_uses: ForgetSegmentUses,
    uses: InsertSegmentUses,
    forgotten_attributes: ForgetSegmentAttributes,
    attributes: InsertSegmentAttributes,
    builds: BeginSegmentBuilds,
}

/// One segment as the batch leaves it.
struct Left<'a> {
    is_new: bool,
    /// `None`: gone.
    segment: Option<&'a Segment>,
    redefined: bool,
    revised: bool,
}

impl SegmentRows {
    /// Whether a new revision is to be carried to all customers.
    pub(super) fn begin_walks(&self) -> bool {
        !self.builds.segment_id.is_empty()
    }

    /// `known`: all segments before the batch and after it, by which names become ids.
    pub(super) fn of(steps: &[SegmentStep<'_>], known: &Segments) -> Self {
        let mut rows = Self::default();
        let mut left: BTreeMap<SegmentId, Left<'_>> = BTreeMap::new();
        for (event, context) in steps {
            let (id, _) = event.place();
            let one = left.entry(id).or_insert(Left {
                is_new: false,
                segment: None,
                redefined: false,
                revised: false,
            });
            match event {
                SegmentEvent::Created(segment) => {
                    (one.is_new, one.redefined, one.revised) = (true, true, true);
                    one.segment = Some(segment);
                    rows.revisions.push(segment, context);
                }
                SegmentEvent::Changed { segment, changed } => {
                    let is = |name: &str| changed.iter().any(|changed| changed == name);
                    one.redefined |= is("definition");
                    if is("definition") || is("time_zone") || is("active") {
                        one.revised = true;
                        rows.revisions.push(segment, context);
                    }
                    one.segment = Some(segment);
                }
                SegmentEvent::Deleted { .. } => one.segment = None,
            }
        }
        for (id, one) in left {
            match one.segment {
                Some(segment) => rows.keep(segment, &one, known),
                None => rows.deleted.push(id),
            }
        }
        rows
    }

    fn keep(&mut self, segment: &Segment, left: &Left<'_>, known: &Segments) {
        match left.is_new {
            true => self.new.push(segment),
            false => self.changed.push(segment),
        }
        if left.revised && segment.is_walked() {
            self.builds.push(segment);
        }
        if !left.redefined {
            return;
        }
        if !left.is_new {
            self.forgotten_uses.push(segment.id);
            self.forgotten_attributes.push(segment.id);
        }
        let Some(rule) = segment.membership.rule() else { return };
        for used in rule.uses.iter().filter_map(|code| known.get(code)) {
            self.uses.push(segment.id, used.id);
        }
        for key in rule.attributes.keys() {
            self.attributes.push(segment.id, key);
        }
    }

    /// Rows to write; each is locked, or new, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.changed.len() + self.deleted.len()
    }

    /// Sends the statements without waiting in between. Answers with the number of segments written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        if self.len() == 0 {
            return Ok(0);
        }
        let segments = join_all([
            self.deleted.execute(connection).boxed(),
            self.changed.execute(connection).boxed(),
            self.new.execute(connection).boxed(),
        ]);
        let written = all_done(segments.await)?.into_iter().sum();
        let parts = join_all([
            self.revisions.execute(connection).boxed(),
            self.forgotten_uses.execute(connection).boxed(),
            self.uses.execute(connection).boxed(),
            self.forgotten_attributes.execute(connection).boxed(),
            self.attributes.execute(connection).boxed(),
            self.builds.execute(connection).boxed(),
        ]);
        all_done(parts.await)?;
        db::segment_book::turn_page(connection).await?;
        Ok(written)
    }
}
