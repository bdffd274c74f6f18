"""Test images of Kafka and MongoDB, for a machine with a Docker engine that cannot pull `apache/kafka` and `mongo`.

Made from what the machine has: its own Java and shell with the shared libraries they need, Kafka's Maven jars, the mongod that
`deploy.local` would run. They replace the public images in tests, nowhere else:

    python -m deploy.local.test_images
    export RINGBACK_KAFKA_IMAGE=ringback-test/kafka:local RINGBACK_MONGODB_IMAGE=ringback-test/mongodb:local
    make test-containers
"""
