"""`tui-llama bench`: how fast models are on this machine."""

import sys
from typing import Any

import click

from tui_llama.bench.settings import BENCH_SETTINGS
from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.model_choice import model_file
from tui_llama.cli.options import PLACEMENT, given, list_option, setting_options, value_option, with_options
from tui_llama.settings import SETTINGS

_BENCH_LISTS = ("prompts", "answers", "depths")
_LOAD_LISTS = ("threads", "batch_threads", "batch_tokens", "cache_type", "experts")


@click.command()
@click.option(
    "-m", "--model", "models", multiple=True, metavar="FILE", help="GGUF file, or name of a model. May be repeated."
)
@with_options(list_option(BENCH_SETTINGS[name], default=BENCH_SETTINGS[name].default) for name in _BENCH_LISTS)
@value_option(BENCH_SETTINGS["repetitions"], default=BENCH_SETTINGS["repetitions"].default)
@click.option("-o", "--output", "form", type=click.Choice(["md", "json"]), default="md", help="Print a table or JSON.")
@click.option("--profile", is_flag=True, help="Also measure the time of each kind of operation.")
@with_options(list_option(SETTINGS[name]) for name in _LOAD_LISTS)
@setting_options(*PLACEMENT)
@click.pass_obj
def bench(
    group_options: dict[str, object],
    /,
    models: tuple[str, ...],
    prompts: tuple[int, ...],
    answers: tuple[int, ...],
    depths: tuple[int, ...],
    repetitions: int,
    form: str,
    profile: bool,
    **options: object,
) -> None:
    """Measures the speed of models and the limits that this machine sets.

    An option that takes several numbers, separated by commas, is measured with each of them.
    """
    from tui_llama.bench import measure as measuring
    from tui_llama.bench.report import print_results
    from tui_llama.output import Output

    options = {**group_options, **given(options)}
    lists: Any = {name: options.pop(name, None) for name in _LOAD_LISTS}
    settings = settings_from(options)
    lists = {name: _several(values, getattr(settings, name)) for name, values in lists.items()}
    paths = [model_file({"model": model}) for model in models] or [model_file(options)]
    loads = measuring.make_loads(paths, settings, **lists)
    tests = measuring.make_tests(prompts, answers, depths)
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        results = measuring.measure(loads, tests, repetitions, profile=profile, say=output.progress)
        print_results(results, loads, form, output)


def _several(values: Any, default: Any) -> tuple[Any, ...]:
    """Returns the values of an option that may have several; given to the group it has one."""
    if values is None:
        return (default,)
    return values if isinstance(values, tuple) else (values,)
