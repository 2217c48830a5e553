#!/bin/bash
# Like the real image: variables become settings (KAFKA_LOG_DIRS is log.dirs); the first start formats the storage.
set -euo pipefail
properties=/tmp/server.properties
while IFS='=' read -r name value; do
  [[ $name == KAFKA_* && $name != KAFKA_HEAP_OPTS ]] || continue
  name=${name#KAFKA_}
  name=${name,,}
  echo "${name//_/.}=$value"
done < <(env) >"$properties"
java=(java ${KAFKA_HEAP_OPTS:-} -Dlog4j2.level=WARN -cp '/opt/kafka/libs/*')
"${java[@]}" kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c "$properties"
exec "${java[@]}" kafka.Kafka "$properties"
