# The checks of the container tests, each run in its own subshell; sourced by run.sh.
# shellcheck shell=bash

compose_files_are_sound() {
  local file version
  version=$(sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  docker compose -f "$root/compose.yaml" -f "$root/compose.secure.yaml" --profile monitoring config -q
  ! env -u KAFKA_PASSWORD COMPOSE_ENV_FILES=/dev/null CLICKHOUSE_PASSWORD=x REDIS_PASSWORD=x MYSQL_PASSWORD=x MYSQL_ROOT_PASSWORD=x \
    docker compose -f "$root/compose.yaml" -f "$root/compose.secure.yaml" config -q 2>"$work/said" || fail 'compose.secure.yaml does not require a password'
  grep -q 'KAFKA_PASSWORD.*set it in .env' "$work/said" || fail "compose.secure.yaml does not name the missing variable: $(<"$work/said")"
  for file in compose.yaml compose.ginkgo.yaml; do
    CLICKHOUSE_USER=x MYSQL_USER=x docker compose -f "$root/$file" --profile monitoring config -q
    ! env -u CLICKHOUSE_PASSWORD COMPOSE_ENV_FILES=/dev/null docker compose -f "$root/$file" config -q 2>"$work/said" || fail "$file does not require a password"
    grep -q 'CLICKHOUSE_PASSWORD.*set it in .env' "$work/said" || fail "$file does not name the missing variable: $(<"$work/said")"
    grep -qF "ginkgo-data-worker:\${WORKER_VERSION:-$version}" "$root/$file" || fail "$file does not use version $version"
    # Every image has a version.
    ! sed -n 's/#.*//; s/^ *image: //p' "$root/$file" | grep -vE '^(&kafka )?[a-z/-]+:(v?[0-9]+[0-9.]+[a-z-]*|\$\{WORKER_VERSION:-[0-9.]+\}) *$|^\*kafka$' || fail "$file"
  done
  grep -qx "ARG VERSION=$version" "$root/docker/Dockerfile" || fail "docker/Dockerfile does not have version $version"
}

image_is_built() {
  make_target image >"$root/target/containers/build.log" 2>&1 || { tail -n 30 "$root/target/containers/build.log" >&2; fail 'make image'; }
}

image_is_as_it_should_be() {
  local base size above
  base=$(sed -n 's/^ARG RUNTIME_IMAGE=//p' "$root/docker/Dockerfile")
  size=$(inspect "$image" '{{.Size}}')
  above=$(((size - $(inspect "$base" '{{.Size}}')) / 1000000))
  say "the image is $above MB larger than $base"
  ((above < 60)) || fail "$above MB"
  [[ $(inspect "$image" '{{.Config.User}} {{.Config.StopSignal}}') == '10001:10001 SIGTERM' ]] || fail 'user or signal'
  [[ $(inspect "$image" '{{json .Config.Healthcheck.Test}}') == '["CMD","data-worker","health"]' ]] || fail 'health check'
  [[ $(inspect "$image" '{{json .Config.Entrypoint}}{{json .Config.Cmd}}') == '["data-worker"]["run","--strict"]' ]] || fail 'entry point'
  [[ $(inspect "$image" '{{index .Config.Labels "org.opencontainers.image.licenses"}}') == MIT ]] || fail 'labels'
}

four_workers_beat() {
  make_target up >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; compose ps -a >&2; fail "make up"; }
  wait_until 60 'four workers run' are_running 4
  (($(redis keys 'heartbeat:data_worker:*' | wc -l) == 4)) || fail 'the number of heartbeats is not four'
}

# The commands of docs/operations.md.
operators_commands_answer() {
  compose run --rm --no-deps -T data-worker config check --connect >"$work/said" 2>&1 || { cat "$work/said" >&2; fail 'config check --connect'; }
  compose exec -T data-worker data-worker status >"$work/said" || fail 'status'
  (($(grep -c '^  running ' "$work/said") == 4)) || { cat "$work/said" >&2; fail 'status does not show four running workers'; }
  compose exec -T data-worker data-worker send --wait reload >"$work/said" || { cat "$work/said" >&2; fail 'send reload'; }
}

members_have_partitions() { # NUMBER
  wait_until 60 "$1 members with partitions" has_members "$1"
}

has_members() { # columns: group, consumer, (instance,) host, client, number of partitions
  kafka_group --members | awk -v want="$1" '
    NR > 1 && NF && $1 != "GROUP" { n++; if ($NF < 1) idle++; all += $NF }
    END { exit !(n == want && !idle && all == 24) }'
}

limits_are_in_force() {
  local container
  for container in $(workers); do
    [[ $(inspect "$container" '{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.PidsLimit}}') \
      == "1000000000 $((512 << 20)) $((128 << 20)) 256" ]] || fail 'limits'
    [[ $(inspect "$container" '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Config}} {{.Config.StopTimeout}}') \
      == 'true [ALL] always map[max-file:3 max-size:20m] 35' ]] || fail "$(inspect "$container" '{{json .HostConfig}}')"
    # The process status of the kernel: user, capabilities, no new privileges.
    [[ $(awk '/^(Uid|CapEff|NoNewPrivs):/ { printf "%s ", $2 }' "/proc/$(inspect "$container" '{{.State.Pid}}')/status") \
      == '10001 0000000000000000 1 ' ]] || fail 'user or capabilities'
    [[ -z $(docker diff "$container" | grep -v '^[CA] /\(etc\|bars\|certificates\|home\)' || true) ]] || fail "wrote: $(docker diff "$container")"
  done
  docker ps -q --filter "label=com.docker.compose.project=$project" | xargs docker inspect \
    --format '{{range .NetworkSettings.Ports}}{{range .}}{{println .HostIp}}{{end}}{{end}}' | sort -u >"$work/addresses"
  [[ $(tr -d '\n' <"$work/addresses") == 127.0.0.1 ]] \
    || fail 'a port is published on another address'
}

# With the scrape configuration in docker/prometheus, which finds each container through the service name.
prometheus_scrapes_all_workers() {
  compose --profile monitoring up -d prometheus
  wait_until 60 'it has scraped four workers' number_from_prometheus_is 4 'sum(up{job="data-worker"})'
  number_from_prometheus_is 4 'count(count by (node_id) (data_worker_state{state="running"} == 1))' || fail 'not all workers run'
  number_from_prometheus_is 0 'sum(ALERTS{alertstate="firing"}) or vector(0)' || fail 'an alert fires'
  compose rm -fsv prometheus >/dev/null
}

number_from_prometheus_is() { # NUMBER EXPRESSION
  local answer
  answer=$(curl -fsS --max-time 5 -G --data-urlencode "query=$2" "http://127.0.0.1:$PROMETHEUS_PUBLISHED_PORT/api/v1/query" 2>/dev/null) || return 1
  [[ $(jq -r '.data.result[0].value[1]' <<<"$answer") == "$1" ]]
}

# The stack under test takes the role of Ginkgo: network, variables, a file in the mounted folder, and the log volume.
runs_beside_ginkgo() {
  local container
  mkdir -p "$work/ginkgo" "$work/logs"
  chmod a+rwx "$work/logs"
  docker volume create --opt type=none --opt o=bind --opt device="$work/logs" "$project-logs" >/dev/null
  beside_settings >"$work/ginkgo/data_worker.yml"
  chmod -R a+rX "$work/ginkgo"
  beside() {
    GINKGO_NETWORK=${project}_default GINKGO_FOLDER=$work/ginkgo GINKGO_LOG_VOLUME=$project-logs GINKGO_KAFKA_HOST=kafka GINKGO_REDIS_HOST=redis \
    GINKGO_CLICKHOUSE_PORT=${SECURE:+8443} GINKGO_CLICKHOUSE_HOST=clickhouse GINKGO_MYSQL_HOST=mysql CLICKHOUSE_USER=ginkgo MYSQL_USER=ginkgo WORKER_GROUP_ID=beside \
      docker compose -p "$project-beside" -f "$root/compose.ginkgo.yaml" "$@"
  }
  beside up -d --scale data-worker=1
  container=$(beside ps -q data-worker)
  wait_until 30 'it runs' is_running "$container"
  beside down --timeout 35
  docker volume rm "$project-logs" >/dev/null
  grep -h '"message":"the worker stopped in order"' "$work"/logs/data_worker.*.log >/dev/null || fail 'the log volume has no log of the worker'
}

beside_settings() {
  local folder=/home/ginkgo/.ginkgo tls=
  if [[ -n ${SECURE-} ]]; then
    cp "$root/docker/certificates/client/ca.pem" "$work/ginkgo/ca.pem"
    tls=", tls: true, ca_file: $folder/ca.pem"
    printf 'kafka: {ca_file: %s/ca.pem, security: {protocol: sasl_ssl}, sasl: {mechanism: PLAIN, user: ginkgo, password: "%s"}}\n' "$folder" "$KAFKA_PASSWORD"
    printf 'clickhouse: {port: 8443%s}\nmysql: {tls: verify_ca, ca_file: %s/ca.pem}\n' "$tls" "$folder"
  fi
  printf 'redis: {password: "%s"%s}\n' "$REDIS_PASSWORD" "$tls"
  printf 'sources: {bars: files, files: {folder: %s}}\nfetch: {extend_calendar: false}\n' "$folder"
}

is_running() { [[ $(status_of "$1") == running ]]; } # CONTAINER

# The counters of the workers must match the table: they also show rows that were written twice and merged later.
all_work_off_two_thousand() {
  local container before=() n i=0 commands=0 rows=0
  each_beats_anew # earlier commands are in the counters
  for container in $(workers); do before+=("$(counted_by "$container" messages_processed)" "$(counted_by "$container" bars_written)"); done
  send 1 "$num_codes" 400
  assert_exact 1 "$num_codes" 120
  each_beats_anew # the last commands are in the counters
  for container in $(workers); do
    n=$(($(counted_by "$container" messages_processed) - before[i]))
    commands=$((commands + n))
    rows=$((rows + $(counted_by "$container" bars_written) - before[i + 1]))
    i=$((i + 2))
    say "$(node_of "$container"): $n commands"
    ((n > 100)) || fail 'a worker processed too few commands'
  done
  ((commands == num_codes && rows == num_codes * days_a_part)) || fail "$commands commands, $rows rows"
}

killed_worker_comes_back() {
  local victim restarts begin
  victim=$(workers | sed -n 1p)
  restarts=$(inspect "$victim" '{{.RestartCount}}')
  send 2 "$num_codes" 200 &
  wait_until 30 'rows come' has_rows 2 2000
  begin=$SECONDS
  kill -KILL "$(inspect "$victim" '{{.State.Pid}}')"
  wait_until 30 'the worker is back' has_restarted "$victim" "$restarts"
  say "back and healthy after $((SECONDS - begin)) s"
  wait
  assert_exact 2 "$num_codes" 120
  members_have_partitions 4
}

has_restarted() { # CONTAINER RESTARTS-BEFORE
  (($(inspect "$1" '{{.RestartCount}}') > $2)) && is_running "$1" && [[ $(health_of "$1") == healthy ]]
}

scales_in_mid_run() {
  send 3 "$num_codes" 100 &
  wait_until 30 'rows come' has_rows 3 2000
  make_target scale N=6
  wait_until 40 'six run' are_running 6
  say "six run at $(rows_in 3) rows"
  make_target scale N=2
  wait_until 40 'two run' are_running 2
  say "two run at $(rows_in 3) rows"
  wait
  assert_exact 3 "$num_codes" 120
  members_have_partitions 2
  make_target scale N=4
  wait_until 60 'four run' are_running 4
  members_have_partitions 4
}

stops_and_starts() {
  local container took
  container=$(workers | sed -n '$p')
  send 4 "$num_codes" 200 &
  wait_until 30 'rows come' has_rows 4 2000
  took=$SECONDS
  docker stop "$container" >/dev/null
  took=$((SECONDS - took))
  [[ $(inspect "$container" '{{.State.ExitCode}}') == 0 ]] || fail "exit code $(inspect "$container" '{{.State.ExitCode}}')"
  ((took < 35)) || fail "$took s"
  [[ -z $(heartbeat "$container") ]] || fail 'its heartbeat still exists'
  say "drained in $took s"
  docker start "$container" >/dev/null
  took=$(wait_for_start "$container")
  say "runs $took ms after its start"
  ((took < 2000)) || fail "$took ms"
  wait
  assert_exact 4 "$num_codes" 120
}

wait_for_start() { # CONTAINER : prints the milliseconds from its start to the first heartbeat with status running
  local begin end=$((SECONDS + 30))
  begin=$(date -d "$(inspect "$1" '{{.State.StartedAt}}')" +%s%3N)
  until is_running "$1"; do ((SECONDS < end)) || fail 'the worker does not run'; sleep 0.02; done
  echo $(($(date +%s%3N) - begin))
}

hung_worker_is_replaced() {
  local container pid begin
  container=$(workers | sed -n 1p)
  pid=$(inspect "$container" '{{.State.Pid}}')
  wait_until 60 'it is healthy before' is_healthy "$container"
  send 5 "$num_codes" 200 &
  wait_until 30 'rows come' has_rows 5 2000
  begin=$SECONDS
  kill -STOP "$pid"
  trap 'kill -CONT "$pid" 2>/dev/null' EXIT
  wait_until 90 'it is unhealthy' is_unhealthy "$container"
  say "unhealthy after $((SECONDS - begin)) s"
  wait
  # FINAL: other workers may have written the rows that it had in process; such rows are identical.
  assert_exact 5 "$num_codes" 120 FINAL
  say "all its commands are done after $((SECONDS - begin)) s"
  [[ -z $(heartbeat "$container") ]] || fail 'a hung worker sends heartbeats'
  kill -CONT "$pid"
  trap - EXIT
  wait_until 90 'it is healthy again' is_healthy "$container"
  wait_until 60 'it runs again' is_running "$container"
  assert_exact 5 "$num_codes" 10 FINAL
  members_have_partitions 4
}

is_healthy() { [[ $(health_of "$1") == healthy ]]; }
is_unhealthy() { [[ $(health_of "$1") == unhealthy ]]; }

restart_resumes() {
  send 6 "$num_codes" 2000
  wait_until 30 'rows come' has_rows 6 1
  say "restarted at $(rows_in 6) rows"
  compose restart --timeout 35
  wait_until 90 'four run' are_running 4
  assert_exact 6 "$num_codes" 120
}

# The effect of `make up` with a new image: a new container replaces each worker.
upgrade_loses_nothing() {
  local before
  before=$(workers)
  send 7 "$num_codes" 200 &
  wait_until 30 'rows come' has_rows 7 2000
  compose up -d --no-build --no-deps --force-recreate data-worker
  say "replaced at $(rows_in 7) rows"
  wait_until 60 'four run' are_running 4
  [[ -z $(workers | grep -Fx "$before" || true) ]] || fail 'an old worker still runs'
  wait
  assert_exact 7 "$num_codes" 120
}

data_survives_down() {
  make_target down
  [[ -z $(docker ps -aq --filter "label=com.docker.compose.project=$project") ]] || fail 'a container still exists'
  make_target up >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail 'make up'; }
  wait_until 60 'four run' are_running 4
  assert_exact 7 "$num_codes" 10
  members_have_partitions 4
}

# Two containers in sequence, both with a read-only root: the second one continues with the progress of the first.
backfill_goes_on_in_another_container() {
  local codes code=0
  codes=$(seq -s, -f '%.0f.SH' 600000 600019)
  backfill() {
    compose run --rm --no-deps -T data-worker backfill --codes "$codes" --start "$(iso "$(first_day 9)")" --end "$(iso "$(last_day 9)")" >"$work/said" 2>&1
  }
  mv "$work/bars/600004.SH.daily.csv" "$work/away"
  backfill || code=$?
  if ((code != 1)) || ! grep -q '^failed: 1d 600004.SH ' "$work/said"; then
    cat "$work/said" >&2
    fail "exit code $code although the file of a code is missing"
  fi
  mv "$work/away" "$work/bars/600004.SH.daily.csv"
  backfill || { cat "$work/said" >&2; fail 'the same command again'; }
  grep -qE ': [1-9][0-9]* of [0-9]+ trading days of a code done before; journal /var/lib/data-worker/' "$work/said" || { cat "$work/said" >&2; fail 'it started from the beginning'; }
  assert_exact 9 20 10
}

# Heartbeats of a worker are distinguished by their field last_heartbeat; sampled twice per second.
heartbeats_under_load() {
  local end=$((SECONDS + heartbeat_minutes * 60)) container nodes=() node
  for container in $(workers); do nodes+=("heartbeat:data_worker:$(node_of "$container")"); done
  while ((SECONDS < end)); do send 8 "$num_codes" 50; done >"$work/load" 2>&1 &
  while ((SECONDS < end)); do
    for node in "${nodes[@]}"; do redis get "$node" | jq -r --arg node "$node" '"\($node) \(.stats.last_heartbeat) \(.status)"' || echo "$node missing"; done
    sleep 0.5
  done >"$work/beats"
  wait
  assert_exact 8 "$num_codes" 180
  awk -v expected=$((heartbeat_minutes * 6 * ${#nodes[@]})) '
    $2 == "missing" || $3 != "running" { absent++; next }
    !($1 in last) { last[$1] = $2; next }
    $2 != last[$1] { beats++; gap = $2 - last[$1]; if (gap > 11) late += int(gap / 10); last[$1] = $2 }
    END {
      printf "containers: %d of about %d heartbeats, %d late or missing, %d samples without a heartbeat\n", beats, expected, late, absent
      exit !(beats >= expected * 0.95 - 4 && late < expected / 100 && absent == 0)
    }' "$work/beats" || fail 'heartbeats'
}
