//! The tables as the migrations make them. Generated: `UPDATE_SCHEMA=1 cargo test --test it schema`
//! writes it anew from a migrated database, and the same test fails when the two differ.

diesel::table! {
    /// Address books.
    addresses (customer_id, id) {
        /// UUIDv7.
        id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// The owner's name for it.
        label -> Nullable<Text>,
        /// Who receives there.
        recipient -> Text,
        /// Company.
        company -> Nullable<Text>,
        /// Street and number.
        line1 -> Text,
        /// Second line.
        line2 -> Nullable<Text>,
        /// City.
        city -> Text,
        /// State, province or region, as its owner wrote it.
        region -> Nullable<Text>,
        /// In the spelling of its country.
        postal_code -> Nullable<Text>,
        /// ISO 3166-1 alpha-2.
        country -> Text,
        /// E.164, for the carrier.
        phone -> Nullable<Text>,
        /// Whether parcels go there unless said otherwise.
        default_shipping -> Bool,
        /// Whether invoices go there unless said otherwise.
        default_billing -> Bool,
        /// When it was added.
        created_at -> Timestamptz,
        /// When it last changed.
        updated_at -> Timestamptz,
        /// When it was last added, changed or made a default: who inherits a deleted default.
        last_used_at -> Timestamptz,
        /// Rises by one with each change; the ETag.
        version -> Int8,
        /// ISO 3166-2, of its country; empty where the region is none that is known.
        region_code -> Nullable<Text>,
    }
}

diesel::table! {
    /// How far the latest computation of each kind is, or how it ended.
    analytics_runs (kind, currency) {
        /// rfm (cut points) or predictions (models).
        kind -> Text,
        /// Of the orders that are looked at.
        currency -> Text,
        /// When it began.
        started_at -> Timestamptz,
        /// Its latest sign of life.
        touched_at -> Timestamptz,
        /// reading, fitting, done or failed.
        stage -> Text,
        /// Customers read so far.
        customers -> Int8,
        /// How often the likelihood was computed so far.
        evaluations -> Int8,
        /// When it ended.
        finished_at -> Nullable<Timestamptz>,
        /// Why it failed, by name.
        fault -> Nullable<Text>,
    }
}

diesel::table! {
    /// What the shop keeps of its customers beyond the fields that every shop has; at most a few hundred.
    attribute_definitions (key) {
        /// What requests, messages and conditions name it by.
        key -> Text,
        /// UUIDv7; another one when the key is defined anew: what its messages are about.
        id -> Uuid,
        /// Where the values are: profile or preferences.
        part -> Text,
        /// Of which type they are.
        kind -> Text,
        /// Within which limits, by name; those that the type knows.
        limits -> Jsonb,
        /// Who may write values: customer (the owner, and staff) or staff.
        writer -> Text,
        /// Who may read them: likewise.
        reader -> Text,
        /// What people read.
        title -> Text,
        /// What it is for.
        description -> Nullable<Text>,
        /// Whether staff's search may ask for it.
        searchable -> Bool,
        /// When it came to be.
        created_at -> Timestamptz,
        /// When it last changed.
        updated_at -> Timestamptz,
        /// Rises by one with each change; the ETag, and the number of its latest message.
        version -> Int8,
    }
}

diesel::table! {
    /// Audit entries of one shard that were sealed together: a chain per shard.
    audit_blocks (shard, number) {
        /// Of which shard.
        shard -> Int2,
        /// From 1, per shard, without a gap.
        number -> Int8,
        /// The checkpoint that it was made with.
        checkpoint -> Int8,
        /// How many entries it is of.
        size -> Int4,
        /// SHA-256: the root of the Merkle tree over their leaves.
        root -> Bytea,
        /// SHA-256 of the shard's block before it; zeros: none.
        previous -> Bytea,
        /// The entries by their places, ascending; empty once they were deleted for their age.
        entries -> Array<Int8>,
        /// SHA-256 of each entry, in the same order; likewise.
        leaves -> Bytea,
        /// When the entries were deleted for their age.
        expired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// What the audit trail was at a time, signed: a chain.
    audit_checkpoints (number) {
        /// From 1, without a gap.
        number -> Int8,
        /// Every entry up to this place is in a block of it or of one before it.
        up_to -> Int8,
        /// How many blocks were made with it.
        blocks -> Int4,
        /// SHA-256: the root of the Merkle tree over them, by shard.
        root -> Bytea,
        /// SHA-256 of the checkpoint before it; zeros: none.
        previous -> Bytea,
        /// When it was made.
        sealed_at -> Timestamptz,
        /// The public key of the signature, Ed25519, base64.
        key -> Text,
        /// Over the hash of all columns but these two.
        signature -> Bytea,
    }
}

diesel::table! {
    /// Who did what to whom and when; append-only, without personal values.
    audit_entries (id) {
        /// UUIDv7.
        id -> Uuid,
        /// The customer's logical shard.
        shard -> Int2,
        /// To whom; empty where no customer is known.
        customer_id -> Nullable<Uuid>,
        /// anonymous, customer, staff, operator (at the command line) or service (by itself).
        actor_kind -> Text,
        /// The customer's or staff key's id.
        actor_id -> Nullable<Text>,
        /// What, e.g. address.created.
        action -> Text,
        /// Ids, names of fields, non-personal values; personal ones sealed by the customer's own key.
        data -> Jsonb,
        /// The request that asked for it.
        request_id -> Text,
        /// When it was decided.
        occurred_at -> Timestamptz,
        /// Its place among all, given before the commit; gaps mean nothing.
        seq -> Int8,
    }
}

diesel::table! {
    /// Codes that stand in for a lost second factor, each good once; a used one is deleted (rule A9).
    backup_codes (customer_id, code_hash) {
        /// Whose.
        customer_id -> Uuid,
        /// Keyed hash of the code and its owner.
        code_hash -> Bytea,
        /// When its set was issued.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// The ledger of consents: each grant and each withdrawal, never changed; a trigger refuses UPDATE, DELETE and TRUNCATE, but for the erasure of one customer (see consent_entries_stay).
    consent_entries (customer_id, number) {
        /// Whose.
        customer_id -> Uuid,
        /// From 1, per customer, without a gap.
        number -> Int8,
        /// What for, by its name in the configuration.
        purpose -> Text,
        /// By which way; all: the purpose knows no channels.
        channel -> Text,
        /// true: granted; false: withdrawn, or refused before it was ever granted.
        granted -> Bool,
        /// Which wording was agreed to; of grants only.
        text_version -> Nullable<Text>,
        /// In which language it was read; of grants only.
        locale -> Nullable<Text>,
        /// By which door: self_service, staff, registration, import or merge.
        source -> Text,
        /// Where the proof is kept, such as the number of a form.
        reference -> Nullable<Text>,
        /// Who said so: anonymous (the customer, on becoming one), customer, staff, operator or service.
        actor_kind -> Text,
        /// The customer's or staff key's id.
        actor_id -> Nullable<Text>,
        /// The request that asked for it, which is its proof where there is no reference.
        request_id -> Text,
        /// When; never before that of the entry before it.
        occurred_at -> Timestamptz,
    }
}

diesel::table! {
    /// What holds: the newest entry of each purpose and channel, written in the entry's transaction, so that a decision, a mail or a segment reads a few rows however long the ledger is.
    consents (customer_id, purpose, channel) {
        /// Whose.
        customer_id -> Uuid,
        /// What for.
        purpose -> Text,
        /// By which way.
        channel -> Text,
        /// Whether it is granted.
        granted -> Bool,
        /// Which wording was agreed to; of grants only.
        text_version -> Nullable<Text>,
        /// In which language it was read; of grants only.
        locale -> Nullable<Text>,
        /// By which door the entry came in.
        source -> Text,
        /// The entry's number in the ledger.
        number -> Int8,
        /// The entry's instant.
        decided_at -> Timestamptz,
    }
}

diesel::table! {
    /// The groups a customer may belong to.
    customer_groups (code) {
        /// What requests and messages name it by.
        code -> Text,
        /// What people read.
        name -> Text,
        /// When it came to be.
        created_at -> Timestamptz,
        /// When it was last renamed.
        updated_at -> Timestamptz,
        /// Rises by one with each change; the ETag.
        version -> Int8,
    }
}

diesel::table! {
    /// Who owns an address or a number among living customers: keyed by the identifier, so that uniqueness survives distribution.
    customer_identifiers (kind, value) {
        /// email, phone, or social: and the name of an identity provider.
        kind -> Text,
        /// Canonical e-mail address, E.164 number, or the provider's name for the person.
        value -> Text,
        /// Its owner.
        customer_id -> Uuid,
        /// Given up, but kept for its owner until then; nobody signs in by it.
        held_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Customers that became one with another (rule L10); whoever erases a customer erases those that were merged into it.
    customer_merges (from_id) {
        /// Who departed.
        from_id -> Uuid,
        /// Who went on; may itself have been merged later.
        into_id -> Uuid,
        /// What moved, gave way and ended, in ids, counts and names of fields: the answer, should it be asked for again.
        report -> Jsonb,
        /// When.
        merged_at -> Timestamptz,
    }
}

diesel::table! {
    /// What staff wrote down about customers; for staff alone, and never changed.
    customer_notes (customer_id, id) {
        /// UUIDv7.
        id -> Uuid,
        /// About whom.
        customer_id -> Uuid,
        /// In the words of its author.
        text -> Text,
        /// The id of the staff key that wrote it.
        author -> Text,
        /// When it was written.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// How a customer wants to be spoken to.
    customer_preferences (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// BCP 47 language tag.
        locale -> Text,
        /// IANA time zone.
        timezone -> Text,
        /// ISO 4217 code.
        currency -> Text,
        /// May be contacted by e-mail.
        channel_email -> Bool,
        /// May be contacted by SMS.
        channel_sms -> Bool,
        /// May be contacted by push notification.
        channel_push -> Bool,
        /// Topics followed, sorted, without doubles.
        topics -> Array<Text>,
        /// Custom attributes by key, each as its definition says.
        custom -> Jsonb,
        /// Rises by one with each change; the ETag.
        version -> Int8,
    }
}

diesel::table! {
    /// Optional particulars of a customer.
    customer_profiles (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// Day of birth.
        date_of_birth -> Nullable<Date>,
        /// In the person's own words.
        gender -> Nullable<Text>,
        /// https address of a picture.
        avatar_url -> Nullable<Text>,
        /// Company name.
        company -> Nullable<Text>,
        /// Tax number as its country writes it.
        tax_id -> Nullable<Text>,
        /// A few lines about oneself.
        bio -> Nullable<Text>,
        /// Custom attributes by key, each as its definition says.
        custom -> Jsonb,
        /// Rises by one with each change; the ETag.
        version -> Int8,
    }
}

diesel::table! {
    /// Authenticators that customers set up as a second factor (rule A9).
    customer_totp (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// The shared secret, sealed by the customer's own key.
        secret -> Bytea,
        /// When it was handed out.
        created_at -> Timestamptz,
        /// First valid code; the factor counts from then on.
        confirmed_at -> Nullable<Timestamptz>,
        /// Latest time step whose code was accepted; none up to it is accepted again.
        last_step -> Nullable<Int8>,
    }
}

diesel::table! {
    /// A customer: what identifies it, what it is called, where it stands.
    customers (id) {
        /// UUIDv7, never reused.
        id -> Uuid,
        /// As its owner wrote it (NFC), for sending and showing.
        email -> Text,
        /// The form to compare: NFKC, case folded, domain in ASCII.
        email_canonical -> Text,
        /// When its owner proved to receive mail there.
        email_verified_at -> Nullable<Timestamptz>,
        /// E.164.
        phone -> Nullable<Text>,
        /// When its owner proved to receive codes there.
        phone_verified_at -> Nullable<Timestamptz>,
        /// In the person's own spelling.
        first_name -> Text,
        /// In the person's own spelling.
        last_name -> Text,
        /// individual or business.
        customer_type -> Text,
        /// The group it belongs to.
        group_code -> Text,
        /// Where it stands in its life (rule L3).
        status -> Text,
        /// What cancelling a scheduled deletion restores.
        status_before_deletion -> Nullable<Text>,
        /// Staff's labels, sorted, without doubles.
        tags -> Array<Text>,
        /// Whether advertising may be sent: what the consents to marketing come to, never set for itself.
        accepts_marketing -> Bool,
        /// When its newest session began.
        last_sign_in_at -> Nullable<Timestamptz>,
        /// When it came to be.
        created_at -> Timestamptz,
        /// When it, its profile or its preferences last changed.
        updated_at -> Timestamptz,
        /// Rises by one with each such change; the ETag.
        version -> Int8,
        /// Messages written for it so far.
        sequence -> Int8,
        /// When staff deleted it; it is then absent for every read but audit.
        deleted_at -> Nullable<Timestamptz>,
        /// Names and address in the form for search; each word after a space, so that a beginning can be looked for.
        search_text -> Text,
    }
}

diesel::table! {
    /// The key of each customer, under which what is told of it is sealed.
    customer_keys.data_keys (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// AES-256-GCM under a key that is not in the database, bound to the customer.
        wrapped -> Bytea,
        /// The name of that key.
        wrapped_by -> Text,
        /// When it was made.
        created_at -> Timestamptz,
        /// When it was last wrapped.
        wrapped_at -> Timestamptz,
    }
}

diesel::table! {
    /// Devices that signed in before and count their failures apart (rule A4).
    devices (customer_id, id) {
        /// UUIDv7, part of the device token.
        id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// SHA-256 of the device token.
        secret_hash -> Bytea,
        /// First sign-in from it.
        created_at -> Timestamptz,
        /// Latest sign-in from it.
        last_used_at -> Timestamptz,
    }
}

diesel::table! {
    /// Each customer that was erased, also those that had become one with it before.
    erasure_ledger.erased_customers (customer_id) {
        /// Who: an id that names nobody any more.
        customer_id -> Uuid,
        /// By which erasure.
        erasure_id -> Uuid,
        /// When.
        erased_at -> Timestamptz,
    }
}

diesel::table! {
    /// What an erasure consists of: what is kept here, and each other service that is told to forget.
    erasure_steps (id) {
        /// UUIDv7; the command and its answer bear it.
        id -> Uuid,
        /// Which erasure.
        erasure_id -> Uuid,
        /// Of whom.
        customer_id -> Uuid,
        /// local, or the type of the command.
        name -> Text,
        /// sent: an answer is awaited; failed: the last answer said so; done.
        state -> Text,
        /// How often it was commanded.
        tries -> Int4,
        /// The message of the last command.
        message_id -> Nullable<Uuid>,
        /// A code of the service that failed; never its words, which may name somebody.
        last_error -> Nullable<Text>,
        /// When it was last commanded.
        sent_at -> Timestamptz,
        /// When it is commanded again without an answer that it is done.
        next_try_at -> Nullable<Timestamptz>,
        /// When it was done.
        done_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Deletions that customers or staff asked for, and how far each has come (rules P1, P2).
    erasures (id) {
        /// UUIDv7; commands to other services bear it.
        id -> Uuid,
        /// Who is to be erased.
        customer_id -> Uuid,
        /// scheduled: within its grace, or waiting; running: nothing is kept here any more, others are still asked; completed or cancelled.
        state -> Text,
        /// owner, staff, or operator: by the ledger, after a backup was restored.
        requested_by -> Text,
        /// The key of the staff that asked.
        staff_key -> Nullable<Text>,
        /// Where the customer stood; cancelling brings it back.
        status_before -> Text,
        /// Of the version before; false since the ledger of consents says it.
        accepted_marketing -> Bool,
        /// The static segments that it was in, each with since when; cancelling brings them back.
        segments -> Jsonb,
        /// When it was asked for.
        requested_at -> Timestamptz,
        /// When its grace is over.
        due_at -> Timestamptz,
        /// A month after it was asked for, by when the law wants an answer.
        legal_due_at -> Timestamptz,
        /// When the reaper looks at it; later than its end of grace where something stands against it.
        look_at -> Timestamptz,
        /// What stood against it when it was last looked at.
        put_off -> Nullable<Text>,
        /// When all that is kept here was erased.
        started_at -> Nullable<Timestamptz>,
        /// When every other service had answered that it is done.
        completed_at -> Nullable<Timestamptz>,
        /// When it was cancelled.
        cancelled_at -> Nullable<Timestamptz>,
        /// Commands sent to other services so far, by which they are numbered.
        commands -> Int8,
        /// How many rows of each table were deleted or emptied.
        removed -> Nullable<Jsonb>,
    }
}

diesel::table! {
    /// Requests already carried out, written in the transaction of their effect.
    idempotency_keys (owner, key) {
        /// Whose key: keys of different callers never meet.
        owner -> Text,
        /// As the caller chose it.
        key -> Text,
        /// SHA-256 of method, path and body.
        request_hash -> Bytea,
        /// Whose data the outcome shows, for erasure.
        customer_id -> Nullable<Uuid>,
        /// What the caller was told.
        outcome -> Jsonb,
        /// When; a key is kept for a day.
        created_at -> Timestamptz,
    }
}

diesel::table! {
    /// Accounts at identity providers that customers sign in by; whose an account is tells customer_identifiers.
    identities (customer_id, provider) {
        /// Whose.
        customer_id -> Uuid,
        /// The provider's name in the configuration; one account of each.
        provider -> Text,
        /// The provider's own, unchanging name for the person.
        subject -> Text,
        /// The address that the provider told when it was linked.
        email -> Nullable<Text>,
        /// When it was linked.
        linked_at -> Timestamptz,
    }
}

diesel::table! {
    /// Uploaded files in pieces of one length, until their rows are imported: any node finds them, and a kill loses none.
    import_chunks (import_id, number) {
        /// Of which import.
        import_id -> Uuid,
        /// Its place in the file, from 0.
        number -> Int4,
        /// Bytes as they came; all but the last piece are of one length.
        data -> Bytea,
    }
}

diesel::table! {
    /// What kept rows of imports from becoming customers; never the values.
    import_errors (import_id, line, number) {
        /// Of which import.
        import_id -> Uuid,
        /// Where the row begins, from 1.
        line -> Int8,
        /// Which of the row's errors, from 0.
        number -> Int4,
        /// Our name of the field; none where the row as a whole is at fault.
        field -> Nullable<Text>,
        /// What is wrong, for programs.
        code -> Text,
        /// What is wrong, for people.
        detail -> Text,
    }
}

diesel::table! {
    /// Imports of customers: what each was told, and how far it is; written in the transaction of the rows.
    imports (id) {
        /// UUIDv7; the audit entries of its rows bear it with the line, as import:<id>:<line>.
        id -> Uuid,
        /// uploading (not yet an import), queued, running, completed, cancelled or failed.
        state -> Text,
        /// upload: the file is in import_chunks, any node goes on; file: whoever runs the command has it.
        source -> Text,
        /// csv or ndjson.
        format -> Text,
        /// What people call it, such as the name of the file.
        name -> Nullable<Text>,
        /// Columns, mapping, delimiter, parameters of hashes.
        settings -> Jsonb,
        /// Whether rows are only judged and nothing is written.
        dry_run -> Bool,
        /// SHA-256 of the content and the settings, by which a command knows its file again.
        digest -> Nullable<Bytea>,
        /// Length of the file.
        bytes -> Int8,
        /// Bytes that are done with: the next row begins there.
        position -> Int8,
        /// The line, from 1, that begins there.
        line -> Int8,
        /// Rows that are done with.
        rows_read -> Int8,
        /// Of these, rows that became customers.
        rows_imported -> Int8,
        /// Of these, rows that were refused.
        rows_failed -> Int8,
        /// The pace of late, pauses included.
        rows_per_minute -> Int8,
        /// Why it failed, for programs.
        reason -> Nullable<Text>,
        /// Who asked for it: staff or operator (the command line).
        actor_kind -> Text,
        /// The staff key's id.
        actor_id -> Nullable<Text>,
        /// The Idempotency-Key of the request; kept as long as the import.
        idempotency_key -> Nullable<Text>,
        /// What the key stands for: SHA-256 of method, path, query and body.
        request_hash -> Nullable<Bytea>,
        /// When it was asked for.
        created_at -> Timestamptz,
        /// When something last came in, or a block was done.
        touched_at -> Timestamptz,
        /// When its first block began.
        started_at -> Nullable<Timestamptz>,
        /// When it was over.
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Duties to keep that stand against an erasure (rule P4).
    legal_holds (id) {
        /// UUIDv7.
        id -> Uuid,
        /// Who must not be erased.
        customer_id -> Uuid,
        /// Why: a code, since words would name somebody.
        reason -> Text,
        /// The key of the staff that placed it.
        placed_by -> Text,
        /// Since when.
        placed_at -> Timestamptz,
        /// The key of the staff that released it.
        released_by -> Nullable<Text>,
        /// Until when.
        released_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Mails to send: written in the transaction that decided on them, sent by a worker (rule A11).
    mails (id) {
        /// UUIDv7; also names the mail to the mail server, so that a repetition is recognised.
        id -> Uuid,
        /// To whom; the address is read when it is sent.
        customer_id -> Uuid,
        /// Which templates.
        kind -> Text,
        /// In which language.
        locale -> Text,
        /// What the link's token is derived from, with a key that is not in the database.
        nonce -> Nullable<Bytea>,
        /// When it was decided on; of the welcome series: when it is to be sent, which is also its date.
        created_at -> Timestamptz,
        /// Not before.
        due_at -> Timestamptz,
        /// Failed tries so far.
        tries -> Int4,
        /// Why the last try failed; without the address.
        last_error -> Nullable<Text>,
        /// When the mail server took it.
        sent_at -> Nullable<Timestamptz>,
        /// When it was given up.
        given_up_at -> Nullable<Timestamptz>,
        /// Where to, when not to the customer's own address; forgotten once the mail is sent or given up.
        address -> Nullable<Text>,
        /// How many backup codes are left, in the mail that tells of one.
        codes_left -> Nullable<Int2>,
        /// Which mail of the welcome series it is; each customer gets each once.
        step -> Nullable<Text>,
        /// The day that the mail names, such as that of a scheduled deletion.
        tells_of -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Single-use tokens from mails, found by the hash of the token (rule A8).
    one_time_tokens (customer_id, token_hash) {
        /// SHA-256 of the token.
        token_hash -> Bytea,
        /// Whose.
        customer_id -> Uuid,
        /// What it may be used for.
        purpose -> Text,
        /// The password of the registration that sent it; confirming makes it the account's.
        password_hash -> Nullable<Text>,
        /// Issue.
        created_at -> Timestamptz,
        /// End of its life.
        expires_at -> Timestamptz,
        /// When it was used.
        used_at -> Nullable<Timestamptz>,
        /// When a newer one took its place.
        voided_at -> Nullable<Timestamptz>,
        /// The address it is about: the new one to confirm, the old one to bring back, or the one that a link to a new password was sent to.
        email -> Nullable<Text>,
    }
}

diesel::table! {
    /// Messages of the order service that somebody began to record and perhaps died of; a row goes with the end of a try.
    order_fact_attempts (digest) {
        /// SHA-256 of routing key and body.
        digest -> Bytea,
        /// How often it was begun since it last came to an end.
        tries -> Int4,
        /// When it was begun for the first time.
        first_tried_at -> Timestamptz,
        /// When it was begun last.
        tried_at -> Timestamptz,
    }
}

diesel::table! {
    /// What the order service said last of each order.
    order_facts (customer_id, order_id) {
        /// Whose; another one after a merge.
        customer_id -> Uuid,
        /// The order service's name for the order.
        order_id -> Text,
        /// Which version of the order this is, as the order service counts; a lower one changes nothing.
        version -> Int8,
        /// placed, completed, cancelled or refunded.
        status -> Text,
        /// When it was ordered.
        placed_at -> Timestamptz,
        /// When it was completed.
        completed_at -> Nullable<Timestamptz>,
        /// ISO 4217.
        currency -> Text,
        /// What was to be paid, in minor units of its currency.
        total_amount -> Int8,
        /// What of it was paid back, in the same; may be more.
        refunded_amount -> Int8,
        /// When this version was heard of here.
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    /// What was ordered.
    order_items (customer_id, order_id, sku) {
        /// By whom; follows the order.
        customer_id -> Uuid,
        /// With which order.
        order_id -> Text,
        /// The shop's name for the product; in an order once.
        sku -> Text,
        /// How many.
        quantity -> Int4,
    }
}

diesel::table! {
    /// What the facts of a customer's orders in one currency come to.
    order_statistics (customer_id, currency) {
        /// Whose.
        customer_id -> Uuid,
        /// ISO 4217.
        currency -> Text,
        /// Orders that are placed and no more: the active ones.
        placed -> Int4,
        /// Orders that are completed.
        completed -> Int4,
        /// Orders that were cancelled, which count for nothing else here.
        cancelled -> Int4,
        /// Orders that were refunded.
        refunded -> Int4,
        /// What of the orders that were not cancelled was paid and kept, in minor units: for none less than nothing.
        spent_amount -> Int8,
        /// What of them was paid back, in the same: for none more than its total.
        refunded_amount -> Int8,
        /// When the first order that was not cancelled was placed; NULL: there is none.
        first_order_at -> Nullable<Timestamptz>,
        /// When the last one was.
        last_order_at -> Nullable<Timestamptz>,
        /// Rises by one with each change; the ETag.
        version -> Int8,
        /// When it last changed.
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// How far each group of eight shards has been published.
    outbox_cursors (relay_group) {
        /// Shards 8g to 8g+7.
        relay_group -> Int2,
        /// Rises with each change of owner; an older owner's writes are refused.
        epoch -> Int8,
        /// Who relays the group now.
        owner -> Nullable<Text>,
        /// Last confirmed seq of each shard of the group.
        positions -> Array<Int8>,
        /// No unpublished row of the group lies in an earlier bucket less one.
        bucket -> Int4,
        /// When the positions were written.
        flushed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Messages on their way to the broker: insert-only, in commit order within a shard, dropped by partition.
    outbox_events (bucket, shard, seq) {
        /// Hour since 1970, by the database's clock, never falling within a shard: the partition.
        bucket -> Int4,
        /// The customer's logical shard.
        shard -> Int2,
        /// Rises with commit order within a shard; gaps mean nothing.
        seq -> Int8,
        /// The message id; stable over redelivery.
        id -> Uuid,
        /// Whom it is about.
        customer_id -> Uuid,
        /// Gap-free per customer, from 1.
        customer_sequence -> Int8,
        /// Message type of the contract, e.g. customer.created.
        kind -> Text,
        /// When it was decided.
        occurred_at -> Timestamptz,
        /// W3C trace context of the request.
        traceparent -> Nullable<Text>,
        /// The message body; personal values sealed by the customer's own key alone.
        data -> Jsonb,
    }
}

diesel::table! {
    /// Messages that could not be published by their own fault, and those of the same customer that wait behind them.
    outbox_parked (id) {
        /// The message id.
        id -> Uuid,
        /// The customer's logical shard.
        shard -> Int2,
        /// Its place in the outbox.
        seq -> Int8,
        /// Whom it is about.
        customer_id -> Uuid,
        /// Gap-free per customer, from 1.
        customer_sequence -> Int8,
        /// Message type of the contract.
        kind -> Text,
        /// When it was decided.
        occurred_at -> Timestamptz,
        /// W3C trace context of the request.
        traceparent -> Nullable<Text>,
        /// The message body; personal values sealed by the customer's own key alone.
        data -> Jsonb,
        /// trying: it failed and is tried again, its row in the outbox is not passed; parked: given up until staff decides; behind: waits for one before it; released: to be published; published, discarded: over.
        state -> Text,
        /// refused: by the broker; not_encodable: AMQP cannot carry it; behind: of itself nothing is wrong with it.
        reason -> Text,
        /// The broker's words; without personal data.
        detail -> Nullable<Text>,
        /// How often it failed by its own fault, since it was released last.
        tries -> Int4,
        /// When it failed last, or came to wait.
        parked_at -> Timestamptz,
        /// By which replay it was released last.
        replay_id -> Nullable<Uuid>,
        /// Why staff discarded it.
        discard_reason -> Nullable<Text>,
        /// When the relay was done with it; NULL: later messages of the customer may wait for it.
        settled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Messages of the order service that could not be recorded yet, and those that were given up because trying them came to no end.
    parked_order_facts (id) {
        /// UUIDv7.
        id -> Uuid,
        /// SHA-256 of routing key and body.
        digest -> Bytea,
        /// unknown_customer: it is tried again; poison: it is not, and lies with the dead letters too.
        reason -> Text,
        /// Whom it names, who may not exist; NULL: it was not read.
        customer_id -> Nullable<Uuid>,
        /// Which order; NULL: it was not read.
        order_id -> Nullable<Text>,
        /// Which version of it; NULL: it was not read.
        order_version -> Nullable<Int8>,
        /// What it was sent as; empty: as nothing that is known.
        routing_key -> Text,
        /// What its sender calls it.
        message_id -> Nullable<Text>,
        /// The message.
        body -> Bytea,
        /// How often it was tried and its customer was not known.
        tries -> Int4,
        /// Tries in a row that were begun and did not come to an end.
        unended -> Int4,
        /// When it was read for the first time.
        first_seen_at -> Timestamptz,
        /// When it is tried next; later than that while it is being tried; NULL: never.
        next_try_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Passkeys (WebAuthn credentials) of customers; nothing here is secret, for the private key never leaves its authenticator.
    passkeys (customer_id, id) {
        /// UUIDv7.
        id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// The authenticator's name for it.
        credential_id -> Bytea,
        /// The name under which the authenticator keeps its owner.
        user_handle -> Uuid,
        /// Public key and what else verifying needs; its own counter is always 0.
        credential -> Jsonb,
        /// Signatures that the authenticator counted at the latest use; 0 where it does not count.
        counter -> Int8,
        /// As its owner calls it.
        name -> Text,
        /// Asked for after a password.
        second_factor -> Bool,
        /// May leave its device: synchronised, or backed up.
        backup_eligible -> Bool,
        /// Had left its device at the latest use.
        backed_up -> Bool,
        /// Registration.
        created_at -> Timestamptz,
        /// Latest sign-in with it.
        last_used_at -> Nullable<Timestamptz>,
        /// Rises with each change by its owner.
        version -> Int8,
    }
}

diesel::table! {
    /// Password hashes; no row for who never set one.
    passwords (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// PHC string.
        hash -> Text,
        /// When the hash was written.
        changed_at -> Timestamptz,
    }
}

diesel::table! {
    /// Phone numbers that wait for the code sent to them (rules A8, L7): one a customer, so that a newer one voids the older.
    phone_confirmations (customer_id) {
        /// Whose.
        customer_id -> Uuid,
        /// The message that carries the code.
        text_message_id -> Uuid,
        /// E.164; the number that becomes the customer's.
        phone -> Text,
        /// Keyed hash of the code, bound to customer and number.
        code_hash -> Bytea,
        /// Wrong codes so far; five are allowed.
        tries -> Int2,
        /// When it was asked for.
        created_at -> Timestamptz,
        /// End of the code's life.
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    /// Fitted models of purchases (BG/NBD) and of their value (Gamma-Gamma); a customer's prediction is computed by the newest when it is looked at.
    prediction_models (currency, version) {
        /// Of the orders that it was fitted to, ISO 4217.
        currency -> Text,
        /// From 1, per currency.
        version -> Int8,
        /// When the fit was done.
        fitted_at -> Timestamptz,
        /// Orders up to then were looked at.
        as_of -> Timestamptz,
        /// How long it took.
        seconds -> Float8,
        /// Whose days were counted.
        time_zone -> Text,
        /// How far the totals look ahead.
        horizon_months -> Int4,
        /// By which money that comes a year later is worth less.
        discount_rate -> Float8,
        /// How many customers it was fitted to.
        customers -> Int8,
        /// How many of them bought on a second day.
        repeaters -> Int8,
        /// r, alpha (in weeks), a, b of BG/NBD.
        purchases -> Array<Float8>,
        /// Its logarithm of the likelihood.
        purchases_log_likelihood -> Float8,
        /// How often that was computed.
        evaluations -> Int8,
        /// p, q, gamma (in minor units) of Gamma-Gamma; NULL where the data do not determine them.
        value -> Nullable<Array<Float8>>,
        /// Its logarithm of the likelihood.
        value_log_likelihood -> Nullable<Float8>,
        /// How many customers it was fitted to.
        value_customers -> Nullable<Int8>,
        /// Between number and mean value of their purchases; the model takes it for 0.
        value_correlation -> Nullable<Float8>,
        /// Why there is no model of values.
        value_fault -> Nullable<Text>,
        /// Lifetime values above which the top, the high and the middle tier begin, in minor units.
        tier_cuts -> Nullable<Array<Float8>>,
        /// What the customers of each tier come to, best tier first.
        tiers -> Jsonb,
        /// What all customers come to.
        total -> Jsonb,
    }
}

diesel::table! {
    /// Archives of exports in pieces, sealed by their customers' own keys; gone with the expiry.
    privacy_export_pieces (customer_id, export_id, number) {
        /// Of whom.
        customer_id -> Uuid,
        /// Of which export.
        export_id -> Uuid,
        /// Its place in the archive, from 0.
        number -> Int4,
        /// A piece of the archive, sealed for its place by the customer's own key.
        data -> Bytea,
    }
}

diesel::table! {
    /// Copies of all that is kept of customers, made for them: who asked, and how far each is.
    privacy_exports (customer_id, id) {
        /// UUIDv7.
        id -> Uuid,
        /// Of whom.
        customer_id -> Uuid,
        /// queued, running, ready or failed.
        state -> Text,
        /// Why it failed: too_large or interrupted.
        reason -> Nullable<Text>,
        /// Who asked: customer or staff.
        actor_kind -> Text,
        /// The customer's or the staff key's id.
        actor_id -> Text,
        /// The session that asked, which may download it however old it is by then.
        session_id -> Nullable<Uuid>,
        /// How often it was begun; whoever began an earlier one writes nothing more.
        attempt -> Int4,
        /// Until when nobody else begins it anew.
        leased_until -> Nullable<Timestamptz>,
        /// Tables that are read; each is read twice.
        tables_done -> Int4,
        /// Tables to read, likewise.
        tables_total -> Int4,
        /// Rows told so far, and in the end.
        row_count -> Int8,
        /// Length of the archive so far, and in the end.
        bytes -> Int8,
        /// Its pieces, likewise.
        pieces -> Int4,
        /// When it was asked for.
        created_at -> Timestamptz,
        /// When it was first begun.
        started_at -> Nullable<Timestamptz>,
        /// When it was ready, or given up.
        finished_at -> Nullable<Timestamptz>,
        /// From when on nobody can download it.
        expires_at -> Nullable<Timestamptz>,
        /// When it was last downloaded.
        downloaded_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// What a reconciliation found to differ; written before it is repaired, so that no kill loses it.
    reconciliation_differences (run_id, customer_id, subject, field) {
        /// Of which run.
        run_id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// The currency of the statistics; of the source order_service: the order.
        subject -> Text,
        /// What differs, by the name that readers of statistics know, such as orders.placed; of an order: version.
        field -> Text,
        /// What was kept; NULL: nothing.
        kept -> Nullable<Text>,
        /// What it should be; NULL: nothing.
        found -> Nullable<Text>,
        /// When it was put right; NULL: it was not.
        repaired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Walks through the customers that compare what is kept of their orders with where it comes from (rule O4).
    reconciliation_runs (id) {
        /// UUIDv7; the audit entries of its repairs bear it, as reconciliation:<id>.
        id -> Uuid,
        /// facts: statistics are compared with the kept facts; order_service: the facts with what the order service says.
        source -> Text,
        /// The one customer that it is about; NULL: everybody.
        customer_id -> Nullable<Uuid>,
        /// The process that carries it out, or did last.
        owner -> Text,
        /// The last customer that is done with, from which anybody may go on; zeros: none yet.
        cursor -> Uuid,
        /// Customers that are done with.
        customers -> Int8,
        /// Rows of reconciliation_differences.
        differences -> Int8,
        /// Of these, repaired.
        repaired -> Int8,
        /// Facts of the order service that are none, or are not of whom they were asked for.
        refused -> Int8,
        /// What it waits for, such as an order service that cannot be reached; NULL: nothing.
        trouble -> Nullable<Text>,
        /// When it began.
        started_at -> Timestamptz,
        /// When it last did something.
        touched_at -> Timestamptz,
        /// When it was over.
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Where the fifths of all customers end; scores are computed against the newest when they are looked at.
    rfm_cut_points (currency, version) {
        /// Of the orders that are looked at, ISO 4217.
        currency -> Text,
        /// From 1, per currency.
        version -> Int8,
        /// When it was done.
        computed_at -> Timestamptz,
        /// The time from which days since the last order were counted.
        as_of -> Timestamptz,
        /// How many customers with orders there were.
        customers -> Int8,
        /// Days since the last order that one, two, three and four fifths do not exceed.
        recency_days -> Array<Int8>,
        /// The same of the number of orders.
        orders -> Array<Int8>,
        /// The same of what was spent, in minor units.
        spent -> Array<Int8>,
    }
}

diesel::table! {
    /// Which custom attributes a definition reads: they keep their type and stay.
    segment_attributes (segment_id, key) {
        /// Whose definition.
        segment_id -> Uuid,
        /// Which attribute.
        key -> Text,
    }
}

diesel::table! {
    /// What customers are judged by, taken together: one row.
    segment_book (single) {
        /// There is one row.
        single -> Bool,
        /// Rises by one with each transaction that changes a segment, the cut points or the models.
        version -> Int8,
        /// Version of the cut points of RFM scores that are in force; 0: none.
        cut_points -> Int8,
        /// Version of the models of purchases that are in force; 0: none.
        models -> Int8,
    }
}

diesel::table! {
    /// The latest walk over all customers for each segment whose revision rose, and how far it is.
    segment_builds (segment_id) {
        /// Of which segment.
        segment_id -> Uuid,
        /// To which revision.
        revision -> Int8,
        /// Customers up to this one are done; NULL: none yet.
        after_id -> Nullable<Uuid>,
        /// How many were looked at.
        looked_at -> Int8,
        /// How many joined.
        joined -> Int8,
        /// How many left.
        parted -> Int8,
        /// How many there were when it began, about.
        total -> Int8,
        /// When it began.
        started_at -> Timestamptz,
        /// When it last came on.
        updated_at -> Timestamptz,
        /// When it was done; NULL: it is not.
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// How many members a segment had, hour by hour.
    segment_counts (segment_id, counted_at) {
        /// Which segment.
        segment_id -> Uuid,
        /// The full hour.
        counted_at -> Timestamptz,
        /// How many.
        members -> Int8,
    }
}

diesel::table! {
    /// How far the messages of each group of eight shards have been looked at for changes of membership.
    segment_cursors (shard_group) {
        /// Shards 8g to 8g+7.
        shard_group -> Int2,
        /// Rises with each change of owner; an older owner's writes are refused.
        epoch -> Int8,
        /// Who looks at the group now.
        owner -> Nullable<Text>,
        /// Last seq done of each shard of the group.
        positions -> Array<Int8>,
        /// No row to be done lies in an earlier bucket less one.
        bucket -> Int4,
        /// When the positions were written.
        flushed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// When a customer may join or leave a segment although nothing happens.
    segment_flips (customer_id, segment_id) {
        /// Who.
        customer_id -> Uuid,
        /// Which segment.
        segment_id -> Uuid,
        /// The customer's logical shard.
        shard -> Int2,
        /// No later than the first instant at which the answer may be another.
        due_at -> Timestamptz,
    }
}

diesel::table! {
    /// Who belongs to which segment now.
    segment_members (customer_id, segment_id) {
        /// Who.
        customer_id -> Uuid,
        /// To which.
        segment_id -> Uuid,
        /// Since when without a break.
        since -> Timestamptz,
        /// Why: the customer changed, time passed, the definition changed, or staff said so.
        cause -> Text,
    }
}

diesel::table! {
    /// What each revision of a segment said.
    segment_revisions (segment_id, revision) {
        /// Of which segment.
        segment_id -> Uuid,
        /// Which one.
        revision -> Int8,
        /// The condition in its canonical form.
        definition -> Nullable<Text>,
        /// Where its days began and ended.
        time_zone -> Nullable<Text>,
        /// As in segments.
        state -> Text,
        /// Since when.
        changed_at -> Timestamptz,
        /// Who changed it, as in the audit trail.
        changed_by -> Text,
    }
}

diesel::table! {
    /// Which segments a definition names: they cannot go before it.
    segment_uses (segment_id, used_id) {
        /// Whose definition.
        segment_id -> Uuid,
        /// Which other one it names.
        used_id -> Uuid,
    }
}

diesel::table! {
    /// Which sets of customers the shop keeps; at most a thousand.
    segments (code) {
        /// What requests, messages and other segments name it by.
        code -> Text,
        /// UUIDv7; another one when the code is used anew: what its messages are about.
        id -> Uuid,
        /// rule: whoever the definition is true of; static: whom staff puts in.
        kind -> Text,
        /// What people read.
        title -> Text,
        /// What it is for.
        description -> Nullable<Text>,
        /// Groups of segments that it belongs to.
        tags -> Array<Text>,
        /// The condition in its canonical form.
        definition -> Nullable<Text>,
        /// Where its days begin and end; IANA name.
        time_zone -> Nullable<Text>,
        /// active: has members; inactive: has none until it is active again; deleting: its last members are leaving.
        state -> Text,
        /// Rises by one with each change of who belongs: definition, time zone, state.
        revision -> Int8,
        /// When it came to be.
        created_at -> Timestamptz,
        /// When it last changed.
        updated_at -> Timestamptz,
        /// Rises by one with each change; the ETag, and the number of its latest message.
        version -> Int8,
    }
}

diesel::table! {
    /// Signed-in devices and their rotating refresh tokens (rule A7).
    sessions (customer_id, id) {
        /// UUIDv7; the sid of its access tokens.
        id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// How its owner proved who it is.
        method -> Text,
        /// The known device it was opened from.
        device_id -> Nullable<Uuid>,
        /// As the client named it.
        device_name -> Nullable<Text>,
        /// As the client named itself.
        user_agent -> Nullable<Text>,
        /// Where the sign-in came from.
        client_address -> Nullable<Inet>,
        /// SHA-256 of the refresh token that is good now.
        refresh_hash -> Bytea,
        /// Number of that token; the first is 0.
        generation -> Int4,
        /// SHA-256 of the token before it, good for a short grace.
        previous_hash -> Nullable<Bytea>,
        /// When it took its place.
        rotated_at -> Nullable<Timestamptz>,
        /// Sign-in.
        created_at -> Timestamptz,
        /// Latest refresh.
        last_seen_at -> Timestamptz,
        /// End unless refreshed.
        expires_at -> Timestamptz,
        /// End in any case.
        absolute_expires_at -> Timestamptz,
        /// When it was ended before its time.
        revoked_at -> Nullable<Timestamptz>,
        /// What was shown after the first factor, where one was asked for.
        second_factor -> Nullable<Text>,
    }
}

diesel::table! {
    /// Ceremonies that a client begins here and finishes later, once.
    sign_in_flows (token_hash) {
        /// SHA-256 of the token that its holder finishes it with.
        token_hash -> Bytea,
        /// What it may be finished as.
        kind -> Text,
        /// Whose, where that is known from the beginning.
        customer_id -> Nullable<Uuid>,
        /// What the service needs to finish it, sealed.
        payload -> Bytea,
        /// When it was begun.
        created_at -> Timestamptz,
        /// From when on it cannot be finished.
        expires_at -> Timestamptz,
        /// Wrong tries to finish it.
        failures -> Int4,
        /// When it was finished or given up.
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Failed and running sign-in attempts per bucket (rule A3); durable, so that no restart forgets a failure.
    sign_in_throttles (bucket) {
        /// Keyed hash of an identifier or a device.
        bucket -> Bytea,
        /// Failures, running claims, lock and number of locks, as the domain keeps them.
        state -> Jsonb,
        /// End of the lock, for people and metrics.
        locked_until -> Nullable<Timestamptz>,
        /// Latest attempt, for the janitor.
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    /// Ed25519 keys that sign access tokens; of those whose time has come and that are not revoked, the latest signs.
    signing_keys (kid) {
        /// RFC 7638 thumbprint.
        kid -> Text,
        /// AES-256-GCM under a key derived from the configured root key.
        sealed_private_key -> Bytea,
        /// For verification, published as JWKS.
        public_key -> Bytea,
        /// When it was made; from then on it is published and verified by.
        created_at -> Timestamptz,
        /// When the key after it takes over; from then on it only verifies, until its last token has expired.
        retired_at -> Nullable<Timestamptz>,
        /// When it takes over from the key before it, on every node.
        signs_from -> Timestamptz,
        /// From when on nothing that it signed counts.
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// API keys of staff and services.
    staff_keys (id) {
        /// Public part of the key; also the actor's id in the audit trail.
        id -> Text,
        /// What people call it.
        name -> Text,
        /// SHA-256 of the secret part.
        secret_hash -> Bytea,
        /// What it may do.
        scopes -> Array<Text>,
        /// When it was made.
        created_at -> Timestamptz,
        /// When it was withdrawn.
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// Text messages to send: written in the transaction that decided on them, sent by a worker; they name no number.
    text_messages (id) {
        /// UUIDv7; also names the message to the gateway, so that a repetition is recognised.
        id -> Uuid,
        /// To whom; the number is that of the open confirmation which names this message.
        customer_id -> Uuid,
        /// What it says.
        kind -> Text,
        /// In which language.
        locale -> Text,
        /// What the code is derived from, with a key that is not in the database; cleared once the message was sent or given up.
        nonce -> Nullable<Bytea>,
        /// When it was decided on.
        created_at -> Timestamptz,
        /// From then on it is not sent: its code is no longer good.
        expires_at -> Timestamptz,
        /// Not before.
        due_at -> Timestamptz,
        /// Failed tries so far.
        tries -> Int4,
        /// Why the last try failed; without the number.
        last_error -> Nullable<Text>,
        /// When the gateway took it.
        sent_at -> Nullable<Timestamptz>,
        /// When it was given up.
        given_up_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    /// What stands on wishlists.
    wishlist_items (customer_id, wishlist_id, id) {
        /// UUIDv7.
        id -> Uuid,
        /// Whose list it stands on.
        customer_id -> Uuid,
        /// On which list it stands, by its id.
        wishlist_id -> Uuid,
        /// The shop's name for the product; on a list once.
        sku -> Text,
        /// How many are wished for.
        quantity -> Int4,
        /// What its owner wrote to it.
        note -> Nullable<Text>,
        /// The price that its owner saw, in minor units of its currency.
        price_amount -> Nullable<Int8>,
        /// ISO 4217.
        price_currency -> Nullable<Text>,
        /// When it was first wished for.
        added_at -> Timestamptz,
        /// Rises by one with each change; the ETag.
        version -> Int8,
    }
}

diesel::table! {
    /// Lists of what customers would like to have.
    wishlists (customer_id, id) {
        /// UUIDv7; each item that stands on it names it.
        id -> Uuid,
        /// Whose.
        customer_id -> Uuid,
        /// What its owner calls it.
        name -> Text,
        /// What the token of its public link is derived from, with a key that is not in the database; NULL: it is not shared.
        share_nonce -> Nullable<Bytea>,
        /// SHA-256 of that token, which the link is found by.
        share_hash -> Nullable<Bytea>,
        /// How many items stand on it.
        item_count -> Int4,
        /// When it was made.
        created_at -> Timestamptz,
        /// Rises by one with each change, items that come and go included; the ETag.
        version -> Int8,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    addresses,
    analytics_runs,
    attribute_definitions,
    audit_blocks,
    audit_checkpoints,
    audit_entries,
    backup_codes,
    consent_entries,
    consents,
    customer_groups,
    customer_identifiers,
    customer_merges,
    customer_notes,
    customer_preferences,
    customer_profiles,
    customer_totp,
    customers,
    data_keys,
    devices,
    erased_customers,
    erasure_steps,
    erasures,
    idempotency_keys,
    identities,
    import_chunks,
    import_errors,
    imports,
    legal_holds,
    mails,
    one_time_tokens,
    order_fact_attempts,
    order_facts,
    order_items,
    order_statistics,
    outbox_cursors,
    outbox_events,
    outbox_parked,
    parked_order_facts,
    passkeys,
    passwords,
    phone_confirmations,
    prediction_models,
    privacy_export_pieces,
    privacy_exports,
    reconciliation_differences,
    reconciliation_runs,
    rfm_cut_points,
    segment_attributes,
    segment_book,
    segment_builds,
    segment_counts,
    segment_cursors,
    segment_flips,
    segment_members,
    segment_revisions,
    segment_uses,
    segments,
    sessions,
    sign_in_flows,
    sign_in_throttles,
    signing_keys,
    staff_keys,
    text_messages,
    wishlist_items,
    wishlists,
);
