#!/bin/bash
# Takes the place of apache/kafka's start script: KAFKA_SOME_NAME becomes some.name, and the broker starts.
set -euo pipefail
properties=/tmp/server.properties
{
    echo "log.dirs=${KAFKA_LOG_DIRS:-/var/lib/kafka/data}"
    while IFS='=' read -r name value; do
        case $name in
            KAFKA_LOG_DIRS | KAFKA_HEAP_OPTS | KAFKA_OPTS | KAFKA_JVM_* | KAFKA_JMX_* | KAFKA_LOG4J_*) continue ;;
            KAFKA_*) ;;
            *) continue ;;
        esac
        key=${name#KAFKA_}
        key=${key,,}
        key=${key//___/-}
        key=${key//__/%}
        key=${key//_/.}
        echo "${key//%/_}=$value"
    done < <(env)
} > "$properties"
run=(java ${KAFKA_HEAP_OPTS:--Xmx512m} -XX:+UseSerialGC -Dlog4j2.configurationFile=/opt/kafka/log4j2.properties -cp '/opt/kafka/libs/*')
"${run[@]}" kafka.tools.StorageTool format --ignore-formatted -t "${CLUSTER_ID:-UmluZ2JhY2stbG9jYWwtMQ}" -c "$properties"
exec "${run[@]}" kafka.Kafka "$properties"
