# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# Redis: counts requests for the limiter. Nothing in it must survive, so it writes nothing to disk.

redis_package=redis-server
redis_port=16379

redis_bus_port=26379

# With REDIS_CLUSTER=1 a node that can become part of a Redis Cluster. A master that is away takes its
# own slots with it and no others.
redis_cluster_settings() {
  [[ ${REDIS_CLUSTER:-0} == 1 ]] || return 0
  claim_port redis_bus "$redis_bus_port"
  cat <<END
cluster-enabled yes
cluster-port $(port_of redis_bus)
cluster-node-timeout 2000
cluster-require-full-coverage no
masterauth $(<"$place/secret")
END
}

redis_programs() { command -v redis-server >/dev/null; }

redis_launch() {
  local user home=$place/redis
  user=$(account redis)
  private_folder "$user" "$home"
  # In a file, not on the command line: that one is readable by everybody.
  private_file "$user" "$home/redis.conf" <<END
bind 127.0.0.1
port $(port_of redis)
dir $home
save ""
appendonly no
requirepass $(<"$place/secret")
$(redis_cluster_settings)
END
  launch redis "$user" redis-server "$home/redis.conf"
}

redis_ready() { return 0; } # it listens only once it can serve

redis_url() {
  printf 'redis://default:%s@127.0.0.1:%s/0\n' "$(<"$place/secret")" "$(port_of redis)"
}

redis_signal=TERM
