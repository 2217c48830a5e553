# The stack under test and functions to control it; sourced by run.sh.
# shellcheck shell=bash
project=data-worker-test
group=data_worker_group
image=ginkgo-data-worker:test
commands_topic=ginkgo.data.commands
dead_letter_topic=ginkgo.data.commands.dlq
num_codes=2000
days_a_part=20 # each check has its own trading days, so its rows are known exactly

say() { printf 'containers: %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# --- set up ---

free_ports() { # N : prints N free ports below the range for outgoing connections
  local port n=0
  while ((n < $1)); do
    port=$((20000 + RANDOM % 12000))
    # A successful connection means that the port is in use.
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; n=$((n + 1)); }
  done
}

# Makes the commands of a user act on the project, files and passwords of the test.
write_environment() {
  local ports
  mapfile -t ports < <(free_ports 5)
  export KAFKA_PUBLISHED_PORT=${ports[0]} CLICKHOUSE_PUBLISHED_PORT=${ports[1]}
  export REDIS_PUBLISHED_PORT=${ports[2]} MYSQL_PUBLISHED_PORT=${ports[3]} PROMETHEUS_PUBLISHED_PORT=${ports[4]}
  export WORKER_VERSION=test BARS_FOLDER=$work/bars
  export COMPOSE_PROJECT_NAME=$project COMPOSE_FILE=$root/compose.yaml
  [[ -z ${SECURE-} ]] || COMPOSE_FILE+=:$root/compose.secure.yaml
  COMPOSE_FILE+=:$here/compose.test.yaml
  export COMPOSE_ENV_FILES=$work/env COMPOSE_PROGRESS=quiet
  make_target "$work/env" >/dev/null
  set -a
  # shellcheck disable=SC1091  # written a line above
  source "$work/env"
  set +a
  export REDISCLI_AUTH=$REDIS_PASSWORD
  clickhouse_url=http://127.0.0.1:$CLICKHOUSE_PUBLISHED_PORT
  redis_options=() curl_options=() kcat_options=()
  [[ -z ${SECURE-} ]] || secure_clients
}

# What the clients of the test need where all servers have TLS and logins.
secure_clients() {
  local ca=$root/docker/certificates/client/ca.pem
  make_target certificates
  clickhouse_url=https://127.0.0.1:$CLICKHOUSE_PUBLISHED_PORT
  redis_options=(--tls --cacert "$ca") curl_options=(--cacert "$ca")
  kcat_options=(-X security.protocol=SASL_SSL -X ssl.ca.location="$ca" -X sasl.mechanisms=PLAIN
    -X sasl.username=ginkgo -X sasl.password="$KAFKA_PASSWORD")
}

# Writes a folder of artificial bars: the same days for each code, with different values.
write_bars() {
  mkdir -p "$work/bars"
  mapfile -t days < <(grep -E '^[0-9]{8}$' "$root/data/calendar/a-share-trading-days.txt" \
    | awk -v today="$(date +%Y%m%d)" '$1 < today' | tail -n $((days_a_part * 9)))
  printf '%s\n' "${days[@]}" | awk -v folder="$work/bars" -v codes="$num_codes" '
    { day[NR] = $1 }
    END {
      for (c = 0; c < codes; c++) {
        file = folder "/" (600000 + c) ".SH.daily.csv"
        print "date,open,high,low,close,volume,amount" >file
        for (d = 1; d <= NR; d++)
          printf "%s,10.00,11.00,9.00,%.2f,%d,%d.00\n", day[d], 9.5 + (c * 31 + d * 7) % 140 / 100, 100 * (1 + (c * 17 + d * 13) % 5000), 1000 * (1 + (c + d) % 9000) >file
        close(file)
      }
    }'
  chmod -R a+rX "$work"
}

# --- handles ---

compose() { docker compose --project-directory "$root" "$@"; }
make_target() { make --no-print-directory -s -C "$root" DOCKER_BUILD_FLAGS="${CONTAINERS_BUILD_FLAGS:-}" "$@"; }
workers() { compose ps -q data-worker; }                       # the running ones
node_of() { echo "data_worker_${1:0:12}"; }                     # CONTAINER
inspect() { docker inspect --format "$2" "$1"; }                # CONTAINER FORMAT
health_of() { inspect "$1" '{{.State.Health.Status}}'; }
redis() { redis-cli "${redis_options[@]}" -h 127.0.0.1 -p "$REDIS_PUBLISHED_PORT" --no-auth-warning "$@"; }
sql() { curl -fsS --max-time 20 "${curl_options[@]}" -u "ginkgo:$CLICKHOUSE_PASSWORD" "$clickhouse_url/?database=ginkgo" --data-binary "$1"; }
heartbeat() { redis get "heartbeat:data_worker:$(node_of "$1")"; }
status_of() { heartbeat "$1" | jq -r '.status // "none"' 2>/dev/null || true; }
counted_by() { heartbeat "$1" | jq -r --arg name "$2" '.stats[$name]'; } # CONTAINER COUNTER
kafka_group() {
  # shellcheck disable=SC2016  # the shell of the container expands it
  compose exec -T kafka bash -c 'printf "%s\n" "${CLIENT_PROPERTIES-}" >/tmp/client.properties
    exec /opt/kafka/bin/kafka-consumer-groups.sh --bootstrap-server kafka:9092 --command-config /tmp/client.properties --describe "$@"' \
    bash --group "$group" "$@" 2>/dev/null
}
kafka() { kcat "${kcat_options[@]}" -b "127.0.0.1:$KAFKA_PUBLISHED_PORT" "$@"; }
dead_letters() { kafka -C -q -e -o beginning -t "$dead_letter_topic" | wc -l; }

wait_until() { # SECONDS WHAT COMMAND… : retries five times per second until COMMAND succeeds, at most SECONDS
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@"; do
    ((SECONDS < end)) || fail "not in time: $what"
    sleep 0.2
  done
}

have_beaten_since() { # TIME, Shanghai wall clock
  local container
  for container in $(workers); do [[ $(heartbeat "$container" | jq -r .timestamp) > $1 ]] || return 1; done
}

each_beats_anew() { wait_until 25 'a new heartbeat of each worker' have_beaten_since "$(TZ=CST-8 date +%Y-%m-%dT%H:%M:%S.%N)"; }

are_running() { # NUMBER : whether exactly NUMBER containers run and all their heartbeats have status `running`
  local container n=0
  for container in $(workers); do
    [[ $(status_of "$container") != running ]] || n=$((n + 1))
  done
  ((n == $1)) && (($(workers | wc -l) == $1))
}

# --- work ---

first_day() { echo "${days[$((($1 - 1) * days_a_part))]}"; } # PART, from 1
last_day() { echo "${days[$(($1 * days_a_part - 1))]}"; }
iso() { echo "${1:0:4}-${1:4:2}-${1:6:2}"; }

# Sends a command for each of COUNT codes, RATE per second. The code is the key, so commands spread over the partitions.
send() { # PART COUNT RATE
  local code end=$(($2 + 600000)) n=0
  for ((code = 600000; code < end; code++)); do
    printf '%d.SH\t{"command":"bar_snapshot","params":{"code":"%d.SH","start_date":"%s","end_date":"%s"}}\n' \
      "$code" "$code" "$(first_day "$1")" "$(last_day "$1")"
    ((++n % ($3 / 10 + 1))) || sleep 0.1
  done | kafka -P -K $'\t' -t "$commands_topic" -X queue.buffering.max.ms=5
}

in_part() { echo "timestamp BETWEEN '$(iso "$(first_day "$1")") 00:00:00' AND '$(iso "$(last_day "$1")") 00:00:00'"; }
rows_in() { sql "SELECT count() FROM bar WHERE $(in_part "$1")"; } # PART
has_rows() { (($(rows_in "$1") >= $2)); }

# The content of the files in Ginkgo's units: rows, codes, keys, lots.
expected() { # PART COUNT
  awk -F, -v from="$(first_day "$1")" -v to="$(last_day "$1")" \
    'FNR > 1 && $1 >= from && $1 <= to { rows++; lots += int($6 / 100) } END { printf "%d\t%d\t%d\t%d", rows, ARGC - 1, rows, lots }' \
    $(seq -f "$work/bars/%.0f.SH.daily.csv" 600000 $((600000 + $2 - 1)))
}

# Asserts that all offsets are committed and that exactly the rows of the files are stored: none missing, none twice.
assert_exact() { # PART COUNT SECONDS [FINAL]
  local want got
  want=$(expected "$1" "$2")
  wait_until "$3" "the ${want%%$'\t'*} rows of part $1" has_rows "$1" "${want%%$'\t'*}"
  wait_until 60 'all offsets are committed' is_committed
  got=$(sql "SELECT count(), uniqExact(code), uniqExact(code, timestamp), sum(volume) FROM bar ${4:-} WHERE $(in_part "$1")")
  [[ $got == "$want" ]] || fail "rows, codes, keys, lots: $got instead of $want"
  (($(dead_letters) == 0)) || fail "$(dead_letters) dead letters"
}

is_committed() { # no partition of the group has a lag, or records without a commit
  kafka_group | awk '$1 == "'"$group"'" { n++; if ($4 == "-" ? $5 > 0 : $6 > 0) lag++ } END { exit !(n && !lag) }'
}
