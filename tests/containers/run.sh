#!/usr/bin/env bash
# The container tests: the image of docker/Dockerfile and the stack of compose.yaml with four workers, under kills,
# restarts, scaling and upgrades. `make test-containers` runs this script inside engine.sh. It removes everything it
# started.
#   SECURE=1              the stack of compose.secure.yaml, with TLS and logins
#   HEARTBEAT_MINUTES=10  duration of the heartbeat check      QUICK=1  builds the image faster with less optimization
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
heartbeat_minutes=${HEARTBEAT_MINUTES:-10}
mkdir -p "$root/target/containers"
work=$(mktemp -d "$root/target/containers/run.XXXXXX")
# shellcheck source-path=SCRIPTDIR
source "$here/stack.sh"
# shellcheck source-path=SCRIPTDIR
source "$here/checks.sh"

clean_up() {
  local code=$?
  trap '' INT TERM HUP
  jobs -p | xargs -r kill 2>/dev/null || true
  if ((code)); then
    compose logs --no-color >"$root/target/containers/failed.log" 2>&1 || true
    say "logs of the services: target/containers/failed.log"
  fi
  compose down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1 || true
  docker volume rm "$project-logs" >/dev/null 2>&1 || true
  docker image rm -f "$image" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0
check() { # NAME FUNCTION [ARGUMENT…] : the first failure ends the run, because later checks depend on earlier ones
  local name=$1 begin=$SECONDS code=0; shift
  set +e
  (set -eE; trap 'echo "FAILED: $BASH_COMMAND" >&2' ERR; "$@")
  code=$?
  set -e
  if ((code)); then
    printf 'not ok - %s (%d s)\n%d passed, 1 failed\n' "$name" $((SECONDS - begin)) "$passed"
    exit 1
  fi
  passed=$((passed + 1))
  printf 'ok %d - %s (%d s)\n' "$passed" "$name" $((SECONDS - begin))
}

"$here/images.sh"
write_environment
write_bars
check 'the compose files are sound, want passwords and name versions' compose_files_are_sound
check 'the image is built from docker/Dockerfile' image_is_built
check 'the image is small, labelled, not root, and stops by SIGTERM' image_is_as_it_should_be
check 'the stack comes up with four workers that beat' four_workers_beat
check 'the group has four members, each with partitions' members_have_partitions 4
check 'the commands of the operations page answer inside a worker' operators_commands_answer
check 'Prometheus finds and scrapes all four workers' prometheus_scrapes_all_workers
check 'limits, read-only, user, capabilities, restarts and logs are in force' limits_are_in_force
check 'one worker runs on the network of another stack, with its variables and files' runs_beside_ginkgo
check 'all four work off 2,000 commands, exactly' all_work_off_two_thousand
check 'a worker killed in mid-run is back within 30 s, nothing lost or doubled' killed_worker_comes_back
check 'from four to six to two workers in mid-run, exactly' scales_in_mid_run
check 'a stopped worker drains in time; started again, it runs within 2 s' stops_and_starts
check 'a hung worker becomes unhealthy and its commands are taken over' hung_worker_is_replaced
check 'after a restart of all containers the work goes on, exactly' restart_resumes
check 'an upgrade exchanges all workers in mid-run, nothing lost or doubled' upgrade_loses_nothing
check 'make down and make up: rows, offsets and topics are still there' data_survives_down
check 'a backfill runs in the read-only image, and goes on in another container' backfill_goes_on_in_another_container
check "heartbeats of all workers for $heartbeat_minutes min under load: less than 1 % late or missing" heartbeats_under_load
printf '%d passed, 0 failed\n' "$passed"
