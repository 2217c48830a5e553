#!/usr/bin/env bash
# Provides the images of compose.yaml and docker/Dockerfile. For an image that cannot be pulled, it builds a stand-in
# with the same name, but only in an engine that the tests started: an existing engine must not get images under false
# names.
# Exit code 3: an image is unavailable.
#   QUICK=1  the stand-in of the rust image builds faster with less optimization
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
services=$root/target/services
mkdir -p "$root/target/containers"
work=$(mktemp -d "$root/target/containers/images.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { printf 'containers: %s\n' "$*"; }
die() { say "NO IMAGE: $*" >&2; exit 3; }
quietly() { "$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; die "failed: $*"; }; }

there() { # IMAGE : whether it exists and is no stand-in built with another QUICK
  local quick
  quick=$(docker image inspect --format '{{index .Config.Labels "quick"}}' "$1" 2>/dev/null) || return 1
  [[ -z $quick || $quick == "${QUICK:-0}" ]]
}

from_dockerfile() { sed -n "s/^ARG $1=//p" "$root/docker/Dockerfile"; }
base=$(from_dockerfile RUNTIME_IMAGE)
rust=$(from_dockerfile BUILD_IMAGE)
# Without Grafana of the monitoring profile: it has no stand-in and is not tested.
mapfile -t servers < <(sed -n 's/^    image: \(&[a-z]* \)\{0,1\}\([^* ]*\)$/\2/p' "$root/compose.yaml" | grep -E 'kafka|clickhouse|redis|mysql|prometheus')

build() { # DOCKERFILE-FOLDER IMAGE [FLAG…] : builds with the content of $work/context
  local folder=$1 image=$2; shift 2
  mkdir -p "$work/context"
  cp -r "$here/stand-ins/$folder/." "$work/context"
  # shellcheck disable=SC2086  # several flags
  quietly docker build ${CONTAINERS_BUILD_FLAGS:-} "$@" -t "$image" "$work/context"
  rm -rf "$work/context"
  say "built a stand-in for $image"
}

add() { # FROM… TO : copies into the context, as hard links if possible
  mkdir -p "$work/context"
  cp -rlL "${@:1:$#-1}" "$work/context/${!#}" 2>/dev/null || cp -rL "${@:1:$#-1}" "$work/context/${!#}"
}

stand_in() { # IMAGE
  case $1 in
    "$base")
      debootstrap --variant=minbase bookworm "$work/rootfs" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die 'debootstrap failed'; }
      rm -rf "$work"/rootfs/var/cache/apt/* "$work"/rootfs/var/lib/apt/lists/*
      tar -C "$work/rootfs" -c . | docker import --change 'CMD ["bash"]' - "$1" >/dev/null
      say "built a stand-in for $1" ;;
    "$rust")
      local sysroot
      sysroot=$(rustc --print sysroot)
      mkdir -p "$work/context/toolchain/bin"
      add "$sysroot"/bin/{cargo,rustc} toolchain/bin/
      add "$sysroot/lib" toolchain/lib
      add /etc/ssl/certs/ca-certificates.crt ca-certificates.crt
      build rust "$1" --build-arg "QUICK=${QUICK:-0}" ;;
    apache/kafka:*)
      [[ $(<"$services/kafka.kind") == apache ]] || die "the jars of Apache Kafka are unavailable"
      add "$services/kafka" jars
      build kafka "$1" ;;
    clickhouse/*)
      mkdir -p "$work/context/engine"
      add "$services"/venv/lib/python3*/site-packages/chdb* engine/
      add "$root/tests/services/clickhouse_http.py" clickhouse_http.py
      build clickhouse "$1" ;;
    redis:*) build redis "$1" ;;
    mysql:*) build mysql "$1" ;;
    prom/*) build prometheus "$1" ;;
    *) die "no stand-in for $1" ;;
  esac
}

pullable=
for image in "$base" "$rust" "${servers[@]}"; do
  there "$image" && continue
  if [[ $pullable != no ]] && timeout 300 docker pull -q "$image" >/dev/null 2>&1; then continue; fi
  [[ ${CONTAINERS_OWN_ENGINE:-0} == 1 ]] || die "$image cannot be pulled"
  [[ $pullable == no ]] || say 'images cannot be pulled; building local stand-ins'
  pullable=no
  stand_in "$image"
done
