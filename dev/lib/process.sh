# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# A process is known by its pid and its start time, never by its name: a pid alone is reused,
# and a name also matches the neighbours. A pid file of ours holds "<pid> <start time in ticks>".

# Prints "<state> <start time>" of a process; fails when there is none.
process_facts() { # PID
  local stat
  { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The command in parentheses may itself contain blanks and parentheses: cut after the last one.
  stat=${stat##*) }
  local -a fields
  read -ra fields <<<"$stat"
  printf '%s %s\n' "${fields[0]}" "${fields[19]}"
}

remember() { # PID_FILE PID
  local facts
  facts=$(process_facts "$2") || facts='X 0'
  printf '%s %s\n' "$2" "${facts#* }" >"$1"
}

# Prints the pid when the remembered process still runs (a zombie does not run).
running() { # PID_FILE
  local pid start facts
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  facts=$(process_facts "$pid") || return 1
  [[ ${facts#* } == "$start" && ${facts%% *} != [ZX] ]] || return 1
  printf '%s\n' "$pid"
}

# Starts a server that outlives this script: own session, no terminal, no lock inherited (fd 9).
launch() { # NAME USER COMMAND...
  local name=$1
  become "$2"
  shift 2
  setsid "${become[@]}" "$@" </dev/null >>"$place/logs/$name" 2>&1 9>&- &
  remember "$place/pids/$name" $!
}

signal() { # PID_FILE SIGNAL
  local pid
  pid=$(running "$1") || return 0
  kill "-$2" "$pid" 2>/dev/null || true
}

# Waits until the remembered process has gone; one that overstays is killed.
await_end() { # PID_FILE SECONDS
  local tries=$(($2 * 20))
  while running "$1" >/dev/null; do
    if ((tries-- == 0)); then
      say "$1: did not end within $2 s, killed"
      signal "$1" KILL
      tries=100
    fi
    sleep 0.05
  done
  rm -f "$1"
}

# Runs a command as an unprivileged user when we are root, and plainly when we are not.
as_user() { # USER COMMAND...
  become "$1"
  shift
  "${become[@]}" "$@"
}

# Sets the array `become`: the words before a command that is to run as that user. The environment
# is bare in any case: PGHOST, RABBITMQ_* and the like of the caller must not leak in.
become() { # USER
  become=(env -i "PATH=$PATH" LANG=C.UTF-8 "HOME=$place")
  if ((EUID == 0)); then
    become=(setpriv "--reuid=$1" "--regid=$(id -g "$1")" --init-groups "${become[@]}")
  fi
}

# The account a server runs under when we are root: its package's own, or nobody.
account() { # NAME
  if ((EUID != 0)); then
    id -un
  elif id "$1" >/dev/null 2>&1; then
    printf '%s\n' "$1"
  else
    printf 'nobody\n'
  fi
}
