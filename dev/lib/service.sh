# shellcheck shell=bash disable=SC2154 # `state`, `bind`, `database_name` are set by dev/run
# The service as `make run` runs it: what it is configured with, how it is asked, what is told about it.

staff_scopes=customers:read,customers:write,customers:status,groups:write,segments:read,segments:write,privacy:write,audit:read,analytics:read,ops:read,ops:write,keys:write

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

# An address that was asked for is taken as it is; the default one gives way when it is taken.
choose_bind() {
  bind=${CUSTOMER_SERVICE__HTTP__BIND:-}
  if [[ -z $bind ]]; then
    local port=8080
    while port_taken "$port"; do port=$((port + 1)); done
    bind=127.0.0.1:$port
  fi
  export CUSTOMER_SERVICE__HTTP__BIND=$bind
  base_url=http://$(reachable "$bind")
  ops_url=http://$(reachable "${CUSTOMER_SERVICE__HTTP__OPS_BIND:-$bind}")/ops
  export CUSTOMER_SERVICE__HTTP__PUBLIC_URL=${CUSTOMER_SERVICE__HTTP__PUBLIC_URL:-$base_url}
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

run_facts() { # PID
  printf '{\n'
  printf '  "base_url": %s,\n' "$(json_string "$base_url")"
  printf '  "ops_url": %s,\n' "$(json_string "$ops_url")"
  printf '  "staff_key": %s,\n' "$(json_string "$(<"$state/staff_key")")"
  printf '  "mail_dir": %s,\n' "$(json_string "$CUSTOMER_SERVICE__MAIL__FOLDER")"
  printf '  "database_url": %s,\n' "$(json_string "$DATABASE_URL")"
  printf '  "redis_url": %s,\n' "$(json_string "$REDIS_URL")"
  printf '  "amqp_url": %s,\n' "$(json_string "$AMQP_URL")"
  printf '  "pid": %s\n}\n' "$1"
}

# For scripts and `make demo`; there exactly while the service serves.
write_run_json() { # PID
  (umask 077 && run_facts "$1" >"$state/run.json.new")
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

Next, in another terminal: make demo
Stop: Ctrl-C here, or make stop (the data stays; make clean-data deletes it)

END
}
