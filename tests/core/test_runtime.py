from darkroom.core import runtime


def test_a_precision_that_is_set_is_taken_without_a_look_at_the_machine():
    for setting in ("float32", "mixed_bfloat16", "mixed_float16"):
        assert runtime.precision(setting) == setting


def test_the_cpus_abilities_are_read_where_linux_lists_them():
    assert all(flag and " " not in flag for flag in runtime.cpu_flags())
