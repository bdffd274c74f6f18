"""Real Kafka and MongoDB for the tests, from one of two providers, and polling with a deadline."""
