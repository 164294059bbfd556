"""`tui-llama inspect`: what is in a model file, what it needs, and how it is computed."""

import sys
from collections.abc import Mapping

import click

from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.options import PLACEMENT, given, setting_options


@click.command()
@click.argument("model")
@click.option("--plan", "with_plan", is_flag=True, help="Also print the operations of a forward pass.")
@click.option("--profile", is_flag=True, help="Also load the model and measure the time of each operation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@setting_options("context_size", "threads", "batch_threads", "experts", *PLACEMENT)
@click.pass_obj
def inspect(
    group_options: Mapping[str, object],
    /,
    model: str,
    with_plan: bool,
    profile: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Prints what is in the file of MODEL (a path, or a part of a name in `models list`), and what it needs.

    Works for architectures that this program does not support, too. No weights are read without --profile.
    """
    from tui_llama.bench.step_times import measure_steps
    from tui_llama.cli.inspect_report import contexts, print_inspection, print_json
    from tui_llama.cli.model_listing import choose_found
    from tui_llama.engine.model.inspection import inspect_model
    from tui_llama.output import Output

    settings = settings_from({**group_options, **given(options)})
    output = Output(sys.stdout, sys.stderr)
    with output.closing():
        found = choose_found(model)
        inspection = inspect_model(
            found.path, context_size=settings.context_size, experts=settings.experts, with_plan=with_plan
        )
        can_run = not inspection.facts.refusal
        times = measure_steps(found.path, settings, output.progress) if profile and can_run else []
        printed = print_json if as_json else print_inspection
        printed(output, found, inspection, contexts(inspection.facts, settings.context_size), times)
        if (with_plan or profile) and not can_run:
            output.notice("there is neither a plan nor a profile of a model that cannot run")
