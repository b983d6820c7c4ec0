"""How many bytes cross, by the formulas: once per value and receiver, and once back for each gradient."""

from __future__ import annotations

from splittraining.api.wire_plan import Direction, DType, Stage, Value, ValueSource, WirePlan

ROWS = 64
CLIENT_TO_SERVER = ("client", "server")
SERVER_TO_CLIENT = ("server", "client")


def make_value(number: int, name: str, producer: int, *consumers: int, **fields: object) -> Value:
    return Value(
        **{
            "id": number,
            "name": name,
            "source": ValueSource.CUT,
            "dtype": DType.FLOAT32,
            "shape": (1, 10),
            "producer": producer,
            "consumers": consumers,
            **fields,
        }
    )


def make_plan(owners: list[str], *values: Value) -> WirePlan:
    stages = tuple(Stage(index=index, owner=owner) for index, owner in enumerate(owners))
    return WirePlan(stages=stages, loss_stage=len(stages) - 1, values=values)


def list_transfers(plan: WirePlan, *, training: bool = True) -> list[tuple[str, Direction, str, str]]:
    return [
        (transfer.value.name, transfer.direction, transfer.sender, transfer.receiver)
        for transfer in plan.iterate_transfers(training=training)
    ]


VANILLA = make_plan(
    ["client", "server"],
    make_value(0, "layer1", 0, 1, shape=(1, 32, 4, 4)),
    make_value(1, "label", 0, 1, source=ValueSource.LABEL, dtype=DType.INT64, shape=(1,), differentiable=False),
)

U_SHAPED = make_plan(
    ["client", "server", "client"],
    make_value(0, "encoder", 0, 1, 2),  # the head at the client adds the encoder's result again
    make_value(1, "trunk", 1, 2, shape=(1, 7)),
)

VERTICAL = make_plan(
    ["imaging", "pathology", "server", "registry"],
    make_value(0, "mean_tower", 0, 2, shape=(1, 8)),
    make_value(1, "worst_tower", 1, 2, shape=(1, 16)),
    make_value(2, "output", 2, 3, source=ValueSource.OUTPUT, shape=(1, 1)),
)


def test_vanilla_sends_activations_and_labels_up_and_one_gradient_down():
    activations = ROWS * 32 * 4 * 4 * 4
    assert VANILLA.compute_link_bytes(ROWS) == {CLIENT_TO_SERVER: activations + ROWS * 8, SERVER_TO_CLIENT: activations}
    assert list_transfers(VANILLA) == [
        ("layer1", Direction.FORWARD, "client", "server"),
        ("label", Direction.FORWARD, "client", "server"),
        ("layer1", Direction.BACKWARD, "server", "client"),
    ]


def test_evaluation_sends_nothing_back():
    assert VANILLA.compute_link_bytes(ROWS, training=False) == {CLIENT_TO_SERVER: ROWS * (32 * 4 * 4 * 4 + 8)}


def test_a_short_batch_costs_in_proportion():
    assert VANILLA.compute_link_bytes(3)[SERVER_TO_CLIENT] == 3 * 32 * 4 * 4 * 4


def test_the_gradient_of_a_skip_in_a_u_shape_walks_back_through_the_server():
    encoder, trunk = ROWS * 10 * 4, ROWS * 7 * 4
    # Up: the encoder's result, the trunk's gradient, and the head's share of the encoder's gradient.
    # Down: the trunk's result, and the encoder's whole gradient. The client keeps its own encoder's result.
    assert U_SHAPED.compute_link_bytes(ROWS) == {
        CLIENT_TO_SERVER: encoder + trunk + encoder,
        SERVER_TO_CLIENT: trunk + encoder,
    }
    assert list_transfers(U_SHAPED) == [
        ("encoder", Direction.FORWARD, "client", "server"),
        ("trunk", Direction.FORWARD, "server", "client"),
        ("encoder", Direction.BACKWARD, "client", "server"),
        ("trunk", Direction.BACKWARD, "client", "server"),
        ("encoder", Direction.BACKWARD, "server", "client"),
    ]


def test_a_value_that_stays_with_its_owner_costs_nothing():
    plan = make_plan(["client", "server", "client"], make_value(0, "skip", 0, 2, source=ValueSource.LOCAL))
    assert plan.compute_link_bytes(ROWS) == {}


def test_vertical_sends_each_branch_up_and_the_output_to_who_has_the_labels():
    mean, worst, output = ROWS * 8 * 4, ROWS * 16 * 4, ROWS * 4
    assert VERTICAL.compute_link_bytes(ROWS) == {
        ("imaging", "server"): mean,
        ("pathology", "server"): worst,
        ("server", "registry"): output,
        ("registry", "server"): output,
        ("server", "pathology"): worst,
        ("server", "imaging"): mean,
    }


def test_two_consumers_of_one_owner_get_a_value_once():
    plan = make_plan(["a", "server", "b", "server"], make_value(0, "tower", 0, 1, 3))
    assert plan.compute_link_bytes(1, training=False) == {("a", "server"): 40}


def test_a_value_without_a_batch_dimension_does_not_grow_with_the_rows():
    plan = make_plan(["client", "server"], make_value(0, "scale", 0, 1, batch_dimension=-1))
    assert plan.compute_link_bytes(ROWS, training=False) == {CLIENT_TO_SERVER: 40}


def test_a_batch_dimension_may_be_the_second_one():
    value = make_value(0, "tokens", 0, 1, shape=(5, 1, 3), batch_dimension=1)
    assert value.compute_shape(4) == (5, 4, 3)


def test_every_element_type_has_its_size():
    assert {dtype: dtype.size_bytes for dtype in DType} == {
        DType.FLOAT64: 8,
        DType.FLOAT32: 4,
        DType.FLOAT16: 2,
        DType.BFLOAT16: 2,
        DType.INT64: 8,
        DType.INT32: 4,
        DType.INT16: 2,
        DType.INT8: 1,
        DType.UINT8: 1,
        DType.BOOL: 1,
    }


def test_the_digest_depends_on_all_that_crosses():
    wider = make_plan(["client", "server"], make_value(0, "layer1", 0, 1, shape=(1, 33, 4, 4)), VANILLA.values[1])
    without_labels = make_plan(["client", "server"], VANILLA.values[0])
    assert len({plan.compute_digest() for plan in (VANILLA, wider, without_labels)}) == 3
