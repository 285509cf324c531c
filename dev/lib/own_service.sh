# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` are set by who sources this
# A service of a script's own: as `make run` runs it, with servers and data under the script's folder
# `place`, ended with the script. Needs say, process.

ready_seconds=900 # the first build is in it
stop_seconds=60

need() { # PROGRAM PACKAGES
  command -v "$1" >/dev/null || die "$1 is missing: apt-get install --no-install-recommends $2"
}

# Runs a command quietly; shows what it printed when it fails.
quietly() { # COMMAND...
  "$@" >"$place/last.log" 2>&1 || { cat "$place/last.log" >&2; die "failed: $*"; }
}

stop_service() {
  local status=$?
  trap '' INT TERM HUP
  ! declare -F stop_others >/dev/null || stop_others
  signal "$place/run.pid.file" TERM
  await_end "$place/run.pid.file" "$stop_seconds"
  exit "$status"
}

start_service() {
  say "Starting a service ..."
  rm -f "$place/run/run.json"
  RUN_STATE=$place/run "$repository/dev/run" </dev/null >"$place/run.log" 2>&1 &
  remember "$place/run.pid.file" $!
  trap stop_service EXIT
  local deadline=$((SECONDS + ready_seconds))
  until [[ -s $place/run/run.json ]]; do
    running "$place/run.pid.file" >/dev/null || { tail -30 "$place/run.log" >&2; die "the service did not start"; }
    ((SECONDS < deadline)) || die "the service was not ready after $ready_seconds s, see $place/run.log"
    sleep 0.2
  done
}

# Reads a line of run.json into a variable of its name.
fact() { # NAME
  [[ $(<"$place/run/run.json") =~ \"$1\":\ \"([^\"]+)\" ]] || die "run.json lacks $1"
  printf -v "$1" '%s' "${BASH_REMATCH[1]}"
}
