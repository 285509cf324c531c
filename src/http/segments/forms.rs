//! What a segment is made from and changed by. A definition is checked while it is read: each of its
//! mistakes is a fault of the field, with its place.

use crate::domain::attribute::AttributeKey;
use crate::domain::place::TimeZone;
use crate::domain::segment::attributes::Mark;
use crate::domain::segment::record::{
    Membership, MembershipKind, NewSegment, Rule, SegmentChange, SegmentCode, SegmentTags,
};
use crate::domain::segment::{Checked, Mistake, Place, Schema};
use crate::domain::text::Label;
use crate::http::field::FieldFault;
use crate::http::form::Form;
use crate::http::values::{change, given, parsed, word};
use utoipa::ToSchema;

/// What a new segment is made from.
#[derive(ToSchema)]
#[schema(as = NewSegment)]
#[expect(dead_code, reason = "describes the fields; they are read into a `NewSegment`")]
pub struct NewSegmentForm {
    /// 1 to 64 of `a-z`, `0-9`, `_` and `-`, beginning with a letter or a digit.
    #[schema(max_length = 64, example = "regulars")]
    code: String,
    /// `rule` or `static`; by default `rule` with a definition, `static` without one.
    #[schema(example = "rule")]
    kind: Option<String>,
    /// Of a rule, and required there: the condition, in the segment language.
    #[schema(example = "number_of_orders >= 3 AND last_order_date >= -90d")]
    definition: Option<String>,
    /// Of a rule: where its days begin and end; IANA name. The shop's by default.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    #[schema(max_length = 80, example = "Regular customers")]
    title: String,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Groups of segments that it belongs to.
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    /// Whether it has members at once.
    #[schema(default = true)]
    active: Option<bool>,
}

impl NewSegmentForm {
    pub fn read(form: &mut Form<'_>, schema: &Schema) -> Option<NewSegment> {
        let code = form.required("code", |raw| parsed(raw, SegmentCode::parse));
        let kind = form.optional("kind", |raw| raw.one_of(&MembershipKind::ALL));
        let title = form.required("title", |raw| parsed(raw, Label::parse));
        let description =
            form.optional("description", |raw| parsed(raw, crate::domain::attribute::description));
        let tags = form.optional_list("tags", SegmentTags::MAX, word);
        let tags = SegmentTags::parse(&tags.unwrap_or_default());
        let active = form.optional("active", |raw| raw.boolean()).unwrap_or(true);
        let zone = form.optional("time_zone", |raw| parsed(raw, TimeZone::parse));
        let text = form.optional("definition", |raw| raw.text());
        let defined = text.is_some() || zone.is_some();
        let by_default = if defined { MembershipKind::Rule } else { MembershipKind::Static };
        let membership = match (kind.unwrap_or(by_default), text) {
            (MembershipKind::Rule, Some(text)) => {
                let zone = zone.unwrap_or_else(|| shops(schema));
                rule(form, text, zone, schema).map(Membership::Rule)
            }
            (MembershipKind::Rule, None) => {
                form.refuse("definition", FieldFault::required());
                None
            }
            (MembershipKind::Static, _) => {
                if defined {
                    let field = if text.is_some() { "definition" } else { "time_zone" };
                    form.refuse(
                        field,
                        FieldFault::new("not_applicable", "A static segment has none."),
                    );
                }
                Some(Membership::Static)
            }
        };
        Some(NewSegment {
            code: code?,
            membership: membership?,
            title: title?,
            description,
            tags: tags.ok()?,
            active,
        })
    }
}

/// A change of a segment. Its code and its kind stay.
#[derive(ToSchema)]
#[schema(as = SegmentPatch)]
#[expect(dead_code, reason = "describes the fields; they are read into a `SegmentChange`")]
pub struct SegmentPatch {
    /// Of a rule: the condition, in the segment language.
    #[schema(nullable = false, example = "number_of_orders >= 5")]
    definition: Option<String>,
    /// Of a rule: where its days begin and end; IANA name. Without a definition, that of the segment is
    /// read anew by it.
    #[schema(nullable = false, example = "Europe/Berlin")]
    time_zone: Option<String>,
    #[schema(nullable = false, max_length = 80)]
    title: Option<String>,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Replaces all of them; `null` takes all away.
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    /// Whether it has members. One that is static always has.
    #[schema(nullable = false)]
    active: Option<bool>,
}

impl SegmentPatch {
    /// `current`: the rule as it is, of which what is not changed is kept.
    pub fn read(
        form: &mut Form<'_>,
        current: Option<&Rule>,
        schema: &Schema,
    ) -> Option<SegmentChange> {
        let zone = given(form.patch_required("time_zone", |raw| parsed(raw, TimeZone::parse)));
        let text = given(form.patch_required("definition", |raw| raw.text()));
        let title = given(form.patch_required("title", |raw| parsed(raw, Label::parse)));
        let description = change(
            form.patch("description", |raw| parsed(raw, crate::domain::attribute::description)),
        );
        let tags = given(form.patch_list("tags", SegmentTags::MAX, word));
        let tags = tags.map(|tags| SegmentTags::parse(&tags)).transpose();
        let active = given(form.patch_required("active", |raw| raw.boolean()));
        let mut redefined = None;
        if zone.is_some() || text.is_some() {
            match current {
                Some(current) => {
                    let zone = zone.unwrap_or_else(|| current.time_zone.clone());
                    let text = text.unwrap_or(&current.definition);
                    redefined = Some(rule(form, text, zone, schema)?);
                }
                None => {
                    let field = if text.is_some() { "definition" } else { "time_zone" };
                    let detail = "A static segment has none.";
                    form.refuse(field, FieldFault::new("not_applicable", detail));
                }
            }
        }
        Some(SegmentChange { rule: redefined, title, description, tags: tags.ok()?, active })
    }
}

/// Where the shop's own days begin and end.
fn shops(schema: &Schema) -> TimeZone {
    TimeZone::from_stored(schema.time_zone.name().to_owned())
}

/// A checked rule; `None` with each mistake noted at `definition`.
fn rule(form: &mut Form<'_>, text: &str, time_zone: TimeZone, schema: &Schema) -> Option<Rule> {
    let zone = time_zone.zone().unwrap_or(schema.time_zone);
    let against = Schema { time_zone: zone, ..schema.clone() };
    match Checked::parse(text, &against) {
        Ok(checked) => {
            let uses = checked.segments().iter().cloned().map(SegmentCode::from_stored).collect();
            let custom = checked.marks().iter().filter_map(|mark| match mark {
                Mark::Custom(key) => {
                    let kind = schema.custom.get(key)?.kind;
                    Some((AttributeKey::from_stored(key.clone()), kind))
                }
                _ => None,
            });
            let (definition, attributes) = (checked.canonical().to_owned(), custom.collect());
            Some(Rule { definition, time_zone, uses, attributes })
        }
        Err(mistakes) => {
            for mistake in &mistakes.list {
                form.refuse("definition", fault(text, mistake));
            }
            None
        }
    }
}

/// A mistake with its place: that of the byte, too, for programs that mark it.
pub fn fault(text: &str, mistake: &Mistake) -> FieldFault {
    let Place { byte, line, column } = Place::of(text, mistake.span.start);
    let detail = format!("Line {line}, column {column} (byte {byte}): {mistake}.");
    FieldFault::new(mistake.code, detail.replace("?.", "?"))
}
