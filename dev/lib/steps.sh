# shellcheck shell=bash
# Steps of a long script. Each step runs in a process group of its own, so that Ctrl-C or SIGTERM
# reaches this script alone, at once, and the script then ends the step and all its children.
set -m

step_group=

# Runs a step and gives its status. Steps read nothing: they must work without a terminal.
step() { # COMMAND...
  local status=0
  "$@" </dev/null 8>&- & # the lock below is this script's alone
  step_group=$!
  wait "$step_group" || status=$?
  step_group=
  return "$status"
}

end_step() {
  [[ -n $step_group ]] || return 0
  kill -TERM -- "-$step_group" 2>/dev/null || true
  wait "$step_group" 2>/dev/null || true
  step_group=
}

# Signals become ordinary exits, so that the EXIT trap of the script is the one place to clean up.
exit_on_signals() {
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}

# One at a time per folder: two runs would stop each other's servers.
only_one() { # NAME LOCK_FILE
  exec 8>"$2"
  flock -n 8 || die "$1 is already running in this checkout"
}
