# shellcheck shell=bash
# How the scripts speak: progress goes to stderr, one line per event; a failure says what to do next.

say() { printf '%s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The end of a log, indented, so that a failure can be understood without opening the file.
show_tail() { # FILE LINES
  [[ -s $1 ]] || return 0
  say "--- last lines of $1"
  tail -n "$2" "$1" | sed 's/^/    /' >&2
}
