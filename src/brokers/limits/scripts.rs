//! The limits in Redis: each question is one script, so that it is answered in one round trip and
//! nothing can come between reading and counting.

use std::sync::LazyLock;

use super::{Gcra, Limit, Standing, brake_limit};
use crate::brokers::brake::{BrakePolicy, Guess, Outcomes, Verdict, as_micros};
use crate::brokers::redis::{LuaScript, Redis};

/// What every key begins with. All share one hash tag: a script may only touch keys of one slot in
/// Redis Cluster, and the limits of one request, which count together or not at all, are of an
/// address, of an account and of everybody.
pub const KEY_PREFIX: &str = "customer-service:{limits}:";

/// What both scripts begin with: time, and `Gcra::judge`.
macro_rules! gcra {
    ($rest:literal) => {
        concat!(
            r"
            local time = redis.call('TIME')
            local now = time[1] * 1000000 + time[2]
            local answer, passes = {}, true
            local function judge(key, emission, window)
                local used = (tonumber(redis.call('GET', key)) or now) - now
                used = math.max(0, math.min(window, used))
                local wait = used + emission - window
                if wait > 0 then
                    return used, wait
                end
                return used + emission, 0
            end
            local function keep(key, used)
                redis.call('SET', key, string.format('%.0f', now + used),
                    'PX', math.ceil(used / 1000))
            end
            local function count(keys, first)
                for i = 1, keys do
                    local emission, window = tonumber(ARGV[first + 2 * i]), tonumber(ARGV[first + 2 * i + 1])
                    local used, wait = judge(KEYS[i], emission, window)
                    passes = passes and wait == 0
                    answer[2 * i - 1], answer[2 * i] = used, wait
                end
                if passes then
                    for i = 1, keys do
                        keep(KEYS[i], answer[2 * i - 1])
                    end
                end
            end
            ",
            $rest
        )
    };
}

/// KEYS: one per limit. ARGV: emission and window of each. Answer: used and wait of each.
static CHECK: LazyLock<LuaScript> = LazyLock::new(|| {
    LuaScript::new(gcra!(
        r"
        count(#KEYS, -1)
        return answer
        "
    ))
});

/// KEYS: one per limit, then the address's smaller budget, its network, the tally. ARGV: see
/// [`guess`]. Answer: used and wait of each limit, then the four numbers of a `Verdict`.
///
/// The tally is `Tally` in Lua. A network's identifiers are keyed hashes in a set, so that the count
/// is exact; the set never outgrows what a network may try, since nothing is added beyond it.
static GUESS: LazyLock<LuaScript> = LazyLock::new(|| {
    LuaScript::new(gcra!(
        r"
        local limits = #KEYS - 3
        local address, network, tally = KEYS[limits + 1], KEYS[limits + 2], KEYS[limits + 3]
        local more_failed, more_succeeded = tonumber(ARGV[1]), tonumber(ARGV[2])
        local window, least, percent = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
        local hold, identifiers = tonumber(ARGV[6]), tonumber(ARGV[7])
        count(limits, 10)

        local stored = redis.call('HMGET', tally, 'period', 'failed', 'succeeded',
            'failed_before', 'succeeded_before', 'engaged_until')
        for i = 1, 6 do
            stored[i] = tonumber(stored[i]) or 0
        end
        local last, failed, succeeded, failed_before, succeeded_before, engaged_until = unpack(stored)
        local period = math.floor(now / window)
        if period ~= last then
            if period ~= last + 1 then
                failed, succeeded = 0, 0
            end
            failed_before, succeeded_before, failed, succeeded = failed, succeeded, 0, 0
        end
        failed, succeeded = failed + more_failed, succeeded + more_succeeded
        local left = window - now % window
        local weighed = failed * window + failed_before * left
        local all = weighed + succeeded * window + succeeded_before * left
        local changed = more_failed + more_succeeded > 0
        if weighed >= least * window and weighed * 100 >= all * percent then
            local stays = left - window * (least - failed) / failed_before
            if failed >= least then
                stays = left + window - window * least / failed
            end
            engaged_until, changed = math.max(engaged_until, now + math.max(hold, stays)), true
        end
        local engaged = math.max(0, engaged_until - now)

        local used, address_wait, network_wait = 0, 0, 0
        if engaged > 0 and ARGV[9] == '0' then
            used, address_wait = judge(address, tonumber(ARGV[10]), tonumber(ARGV[11]))
            if redis.call('SCARD', network) >= identifiers then
                network_wait = redis.call('PTTL', network) * 1000
            end
            if passes and address_wait == 0 and network_wait <= 0 then
                keep(address, used)
                redis.call('SADD', network, ARGV[8])
                if redis.call('PTTL', network) < 0 then
                    redis.call('PEXPIRE', network, math.ceil(window / 1000))
                end
            elseif passes then
                failed, changed = failed + 1, true
            end
        end
        if changed then
            redis.call('HSET', tally, 'period', period, 'failed', failed, 'succeeded', succeeded,
                'failed_before', failed_before, 'succeeded_before', succeeded_before,
                'engaged_until', string.format('%.0f', engaged_until))
            redis.call('PEXPIRE', tally, math.ceil((2 * window + hold) / 1000))
        end
        local n = 2 * limits
        answer[n + 1], answer[n + 2] = engaged, used
        answer[n + 3], answer[n + 4] = address_wait, math.max(0, network_wait)
        return answer
        "
    ))
});

/// How each limit stands after a request; `None` when Redis gave no usable answer.
pub(super) async fn check(redis: &Redis, limits: &[Limit]) -> Option<Vec<Standing>> {
    let keys = limits.iter().map(storage_key).collect();
    let arguments = limits.iter().flat_map(terms).collect();
    let answer = redis.run_script(&CHECK, keys, arguments).await.ok()?;
    (answer.len() == 2 * limits.len()).then(|| standings(&answer))
}

/// How each limit stands after an attempt at a credential, and what the brake says to it.
pub(super) async fn guess(
    redis: &Redis,
    limits: &[Limit],
    policy: &BrakePolicy,
    guess: &Guess,
    outcomes: Outcomes,
) -> Option<(Vec<Standing>, Verdict)> {
    let budget = brake_limit(policy, guess.address.clone());
    let keys = limits.iter().map(storage_key);
    let own = [
        storage_key(&budget),
        named_key("stuffing_identifiers", &guess.network),
        named_key("stuffing", &policy.key),
    ];
    let [emission, window] = terms(&budget);
    let mut arguments = vec![
        outcomes.failed,
        outcomes.succeeded,
        as_micros(policy.window),
        i64::from(policy.min_failures),
        i64::from(policy.failure_percent),
        as_micros(policy.hold),
        i64::from(policy.identifiers),
        guess.identifier.cast_signed(),
        guess.claims_device.into(),
        emission,
        window,
    ];
    arguments.extend(limits.iter().flat_map(terms));
    let answer = redis.run_script(&GUESS, keys.chain(own).collect(), arguments).await.ok()?;
    let (counted, said) = answer.split_at_checked(2 * limits.len())?;
    let [engaged, used, address_wait, network_wait] = *said else { return None };
    Some((standings(counted), Verdict { engaged, used, address_wait, network_wait }))
}

fn terms(limit: &Limit) -> [i64; 2] {
    let Gcra { emission, window } = Gcra::of(limit);
    [emission, window]
}

fn standings(answer: &[i64]) -> Vec<Standing> {
    answer.chunks_exact(2).map(|pair| Standing { used: pair[0], wait: pair[1] }).collect()
}

pub(super) fn storage_key(limit: &Limit) -> Vec<u8> {
    named_key(limit.name, &limit.key)
}

fn named_key(name: &str, rest: &[u8]) -> Vec<u8> {
    [KEY_PREFIX.as_bytes(), name.as_bytes(), b":", rest].concat()
}
