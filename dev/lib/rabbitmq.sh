# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# RabbitMQ: carries the messages. A node of its own: name, cookie, name server (epmd), ports and
# folders are all private, and everything listens on the loopback only. RABBITMQ_EXTRA_SETTINGS adds
# lines to its rabbitmq.conf, for tests.

rabbitmq_package=rabbitmq-server
rabbitmq_port=16672
rabbitmq_dist_port=17672
epmd_port=14369

# /usr/sbin/rabbitmq-server (Debian) switches users and drops the environment: never that one.
rabbitmq_program() {
  local candidate
  for candidate in /usr/lib/rabbitmq/bin/rabbitmq-server "$(command -v rabbitmq-server || true)"; do
    if [[ -x $candidate && $candidate != /usr/sbin/* ]]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

rabbitmq_programs() { rabbitmq_program >/dev/null && command -v epmd >/dev/null; }

rabbitmq_launch() {
  local user home=$place/rabbitmq environment
  user=$(account rabbitmq)
  private_folder "$user" "$home"
  private_folder "$user" "$home/conf.d"
  if [[ -n ${MEMBER_OF-} ]]; then
    # Nodes of one cluster have one cookie and one name server: the first one's.
    private_file "$user" "$home/.erlang.cookie" <"$leader/rabbitmq/.erlang.cookie"
    cp "$leader/ports/epmd" "$place/ports/epmd"
  else
    epmd_launch "$user" "$home"
  fi
  claim_port rabbitmq_dist "$rabbitmq_dist_port"
  rabbitmq_settings "$user" "$home"
  environment=(
    "HOME=$home" "ERL_EPMD_PORT=$(port_of epmd)" ERL_EPMD_ADDRESS=127.0.0.1
    "RABBITMQ_NODENAME=$(rabbitmq_node)" "RABBITMQ_DIST_PORT=$(port_of rabbitmq_dist)"
    "RABBITMQ_MNESIA_BASE=$home/mnesia" RABBITMQ_LOGS=- "RABBITMQ_LOG_BASE=$home/log" "RABBITMQ_PID_FILE=$home/pid"
    # Every path that would otherwise fall back to /etc/rabbitmq.
    "RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf" "RABBITMQ_CONFIG_FILES=$home/conf.d"
    "RABBITMQ_ADVANCED_CONFIG_FILE=$home/advanced.config" "RABBITMQ_CONF_ENV_FILE=$home/env.conf"
    "RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins" "RABBITMQ_GENERATED_CONFIG_DIR=$home/config"
    # Makes the start script become the Erlang machine, so that the pid we know is the server's.
    RUNNING_UNDER_SYSTEMD=1
    # No busy waiting: two cores are shared with the service and the tests.
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
  )
  launch rabbitmq "$user" env "${environment[@]}" "$(rabbitmq_program)"
}

rabbitmq_settings() { # USER HOME
  # Absolute limits: the relative defaults block publishers on a machine with a full disk or little memory.
  private_file "$1" "$2/rabbitmq.conf" <<END
listeners.tcp.local = 127.0.0.1:$(port_of rabbitmq)
default_user = customer_service
default_pass = $(<"$place/secret")
disk_free_limit.absolute = 64MB
vm_memory_high_watermark.absolute = 1GB
${RABBITMQ_EXTRA_SETTINGS-}
$(rabbitmq_cluster_settings)
END
  printf '[].\n' | private_file "$1" "$2/enabled_plugins"
  private_file "$1" "$2/env.conf" </dev/null
}

# The first node of a cluster, and one alone, has a name that the others know.
rabbitmq_node() {
  if [[ -n ${MEMBER_OF-} ]]; then echo "member_$(port_of rabbitmq_dist)@localhost"; else echo customer_service@localhost; fi
}

# What a node that joins asks at its first start: the first node, and itself.
rabbitmq_cluster_settings() {
  [[ -n ${MEMBER_OF-} ]] || return 0
  cat <<END
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = customer_service@localhost
cluster_formation.classic_config.nodes.2 = $(rabbitmq_node)
cluster_formation.randomized_startup_delay_range.min = 0
cluster_formation.randomized_startup_delay_range.max = 1
END
}

# Started by us and in the foreground: left to itself, a node starts one that outlives it.
epmd_launch() { # USER HOME
  local pid tries=0
  until pid=$(running "$place/pids/epmd") && owns_port "$1" "$pid" "$(port_of epmd)"; do
    ((tries++ < 100)) || { show_tail "$place/logs/epmd" 5; die "epmd (the Erlang name server) does not start"; }
    if [[ -z $pid ]]; then
      claim_port epmd "$epmd_port"
      launch epmd "$1" env "HOME=$2" epmd -port "$(port_of epmd)" -address 127.0.0.1
    fi
    sleep 0.05
  done
}

rabbitmq_ready() { return 0; } # it opens its listener in the last step of its start

rabbitmq_url() {
  printf 'amqp://customer_service:%s@127.0.0.1:%s/%%2f\n' "$(<"$place/secret")" "$(port_of rabbitmq)"
}

rabbitmq_signal=TERM
