//! Metrics of what answers: requests, sign-in, actors and shards, what the service depends on.

use super::{Label, Metric, SIZES, Section, WAITS, counter, gauge, histogram, listed, words};

const ACTOR: Label =
    listed("actor", "`customers-0`, `customers-1`, … (`shards.actors`), or a worker's name");
const CLASS: Label = words("class", &["health", "refresh", "reads", "writes", "sign_in", "export"]);
const FAULT: Label = words(
    "fault",
    &["down", "blocked", "timed_out", "refused", "returned", "topology", "provoked", "message"],
);
const POOL: Label = words(
    "db_client_connection_pool_name",
    &["writes", "reports", "lists_replica", "reports_replica"],
);

pub const SECTIONS: &[Section] = &[
    Section { title: "Requests", metrics: REQUESTS },
    Section { title: "Sign-in", metrics: SIGN_IN },
    Section { title: "Actors, shards and workers", metrics: ACTORS },
    Section { title: "Dependencies", metrics: DEPENDENCIES },
];

const REQUESTS: &[Metric] = &[
    histogram(
        "http_server_request_duration_seconds",
        WAITS,
        &[
            words(
                "http_request_method",
                &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"],
            ),
            listed(
                "http_route",
                "a route's template as in `/openapi.json`; `none` where there is none, or the request was refused \
                 before it was looked for",
            ),
            listed("http_response_status_code", "a status of HTTP"),
        ],
        "Time from the head of a request to the head of its answer",
    ),
    gauge("http_server_active_requests", &[], "Requests under way"),
    counter(
        "http_problems_total",
        &[listed("code", "a code of `/problems`")],
        "Answers that refuse or fail, by their code",
    ),
    counter("http_handler_panics_total", &[], "Requests whose handler panicked"),
    counter(
        "admission_admitted_total",
        &[CLASS],
        "Requests that were let in, by class (`docs/overload.md`)",
    ),
    counter(
        "admission_refused_total",
        &[CLASS],
        "Requests that were refused before anything of them was read, because more is asked than can be \
         worked off",
    ),
    gauge("admission_under_way", &[CLASS], "Requests that were let in and not yet answered"),
    gauge(
        "admission_limit",
        &[],
        "With so many under way refreshes are refused, the others before",
    ),
    gauge(
        "admission_delay_seconds",
        &[words("cause", &["http", "runtime", "connection", "shard"])],
        "How long work waits before it is begun: for an HTTP thread, the database's threads, a \
         connection, in every shard left behind by a full batch",
    ),
];

const SIGN_IN: &[Metric] = &[
    counter(
        "gate_passages_total",
        &[
            listed("path", "a path of `src/actors/gate/path.rs`"),
            listed("outcome", "`passed`, or the gate's reason"),
        ],
        "Credentials that were shown, by what they were and how that ended",
    ),
    counter(
        "password_verifications_total",
        &[],
        "Password verifications computed, those for unknown accounts included",
    ),
    gauge("password_hash_queue_depth", &[], "Calls waiting for a hashing thread"),
    gauge("password_hash_queue_limit", &[], "Above this many waiting, a call is refused"),
    gauge("password_hash_oldest_seconds", &[], "How long the first of them has waited"),
    gauge("password_hash_threads", &[], "Threads that hash"),
    histogram("password_hash_wait_seconds", WAITS, &[], "Time a call waited for a hashing thread"),
    histogram(
        "password_hash_duration_seconds",
        WAITS,
        &[words("operation", &["hash", "verify", "appraise"])],
        "Time one hash or verification took",
    ),
    counter(
        "password_hash_shed_total",
        &[words("reason", &["full", "deadline"])],
        "Calls refused: the queue was full, or the deadline passed while waiting",
    ),
    counter("password_hash_panics_total", &[], "Panics caught in a hashing thread"),
    gauge(
        "stuffing_brake_engaged",
        &[],
        "Whether sign-ins from unknown devices are held back because most sign-ins fail (1 or 0)",
    ),
    counter(
        "stuffing_brake_engagements_total",
        &[],
        "How often this node saw the stuffing brake engage",
    ),
    counter(
        "stuffing_brake_refusals_total",
        &[words("reason", &["network", "address"])],
        "Attempts that the stuffing brake held back, by what was used up: the address's smaller budget, \
         or the identifiers of its network",
    ),
    counter(
        "rate_limiter_failures_total",
        &[],
        "Calls that could not be counted against their limit because Redis did not answer",
    ),
    counter(
        "identity_provider_calls_total",
        &[
            listed("provider", "a provider of `[social.providers]`"),
            words("outcome", &["ok", "refused", "unavailable", "left_alone", "too_many"]),
        ],
        "Calls of identity providers, by how they ended; `left_alone`: not made, because the one before \
         found nobody; `too_many`: not made, because too many are under way",
    ),
    gauge(
        "sessions_revoked_known",
        &[],
        "Revoked sessions and erased customers whose access tokens may still be within their time",
    ),
    counter(
        "revocation_reads_failed_total",
        &[],
        "Failed reads of revoked sessions; after a second without one the configured policy decides",
    ),
    gauge(
        "signing_keys",
        &[words("stage", &["next", "current", "retiring", "ended", "revoked"])],
        "Signing keys by stage",
    ),
    gauge("signing_key_age_seconds", &[], "For how long the current signing key has signed"),
    counter(
        "signing_key_reads_failed_total",
        &[],
        "Failed reads of signing keys; a node that goes on failing misses a change of keys",
    ),
];

const ACTORS: &[Metric] = &[
    gauge("actor_up", &[ACTOR], "1 while the actor runs, 0 otherwise"),
    counter(
        "actor_restarts_total",
        &[ACTOR],
        "Times the actor, or the worker in it, was rebuilt after a failure",
    ),
    counter("actor_panics_total", &[ACTOR], "Panics of the actor, its batches or its runs"),
    counter(
        "actor_failed_runs_total",
        &[ACTOR],
        "Runs of a worker that ended in an error, at their time limit or in a panic",
    ),
    gauge(
        "actor_success_age_seconds",
        &[ACTOR],
        "Time since a worker's last run that did not fail, or since its start",
    ),
    gauge(
        "actor_paused",
        &[ACTOR],
        "1 while a worker rests because somebody told it to, 0 otherwise",
    ),
    counter("actor_shed_total", &[ACTOR], "Callers turned away because the actor's queue was full"),
    gauge("actor_queue_depth", &[ACTOR], "Messages accepted and not yet answered"),
    gauge("actor_queue_limit", &[ACTOR], "Above this many, callers are turned away"),
    gauge("actor_oldest_seconds", &[ACTOR], "How long the first in the actor's queue has waited"),
    gauge("actor_heartbeat_seconds", &[ACTOR], "Time through the actor's mailbox and back"),
    histogram("actor_batch_size", SIZES, &[ACTOR], "Works in one batch"),
    histogram(
        "actor_run_duration_seconds",
        WAITS,
        &[ACTOR],
        "Duration of one batch or one worker run",
    ),
    histogram(
        "actor_restart_duration_seconds",
        WAITS,
        &[ACTOR],
        "From the end of an actor that failed until its next incarnation runs, the rest included",
    ),
    counter(
        "batch_split_total",
        &[],
        "Batches carried out one by one because one of their works broke them",
    ),
    counter(
        "customer_keys_shut_total",
        &[],
        "Customers' keys that could not be opened: the wrapping key is another one, or they are damaged",
    ),
];

const DEPENDENCIES: &[Metric] = &[
    gauge("service_ready", &[], "1 while `/health/ready` answers 200"),
    gauge("service_info", &[listed("version", "the version that runs")], "1"),
    gauge(
        "dependency_up",
        &[words("dependency", &["actors", "database", "rabbit", "redis"])],
        "1 while the dependency can be reached, 0 while not; no series where it is not configured",
    ),
    gauge(
        "dependency_probe_seconds",
        &[words("dependency", &["actors", "database", "rabbit", "redis"])],
        "How long the last probe of it took",
    ),
    gauge(
        "db_client_connection_count",
        &[POOL, words("db_client_connection_state", &["idle", "used"])],
        "Connections of a pool",
    ),
    gauge("db_client_connection_max", &[POOL], "Most connections that the pool may open"),
    counter(
        "db_client_connection_waits_total",
        &[POOL],
        "Callers that had to wait for a connection of the pool, and got one",
    ),
    counter(
        "db_client_connection_timeouts_total",
        &[POOL],
        "Callers that got no connection of the pool in time",
    ),
    counter(
        "database_reads_abandoned_total",
        &[words("stage", &["waiting", "running"])],
        "Reads that nobody waited for any more: given up while they waited for a connection, or cancelled \
         at the server",
    ),
    counter(
        "database_replica_reads_total",
        &[words("answered_by", &["replica", "primary"])],
        "Reads meant for a replica, by who answered: replica, or primary because it was behind or away",
    ),
    gauge("database_size_bytes", &[], "Tables and indexes of the database; of the installation"),
    gauge(
        "database_room_bytes",
        &[],
        "Room that the database may take (`database.room_mib`); 0: not told",
    ),
    counter(
        "redis_calls_total",
        &[words("outcome", &["ok", "failed", "breaker_open"])],
        "Calls of Redis, by how they ended; none is made while the breaker is open",
    ),
    gauge("redis_breaker_open", &[], "1 while Redis is left alone after failures"),
    counter("rabbit_connections_lost_total", &[FAULT], "Connections to RabbitMQ that were lost"),
    counter("rabbit_connect_failures_total", &[FAULT], "Tries to connect to RabbitMQ that failed"),
    gauge(
        "clock_machine_offset_seconds",
        &[],
        "By how much this machine's clock is ahead of the database's, by which the service goes",
    ),
    gauge(
        "clock_uncertainty_seconds",
        &[],
        "How exact the last reading of the database's clock was: half of its round trip",
    ),
    counter(
        "clock_corrections_total",
        &[],
        "Readings of the database's clock that corrected the service's",
    ),
    counter(
        "clock_readings_failed_total",
        &[],
        "Readings of the database's clock that failed or took too long",
    ),
];
