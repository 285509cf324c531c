//! The catalogue of problem types: every `code` an error answer may bear, with its status and a
//! page that explains it at `/problems/<code>`. An answer can only be built from a [`Code`], so
//! no error leaves the service that has no page.

use actix_web::{HttpRequest, HttpResponse, get, http::header, web};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::problem::Problem;

/// One kind of problem, as clients see it.
#[derive(Serialize, ToSchema)]
pub struct ProblemType {
    /// The stable name; the last part of the problem's `type`.
    pub code: &'static str,
    /// The HTTP status that always goes with it.
    pub status: u16,
    /// One short line, the same for every occurrence.
    pub title: &'static str,
    /// What happened and what the caller can do about it.
    pub explanation: &'static str,
}

macro_rules! problems {
    ($($variant:ident $code:literal $status:literal $title:literal $explanation:literal)*) => {
        /// The name of a problem type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &[Code] = &[$(Code::$variant),*];
        }

        /// Every problem type; the entry of a [`Code`] stands at the code's own position.
        pub static PROBLEMS: &[ProblemType] = &[
            $(ProblemType { code: $code, status: $status, title: $title, explanation: $explanation },)*
        ];
    };
}

problems! {
    // --- the request cannot be read
    MalformedJson "malformed_json" 400 "The body is not acceptable JSON"
        "The body could not be read as JSON: it is empty, not UTF-8, breaks the grammar, names a key twice in one object, nests deeper than 32 levels, or holds a number outside ±2^53. The detail tells the line and column. Correct the body; repeating it unchanged cannot succeed."
    MalformedRequest "malformed_request" 400 "The request could not be read"
        "The request's framing, path or headers are not what HTTP or this API define, or the body ended before its announced length."
    MalformedQuery "malformed_query" 400 "The query string could not be read"
        "The query string is not valid percent-encoded UTF-8, or names one parameter twice."
    MalformedHeader "malformed_header" 400 "A request header could not be read"
        "A header such as If-Match or If-None-Match does not have the form that HTTP defines for it."
    PurposeRequired "purpose_required" 400 "Say what it is read for"
        "The shop has staff say what it reads personal data for. Send the header X-Purpose, the code of a ticket: 1 to 120 letters of A-Z and a-z, digits and signs of - _ . # / :, and no space. It stays in the audit trail; do not name a person."
    MalformedIdempotencyKey "malformed_idempotency_key" 400 "The Idempotency-Key could not be read"
        "Send the header once, with 1 to 255 visible ASCII characters, plain or in double quotes."
    BodyTimeout "body_timeout" 408 "The body did not arrive in time"
        "The whole body must arrive within the configured time. Nothing was changed; send the request again."
    PayloadTooLarge "payload_too_large" 413 "The body is too large"
        "A body may hold at most 64 KiB unless the route says otherwise."
    UnsupportedMediaType "unsupported_media_type" 415 "The content type is not supported"
        "Send `application/json`; for PATCH also `application/merge-patch+json`; for an import `text/csv` or `application/x-ndjson`. UTF-8 only, without content encoding."
    ValidationFailed "validation_failed" 422 "Some fields are not valid"
        "The member `errors` lists every failing field: `pointer` (or `parameter` for the query string) says where, `code` what is wrong, `detail` says it in words."

    // --- who is asking
    Unauthorized "unauthorized" 401 "Not signed in"
        "The route needs `Authorization: Bearer <token>`, and the token is missing, unknown, expired or revoked. Refresh it or sign in again."
    InvalidCredentials "invalid_credentials" 401 "The credentials are not right"
        "The identifier and the secret do not belong together. The answer is the same whether or not the account exists."
    RefreshInvalid "refresh_invalid" 401 "The refresh token is not valid"
        "The refresh token is unknown, expired or revoked. Sign in again."
    RefreshReused "refresh_reused" 401 "The refresh token was used before"
        "A refresh token works once. Its second use outside the short grace ends the whole session, because it may have been stolen. Sign in again."
    Forbidden "forbidden" 403 "Not allowed"
        "The caller is known but may not do this."
    InsufficientScope "insufficient_scope" 403 "The key lacks a scope"
        "The API key is valid but does not carry the scope that the route needs."
    EmailUnverified "email_unverified" 403 "The e-mail address is not verified"
        "The password is right, but the address has to be verified first. A new mail can be asked for at /v1/auth/email/resend."
    ProofInvalid "proof_invalid" 403 "The proof is wrong"
        "The password or code that was shown again is not right; it was counted. Nothing was changed."
    ProofNeeded "proof_needed" 403 "A fresh proof is needed"
        "This change asks for `password` or `code` in the body. Without either it is possible only right after signing in."
    DeletionPending "deletion_pending" 403 "The account is scheduled for deletion"
        "Within its grace its owner may look at the deletion and cancel it, at /v1/me/privacy/deletion, get a copy of its data, at /v1/me/privacy/export, withdraw consent, at /v1/me/consents/{purpose}, and do nothing else."
    AccountSuspended "account_suspended" 403 "The account is suspended"
        "The password is right, but the shop has suspended the account."
    AccountInactive "account_inactive" 403 "The account is inactive"
        "The password is right, but the account is not in use at present."

    // --- what is asked for
    NotFound "not_found" 404 "Not found"
        "There is nothing here for this caller. A resource of somebody else answers the same."
    MethodNotAllowed "method_not_allowed" 405 "The method is not allowed here"
        "The path exists but not for this method; the header Allow lists the methods that it has."
    UriTooLong "uri_too_long" 414 "The address is too long"
        "Path and query string together may hold at most 4 KiB."

    // --- the state of things
    PreconditionFailed "precondition_failed" 412 "The resource has changed"
        "If-Match names another version than the current one. Read the resource again and decide anew."
    PreconditionRequired "precondition_required" 428 "If-Match is required"
        "This route changes only a version that the caller names: send If-Match with the ETag of the last read."
    IdempotencyKeyReused "idempotency_key_reused" 422 "The Idempotency-Key belongs to another request"
        "The key was used with another method, path or body. Use a new key for a new request."
    IdempotencyInProgress "idempotency_in_progress" 409 "The first request with this key is still running"
        "Repeat the same request a moment later to receive the first one's answer."
    Conflict "conflict" 409 "The current state does not allow it"
        "The request is sound but does not fit the present state of the resource. Read it again and decide anew."
    TransitionNotAllowed "transition_not_allowed" 409 "The status does not allow this move"
        "The customer's status can only move along the documented paths."
    MergeNotAllowed "merge_not_allowed" 409 "These two cannot be merged"
        "A suspended customer is merged into a suspended one only, a pending one takes in pending ones only, and none takes part whose deletion is scheduled. The detail tells where both stand; move the status of one of them first."
    AccountFrozen "account_frozen" 409 "The account is frozen"
        "A deletion is scheduled, so nothing can be changed; cancelling the deletion thaws the account."
    EmailTaken "email_taken" 409 "The e-mail address is in use"
        "Another living customer has this address."
    MfaEnabled "mfa_enabled" 409 "An authenticator is set up already"
        "There is one authenticator at a time. Remove it before setting up another one."
    MfaNotStarted "mfa_not_started" 409 "No authenticator waits for a code"
        "Ask for a secret at /v1/me/mfa/totp first; it waits an hour for its first code."
    MfaNotEnabled "mfa_not_enabled" 409 "There is no second factor"
        "Backup codes stand in for a second factor. Set one up first."
    PhoneTaken "phone_taken" 409 "The phone number is in use"
        "Another living customer has verified this number."
    PhoneAlreadyVerified "phone_already_verified" 409 "The phone number is verified already"
        "The number is the customer's own and verified; there is nothing to confirm."
    AddressLimitReached "address_limit_reached" 409 "No room for another address"
        "The customer already has as many addresses as the shop allows. Delete one first."
    LastAddress "last_address" 409 "The last address stays"
        "A customer's only address cannot be deleted. Add another one first."
    WishlistLimitReached "wishlist_limit_reached" 409 "No room for another wishlist"
        "The customer already has as many wishlists as the shop allows. Delete one first."
    WishlistFull "wishlist_full" 409 "No room on the wishlist"
        "As many products stand on the wishlist as the shop allows. Take one off, or use another list."
    TagLimitReached "tag_limit_reached" 409 "No room for another tag"
        "A customer bears at most 50 tags. Take one away first."
    NoteLimitReached "note_limit_reached" 409 "No room for another note"
        "There are as many notes about the customer as the shop allows. Delete one first."
    ImportOver "import_over" 409 "The import is over"
        "It was completed or failed before; what it imported stays."
    GroupExists "group_exists" 409 "There is a group of this code"
        "A group's code is its name for good. Choose another one, or rename the group that has it."
    GroupInUse "group_in_use" 409 "The group has customers"
        "A group that customers belong to, or deleted ones did, cannot be deleted. Move them to another group first."
    GroupIsDefault "group_is_default" 409 "New customers get this group"
        "The configuration names the group as a default (`customers.default_group_…`). Name another one there first."
    AttributeExists "attribute_exists" 409 "There is an attribute of this key"
        "A custom attribute's key is its name for good, over profile and preferences. Choose another one, or change the attribute that has it."
    AttributeInUse "attribute_in_use" 409 "Customers hold values of the attribute, or segments ask about it"
        "While customers hold values, or segments ask about it, an attribute is not deleted, keeps its type, and none of its limits is narrowed: a value that is kept is never wrong. Widen it, or remove the values first."
    AttributeLimitReached "attribute_limit_reached" 409 "No room for another attribute"
        "The shop has as many custom attributes as it may have. Delete one that nobody uses first."
    SegmentExists "segment_exists" 409 "There is a segment of this code"
        "A segment's code is its name for good. Choose another one, or change the segment that has it."
    SegmentInUse "segment_in_use" 409 "Other segments ask about the segment"
        "A segment that others name in their definitions cannot be deleted. Change these first."
    SegmentIsDefault "segment_is_default" 409 "New customers are put into this segment"
        "The configuration names the segment as a default (`segments.defaults`). Take it out there first, on every node."
    SegmentLimitReached "segment_limit_reached" 409 "No room for another segment"
        "The shop has as many segments as it may have. Delete one that nobody uses first."
    SegmentNotStatic "segment_not_static" 409 "Who belongs to the segment is not said by hand"
        "Its definition says who belongs to it. Change that, or make a static segment."
    PasskeysOff "passkeys_off" 404 "Passkeys are not offered"
        "This shop has not switched passkeys on."
    PasskeyLimitReached "passkey_limit_reached" 409 "No room for another passkey"
        "The customer already has as many passkeys as the shop allows. Remove one first."
    PasskeyKnown "passkey_known" 409 "The passkey is registered already"
        "The authenticator's passkey belongs to an account already, this one or another."
    PasskeyRefused "passkey_refused" 422 "The passkey cannot be used"
        "What the authenticator answered does not fit the challenge, or the passkey is none that this shop can use: it must verify its user and be kept by the authenticator. Nothing was changed; begin anew."
    ConsentNotOffered "consent_not_offered" 409 "Consent is not asked for"
        "The shop does not ask for consent to this purpose at present. What was granted before can be read and withdrawn."
    ConsentTextOutdated "consent_text_outdated" 409 "The text has changed"
        "The grant names another version of the text than the one in use, so the customer agreed to something else. Show the current text, whose version the purpose tells, and ask again."
    DeletionScheduled "deletion_scheduled" 409 "The deletion was asked for before"
        "The account is scheduled for deletion already. It can be cancelled, or asked for at once."
    ErasureBegun "erasure_begun" 409 "The deletion is under way"
        "Its grace is over: nothing is kept any more, and nothing can be brought back."
    ErasureOpen "erasure_open" 409 "The erasure is not over"
        "There is a certificate when every service that was told to forget has answered that it did."
    LegalHoldExists "legal_hold_exists" 409 "There is a legal hold already"
        "One duty to keep stands against the customer's erasure at a time. Release it first."
    ActiveOrders "active_orders" 409 "There are active orders"
        "The account cannot be deleted while orders are on their way."
    LinkRequired "link_required" 409 "The account has to be linked by its owner"
        "An account with this address exists. Sign in to it, then link the provider."
    ProviderAlreadyLinked "provider_already_linked" 409 "Another account at this provider is linked"
        "One account of each provider can be linked. Unlink the other one first."
    IdentityTaken "identity_taken" 409 "The identity is linked to another account"
        "The provider's account is already linked to another customer."
    LastSignInMethod "last_sign_in_method" 409 "The last way to sign in stays"
        "Without this method nobody could sign in any more. Add another one first."
    ExportRunning "export_running" 409 "An export is already running"
        "Only one copy of a customer's data is made at a time. The detail names it: look at it until it is ready or failed, then ask again."
    ExportNotReady "export_not_ready" 409 "The export cannot be downloaded"
        "It is not made yet, or its making failed; its state tells which. Look at it again later, or ask for another one."
    ExportExpired "export_expired" 404 "The export has expired"
        "What was made is kept for some days and gone by now. Ask for another one."
    TokenInvalid "token_invalid" 422 "The token is not valid"
        "The token is unknown, expired, already used, or voided by a newer one. Ask for a new one."
    FlowInvalid "flow_invalid" 401 "The challenge or state is not valid"
        "It is unknown, expired, already used, or made for something else. Begin anew."
    IdentityInvalid "identity_invalid" 401 "The provider's word is not accepted"
        "The code, the state or the token is not valid, or was used before. Begin anew at the provider."
    RedirectUriNotAllowed "redirect_uri_not_allowed" 422 "The redirect address is not allowed"
        "`redirect_uri` must be one of the addresses that are configured for the provider, exactly."
    EmailMismatch "email_mismatch" 422 "The e-mail addresses differ"
        "The provider vouches for another address than the one claimed."
    EmailNotVerifiedByProvider "email_not_verified_by_provider" 422 "The provider has not verified the address"
        "The provider does not vouch for the e-mail address, so it cannot be used to sign in."

    // --- too much, or trouble on our side
    RateLimited "rate_limited" 429 "Too many requests"
        "Wait for the seconds that Retry-After tells, then try again."
    ExportLimitReached "export_limit_reached" 429 "As many exports as a day may have"
        "A customer may ask for so many copies of its data within 24 hours. What was made can be downloaded until it expires; ask for another one after Retry-After."
    LoginLocked "login_locked" 429 "Signing in is locked for a while"
        "Too many failed attempts for this identifier. Wait for the seconds that Retry-After tells. The answer is the same whether or not the account exists."
    Internal "internal" 500 "Something went wrong here"
        "The service failed in a way it did not expect. The failure is recorded under the request id."
    Overloaded "overloaded" 503 "Too busy"
        "The service has as much work as it can finish in time. Nothing was changed; try again after Retry-After."
    Unavailable "unavailable" 503 "Not available at present"
        "Something that the service depends on does not answer, or the service is stopping. Nothing was changed; try again after Retry-After."
    OutcomeUnknown "outcome_unknown" 503 "It is not known whether the change took effect"
        "The change was under way when the connection to the database was lost. Repeat the request with the same Idempotency-Key: it takes effect once."
    TimedOut "timed_out" 503 "The answer took too long"
        "The request was given up after the configured time; a change may still have taken effect. Repeat it with the same Idempotency-Key."
    ProviderUnavailable "provider_unavailable" 503 "The identity provider does not answer"
        "The provider is down or too slow. Try again after Retry-After, or sign in another way."
    RateLimiterUnavailable "rate_limiter_unavailable" 503 "The rate limiter does not answer"
        "Signing in is refused while attempts cannot be counted. Try again after Retry-After."
}

impl Code {
    /// The catalogue's entry.
    pub fn entry(self) -> &'static ProblemType {
        &PROBLEMS[self as usize]
    }

    /// The name as it stands in answers, such as `not_found`.
    pub fn as_str(self) -> &'static str {
        self.entry().code
    }

    /// The code of a name, if there is one.
    pub fn find(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

/// Registers the pages of the catalogue.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(explain);
}

/// Every problem type.
#[utoipa::path(tag = "problems", responses((status = 200, body = [ProblemType])))]
#[get("/problems")]
async fn list(request: HttpRequest) -> HttpResponse {
    if wants_html(&request) {
        let rows: String = PROBLEMS.iter().map(html_of).collect();
        return html("Problems", &rows);
    }
    json(&PROBLEMS)
}

/// What one problem type means.
#[utoipa::path(
    tag = "problems",
    params(("code" = String, Path, description = "the code, such as `not_found`")),
    responses((status = 200, body = ProblemType))
)]
#[get("/problems/{code}")]
async fn explain(request: HttpRequest, code: web::Path<String>) -> Result<HttpResponse, Problem> {
    let entry = Code::find(&code).ok_or(Problem::new(Code::NotFound))?.entry();
    Ok(if wants_html(&request) { html(entry.title, &html_of(entry)) } else { json(entry) })
}

/// Browsers name `text/html`; programs that follow `type` mostly take anything.
fn wants_html(request: &HttpRequest) -> bool {
    request
        .headers()
        .get_all(header::ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

fn json<T: Serialize + ?Sized>(value: &T) -> HttpResponse {
    cacheable().json(value)
}

fn html(title: &str, body: &str) -> HttpResponse {
    cacheable().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><body>{body}</body></html>"
    ))
}

fn cacheable() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .insert_header((header::VARY, "accept"));
    response
}

fn html_of(entry: &ProblemType) -> String {
    let ProblemType { code, status, title, explanation } = entry;
    format!(
        "<h2 id=\"{code}\">{title}</h2><p><code>{code}</code>, status {status}</p><p>{}</p>",
        explanation.replace('<', "&lt;").replace('>', "&gt;")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use actix_web::{
        App,
        http::StatusCode,
        test::{
            TestRequest, call_and_read_body, call_and_read_body_json, call_service, init_service,
        },
    };
    use utoipa_actix_web::AppExt;

    use super::*;

    #[test]
    fn every_code_finds_its_own_entry_and_names_are_unique() {
        assert_eq!(Code::ALL.len(), PROBLEMS.len());
        let mut names = HashSet::new();
        for code in Code::ALL {
            assert_eq!(Code::find(code.as_str()), Some(*code));
            assert!(names.insert(code.as_str()), "{} stands twice", code.as_str());
            let entry = code.entry();
            assert!(StatusCode::from_u16(entry.status).is_ok_and(|status| status.as_u16() >= 400));
            assert_ne!(entry.status, 423, "a locked login answers 429");
            assert!(entry.code.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            assert!(!entry.title.ends_with('.') && entry.explanation.ends_with('.'));
        }
    }

    #[test]
    fn the_codes_of_the_contract_have_their_status() {
        for (code, status) in [
            ("invalid_credentials", 401),
            ("refresh_reused", 401),
            ("email_unverified", 403),
            ("account_suspended", 403),
            ("account_inactive", 403),
            ("email_taken", 409),
            ("transition_not_allowed", 409),
            ("address_limit_reached", 409),
            ("last_address", 409),
            ("active_orders", 409),
            ("link_required", 409),
            ("idempotency_in_progress", 409),
            ("idempotency_key_reused", 422),
            ("email_mismatch", 422),
            ("email_not_verified_by_provider", 422),
            ("login_locked", 429),
            ("rate_limited", 429),
            ("rate_limiter_unavailable", 503),
            ("overloaded", 503),
        ] {
            assert_eq!(Code::find(code).map(|code| code.entry().status), Some(status), "{code}");
        }
    }

    #[actix_web::test]
    async fn each_code_has_a_page_for_programs_and_for_people() {
        let app =
            init_service(App::new().into_utoipa_app().configure(routes).split_for_parts().0).await;
        for entry in PROBLEMS {
            let uri = format!("/problems/{}", entry.code);
            let request = TestRequest::get().uri(&uri).to_request();
            let body: serde_json::Value = call_and_read_body_json(&app, request).await;
            assert_eq!(body["code"], entry.code);
            let request = TestRequest::get()
                .uri(&uri)
                .insert_header((header::ACCEPT, "text/html,*/*;q=0.8"))
                .to_request();
            let page = call_and_read_body(&app, request).await;
            assert!(std::str::from_utf8(&page).unwrap().contains(entry.title));
        }
        let request = TestRequest::get().uri("/problems/none").to_request();
        assert_eq!(call_service(&app, request).await.status(), StatusCode::NOT_FOUND);
        let request = TestRequest::get().uri("/problems").to_request();
        let all: Vec<serde_json::Value> = call_and_read_body_json(&app, request).await;
        assert_eq!(all.len(), PROBLEMS.len());
    }
}
