import pytest

from darkroom.core import precision
from darkroom.core.errors import UserError

AMX = frozenset({"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"})
BF16 = frozenset({"avx2", "avx512f", "avx512_bf16"})
AVX512 = frozenset({"avx2", "avx512f"})
AVX2 = frozenset({"avx2"})
INTEL, AMD = "GenuineIntel", "AuthenticAMD"
REDUCED = [(INTEL, AMX, ""), (AMD, BF16, ""), (INTEL, AMX, "AVX512_CORE_AMX"), (AMD, BF16, "avx512_core_bf16"),
           (INTEL, AMX, "ALL"), (INTEL, AMX, "AVX10_1_512_AMX")]  # fmt: skip
FULL = [(INTEL, BF16, ""), (INTEL, AVX512, ""), (AMD, AVX2, ""), ("", frozenset(), ""), ("HygonGenuine", AVX2, ""),
        (INTEL, AMX, "AVX512_CORE_BF16"), (INTEL, AMX, "AVX2"), (AMD, BF16, "AVX512_CORE"),
        (AMD, BF16, "sse41")]  # fmt: skip


@pytest.mark.parametrize("cpu", REDUCED)
def test_bfloat16_is_taken_where_it_is_faster(cpu):
    assert precision.for_cpu(*cpu).policy == "mixed_bfloat16"


@pytest.mark.parametrize("cpu", FULL)
def test_float32_is_taken_elsewhere(cpu):
    assert precision.for_cpu(*cpu).policy == "float32"


def test_the_reason_names_what_decided():
    assert precision.for_cpu(INTEL, BF16).reason.endswith("where bfloat16 would be slower")
    assert precision.for_cpu(INTEL, AMX, "avx2").reason == "ONEDNN_MAX_CPU_ISA is AVX2"


def test_a_precision_that_is_set_is_taken_without_a_look_at_the_machine(monkeypatch):
    monkeypatch.setattr(precision, "cpu_info", None)
    for setting in ("float32", "mixed_bfloat16", "mixed_float16"):
        assert precision.choose(setting) == (setting, "set in params.yaml")


@pytest.mark.parametrize("name", precision.LIMITS)
def test_bfloat16_that_onednn_would_refuse_is_refused_before_the_work(name, monkeypatch):
    for other in precision.LIMITS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(precision, "cpu_flags", lambda: BF16)
    monkeypatch.setenv(name, "avx2")
    assert precision.choose("float32").policy == "float32"
    with pytest.raises(UserError, match=rf"^precision mixed_bfloat16 does not work with {name}=AVX2: unset it, or use"):
        precision.choose("mixed_bfloat16")
    monkeypatch.setattr(precision, "cpu_flags", lambda: AVX2)  # here TensorFlow does not ask oneDNN
    assert precision.choose("mixed_bfloat16").policy == "mixed_bfloat16"
    monkeypatch.setattr(precision, "cpu_flags", lambda: BF16)
    monkeypatch.setenv(name, "AVX512_CORE")  # oneDNN emulates it
    assert precision.choose("mixed_bfloat16").policy == "mixed_bfloat16"


def test_auto_reads_this_cpu(monkeypatch, tmp_path, tensorflow):
    for name in precision.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    for vendor, policy in ((AMD, "mixed_bfloat16"), (INTEL, "float32")):
        core = f"vendor_id\t: {vendor}\nmodel name\t: x: y\nflags\t\t: avx2 avx512_bf16\n\n"
        (tmp_path / "cpuinfo").write_text(2 * core)
        precision.cpu_info.cache_clear()
        assert precision.cpu_flags() == {"avx2", "avx512_bf16"}
        assert precision.choose("auto").policy == policy
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert precision.choose("auto").policy == "float32"
    (tmp_path / "cpuinfo").unlink()
    precision.cpu_info.cache_clear()
    assert precision.choose("auto") == ("float32", "ONEDNN_MAX_CPU_ISA is AVX2")
    precision.cpu_info.cache_clear()
