# shellcheck shell=bash disable=SC2154 # `repository` is set by the script that reads this file
# What a build needs besides the crates: cargo, and a C compiler for the two crates that hold C
# (ring, mimalloc). No OpenSSL, no libpq, no cmake.

need_toolchain() { # LOG [COMPONENT...]
  command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
  command -v cargo >/dev/null || die "cargo is missing: install Rust with https://rustup.rs"
  local log=$1 component
  shift
  for component in "$@"; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component" >&2 ||
      die "$component is missing: rustup component add $component"
  done
  has_c_compiler && return
  install_packages "$log" gcc libc6-dev || true
  hash -r
  has_c_compiler || die "a C compiler is missing: apt-get install --no-install-recommends gcc libc6-dev"
}

# A compiler without the C library's headers is not enough.
has_c_compiler() {
  printf '#include <stdlib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1
}

# The folder cargo builds into (CARGO_TARGET_DIR and cargo's own configuration may move it).
target_folder() {
  local metadata
  metadata=$(cargo metadata --no-deps --offline --format-version 1 2>/dev/null) || metadata=$(cargo metadata --no-deps --format-version 1)
  [[ $metadata =~ \"target_directory\":\"([^\"]+)\" ]] || die "cargo metadata names no target folder"
  printf '%s\n' "${BASH_REMATCH[1]}"
}
