# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# PostgreSQL: the one server that cannot be left out. Reached over a socket in a folder of its own
# user (no password) and over 127.0.0.1 (with the secret: other people's programs run here, too).

postgres_package=postgresql
postgres_port=15432

# Prints the folder of the server's programs: those that made the data, else the newest.
postgres_programs() {
  local version folder
  if [[ -n ${place-} ]] && version=$(cat "$place/postgres_version" 2>/dev/null); then
    folder=/usr/lib/postgresql/$version/bin
    [[ -x $folder/postgres ]] || folder=$(dirname "$(command -v postgres)" 2>/dev/null) || return 1
    printf '%s\n' "$folder"
    return
  fi
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) "$(dirname "$(command -v postgres || echo /none/postgres)")"; do
    if [[ -x $folder/postgres && -x $folder/initdb ]]; then
      printf '%s\n' "$folder"
      return
    fi
  done
  return 1
}

postgres_launch() {
  local user bin home=$place/postgres settings
  user=$(account postgres)
  bin=$(postgres_programs)
  private_folder "$user" "$home"
  [[ -d $home/data ]] || postgres_create "$user" "$bin" "$home"
  settings=(-c listen_addresses=127.0.0.1 -c "port=$(port_of postgres)" -c "unix_socket_directories=$home"
    -c max_connections=200 -c shared_buffers=256MB)
  if [[ ${DURABLE:-1} == 0 ]]; then
    settings+=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off)
  fi
  launch postgres "$user" "$bin/postgres" -D "$home/data" "${settings[@]}"
}

# Made under another name and then renamed: a run that is interrupted here leaves no half cluster.
postgres_create() { # USER PROGRAMS HOME
  if [[ -n ${MEMBER_OF-} ]]; then
    postgres_follow "$@"
    return
  fi
  say "Creating a PostgreSQL cluster in $3"
  rm -rf "$3/data.new"
  private_file "$1" "$3/password" <"$place/secret"
  as_user "$1" "$2/initdb" -D "$3/data.new" -U postgres -E UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=md5 --pwfile="$3/password" >"$place/logs/initdb" 2>&1 ||
    { show_tail "$place/logs/initdb" 20; die "initdb failed"; }
  rm "$3/password"
  cp "$3/data.new/PG_VERSION" "$place/postgres_version"
  mv "$3/data.new" "$3/data"
}

# A standby of the server of MEMBER_OF, which it follows by streaming under the name "standby". The
# password is in a file, because what it follows stands in its configuration.
postgres_follow() { # USER PROGRAMS HOME
  say "Copying the PostgreSQL of $MEMBER_OF to $3"
  rm -rf "$3/data.new"
  private_file "$1" "$3/passfile" <<END
127.0.0.1:$(leader_port postgres):*:postgres:$(<"$place/secret")
END
  as_user "$1" "$2/pg_basebackup" -D "$3/data.new" --write-recovery-conf --wal-method=stream --checkpoint=fast \
    -d "host=127.0.0.1 port=$(leader_port postgres) user=postgres passfile=$3/passfile application_name=standby" \
    >"$place/logs/basebackup" 2>&1 || { show_tail "$place/logs/basebackup" 20; die "pg_basebackup failed"; }
  cp "$3/data.new/PG_VERSION" "$place/postgres_version"
  touch "$place/database_made"
  mv "$3/data.new" "$3/data"
}

# Ready means: it accepts connections, and our database exists.
postgres_ready() {
  local user bin to
  user=$(account postgres)
  bin=$(postgres_programs)
  to=(-h "$place/postgres" -p "$(port_of postgres)" -U postgres)
  as_user "$user" "$bin/pg_isready" -q "${to[@]}" || return 1
  [[ -e $place/database_made ]] && return
  as_user "$user" "$bin/createdb" "${to[@]}" customer_service || return 1
  touch "$place/database_made"
}

postgres_url() {
  printf 'postgres://postgres:%s@127.0.0.1:%s/customer_service\n' "$(<"$place/secret")" "$(port_of postgres)"
}

# Fast shutdown: open sessions are ended, the data is flushed.
postgres_signal=INT
