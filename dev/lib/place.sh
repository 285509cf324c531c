# shellcheck shell=bash
# Where the servers keep their data. Normally STATE/servers. But PostgreSQL refuses root, so under
# root it runs as another user, who cannot enter, say, /root (0700); and the path of a unix socket
# holds at most 107 bytes. In both cases STATE/servers is a link to a folder elsewhere, named
# after a hash of STATE, so that two checkouts never share one.

socket_path_max=107

# Sets `place` to the data folder of STATE, making it where needed.
open_place() { # STATE
  mkdir -p "$1"
  [[ -L $1/servers && $(readlink "$1/servers") != "$(elsewhere "$1")" ]] && rm "$1/servers" # a copied checkout
  if [[ ! -d $1/servers ]]; then
    choose_place "$1"
  fi
  place=$(cd -P "$1/servers" && pwd)
  mkdir -p "$place/ports" "$place/pids" "$place/logs"
  check_owner
  forget_original
  [[ -s $place/secret ]] || (umask 077 && random_hex 16 >"$place/secret")
}

# Sets `place` when there is one already; makes nothing.
find_place() { # STATE
  place=$(cd -P "$1/servers" 2>/dev/null && pwd)
}

choose_place() { # STATE
  local away
  mkdir -p "$1/servers"
  chmod 755 "$1/servers"
  fits "$1/servers" && return
  rmdir "$1/servers"
  away=$(elsewhere "$1")
  mkdir -p "$away"
  chmod 755 "$away"
  fits "$away" || die "$away cannot hold the servers' sockets (path too long, or not reachable by other users)"
  ln -s "$away" "$1/servers"
  say "The servers' data lives in $away ($1 is not reachable by their users, or too long for a socket)"
}

elsewhere() { # STATE
  local hash base
  hash=$(printf '%s' "$1" | sha256sum | cut -c1-12)
  if ((EUID == 0)); then base=/var/lib; else base=${XDG_STATE_HOME:-$HOME/.local/state}; fi
  printf '%s/customer-service-dev/%s\n' "$base" "$hash"
}

fits() { # FOLDER
  local socket=$1/postgres/.s.PGSQL.65535
  ((${#socket} <= socket_path_max)) || return 1
  ((EUID != 0)) || (cd / && setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1")
}

# The data belongs to whoever made it: another user's servers could neither read nor stop it.
check_owner() {
  local owner
  [[ -e $place/owner ]] || printf '%s\n' "$EUID" >"$place/owner"
  owner=$(<"$place/owner")
  [[ $owner == "$EUID" ]] || die "$place was made by user id $owner; go on as that user, or let that user run: make clean-data"
}

# In a checkout that was copied or moved, the pids and ports are still those of the original.
forget_original() {
  if [[ -e $place/path && $(<"$place/path") != "$place" ]]; then rm -f "$place"/pids/* "$place"/ports/*; fi
  printf '%s\n' "$place" >"$place/path"
}

# MEMBER_OF names the STATE of another server of the same kind: this one becomes a member of its
# cluster, with its secret.
join_leader() {
  [[ -n ${MEMBER_OF-} ]] || return 0
  leader=$(cd -P "$MEMBER_OF/servers" 2>/dev/null && pwd) || die "nothing was ever started in $MEMBER_OF"
  (umask 077 && cp "$leader/secret" "$place/secret")
}

# The port of the server whose cluster is joined.
leader_port() { # NAME
  cat "$leader/ports/$1"
}

# A folder for one server, entered by nobody but its user.
private_folder() { # USER FOLDER
  mkdir -p "$2"
  chmod 700 "$2"
  ((EUID != 0)) || chown "$1:" "$2"
}

# Writes stdin to a file that only the user can read.
private_file() { # USER FILE
  (umask 077 && cat >"$2")
  ((EUID != 0)) || chown "$1:" "$2"
}

random_hex() { # BYTES
  od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}
