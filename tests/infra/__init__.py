"""What tests of all areas share: real Kafka and MongoDB from one of two providers, a fake clock, polling with a deadline."""
