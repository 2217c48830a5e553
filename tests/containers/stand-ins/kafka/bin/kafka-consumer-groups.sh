#!/bin/bash
exec java -XX:TieredStopAtLevel=1 -Xshare:auto -Xmx128m -Dlog4j2.level=ERROR -cp '/opt/kafka/libs/*' org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@"
