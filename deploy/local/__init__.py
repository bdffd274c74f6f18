"""Everything Ringback needs, on this machine, without Docker: Apache Kafka from its Maven jars, a real mongod, ourselves."""
