# shellcheck shell=bash disable=SC2034,SC2154 # `place`, `repository` and the <server>_ settings are shared with dev/servers
# What is missing is installed where that is possible (root, or sudo without a password, and apt);
# where it is not, the message names the package and the setting that replaces it.

install_packages() { # LOG PACKAGE...
  local log=$1 sudo=()
  shift
  if ((EUID != 0)); then
    if ! sudo -n true 2>/dev/null; then
      say "Not root, and sudo asks for a password or is absent: nothing can be installed from here."
      return 1
    fi
    sudo=(sudo -n)
  fi
  command -v apt-get >/dev/null || { say "No apt-get: nothing can be installed from here."; return 1; }
  say "Installing $* (a minute or less; log: $log) ..."
  "${sudo[@]}" bash "$repository/dev/install" "$@" </dev/null >"$log" 2>&1 9>&- || {
    show_tail "$log" 8
    return 1
  }
}
