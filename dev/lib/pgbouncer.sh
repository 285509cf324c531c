# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# PgBouncer in transaction mode, in front of the PostgreSQL of POOLER_OF (the STATE of another
# dev/servers). Few sessions for many clients, so that two reads of one client meet different ones.

pgbouncer_package=pgbouncer
pgbouncer_port=26432

# Debian puts it where only root looks for programs.
pgbouncer_program() {
  command -v pgbouncer || { [[ -x /usr/sbin/pgbouncer ]] && echo /usr/sbin/pgbouncer; }
}

pgbouncer_programs() { pgbouncer_program >/dev/null; }

pgbouncer_launch() {
  local user home=$place/pgbouncer behind
  user=$(account pgbouncer)
  behind=$(cd -P "$POOLER_OF/servers" 2>/dev/null && pwd) || die "nothing was ever started in $POOLER_OF"
  (umask 077 && cp "$behind/secret" "$place/secret")
  private_folder "$user" "$home"
  private_file "$user" "$home/users" <<END
"postgres" "$(<"$place/secret")"
END
  private_file "$user" "$home/pgbouncer.ini" <<END
[databases]
* = host=127.0.0.1 port=$(<"$behind/ports/postgres")
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $(port_of pgbouncer)
unix_socket_dir =
auth_type = md5
auth_file = $home/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
server_lifetime = 60
END
  launch pgbouncer "$user" "$(pgbouncer_program)" "$home/pgbouncer.ini"
}

pgbouncer_ready() { return 0; }

pgbouncer_url() {
  printf 'postgres://postgres:%s@127.0.0.1:%s/customer_service\n' "$(<"$place/secret")" "$(port_of pgbouncer)"
}

pgbouncer_signal=TERM
