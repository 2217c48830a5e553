#!/usr/bin/env bash
# Starts Kafka, Redis, MariaDB, ClickHouse and FerretDB (as MongoDB) on free local ports, runs a command, stops them.
#   with_services.sh COMMAND…      returns the exit code of COMMAND
#   with_services.sh --print-env   creates the command topics, prints the environment and a configuration file for these
#                                  servers, and keeps them running until Ctrl-C
# A server that does not answer is a failure (exit code 1). What the fallback broker cannot run is listed at the end.
# Run install.sh first.
#   KAFKA=apache|fallback  SERVICES_DIR=DIR  as in install.sh
#   SERVICES_DATA=DIR      parent folder of the servers' temporary data (default: the system's temporary directory)
# shellcheck disable=SC2317  # functions are called by traps and by name
set -euo pipefail
(($#)) || { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${SERVICES_DIR:-$(cd "$here/../.." && pwd)/target/services}
python=$dir/venv/bin/python
[[ -x $python && -x $dir/ferretdb && -f $dir/kafka.kind ]] || { echo "services: run tests/services/install.sh first" >&2; exit 1; }
kind=${KAFKA:-$(<"$dir/kafka.kind")}
data=$(mktemp -d "${SERVICES_DATA:-${TMPDIR:-/tmp}}/services.XXXXXXXX")
declare -A pids=()
command_pid=
bound=(setpriv --pdeathsig KILL) # the kernel kills a server even after kill -9 of this script

# Job control gives each child its own process group. Ctrl-C reaches only this script, which first ends the command with
# all its descendants, then the servers.
set -m

cleanup() {
  trap '' INT TERM HUP
  exec 2>/dev/null # hide the notices of the shell about killed jobs
  if [[ -n $command_pid ]] && kill -TERM -- "-$command_pid" 2>/dev/null; then
    for _ in {1..50}; do kill -0 -- "-$command_pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL -- "-$command_pid" 2>/dev/null || true
  fi
  # The data is deleted, so the servers need no clean shutdown.
  for name in "${!pids[@]}"; do kill -KILL -- "-${pids[$name]}" 2>/dev/null || true; done
  wait
  rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

start() { # NAME COMMAND…
  local name=$1; shift
  "$@" >"$data/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
}

wait_for() { # NAME SECONDS COMMAND… : waits until COMMAND succeeds
  local name=$1 end=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)) || ! kill -0 "${pids[$name]}" 2>/dev/null; then
      { echo "services: $name does not answer; end of its log:"; tail -n 40 "$data/$name.log"; } >&2
      exit 1
    fi
    sleep 0.1
  done
}

# Below the range for outgoing connections. Otherwise a port could be in use when its server starts.
ports=$("$python" - <<'PY'
import random, socket
free = []
while len(free) < 8:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
            free.append(port)
        except OSError:
            pass
print(*free)
PY
)
read -r kafka_port proxied_port proxy_port controller_port redis_port mysql_port clickhouse_port mongodb_port <<<"$ports"

# The second listener, PROXIED, is advertised as the port of a proxy that a test runs: clients that begin there stay there.
start_apache() {
  local java=(java -Xmx384m -XX:+UseSerialGC -Dlog4j2.level=WARN -cp "$dir/kafka/*")
  cat >"$data/kafka.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$kafka_port,PROXIED://127.0.0.1:$proxied_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port,PROXIED://127.0.0.1:$proxy_port,CONTROLLER://127.0.0.1:$controller_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$controller_port
log.dirs=$data/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
  start Kafka format_and_run "$data/kafka.properties" "${java[@]}"
}

format_and_run() { # PROPERTIES JAVA…
  local properties=$1; shift
  "$@" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format --standalone -t AAAAAAAAAAAAAAAAAAAAAQ -c "$properties" || exit 1
  exec "${bound[@]}" "$@" kafka.Kafka "$properties"
}

start_fallback() {
  start Kafka "${bound[@]}" env RUST_LOG=warn "$dir/tansu" broker --listener-url "tcp://127.0.0.1:$kafka_port" \
    --advertised-listener-url "tcp://127.0.0.1:$kafka_port" --storage-engine memory://tansu/
}

start_mariadb() {
  mkdir "$data/mariadb"
  cat >"$data/init.sql" <<SQL
CREATE USER ginkgo@'127.0.0.1' IDENTIFIED BY '$TEST_MYSQL_PASSWORD';
GRANT ALL ON *.* TO ginkgo@'127.0.0.1' WITH GRANT OPTION;
SQL
  start MariaDB create_and_run
}

create_and_run() {
  # --user: required when the server runs as root
  local options=(--no-defaults --datadir="$data/mariadb" --user="$(id -un)" --innodb-log-file-size=32M)
  mariadb-install-db "${options[@]}" --skip-test-db --auth-root-authentication-method=normal || exit 1
  exec "${bound[@]}" mariadbd "${options[@]}" --bind-address=127.0.0.1 --port="$mysql_port" \
    --socket="$data/mariadb.sock" --pid-file="$data/mariadb.pid" --init-file="$data/init.sql" --skip-name-resolve \
    --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --character-set-server=utf8mb4
}

# Supports the MongoDB wire protocol with logins, but no transactions and few commands. Users are stored with the data.
start_ferretdb() {
  mkdir "$data/ferretdb"
  start FerretDB "${bound[@]}" env DO_NOT_TRACK=1 FERRETDB_SETUP_USERNAME="$TEST_MONGODB_USER" \
    FERRETDB_SETUP_PASSWORD="$TEST_MONGODB_PASSWORD" FERRETDB_SETUP_DATABASE=admin \
    "$dir/ferretdb" --handler=sqlite --sqlite-url="file:$data/ferretdb/" --state-dir="$data/ferretdb" \
    --listen-addr="127.0.0.1:$mongodb_port" --debug-addr=- --telemetry=disable --log-level=warn --test-enable-new-auth
}

kafka_answers() { # checks the broker (metadata, version 1) and the group coordinator, whose first start takes seconds
  "$python" - "$kafka_port" <<'PY'
import socket, struct, sys
def ask(api, version, body):
    head = struct.pack('>hhih', api, version, 1, -1)
    s.sendall(struct.pack('>i', len(head + body)) + head + body)
    size, = struct.unpack('>i', answer.read(4))
    return answer.read(size)[4:]
with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2) as s, s.makefile('rb') as answer:
    brokers, = struct.unpack('>i', ask(3, 1, struct.pack('>i', 0))[:4])
    error, = struct.unpack('>h', ask(10, 0, struct.pack('>h', 4) + b'warm')[:2])
    sys.exit(brokers < 1 or error != 0)
PY
}
mongodb_answers() { # sends `hello` as OP_MSG: {hello: 1, $db: "admin"}
  "$python" - "$mongodb_port" <<'PY'
import socket, struct, sys
body = b'\x10hello\0' + struct.pack('<i', 1) + b'\x02$db\0' + struct.pack('<i', 6) + b'admin\0\0'
body = struct.pack('<i', len(body) + 4) + body
with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2) as s, s.makefile('rb') as answer:
    s.sendall(struct.pack('<iiiii', len(body) + 21, 1, 0, 2013, 0) + b'\0' + body)
    size, = struct.unpack('<i', answer.read(4))
    sys.exit(b'maxWireVersion' not in answer.read(size - 4))
PY
}
mysql_answers() { MYSQL_PWD=$TEST_MYSQL_PASSWORD mariadb --no-defaults -h 127.0.0.1 -P "$mysql_port" -u ginkgo -e 'SELECT 1'; }

export TEST_KAFKA_BROKER=127.0.0.1:$kafka_port
export TEST_KAFKA_KIND=$kind
export TEST_KAFKA_DATA=$data/kafka
export TEST_KAFKA_JARS=$dir/kafka # Apache Kafka only: for brokers that a test starts itself
export TEST_NOT_RUN=$data/not_run # tests that need more than the fallback broker add their names
export TEST_KAFKA_PROXIED_BROKER=127.0.0.1:$proxied_port # Apache Kafka only
export TEST_KAFKA_PROXY_PORT=$proxy_port
TEST_REDIS_SERVER=$(command -v redis-server)
export TEST_REDIS_SERVER
export TEST_REDIS_URL=redis://127.0.0.1:$redis_port/0
export TEST_MYSQL_HOST=127.0.0.1
export TEST_MYSQL_PORT=$mysql_port
export TEST_MYSQL_USER=ginkgo
TEST_MYSQL_PASSWORD=$("$python" -c 'import secrets; print(secrets.token_hex(16))')
export TEST_MYSQL_PASSWORD
export TEST_MONGODB_HOST=127.0.0.1
export TEST_MONGODB_PORT=$mongodb_port
export TEST_MONGODB_USER=ginkgo
TEST_MONGODB_PASSWORD=$("$python" -c 'import secrets; print(secrets.token_hex(16))')
export TEST_MONGODB_PASSWORD
export TEST_CLICKHOUSE_URL=http://127.0.0.1:$clickhouse_port
export TEST_CLICKHOUSE_COMMAND="$python $here/clickhouse_http.py"

echo "services: starting Kafka ($kind), Redis, MariaDB, ClickHouse, FerretDB"
case $kind in
  apache | fallback) "start_$kind" ;;
  *) echo "services: KAFKA must be apache or fallback" >&2; exit 1 ;;
esac
start_mariadb
start_ferretdb
start Redis "${bound[@]}" "$TEST_REDIS_SERVER" --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no --dir "$data"
start ClickHouse "${bound[@]}" "$python" "$here/clickhouse_http.py" --port "$clickhouse_port" --path "$data/clickhouse"
wait_for Redis 10 redis-cli -h 127.0.0.1 -p "$redis_port" ping
wait_for ClickHouse 30 curl -fsS "$TEST_CLICKHOUSE_URL/?query=SELECT+1"
wait_for FerretDB 30 mongodb_answers
wait_for MariaDB 60 mysql_answers
wait_for Kafka 60 kafka_answers
echo "services: all servers answer after ${SECONDS} s"

create_topics() { # the topics that a worker reads; it creates its own two
  if [[ $kind != apache ]]; then
    echo "# the fallback broker creates topics at their first use"
    return
  fi
  local topic
  for topic in ginkgo.data.commands ginkgo.live.control.commands; do
    java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$dir/kafka/*" org.apache.kafka.tools.TopicCommand --create --if-not-exists \
      --bootstrap-server "127.0.0.1:$kafka_port" --topic "$topic" --partitions 4 --replication-factor 1 >/dev/null
  done
}

write_config() { # a configuration file for these servers
  cat >"$data/data_worker.yml" <<YAML
kafka:
  host: 127.0.0.1
  port: $kafka_port
redis:
  host: 127.0.0.1
  port: $redis_port
clickhouse:
  host: 127.0.0.1
  port: $clickhouse_port
mysql:
  host: 127.0.0.1
  port: $mysql_port
  user: $TEST_MYSQL_USER
  password: "$TEST_MYSQL_PASSWORD"
sources:
  bars: files       # samples; tdx needs no account, tushare needs a token
  files:
    folder: $(cd "$here/../../data/sample" && pwd)
YAML
}

if [[ $1 == --print-env ]]; then
  create_topics
  (umask 077; write_config)
  for name in "${!TEST_@}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
  printf '# %s, for a worker:\n' "$data/data_worker.yml"
  cat "$data/data_worker.yml"
  echo "# data-worker config check --connect $data/data_worker.yml"
  echo "# data-worker run --strict --config $data/data_worker.yml"
  echo "# running until Ctrl-C; data and logs: $data"
  set -- sleep infinity
fi
setpriv --pdeathsig TERM "$@" &
command_pid=$!
code=0
wait "$command_pid" || code=$?
if [[ -s $TEST_NOT_RUN ]]; then
  echo "services: the fallback broker cannot run these tests; run them on Apache Kafka (KAFKA=apache):"
  sort -u "$TEST_NOT_RUN"
fi
exit "$code"
