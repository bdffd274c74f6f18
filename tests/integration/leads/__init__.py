"""leads as a process, on real Kafka and real MongoDB."""
