# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# Ports: a server keeps the port it once got (file ports/<name>); one that is taken is stepped over.
# All first choices lie below 32768, where the kernel does not hand out ports to outgoing connections.

# Prints the socket inodes that listen on a port; fails when nobody listens.
listeners() { # PORT
  local hex
  printf -v hex '%04X' "$1"
  local rows
  rows=$(grep -hE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null) || return 1
  local -a fields
  while read -ra fields; do printf '%s\n' "${fields[9]}"; done <<<"$rows"
}

port_taken() { listeners "$1" >/dev/null; }

# True when this very process listens on the port: an answer alone could come from a stranger.
# Asked as the process's own user, because root in a container may not look into others' files.
owns_port() { # USER PID PORT
  local inodes open inode
  inodes=$(listeners "$3") || return 1
  open=$(as_user "$1" ls -l "/proc/$2/fd" 2>/dev/null) || return 1
  for inode in $inodes; do
    [[ $open == *"socket:[$inode]"* ]] && return 0
  done
  return 1
}

# The remembered port of a server.
port_of() { # NAME
  cat "$place/ports/$1" 2>/dev/null
}

# Picks a free port, beginning with the remembered one, and remembers it.
claim_port() { # NAME FIRST_CHOICE
  local port
  port=$(port_of "$1") || port=$(($2 + ${PORT_OFFSET:-0}))
  while port_taken "$port"; do port=$((port + 1)); done
  printf '%s\n' "$port" >"$place/ports/$1"
}
