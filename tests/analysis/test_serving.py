"""FLOP and KV cache by the served model's shape: published shapes, hand-worked runs, and shapes that make no sense."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("yaml", reason="plans as files need PyYAML, of the extra `analysis`")

from tests.analysis.test_forecast import some_calls, wide

from tokenflation import analysis as an
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.planning.content import plan_of
from tokenflation.analysis.planning.serving import Serving
from tokenflation.sdk.errors import PlanError

LLAMA_70B = Serving(active_parameters=70.6e9, layers=80, heads=64, head_dim=128, kv_heads=8)
DEEPSEEK_V3 = Serving(active_parameters=37e9, layers=61, heads=128, head_dim=160, latent_dim=512, rope_dim=64)


@pytest.mark.parametrize(("shape", "kv_bytes"), [
    (LLAMA_70B, 327_680),
    (Serving(active_parameters=70.6e9, layers=80, heads=64, head_dim=128, kv_heads=8, bytes_per_element=1), 163_840),
    (Serving(active_parameters=405e9, layers=126, heads=128, head_dim=128, kv_heads=8), 516_096),
    (Serving(active_parameters=22e9, layers=94, heads=64, head_dim=128, kv_heads=4), 192_512),
    (DEEPSEEK_V3, 70_272),
    (Serving(active_parameters=5.1e9, layers=36, heads=64, head_dim=64, kv_heads=8, full_layers=18), 36_864)])  # fmt: skip
def test_kv_bytes_of_published_shapes(shape: Serving, kv_bytes: float) -> None:
    assert shape.kv_bytes_per_token == kv_bytes


def test_a_shape_without_kv_heads_tells_no_bytes() -> None:
    shape = Serving(active_parameters=1e9, layers=10, heads=8, head_dim=64)
    assert shape.kv_bytes_per_token is None
    demand = an.forecast(some_calls(), an.Plan(tasks_per_day=1e4, serving=shape))
    assert {"flop_per_s", "kv_bytes"} & set(demand["resource"]) == {"flop_per_s"}


def test_flop_of_a_decoded_and_of_computed_tokens_by_hand() -> None:
    shape = Serving(active_parameters=1e9, layers=10, heads=8, head_dim=64)
    # 2 N + 4 L H d ctx, and 2 N n + 4 H d L n (ctx - n / 2).
    assert shape.decode_flop(1, 1000) == 2e9 + 4 * 10 * 8 * 64 * 1000
    assert shape.prefill_flop(200, 1000) == 2e9 * 200 + 4 * 8 * 64 * 10 * 200 * 900
    assert DEEPSEEK_V3.decode_flop(1, 4096) == 2 * 37e9 + 2 * (512 + 64 + 512) * 128 * 61 * 4096


def test_a_disclosed_day_of_tokens_takes_the_published_flop_without_attention() -> None:
    # 608e9 input tokens of which 56.3 % were cached, and 168e9 output tokens: 3.2e22 FLOP.
    tokens = 608e9 * (1 - 0.563) + 168e9
    assert tokens * 2 * DEEPSEEK_V3.active_parameters == pytest.approx(3.2e22, rel=0.01)


def one_call(**columns: object) -> pd.DataFrame:
    return pd.DataFrame([{
        "task": "a", "task_id": "1", "model": "m", "started_at_ns": 0, "duration_s": 5.0, "ttft_s": 1.0,
        "input_tokens": 1000, "cache_read_tokens": 600, "output_tokens": 100, **columns,
    }]).convert_dtypes()  # fmt: skip


def test_a_calls_flop_lie_on_its_prefill_and_its_decode() -> None:
    shape = Serving(active_parameters=1e9, layers=10, heads=8, head_dim=64, kv_heads=2)
    runs = runs_of(one_call(), serving=shape)
    prefill, decode = runs.paths["prefill_flop_per_s"], runs.paths["decode_flop_per_s"]
    assert (prefill.start_s[0], prefill.end_s[0]) == (0.0, 1.0)
    assert prefill.load[0] == pytest.approx(shape.prefill_flop(400, 1000))
    assert decode.load[0] * 4 == pytest.approx(shape.decode_flop(100, 1050))
    assert runs.paths["flop_per_s"].integrals(1)[0] == pytest.approx(runs.totals["flop"][0])


def test_context_in_flight_holds_no_answer_before_its_first_token_and_half_of_it_on_average_after() -> None:
    runs = runs_of(one_call(), serving=Serving(active_parameters=1e9, layers=10, heads=8, head_dim=64, kv_heads=2))
    tokens, size = runs.paths["kv_tokens"], runs.paths["kv_bytes"]
    assert list(zip(tokens.start_s, tokens.end_s, tokens.load, strict=True)) == [(0, 1, 1000), (1, 5, 1050)]
    assert size.load.tolist() == [1000 * 2 * 10 * 2 * 64 * 2, 1050 * 2 * 10 * 2 * 64 * 2]


def test_flop_per_second_and_flop_of_a_day_are_the_rate_times_flop_per_task() -> None:
    demand = an.forecast(some_calls(), an.Plan(tasks_per_day=86_400, serving=LLAMA_70B))
    per_task = float(runs_of(some_calls(), serving=LLAMA_70B).totals["flop"].mean())
    assert wide(demand).loc["flop_per_s", "mean"] == pytest.approx(per_task, rel=1e-9)
    day = demand[(demand["resource"] == "flop_per_day") & (demand["statistic"] == "mean")]
    assert day["value"].to_list() == pytest.approx([86_400 * per_task], rel=1e-9)
    assert day["unit"].to_list() == ["FLOP/day"]


def test_a_plan_without_a_shape_has_no_flop() -> None:
    demand = an.forecast(some_calls(), an.Plan(tasks_per_day=1e4))
    assert not any("flop" in name or "bytes" in name for name in demand["resource"].unique())


def test_bytes_given_by_the_plan_win_over_the_shapes() -> None:
    demand = wide(an.forecast(some_calls(), an.Plan(tasks_per_day=1e4, serving=LLAMA_70B, kv_bytes_per_token=1000.0)))
    assert demand.loc["kv_bytes", "mean"] == pytest.approx(1000 * demand.loc["kv_tokens", "mean"])
    assert demand.loc["kv_warm_bytes", "mean"] == pytest.approx(1000 * demand.loc["kv_warm_tokens", "mean"])


def test_each_model_has_its_own_shape_and_default_stands_for_the_others() -> None:
    calls = pd.concat([one_call(), one_call(task_id="2", model="other")], ignore_index=True)
    shapes = {"m": LLAMA_70B, "default": DEEPSEEK_V3}
    totals = runs_of(calls, serving=shapes).totals["flop"]
    assert totals[0] > totals[1]
    with pytest.raises(PlanError, match=r"no entry for 'other', which 1 of 2 calls used.*`default`"):
        runs_of(calls, serving={"m": LLAMA_70B})


def test_a_models_shape_is_found_by_the_name_that_answered_too() -> None:
    calls = pd.concat([one_call(), one_call(task_id="2")], ignore_index=True)
    calls = calls.assign(model="auto", response_model=["big", "small"])
    shapes = {"big": LLAMA_70B, "auto": DEEPSEEK_V3}
    by_name = runs_of(calls, serving=shapes).totals["flop"]
    alone = [runs_of(calls, serving=shape).totals["flop"] for shape in (LLAMA_70B, DEEPSEEK_V3)]
    assert by_name.tolist() == [alone[0][0], alone[1][1]]


@pytest.mark.parametrize(("content", "said"), [
    ({"layers": 80, "heads": 64, "head_dim": 128}, "plan.serving.active_parameters is missing"),
    ({"active_parameters": 1e9, "layers": 80, "heads": 64, "head_dim": 128, "kv_head": 8}, "plan.serving.kv_head is no field"),
    ({"active_parameters": 0, "layers": 80, "heads": 64, "head_dim": 128}, "plan.serving.active_parameters is 0"),
    ({"active_parameters": 1e9, "layers": 80.5, "heads": 64, "head_dim": 128}, "plan.serving.layers is 80.5"),
    ({"active_parameters": 1e9, "layers": 80, "heads": "many", "head_dim": 128}, "plan.serving.heads is 'many'"),
    ({"active_parameters": 1e9, "layers": 80, "heads": 4, "head_dim": 128, "kv_heads": 8}, "plan.serving.kv_heads is 8"),
    ({"active_parameters": 1e9, "layers": 8, "heads": 4, "head_dim": 128, "full_layers": 9}, "plan.serving.full_layers is 9"),
    ({"active_parameters": 1e9, "layers": 8, "heads": 4, "head_dim": 64, "kv_heads": 4, "latent_dim": 512}, "both given"),
    ({"active_parameters": 70.6, "layers": 80, "heads": 64, "head_dim": 128}, "is 70.6; it counts each parameter, not billions"),
    ({"active_parameters": 1e9, "layers": 8, "heads": 4, "head_dim": 64, "bytes_per_element": 16}, "is 16; it is in bytes, not bits"),
    ({"m": {"layers": 80}}, "plan.serving.m.active_parameters is missing"),
    ({"m": {"active_parameters": -1, "layers": 8, "heads": 4, "head_dim": 64}}, "plan.serving.m.active_parameters is -1"),
    ("llama", "plan.serving is 'llama'"), ({}, "plan.serving is {}"), ([1], r"plan.serving is \[1\]")])  # fmt: skip
def test_a_shape_that_makes_no_sense_names_its_field(content: object, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_of({"tasks_per_day": 1, "serving": content})


def test_a_plan_file_may_write_the_shape_as_people_do() -> None:
    content = {"active_parameters": "70.6e9", "layers": 80, "heads": 64, "head_dim": 128, "kv_heads": 8}
    assert plan_of({"tasks_per_day": 1, "serving": content}).serving == LLAMA_70B
    assert plan_of({"tasks_per_day": 1, "serving": {"m": content}}).serving == {"m": LLAMA_70B}


@pytest.mark.parametrize(("field", "value"), [("kv_ttl_s", -1), ("serving", "x"), ("serving", {}), ("limits_hold", 1)])
def test_a_plan_record_names_these_fields_too(field: str, value: object) -> None:
    with pytest.raises(PlanError, match=f"plan.{field}"):
        an.Plan(**{"tasks_per_day": 1.0, field: value})


def test_decode_flop_grow_with_the_context_and_prefill_with_what_is_computed() -> None:
    shape = LLAMA_70B
    short, long = runs_of(one_call(), serving=shape), runs_of(one_call(input_tokens=50_000), serving=shape)
    growth = long.paths["decode_flop_per_s"].load[0] / short.paths["decode_flop_per_s"].load[0]
    assert growth == pytest.approx(shape.decode_flop(1, 50_050) / shape.decode_flop(1, 1_050))
    cached = runs_of(one_call(cache_read_tokens=1000), serving=shape)
    assert np.isclose(cached.paths["prefill_flop_per_s"].integrals(1)[0], 0.0)
