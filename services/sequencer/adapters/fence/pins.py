"""The exact sources the fence was tested against; a worker on any other refuses to start.

Everything the fence replaces, or whose order of steps it relies on, is listed with the hash of its source. To take a new
version, run the chaos tests on it first, then print the new table with
`python -m services.sequencer.adapters.fence.pins`.
"""

from collections.abc import Mapping, Sequence

from services.runtime.pins import differences, source_hash

VERSIONS: Mapping[str, str] = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}

SOURCES: Mapping[str, str] = {
    "faust.app.base:App._on_partitions_revoked": "d5c895bbe57dc73a",
    "faust.app.base:App.on_rebalance_start": "5c1e23de30674082",
    "faust.app.base:App._on_partitions_assigned": "de932b7927db85b3",
    "faust.app.base:App._update_assignment": "39d9f315c1228325",
    "faust.app.base:App._stop_consumer": "55854a5de12c3f52",
    "faust.app.base:App._new_transport": "42db531312dd776f",
    "faust.app.base:App._new_producer_transport": "eb3b4aa6a8961275",
    "faust.stores.memory:Store": "83ceb1145af05eae",
    "faust.streams:Stream.noack": "921a6f5c674d32d4",
    "faust.streams:Stream.events": "c62f4dd3a73fe7aa",
    "faust.streams:Stream._c_aiter": "fa44582a5882e9df",
    "faust.tables.base:Collection.apply_changelog_batch": "b980a78d3ae9b1e8",
    "faust.tables.base:Collection._new_changelog_topic": "77bea64b59f79809",
    "faust.tables.manager:TableManager.recovery": "f0bf5de78b4c3d23",
    "faust.tables.manager:TableManager.on_rebalance": "2d2c23a07bf54328",
    "faust.tables.manager:TableManager._update_channels": "88e3941facc934d6",
    "faust.tables.recovery:Recovery._add": "1584a197b11bf835",
    "faust.tables.recovery:Recovery._build_highwaters": "91b4cc0d3724ae7b",
    "faust.tables.recovery:Recovery._build_offsets": "27eec86be06cb51f",
    "faust.tables.recovery:Recovery._restart_recovery": "6bd8a8558a2dffe4",
    "faust.tables.recovery:Recovery._wait": "ec7429b70176f8c6",
    "faust.tables.recovery:Recovery._seek_offsets": "19598ca63d94d250",
    "faust.tables.recovery:Recovery._slurp_changelogs": "7825c7e50f766d5a",
    "faust.tables.recovery:Recovery.flush_buffers": "6fa9c17f1071018c",
    "faust.tables.recovery:Recovery.on_rebalance": "aa4d997a1795ceae",
    "faust.tables.recovery:Recovery.on_recovery_completed": "6ef567acf072e46d",
    "faust.tables.recovery:Recovery.revoke": "779302ebfab0b2db",
    "faust.transport.conductor:ConductorCompiler.build": "837cf521368c1ee4",
    "faust.transport.conductor:Conductor._compile_message_handler": "9fbc0538097aa4ec",
    "faust.transport.consumer:Consumer._commit_offsets": "1a69799041188441",
    "faust.transport.consumer:Consumer._drain_messages": "44a2500309e83c63",
    "faust.transport.consumer:Consumer._new_offset": "1d2c7ea89a7ad4f1",
    "faust.transport.consumer:Consumer._wait_next_records": "6218e1969a636b3f",
    "faust.transport.consumer:Consumer.ack": "5fcf41cf45153475",
    "faust.transport.consumer:Consumer._add_gap": "4df2573ded7c1c2c",
    "faust.transport.consumer:Consumer.getmany": "4b168d84882a70d6",
    "faust.transport.consumer:Consumer.resume_flow": "db59630f25b5819b",
    "faust.transport.consumer:Consumer.stop_flow": "cf7e875a2b0d40e8",
    "faust.transport.consumer:Consumer.on_partitions_assigned": "29ce96596f05a18c",
    "faust.transport.consumer:Consumer.on_partitions_revoked": "d04b7ae72c6fc206",
    "faust.transport.consumer:Consumer.on_buffer_drop": "4b57e8a418d5ad9c",
    "faust.transport.consumer:Consumer.on_buffer_full": "c8961679e0bcdce5",
    "faust.transport.consumer:Consumer.perform_seek": "0e8c130ff4b0afd8",
    "faust.transport.consumer:Consumer.wait_empty": "e4662fe24f094819",
    "faust.transport.consumer:ThreadDelegateConsumer._getmany": "f9d47aa9010b5ff2",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._commit": "932852ce7a23f658",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "c2701bfc3e6f6cad",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.getmany": "26fc5fc9f3b667e1",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start": "38b4e8bd1e10723a",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.verify_event_path": "b983e7735f647cb3",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "0870ec53dea75083",
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener": "f3d04f29dfb3f716",
    "faust.transport.drivers.aiokafka:Producer._new_producer": "e72355c3430ed02f",
    "faust.transport.drivers.aiokafka:Producer._settings_default": "9c39987fb719e984",
    "faust.transport.drivers.aiokafka:Producer._settings_extra": "a4c7bc41b6382223",
    "faust.transport.drivers.aiokafka:Producer.flush": "36d0cb3615f65b01",
    "faust.transport.drivers.aiokafka:Producer.on_start": "219c9a7a785d77b2",
    "mode.utils.queues:FlowControlEvent": "1da8f905ab655e39",
    "mode.utils.queues:FlowControlQueue": "15f15a87fd6de428",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.seek_to_committed": "f6cd85c8b70a4ccf",
    "aiokafka.consumer.fetcher:Fetcher._update_fetch_positions": "d7774d8241dc6a7e",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": "be4348896b9b66af",
    "aiokafka.consumer.fetcher:Fetcher.request_offset_reset": "e5bd8ba8838613c9",
    "aiokafka.consumer.group_coordinator:CoordinatorGroupRebalance._send_sync_group_request": "7429ca078ddf9bb7",
    "aiokafka.consumer.group_coordinator:CoordinatorGroupRebalance.perform_group_join": "ff2c2109b2e9868d",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat": "dc1d6632aaa68e96",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_rejoin_group": "3cb016c98a087a71",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._heartbeat_routine": "61d01028952239d0",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_complete": "0b0b3d204b408f3c",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_prepare": "4d9524afc0ee2c2f",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._send_req": "fa4b12e914ce9fcf",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.ensure_active_group": "33c84c1a93012e81",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.reset_generation": "537aa37c531b4de9",
    "aiokafka.producer.message_accumulator:MessageAccumulator.add_message": "56ff7e6c19185f83",
    "aiokafka.producer.message_accumulator:MessageAccumulator.drain_by_nodes": "fc995afbfc5718e2",
    "aiokafka.producer.message_accumulator:MessageBatch.expired": "3b28f15f56f2acb1",
    "aiokafka.producer.producer:AIOKafkaProducer.send": "08ce81263f439838",
    "aiokafka.producer.sender:SendProduceReqHandler": "708c9da866caf440",
    "aiokafka.producer.sender:Sender._send_produce_req": "aea01ae4b6c794cc",
    "aiokafka.producer.sender:Sender._sender_routine": "2380dc5e333d9ebd",
}


class UntestedVersion(RuntimeError):
    """Faust, mode or aiokafka is not what the fence was tested against; nothing was started.

    Attributes:
        problems: every package and function that differs.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the fence was not tested against this installation: " + "; ".join(problems))


def check_pins(versions: Mapping[str, str] = VERSIONS, sources: Mapping[str, str] = SOURCES) -> None:
    """Return only if everything that the fence replaces or relies on is what was tested.

    Raises:
        UntestedVersion: names every package and function that differs.
    """
    wrong = differences(versions, sources)
    if wrong:
        raise UntestedVersion(wrong)


if __name__ == "__main__":
    for listed in SOURCES:
        print(f'    "{listed}": "{source_hash(listed)}",')
