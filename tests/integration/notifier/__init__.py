"""The notifier's process on real Kafka and MongoDB, with the sandbox as its provider."""
