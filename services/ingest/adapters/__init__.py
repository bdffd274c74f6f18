"""What ingest touches outside itself: Kafka, and Twilio's signatures and TwiML."""
