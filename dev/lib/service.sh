# shellcheck shell=bash disable=SC2154 # `state`, `pids`, `database_name` are set by dev/run
# The service as `make run` runs it: what it is configured with, how it is asked, what is told about it.

staff_scopes=customers:read,customers:write,customers:status,customers:unseal,groups:write,segments:read,segments:write,privacy:write,audit:read,analytics:read,ops:read,ops:write,keys:write

# Everything else comes from config/development.toml.
configure_service() {
  [[ -s $state/root_key ]] || (umask 077 && head -c 32 /dev/urandom | base64 >"$state/root_key")
  export CUSTOMER_SERVICE__SECRETS__ROOT_KEY_FILE=$state/root_key
  export CUSTOMER_SERVICE__DATABASE__URL=$DATABASE_URL
  separate_roles
  export CUSTOMER_SERVICE__REDIS__URL=$REDIS_URL
  export CUSTOMER_SERVICE__RABBIT__URL=$AMQP_URL
  export CUSTOMER_SERVICE__MAIL__FOLDER=${CUSTOMER_SERVICE__MAIL__FOLDER:-$state/mail}
  mkdir -p "$CUSTOMER_SERVICE__MAIL__FOLDER"
}

# On a server of our own the service works as a role of few rights, which `migrate` makes as the owner.
# On one that the caller named, the caller decides.
separate_roles() {
  [[ $database_name == private ]] || return 0
  export CUSTOMER_SERVICE__DATABASE__MIGRATION_URL=$DATABASE_URL
  export CUSTOMER_SERVICE__DATABASE__APPLICATION_ROLE=customer_service
  export CUSTOMER_SERVICE__DATABASE__URL=${DATABASE_URL/#postgres:\/\/postgres:/postgres:\/\/customer_service:}
}

# How many nodes to serve with, from NODES.
node_count() {
  [[ ${NODES:-1} =~ ^[1-8]$ ]] || die "NODES must be a number from 1 to 8, not ${NODES}"
  echo "${NODES:-1}"
}

# Sets `binds` (and `ops_binds`, where operators have an address of their own) to one address for each
# node, on consecutive ports. What was asked for is taken as it is; the default gives way to a port
# that is taken. The first node's address is the one that clients are told.
choose_binds() { # COUNT
  local first=${CUSTOMER_SERVICE__HTTP__BIND:-} ops=${CUSTOMER_SERVICE__HTTP__OPS_BIND:-} port=8080 number
  binds=() ops_binds=()
  for ((number = 0; number < $1; number++)); do
    if [[ -n $first ]]; then
      binds+=("${first%:*}:$((${first##*:} + number))")
    else
      while port_taken "$port"; do port=$((port + 1)); done
      binds+=("127.0.0.1:$port")
      port=$((port + 1))
    fi
    [[ -z $ops ]] || ops_binds+=("${ops%:*}:$((${ops##*:} + number))")
  done
  base_url=$(base_url_of 0)
  ops_url=$(ops_url_of 0)
  export CUSTOMER_SERVICE__HTTP__PUBLIC_URL=${CUSTOMER_SERVICE__HTTP__PUBLIC_URL:-$base_url}
}

base_url_of() { # INDEX
  echo "http://$(reachable "${binds[$1]}")"
}

ops_url_of() { # INDEX
  echo "http://$(reachable "${ops_binds[$1]:-${binds[$1]}}")/ops"
}

# What a node is called, and the name of its files: those of the first are as with one node.
node_name() { # INDEX
  echo "node $(($1 + 1))"
}

node_file() { # INDEX
  if (($1 == 0)); then echo "$state/service"; else echo "$state/service-$(($1 + 1))"; fi
}

# An address that means "every interface" is reached over the loopback.
reachable() { # HOST:PORT
  case $1 in
    0.0.0.0:*) echo "127.0.0.1:${1##*:}" ;;
    '[::]:'*) echo "[::1]:${1##*:}" ;;
    *) echo "$1" ;;
  esac
}

# Prints the status of a GET, without needing curl.
http_status() { # URL
  local rest=${1#http://} authority host line=
  authority=${rest%%/*}
  host=${authority%:*}
  host=${host#[}
  { exec 3<>"/dev/tcp/${host%]}/${authority##*:}"; } 2>/dev/null || return 1
  printf 'GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${rest#*/}" "$authority" 2>/dev/null >&3 || true
  IFS= read -r -t 5 line <&3 || true
  exec 3>&-
  [[ $line =~ ^HTTP/1\.[01]\ ([0-9]{3}) ]] && echo "${BASH_REMATCH[1]}"
}

# One key per database: another DATABASE_URL means another key. Our own server's port and password
# may change, its data does not.
make_staff_key() { # PROGRAM DATABASE_NAME
  [[ -s $state/staff_key && $(cat "$state/staff_key.database" 2>/dev/null) == "$2" ]] && return
  local answer
  answer=$("$1" key create --name development --scopes "$staff_scopes" --json) || return 1
  [[ $answer =~ \"key\"[[:space:]]*:[[:space:]]*\"([^\"]+)\" ]] || return 1
  (umask 077 && printf '%s\n' "${BASH_REMATCH[1]}" >"$state/staff_key")
  printf '%s\n' "$2" >"$state/staff_key.database"
}

json_string() { # TEXT
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# Of the nodes in `pids`, by their indexes: one that ended is not there any more.
run_facts() {
  local living=("${!pids[@]}") index comma=,
  printf '{\n'
  printf '  "base_url": %s,\n' "$(json_string "$(base_url_of "${living[0]}")")"
  printf '  "ops_url": %s,\n' "$(json_string "$(ops_url_of "${living[0]}")")"
  printf '  "staff_key": %s,\n' "$(json_string "$(<"$state/staff_key")")"
  printf '  "mail_dir": %s,\n' "$(json_string "$CUSTOMER_SERVICE__MAIL__FOLDER")"
  printf '  "database_url": %s,\n' "$(json_string "$DATABASE_URL")"
  printf '  "redis_url": %s,\n' "$(json_string "$REDIS_URL")"
  printf '  "amqp_url": %s,\n' "$(json_string "$AMQP_URL")"
  printf '  "pid": %s,\n' "${pids[${living[0]}]}"
  printf '  "nodes": [\n'
  for index in "${living[@]}"; do
    ((index != living[-1])) || comma=
    printf '    {"name": %s, "base_url": %s, "ops_url": %s, "pid": %s, "log": %s}%s\n' \
      "$(json_string "$(node_name "$index")")" "$(json_string "$(base_url_of "$index")")" \
      "$(json_string "$(ops_url_of "$index")")" "${pids[index]}" "$(json_string "$(node_file "$index").log")" "$comma"
  done
  printf '  ]\n}\n'
}

# For scripts and `make demo`; there exactly while the service serves. The fields outside of "nodes" are
# those of the first node that lives.
write_run_json() {
  (umask 077 && run_facts >"$state/run.json.new")
  mv "$state/run.json.new" "$state/run.json"
}

print_banner() { # SECONDS
  cat <<END

customer-service is ready (after $1 s)

  API            $base_url/v1
  API reference  $base_url/docs
  Supervision    $ops_url
  Staff key      $(<"$state/staff_key")
  Mail           $CUSTOMER_SERVICE__MAIL__FOLDER
  Log            $state/service.log
  For scripts    $state/run.json
END
  ((${#pids[@]} == 1)) || print_nodes
  cat <<END

Next, in another terminal: make demo
Stop: Ctrl-C here, or make stop (the data stays; make clean-data deletes it)

END
}

print_nodes() {
  local index
  printf '\n%s nodes, any of which serves any customer:\n\n' "${#pids[@]}"
  for index in "${!pids[@]}"; do
    printf '  %-14s %s  pid %s  log %s\n' "$(node_name "$index")" "$(base_url_of "$index")" "${pids[index]}" "$(node_file "$index").log"
  done
  printf '\nEnd one (kill -9 its pid) or freeze one (kill -STOP, kill -CONT): the others go on.\n'
}
