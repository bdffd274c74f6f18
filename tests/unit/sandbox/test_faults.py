"""A fault rule applies to the requests it names, as often as it says, and the same way each time."""

from deploy.sandbox.faults import Faults, FaultSpec


def test_fault_for_the_next_two_is_spent_after_two() -> None:
    faults = Faults(seed=1)
    faults.add(FaultSpec(kind="429", next=2))
    assert [bool(faults.pick("create")) for _ in range(4)] == [True, True, False, False]
    assert faults.pick("list") is None
    assert faults.left() == []


def test_seeded_share_of_faults_is_the_same_each_time() -> None:
    def run() -> list[bool]:
        faults = Faults(seed=7)
        faults.add(FaultSpec(kind="5xx", share=0.3))
        return [faults.pick("create") is not None for _ in range(500)]

    first = run()
    assert first == run()
    assert 0.2 < sum(first) / 500 < 0.4


def test_fault_for_one_number_leaves_others_alone() -> None:
    faults = Faults(seed=1)
    faults.add(FaultSpec(kind="lost", next=1, to="+15125550134"))
    assert faults.pick("create", "+15125550135") is None
    found = faults.pick("create", "+15125550134")
    assert found is not None
    assert found.is_accepted
